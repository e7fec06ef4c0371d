"""How well counterparts repair: measured with a defect planted into a normal image, so that the truth is known.

x is the normal image, y the same with a planted defect, m its mask, c the counterpart of y; all in one unit, pixels in
[0, 1] for the two that are no ratios.

    repair       1 - sum_m |c - x| / sum_m |y - x|          copying y: 0, perfect: 1, harm is negative
    collateral   mean |c - x| outside of m dilated by 3 pixels, over the grain of x, mean |x - 3x3 median of x|
    contrast     mean |y - c| in m over the 99th percentile of |y - c| outside
    sharpness    variance of (Gaussian 1 px - Gaussian 3 px) of c over that of x, inside of m and outside
    no-op        mean |c(x) - x| of the image without the defect
    idempotence  mean |c(c(y)) - c(y)|
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_dilation, gaussian_filter, median_filter

from anotwin.errors import SettingsError
from anotwin.evaluate.metrics import number_groups

Image = npt.NDArray[Any]  # (H, W) or (H, W, C)
Mask = npt.NDArray[np.bool_]  # (H, W)
Floats = npt.NDArray[np.float64]

MARGIN = 3  # pixels around a mask that are nobody's fault: rims are soft
NAMES = ("repair", "collateral", "contrast", "sharpness_inside", "sharpness_outside", "no_op", "idempotence")


@dataclass(frozen=True)
class Measures:
    """What one planted image says of its counterpart; NaN where it says nothing, and `reasons` then has why."""

    repair: float = math.nan
    collateral: float = math.nan
    contrast: float = math.nan
    sharpness_inside: float = math.nan
    sharpness_outside: float = math.nan
    no_op: float = math.nan
    idempotence: float = math.nan
    reasons: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Median:
    """Of one measure over images, with its 95 % interval."""

    value: float  # NaN where no image has one
    low: float
    high: float
    count: int  # images that have one
    reasons: Mapping[str, int] = field(default_factory=dict)  # why others have none -> how many


def measure(
    truth: Image,
    planted: Image,
    counterpart: Image,
    mask: Mask,
    no_op: float = math.nan,
    again: Image | None = None,
) -> Measures:
    """Every measure of one planted image.

    Args:
        truth: x, (H, W) or (H, W, C).
        planted: y.
        counterpart: c.
        mask: m, (H, W) True where y differs from x.
        no_op: `difference` of c(x) and x, of the image as it was; NaN: not measured.
        again: c(c(y)); None: there is none.

    Raises:
        SettingsError: images of several sizes.

    >>> x = np.random.default_rng(0).random((16, 16))
    >>> m = np.zeros((16, 16), bool); m[4:8, 4:8] = True
    >>> found = measure(x, np.where(m, 1.0, x), x, m)
    >>> found.repair, found.collateral, found.reasons
    (1.0, 0.0, {'no_op': 'not scored', 'idempotence': 'not scored'})
    """
    images = [each for each in (truth, planted, counterpart, again) if each is not None]
    if {each.shape for each in images} != {truth.shape} or mask.shape != truth.shape[:2]:
        sizes = ", ".join(str(each.shape) for each in images)
        raise SettingsError(f"counterparts: images of {sizes} and a mask of {mask.shape}: expected one size")
    inside, outside = sharpness(truth, counterpart, mask)
    values = {
        "repair": repair(truth, planted, counterpart, mask),
        "collateral": collateral(truth, counterpart, mask),
        "contrast": contrast(planted, counterpart, mask),
        "sharpness_inside": inside,
        "sharpness_outside": outside,
        "no_op": no_op,
        "idempotence": math.nan if again is None else difference(again, counterpart),
    }
    absent = [name for name, value in values.items() if math.isnan(value)]
    reasons = _reasons(truth, mask) if absent else {}
    return Measures(**values, reasons={name: reasons[name] for name in absent})


def repair(truth: Image, planted: Image, counterpart: Image, mask: Mask) -> float:
    """1 - sum_m |c - x| / sum_m |y - x|; NaN where y does not differ from x in m.

    >>> x, y, m = np.zeros((8, 8)), np.eye(8), np.eye(8, dtype=bool)
    >>> repair(x, y, y, m), repair(x, y, x, m), repair(x, y, 0.25 * y, m), repair(x, y, 2 * y, m)
    (0.0, 1.0, 0.75, -1.0)
    """
    harm = float(_away(planted, truth)[mask].sum())
    return 1 - float(_away(counterpart, truth)[mask].sum()) / harm if harm else math.nan


def collateral(truth: Image, counterpart: Image, mask: Mask, margin: int = MARGIN) -> float:
    """Mean |c - x| outside of m dilated by `margin` pixels, in units of the grain of x.

    NaN where nothing is outside, or x has no grain.

    >>> x = np.random.default_rng(0).random((32, 32))
    >>> m = np.zeros((32, 32), bool); m[8, 8] = True
    >>> round(collateral(x, x + 2 * grain(x), m), 6)
    2.0
    """
    outside, unit = ~_dilated(mask, margin), grain(truth)
    return float(_away(counterpart, truth)[outside].mean()) / unit if outside.any() and unit else math.nan


def grain(image: Image) -> float:
    """Mean |x - 3x3 median of x|: what a pixel differs from its neighbours.

    >>> grain(np.arange(64.0).reshape(8, 8)[:, ::-1] * 0 + 0.5)
    0.0
    """
    values = image.astype(np.float64)
    return difference(values, median_filter(values, size=(3, 3, 1)[: values.ndim]))


def contrast(planted: Image, counterpart: Image, mask: Mask) -> float:
    """Mean |y - c| in m over the 99th percentile of |y - c| outside: how far the defect stands out.

    0 where c is y in m; infinite where it is y everywhere else alone; NaN where m is nothing or all.

    >>> y, m = np.zeros((10, 10)), np.zeros((10, 10), bool)
    >>> m[:5] = True
    >>> contrast(y, np.where(m, 0.75, 0.25), m)
    3.0
    """
    shown = _away(planted, counterpart)
    if mask.all() or not mask.any():
        return math.nan
    inside, outside = float(shown[mask].mean()), float(np.percentile(shown[~mask], 99))
    return inside / outside if outside else math.inf if inside else 0.0


def sharpness(truth: Image, counterpart: Image, mask: Mask) -> tuple[float, float]:
    """Variance of (Gaussian of 1 px - Gaussian of 3 px) of c over that of x: inside of m, and outside.

    NaN where there are less than two pixels, or x has no detail.

    >>> x = np.random.default_rng(0).random((32, 32))
    >>> m = np.zeros((32, 32), bool); m[8:20, 8:20] = True
    >>> [round(value, 6) for value in sharpness(x, 0.5 * x, m)]
    [0.25, 0.25]
    """
    ours, theirs = _details(counterpart), _details(truth)
    inside, outside = (_ratio(_variance(ours[where]), _variance(theirs[where])) for where in (mask, ~mask))
    return inside, outside


def difference(one: Image, other: Image) -> float:
    """Mean |one - other| over all pixels: the no-op of c(x) and x, the idempotence of c(c(y)) and c(y).

    >>> difference(np.zeros((4, 4)), np.full((4, 4), 0.25))
    0.25
    """
    return float(_away(one, other).mean())


def median_of(values: Sequence[float], groups: Sequence[Hashable], draws: int = 1000, seed: int = 0) -> Median:
    """The median of those that are not NaN, with a 95 % percentile interval; whole groups are resampled.

    Infinite values are allowed; the bounds are medians that were drawn, never between two.

    >>> found = median_of([1.0, 2.0, 4.0, float("nan")], "abcd")
    >>> found.value, found.low, found.high, found.count
    (2.0, 1.0, 4.0, 3)
    """
    known = [row for row, value in enumerate(values) if not math.isnan(value)]
    if not known:
        return Median(math.nan, math.nan, math.nan, 0)
    order = sorted(known, key=lambda row: values[row])
    ascending = np.array([values[row] for row in order], np.float64)
    of = number_groups([groups[row] for row in order])
    count = int(of.max()) + 1
    drawn = np.random.default_rng([seed, 3]).multinomial(count, np.full(count, 1 / count), draws)  # (D, G)
    medians = _medians(ascending, drawn[:, of])
    low, high = np.quantile(medians, [0.025, 0.975], method="inverted_cdf")
    value = _medians(ascending, np.ones((1, len(known)), np.int64))[0]
    return Median(float(value), float(low), float(high), len(known))


def summarise(measured: Sequence[Measures], groups: Sequence[Hashable], seed: int = 0) -> dict[str, Median]:
    """Every measure over images: its median, its interval, and why some images have none."""
    found = {}
    for name in NAMES:
        each = median_of([getattr(one, name) for one in measured], groups, seed=seed)
        why = Counter(one.reasons[name] for one in measured if name in one.reasons)
        found[name] = Median(each.value, each.low, each.high, each.count, dict(why))
    return found


def _medians(ascending: Floats, times: npt.NDArray[np.int64]) -> Floats:
    """(D,) medians of values (N,) of which each is there so many `times` (D, N)."""
    until = np.cumsum(times, axis=1)
    lower, upper = (until[:, -1] - 1) // 2, until[:, -1] // 2
    rows = [ascending[(until > middle[:, None]).argmax(axis=1)] for middle in (lower, upper)]
    middles: Floats = np.where(rows[0] == rows[1], rows[0], (rows[0] + rows[1]) / 2)  # equal: infinite ones are too
    return middles


def _reasons(truth: Image, mask: Mask) -> dict[str, str]:
    """Why a measure of this image is NaN, where it is."""
    reasons = dict.fromkeys(("no_op", "idempotence"), "not scored")
    reasons["repair"] = "the defect changes nothing"
    reasons["contrast"] = "the mask covers the image" if mask.any() else "the mask is empty"
    reasons["collateral"] = "the image has no grain" if not grain(truth) else "the dilated mask covers the image"
    for name, where in (("sharpness_inside", mask), ("sharpness_outside", ~mask)):
        reasons[name] = "fewer than two pixels" if where.sum() < 2 else "the image has no detail there"
    return reasons


def _away(one: Image, other: Image) -> Floats:
    """|one - other| (H, W), averaged over the channels."""
    away = np.abs(one.astype(np.float64) - other)
    mean: Floats = away if away.ndim == 2 else away.mean(axis=2)
    return mean


def _dilated(mask: Mask, margin: int) -> Mask:
    """The pixels within `margin` of the mask."""
    steps = np.arange(-margin, margin + 1)
    disc = np.hypot(steps[:, None], steps) <= margin
    return np.asarray(binary_dilation(mask, disc))


def _details(image: Image) -> Floats:
    """(H, W, C) what lies between one and three pixels."""
    values = np.atleast_3d(image).astype(np.float64)
    fine, coarse = (gaussian_filter(values, (sigma, sigma, 0)) for sigma in (1, 3))
    return np.asarray(fine - coarse)


def _variance(values: Floats) -> float:
    """Of (n, C), each channel about its own mean; NaN of less than two."""
    return float(values.var(axis=0).mean()) if len(values) > 1 else math.nan


def _ratio(above: float, below: float) -> float:
    return above / below if below > 1e-18 else math.nan  # rounding leaves 1e-33 of a flat image; NaN compares false
