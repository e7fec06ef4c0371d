"""Retinal OCT: lines, speed, AUROC under cross-validation by patient, what gives a scan away, lesions found.

    lines      synthetic retinas with known lines: errors of ILM and RPE, flatness of the baseline, error of the inverse
    real       every real scan: segmented or refused; --sheet DIR draws lines and bands of all for a person to judge
    lesions    a model of synthetic healthy eyes: AUROC of its heatmaps' pixels, and the smallest cyst that it finds
    speed      preparation in B-scans a second, stage by stage, and scoring of a 49-slice volume
    confounds  AUROC of white borders, protocol, brightness and noise alone, before preparation and after it
    planted    five folds by patient over the normals alone: AUROC of the unseen ones against copies of them in which
               lesions were planted, a kind a copy; needs no abnormal scan, so that settings may be chosen by it
    auroc      five folds by patient over all normals, every abnormal scan scored by every fold's model: PCA, kNN, a
               convolutional autoencoder, anogan as in the paper, and the default method, on the same flattened retinas

    python benchmarks/oct.py --part lines real confounds --sheet sheets --json oct.json
    python benchmarks/oct.py --part planted --methods twin --set training.steps=6000    # is another setting better?
    python benchmarks/oct.py --part auroc --scores scores --json oct-auroc.json     # hours on two cores
    python benchmarks/oct.py --part lesions speed --json oct-lesions.json

Labels measure and choose nothing. Scores of our methods go to --scores as they come: a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from _common import QUICK, Cell, Report, Row, console, options, print_head, run
from _oct_auroc import METHODS, Result, Study, ahead_rows, method_rows, result_of
from _oct_classical import Form
from _oct_confounds import alike, confound_rows
from _oct_folds import Fold, make_folds
from _oct_lesions import lesion_rows, train_on_synthetic
from _oct_lines import CASES, line_rows, real_rows
from _oct_planted import ALL_PLANTED, KINDS, PlantedStudy, planted_rows, with_planted
from _oct_scans import NORMAL, Scans, find_scans, prepared, stand_ins
from _oct_speed import SLICES, speed_rows
from _oneclass_kept import Keeper
from anotwin import Detector, Settings
from anotwin.commands import showing
from anotwin.domains.oct.scans import FlatScan
from anotwin.updates import Watch

NAME = "oct"
PARTS = ("lines", "real", "lesions", "speed", "confounds", "planted", "auroc")  # in the order in which they run
OF_SCANS = {"real", "confounds", "planted", "auroc"}  # of these, those about real scans
OF_METHODS = {"planted", "auroc"}  # those that compare methods
CLAIMED = "twin"  # the goals are about this method
FOLDS = 5
SMALL = ("training.steps=12", "data.image_size=32", "data.holdout=0.4", "search.steps=4")  # of --quick, beside QUICK
FEW = 6  # normals of --quick that lesions are planted into
UNTRAINED = ("training.steps=20",)  # for times, which do not depend on what was learnt


@dataclass
class Bench:
    """What several parts share, each made when first asked for."""

    arguments: argparse.Namespace
    settings: Settings
    real: Scans | None
    report: Report
    keeper: Keeper
    watch: Watch
    trained: Detector | None = field(default=None)

    @property
    def quick(self) -> bool:
        """A smoke run."""
        return bool(self.arguments.quick)

    @property
    def width(self) -> int:
        """Columns of synthetic scans."""
        return 256 if self.quick else 512

    @property
    def claims(self) -> bool:
        """Whether the goals about real scans hold for this run."""
        return self.real is not None and self.arguments.limit is None and self.arguments.folds == FOLDS

    @cached_property
    def scans(self) -> Scans:
        """The real scans, or what stands in for them."""
        if self.real is not None:
            return self.real
        return stand_ins(10, 1, self.width) if self.quick else stand_ins(40, 10)

    @cached_property
    def found(self) -> list[FlatScan]:
        """Their lines and bands."""
        return prepared(self.scans, self.arguments.workers, self.watch)

    @cached_property
    def folds(self) -> tuple[Fold, ...]:
        """Who learns from whom."""
        usable = np.array([scan.flat is not None for scan in self.found])
        return make_folds(self.scans, usable, self.arguments.folds, self.settings)

    def count(self, usual: int, small: int) -> int:
        """How many synthetic scans: --count, or else the usual number of a part."""
        return small if self.quick else self.arguments.count or usual


def benchmark(arguments: argparse.Namespace) -> None:
    """The parts asked for, each with its own rows."""
    settings = Settings().with_overrides(["data.layout=oct", *asked(arguments)])
    needs_scans = OF_SCANS & set(arguments.part)
    real = find_scans(arguments) if needs_scans else None
    if needs_scans and real is None:
        console.print("going on with synthetic retinas in place of real scans")
    keeper = Keeper(arguments.scores)
    with showing.bars() as watch:
        bench = Bench(arguments, settings, real, Report(arguments.json), keeper, watch)
        head(bench)
        for part in PARTS:
            if part in arguments.part:
                console.print(f"\n[bold]{part}[/]")
                _run(bench, part)
    keeper.close()
    bench.report.close()


def _run(bench: Bench, part: str) -> None:
    """One part: its rows are saved as they come, and shown together."""
    about = {"lines": _lines, "real": _real, "lesions": _lesions, "speed": _speed, "confounds": _confounds}
    rows = []
    for row in {**about, "planted": _planted, "auroc": _auroc}[part](bench):
        bench.report.add([row])
        rows.append(row)
    bench.report.show(rows)


def _lines(bench: Bench) -> Iterator[Row]:
    return line_rows(NAME, bench.count(40, 1), bench.arguments.workers, not bench.quick, bench.watch)


def _real(bench: Bench) -> Iterator[Row]:
    return real_rows(NAME, bench.scans, bench.found, bench.arguments.sheet)


def _lesions(bench: Bench) -> Iterator[Row]:
    device = bench.arguments.device
    bench.trained = train_on_synthetic(bench.count(120, 8), bench.width, bench.settings, device, bench.watch)
    count, sheet = bench.count(20, 1), bench.arguments.sheet
    return lesion_rows(NAME, bench.trained, count, bench.width, not bench.quick, bench.watch, sheet)


def _speed(bench: Bench) -> Iterator[Row]:
    detector = bench.trained
    if detector is None:
        settings = bench.settings.with_overrides(UNTRAINED)
        detector = train_on_synthetic(8, bench.width, settings, bench.arguments.device, bench.watch)
    slices = 3 if bench.quick else SLICES
    return speed_rows(NAME, bench.count(60, 4), slices, bench.width, detector, not bench.quick, bench.watch)


def _confounds(bench: Bench) -> Iterator[Row]:
    return confound_rows(NAME, bench.scans, bench.found, bench.folds)


def _planted(bench: Bench) -> Iterator[Row]:
    arguments, given = bench.arguments, bench.scans
    chosen = np.flatnonzero(given.labels == NORMAL).tolist()
    normals = given.take(chosen[:FEW] if bench.quick else chosen)  # each comes back eight times
    scans = with_planted(normals, prepared(normals, arguments.workers, bench.watch))
    found = prepared(scans, arguments.workers, bench.watch)
    usable = np.array([scan.flat is not None for scan in found])
    yield Cell(NAME, ALL_PLANTED, "find_retina").row("refused", int(np.sum(~usable[len(normals.items) :])))
    folds = make_folds(scans, usable, arguments.folds, bench.settings)
    changed, steps = asked(arguments), arguments.paper_steps
    study = PlantedStudy(scans, found, folds, bench.settings, changed, steps, arguments.device, Form())
    for method in methods_of(arguments):
        yield from planted_rows(NAME, result_of(study, method, bench.keeper, bench.watch))


def _auroc(bench: Bench) -> Iterator[Row]:
    arguments = bench.arguments
    changed, steps = asked(arguments), arguments.paper_steps
    study = Study(bench.scans, bench.found, bench.folds, bench.settings, changed, steps, arguments.device, Form())
    results: list[Result] = []
    pairs = alike(bench.scans)
    for method in methods_of(arguments):
        results.append(result_of(study, method, bench.keeper, bench.watch))
        yield from method_rows(NAME, results[-1], bench.scans, pairs, bench.claims and method == CLAIMED)
    yield from ahead_rows(NAME, results, CLAIMED, bench.claims)


def methods_of(arguments: argparse.Namespace) -> list[str]:
    """Those asked for, in the order in which they run."""
    return [name for name in METHODS if arguments.methods is None or name in arguments.methods]


def asked(arguments: argparse.Namespace) -> list[str]:
    """What the options change of every method's settings, as --set would."""
    given = [*((*QUICK, *SMALL) if arguments.quick else ()), *(arguments.set or ())]
    return given + ([] if arguments.steps is None else [f"training.steps={arguments.steps}"])


