"""Counterparts: what they repair of planted defects, and what they are worth to the score.

Defects of kinds that nothing is trained on are planted into normal test images; the counterparts of the planted images
are compared with the images as they were (the measures: evaluate/counterparts.py), and scores with those of the images
untouched. Retinas have lesions instead. Controls: copying the query, a median filter, the mean of the training images,
the nearest of them, PCA. `auroc_without`: the same score with the query in the place of its counterpart, and
`auroc_gain`, what the counterpart adds, with a paired interval; of real defects too where there are some.

    python benchmarks/counterparts --json counterparts.json --models models
    python benchmarks/counterparts --data textures tiles --methods pix2pix srgan --minutes 10
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # `benchmarks` is imported from there

from anotwin import AnoTwinError, Detector, Settings
from anotwin.bundle import DOCUMENT
from anotwin.commands import showing
from anotwin.evaluate.counterparts import NAMES as MEASURES
from anotwin.evaluate.counterparts import summarise
from anotwin.evaluate.paired import Scored, paired_auroc
from anotwin.evaluate.planted_pairs import Findings, Outcome, Pairs, measure_pairs, score_untouched, scores_of
from anotwin.methods.registry import METHODS, own_settings
from anotwin.records import ImageSpec
from anotwin.settings import TrainingSettings
from anotwin.updates import Update, Watch
from benchmarks.common.rows import Cell, Report, Row, console
from benchmarks.common.script import asked, options, print_head, run
from benchmarks.counterparts.ablation import score_without
from benchmarks.counterparts.cases import NAMES, SURFACES, Case, find_cases
from benchmarks.counterparts.controls import controls

COUNT, QUICK_COUNT = 96, 8  # planted images
TRIAL = 20  # steps that a budget in minutes is estimated from
QUICK = (
    "data.image_size=32", "data.holdout=0.4", "networks.base_channels=4", "networks.memory=64", "training.steps=3",
    "training.batch_size=4", "search.steps=2", "calibration.false_alarm_rate=0.2",
)  # fmt: skip
GOALS = {  # of the default method on textures and surfaces
    "repair": (">= 0.85",),
    "collateral": ("<= 1",),
    "contrast": (">= 2",),
    "sharpness_inside": (">= 0.6",),
    "sharpness_outside": (">= 0.8", "<= 1.2"),
}


def benchmark(arguments: argparse.Namespace) -> None:
    """Every set and method: rows are saved as they come, a table of medians follows each set."""
    cases = find_cases(arguments)
    sizes = [f"{each.name}: {len(each.train.items)} normals to learn from, {len(each.hosts)} others" for each in cases]
    budget = f"at most {arguments.minutes:g} minutes a method" if arguments.minutes else "each method's own steps"
    facts = {
        "data": "; ".join(sizes) or "none",
        "methods": ", ".join(arguments.methods),
        "planted": f"{arguments.count} images a set, medians with 95 % intervals by bootstrap over images or groups",
        "training": f"{budget}; {', '.join(asked(arguments, quick=QUICK)) or 'the defaults of anotwin train'}",
    }
    print_head("Counterparts of planted defects", facts)
    report = Report(arguments.json)
    with showing.bars() as watch:
        for case in cases:
            first = len(report.rows)
            for rows in case_rows(case, arguments, watch):
                report.add(rows)
            console.print(table_of(report.rows[first:], case.name))
    report.close()


def case_rows(case: Case, arguments: argparse.Namespace, watch: Watch) -> Iterator[list[Row]]:
    """The rows of each control and method; one that fails is a printed line, and the others go on."""
    for name, control in controls(case.train).items():
        outcomes, _ = measured(control.findings, case, control.spec, arguments.count, watch)
        yield rows_of(Cell("counterparts", case.name, name, goals=False), outcomes)
    for name in arguments.methods:
        watch(Update("note", detail=f"{case.name}: {name}"))
        try:
            detector = trained(case, name, arguments, watch)
            goals = case.name in SURFACES and name == detector.domain.method and not arguments.quick
            cell = Cell("counterparts", case.name, name, goals)
            findings: Findings = detector.findings
            outcomes, pairs = measured(findings, case, detector.spec, arguments.count, watch)
            yield rows_of(cell, outcomes)
            yield list(ablation_rows(cell, detector, case, outcomes, pairs))
        except AnoTwinError as error:
            console.print(f"{case.name}: {name} has no row: {error}", markup=False)


def trained(case: Case, method: str, arguments: argparse.Namespace, watch: Watch) -> Detector:
    """A detector, or with --models the one of an earlier run."""
    folder = arguments.models and arguments.models / f"{case.name}-{method}"
    if folder and (folder / DOCUMENT).is_file():
        watch(Update("note", detail=f"{folder} is used again"))
        return Detector.load(folder, arguments.device)
    given = asked(arguments, case.overrides, QUICK)
    if arguments.minutes and "minutes" in TrainingSettings.model_fields:
        given.append(f"training.minutes={arguments.minutes}")
    elif arguments.minutes:
        given.append(f"training.steps={affordable(case, method, given, arguments, watch)}")
    settings = Settings().with_overrides(given)
    return Detector.train(
        case.data, folder or None, method=method, settings=settings, device=arguments.device, watch=watch
    )


def affordable(case: Case, method: str, given: Sequence[str], arguments: argparse.Namespace, watch: Watch) -> int:
    """Steps that the minutes allow, by a short trial; at most the method's own."""
    trial = Settings().with_overrides([*given, f"training.steps={TRIAL}"])
    detector = Detector.train(case.data, method=method, settings=trial, device=arguments.device, watch=watch)
    most: int = own_settings(method).get("training", {}).get("steps", Settings().training.steps)
    seconds = float(detector.history["seconds"])
    return max(TRIAL, min(most, int(60 * arguments.minutes * TRIAL / seconds)))


