"""Paired AUROC against pairs counted one by one, and intervals that cover."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from anotwin.evaluate.metrics import auroc as plain_auroc
from anotwin.evaluate.metrics import group_bootstrap
from anotwin.evaluate.paired import Scored, paired_auroc

Floats = np.ndarray[tuple[int], np.dtype[np.float64]]


def copies(count: int, rng: np.random.Generator, gain: float = 0.3) -> tuple[Floats, Floats]:
    """Scores of images that differ a lot, and of a copy of each with a defect that adds a little."""
    normals = rng.normal(size=count)
    return normals, normals + gain + 0.1 * rng.normal(size=count)


def test_the_value_is_scikit_learns(rng: np.random.Generator) -> None:
    normals, abnormals = rng.integers(0, 9, 40), rng.integers(2, 12, 70)  # with ties
    found = paired_auroc(Scored(normals, abnormals, range(40), [k % 40 for k in range(70)]))
    truth = np.repeat([0, 1], [40, 70])
    assert found.value == pytest.approx(roc_auc_score(truth, np.concatenate([normals, abnormals])))
    assert found.low < found.value < found.high


def test_resamples_are_those_of_images_drawn_one_by_one() -> None:
    """A group drawn k times is k groups: their pairs are counted as if each were another image."""
    rng = np.random.default_rng(4)
    normals, abnormals = copies(9, rng)
    wins = (abnormals > normals[:, None]) + 0.5 * (abnormals == normals[:, None])
    drawn = []
    for _ in range(3000):
        chosen = rng.integers(0, 9, 9)
        pairs = [wins[a, b] for i, a in enumerate(chosen) for j, b in enumerate(chosen) if a != b or i == j]
        drawn.append(np.mean(pairs))
    found = paired_auroc(Scored(normals, abnormals, range(9), range(9)), draws=3000)
    assert (found.low, found.high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.02)


def test_of_images_that_are_no_copies_it_is_the_plain_bootstrap(rng: np.random.Generator) -> None:
    normals, abnormals = rng.normal(size=60), rng.normal(0.7, size=50)
    found = paired_auroc(Scored(normals, abnormals, range(60), range(100, 150)), draws=4000)
    truth, scores = [0] * 60 + [1] * 50, [*normals, *abnormals]
    plain = group_bootstrap(plain_auroc, truth, scores, range(110), draws=4000)
    assert (found.low, found.high) == pytest.approx(plain, abs=0.01)


def test_the_interval_of_copies_covers() -> None:
    """As often as it says, of what the AUROC of many images is."""
    rng = np.random.default_rng(0)
    many = copies(4000, rng)
    true = paired_auroc(Scored(*many, range(4000), range(4000)), draws=1).value
    hits = 0
    for _ in range(120):
        found = paired_auroc(Scored(*copies(30, rng), range(30), range(30)), draws=300)
        hits += found.low <= true <= found.high
    assert hits >= 100


def test_a_difference_is_paired_too(rng: np.random.Generator) -> None:
    normals, abnormals = copies(80, rng)
    worse = abnormals - 0.1
    scored = Scored(normals, abnormals, range(80), range(80))
    found = paired_auroc(scored, minus=(normals, worse))
    one, other = paired_auroc(scored), paired_auroc(Scored(normals, worse, range(80), range(80)))
    assert found.value == pytest.approx(one.value - other.value)
    assert 0 < found.low < found.high
    assert found.high - found.low < 0.7 * (one.high - one.low)
    same = paired_auroc(scored, minus=(normals, abnormals))
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_many_copies_of_an_image_stay_with_it(rng: np.random.Generator) -> None:
    normals = rng.normal(size=20)
    abnormals, groups = np.concatenate([normals + gain for gain in (0.1, 0.5, 1.0)]), [*range(20)] * 3
    found = paired_auroc(Scored(normals, abnormals, range(20), groups))
    alone = paired_auroc(Scored(normals, abnormals, range(20), range(100, 160)))
    assert found.value == alone.value
    assert found.high - found.low < alone.high - alone.low  # what an image scores, its copies do too


def test_no_images_of_a_class() -> None:
    for normals, abnormals in (([], [1.0]), ([1.0], []), ([], [])):
        found = paired_auroc(Scored(normals, abnormals, range(len(normals)), range(len(abnormals))))
        assert all(map(math.isnan, (found.value, found.low, found.high)))
