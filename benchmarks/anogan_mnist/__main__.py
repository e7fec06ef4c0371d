"""AnoGAN on MNIST, one digit normal: does it find counterparts for that digit and for no other?

Protocol: method anogan, trained on the normal digit of the training file alone for 4,000 steps in float32; a fifth of
it, at most 500 images, held out and used for the threshold; the paper's search on the test file. That is
``anotwin train DATA --normal D --method anogan`` with the settings `PAPER` of benchmarks/common/script.py.

    python benchmarks/anogan_mnist --json mnist.json                     # trains, then scores all 10,000 images
    python benchmarks/anogan_mnist --model mnist0 --json mnist.json      # keeps the model there, or uses it again
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # `benchmarks` is imported from there

from anotwin import Detector, Finding, Settings, SettingsError
from anotwin.commands import showing
from anotwin.detector import Update, Watch
from anotwin.training.run_folder import list_runs
from benchmarks.common.images import Images, abnormal, column, draw, find_images, score
from benchmarks.common.rows import Cell, Report, Row
from benchmarks.common.script import PAPER, asked, options, print_head, run

NAME = "anogan_mnist"
METHOD = "anogan"
CLAIMED = "0"  # the goals are about this digit
GOALS = {
    "auroc": ">= 0.985",
    "mean_residual_normal": "<= 0.025",
    "mean_residual_abnormal": ">= 0.05",
    "mean_residual_digit": ">= 0.04",
}
TERMS = {"residual": "R", "discrimination": "D", "discriminator": "P_D"}
IRRELEVANT = {("data", "workers"), ("data", "memory_mb")}  # to what a model has learnt


def benchmark(arguments: argparse.Namespace) -> None:
    """Train or load, score, measure."""
    images = find_images(arguments)
    if images is None:
        return  # the claim is about MNIST, and a line has said how to get it
    settings = settings_of(arguments)
    limit = 200 if arguments.quick and arguments.limit is None else arguments.limit
    source = images.test(arguments.normal)
    indices = draw(source, limit)
    print_head(
        "AnoGAN, one digit normal",
        {
            "data": f"{images.name}, normal = {arguments.normal}, {len(indices)} of {len(source.items)} test images",
            "protocol": f"{settings.training.steps} training steps, search of {settings.search.steps} steps with "
            f"Adam at {settings.search.learning_rate:g}, lambda = {settings.search.discrimination_weight:g}",
            "settings": ", ".join(["method anogan", *asked(arguments, PAPER)]),
            "seeds": f"training {settings.training.seed}, search {settings.search.seed}, bootstrap 0",
        },
    )
    report = Report(arguments.json)
    cell = Cell(NAME, f"normal={arguments.normal}, seed={settings.training.seed}", METHOD)
    claimed = images.is_mnist and arguments.normal == CLAIMED
    with tempfile.TemporaryDirectory(prefix="anotwin-") as scratch, showing.bars() as watch:
        detector = trained(images, settings, arguments, arguments.model or Path(scratch), watch)
        findings, seconds = score(detector, source, indices, watch)
        jobs = measures(cell, detector, findings, seconds, GOALS if claimed else {}, images.is_mnist)
        for done, job in enumerate(jobs, start=1):
            report.add([job()])
            watch(Update("measuring", done, len(jobs)))
    report.show(report.rows)
    report.close()


def settings_of(arguments: argparse.Namespace) -> Settings:
    """The paper's and what the options change."""
    seed = [] if arguments.seed is None else [f"training.seed={arguments.seed}"]
    return Settings().with_overrides([*asked(arguments, PAPER), f'data.normal="{arguments.normal}"', *seed])


def trained(images: Images, settings: Settings, arguments: argparse.Namespace, folder: Path, watch: Watch) -> Detector:
    """A calibrated detector: the one in `folder` if it was trained like this, else a new one, kept there.

    A training that was stopped is resumed. Where search or comparison differ from a kept model's it is calibrated anew.
    """
    source = images.training(arguments.normal)
    if not (folder / "bundle.json").is_file():
        resume = bool(list_runs(folder))
        return Detector.train(
            source, folder, method=METHOD, settings=settings, resume=resume, device=arguments.device, watch=watch
        )
    detector = Detector.load(folder, arguments.device)
    if detector.method.name != METHOD:
        raise SettingsError(
            f"--model {folder}: holds a model of {detector.method.name}, not {METHOD}; name another folder"
        )
    kept = detector.method.settings
    refuse_other(folder, kept, settings)
    if (kept.search, kept.compare, kept.calibration) != (settings.search, settings.compare, settings.calibration):
        watch(Update("note", detail=f"{folder}: search, comparison or calibration differ: calibrating anew"))
        detector = detector.with_settings(settings)
    if detector.calibration is None:
        detector.calibrate(source, settings.calibration.false_alarm_rate, watch=watch)
    return detector


def refuse_other(folder: Path, kept: Settings, asked: Settings) -> None:
    """SettingsError if a kept model was trained otherwise than asked."""
    before, now = kept.model_dump(), asked.model_dump()
    for section in ("data", "networks", "training"):
        for key, value in now[section].items():
            if before[section][key] != value and (section, key) not in IRRELEVANT:
                raise SettingsError(
                    f"--model {folder}: trained with {section}.{key}={before[section][key]}, asked for {value}; "
                    f"add --set {section}.{key}={before[section][key]}, or name another folder to train anew"
                )


def measures(
    cell: Cell, detector: Detector, findings: Sequence[Finding], seconds: float, goals: dict[str, str], promised: bool
) -> list[Callable[[], Row]]:
    """All numbers, each to be computed when called: bootstraps of 10,000 images take their time.

    `promised`: the false-alarm rate has its goal; the calibration promises it for every digit.
    """
    truth, residual = abnormal(findings), column(findings, "mean_residual")
    labels = np.array([str(finding.label) for finding in findings])
    means = {"normal": ~truth, "abnormal": truth} | {name: labels == name for name in sorted(set(labels[truth]))}
    jobs: list[Callable[[], Row]] = [
        partial(cell.auroc, "auroc", truth, column(findings, "score"), goals.get("auroc")),
        partial(cell.average_precision, truth, column(findings, "score")),
    ]
    if detector.calibration is not None:
        flagged = np.array([bool(finding.anomalous) for finding in findings])
        promise = f"{detector.calibration.false_alarm_rate:g} in interval" if promised else None
        jobs += [
            partial(cell.share, "detection_rate", flagged[truth]),
            partial(cell.share, "false_alarm_rate", flagged[~truth], promise),
        ]
    for name, chosen in means.items():
        goal = goals.get("mean_residual_digit" if name.isdigit() else f"mean_residual_{name}")
        jobs.append(partial(cell.mean, f"mean_residual_{name}", residual[chosen], goal=goal))
    for term, name in TERMS.items():
        jobs.append(partial(cell.auroc, f"auroc_{name}", truth, column(findings, term)))
    jobs.append(partial(cell.row, "seconds_per_image", seconds / len(findings), unit="s"))
    jobs.append(partial(cell.row, "training_seconds", float(detector.history["seconds"]), unit="s"))
    return jobs


def parser() -> argparse.ArgumentParser:
    """This benchmark's options."""
    parser = options(str(__doc__))
    parser.add_argument("--normal", default=CLAIMED, help="the normal digit")
    parser.add_argument("--seed", type=int, help="seed of training")
    parser.add_argument("--model", type=Path, metavar="DIR", help="where the model is kept, or is used again")
    parser.add_argument("--limit", type=int, help="only so many test images, drawn with a fixed seed")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse and run; the exit code."""
    return run(benchmark, parser().parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
