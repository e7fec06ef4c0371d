"""One class normal, all others abnormal: AnoGAN, the references of its paper, and classical methods, in one run.

Every method learns from the same images (those that AnoGAN's training left after its hold-out) and scores the same test
images. Scores are higher for abnormal images.

    AnoGAN A, R, D   the paper's score and its two terms, from one search
    P_D              the discriminator's output, no search
    GAN_R            same networks, the discrimination loss of Yeh et al. (2016) in the search and in the score
    aCAE             adversarial convolutional autoencoder, as many steps
    kNN              mean distance to the 5 nearest training images, pixels
    PCA              reconstruction error, 60 components, pixels
    isolation forest scikit-learn's defaults, pixels

    python benchmarks/oneclass.py --normal 0 8 --seeds 0 1 2 --json oneclass.json
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import NearestNeighbors

from _common import (
    QUICK,
    Cell,
    Floats,
    Images,
    Report,
    Row,
    column,
    console,
    draw,
    find_or_bundled,
    members,
    options,
    over_seeds,
    pixels,
    print_head,
    run,
    score,
)
from anotwin import Detector, Settings
from anotwin.commands import showing
from anotwin.detector import Update, Watch
from anotwin.prepare.stream import stream
from anotwin.records import ImageSource

NAME = "oneclass"
REFERENCE = "kNN"  # its time is the unit of time: a ratio says more about methods than about machines
COMPONENTS = 60
SHORT = 0.5  # seconds: what takes less is timed three times, and the least counts

Score = Callable[[Floats], Floats]  # pixels (N, P) -> scores (N,)


@dataclass(frozen=True)
class Result:
    """What one method made of the test images."""

    method: str
    scores: Floats  # (N,)
    seconds: float  # for all N together
    training: float  # seconds


def benchmark(arguments: argparse.Namespace) -> None:
    """All methods on all digits and seeds."""
    images = find_or_bundled(arguments)
    settings = settings_of(arguments)
    changed = [*(QUICK if arguments.quick else ()), *(arguments.set or ())]
    limit = min(arguments.limit, 200) if arguments.quick else arguments.limit
    print_head(
        "One class normal",
        {
            "data": f"{images.name}, normal = {', '.join(arguments.normal)}, at most {limit} test images",
            "protocol": f"all methods on the same training and test images; {settings.training.steps} training steps, "
            f"search of {settings.search.steps} steps with Adam at {settings.search.learning_rate:g}",
            "settings": ", ".join(changed) or "the defaults of anotwin train",
            "seeds": f"training {', '.join(map(str, arguments.seeds))}; search and bootstrap 0",
        },
    )
    report = Report(arguments.json)
    for normal in arguments.normal:
        runs = [measure(images, normal, seed, settings, limit, arguments.device, report) for seed in arguments.seeds]
        if len(runs) > 1:
            summary = over_seeds(runs, f"normal={normal}")
            report.add(summary)
            report.show(summary)
    report.close()


def measure(
    images: Images, normal: str, seed: int, settings: Settings, limit: int, device: str, report: Report
) -> list[Row]:
    """One digit and one training seed; every method's rows are saved when it is done."""
    test = images.test(normal)
    indices = draw(test, limit)
    truth = np.array([test.items[index].normal is False for index in indices])
    case = f"normal={normal}, seed={seed}"
    own = settings.with_overrides([f"training.seed={seed}", f'data.normal="{normal}"'])
    console.print(f"\n[bold]{case}[/]: {truth.sum()} of {len(truth)} test images are abnormal")
    rows: list[Row] = []
    unit = float("nan")
    with showing.bars() as watch:
        for result in results(images.training(normal), test, indices, own, device, watch):
            if result.method == REFERENCE:
                unit = result.seconds  # comes first
            new = rows_of(Cell(NAME, case, result.method), result, truth, unit)
            report.add(new)
            rows += new
    report.show(rows)
    return rows


def results(
    training: ImageSource, test: ImageSource, indices: Sequence[int], settings: Settings, device: str, watch: Watch
) -> Iterator[Result]:
    """All methods, the classical ones first; AnoGAN is trained before them, since its split is theirs."""
    anogan = fit("anogan", training, settings, device, watch)
    seen = members(anogan, training, "train")
    yield from classical(pixels(training, seen), pixels(test, indices), settings.training.seed)
    yield from anogan_family(anogan, test, indices, settings, watch)
    acae = fit("acae", training, settings, device, watch)
    assert members(acae, training, "train") == seen
    findings, seconds = score(acae, test, indices, watch)
    yield Result("aCAE", column(findings, "anomaly"), seconds, acae.history["seconds"])


