"""One class normal, all others abnormal: AnoTwin's methods, their references, and other libraries, in one run.

Every method learns from the same images (those that are left after the hold-out, which follows from data, settings and
seed) and scores the same test images; higher is more abnormal, and labels only measure.

    twin, fanogan, anogan, aCAE   methods of AnoTwin, with R, D, P_D and the decision at their calibrated threshold
    P_D                           the discriminator of anogan alone, no search
    GAN_R                         anogan's networks, the discrimination loss of Yeh et al. (2016) in search and score
    kNN                           mean distance to the 5 nearest training images, pixels
    PCA                           reconstruction error, 60 components, pixels
    isolation forest              scikit-learn's defaults, pixels
    edges                         twin's D(x) without its network: distance to the reconstruction by edge directions
    PyOD ..., GANomaly ...        with --peer-minutes M, from `make peers`: see oneclass/other_libraries.py

    python benchmarks/oneclass --more-seeds 1 2 --scores scores --json oneclass.json      # twin, all ten digits
    python benchmarks/oneclass --methods all --peer-minutes 5 --scores scores --json oneclass.json

Scores go to --scores as they come: a run that was stopped, or is asked for more, makes only what is not there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # `benchmarks` is imported from there

from anotwin import Settings
from anotwin.commands import showing
from anotwin.detector import Update
from benchmarks.common.images import Images, find_or_bundled
from benchmarks.common.kept import Keeper, Outcome
from benchmarks.common.rows import Cell, Report, Row, console, over_seeds
from benchmarks.common.script import asked, options, print_head, run
from benchmarks.oneclass.cases import METHODS, Case, open_case, outcomes
from benchmarks.oneclass.classical import CLASSICAL
from benchmarks.oneclass.means import Scored, auroc_table, summary

NAME = "oneclass"
REFERENCE = "kNN"  # its time is the unit of time: a ratio says more about methods than about machines
CLAIMED = "twin"  # the goals are about this method, on MNIST
MEAN_GOAL = ">= 0.985"  # of the AUROC, all ten digits and the whole test set
TRAINING_GOAL = "<= 300"  # seconds a digit, on two cores
DEFAULT = (*CLASSICAL, CLAIMED)
DIGITS = tuple(map(str, range(10)))
TERMS = {"residual": "R", "discrimination": "D", "discriminator": "P_D"}
QUICK_LIMIT = 200


def benchmark(arguments: argparse.Namespace) -> None:
    """All methods on all digits and seeds, then what they say together."""
    images = find_or_bundled(arguments)
    settings = Settings().with_overrides(asked(arguments))
    limit = arguments.limit
    if arguments.quick:
        limit = min(QUICK_LIMIT if limit is None else limit, QUICK_LIMIT)
    minutes = 0.0 if arguments.quick else arguments.peer_minutes
    methods, cases = methods_of(arguments), cases_of(arguments)
    head(arguments, images, settings, limit, methods, minutes)
    keeper, report = Keeper(arguments.scores), Report(arguments.json)
    training_goal = TRAINING_GOAL if images.is_mnist else None
    scored: list[Scored] = []
    for normal, seed in cases:
        case = open_case(images, normal, seed, settings, limit, arguments.device, minutes)
        scored += measure(case, methods, keeper, report, training_goal)
    spread(cases, report)
    for seed in dict.fromkeys(seed for _, seed in cases):
        together([each for each in scored if each.seed == seed], mean_goals(images, limit), report)
    keeper.close()
    report.close()


def measure(
    case: Case, methods: Sequence[str], keeper: Keeper, report: Report, training_goal: str | None
) -> list[Scored]:
    """One digit and one training seed; each row is saved as soon as it is known."""
    truth, labels = case.truth, tuple(case.labels)
    console.print(f"\n[bold]{case.name}[/]: {truth.sum()} of {len(truth)} test images are abnormal")
    rows: list[Row] = []
    scored: list[Scored] = []
    unit = None
    with showing.bars() as watch:
        for method, outcome in outcomes(case, methods, keeper, watch):
            for text in filter(None, (outcome.note, outcome.error and f"no scores: {outcome.error}")):
                watch(Update("note", detail=f"{method}: {text}"))
            if outcome.error:
                continue
            unit = outcome.seconds if method == REFERENCE else unit  # comes first
            found = Scored(case.normal, case.seed, method, case.fingerprints, labels, truth, outcome.columns["score"])
            scored.append(found)
            goal = training_goal if method == CLAIMED else None
            for row in rows_of(Cell(NAME, case.name, method), outcome, found, unit, goal):
                report.add([row])
                rows.append(row)
    report.show(rows)
    return scored


def rows_of(
    cell: Cell, outcome: Outcome, scored: Scored, unit: float | None, training_goal: str | None
) -> Iterator[Row]:
    """A method's numbers; `unit` is the reference's seconds for the same images."""
    truth, columns = scored.truth, outcome.columns
    yield cell.auroc("auroc", truth, scored.scores)
    yield cell.average_precision(truth, scored.scores)
    for column, term in TERMS.items():
        if column in columns:
            yield cell.auroc(f"auroc_{term}", truth, columns[column])
    if "anomalous" in columns:
        flagged = columns["anomalous"] > 0
        yield cell.share("detection_rate", flagged[truth])
        yield cell.share("false_alarm_rate", flagged[~truth])
    if unit is not None:
        yield cell.row("time_per_image", outcome.seconds / unit, unit=f"x {REFERENCE}")
    yield cell.row("ms_per_image", 1000 * outcome.seconds / len(truth), unit="ms")
    yield cell.row("training_seconds", outcome.training, unit="s", goal=training_goal)


def spread(cases: Sequence[tuple[str, int]], report: Report) -> None:
    """Mean, least and greatest over the seeds of each digit that has several."""
    for normal in dict.fromkeys(normal for normal, _ in cases):
        names = [f"normal={normal}, seed={seed}" for digit, seed in cases if digit == normal]
        if len(names) > 1:
            rows = over_seeds([[row for row in report.rows if row.case == name] for name in names], f"normal={normal}")
            report.add(rows)
            report.show([row for row in rows if row.metric == "auroc"])


def together(scored: Sequence[Scored], goals: dict[str, str], report: Report) -> None:
    """One seed's digits: a table of AUROCs, and the means."""
    if len({each.normal for each in scored}) < 2:
        return
    names = {f"normal={each.normal}, seed={each.seed}" for each in scored}
    console.print(f"\n[bold]all digits, seed={scored[0].seed}[/]")
    console.print(auroc_table(scored))
    complete = {each.normal for each in scored} >= set(DIGITS)
    rows = summary(NAME, scored, [row for row in report.rows if row.case in names], goals if complete else {})
    report.add(rows)
    report.show(rows)