def head(bench: Bench) -> None:
    """All that it takes to judge the numbers or to make them again."""
    arguments = bench.arguments
    facts = {"parts": ", ".join(part for part in PARTS if part in arguments.part)}
    if OF_SCANS & set(arguments.part):
        scans = bench.scans
        labels, counts = np.unique(scans.labels, return_counts=True)
        patients = [len(np.unique(scans.patients[scans.labels == label])) for label in labels]
        each = ", ".join(f"{n} {label} of {p} patients" for label, n, p in zip(labels, counts, patients, strict=True))
        facts["data"] = f"{scans.root}: {each}"
        facts["folds"] = f"{arguments.folds} by patient over {NORMAL}; intervals: bootstrap over patients"
    if "lines" in arguments.part:
        facts["lines"] = f"{bench.count(40, 1)} synthetic retinas of each of {len(CASES)} kinds"
    if "planted" in arguments.part:
        facts["planted"] = f"a copy of every normal with each of {', '.join(KINDS)}"
    if OF_METHODS & set(arguments.part):
        facts["methods"] = f"{', '.join(methods_of(arguments))}; search of anogan {arguments.paper_steps} steps"
    facts["settings"] = ", ".join(asked(arguments)) or "the defaults of anotwin train --layout oct"
    print_head("Retinal OCT", facts)


