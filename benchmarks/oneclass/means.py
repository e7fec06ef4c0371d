"""What all digits of `oneclass` say together: means over digits, with an interval, and one table of AUROCs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from rich.table import Table

from anotwin.evaluate import metrics
from benchmarks.common.rows import Cell, Floats, Interval, Row
from benchmarks.oneclass.cases import Ints

DRAWS = 1000


@dataclass(frozen=True, eq=False)
class Scored:
    """One method's scores of one case, with what it takes to measure them."""

    normal: str
    seed: int
    method: str
    fingerprints: Ints  # (N,) of the content of the images
    labels: tuple[str, ...]  # (N,)
    truth: npt.NDArray[np.bool_]  # (N,) True where abnormal
    scores: Floats  # (N,)

    @cached_property
    def auroc(self) -> float:
        """Area under the ROC curve."""
        return metrics.auroc(self.truth, self.scores)


def summary(benchmark: str, scored: Sequence[Scored], rows: Sequence[Row], goals: dict[str, str]) -> list[Row]:
    """The mean over the digits of every number, one row each, of one seed's scores and their `rows`.

    The AUROC's has an interval, and its goal: `goals` by method. A method that lacks a digit has no mean.
    """
    digits = list(dict.fromkeys(each.normal for each in scored))
    means: list[Row] = []
    for method in dict.fromkeys(each.method for each in scored):
        own = [each for each in scored if each.method == method]
        if len(own) < max(len(digits), 2):
            continue
        cell = Cell(benchmark, f"mean of {len(digits)} digits, seed={own[0].seed}", method)
        value = float(np.mean([each.auroc for each in own]))
        means.append(cell.row("auroc", value, mean_interval(own), goal=goals.get(method)))
        others = [row for row in rows if row.method == method and row.metric != "auroc"]
        for metric in dict.fromkeys(row.metric for row in others):
            chosen = [row for row in others if row.metric == metric]
            means.append(cell.row(metric, float(np.mean([row.value for row in chosen])), unit=chosen[0].unit))
    return means


def mean_interval(scored: Sequence[Scored], draws: int = DRAWS, seed: int = 0) -> Interval:
    """95 % percentile interval of the mean AUROC of several digits, by bootstrap of the test images.

    A draw takes as many images of each class as there are, with replacement, and the same images for every digit (and,
    with the same seed, for every method): the digits share them, so their errors are not independent. Where digits do
    not have all images in common (scikit-learn's), those that belong to the same digits' tests are drawn apart, so that
    every test keeps its size. The interval says how far the mean may move with other test images; how far it moves with
    another training is the spread over seeds.
    """
    everyone, classes = _strata(scored)
    ranked = [_Ranked.of(each, everyone) for each in scored]
    rng = np.random.default_rng(seed)
    means = np.empty(draws)
    for draw in range(draws):
        drawn = np.concatenate([members[rng.integers(len(members), size=len(members))] for members in classes])
        weights = np.bincount(drawn, minlength=len(everyone))
        means[draw] = np.mean([each.auroc(weights) for each in ranked])
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _strata(scored: Sequence[Scored]) -> tuple[Ints, list[Ints]]:
    """All images, (U,) by content, and the positions of those that have their class and their tests in common."""
    fingerprints = np.concatenate([each.fingerprints for each in scored])
    labels = np.array([label for each in scored for label in each.labels])
    everyone, first = np.unique(fingerprints, return_index=True)
    kinds = [np.unique(labels[first], return_inverse=True)[1]]
    kinds += [np.isin(everyone, each.fingerprints).astype(np.intp) for each in scored]
    which = np.unique(np.stack(kinds, axis=1), axis=0, return_inverse=True)[1].ravel()
    return everyone, [np.flatnonzero(which == kind) for kind in range(which.max() + 1)]


@dataclass(frozen=True, eq=False)
class _Ranked:
    """Scores by their rank, ready to be weighted again and again."""

    where: Ints  # (N,) positions of the images among everyone
    ranks: Ints  # (N,) of the scores; equal ones have one rank
    truth: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, scored: Scored, everyone: Ints) -> _Ranked:
        ranks = np.unique(scored.scores, return_inverse=True)[1]
        return cls(np.searchsorted(everyone, scored.fingerprints), ranks, scored.truth)

    def auroc(self, weights: Ints) -> float:
        """P(abnormal above normal), ties half, each image as often as `weights` (of everyone) say."""
        own = weights[self.where]
        normals, abnormals = (
            np.bincount(self.ranks[kind], own[kind], self.ranks.max() + 1) for kind in (~self.truth, self.truth)
        )
        lower = np.cumsum(normals) - normals
        return float(abnormals @ (lower + normals / 2) / (normals.sum() * abnormals.sum()))


def auroc_table(scored: Sequence[Scored]) -> Table:
    """AUROC of every method (rows) on every digit (columns), and the mean where no digit is missing."""
    digits = list(dict.fromkeys(each.normal for each in scored))
    table = Table(box=None, pad_edge=False, header_style="bold", title="AUROC", title_justify="left")
    table.add_column("method", no_wrap=True)
    for name in (*digits, "mean"):
        table.add_column(name, justify="right", no_wrap=True)
    for method in dict.fromkeys(each.method for each in scored):
        found = {each.normal: each.auroc for each in scored if each.method == method}
        mean = f"{np.mean(list(found.values())):.4f}" if len(found) == len(digits) else ""
        table.add_row(method, *(f"{found[digit]:.4f}" if digit in found else "" for digit in digits), mean)
    return table
