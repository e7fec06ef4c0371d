"""Scoring on this machine: a source in, a stream of findings out, memory bounded by one batch (or volume)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from anotwin.calibrate.threshold import decide
from anotwin.errors import DataError
from anotwin.methods.protocol import Method, Quickened
from anotwin.prepare.stream import stream
from anotwin.records import Batch, Calibration, Finding, ImageSource, Trace
from anotwin.run.batch import score_batch
from anotwin.run.retina import scored_scans
from anotwin.run.scored import Scored
from anotwin.run.whole import scored_images

HEAT_QUANTILE = 0.995  # of the pixels of held-out normals: the heat that counts as 1 (chosen by eye, on normals)
UNCALIBRATED_HEAT = 0.25  # of the pixel range: one scale for all images, or heat could not be compared between them
HEAT_PIXELS = 4096  # an image, evenly spaced, are enough to know it


@dataclass(frozen=True)
class NormalScores:
    """What held-out normals score: the raw material of a calibration. All arrays are (n,)."""

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
    workers: int = 0,
    pictures: bool = True,
) -> Iterator[Finding]:
    """Findings in the order of the source; an image that cannot be read or scored becomes a finding with its error."""
    scale = calibration.heatmap_scale if calibration else UNCALIBRATED_HEAT
    wanted = range(len(source.items)) if indices is None else indices
    for scored in _scored(method, source, wanted, workers=workers, pictures=pictures):
        yield _finding(scored, source, calibration, scale)


def normal_scores(
    method: Method,
    source: ImageSource,
    indices: Sequence[int],
    trained_on: frozenset[int] = frozenset(),
    *,
    workers: int = 0,
) -> Iterator[int | NormalScores]:
    """Score normals for calibration: yields how many are done after each image and, last, the `NormalScores`."""
    rows: list[tuple[float, float, float]] = []
    heats: list[npt.NDArray[np.float32]] = []
    failures: list[str] = []
    excluded = 0
    every = _scored(method, source, indices, trained_on, workers=workers, pictures=False)
    for done, scored in enumerate(every, start=1):
        if scored.excluded:
            excluded += 1
        elif scored.heat is None or not scored.values:
            failures.append(scored.error)
        else:
            values = scored.values
            rows.append((values["score"], values["residual"], values["discrimination"]))
            heats.append(scored.heat.ravel()[:: max(scored.heat.size // HEAT_PIXELS, 1)].copy())
        yield done
    if not rows:
        why = f"the first of {len(failures)} failures: {failures[0]}" if failures else "all of them were trained on"
        raise DataError(
            f"{source.root}: no image to calibrate on ({why}); give a folder of normal images not used by train"
        )
    scores, residuals, discriminations = np.array(rows, np.float64).T
    scale = float(np.quantile(np.concatenate(heats), HEAT_QUANTILE))
    yield NormalScores(scores, residuals, discriminations, max(scale, 1e-6), excluded, tuple(failures))


def trace_search(method: Method, source: ImageSource, indices: Sequence[int], trace_at: Sequence[int]) -> Trace | None:
    """The search for a few images again, with its trace; None for methods that do not search, and for patches."""
    if method.spec.view != "whole":
        return None
    (prepared,) = stream(source, indices, method.spec, len(indices), keep_pixels=False)
    if not prepared.indices:
        return None
    return score_batch(method, Batch(prepared.images, prepared.fingerprints), trace_at)[0].trace


def _scored(
    method: Method,
    source: ImageSource,
    indices: Sequence[int],
    trained_on: frozenset[int] = frozenset(),
    *,
    workers: int,
    pictures: bool,
) -> Iterator[Scored]:
    """Each image at `indices`, as the model looks at images."""
    method = method.quickened() if isinstance(method, Quickened) else method
    score = scored_scans if method.spec.view == "retina" else scored_images
    return score(method, source, indices, trained_on, workers=workers, pictures=pictures)


def _finding(scored: Scored, source: ImageSource, calibration: Calibration | None, scale: float) -> Finding:
    item = source.items[scored.index]
    if scored.error:
        status = "error" if scored.status is None else scored.status.value
        return Finding(item.id, item.label, item.normal, status=status, error=scored.error, retina=scored.retina)
    assert scored.status is not None
    values: dict[str, Any] = {**scored.values, **(scored.pictures(scale) if scored.pictures else {})}
    p_value, anomalous, flagged_by = decide(calibration, values["score"], values["residual"], values["discrimination"])
    return Finding(
        item.id,
        item.label,
        item.normal,
        **values,
        p_value=p_value,
        anomalous=anomalous,
        flagged_by=flagged_by,
        status=scored.status.value,
        fingerprint=scored.fingerprint,
        retina=scored.retina,
    )
