"""What scores and maps say of one set, each number with the same 1,000 resamples of its groups.

Whole groups of test images are drawn again and again, as in `evaluate.metrics.group_bootstrap`: groups of normal images
alone, of abnormal ones alone and of both apart. All methods share the draws, so that a difference of two methods has an
interval of its own, which is much narrower than their two intervals suggest. For maps the pixels are counted in bins of
equal numbers, once a group; a resample then only adds counts. Values are exact, resamples to a thousandth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anotwin.evaluate import metrics
from anotwin.evaluate.metrics import number_groups
from anotwin.evaluate.pixels import aupro, pixel_auroc, pixel_heat
from benchmarks.common.rows import Bools, Floats, Interval

DRAWS, CHUNK = 1000, 100  # resamples; of which so many at a time
BINS = 2000
SAMPLED = 2_000_000  # pixels of which the bins are made
LIMIT = 0.3  # of AUPRO, the rate of false positives
Heat = npt.NDArray[np.float32]  # (H, W)


@dataclass(frozen=True, eq=False)
class Estimate:
    """A value, and what it is in each resample (D,)."""

    value: float
    drawn: Floats

    def __sub__(self, other: Estimate) -> Estimate:
        return Estimate(self.value - other.value, self.drawn - other.drawn)

    @property
    def interval(self) -> Interval:
        """95 %, without resamples in which there is no value."""
        known = self.drawn[~np.isnan(self.drawn)]
        if not known.size:
            return float("nan"), float("nan")
        low, high = np.quantile(known, [0.025, 0.975])
        return float(low), float(high)


@dataclass(frozen=True, eq=False)
class Resamples:
    """How often each group is drawn."""

    abnormal: Bools  # (N,)
    of: npt.NDArray[np.int64]  # (N,) number of the group of each image
    times: Floats  # (D, G) whole numbers

    @classmethod
    def draw(cls, abnormal: Bools, groups: Sequence[str], draws: int = DRAWS, seed: int = 0) -> Resamples:
        """The resamples of `metrics.group_bootstrap` for these labels and groups."""
        of = number_groups(groups)
        count = int(of.max()) + 1
        has = [np.bincount(of[which], minlength=count) > 0 for which in (~abnormal, abnormal)]
        kind = 2 * has[1] + has[0].astype(np.int64)
        times = np.zeros((draws, count))
        for each in range(1, 4):
            members = np.flatnonzero(kind == each)
            if members.size:
                rng = np.random.default_rng([seed, 2, each])
                drawn = rng.integers(members.size, size=(draws, members.size))
                times[:, members] = np.apply_along_axis(np.bincount, 1, drawn, minlength=members.size)
        return cls(abnormal, of, times)

    def auroc(self, scores: Floats, chosen: Bools | None = None) -> Estimate:
        """Of images, of those `chosen` (N,) alone."""
        taken = np.ones(len(scores), bool) if chosen is None else chosen
        value = metrics.auroc(self.abnormal[taken], scores[taken])
        distinct, codes = np.unique(scores, return_inverse=True)
        normals, defects = (np.zeros((self.times.shape[1], distinct.size)) for _ in range(2))  # (G, U) images
        for table, which in ((normals, taken & ~self.abnormal), (defects, taken & self.abnormal)):
            np.add.at(table, (self.of[which], codes[which]), 1)
        return Estimate(value, self._areas(normals, defects, 1.0))

    def _areas(self, normals: Floats, weights: Floats, limit: float) -> Floats:
        """(D,) of counts (G, U) of each group."""
        parts = np.array_split(self.times, -(-len(self.times) // CHUNK))
        return np.concatenate([_area(part @ normals, part @ weights, limit) for part in parts])

    def pixels(self, masks: Sequence[Bools], heats: Sequence[Heat]) -> tuple[Estimate, Estimate]:
        """AUROC of all pixels, and AUPRO to `LIMIT`."""
        split = [pixel_heat(mask, heat) for mask, heat in zip(masks, heats, strict=True)]
        edges = _edges([each.normal for each in split], [each.defect for each in split])
        normals, defects, regions = (np.zeros((self.times.shape[1], len(edges) + 1)) for _ in range(3))
        for group, each in zip(self.of, split, strict=True):
            for table, values, weights in (
                (normals, each.normal, None),
                (defects, each.defect, None),
                (regions, each.defect, each.weights),
            ):
                if values.size:
                    found = np.searchsorted(edges, values, side="right")
                    table[group] += np.bincount(found, weights, minlength=len(edges) + 1)
        whole = Estimate(pixel_auroc(split), self._areas(normals, defects, 1.0))
        return whole, Estimate(aupro(split, LIMIT), self._areas(normals, regions, LIMIT))


def _edges(normal: Sequence[Heat], defect: Sequence[Heat]) -> Heat:
    """Ascending values that cut the normal pixels, and the defects', into equal numbers; the tail above 30 % finer."""
    edges = []
    for parts in (normal, defect):
        values = np.concatenate(parts)
        values = values[:: max(1, values.size // SAMPLED)]
        if values.size:
            shares = np.concatenate([np.linspace(0, 1, BINS // 2), np.linspace(1 - LIMIT, 1, BINS // 2)])
            edges.append(np.quantile(values, shares, method="nearest"))
    return np.unique(np.concatenate(edges)).astype(np.float32)


def _area(normals: Floats, weights: Floats, limit: float) -> Floats:
    """(D,) area under the ROC curve below `limit`, over `limit`, of counts (D, U) at ascending values.

    As in `evaluate.pixels`: what has a value raises the curve linearly from the rate of normals above it to that of
    normals at or above it. NaN without normals or weights.
    """
    total = normals.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        after = np.cumsum(normals[:, ::-1], axis=1)[:, ::-1] / total
        before = np.concatenate([after[:, 1:], np.zeros_like(total)], axis=1)
        width = after - before
        rising = np.clip(limit - before, 0, width)
        under = np.divide(rising**2, 2 * width, out=np.zeros_like(width), where=width > 0)
        area = (weights * (under + np.maximum(limit - after, 0))).sum(axis=1) / weights.sum(axis=1)
    result: Floats = area / limit
    return result
