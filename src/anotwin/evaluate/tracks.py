"""Regions and tracks: how many of the truly abnormal ones are found, at how many false regions a frame.

Ramachandra and Jones, "Street Scene: A new dataset and evaluation protocol for video anomaly detection", WACV 2020
(arXiv 1902.05872), Sec. 4. A true region is detected if some predicted region of its frame has an IoU of at least 0.1
with it, and a track if at least 10 % of its regions are; a predicted region that has that with no true region of its
frame is a false positive. RBDC and TBDC are the areas under the share of regions, and of tracks, detected over false
positives per frame, from 0 to 1 of these.

Each true region has a score, the highest of the predicted regions that detect it, and so has each track: detected
are those whose score is at or above the threshold. The area over all thresholds is therefore one integral over sorted
scores, and no threshold is tried.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from anotwin.errors import DataError, SettingsError
from anotwin.evaluate import metrics
from anotwin.evaluate.frames import highest_covering, places_by_group
from anotwin.evaluate.run import strict

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]
Box = tuple[float, float, float, float]  # top, left, bottom, right in pixels; bottom and right are just outside
OVERLAP = 0.1  # beta of the paper: the least IoU
TRACK_SHARE = 0.1  # alpha of the paper: the least share of a track's regions
LONGEST_GAP = 2  # frames that a track may be away
_EIGHT_CONNECTED = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True, slots=True)
class PredictedRegion:
    """Where something abnormal was seen in a frame."""

    clip: str
    frame: int  # within the clip, from 0
    box: Box
    score: float  # finite, higher is more abnormal


@dataclass(frozen=True, slots=True)
class TruthRegion:
    """Where something abnormal is in a frame."""

    clip: str
    frame: int  # within the clip, from 0
    box: Box
    track: int  # the same thing in other frames of the clip


@dataclass(frozen=True)
class RegionEvaluation:
    """RBDC and TBDC, and what all predicted regions together detect; NaN without a true region."""

    rbdc: float  # in [0, 1]
    tbdc: float  # in [0, 1]
    region_rate: float  # share of the true regions that some predicted region detects, whatever its score
    track_rate: float
    false_per_frame: float  # predicted regions that match no true region, per frame; may be above 1
    n_regions: int  # true ones
    n_tracks: int
    n_predicted: int
    n_frames: int

    def as_dict(self) -> dict[str, Any]:
        """Strict JSON: NaN becomes None."""
        return dict(strict(vars(self)))


def evaluate_regions(
    predicted: Sequence[PredictedRegion],
    truth: Sequence[TruthRegion],
    n_frames: int,
    *,
    overlap: float = OVERLAP,
    share: float = TRACK_SHARE,
) -> RegionEvaluation:
    """RBDC and TBDC of predicted regions with scores.

    Conventions of the code published with Georgescu et al., arXiv 2008.12328 (github.com/lilygeorgescu/AED), with
    which most figures in print are made:

    - where the lowest score is reached before one false positive a frame, the curve goes on level from there to 1;
      what lies beyond 1 does not count; the area is not divided by anything else;
    - one predicted region may detect several true ones; further ones on a region that is detected already are neither
      detections nor false positives;
    - frames are all frames, normal and abnormal, and a box with the corners of published tracks, x_min to x_max both
      inclusive, is (y_min, x_min, y_max + 1, x_max + 1) here.

    One difference: regions of equal score pass the threshold together and the curve is linear between thresholds, so
    that the order in which regions are given does not matter; published code takes them in that order. Areas are equal
    where scores are.

    Args:
        predicted: in any order.
        truth: in any order; a track may have several regions in a frame.
        n_frames: all frames of all clips, >= 1.
        overlap: least IoU of boxes, in (0, 1].
        share: least share of a track's regions, in (0, 1].

    Raises:
        SettingsError: a value out of range.
        DataError: a score that is not finite, an empty box.

    >>> truth = [TruthRegion("a", frame, (0, 0, 10, 10), 1) for frame in range(4)]
    >>> predicted = [PredictedRegion("a", 0, (0, 0, 9, 9), 5.0), PredictedRegion("a", 1, (50, 50, 60, 60), 7.0)]
    >>> found = evaluate_regions(predicted, truth, n_frames=4)
    >>> found.rbdc, found.tbdc, found.false_per_frame  # the false one comes first: a fourth of the area is lost
    (0.1875, 0.75, 0.25)
    """
    if n_frames < 1 or not 0 < overlap <= 1 or not 0 < share <= 1:
        raise SettingsError(
            f"regions: frames must be >= 1, overlap and share above 0 and at most 1; got {n_frames}, {overlap}, {share}"
        )
    scores = np.array([each.score for each in predicted], dtype=np.float64)
    if not np.isfinite(scores).all():
        bad = predicted[int(np.argmin(np.isfinite(scores)))]
        raise DataError(f"{bad.clip}: frame {bad.frame}: score {bad.score} of a predicted region; expected a number")
    of_predicted, of_truth = matches(predicted, truth, overlap)
    best = np.full(len(truth), -np.inf)  # score of each true region; -inf: never detected
    np.maximum.at(best, of_truth, scores[of_predicted])
    false = np.delete(scores, of_predicted)
    tracks = places_by_group([(each.clip, each.track) for each in truth])
    of_tracks = np.array([highest_covering(best[own], share) for own in tracks], dtype=np.float64)
    return RegionEvaluation(
        rbdc=_area(best, false, n_frames),
        tbdc=_area(of_tracks, false, n_frames),
        region_rate=_share(best > -np.inf),
        track_rate=_share(of_tracks > -np.inf),
        false_per_frame=false.size / n_frames,
        n_regions=len(truth),
        n_tracks=of_tracks.size,
        n_predicted=len(predicted),
        n_frames=n_frames,
    )


def matches(
    predicted: Sequence[PredictedRegion], truth: Sequence[TruthRegion], overlap: float = OVERLAP
) -> tuple[Numbers, Numbers]:
    """All pairs of a predicted and a true region of one frame that overlap enough: numbers (P,) and (P,) of both.

    Args:
        overlap: least IoU of boxes, in [0, 1]; 0: they share some area.

    Raises:
        DataError: an empty box.
    """
    of = [(each.clip, each.frame) for each in truth] + [(each.clip, each.frame) for each in predicted]
    frames = metrics.number_groups(of)
    of_truth, of_predicted = frames[: len(truth)], frames[len(truth) :]
    order = np.argsort(of_truth, kind="stable")
    first, behind = (np.searchsorted(of_truth[order], of_predicted, side) for side in ("left", "right"))
    counts = behind - first  # true regions in the frame of each predicted one
    left = np.repeat(np.arange(len(predicted)), counts)
    within = np.arange(left.size) - np.repeat(np.cumsum(counts) - counts, counts)
    right = order[np.repeat(first, counts) + within]
    iou = _iou(_boxes(predicted)[left], _boxes(truth)[right])
    enough = (iou >= overlap) & (iou > 0)
    return left[enough], right[enough]


def tracks_from_masks(masks: Iterable[npt.NDArray[Any] | None], clip: str) -> list[TruthRegion]:
    """The true regions of a clip, with tracks, from its masks.

    A region is an 8-connected component of a mask. It carries on the track of the component of the frame before with
    which it has the largest IoU of masks, pairs of the highest IoU first, and one track each: where two things merge,
    the track with more in common goes on; where one falls apart, the part with more in common has its track. A
    component without overlap, or left over, carries on a track that was away for one or two frames if their boxes
    overlap (the largest IoU of boxes first), and else begins a new one. So things that pass each other may have more
    tracks than there are things.

    Args:
        masks: (H, W) of each frame in order, non-zero where abnormal; None: nothing is. Read once, one at a time.
        clip: its name.

    Raises:
        SettingsError: masks of different sizes, or not (H, W).

    >>> mask = np.zeros((6, 9), bool)
    >>> mask[1:3, 1:4] = True
    >>> [(each.frame, each.box, each.track) for each in tracks_from_masks([mask, None, np.roll(mask, 2, 1)], "a")]
    [(0, (1, 1, 3, 4), 0), (2, (1, 3, 3, 6), 0)]
    """
    found: list[TruthRegion] = []
    last: dict[int, TruthRegion] = {}  # the latest region of each track that may go on
    before: list[_Component] = []
    of_before: dict[int, int] = {}  # component -> track
    shape, next_track = (), 0
    for frame, mask in enumerate(masks):
        if mask is not None and (mask.ndim != 2 or mask.shape != (shape or mask.shape)):
            raise SettingsError(f"{clip}: mask of frame {frame} is {mask.shape}, expected {shape or '(H, W)'}")
        shape = shape if mask is None else mask.shape
        now = [] if mask is None else _components(mask)
        tracks = {component: of_before[earlier] for component, earlier in _link(_mask_overlaps(now, before)).items()}
        last = {track: each for track, each in last.items() if frame - each.frame <= LONGEST_GAP + 1}
        away = [each for each in last.values() if each.frame < frame - 1]
        free = [component for component in range(len(now)) if component not in tracks]
        for component, earlier in _link(_box_overlaps([now[each] for each in free], away)).items():
            tracks[free[component]] = away[earlier].track
        for component, each in enumerate(now):
            if component not in tracks:
                tracks[component], next_track = next_track, next_track + 1
            found.append(TruthRegion(clip, frame, each.box, tracks[component]))
            last[tracks[component]] = found[-1]
        before, of_before = now, tracks
    return found


@dataclass(frozen=True, eq=False)
class _Component:
    box: tuple[int, int, int, int]
    mask: npt.NDArray[np.bool_]  # (height, width) of its box


def _components(mask: npt.NDArray[Any]) -> list[_Component]:
    """The 8-connected parts of a mask (H, W), row by row; only the rows and columns that hold any are labelled."""
    inside = mask != 0
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not rows.size:
        return []
    top, left = int(rows[0]), int(columns[0])
    labels, _ = ndimage.label(inside[top : rows[-1] + 1, left : columns[-1] + 1], structure=_EIGHT_CONNECTED)
    return [
        _Component((top + down.start, left + across.start, top + down.stop, left + across.stop), own == number)
        for number, (down, across) in enumerate(ndimage.find_objects(labels), 1)
        for own in (labels[down, across],)
    ]


def _mask_overlaps(now: Sequence[_Component], before: Sequence[_Component]) -> Floats:
    """(n, m) IoU of masks."""
    overlaps = _box_overlaps(now, before)
    for row, column in np.argwhere(overlaps).tolist():
        one, other = now[row], before[column]
        low, high = np.maximum(one.box[:2], other.box[:2]), np.minimum(one.box[2:], other.box[2:])
        parts = []
        for each in (one, other):
            top, left = low - each.box[:2]
            bottom, right = high - each.box[:2]
            parts.append(each.mask[top:bottom, left:right])
        common = np.count_nonzero(parts[0] & parts[1])
        overlaps[row, column] = common / (np.count_nonzero(one.mask) + np.count_nonzero(other.mask) - common)
    return overlaps


def _box_overlaps(some: Sequence[_Component], others: Sequence[_Component] | Sequence[TruthRegion]) -> Floats:
    """(n, m) IoU of boxes."""
    rows, columns = (np.array([e.box for e in each], np.float64).reshape(-1, 4) for each in (some, others))
    return _iou(rows[:, None], columns[None])


def _link(overlaps: Floats) -> dict[int, int]:
    """Row -> column, one to one, the largest overlap above 0 first; of equal ones the first."""
    linked: dict[int, int] = {}
    rows, columns = np.nonzero(overlaps)
    for place in np.argsort(-overlaps[rows, columns], kind="stable").tolist():
        row, column = int(rows[place]), int(columns[place])
        if row not in linked and column not in linked.values():
            linked[row] = column
    return linked


def _boxes(regions: Sequence[PredictedRegion] | Sequence[TruthRegion]) -> Floats:
    """(n, 4) top, left, bottom, right."""
    boxes = np.array([each.box for each in regions], dtype=np.float64).reshape(-1, 4)
    full = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    if not full.all():
        bad = regions[int(np.argmin(full))]
        raise DataError(
            f"{bad.clip}: frame {bad.frame}: box {bad.box} is empty; expected top, left, bottom, right with "
            "bottom > top and right > left"
        )
    return boxes


def _iou(one: Floats, other: Floats) -> Floats:
    """Intersection over union of boxes (..., 4), pair by pair."""
    low, high = np.maximum(one[..., :2], other[..., :2]), np.minimum(one[..., 2:], other[..., 2:])
    common = np.prod(np.maximum(high - low, 0), axis=-1)
    areas = [np.prod(each[..., 2:] - each[..., :2], axis=-1) for each in (one, other)]
    iou: Floats = common / (areas[0] + areas[1] - common)
    return iou


def _area(scores: Floats, false: Floats, n_frames: int) -> float:
    """Area under the share of `scores` at or above a threshold over false positives per frame, from 0 to 1.

    A score s raises the curve by 1 / n, linearly from the rate of false scores > s to that of those >= s.
    """
    if not scores.size:
        return float("nan")
    ordered, detected = np.sort(false), scores[scores > -np.inf]
    before = (ordered.size - np.searchsorted(ordered, detected, side="right")) / n_frames
    after = (ordered.size - np.searchsorted(ordered, detected, side="left")) / n_frames
    width = after - before
    rising = np.clip(1 - before, 0, width)  # the part of the linear rise that lies below 1
    under_rise = np.divide(rising**2, 2 * width, out=np.zeros_like(width), where=width > 0)
    return float(np.sum(under_rise + np.maximum(1 - after, 0)) / scores.size)


def _share(flags: npt.NDArray[np.bool_]) -> float:
    return float(flags.mean()) if flags.size else float("nan")
