"""Metrics against scikit-learn, and the fast bootstrap against a naive one on the same resamples."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from anotwin.errors import DataError, SettingsError
from anotwin.evaluate.metrics import (
    auroc,
    average_precision,
    bootstrap,
    detection_rate,
    f1_at,
    false_alarm_rate,
    proportion_interval,
)

quick = settings(derandomize=True, deadline=None, max_examples=100)
labelled = st.lists(st.tuples(st.booleans(), st.integers(-5, 5).map(float)), min_size=2, max_size=40).filter(
    lambda rows: 0 < sum(label for label, _ in rows) < len(rows)
)
BY_SCORE = (auroc, average_precision)
BY_DECISION = (f1_at, detection_rate, false_alarm_rate)


@quick
@given(rows=labelled)
def test_as_scikit_learn_with_ties(rows: list[tuple[bool, float]]) -> None:
    labels, scores = (np.array(column) for column in zip(*rows, strict=True))
    assert auroc(labels, scores) == pytest.approx(sk.roc_auc_score(labels, scores), abs=1e-12)
    assert average_precision(labels, scores) == pytest.approx(sk.average_precision_score(labels, scores), abs=1e-12)
    decisions = scores > 1
    assert f1_at(labels, decisions) == pytest.approx(sk.f1_score(labels, decisions, zero_division=0.0))
    assert detection_rate(labels, decisions) == pytest.approx(sk.recall_score(labels, decisions))
    assert false_alarm_rate(labels, decisions) == pytest.approx(1 - sk.recall_score(~labels, ~decisions))


@quick
@given(rows=labelled)
def test_auroc_properties(rows: list[tuple[bool, float]]) -> None:
    labels, scores = (np.array(column) for column in zip(*rows, strict=True))
    pairs = [(a > n) + (a == n) / 2 for a in scores[labels] for n in scores[~labels]]
    assert auroc(labels, scores) == pytest.approx(np.mean(pairs), abs=1e-12)
    assert auroc(labels, -scores) == pytest.approx(1 - auroc(labels, scores), abs=1e-12)
    assert auroc(labels, np.exp(scores)) == auroc(labels, scores)


def test_infinite_scores_are_ranked() -> None:
    assert auroc([0, 1, 1], [0.0, math.inf, -math.inf]) == 0.5


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_is_nan(label: int) -> None:
    labels, decisions = [label] * 3, [True, False, True]
    for metric in (auroc, average_precision, f1_at):
        assert math.isnan(metric(labels, decisions))
        assert all(map(math.isnan, bootstrap(metric, labels, decisions, draws=5)))
    mine, other = (detection_rate, false_alarm_rate) if label else (false_alarm_rate, detection_rate)
    assert mine(labels, decisions) == pytest.approx(2 / 3)
    assert math.isnan(other(labels, decisions))
    assert math.isnan(auroc([], []))


def test_bad_input_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"\(2,\).*\(3,\)"):
        auroc([0, 1], [1.0, 2.0, 3.0])
    with pytest.raises(SettingsError, match=r"\(2, 1\)"):
        auroc([[0], [1]], [[1.0], [2.0]])
    with pytest.raises(SettingsError, match="labels"):
        auroc([0, 2], [1.0, 2.0])
    with pytest.raises(DataError, match="1 of 3 scores are NaN"):
        average_precision([0, 1, 1], [1.0, 2.0, math.nan])
    with pytest.raises(SettingsError, match="decisions"):
        f1_at([0, 1], [0.3, 0.6])
    for wrong in ({"draws": 0}, {"seed": -1}, {"confidence": 1.0}):
        with pytest.raises(SettingsError):
            bootstrap(auroc, [0, 1], [1.0, 2.0], **wrong)


def example(count: int, seed: int, decimals: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3 == 0
    return labels, np.round(rng.normal(size=count) + labels, decimals)


@pytest.mark.parametrize("metric", [*BY_SCORE, *BY_DECISION])
@pytest.mark.parametrize("decimals", [0, 6])
def test_bootstrap_equals_the_naive_one_on_the_same_resamples(
    metric: Callable[[object, object], float], decimals: int
) -> None:
    labels, scores = example(60, seed=decimals, decimals=decimals)
    values = scores > 0.5 if metric in BY_DECISION else scores
    fast = bootstrap(metric, labels, values, draws=80, seed=3)
    streams = [np.random.default_rng([3, which]) for which in range(2)]
    estimates = []
    for _ in range(80):
        members = (np.flatnonzero(~labels), np.flatnonzero(labels))
        pick = np.concatenate(
            [own[g.integers(own.size, size=own.size)] for own, g in zip(members, streams, strict=True)]
        )
        estimates.append(metric(labels[pick], values[pick]))
    assert fast == pytest.approx(tuple(np.quantile(estimates, [0.025, 0.975])), abs=1e-12)
    assert fast == pytest.approx(
        bootstrap(lambda truth, s: metric(truth, s), labels, values, draws=80, seed=3), abs=1e-12
    )
    assert fast[0] < metric(labels, values) < fast[1]


def test_bootstrap_agrees_with_scipy_and_resamples_each_class_apart() -> None:
    labels, scores = example(300, seed=1, decimals=6)
    low, high = bootstrap(auroc, labels, scores, draws=2000)
    reference = stats.bootstrap(
        (scores[~labels], scores[labels]),
        lambda n, a: stats.mannwhitneyu(a, n).statistic / (len(a) * len(n)),
        n_resamples=400,
        vectorized=False,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert low == pytest.approx(reference.low, abs=0.012)
    assert high == pytest.approx(reference.high, abs=0.012)
    narrow = bootstrap(auroc, labels, scores, draws=2000, confidence=0.5)
    assert low < narrow[0] < narrow[1] < high
    seen: list[int] = []
    bootstrap(lambda truth, _: float(seen.append(int(truth.sum())) or 0), labels, scores, draws=7)
    assert seen == [100] * 7  # always as many abnormals as there are


def test_bootstrap_depends_on_the_seed_alone() -> None:
    labels, scores = example(90, seed=2, decimals=1)
    assert bootstrap(auroc, labels, scores, seed=1) == bootstrap(auroc, labels, scores, seed=1)
    assert bootstrap(auroc, labels, scores, seed=1) != bootstrap(auroc, labels, scores, seed=2)


def test_chunks_do_not_change_the_resamples() -> None:
    labels, scores = example(90_000, seed=4, decimals=6)  # 22 draws a chunk
    fast = bootstrap(auroc, labels, scores, draws=50)
    naive = bootstrap(lambda truth, s: auroc(truth, s), labels, scores, draws=50)
    assert fast == pytest.approx(naive, abs=1e-12)


def test_ten_thousand_images_are_quick() -> None:
    labels, scores = example(10_000, seed=5, decimals=9)
    for metric in BY_SCORE:
        start = time.process_time()
        bootstrap(metric, labels, scores, draws=1000)
        assert time.process_time() - start < 15


def test_proportion_interval_covers() -> None:
    assert proportion_interval(0, 10) == pytest.approx((0.0, 1 - 0.025 ** (1 / 10)))  # closed form
    assert proportion_interval(10, 10) == pytest.approx((0.025 ** (1 / 10), 1.0))
    assert all(map(math.isnan, proportion_interval(0, 0)))
    for truth in (0.02, 0.3, 0.9):
        inside = [low <= truth <= high for low, high in (proportion_interval(hits, 40) for hits in range(41))]
        assert stats.binom(40, truth).pmf(np.arange(41))[inside].sum() >= 0.95
