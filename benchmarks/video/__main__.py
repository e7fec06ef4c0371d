"""Surveillance video: frames, events, regions, false alarms, delays and speed.

    ped2       every row learns from the training clips of UCSD Ped2 and is measured on its test clips: the default,
               energy of frame differences, background subtraction with kNN and PCA on patches of what moves, the
               network of 2018 as published, and methods of single images on patches of what moves
    walkway    the default learns from synthetic clips of one place: intruders of each kind, and false alarms on long
               footage without any, which is drawn as it is scored. Settings are chosen at --place 1, shown at 0
    speed      frames a second for reading, scoring and output together, latency of a frame, peak memory

    python benchmarks/video --json video.json --models models             # hours on two cores
    python benchmarks/video --part ped2 --model MODEL                     # a model of anotwin train for the row frames
    python benchmarks/video --part walkway --place 1 --set networks.base_channels=24

No label and no mask chooses anything. All rows are smoothed in time alike, by the weights of the product and from the
past alone, calibrated on the same held-out clips, and measured by what `anotwin evaluate` calls.
Intervals resample clips; of a few clips they are too narrow. Delays count frames from the first in which an intruder is
fully visible. coverage is the share of the frames of intruders in which a region that is marked overlaps one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # `benchmarks` is imported from there

from anotwin import SettingsError
from anotwin.commands import showing
from anotwin.methods.registry import METHODS
from benchmarks.common.rows import Report, Row
from benchmarks.common.script import asked, options, print_head, run
from benchmarks.video.clips import ClipSet, find_ped2, small_walkway, walkway_set
from benchmarks.video.ped2 import ped2_rows
from benchmarks.video.speed import speed_rows
from benchmarks.video.study import DEFAULT, ROWS, SMALL, Study, registered
from benchmarks.video.walkway import walkway_rows

PARTS = ("ped2", "walkway", "speed")
HOURS, QUICK_HOURS = 1.0, 0.005
OF_SPEED = (0, 5, 0, 200)  # seed, training clips, test clips, frames


def benchmark(arguments: argparse.Namespace) -> None:
    """The parts asked for: rows are saved as they come, and those of a part shown together."""
    quick, small = arguments.quick, small_walkway()
    walkway = walkway_set(arguments.place, arguments.seed, arguments.train, arguments.test, arguments.frames)
    walkway, timed = (small, small) if quick else (walkway, walkway_set(arguments.place, *OF_SPEED))
    ped2: ClipSet | None = small if quick else None
    if "ped2" in arguments.part and not quick:
        ped2 = find_ped2(arguments.data)
    walks = f"{walkway.name}: {walkway.train} clips to learn from, {walkway.test_per_kind} of each kind of intruder"
    facts = {
        "ped2": f"{ped2.name}, its test clips that are there" if ped2 else "none",
        "walkway": f"{walks}; {arguments.hours:g} h of footage without any",
        "methods": ", ".join(arguments.methods),
        "settings": ", ".join(asked(arguments, (), SMALL)) or "the defaults of anotwin train",
    }
    print_head("Surveillance video", facts)
    report = Report(arguments.json)
    with tempfile.TemporaryDirectory(prefix="anotwin-") as scratch, registered(), showing.bars() as watch:
        study = Study(arguments, Path(scratch), watch)
        parts: dict[str, Callable[[], Iterator[Row]]] = {
            "walkway": lambda: walkway_rows(study, walkway, arguments.on_walkway, arguments.hours),
            "speed": lambda: speed_rows(study, timed),
        }
        if ped2 is not None:
            parts["ped2"] = lambda: ped2_rows(study, ped2)
        for part in [name for name in PARTS if name in arguments.part and name in parts]:
            report.stream(part, parts[part]())
    report.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse and run; the exit code."""
    parser = options(str(__doc__), data="UCSD Ped2: Train/Train001 ..., Test/Test001 ...", small="a small walkway")
    add = parser.add_argument
    add("--part", nargs="+", choices=PARTS, default=list(PARTS), help="what to measure; all")
    known = sorted({*ROWS, *METHODS})
    told = f"rows of ped2: {', '.join(ROWS)}; those of walkway too, which are {DEFAULT} alone where none is named"
    add("--methods", nargs="+", choices=known, metavar="NAME", help=told)
    add("--models", type=Path, metavar="DIR", help="keeps the models of all rows, or uses them again")
    add("--model", type=Path, metavar="MODEL", help=f"of anotwin train, for row {DEFAULT} of one part")
    add("--place", type=int, default=0, help="of the walkway: what the camera looks at; 0")
    add("--seed", type=int, default=0, help="of the walkway: what happens; 0")
    add("--train", type=int, default=16, metavar="N", help="clips of the walkway to learn from; 16")
    add("--test", type=int, default=6, metavar="N", help="clips with each kind of intruder; 6")
    add("--frames", type=int, default=200, metavar="N", help="of a clip, 10 a second; 200")
    add("--hours", type=float, help=f"of footage without an intruder; {HOURS:g}")
    given = parser.parse_args(arguments)
    given.on_walkway = given.methods or [DEFAULT]
    given.methods = given.methods or list(ROWS)
    given.hours = given.hours or (QUICK_HOURS if given.quick else HOURS)
    return run(_checked, given)


def _checked(arguments: argparse.Namespace) -> None:
    if arguments.model and (arguments.quick or {"ped2", "walkway"} <= set(arguments.part)):
        raise SettingsError("--model is of one place: name --part ped2 or --part walkway with it, without --quick")
    benchmark(arguments)


if __name__ == "__main__":
    sys.exit(main())