def fit(method: str, training: ImageSource, settings: Settings, device: str, watch: Watch) -> Detector:
    """A trained detector; its calibration, which no metric here needs, is skipped by a search of no steps."""
    watch(Update("note", detail=f"training {method}"))
    hasty = settings.with_overrides(["search.steps=0"])
    return Detector.train(training, method=method, settings=hasty, device=device, watch=watch).with_settings(settings)


def anogan_family(
    detector: Detector, test: ImageSource, indices: Sequence[int], settings: Settings, watch: Watch
) -> Iterator[Result]:
    """What the same two networks say: A, R and D from one search, P_D without any, GAN_R with a search of its own."""
    training = float(detector.history["seconds"])
    findings, seconds = score(detector, test, indices, watch)
    for name, term in (("AnoGAN A", "anomaly"), ("AnoGAN R", "residual"), ("AnoGAN D", "discrimination")):
        yield Result(name, column(findings, term), seconds, training)
    verdict = timed(lambda: _verdicts(detector, test, indices))[1]
    yield Result("P_D", column(findings, "discriminator"), verdict, training)
    watch(Update("note", detail="searching with the discrimination loss of GAN_R"))
    reference = detector.with_settings(settings.with_overrides(["search.discrimination=sigmoid"]))
    findings, seconds = score(reference, test, indices, watch)
    yield Result("GAN_R", column(findings, "anomaly"), seconds, training)


def _verdicts(detector: Detector, test: ImageSource, indices: Sequence[int]) -> Floats:
    parts = stream(test, indices, detector.method.spec, 128, keep_pixels=False)
    return np.concatenate([-detector.method.logits(part.images).double().cpu().numpy() for part in parts])


def classical(training: Floats, queries: Floats, seed: int) -> Iterator[Result]:
    """Methods without a network, from pixels in [0, 1]."""
    makers = ((REFERENCE, nearest), ("PCA", reconstruction), ("isolation forest", lambda each: forest(each, seed)))
    for name, maker in makers:
        began = time.perf_counter()
        scorer = maker(training)
        fitted = time.perf_counter() - began
        scores, seconds = timed(lambda scorer=scorer: scorer(queries))  # type: ignore[misc]
        yield Result(name, scores, seconds, fitted)


def nearest(training: Floats) -> Score:
    """Mean distance to the 5 nearest training images."""
    neighbours = NearestNeighbors(n_neighbors=5).fit(training)
    return lambda queries: np.asarray(neighbours.kneighbors(queries)[0].mean(axis=1))


def reconstruction(training: Floats) -> Score:
    """Squared error of what the first principal components leave; half of all components where those are fewer."""
    pca = PCA(min(COMPONENTS, min(training.shape) // 2), random_state=0).fit(training)

    def scores(queries: Floats) -> Floats:
        return np.asarray(np.square(queries - pca.inverse_transform(pca.transform(queries))).sum(axis=1))

    return scores


def forest(training: Floats, seed: int) -> Score:
    """Isolation forest; scikit-learn's score is higher for normal images."""
    trees = IsolationForest(random_state=seed).fit(training)
    return lambda queries: np.asarray(-trees.score_samples(queries))


def timed(function: Callable[[], Floats]) -> tuple[Floats, float]:
    """What it returns, and its seconds: the least of three calls where one is short."""
    seconds: list[float] = []
    while len(seconds) < 3 and (not seconds or seconds[0] < SHORT):
        began = time.perf_counter()
        value = function()
        seconds.append(time.perf_counter() - began)
    return value, min(seconds)


def rows_of(cell: Cell, result: Result, truth: npt.NDArray[np.bool_], unit: float) -> list[Row]:
    """A method's numbers; `unit` is the reference's seconds for the same images."""
    return [
        cell.auroc("auroc", truth, result.scores),
        cell.average_precision(truth, result.scores),
        cell.row("time_per_image", result.seconds / unit, unit=f"x {REFERENCE}"),
        cell.row("ms_per_image", 1000 * result.seconds / len(truth), unit="ms"),
        cell.row("training_seconds", result.training, unit="s"),
    ]


def settings_of(arguments: argparse.Namespace) -> Settings:
    """The defaults and what the options change."""
    given = [*(QUICK if arguments.quick else ()), *(arguments.set or ())]
    given += [] if arguments.steps is None else [f"training.steps={arguments.steps}"]
    return Settings().with_overrides(given)


def parser() -> argparse.ArgumentParser:
    """This benchmark's options."""
    parser = options(str(__doc__))
    parser.add_argument("--normal", nargs="+", default=["0", "8"], metavar="D", help="normal digits, one after another")
    parser.add_argument("--limit", type=int, default=1000, help="test images, drawn with a fixed seed")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], metavar="S", help="training seeds")
    parser.add_argument("--steps", type=int, help="training steps, of AnoGAN and of aCAE")
    parser.add_argument("--set", action="append", metavar="SECTION.KEY=VALUE", help="any setting; repeatable")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse and run; the exit code."""
    return run(benchmark, parser().parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
