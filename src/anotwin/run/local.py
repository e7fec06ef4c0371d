"""Scoring on this machine: a source in, a stream of findings out; memory holds one batch, or one volume."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from anotwin.calibrate.threshold import decide
from anotwin.domains.registry import domain_of_view
from anotwin.errors import DataError
from anotwin.methods.protocol import Folds, Method, Searches
from anotwin.records import Calibration, Finding, ImageSource, Trace
from anotwin.run.batch import join_batches, trace_batch
from anotwin.run.stream import Scored, scored_images

HEAT_QUANTILE = 0.995  # of the pixels of held-out normals: the heat that counts as 1 (chosen by eye, on normals)
UNCALIBRATED_HEAT = 0.25  # of the pixel range: one scale for all images, or heat could not be compared between them
HEAT_PIXELS = 4096  # pixels of an image, evenly spaced, that this quantile is estimated from


@dataclass(frozen=True)
class NormalScores:
    """What held-out normals score: what a calibration is computed from. All arrays are (n,)."""

    scores: npt.NDArray[np.float64]
    residuals: npt.NDArray[np.float64]
    discriminations: npt.NDArray[np.float64]
    heatmap_scale: float
    excluded: int  # images left out because the model was trained on them
    failures: tuple[str, ...]  # "file: why" for those that could not be read


def score_stream(
    method: Method,
    source: ImageSource,
    calibration: Calibration | None,
    indices: Sequence[int] | None = None,
    *,
    pictures: bool | Callable[[Finding], bool] = True,
) -> Iterator[Finding]:
    """Findings in the order of the source; an image that cannot be read or scored becomes a finding with its error.

    `pictures`: whether findings have pictures; a function decides for each finding, which it is given without them.
    """
    one = calibration.heatmap_scale if calibration else UNCALIBRATED_HEAT
    wanted = range(len(source.items)) if indices is None else indices
    for scored in _scored(method, source, wanted, pixels=pictures is not False):
        finding = _finding(scored, source, calibration)
        if scored.scores is not None and (pictures(finding) if callable(pictures) else pictures):
            finding = replace(finding, **vars(scored.pictures(one)))
        yield finding


def normal_scores(
    method: Method,
    source: ImageSource,
    indices: Sequence[int],
    trained_on: frozenset[int] = frozenset(),
    progress: Callable[[int], None] = lambda _done: None,
) -> NormalScores:
    """Score normals for calibration; `progress` is called with the number of images done. Raises DataError for none."""
    rows: list[tuple[float, float, float]] = []
    heats: list[npt.NDArray[np.float32]] = []
    failures: list[str] = []
    excluded = 0
    for done, scored in enumerate(_scored(method, source, indices, trained_on, pixels=False), start=1):
        if scored.excluded:
            excluded += 1
        elif scored.scores is None:
            failures.append(scored.error)
        else:
            rows.append((scored.scores.score, scored.scores.residual, scored.scores.discrimination))
            heat = scored.heat()
            heats.append(heat.ravel()[:: max(heat.size // HEAT_PIXELS, 1)].copy())
        progress(done)
    if not rows:
        why = f"the first of {len(failures)} failures: {failures[0]}" if failures else "all of them were trained on"
        advice = "give a folder of normal images not used by train"
        raise DataError(f"{source.root}: no image to calibrate on ({why}); {advice}")
    scores, residuals, discriminations = np.array(rows, np.float64).T
    scale = float(np.quantile(np.concatenate(heats), HEAT_QUANTILE))
    return NormalScores(scores, residuals, discriminations, max(scale, 1e-6), excluded, tuple(failures))


def trace_search(method: Method, source: ImageSource, indices: Sequence[int], trace_at: Sequence[int]) -> Trace | None:
    """The search for a few images again, with its trace; None for methods of one pass and for parts of images."""
    if not isinstance(method, Searches) or not method.searching or method.spec.parts:
        return None
    view = domain_of_view(method.spec.view).view()
    images = view.prepare(source, indices, method.spec, method.settings, False)
    squares = [image.squares for image in images if image.squares is not None]
    return trace_batch(method, join_batches(squares), trace_at) if squares else None


def _scored(
    method: Method,
    source: ImageSource,
    indices: Sequence[int],
    trained_on: frozenset[int] = frozenset(),
    *,
    pixels: bool,
) -> Iterator[Scored]:
    view = domain_of_view(method.spec.view).view()
    images = view.prepare(source, indices, method.spec, method.settings, pixels)
    fast = method.for_inference() if isinstance(method, Folds) else method
    return scored_images(fast, images, lambda index: source.items[index].id, trained_on)


def _finding(scored: Scored, source: ImageSource, calibration: Calibration | None) -> Finding:
    image, scores = scored.image, scored.scores
    item = source.items[image.index]
    finding = Finding(
        item.id, item.label, item.normal, status=scored.status, error=scored.error, evidence=image.evidence
    )
    if scores is None:
        return finding
    p_value, anomalous, flagged_by = decide(calibration, scores.score, scores.residual, scores.discrimination)
    return replace(
        finding,
        **vars(scores),
        p_value=p_value,
        anomalous=anomalous,
        flagged_by=flagged_by,
        fingerprint=image.fingerprint,
    )
