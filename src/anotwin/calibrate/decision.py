"""From scores of held-out normals to a calibration, and from a calibration to the decision on an image or on a unit.

A unit is what several images show together and one decision is wanted of: a patient, a part, a volume. Its score is
pooled from those of its images, by the domain, in the same way when calibrating and when scoring.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from anotwin.calibrate.groups import group_rate_bound, group_threshold, p_values
from anotwin.calibrate.threshold import Numbers, conformal_threshold, finite, p_value, rate_bound, smallest_rate
from anotwin.errors import DataError, SettingsError
from anotwin.records import Calibration, UnitScores

_ROUNDING = 1 + 1e-3  # maps of heat are divided by their unit in half precision where they are large
Decision = tuple[float | None, bool | None, str]  # p-value, anomalous, flagged by
UnitDecision = tuple[float | None, bool | None]  # p-value, anomalous


def calibrate(
    scores: Numbers,
    residuals: Numbers,
    discriminations: Numbers,
    heat_quantile_scale: float,
    rate: float,
    groups: Sequence[int] | None = None,
    units: Iterable[UnitScores] = (),
    region_heats: Numbers = (),
) -> Calibration:
    """The thresholds of the decision from the scores of held-out normals, outliers among them included.

    Args:
        scores: (n,) the score that decides.
        residuals: (n,) R(x) of the same images; gets its own threshold at the same rate.
        discriminations: (n,) D(x) of the same images; likewise.
        heat_quantile_scale: the heat that 0.5 % of the normals' pixels exceed, >= 0; stored as `heatmap_scale`.
        rate: requested false-alarm rate, in (0, 1).
        groups: (n,) the group of each, whole numbers; None, or one image in each: images are independent.
        units: pooled scores of units of these images, their groups by the same numbers; a kind of which there are too
            few for the rate is left out, and so are all where images are independent.
        region_heats: (n,) the highest heat of a region in each, in the unit of the scale; () where there are none.

    Raises:
        DataError: too few normals, or groups of them, for the rate, or values that are not finite.
        SettingsError: lists of different lengths, or a scale or rate out of range.

    >>> calibrate([1.0, 2.0, 3.0], [1.0, 1.0, 2.0], [0.0, 0.5, 0.1], 0.2, rate=0.25).threshold
    3.0
    """
    counts = {len(scores), len(residuals), len(discriminations), len(scores) if groups is None else len(groups)}
    if len(counts) > 1:
        lengths = (len(scores), len(residuals), len(discriminations))
        raise SettingsError(f"calibration: scores, residuals and discriminations must have one length, got {lengths}")
    if not (math.isfinite(heat_quantile_scale) and heat_quantile_scale >= 0):
        raise SettingsError(f"calibration: the heatmap scale must be finite and >= 0, got {heat_quantile_scale}")
    grouped = groups is not None and len(set(groups)) < len(groups)
    several: Sequence[int] = groups if groups is not None and grouped else ()
    values, of = by_score(finite(scores, "score"), several)
    limit = _threshold(region_heats, several, rate, "heat") / (heat_quantile_scale or 1.0) if len(region_heats) else 0.0
    return Calibration(
        false_alarm_rate=float(rate),
        threshold=_threshold(scores, several, rate, "score"),
        residual_threshold=_threshold(residuals, several, rate, "residual"),
        discrimination_threshold=_threshold(discriminations, several, rate, "discrimination"),
        scores=values,
        heatmap_scale=float(heat_quantile_scale),
        rate_bound=group_rate_bound(len(set(several)), rate) if grouped else rate_bound(len(values), rate),
        groups=of,
        units=tuple(each for each in units if smallest_rate(len(set(each.groups))) <= rate) if grouped else (),
        region_limit=limit * _ROUNDING if len(region_heats) else None,
    )


def by_score(scores: Numbers, groups: Sequence[int]) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Scores in ascending order and the group of each, () without groups; the order given does not matter.

    >>> by_score([3.0, 1.0, 3.0], [1, 1, 0])
    ((1.0, 3.0, 3.0), (1, 0, 1))
    """
    values = np.asarray(scores, np.float64)
    if not len(groups):
        return tuple(np.sort(values).tolist()), ()
    order = np.lexsort((np.asarray(groups), values))
    return tuple(values[order].tolist()), tuple(np.asarray(groups)[order].tolist())


