"""Translation: CycleGAN, pix2pix and SRGAN measured where the truth is known.

    superresolution   SRResNet (L2 alone) and SRGAN enlarge Set5 and Set14 four times; beside bicubic
    digits            cyclegan, unpaired: digits <-> digits inverted, rotated and coloured
    layers            pix2pix: retinal scans <-> maps of their layers; beside L1 and cross-entropy alone
    textures          cyclegan, unpaired: brick <-> gravel
    edges             pix2pix: edges -> digits; beside L1 alone
    retina            cyclegan as the repair of CNV: thickness of the retina before and after; beside twin
    detector          cyclegan as a detector, abnormal images learnt from by group; beside twin and pix2pix

    python benchmarks/translation --json translation.json --models models          # hours on two cores
    python benchmarks/translation --part superresolution --factor 2

No test image chooses anything. Networks that judge are trained here on training images alone and are no part of the
product (judges.py); a Frechet distance is on their features and never FID. Beside the rows, --json gets a contact
sheet a part: input, outputs, truth.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # `benchmarks` is imported from there

from anotwin.commands import showing
from benchmarks.common.rows import Report
from benchmarks.common.script import asked, options, print_head, run
from benchmarks.translation.detector import detector_rows
from benchmarks.translation.digits import digit_rows, edge_rows
from benchmarks.translation.layers import layer_rows
from benchmarks.translation.retina import retina_rows
from benchmarks.translation.study import SMALL, Part, Study
from benchmarks.translation.superresolution import superresolution_rows
from benchmarks.translation.textures import texture_rows

PARTS: dict[str, Part] = {
    "superresolution": superresolution_rows,
    "digits": digit_rows,
    "layers": layer_rows,
    "textures": texture_rows,
    "edges": edge_rows,
    "retina": retina_rows,
    "detector": detector_rows,
}
BY_NAME = ("retina", "detector")  # parts that run where they are named, and with --quick


def benchmark(arguments: argparse.Namespace) -> None:
    """The parts asked for: rows are saved as they come, and those of a part shown together."""
    facts = {
        "parts": ", ".join(arguments.part),
        "settings": ", ".join(asked(arguments, (), SMALL)) or "those that each part names, else of anotwin train",
        "seed": str(arguments.seed),
    }
    print_head("Translation", facts)
    report = Report(arguments.json)
    with tempfile.TemporaryDirectory(prefix="anotwin-") as scratch, showing.bars() as watch:
        study = Study(arguments, Path(scratch), watch)
        for part in [name for name in PARTS if name in arguments.part]:
            report.stream(part, PARTS[part](study))
    report.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse and run; the exit code."""
    parser = options(str(__doc__), data="MNIST, superresolution, translation", small="small made-up images")
    add = parser.add_argument
    add("--part", nargs="+", choices=PARTS, help=f"what to measure; all but {', '.join(BY_NAME)}, all with --quick")
    add("--models", type=Path, metavar="DIR", help="keeps all models, or uses them again")
    add("--seed", type=int, default=0, help="of training; 0")
    add("--factor", type=int, choices=(2, 4), default=4, help="of superresolution; 4")
    given = parser.parse_args(arguments)
    given.part = given.part or [name for name in PARTS if given.quick or name not in BY_NAME]
    return run(benchmark, given)


if __name__ == "__main__":
    sys.exit(main())
