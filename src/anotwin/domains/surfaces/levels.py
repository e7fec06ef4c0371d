"""What levels of an image usually show, and how what they show of one image becomes one number.

Squares of a coarse level show other things than those of a fine one, and there are fewer of them: their highest score
is another on normal images. So each level is measured in units of what held-out normals show there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from anotwin.errors import DataError
from anotwin.records import Array, Scores

Column = npt.NDArray[np.float64]

HEAT_QUANTILE = 0.995  # of the pixels of a level: what its heat is divided by; the median over images
LOW, HIGH, SPREADS = 10, 90, 2.563  # percentiles, and how many standard deviations of a normal lie between them
SHARE = 0.25  # of the images must have a level, or nobody knows what is usual there and it is not looked at
TERMS = tuple(term.name for term in fields(Scores) if term.name != "score")  # it is one of the others


@dataclass(frozen=True)
class Usual:
    """What held-out normals show at one level."""

    heat: float = 1.0  # > 0
    scores: Mapping[str, tuple[float, float]] | None = None  # of each term's highest square: median, spread > 0

    def of(self, term: str) -> tuple[float, float]:
        """Median and spread of a term."""
        return (0.0, 1.0) if self.scores is None else self.scores[term]


def pool_levels(highest: Sequence[float], usual: Sequence[tuple[float, float]]) -> float:
    """One number of the highest of each level (L,), the finest first: the highest in units of what is usual.

    >>> pool_levels([3.0, 10.0], [(1.0, 0.5), (9.0, 1.0)])
    4.0
    """
    return max((value - median) / spread for value, (median, spread) in zip(highest, usual, strict=True))


def highest_of_levels(values: Array, counts: Sequence[int], deciding: Array) -> list[float]:
    """The highest of each level's squares that decide (P,), of values (P,) that lie level by level."""
    own = np.where(deciding, values, -np.inf)
    ends = np.cumsum(counts).tolist()
    return [float(own[end - count : end].max()) for end, count in zip(ends, counts, strict=True)]


def stored(heats: Sequence[Sequence[float]], highest: Sequence[Scores[list[float]]]) -> dict[str, Any]:
    """The reference, as JSON, of n normals: the high heat of each level of each, and its highest squares.

    Levels are kept up to the coarsest that a quarter of the images have.
    """
    count = max((len(image) for image in heats), default=0)
    have = [sum(len(image) > level for image in heats) for level in range(count)]
    levels = [_level(heats, highest, level) for level in range(count) if have[level] >= max(SHARE * have[0], 2)]
    return {"levels": levels} if levels else {}


def stored_without(
    heats: Sequence[Sequence[float]],
    highest: Sequence[Scores[list[float]]],
    groups: Sequence[str],
    levels: Sequence[Mapping[str, Any]],
) -> list[list[list[float]]]:
    """For each normal the `levels` of `stored` as those of other groups make them: none is measured by itself.

    The threshold is set by these normals. In units that they made themselves their highest score is too low: of new
    images one in seven would exceed that of ten, where one in eleven is promised (normal distributions, three levels).
    A level is [heat, the median and spread of each term].
    """
    found = []
    for group in groups:
        others = [number for number, name in enumerate(groups) if name != group]
        own = stored([heats[number] for number in others], [highest[number] for number in others]).get("levels", [])
        both = [*own, *levels[len(own) :]][: len(levels)]
        found.append([[each["heat"], *(value for term in TERMS for value in each[term])] for each in both])
    return found


def _level(heats: Sequence[Sequence[float]], highest: Sequence[Scores[list[float]]], level: int) -> dict[str, Any]:
    own = [image[level] for image in heats if len(image) > level]
    found: dict[str, Any] = {"heat": short(max(float(np.median(own)), 1e-9))}
    for term in TERMS:
        values = np.array([getattr(image, term)[level] for image in highest if len(getattr(image, term)) > level])
        found[term] = [short(value) for value in spread_of(values)]
    return found


def spread_of(values: Column) -> tuple[float, float]:
    """The median of (n,) values and a robust spread > 0."""
    low, median, high = (float(value) for value in np.percentile(values, [LOW, 50, HIGH]))
    return median, max((high - low) / SPREADS, 1e-3 * abs(median), 1e-6)


def short(value: float) -> float:
    """As many digits as a reference needs."""
    return float(f"{value:.6g}")


def not_of_this_view() -> DataError:
    """What is said of a reference that is another view's, or of another version."""
    return DataError("the model's reference of training images is not one of this view; train it again")


def usual_without(reference: Mapping[str, Any]) -> dict[int, tuple[Usual, ...]]:
    """The levels for each normal that the reference is made of, by its fingerprint; DataError as `usual_of`."""
    try:
        kept = reference.get("without", {"of": [], "levels": []})
        names = [int(name) for name in kept["of"]]
        found = [[_named(level) for level in levels] for levels in kept["levels"]]
        return {name: usual_of({"levels": levels}) for name, levels in zip(names, found, strict=True)}
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise not_of_this_view() from error


def _named(level: Sequence[float]) -> dict[str, Any]:
    heat, *spreads = level
    return {"heat": heat} | dict(zip(TERMS, zip(spreads[::2], spreads[1::2], strict=True), strict=True))


def usual_of(reference: Mapping[str, Any]) -> tuple[Usual, ...]:
    """The levels of a reference, the finest first, () without one; DataError where it is not one of this view."""
    try:
        levels = [
            Usual(float(each["heat"]), {term: (float(each[term][0]), float(each[term][1])) for term in TERMS})
            for each in reference.get("levels", [])
        ]
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        levels = [Usual(0.0)]
    spreads = [spread for each in levels for _, spread in (each.scores or {}).values()]
    if not all(value > 0 and np.isfinite(value) for value in (*(each.heat for each in levels), *spreads)):
        raise not_of_this_view()
    return tuple(levels)