def decider(calibration: Calibration | None) -> Callable[[float, float, float], Decision]:
    """The decision on an image, from its score, residual and discrimination: (p-value, anomalous, flagged_by).

    `flagged_by` is "", "residual", "discrimination" or "both": which term alone exceeds its own threshold. Each term
    raises false alarms at the requested rate, so that of the two together can be up to twice that; `anomalous` follows
    `score` alone. Without a calibration, or for a score that is NaN, there is no decision: (None, None, "").

    >>> calibration = calibrate([1.0, 2.0, 3.0], [1.0, 1.0, 2.0], [0.0, 0.5, 0.1], 0.2, rate=0.25)
    >>> decider(calibration)(3.5, 9.0, 0.2)
    (0.25, True, 'residual')
    """
    if calibration is None:
        return lambda *_: (None, None, "")
    known, p_of = calibration, p_value_of(calibration.scores, calibration.groups)

    def decide(score: float, residual: float, discrimination: float) -> Decision:
        if math.isnan(score):
            return None, None, ""
        terms = {
            "residual": residual > known.residual_threshold,
            "discrimination": discrimination > known.discrimination_threshold,
        }
        flagged = [name for name, exceeds in terms.items() if exceeds]
        flagged_by = "both" if len(flagged) == 2 else "".join(flagged)
        return p_of(score), bool(score > known.threshold), flagged_by

    return decide


def unit_decider(calibration: Calibration | None, kind: str) -> Callable[[float, int], UnitDecision]:
    """The decision on a unit of a kind, from its pooled score and how many images have a score: (p-value, anomalous).

    By the units of that kind among the held-out normals; anomalous where the p-value is at most the rate. A model that
    was calibrated on independent images can judge a unit of one image alone: the pooled score of many is not like
    theirs. Where there is nothing to judge by the decision is (None, None).

    >>> volumes = UnitScores("volume", (1.0, 2.0, 3.0), (0, 1, 2))
    >>> grouped = calibrate([1, 1, 2, 2, 3, 3], [0] * 6, [0] * 6, 0.2, 0.25, [0, 0, 1, 1, 2, 2], [volumes])
    >>> unit_decider(grouped, "volume")(3.5, 2), unit_decider(grouped, "patient")(3.5, 2)
    ((0.25, True), (None, None))
    """
    if calibration is None:
        return lambda *_: (None, None)
    rate, single = calibration.false_alarm_rate, not calibration.groups
    found = next((each for each in calibration.units if each.kind == kind), None)
    scores, groups = (calibration.scores, ()) if single else (found.scores, found.groups) if found else ((), ())
    p_of = p_value_of(scores, groups)

    def decide(score: float, images: int) -> UnitDecision:
        if not scores or math.isnan(score) or (single and images != 1):
            return None, None
        p = p_of(score)
        return p, p <= rate

    return decide


def undecided(calibration: Calibration | None, kind: str) -> str:
    """Why units of a kind have no decision, to be put behind what was said; "" before calibration."""
    if calibration is None:
        return ""
    why = "single images" if not calibration.groups else f"too few {kind}s"
    return f", not all decided: the model was calibrated on {why} (anotwin calibrate MODEL NORMALS with their {kind}s)"


def consistent(calibration: Calibration) -> bool:
    """Whether the threshold is that of the alarms or, by groups, that of the scores: what a file says of itself."""
    if calibration.alarms is not None:
        return calibration.threshold == calibration.alarms.threshold >= calibration.alarms.leave
    try:
        return calibration.threshold == group_threshold(
            calibration.scores, calibration.groups, calibration.false_alarm_rate
        )
    except DataError:
        return False


def promise(calibration: Calibration) -> str:
    """What the threshold promises, in a sentence; in groups where these were counted.

    >>> promise(calibrate([1.0, 2.0, 3.0], [1.0, 1.0, 2.0], [0.0, 0.5, 0.1], 0.2, rate=0.25)).partition(", on")[0]
    'at most 25.00% of normal images raise a false alarm'
    """
    if calibration.alarms is not None:
        return calibration.alarms.promise
    images, count = len(calibration.scores), len(set(calibration.groups))
    whose, on = "normal images", f"{images} normals"
    if count:
        whose, on = "the images of a new normal group", f"{count} groups ({images} normals)"
    return (
        f"at most {calibration.false_alarm_rate:.2%} of {whose} raise a false alarm, on average over calibrations on "
        f"{on}; with 95 % confidence this one stays below {calibration.rate_bound:.2%}"
    )


def _threshold(scores: Numbers, groups: Sequence[int], rate: float, name: str) -> float:
    if not len(groups):
        return conformal_threshold(finite(scores, name), rate)
    return group_threshold(*by_score(finite(scores, name), groups), rate)


def p_value_of(scores: Sequence[float], groups: Sequence[int]) -> Callable[[float], float]:
    """The p-value as a function of a score, by held-out scores (n,), ascending, and the group of each, () without.

    >>> p_value_of([1.0, 2.0, 3.0], ())(2.5), p_value_of([1.0, 2.0, 3.0], (0, 0, 1))(2.5)
    (0.5, 0.6666666666666666)
    """
    if not groups:
        return lambda score: p_value(score, scores)
    falling = p_values(groups)
    return lambda score: falling[bisect_left(scores, score)]
