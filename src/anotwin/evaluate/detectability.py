"""How small a defect may be and still be found: detection rate against size, of planted defects, at a false-alarm rate.

The size of a defect is the diameter of the circle that has the area of its mask, in pixels of the file; its contrast is
a multiple of the standard deviation of the pixels around. Whether it was found is the decision on the whole image: a
scratch that was missed while grain beside it raised the score counts as found, as in production, and the false-alarm
rate says how often that can be.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.isotonic import isotonic_regression

from anotwin.calibrate.groups import group_threshold
from anotwin.calibrate.threshold import conformal_threshold, smallest_rate
from anotwin.evaluate.metrics import group_proportion_interval, number_groups
from anotwin.records import Calibration

DIAMETERS = 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0, 96.0  # half the shorter side at most
CONTRASTS = {"faint": 1.0, "medium": 2.5, "strong": 6.0}  # standard deviations of the pixels around
ANY = "any"  # contrast of kinds that have none of their own: a missing part is as bright as it is
FOUND = 0.9  # share that must be found to say "finds ... from this size on"
FEWEST = 5  # defects of a size, below which it is no evidence
DRAWS = 300  # resamples of the hosts


@dataclass(frozen=True)
class Trial:
    """One planted defect."""

    kind: str
    contrast: str  # a name of `CONTRASTS`, or `ANY`
    diameter: float  # of the circle of its area, pixels
    found: bool
    host: Hashable  # the image that it was planted into, or its group


@dataclass(frozen=True)
class Point:
    """Defects of one kind, contrast and size; the fields are the columns of detectability.csv."""

    kind: str
    contrast: str
    diameter: float  # the median of theirs
    defects: int
    found: int
    rate: float
    low: float  # 95 % interval, by hosts
    high: float
    fitted: float  # the rate that does not fall with the size (isotonic regression)


@dataclass(frozen=True)
class Limit:
    """The smallest size from which on 90 % are found; None where no size is large enough."""

    kind: str
    contrast: str
    diameter: float | None
    low: float | None  # 95 % interval, by hosts; None: so small or large that it was not tried
    high: float | None


def threshold_for(calibration: Calibration, rate: float) -> tuple[float, float]:
    """The threshold of scores for a false-alarm rate, and that rate or the lowest that the held-out normals allow.

    >>> from anotwin.calibrate.decision import calibrate
    >>> threshold_for(calibrate([1, 2, 3, 4], [0] * 4, [0] * 4, 1.0, 0.5), 0.01)
    (4.0, 0.2)
    """
    scores, groups = calibration.scores, calibration.groups
    rate = max(rate, smallest_rate(len(set(groups)) or len(scores)))
    return (group_threshold(scores, groups, rate) if groups else conformal_threshold(scores, rate)), rate


def curve(trials: Sequence[Trial]) -> list[Point]:
    """Detection rates of defects of one kind and contrast, the smallest first; sizes are those of `DIAMETERS`."""
    points = []
    for size, members in _by_size(trials):
        flags = [each.found for each in members]
        low, high = group_proportion_interval(flags, [each.host for each in members])
        found = sum(flags)
        rate = found / len(flags)
        shown = (round(value, 4) for value in (rate, low, high, rate))
        points.append(Point(members[0].kind, members[0].contrast, round(size, 2), len(flags), found, *shown))
    fitted = _fit([point.found / point.defects for point in points], [float(point.defects) for point in points])
    return [Point(**{**vars(point), "fitted": round(value, 4)}) for point, value in zip(points, fitted, strict=True)]


def enough(points: Sequence[Point]) -> list[Point]:
    """Those of at least five defects, if there are any: what a picture shows."""
    return [point for point in points if point.defects >= FEWEST] or list(points)


def limit_of(trials: Sequence[Trial]) -> Limit:
    """From which size on defects of one kind and contrast are found; its interval resamples hosts."""
    groups = _by_size(trials)
    sizes, numbers = [size for size, _ in groups], number_groups([each.host for each in trials])
    of = dict(zip([each.host for each in trials], numbers.tolist(), strict=True))
    counts = np.zeros((2, int(numbers.max()) + 1, len(groups)))  # of each host and size: found, planted
    for column, (_, members) in enumerate(groups):
        for each in members:
            counts[:, of[each.host], column] += each.found, 1
    found, planted = counts
    smallest = _smallest(sizes, found.sum(0), planted.sum(0))
    hosts, rng = len(found), np.random.default_rng(0)
    times = rng.multinomial(hosts, np.full(hosts, 1 / hosts), size=DRAWS if hosts > 1 else 0)  # each is drawn
    drawn = sorted(_smallest(sizes, each @ found, each @ planted) for each in times)
    low, high = (drawn[int(q * (len(drawn) - 1))] for q in (0.025, 0.975)) if drawn else (np.inf, np.inf)
    known = [None if np.isinf(each) else round(each, 2) for each in (smallest, low, high)]
    return Limit(trials[0].kind, trials[0].contrast, *known)


def by_kind_and_contrast(trials: Iterable[Trial]) -> list[list[Trial]]:
    """Trials that belong in one curve, in the order in which they come."""
    found: dict[tuple[str, str], list[Trial]] = {}
    for each in trials:
        found.setdefault((each.kind, each.contrast), []).append(each)
    return list(found.values())


_PLURALS = {
    "pasted": "pasted parts",
    "foreign": "foreign textures",
    "worn": "worn places",
    "missing": "missing parts",
    "bent": "bent parts",
}


def plural(kind: str) -> str:
    """What defects of a kind are called.

    >>> plural("scratch"), plural("pit"), plural("missing")
    ('scratches', 'pits', 'missing parts')
    """
    return _PLURALS.get(kind, kind + ("es" if kind.endswith("ch") else "s"))


def sentence(limits: Sequence[Limit], rate: float, largest: float) -> str:
    """What is found of one kind, in a sentence.

    Args:
        limits: of its contrasts.
        rate: the false-alarm rate.
        largest: the largest diameter that was tried.

    >>> sentence([Limit("pit", "medium", 6.0, 4.0, 8.0), Limit("pit", "faint", None, None, None)], 0.01, 32)
    'finds pits from 6 pixels on at medium contrast (4 to 8); not at faint contrast, up to 32 pixels (90 % found at 1.0 % false alarms)'
    """  # noqa: E501
    found = [each for each in limits if each.diameter is not None]
    missed = [each.contrast for each in limits if each.diameter is None]
    parts = [f"from {_said(each.diameter)} pixels on{_at(each.contrast)}{_between(each)}" for each in found]
    told = f"{FOUND:.0%}".replace("%", " %") + f" found at {100 * rate:.1f} % false alarms"
    if not parts:
        return f"does not find {plural(limits[0].kind)} of up to {_said(largest)} pixels reliably ({told})"
    if missed:
        parts.append(f"not{_at(' or '.join(missed))}, up to {_said(largest)} pixels")
    return f"finds {plural(limits[0].kind)} {'; '.join(parts)} ({told})"


def _at(contrast: str) -> str:
    return "" if contrast == ANY else f" at {contrast} contrast"


def _said(size: float | None) -> str:
    return "?" if size is None else f"{size:.0f}" if size >= 10 or size == round(size) else f"{size:.1f}"


def _between(limit: Limit) -> str:
    if limit.low is None:
        return ""
    return f" ({_said(limit.low)} to {'more' if limit.high is None else _said(limit.high)})"


def _by_size(trials: Sequence[Trial]) -> list[tuple[float, list[Trial]]]:
    """Trials in the sizes that theirs are nearest to, in ratios; the median size of each, ascending."""
    marks, sizes = np.log(DIAMETERS), np.log([each.diameter for each in trials])
    nearest = np.abs(sizes[:, None] - marks).argmin(1)
    found = []
    for number in sorted(set(nearest.tolist())):
        members = [each for each, own in zip(trials, nearest.tolist(), strict=True) if own == number]
        found.append((float(np.median([each.diameter for each in members])), members))
    return found


def _fit(rates: Any, counts: Any) -> list[float]:
    """Rates, the smallest size first, that do not fall with the size; nearest in weighted squares."""
    return [float(each) for each in isotonic_regression(rates, sample_weight=counts, y_min=0.0, y_max=1.0)]


def _smallest(sizes: Sequence[float], found: Any, planted: Any) -> float:
    """The smallest size from which on 90 % are found; infinite where there is none."""
    enough = planted >= FEWEST
    if not enough.any():
        return math.inf
    fitted = _fit(found[enough] / planted[enough], planted[enough])
    usable = [size for size, each in zip(sizes, enough, strict=True) if each]
    return next((size for size, rate in zip(usable, fitted, strict=True) if rate >= FOUND - 1e-9), math.inf)
