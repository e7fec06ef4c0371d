"""How well scores of frames tell abnormal frames from normal ones, and how well heat finds what is abnormal in them.

Frames of one clip resemble each other, so that intervals resample whole clips. The pixel-level criterion makes one
number of the heat of a frame, and is then the same evaluation: nothing but that number is kept of a frame.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from anotwin.errors import DataError, SettingsError
from anotwin.evaluate import metrics
from anotwin.evaluate.paired import Estimate
from anotwin.evaluate.run import strict

Floats = npt.NDArray[np.float64]
COVERED = 0.4  # of the abnormal pixels of a frame (Mahadevan et al. 2010)


@dataclass(frozen=True)
class FrameEvaluation:
    """Metrics of frames. ``*_low`` and ``*_high``: 95 % intervals, clips resampled; NaN: a class is missing."""

    n_normal: int
    n_abnormal: int
    n_failed: int  # frames without a score: left out of everything else
    n_clips: int
    auroc: float  # micro: all frames of all clips together
    auroc_low: float
    auroc_high: float
    macro_auroc: float  # the mean of the AUROC of single clips
    macro_auroc_low: float
    macro_auroc_high: float
    n_macro_clips: int  # clips with both normal and abnormal frames: the others have no AUROC and do not count
    equal_error_rate: float  # over all frames
    by_clip: Mapping[str, float]  # AUROC of each clip; NaN where it has one class only

    def as_dict(self) -> dict[str, Any]:
        """Strict JSON: NaN becomes None."""
        return dict(strict(vars(self)))


def evaluate_frames(
    labels: metrics.Vector, scores: metrics.Vector, clips: Sequence[Hashable], *, draws: int = 1000, seed: int = 0
) -> FrameEvaluation:
    """Compare scores of frames with their labels, over all frames and clip by clip.

    Micro and macro AUROC as in Georgescu et al., arXiv 2008.12328, who add a normal frame of score 0 and an abnormal
    one of score 1 to each clip before its AUROC; here nothing is added, and clips of one class are left out of the
    mean. With less than some ten clips the intervals are too narrow (`metrics.group_bootstrap`).

    Args:
        labels: (N,) true or 1 where abnormal.
        scores: (N,) higher is more abnormal; NaN: the frame has no score.
        clips: (N,) the clip of each frame.
        draws: resamples of clips, >= 1.
        seed: >= 0.

    Raises:
        SettingsError: not three lists of one length, or labels other than 0 and 1.

    >>> found = evaluate_frames([0, 0, 1, 0, 1, 0], [1, 2, 3, 5, 4, 3], "aaabbb")
    >>> found.auroc, found.macro_auroc, found.n_macro_clips
    (0.6875, 0.75, 2)
    """
    truth, values = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or truth.shape != values.shape or len(clips) != values.size:
        raise SettingsError(
            f"frames: labels {truth.shape}, scores {values.shape} and clips ({len(clips)},) must be one for each frame"
        )
    scored = ~np.isnan(values)
    truth, values, own = truth[scored], values[scored], [clips[place] for place in np.flatnonzero(scored).tolist()]
    auroc, n_abnormal = metrics.auroc(truth, values), int(np.count_nonzero(truth))
    low = high = math.nan
    if not math.isnan(auroc):
        low, high = metrics.group_bootstrap(metrics.auroc, truth, values, own, draws=draws, seed=seed)
    by_clip = clip_aurocs(truth, values, own)
    both = np.array([value for value in by_clip.values() if not math.isnan(value)])
    macro = _mean_of_clips(both, draws, seed)
    return FrameEvaluation(
        n_normal=values.size - n_abnormal,
        n_abnormal=n_abnormal,
        n_failed=int(np.count_nonzero(~scored)),
        n_clips=len(by_clip),
        auroc=auroc,
        auroc_low=low,
        auroc_high=high,
        macro_auroc=macro.value,
        macro_auroc_low=macro.low,
        macro_auroc_high=macro.high,
        n_macro_clips=both.size,
        equal_error_rate=equal_error_rate(truth, values),
        by_clip={str(clip): value for clip, value in by_clip.items()},
    )


def clip_aurocs(labels: metrics.Vector, scores: metrics.Vector, clips: Sequence[Hashable]) -> dict[Hashable, float]:
    """AUROC of each clip by itself; NaN for a clip without normal or without abnormal frames.

    >>> clip_aurocs([0, 1, 1, 0, 1], [1.0, 2.0, 3.0, 5.0, 5.0], ["a", "a", "b", "c", "c"])
    {'a': 1.0, 'b': nan, 'c': 0.5}
    """
    truth, values = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    return {clips[part[0]]: metrics.auroc(truth[part], values[part]) for part in places_by_group(clips)}


def places_by_group(groups: Sequence[Hashable]) -> list[npt.NDArray[np.int64]]:
    """Where each group is, ascending; groups in the order in which they come.

    >>> places_by_group("abac")
    [array([0, 2]), array([1]), array([3])]
    """
    of = metrics.number_groups(groups)
    order = np.argsort(of, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(of[order])) + 1)
    return parts if of.size else []


def equal_error_rate(labels: metrics.Vector, scores: metrics.Vector) -> float:
    """The error at which as large a share of normal frames is flagged as of abnormal ones is missed; NaN for a class.

    The ROC has a point for each distinct score and is linear between two of them, as where frames of equal score are
    flagged at random. In [0, 1]; 0.5 for scores that tell nothing.

    Args:
        labels: (N,) true or 1 where abnormal.
        scores: (N,) higher is more abnormal; no NaN.

    >>> round(equal_error_rate([0, 0, 0, 1, 1], [0.1, 0.2, 0.6, 0.5, 0.7]), 4)
    0.3333
    >>> equal_error_rate([0, 1, 0, 1], [1, 1, 1, 1])
    0.5
    """
    if math.isnan(metrics.auroc(labels, scores)):  # it checks labels and scores
        return math.nan
    abnormal, values = np.asarray(labels).astype(bool), np.asarray(scores, dtype=np.float64)
    distinct, codes = np.unique(values, return_inverse=True)
    rates = []
    for which in (~abnormal, abnormal):  # flagged at a threshold above all scores, then at each, from the highest on
        counts = np.bincount(codes[which], minlength=distinct.size)[::-1]
        rates.append(np.concatenate([[0], np.cumsum(counts)]) / counts.sum())
    alarms, excess = rates[0], rates[0] - (1 - rates[1])  # rises from -1 to 1: each score flags some frame
    after = int(np.searchsorted(excess, 0.0))
    part = excess[after - 1] / (excess[after - 1] - excess[after])
    return float(alarms[after - 1] + part * (alarms[after] - alarms[after - 1]))


def highest_covering(values: npt.NDArray[Any], share: float) -> float:
    """The highest v of values (n,), n >= 1, such that at least `share` of them, and at least one, are v or more.

    >>> highest_covering(np.array([1.0, 5.0, 3.0, 2.0, 4.0]), 0.4)  # two of five
    4.0
    """
    needed = max(math.ceil(share * values.size - 1e-9), 1)  # 0.1 * 30 is above 3 by a rounding
    return float(np.partition(values, values.size - needed)[values.size - needed])


def pixel_level_score(
    heat: npt.NDArray[Any], mask: npt.NDArray[Any] | None, *, covered: float = COVERED, where: str = "frame"
) -> float:
    """The number that the pixel-level criterion makes of a frame: it counts as flagged at thresholds below this alone.

    Mahadevan et al. 2010 and Li, Mahadevan and Vasconcelos 2014 (Sec. 6): an abnormal frame is detected at a threshold
    t if at least 40 % of its abnormal pixels have heat > t, whatever the others have; a normal frame is a false alarm
    if any pixel has. So the number is the k-th highest heat of the m abnormal pixels, k = ceil(0.4 m), and the
    highest heat of a normal frame; the ROC of these numbers is that of all thresholds.

    Args:
        heat: (H, W), higher is more abnormal.
        mask: (H, W) non-zero where abnormal; None or all zero: a normal frame.
        covered: share of the abnormal pixels, in (0, 1].
        where: the frame, for messages.

    Raises:
        SettingsError: shapes that differ, are empty or not (H, W); a share out of range.
        DataError: NaN in the heat.

    >>> heat = np.array([[1.0, 2.0], [3.0, 9.0]])
    >>> pixel_level_score(heat, None), pixel_level_score(heat, np.array([[1, 1], [1, 0]]))
    (9.0, 2.0)
    """
    heat = np.asarray(heat)
    if not 0 < covered <= 1:
        raise SettingsError(f"{where}: the share of pixels to cover must be above 0 and at most 1, got {covered}")
    if heat.ndim != 2 or not heat.size or (mask is not None and np.shape(mask) != heat.shape):
        raise SettingsError(
            f"{where}: heat {heat.shape} and mask {np.shape(mask) if mask is not None else None} must be (H, W) and of "
            "the same size; give both in the pixels of the file"
        )
    highest = float(heat.max())  # NaN if any pixel is
    if math.isnan(highest):
        bad = int(np.count_nonzero(np.isnan(heat)))
        raise DataError(f"{where}: {bad} of {heat.size} pixels of the heat are NaN; expected numbers only")
    inside = np.asarray(mask).astype(bool) if mask is not None else None
    return highest_covering(heat[inside], covered) if inside is not None and inside.any() else highest


class PixelLevel:
    """The pixel-level criterion over a stream of frames: of each frame its number, its label and its clip are kept.

    >>> found = PixelLevel()
    >>> for clip, hot in (("a", 1.0), ("a", 2.0), ("b", 3.0)):
    ...     found.add(clip, np.full((4, 4), hot), np.ones((4, 4)) if hot > 1 else None)
    >>> found.evaluate().auroc
    1.0
    """

    def __init__(self, covered: float = COVERED) -> None:
        self._covered = covered
        self._numbers, self._abnormal = array("d"), array("b")
        self._clips: list[Hashable] = []

    def add(
        self, clip: Hashable, heat: npt.NDArray[Any] | None, mask: npt.NDArray[Any] | None, where: str = "frame"
    ) -> None:
        """One more frame, as in `pixel_level_score`; heat None: it has no score and counts as failed."""
        number = math.nan if heat is None else pixel_level_score(heat, mask, covered=self._covered, where=where)
        self._numbers.append(number)
        self._abnormal.append(mask is not None and bool(np.any(mask)))
        self._clips.append(clip)

    @property
    def numbers(self) -> Floats:
        """(N,) the number of each frame, NaN where it has none."""
        return np.array(self._numbers, dtype=np.float64)

    def evaluate(self, *, draws: int = 1000, seed: int = 0) -> FrameEvaluation:
        """AUROC and equal error rate of the criterion, as `evaluate_frames` gives them of scores."""
        return evaluate_frames(np.array(self._abnormal), self.numbers, self._clips, draws=draws, seed=seed)


def _mean_of_clips(values: Floats, draws: int, seed: int) -> Estimate:
    """The mean over clips and its percentile interval, clips resampled; NaN without a clip."""
    if not values.size:
        return Estimate(*[math.nan] * 3)
    picks = np.random.default_rng([seed, 5]).integers(values.size, size=(draws, values.size))
    low, high = np.quantile(values[picks].mean(axis=1), [0.025, 0.975])
    return Estimate(float(values.mean()), float(low), float(high))
