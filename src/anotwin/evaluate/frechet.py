"""Frechet distance between two sets of features: how far generated images as a whole are from real ones.

Dowson and Landau, "The Frechet distance between multivariate normal distributions", 1982, as Heusel et al. (1706.08500)
took it for images; m and S are mean and covariance of the features of each set:

    d^2 = |m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2))

It means something beside the name of the network whose features these are, and among values of that network alone: on
Inception-v3 it is called FID, on any other network it is not. Few images make it too large, for two samples of one
distribution too; `frechet_of_halves` says how large that is, and differences (`frechet_lead`) suffer from it least.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from anotwin.errors import DataError, SettingsError
from anotwin.evaluate.metrics import number_groups
from anotwin.evaluate.paired import Estimate

Floats = npt.NDArray[np.float64]
DRAWS = 300


@dataclass(frozen=True, eq=False)
class Features:
    """Features (N, D) of images or of parts of them, and the group (N,) of each: what is resampled as one."""

    values: npt.NDArray[Any]
    groups: Sequence[Hashable]


@dataclass(frozen=True, eq=False)
class _Sums:
    """Of each group: its features as counts (G,), sums (G, D) and sums of products (G, D, D)."""

    counts: Floats
    first: Floats
    second: Floats

    def moments(self, times: Floats) -> tuple[Floats, Floats]:
        """Mean (D,) and covariance (D, D) where each group is there so many `times` (G,)."""
        count = float(times @ self.counts)
        mean = (times @ self.first) / count
        second = np.tensordot(times, self.second, 1) / count
        return mean, (second - np.outer(mean, mean)) * (count / (count - 1))


def frechet_distance(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    """d^2 of features (N, D) and (M, D), N and M at least 2; 0 for equal ones.

    Raises:
        SettingsError: not two tables of as many features.
        DataError: less than two rows, or features that are not finite.

    >>> a = np.array([[-1.0, 0.0], [1.0, 0.0], [0.0, -1.0], [0.0, 1.0]])
    >>> round(frechet_distance(a, a), 9), round(frechet_distance(a, a + [3, 4]), 6)
    (0.0, 25.0)
    """
    sets = [Features(values, [0] * len(values)) for values in (one, other)]
    (first, second), _ = _summed(sets)
    return _distance(first.moments(np.ones(1)), second.moments(np.ones(1)))


def frechet(real: Features, generated: Features, draws: int = DRAWS, seed: int = 0) -> Estimate:
    """d^2 with a 95 % interval by bootstrap over groups, of which those that both sets have are drawn together.

    Resamples repeat images, so that their values are larger than that of the images themselves: the interval is their
    spread about their own mean, laid around the value. It is NaN of less than two groups, too narrow of less than ten,
    and speaks of this number of images: with more, the value itself falls.

    >>> a = Features(np.random.default_rng(0).normal(size=(60, 2)), [n // 6 for n in range(60)])
    >>> found = frechet(a, Features(a.values + 1, a.groups))
    >>> round(found.value, 6), found.low <= found.value <= found.high
    (2.0, True)
    """
    (ours, theirs), times = _drawn([real, generated], draws, seed)
    whole, *resampled = (_distance(ours.moments(each), theirs.moments(each)) for each in times)
    return _around(whole, resampled, floor=0.0)


def frechet_lead(real: Features, generated: Features, other: Features, draws: int = DRAWS, seed: int = 0) -> Estimate:
    """How much nearer `generated` is to `real` than `other` is, in d^2; positive: it is nearer. Interval as `frechet`.

    The same groups are drawn for all three, so that what they share (few images, hard ones) is not in the interval.

    >>> a = Features(np.random.default_rng(0).normal(size=(60, 2)), [n // 6 for n in range(60)])
    >>> shifted = [Features(a.values + by, a.groups) for by in (1, 2)]
    >>> round(frechet_lead(a, *shifted).value, 6)
    6.0
    """
    sums, times = _drawn([real, generated, other], draws, seed)
    whole, *resampled = (_lead(sums, each) for each in times)
    return _around(whole, resampled)


def frechet_of_halves(real: Features, draws: int = 20, seed: int = 0) -> float:
    """Mean d^2 of two halves of the real images, by group: what real images of other scenes have.

    Halves have half as many images as the whole, so that this is rather too large than too small. Images generated from
    the very scenes that the real ones show can be nearer than that, and still not be like them. NaN of less than four
    groups.

    >>> frechet_of_halves(Features(np.random.default_rng(0).normal(size=(400, 2)), range(400))) < 0.05
    True
    """
    (sums,), count = _summed([real])
    if count < 4:
        return float("nan")
    rng, found = np.random.default_rng([seed, 6]), []
    for _ in range(draws):
        first = np.zeros(count)
        first[rng.permutation(count)[: count // 2]] = 1
        found.append(_distance(sums.moments(first), sums.moments(1 - first)))
    return float(np.mean(found))


def _lead(sums: Sequence[_Sums], times: Floats) -> float:
    real, ours, theirs = (each.moments(times) for each in sums)
    return _distance(real, theirs) - _distance(real, ours)


def _around(whole: float, resampled: Sequence[float], floor: float = -np.inf) -> Estimate:
    """The spread of the resampled values about their mean, around the value itself."""
    if not resampled:
        return Estimate(whole, float("nan"), float("nan"))
    low, high = np.quantile(resampled, [0.025, 0.975]) - np.mean(resampled)
    return Estimate(whole, max(whole + float(low), floor), whole + float(high))


def _distance(one: tuple[Floats, Floats], other: tuple[Floats, Floats]) -> float:
    """tr (S_a S_b)^(1/2) is that of the symmetric S_a^(1/2) S_b S_a^(1/2), which has real eigenvalues >= 0."""
    (mean, covariance), (mean_other, covariance_other) = one, other
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    shared = np.sqrt(np.clip(np.linalg.eigvalsh(root @ covariance_other @ root), 0, None)).sum()
    spread = np.trace(covariance) + np.trace(covariance_other) - 2 * shared
    return float(max(np.square(mean - mean_other).sum() + spread, 0.0))


def _drawn(sets: Sequence[Features], draws: int, seed: int) -> tuple[list[_Sums], Iterator[Floats]]:
    """The sums of each set, and how often each group is there: once, then as in each of the resamples."""
    sums, count = _summed(sets)
    in_set = np.stack([each.counts > 0 for each in sums])  # (sets, G)
    kinds = np.unique(in_set, axis=1, return_inverse=True)[1]
    strata = [np.flatnonzero(kinds == kind) for kind in np.unique(kinds)]
    rng = np.random.default_rng([seed, 5])

    def times() -> Iterator[Floats]:
        yield np.ones(count)
        for _ in range(draws if min(members.size for members in strata) > 1 else 0):
            drawn = np.zeros(count)
            for members in strata:
                drawn[members] = rng.multinomial(members.size, np.full(members.size, 1 / members.size))
            yield drawn

    return sums, times()


def _summed(sets: Sequence[Features]) -> tuple[list[_Sums], int]:
    """Sums by group of sets whose groups are numbered together, and how many groups there are.

    Features are taken from their common mean, for otherwise a large mean would swallow the digits of small variances.
    """
    values = [np.asarray(each.values, np.float64) for each in sets]
    if any(each.ndim != 2 or each.shape[1] != values[0].shape[-1] for each in values):
        shapes = ", ".join(str(each.shape) for each in values)
        raise SettingsError(f"frechet: features of shapes {shapes}: expected (N, D) each, of one D")
    if any(len(each) != len(features.groups) for each, features in zip(values, sets, strict=True)):
        raise SettingsError("frechet: as many groups as rows of features are needed")
    if any(len(each) < 2 for each in values):
        raise DataError(f"frechet: {min(map(len, values))} rows of features; expected at least 2 in each set")
    if not all(np.isfinite(each).all() for each in values):
        raise DataError("frechet: features that are not finite; leave out the images that have none")
    centre = np.concatenate(values).mean(axis=0)
    numbers = number_groups([group for features in sets for group in features.groups])
    count = int(numbers.max()) + 1
    parts = np.split(numbers, np.cumsum([len(each) for each in values])[:-1])
    return [_by_group(each - centre, of, count) for each, of in zip(values, parts, strict=True)], count


def _by_group(values: Floats, of: npt.NDArray[np.int64], count: int) -> _Sums:
    rows = [values[of == group] for group in range(count)]
    first, second = (np.stack(each) for each in ([r.sum(axis=0) for r in rows], [r.T @ r for r in rows]))
    return _Sums(np.bincount(of, minlength=count).astype(np.float64), first, second)
