"""Factory surfaces: AUROC of images and pixels, AUPRO, each kind of defect, false alarms, speed and memory.

    auroc      every method learns from train/good and is measured on test; intervals by bootstrap over groups of near
               duplicates (magnetic tiles, strips of fabric, photographs), differences of methods on the same resamples
    ablation   what leaving something out costs the default method: each term of its score alone, the same networks
               trained without counterparts, and any setting named by --without
    speed      a 4,000 x 3,000 image scored by the default method, beside what the machine computes in the same minute
    memory     a 10,000 x 10,000 image scored from a file, in a process of its own

    python benchmarks/surfaces --peers --json surfaces.json --scores scores --models models    # hours on two cores
    python benchmarks/surfaces --data magnetic_tile --methods default PCA kNN --minutes 5
    python benchmarks/surfaces --data mvtec/screw                # any set in the MVTec AD layout
    python benchmarks/surfaces --part ablation --data textures --without compare.score=residual
    python benchmarks/surfaces --part ablation --data parts --without data.registration=none

Labels and masks measure and choose nothing. Rows of other libraries are trained on all normal images, for as many
minutes; the product's methods hold a fifth of the groups back for calibration. PatchCore's network has learnt from
ImageNet's million pictures, which no other row has seen.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # `benchmarks` is imported from there

from anotwin.commands import showing
from anotwin.settings import TrainingSettings
from benchmarks.common.kept import Keeper
from benchmarks.common.rows import Report, Row
from benchmarks.common.script import asked, options, print_head, run
from benchmarks.surfaces.costs import memory_rows, speed_rows
from benchmarks.surfaces.measures import ablation_rows, auroc_rows
from benchmarks.surfaces.methods import ROWS, SMALL, Study, chosen
from benchmarks.surfaces.other_libraries import PEERS
from benchmarks.surfaces.sets import GROUPS, MADE_UP, find_sets, textures

Part = Callable[[Study], Iterator[Row]]
PARTS: dict[str, Part] = {"auroc": auroc_rows, "ablation": ablation_rows, "speed": speed_rows, "memory": memory_rows}
MINUTES, QUICK_MINUTES = 30.0, 0.02
OWN_BUDGET = "as many" if "minutes" in TrainingSettings.model_fields else "the steps of their settings"


def benchmark(arguments: argparse.Namespace) -> None:
    """The parts asked for: rows are saved as they come, and those of a part shown together."""
    sets = [textures(64, 64)] if arguments.quick else find_sets(arguments.sets)
    arguments.methods = chosen(arguments)
    facts = {
        "data": "; ".join(each.about() for each in sets) or "none",
        "methods": ", ".join(arguments.methods),
        "training": f"{arguments.minutes:g} minutes of the autoencoder and of other libraries; ours: {OWN_BUDGET}",
        "settings": ", ".join(asked(arguments, (), SMALL)) or "the defaults of anotwin train",
    }
    print_head("Factory surfaces", facts)
    if not sets:
        return
    keeper, report = Keeper(arguments.scores), Report(arguments.json)
    with showing.bars() as watch:
        study = Study(arguments, sets, keeper, watch)
        for part in [name for name in PARTS if name in arguments.part]:
            report.stream(part, PARTS[part](study))
    keeper.close()
    report.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse and run; the exit code."""
    parser = options(str(__doc__), data=None, small="textures of scikit-image")
    add = parser.add_argument
    names = f"{', '.join(GROUPS)} (where ANOTWIN_DATA points, or in ../shared/data), {', '.join(MADE_UP)}, or folders"
    add("--data", dest="sets", nargs="+", default=list(GROUPS), metavar="SET", help=names)
    add("--part", nargs="+", choices=PARTS, help="what to measure; auroc, all with --quick")
    rows = f"default, any method of the registry, {', '.join(ROWS[2:])}, {', '.join(PEERS)}; {', '.join(ROWS)}"
    add("--methods", nargs="+", metavar="NAME", help=rows)
    add("--peers", action="store_true", help="the rows of other libraries too, see make peers")
    add("--minutes", type=float, help=f"of training, a method; {MINUTES:g}")
    add("--without", action="append", metavar="SECTION.KEY=VALUE", help="part ablation: the setting that leaves it out")
    add("--scores", type=Path, metavar="DIR", help="keeps all scores and maps, or uses them again")
    add("--models", type=Path, metavar="DIR", help="keeps our models, or uses them again")
    given = parser.parse_args(arguments)
    given.minutes = given.minutes or (QUICK_MINUTES if given.quick else MINUTES)
    given.part = given.part or (list(PARTS) if given.quick else ["auroc"])
    return run(benchmark, given)


if __name__ == "__main__":
    sys.exit(main())