def mean_goals(images: Images, limit: int | None) -> dict[str, str]:
    """By method, of the mean AUROC over ten digits: there is one where the whole test set of MNIST is scored."""
    return {CLAIMED: MEAN_GOAL} if images.is_mnist and limit is None else {}


def cases_of(arguments: argparse.Namespace) -> list[tuple[str, int]]:
    """Digits with their seeds, each once."""
    digits = arguments.normal or (("0", "8") if arguments.quick else DIGITS)
    pairs = [(digit, seed) for digit in digits for seed in arguments.seeds]
    pairs += [(digit, seed) for digit in arguments.more_normal for seed in arguments.more_seeds]
    return list(dict.fromkeys(pairs))


def methods_of(arguments: argparse.Namespace) -> list[str]:
    """Those asked for, in the order in which they run."""
    chosen = arguments.methods or (("all",) if arguments.quick else DEFAULT)
    return [name for name in METHODS if name in chosen or "all" in chosen]


def head(
    arguments: argparse.Namespace,
    images: Images,
    settings: Settings,
    limit: int | None,
    methods: Sequence[str],
    minutes: float,
) -> None:
    """All that it takes to judge the numbers or to make them again."""
    cases = cases_of(arguments)
    by_seed = [
        f"{seed} on {' '.join(digit for digit, own in cases if own == seed)}"
        for seed in dict.fromkeys(seed for _, seed in cases)
    ]
    print_head(
        "One class normal",
        {
            "data": f"{images.name}, {'the whole test set' if limit is None else f'at most {limit} test images'}",
            "protocol": f"all methods on the same training and test images; {settings.training.steps} training steps, "
            f"search of {settings.search.steps} steps, false-alarm rate {settings.calibration.false_alarm_rate:g}",
            "methods": ", ".join(methods) + (f"; peers, {minutes:g} min of training each" if minutes > 0 else ""),
            "settings": ", ".join(asked(arguments)) or "the defaults of anotwin train",
            "seeds": f"training {', '.join(by_seed)}; search and bootstrap 0",
        },
    )


def parser() -> argparse.ArgumentParser:
    """This benchmark's options."""
    parser = options(str(__doc__))
    parser.add_argument("--normal", nargs="+", metavar="D", help="normal digits, all ten; with --quick 0 and 8")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], metavar="S", help="training seeds")
    parser.add_argument(
        "--more-seeds", nargs="+", type=int, default=[], metavar="S", help="further ones, for --more-normal"
    )
    parser.add_argument("--more-normal", nargs="+", default=["2", "5", "8"], metavar="D", help="digits: 2 5 8")
    parser.add_argument("--limit", type=int, help="only so many test images, drawn with a fixed seed")
    parser.add_argument(
        "--methods", nargs="+", choices=[*METHODS, "all"], metavar="M", help=f"of {', '.join(METHODS)}, or all"
    )
    parser.add_argument(
        "--peer-minutes", type=float, default=0.0, metavar="M", help="of training for each peer; 0 or --quick: no peers"
    )
    parser.add_argument("--scores", type=Path, metavar="DIR", help="keeps the scores there, or uses them again")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse and run; the exit code."""
    return run(benchmark, parser().parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
