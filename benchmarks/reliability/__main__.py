"""What happens under faults, and whether the false-alarm promise holds where normals come in groups.

    python benchmarks/reliability [--part groups kills flips hostile] [--most N] [--draws N] [--json FILE]

groups   the calibration by groups on simulated scores: rates of images and of groups, and how often the bound holds
kills    train, score, calibrate and evaluate killed at file operations, on a full disk, at random moments, called again
flips    one flipped bit in every kind of file that AnoTwin writes and reads again
hostile  files, names and manifests that are not what they claim, beside good images

A row a kind: how many faults were tried, and the share that was survived (see each part for what that means). The large
run takes about an hour on two cores; ``--quick`` two minutes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # `benchmarks` is imported from there

import numpy as np

from benchmarks.common import script
from benchmarks.common.rows import Cell, Report, Row, console
from benchmarks.reliability import groups
from benchmarks.reliability.flips import flips
from benchmarks.reliability.hostile import hostile
from benchmarks.reliability.kills import Counted, kills

PARTS = {"kills": kills, "flips": flips, "hostile": hostile}


def benchmark(arguments: argparse.Namespace) -> None:
    """All parts asked for."""
    report = Report(arguments.json)
    script.print_head("AnoTwin under faults", {"protocol": "small trainings of method twin on synthetic images"})
    if "groups" in arguments.part:
        draws = arguments.draws or (100 if arguments.quick else 2000)
        cells = groups.run(draws)
        groups.show(cells)
        report.add(list(_kept(cells)))
    for part in (part for part in PARTS if part in arguments.part):
        with tempfile.TemporaryDirectory(prefix="anotwin-") as work:
            most = arguments.most or (2 if arguments.quick else 30)
            report.stream(f"{part}: at most {most} faults of a kind", _rows(part, Path(work), most))
    report.close()


def _kept(cells: list[dict[str, Any]]) -> Iterator[Row]:
    """The share of cells that keep each promise, and the numbers of each cell."""
    for name in ("image_rate", "unit_rate", "above_bound"):
        kept = np.array([cell[f"{name}_kept"] for cell in cells])
        yield Cell("reliability", "all cells", "groups").share(f"{name} kept", kept, goal=">= 1")
        for cell in cells:
            told = f"{cell['groups']} groups of {cell['images']}, {cell['scores']}, rate {cell['rate']:.4f}"
            yield Cell("reliability", told, "groups").row(name, cell[name])


def _rows(part: str, work: Path, most: int) -> Iterator[Row]:
    for counted in PARTS[part](work, most):
        _say(counted)
        cell = Cell("reliability", counted.kind, part)
        yield cell.row("tried", counted.tried)
        flags = np.arange(counted.tried) < counted.survived
        yield cell.share("survived", flags, goal=">= 1")
        yield cell.row("tracebacks", len(counted.tracebacks), goal="<= 0")


def _say(counted: Counted) -> None:
    """What went wrong, in full: a share alone helps nobody to mend it."""
    for kind, each in (("traceback", counted.tracebacks), ("not as it should be", counted.wrong)):
        for line in each:
            console.print(f"{counted.kind}: {kind}: {line!a}", markup=False)


def main(arguments: list[str] | None = None) -> int:
    """Parse and run."""
    parser = script.options(__doc__ or "", data="not used", small="synthetic images")
    parser.add_argument("--part", nargs="+", choices=["groups", *PARTS], default=["groups", *PARTS])
    parser.add_argument("--most", type=int, metavar="N", help="faults of a kind; 30")
    parser.add_argument("--draws", type=int, metavar="N", help="simulated calibrations a cell; 2000")
    return script.run(benchmark, parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
