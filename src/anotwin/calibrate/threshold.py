"""From scores of held-out normal images to a threshold with a finite-sample guarantee: split-conformal prediction.

Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World", 2005 (conformal p-values); Vovk, "Conditional
validity of inductive conformal predictors", ACML 2012, and Angelopoulos and Bates, "A Gentle Introduction to Conformal
Prediction", arXiv 2107.07511, 2021, on the size of the calibration set (both: `rate_bound`); Bates et al., "Testing for
outliers with conformal p-values", arXiv 2104.08279, 2021 (the use for anomalies).

The only assumption: the held-out normals and a new normal image are exchangeable; the model was trained on neither.
Images that come in groups are not: see `anotwin.calibrate.groups`.

    n     held-out normal scores s_(1) <= ... <= s_(n)
    p(s)  (1 + #{i: s_i >= s}) / (n + 1)                       conformal p-value of a score
    a     largest integer with a / (n + 1) <= rate             `_allowed`
    k     n + 1 - a = ceil((n + 1)(1 - rate))                  threshold = s_(k)

so that p(s) <= rate <=> s > s_(k), and for a new normal P(s > s_(k)) <= a / (n + 1) <= rate. Ties only lower it.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from anotwin.errors import DataError, SettingsError

Numbers = Sequence[float] | npt.NDArray[Any]


def conformal_threshold(scores: Numbers, rate: float) -> float:
    """The threshold above which a new normal image lies with probability at most `rate`.

    The k-th smallest of the n scores, k = ceil((n + 1)(1 - rate)). The probability is over the draw of the held-out
    normals and of the new one; `rate_bound` is for held-out normals that are given.

    Args:
        scores: (n,) finite scores of held-out normal images, in any order; higher is more abnormal.
        rate: allowed false-alarm rate, in (0, 1).

    Raises:
        DataError: fewer scores than `normals_needed(rate)`, or scores that are not finite.
        SettingsError: `rate` outside (0, 1), or scores that are not a list of numbers.

    >>> conformal_threshold([5.0, 1.0, 4.0, 2.0, 3.0, 6.0, 7.0, 8.0, 9.0], rate=0.2)  # 9 normals: k = 8
    8.0
    """
    ordered = np.sort(finite(scores, "score"))
    return float(ordered[ordered.size - _allowed(ordered.size, rate)])  # s_(k), k = n + 1 - a, counted from 1


def smallest_rate(count: int) -> float:
    """The smallest false-alarm rate, 1 / (n + 1), that `count` held-out normals can guarantee.

    >>> smallest_rate(99)
    0.01
    """
    if count < 0:
        raise SettingsError(f"calibration: the number of held-out normals must be at least 0, got {count}")
    return 1 / (count + 1)


def normals_needed(rate: float) -> int:
    """How many held-out normals a false-alarm rate needs: the smallest n with 1 / (n + 1) <= rate.

    >>> normals_needed(0.01)
    99
    """
    exact = math.ceil(1 / Fraction(checked_rate(rate))) - 1
    # Fraction(rate) is the double, not the decimal: where it is just below 1 / n, one less is enough (see _allowed)
    return exact - 1 if exact > 1 and 1 / exact <= rate else exact


def p_value(score: float, sorted_scores: Sequence[float]) -> float:
    """Conformal p-value (1 + #{calibration scores >= s}) / (n + 1), in [1 / (n + 1), 1]: small is abnormal.

    Under exchangeability P(p <= u) <= u for a new normal. `p_value(s, scores) <= rate` holds exactly where
    `s > conformal_threshold(scores, rate)`, also in floating point.

    Args:
        score: a number, not NaN.
        sorted_scores: (n,) scores of held-out normals, ascending as in `Calibration.scores`.

    >>> p_value(2.5, [1.0, 2.0, 3.0])
    0.5
    """
    return (1 + len(sorted_scores) - bisect_left(sorted_scores, score)) / (len(sorted_scores) + 1)


def rate_bound(count: int, rate: float, confidence: float = 0.95) -> float:
    """With probability `confidence` over calibration draws the threshold's true false-alarm rate is at most this.

    Given the calibration set, the true rate of s_(k) is Beta(n + 1 - k, k) for continuous scores and stochastically
    smaller with ties (Vovk 2012; Angelopoulos and Bates 2021): its quantile is returned.

    Args:
        count: n, the held-out normals.
        rate: requested false-alarm rate, in (0, 1).
        confidence: in (0, 1).

    Returns:
        In (0, 1); usually above `rate`, and near it for many normals.

    >>> round(rate_bound(99, 0.01), 4)
    0.0298
    """
    if not 0 < confidence < 1:
        raise SettingsError(f"calibration: confidence must be between 0 and 1, got {confidence}")
    allowed = _allowed(count, rate)
    return float(stats.beta.ppf(confidence, allowed, count + 1 - allowed))


def _allowed(count: int, rate: float) -> int:
    """a, the largest integer with a / (n + 1) <= rate, both sides as doubles; raises DataError where it is 0.

    Comparing doubles makes p <= rate and score > threshold equivalent, without a tolerance: division rounds correctly,
    so that 1 / 100 is the same double as ``0.01``, while 100 * 0.07 or 100 * (1 - 0.07) may miss the integer.
    """
    allowed = math.floor((count + 1) * checked_rate(rate))
    if (allowed + 1) / (count + 1) <= rate:
        allowed += 1
    elif allowed / (count + 1) > rate:
        allowed -= 1
    if allowed < 1:
        raise DataError(too_few(count, rate))
    return allowed


def finite(scores: Numbers, name: str) -> npt.NDArray[np.float64]:
    """The scores as an array (n,); raises DataError where one is not finite, SettingsError where they are no list."""
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1:
        raise SettingsError(f"calibration: {name}s must be one number per image, got an array of shape {values.shape}")
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        raise DataError(
            f"calibration: the {name} of {bad} of {values.size} held-out normal images is not finite; "
            "remove these images or check the training run's health before calibrating"
        )
    return values


def checked_rate(rate: float) -> float:
    """The rate; raises SettingsError outside (0, 1)."""
    if not 0 < rate < 1:
        raise SettingsError(f"calibration.false_alarm_rate must be between 0 and 1, got {rate}")
    return float(rate)


def too_few(count: int, rate: float, what: str = "normal images") -> str:
    """Why `count` of them cannot promise a rate, and what would."""
    advice = f"hold out more {what}"
    if count:
        # rounded up, so that the number in the message is one that works when typed
        shown = math.ceil(smallest_rate(count) * 10**6) / 10**6
        advice += f", or ask for a rate of at least {shown:g} (--set calibration.false_alarm_rate={shown:g})"
    return (
        f"calibration: {count} held-out {what} are too few for a false-alarm rate of {rate:g}, "
        f"which needs at least {normals_needed(rate)}; {advice}"
    )
