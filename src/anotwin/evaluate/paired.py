"""AUROC where abnormal images are copies of the normal ones, and the difference that two ways of scoring make."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anotwin.evaluate.metrics import number_groups

Floats = npt.NDArray[np.float64]
CHUNK = 2**24  # numbers in memory at once


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; NaN where a class is missing."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores of normal images (n,) and abnormal ones (m,), and the group of each: an image and its copies share one."""

    normals: Sequence[float]
    abnormals: Sequence[float]
    normal_groups: Sequence[Hashable]
    abnormal_groups: Sequence[Hashable]


def paired_auroc(
    scored: Scored, minus: tuple[Sequence[float], Sequence[float]] | None = None, draws: int = 1000, seed: int = 0
) -> Estimate:
    """AUROC or, with the `minus` scores of the same images, how much higher it is than theirs.

    Its percentile interval resamples groups; those of normal images alone, of abnormal ones alone and of both apart. A
    group that is drawn k times is k groups, each with the pairs of its own images: all k^2 pairs would give an image
    and its copy more weight in a resample than they have in the value.

    >>> paired_auroc(Scored([1, 2, 3], [2, 3, 4], "abc", "abc"), minus=([1, 2, 3], [1, 2, 3])).value > 0
    True
    """
    wins = _wins(scored.normals, scored.abnormals)
    wins = wins if minus is None else wins - _wins(*minus)
    if not wins.size:
        return Estimate(*[float("nan")] * 3)
    of = number_groups([*scored.normal_groups, *scored.abnormal_groups])
    normals, abnormals = of[: len(wins)], of[len(wins) :]
    own = np.flatnonzero(normals[:, None] == abnormals)  # pairs within a group, in the flattened matrix
    rows, columns = np.unravel_index(own, wins.shape)
    inner, inner_of = wins[rows, columns], normals[rows]
    estimates, chunk = [], max(1, CHUNK // max(wins.shape))
    for times in _draws(normals, abnormals, draws, seed, chunk):
        down, across, of_own = times[:, normals], times[:, abnormals], times[:, inner_of]
        won = ((down @ wins) * across).sum(axis=1) - (of_own * (of_own - 1)) @ inner
        pairs = down.sum(axis=1) * across.sum(axis=1) - (of_own * (of_own - 1)).sum(axis=1)
        estimates.append(won[pairs > 0] / pairs[pairs > 0])
    low, high = np.quantile(np.concatenate(estimates), [0.025, 0.975])
    return Estimate(float(wins.mean()), float(low), float(high))


def _wins(normals: Sequence[float], abnormals: Sequence[float]) -> Floats:
    """(n, m) 1 where the abnormal image scores higher, 1/2 where they are equal."""
    low, high = np.asarray(normals, np.float64)[:, None], np.asarray(abnormals, np.float64)
    wins: Floats = (high > low) + 0.5 * (high == low)
    return wins


def _draws(
    normals: npt.NDArray[np.int64], abnormals: npt.NDArray[np.int64], draws: int, seed: int, chunk: int
) -> list[Floats]:
    """How often each group is in each resample, (D, G), some resamples at a time."""
    count = int(max(normals.max(), abnormals.max())) + 1
    kind = np.isin(np.arange(count), normals) + 2 * np.isin(np.arange(count), abnormals)
    rng, times = np.random.default_rng([seed, 4]), np.zeros((draws, count))
    for each in range(1, 4):
        members = np.flatnonzero(kind == each)
        if members.size:
            times[:, members] = rng.multinomial(members.size, np.full(members.size, 1 / members.size), draws)
    return [times[start : start + chunk] for start in range(0, draws, chunk)]