def measured(findings: Findings, case: Case, spec: ImageSpec, count: int, watch: Watch) -> tuple[list[Outcome], Pairs]:
    """Planted images, scored and measured: the same for every method, unless it cannot score an image untouched."""
    hosts = case.hosts[:count]
    untouched, errors = score_untouched(findings, case.test, hosts, spec)
    for error in errors:
        console.print(f"refused: {error}", markup=False)
    pairs = case.pairs(untouched, spec, count)
    total = len(pairs.plans)
    found = measure_pairs(findings, pairs, untouched, spec, lambda done: watch(Update("planted", done, total)))
    return [outcome for outcome, _ in found], pairs


def rows_of(cell: Cell, outcomes: Sequence[Outcome]) -> list[Row]:
    """Every measure, and how well planted images are told from untouched ones."""
    scored = [each for each in outcomes if not each.error]
    rows = [cell.row("failed", len(outcomes) - len(scored))] if len(scored) < len(outcomes) else []
    for name, found in summarise([each.measures for each in scored], [each.group for each in scored]).items():
        interval = (found.low, found.high)
        rows += [cell.row(name, found.value, interval, goal=goal) for goal in GOALS.get(name, (None,))]
    area = paired_auroc(scores_of(scored))
    return [*rows, cell.row("auroc_planted", area.value, (area.low, area.high))]


def ablation_rows(
    cell: Cell, detector: Detector, case: Case, outcomes: Sequence[Outcome], pairs: Pairs
) -> Iterator[Row]:
    """AUROC without the counterpart, and what the counterpart adds: of planted images and of real defects."""
    kept = [number for number, each in enumerate(outcomes) if not each.error]
    hosts = list(dict.fromkeys(pairs.plans[number].host for number in kept))
    scored = scores_of([outcomes[number] for number in kept])
    normals, planted = (
        [each.score for each in score_without(detector, case.train, source, indices)]
        for source, indices in ((case.test, hosts), (pairs, kept))
    )
    yield from _gain(cell, "planted", scored, (normals, planted))
    if case.labelled:
        every = [index for index, item in enumerate(case.test.items) if item.normal is not None]
        items = [case.test.items[index] for index in every]
        with_ = [each.score for each in detector.findings(case.test, every, pictures=False)]
        without = [each.score for each in score_without(detector, case.train, case.test, every)]
        usable = np.isfinite(with_) & np.isfinite(without)
        sides = [[k for k, item in enumerate(items) if usable[k] and item.normal is normal] for normal in (True, False)]
        groups = [[items[k].group or items[k].id for k in side] for side in sides]
        scores = [[with_[k] for k in side] for side in sides], [[without[k] for k in side] for side in sides]
        yield from _gain(cell, "real", Scored(*scores[0], *groups), (scores[1][0], scores[1][1]), full=True)


def _gain(
    cell: Cell, of: str, scored: Scored, without: tuple[Sequence[float], Sequence[float]], full: bool = False
) -> Iterator[Row]:
    one = paired_auroc(scored)
    other = paired_auroc(Scored(*without, scored.normal_groups, scored.abnormal_groups))
    gain = paired_auroc(scored, minus=without)
    if full:
        yield cell.row(f"auroc_{of}", one.value, (one.low, one.high))
    yield cell.row(f"auroc_{of}_without", other.value, (other.low, other.high))
    yield cell.row(f"auroc_{of}_gain", gain.value, (gain.low, gain.high))
    yield cell.row(f"auroc_{of}_gain_lower_end", gain.low, goal=">= 0" if of == "planted" else None)


def table_of(rows: Sequence[Row], case: str) -> Table:
    """A row a method, a column a measure."""
    names = (*MEASURES, "auroc_planted", "auroc_planted_without")
    table = Table(title=case, box=None, pad_edge=False, header_style="bold")
    table.add_column("method", no_wrap=True)
    for name in names:
        table.add_column(name.replace("_", " "), justify="right")
    values: dict[str, dict[str, float]] = {}
    for row in rows:
        values.setdefault(row.method, {})[row.metric] = row.value
    for method, own in values.items():
        table.add_row(method, *(_cell(own.get(name, math.nan)) for name in names))
    return table


def _cell(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}" if abs(value) < 100 else f"{value:.3g}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse and run; the exit code."""
    parser = options(str(__doc__), data=None, small="digits and textures")
    add = parser.add_argument
    add("--data", dest="sets", nargs="+", metavar="SET", help=f"{', '.join(NAMES)}, or folders as MVTec AD; all")
    add("--methods", nargs="+", choices=sorted(METHODS), default=sorted(METHODS), help="of %(choices)s; all")
    add("--minutes", type=float, help="of training, a method: fewer steps than its own where these take longer")
    add("--count", type=int, metavar="N", help=f"planted images a set; {COUNT}")
    add("--models", type=Path, metavar="DIR", help="keeps our models, or uses them again")
    given = parser.parse_args(arguments)
    given.sets = given.sets or (["digits", "textures"] if given.quick else list(NAMES))
    given.count = given.count or (QUICK_COUNT if given.quick else COUNT)
    return run(benchmark, given)


if __name__ == "__main__":
    sys.exit(main())
