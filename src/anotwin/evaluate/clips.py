"""The evaluation of clips: frames, regions, tracks and alarms, from what was found in the frames and their truth."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from anotwin.domains.protocol import ClipFound
from anotwin.evaluate.alarms import PredictedEvent, evaluate_alarms, track_coverage, truth_events
from anotwin.evaluate.frames import FrameEvaluation, PixelLevel, evaluate_frames
from anotwin.evaluate.tracks import PredictedRegion, TruthRegion, evaluate_regions, tracks_from_masks
from anotwin.records import ImageItem

Mask = npt.NDArray[np.bool_]


def clip_numbers(
    clips: Sequence[ClipFound],
    items: Sequence[ImageItem],
    scores: Mapping[int, float],
    mask: Callable[[int], Mask | None] | None,
    pixel_level: PixelLevel | None,
) -> dict[str, Any]:
    """What `anotwin evaluate` says of clips, strict JSON.

    Args:
        clips: what was found in each.
        items: (N,) all frames of the source; those without a label count nowhere.
        scores: of the frames by index; NaN where one failed.
        mask: the true mask (H, W) of a frame by its index; None: there are none.
        pixel_level: the heat of these frames, collected on the way; None likewise.

    Returns:
        ``frames`` and ``pixel_level`` (AUROC over all frames and as a mean of clips, equal error rate), ``regions``
        (RBDC, TBDC) and ``alarms`` (recall of true events, delays, false alarms an hour). Without masks a true event
        is a run of abnormal frames, and there are no regions.
    """
    frames = _frames(clips, items, scores)
    numbers: dict[str, Any] = {"frames": frames.as_dict()}
    if pixel_level is not None:
        numbers["pixel_level"] = pixel_level.evaluate().as_dict()
    truth, shape = _truth(clips, mask)
    if truth:
        count = sum(clip.count for clip in clips)
        predicted, shown = _regions(clips, False), _regions(clips, True)
        coverage = track_coverage(shown, truth, overlap=0.0)
        numbers["regions"] = evaluate_regions(predicted, truth, count).as_dict() | {
            "coverage": {f"{name} track {track}": share for (name, track), share in coverage.items()}
        }
    numbers["alarms"] = _alarms(clips, items, truth, shape)
    return numbers


def _regions(clips: Sequence[ClipFound], shown: bool) -> list[PredictedRegion]:
    """Those that are shown, or those for curves."""
    return [
        PredictedRegion(clip.name, region.frame, region.box, region.heat)
        for clip in clips
        for region in clip.regions
        if region.shown is shown
    ]


def _frames(clips: Sequence[ClipFound], items: Sequence[ImageItem], scores: Mapping[int, float]) -> FrameEvaluation:
    labels, values, of = [], [], []
    for clip in clips:
        for index in range(clip.first, clip.first + clip.count):
            normal = items[index].normal
            if normal is not None and index in scores:
                labels.append(not normal)
                values.append(scores[index])
                of.append(clip.name)
    return evaluate_frames(np.array(labels), np.array(values), of)


def _truth(
    clips: Sequence[ClipFound], mask: Callable[[int], Mask | None] | None
) -> tuple[list[TruthRegion], tuple[int, int]]:
    """True regions with tracks, and the height and width of the frames."""
    if mask is None:
        return [], (0, 0)
    found: list[TruthRegion] = []
    shape = (0, 0)
    for clip in clips:
        masks = [mask(index) for index in range(clip.first, clip.first + clip.count)]
        shape = next((each.shape for each in masks if each is not None), shape)
        found += tracks_from_masks(masks, clip.name)
    return found, shape


def _alarms(
    clips: Sequence[ClipFound], items: Sequence[ImageItem], truth: Sequence[TruthRegion], shape: tuple[int, int]
) -> dict[str, Any]:
    """Frame numbers are the unit of events; rates are by hour of the clips' own time."""
    rate = float(np.mean([clip.rate for clip in clips]))
    regions, hours = list(truth), 0.0
    for clip in clips:
        normal = np.array([items[clip.first + n].normal is not False for n in range(clip.count)])
        hours += float(np.count_nonzero(normal)) / clip.rate / 3600
        if not any(each.clip == clip.name for each in truth):
            regions += _runs_as_regions(clip.name, ~normal)
    events = list(truth_events(regions, *(shape if truth else (2, 2))).values())
    predicted = [PredictedEvent(clip.name, start, end) for clip in clips for start, end in clip.events]
    found = evaluate_alarms(predicted, events, hours).as_dict()
    return found | {"frames_per_second": rate if math.isfinite(rate) else None}


def _runs_as_regions(name: str, abnormal: Mask) -> list[TruthRegion]:
    """Runs of abnormal frames of a clip without masks, each as a track that fills the picture."""
    edges = np.flatnonzero(np.diff(np.pad(abnormal, 1).astype(np.int8))).reshape(-1, 2)
    return [
        TruthRegion(name, frame, (0.0, 0.0, 2.0, 2.0), number)
        for number, (first, last) in enumerate(edges.tolist())
        for frame in range(first, last)
    ]
