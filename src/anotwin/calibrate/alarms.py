"""From the scores of held-out normal clips to a threshold for a wished number of alarms an hour, and what it promises.

Frames of a clip resemble each other: counted are not frames but events, by the function that raises the alarms. Events
of normal footage are taken for a Poisson process: independent of each other, at a rate that is the same in new footage.

    hours  T    of held-out footage, frames without a score left out
    wish   w    alarms an hour
    k           place of the threshold among the levels at which held-out events begin: k - 1 of them lie above it

**Promised** where T allows it. The true rate r above level k has r T ~ Gamma(k), whatever scores are like: with 95 %
confidence r <= q(k) / T, q its quantile. That is the exact Poisson bound of k - 1 events (Garwood 1936); 3 / T of none.
The threshold is the level of the largest k with q(k) / T <= w.

**Estimated, not promised** where T < 3 / w: nothing held out is as rare as the wish. The tail is extrapolated by peaks
over threshold (Davison and Smith 1990; SPOT, Siffer et al., KDD 2017). Peaks are the highest scores of their
surroundings (declustered), at least as many as events; m of them exceed a base u, by y:

    r(t) = (m + 1) / T  (1 + s (t - u) / a)^(-1/s)            s shape, a scale; threshold: r(t) = w

A minute has some ten peaks, too few for a shape: the tail is taken for exponential, a = mean y. As this mean is
uncertain itself, y / a of a new peak has the distribution F(2, 2 m), the tail of s = 1 / m. So w is the expected rate
over draws of held-out footage: mostly it is lower, at times much higher. From 30 peaks on s is estimated too, by
probability-weighted moments, better than maximum likelihood below 500 (Hosking and Wallis 1987). s is kept in [0, 0.3],
the threshold never below the highest held-out score. m = 2 sqrt(peaks) by simulation: only the end is exponential.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from anotwin.calibrate.threshold import Numbers
from anotwin.errors import DataError, SettingsError

Floats = npt.NDArray[np.float64]
CountEvents = Callable[[Floats, float], int]  # scores (n,) of a clip, NaN of frames without one; threshold -> events
CONFIDENCE = 0.95
MOST_SHAPE = 0.3  # of the tail: beyond it the variance of the peaks is nearly infinite
_FOR_SHAPE = 30  # peaks
_ONE_BY_ONE = 100  # scores tried as thresholds, from the highest, before some are left out


@dataclass(frozen=True)
class AlarmRate:
    """A threshold of frame scores, and how many alarms an hour normal footage raises at it."""

    wish: float  # alarms an hour that were asked for
    threshold: float  # an event begins where a score is above it
    alarms: int  # events of the held-out footage at this threshold
    expected: float  # alarms an hour, estimated
    bound: float  # with 95 % confidence the true rate is at most this
    hours: float  # of held-out footage
    clips: int  # it has

    @property
    def promised(self) -> bool:
        """Whether the wish is kept with 95 % confidence; if not, the threshold is extrapolated."""
        return self.bound <= self.wish

    @property
    def promise(self) -> str:
        """What is promised, in a sentence."""
        seen = f"{_duration(self.hours)} of held-out footage in {_clips(self.clips)}"
        most, about = f"at most {self.bound:.3g} alarms an hour (95 %)", f"about {self.expected:.3g}"
        if self.promised:
            return f"{most}, {about} expected, on normal footage like the {seen}"
        needed = f"{self.wish:.3g} an hour needs {_duration(rate_bound(0, self.wish))}"
        return f"{about} an hour, estimated, not promised: {seen} can promise {most}; {needed}"


def alarm_rate(
    clips: Sequence[Numbers], frames_per_second: float, events: CountEvents, wish: float, gap: int = 1
) -> AlarmRate:
    """The threshold for a wished number of alarms an hour, from the frame scores of held-out normal clips.

    Args:
        clips: frame scores of each, in order; NaN where a frame has none; higher is more abnormal.
        frames_per_second: of all clips.
        events: how many events a clip has at a threshold; the same for scores and threshold shifted or scaled alike.
        wish: alarms an hour, > 0.
        gap: frames below the threshold that end an event; peaks at most so far apart count once in the tail.

    Raises:
        DataError: no scores, or infinite ones.
        SettingsError: a wish, a rate or a gap that is not positive.

    >>> spikes = np.zeros(3600)
    >>> spikes[[600, 1800, 3000]] = 1.0, 3.0, 2.0  # an hour, a frame a second
    >>> above = lambda scores, threshold: int((scores > threshold).sum())
    >>> found = alarm_rate([spikes], 1.0, above, wish=5.0)
    >>> found.threshold, found.alarms, round(found.bound, 2), found.promised  # q(2) = 4.74
    (2.0, 1, 4.74, True)
    >>> alarm_rate([np.arange(60.0)], 1.0, above, wish=1.0).promise.partition(": ")[2]
    '60 s of held-out footage in 1 clip can promise at most 180 alarms an hour (95 %); 1 an hour needs 3 h'
    """
    if not (wish > 0 and frames_per_second > 0 and gap >= 1 and math.isfinite(wish + frames_per_second)):
        got = f"{wish} alarms an hour, {frames_per_second} frames a second, a gap of {gap} frames"
        raise SettingsError(f"calibration of alarms: expected positive numbers, got {got}")
    courses = checked_clips(clips)
    frames = sum(int(np.count_nonzero(~np.isnan(each))) for each in courses)
    hours = frames / frames_per_second / 3600
    k = _promised_place(hours, wish, frames)
    if k:
        threshold, expected = _lowest_threshold(courses, events, k - 1, None), k / hours
    else:
        threshold, expected = _extrapolated(courses, hours, wish, gap)
    alarms, bound = _alarms(courses, events, threshold, None), rate_bound(max(k, 1) - 1, hours)
    return AlarmRate(float(wish), threshold, alarms, expected, bound, hours, len(courses))


def clip_threshold(clips: Sequence[Numbers], events: CountEvents, wish: float, most: int = 1) -> float:
    """The threshold at which a new clip raises at most `wish` alarms, on average: conformal risk control.

    Angelopoulos et al., arXiv 2208.02814, 2022, eq. 4: the lowest with (sum of the n clips' losses + B) / (n + 1) <=
    wish. The loss of a clip is the number of its alarms, those beyond B = `most` not counted, and the highest at this
    or any higher threshold: it must not rise with the threshold. Nothing is assumed of events, unlike by `alarm_rate`;
    clips are exchangeable, their lengths included, and the promise is an average over draws of them.

    Raises:
        DataError: no scores, infinite ones, or fewer clips than most / wish - 1.
        SettingsError: `wish` or `most` not positive.

    >>> above = lambda scores, threshold: int((scores > threshold).any())
    >>> clip_threshold([[0.0, level] for level in (1.0, 4.0, 2.0, 3.0)], above, wish=0.4)  # 5 * 0.4 - 1 = 1 may alarm
    3.0
    """
    if not (wish > 0 and most >= 1):
        raise SettingsError(f"calibration of alarms: expected a positive wish a clip, got {wish} of at most {most}")
    courses = checked_clips(clips)
    allowed = wish * (len(courses) + 1) - most
    if allowed < 0:
        what = f"{_clips(len(courses))} held out cannot promise {wish:g} alarms a clip"
        need = f"at least {math.ceil(most / wish - 1)} are needed"
        raise DataError(f"calibration of alarms: {what}; {need}: hold out more clips or ask for more alarms")
    return _lowest_threshold(courses, events, allowed, most)


def rate_bound(events: int, hours: float, confidence: float = CONFIDENCE) -> float:
    """The exact upper bound on the rate of a Poisson process that showed so many events in so many hours.

    Of none it is 3 / T: as many hours without an event are needed to promise a rate as this says of the rate.

    >>> round(rate_bound(0, 1.0), 3), round(rate_bound(3, 2.0), 3)
    (2.996, 3.877)
    """
    return float(stats.gamma.ppf(confidence, events + 1)) / hours


def checked_clips(clips: Sequence[Numbers]) -> list[Floats]:
    """The scores of each clip (n,), float64; raises DataError where there are none at all, or infinite ones."""
    courses = [np.asarray(each, np.float64) for each in clips]
    for number, each in enumerate(courses, start=1):
        if each.ndim != 1 or np.isinf(each).any():
            what = f"shape {each.shape}" if each.ndim != 1 else "infinite scores"
            raise DataError(f"calibration of alarms: clip {number} has {what}; expected a finite score for each frame")
    if all(np.isnan(each).all() for each in courses):
        raise DataError(f"calibration of alarms: no frame of {_clips(len(courses))} has a score; hold out other clips")
    return courses


def _promised_place(hours: float, wish: float, frames: int) -> int:
    """The largest k with q(k) / T <= wish, 0 where none is; events are never more than frames."""
    places = np.arange(1, min(math.floor(wish * hours), frames) + 1)  # q(k) > k
    return int(np.count_nonzero(stats.gamma.ppf(CONFIDENCE, places) / hours <= wish))


def _alarms(clips: Sequence[Floats], events: CountEvents, threshold: float, most: int | None) -> int:
    counts = (events(each, threshold) for each in clips if np.nanmax(each, initial=-np.inf) > threshold)
    return sum(count if most is None else min(count, most) for count in counts)


def _lowest_threshold(clips: Sequence[Floats], events: CountEvents, allowed: float, most: int | None) -> float:
    """The lowest held-out score at which, and at all higher ones, the clips raise at most so many alarms together.

    The number of events need not rise as the threshold falls, because neighbours become one: therefore from the top.
    Never below the median of the scores.
    """
    scores = np.concatenate(clips)
    falling = np.sort(scores[~np.isnan(scores)])[::-1]
    falling = np.unique(falling[: falling.size // 2 + 1])[::-1]
    # each rank about 1 % beyond the one before: an hour may have 90,000 frames
    beyond = np.geomspace(_ONE_BY_ONE, max(falling.size, _ONE_BY_ONE + 1), 700).astype(int)
    ranks = np.unique(np.concatenate([np.arange(_ONE_BY_ONE), beyond]))
    lowest = float(falling[0])
    for threshold in falling[ranks[ranks < falling.size]].tolist():
        if _alarms(clips, events, threshold, most) > allowed:
            break
        lowest = threshold
    return lowest


def _peaks(scores: Floats, gap: int) -> Floats:
    """The scores that are higher than `gap` frames before and as high as `gap` after: at least one of each event.

    >>> _peaks(np.array([0.0, 2.0, 1.0, 2.0, 0.0, 0.0, 3.0, 3.0]), 2).tolist()
    [2.0, 3.0]
    """
    scores = scores[~np.isnan(scores)]
    padded = np.pad(scores, gap, constant_values=-np.inf)
    around = np.lib.stride_tricks.sliding_window_view(padded, gap).max(1)  # of gap frames from each
    found: Floats = scores[(scores > around[: scores.size]) & (scores >= around[gap + 1 :])]
    return found


def _extrapolated(clips: Sequence[Floats], hours: float, wish: float, gap: int) -> tuple[float, float]:
    """The threshold whose expected rate is the wish, and the expected rate at it; see the top of this file."""
    scores = np.concatenate(clips)
    highest, middle = float(np.nanmax(scores)), float(np.nanmedian(scores))
    peaks = np.sort(np.concatenate([_peaks(each, gap) for each in clips]))[::-1]
    count = min(peaks.size, int(2 * math.sqrt(peaks.size)))
    base = float(peaks[count]) if count < peaks.size else min(middle, float(peaks[-1]))
    shape, scale = _tail(peaks[:count] - base)
    if scale == 0:  # all peaks are equal: the tail says nothing
        return highest, wish
    often = (count + 1) / hours  # expected rate above the base
    reach = base + scale / shape * ((often / wish) ** shape - 1)
    if reach >= highest:
        return reach, wish
    return highest, often * (1 + shape * (highest - base) / scale) ** (-1 / shape)


def _tail(excesses: Floats) -> tuple[float, float]:
    """Shape in (0, 0.3] and scale of a generalised Pareto tail, from what peaks exceed its base by (m,)."""
    mean = float(excesses.mean())
    least = min(1 / excesses.size, MOST_SHAPE)
    if excesses.size < _FOR_SHAPE or mean == 0:
        return least, mean
    rising = np.sort(excesses)
    beyond = 1 - (np.arange(1, rising.size + 1) - 0.35) / rising.size
    moment = float((beyond * rising).mean())  # E[Y (1 - F(Y))] = scale / (2 (2 - shape)); the mean: scale / (1 - shape)
    shape = 2 - mean / (mean - 2 * moment)
    if shape <= least:
        return least, mean
    shape = min(shape, MOST_SHAPE)
    return shape, mean * (1 - shape)


def _clips(count: int) -> str:
    return f"{count} clip{'' if count == 1 else 's'}"


def _duration(hours: float) -> str:
    """A length of footage for a person to read."""
    seconds = hours * 3600
    return f"{seconds:.3g} s" if seconds < 120 else f"{seconds / 60:.3g} min" if hours < 2 else f"{hours:.3g} h"