def parser() -> argparse.ArgumentParser:
    """This benchmark's options."""
    parser = options(str(__doc__), "OCT scans of Kermany et al. 2018", "a few synthetic retinas")
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS), help="what to measure; all")
    parser.add_argument(
        "--sheet",
        type=Path,
        metavar="DIR",
        help="part real: sheets with the lines of every scan; part lesions: one of a kind",
    )
    parser.add_argument(
        "--count", type=int, metavar="N", help="synthetic scans of a kind, and of the training of lesions"
    )
    parser.add_argument(
        "--methods", nargs="+", choices=METHODS, metavar="M", help=f"parts planted, auroc: of {', '.join(METHODS)}; all"
    )
    parser.add_argument("--folds", type=int, default=FOLDS, help="the goals are about 5")
    parser.add_argument("--limit", type=int, help="only so many scans of a class, drawn with a fixed seed")
    parser.add_argument("--steps", type=int, help="training steps of our methods")
    parser.add_argument(
        "--paper-steps", type=int, default=500, metavar="N", help="search steps of anogan; the paper: 500"
    )
    parser.add_argument("--set", action="append", metavar="SECTION.KEY=VALUE", help="any setting; repeatable")
    parser.add_argument("--scores", type=Path, metavar="DIR", help="keeps our methods' scores, or uses them again")
    parser.add_argument(
        "--workers", type=int, default=0, help="processes that prepare scans; speed always takes all cores"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse and run; the exit code."""
    given = parser().parse_args(arguments)
    if given.quick:
        given.folds, given.paper_steps = min(given.folds, 2), 4
    return run(benchmark, given)


if __name__ == "__main__":
    sys.exit(main())
