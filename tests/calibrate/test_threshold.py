"""The conformal decision against brute force, exact distributions and simulation."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from anotwin.calibrate.decision import calibrate, decider
from anotwin.calibrate.threshold import (
    conformal_threshold,
    normals_needed,
    p_value,
    rate_bound,
    smallest_rate,
)
from anotwin.errors import DataError, SettingsError

quick = settings(derandomize=True, deadline=None, max_examples=150)
tied = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=60)  # heavy ties
spread = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60)
rates = st.one_of(
    st.floats(0.001, 0.999),
    st.integers(1, 999).map(lambda per_mille: per_mille / 1000),  # what people type: (n + 1) rate is often an integer
    st.tuples(st.integers(1, 40), st.integers(41, 80)).map(lambda pair: pair[0] / pair[1]),
)


def slow_p(score: float, scores: list[float]) -> float:
    return (1 + sum(1 for each in scores if each >= score)) / (len(scores) + 1)


def slow_threshold(scores: list[float], rate: float) -> float:
    """The smallest held-out score above which every p-value is small enough, found by trying them all."""
    above = [each for each in sorted(scores) if slow_p(math.nextafter(each, math.inf), scores) <= rate]
    return above[0]


@pytest.mark.parametrize("rate", ["0.01", "0.02", "0.05", "0.07", "0.1", "0.2", "0.29", "0.5", "0.57", "0.9", "0.99"])
def test_rank_is_that_of_exact_arithmetic_for_every_typed_rate(rate: str) -> None:
    for count in range(normals_needed(float(rate)), 400):
        k = math.ceil((count + 1) * (1 - Decimal(rate)))
        assert conformal_threshold(np.arange(1, count + 1), float(rate)) == k, count


@quick
@given(scores=st.one_of(tied, spread), rate=rates)
def test_threshold_is_that_of_brute_force(scores: list[float], rate: float) -> None:
    assume(len(scores) >= normals_needed(rate))
    assert conformal_threshold(scores, rate) == slow_threshold(scores, rate)


@quick
@given(scores=st.one_of(tied, spread), rate=rates, other=st.floats(-1e6, 1e6))
def test_small_p_value_and_exceeded_threshold_are_the_same(scores: list[float], rate: float, other: float) -> None:
    assume(len(scores) >= normals_needed(rate))
    threshold = conformal_threshold(scores, rate)
    near = [each for s in scores for each in (s, math.nextafter(s, math.inf), math.nextafter(s, -math.inf))]
    for score in [other, *near]:
        assert (p_value(score, sorted(scores)) <= rate) == (score > threshold)


def test_a_rate_one_double_below_is_one_rank_stricter() -> None:
    for count in range(2, 200):
        for allowed in range(2, count + 1):
            rate = allowed / (count + 1)
            assert conformal_threshold(np.arange(count), rate) == count - allowed
            assert conformal_threshold(np.arange(count), math.nextafter(rate, 0)) == count - allowed + 1


@quick
@given(count=st.integers(1, 5000), rate=rates)
def test_normals_needed_is_the_turning_point(count: int, rate: float) -> None:
    needed = normals_needed(rate)
    assert 1 / (needed + 1) <= rate
    assert needed == 1 or 1 / needed > rate
    assert normals_needed(smallest_rate(count)) == count
    assert conformal_threshold(range(count), smallest_rate(count)) == count - 1  # type: ignore[arg-type]


@quick
@given(scores=spread, first=rates, second=rates, seed=st.integers(0, 100))
def test_threshold_falls_with_the_rate_and_ignores_order(
    scores: list[float], first: float, second: float, seed: int
) -> None:
    low, high = sorted((first, second))
    assume(len(scores) >= normals_needed(low))
    assert conformal_threshold(scores, low) >= conformal_threshold(scores, high)
    shuffled = np.random.default_rng(seed).permutation(scores)
    assert conformal_threshold(shuffled, low) == conformal_threshold(scores, low)


@quick
@given(scores=st.lists(st.integers(-50, 50).map(float), min_size=3, max_size=60), rate=rates)
def test_threshold_follows_a_monotone_transform(scores: list[float], rate: float) -> None:
    assume(len(scores) >= normals_needed(rate))
    for transform in (lambda s: s**3 + 5, lambda s: math.exp(s / 10), lambda s: 2 * s - 7):
        assert conformal_threshold([transform(s) for s in scores], rate) == transform(conformal_threshold(scores, rate))


CONTINUOUS = {"normal": stats.norm(), "lognormal": stats.lognorm(1.5), "cauchy": stats.cauchy()}
TIED = {"coin": stats.bernoulli(0.3), "poisson": stats.poisson(2), "ten": stats.randint(0, 10)}


def true_rates(distribution: stats.rv_frozen, count: int, rate: float, draws: int) -> np.ndarray:
    """P(new normal > threshold), known from the distribution, for each of many calibration draws."""
    rng = np.random.default_rng([count, round(1000 * rate)])
    samples = distribution.rvs(size=(draws, count), random_state=rng)
    return distribution.sf([conformal_threshold(sample, rate) for sample in samples])


@pytest.mark.parametrize(("count", "rate"), [(19, 0.05), (99, 0.01), (100, 0.1), (150, 0.03), (500, 0.01), (7, 0.4)])
@pytest.mark.parametrize("name", [*CONTINUOUS, *TIED])
def test_coverage(name: str, count: int, rate: float) -> None:
    draws = 1000
    found = true_rates((CONTINUOUS | TIED)[name], count, rate, draws)
    error = found.std(ddof=1) / math.sqrt(draws)
    assert found.mean() <= rate + 3 * error
    above = np.mean(found > rate_bound(count, rate))
    assert above <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / draws)
    if name in CONTINUOUS:
        assert found.mean() >= rate - 1 / (count + 1) - 3 * error
        allowed = math.floor(round((count + 1) * rate, 9))
        assert stats.kstest(found, stats.beta(allowed, count + 1 - allowed).cdf).pvalue > 1e-4
        assert above >= 0.05 - 3 * math.sqrt(0.05 * 0.95 / draws)  # the bound is a quantile, not merely safe


def test_rate_bound_in_closed_form() -> None:
    # allowed = 1: Beta(1, n), whose quantile is 1 - (1 - confidence)^(1/n)
    assert rate_bound(99, 0.01) == pytest.approx(1 - 0.05 ** (1 / 99))
    assert rate_bound(19, 0.05, confidence=0.5) == pytest.approx(1 - 0.5 ** (1 / 19))
    assert rate_bound(1, 0.5, confidence=0.9) == pytest.approx(0.9)
    assert rate_bound(100_000, 0.01) == pytest.approx(0.01, abs=6e-4)


@quick
@given(scores=st.one_of(tied, spread), score=st.one_of(st.integers(-5, 5).map(float), st.floats(allow_nan=False)))
def test_p_value_is_that_of_brute_force(scores: list[float], score: float) -> None:
    assert p_value(score, sorted(scores)) == slow_p(score, scores)


def every_decision(calibrated: bool = True) -> Callable[[float, float, float], tuple[float | None, bool | None, str]]:
    scores = np.arange(9.0)
    calibration = calibrate(scores[::-1], 10 * scores, 100 * scores, 0.5, rate=0.2) if calibrated else None
    return decider(calibration)


def test_calibrate_keeps_everything_and_thresholds_each_term() -> None:
    rng = np.random.default_rng(0)
    scores, residuals, discriminations = rng.normal(size=(3, 120))
    found = calibrate(scores, residuals, discriminations, 0.25, rate=0.05)
    assert found.scores == tuple(sorted(scores))
    assert (found.false_alarm_rate, found.heatmap_scale) == (0.05, 0.25)
    assert found.threshold == sorted(scores)[114]  # k = ceil(121 * 0.95) = 115
    assert found.residual_threshold == sorted(residuals)[114]
    assert found.discrimination_threshold == sorted(discriminations)[114]
    assert found.rate_bound == rate_bound(120, 0.05)


def test_decide() -> None:
    decision = every_decision()  # 9 normals, rate 0.2: k = 8, thresholds 7, 70, 700
    assert decision(7.0, 70.0, 700.0) == (0.3, False, "")
    assert decision(7.5, 70.0, 700.0) == (0.2, True, "")
    assert decision(9.0, 71.0, 700.0) == (0.1, True, "residual")
    assert decision(0.0, 70.0, 701.0) == (1.0, False, "discrimination")
    assert decision(math.inf, math.inf, 800.0) == (0.1, True, "both")
    assert decision(math.nan, 99.0, 999.0) == (None, None, "")
    assert every_decision(calibrated=False)(9.0, 99.0, 999.0) == (None, None, "")


def test_a_decisions_p_value_is_that_of_the_scores() -> None:
    scores = np.random.default_rng(0).integers(0, 20, 99).astype(float)  # with ties
    calibration = calibrate(scores, scores, scores, 0.5, rate=0.05)
    for score in [*np.arange(-1, 21, 0.5), math.inf, -math.inf]:
        assert decider(calibration)(score, 0.0, 0.0)[0] == slow_p(score, list(scores))


def test_too_few_normals_says_how_many_and_what_works() -> None:
    with pytest.raises(DataError) as error:
        conformal_threshold(range(48), 0.01)  # type: ignore[arg-type]
    message = str(error.value)
    assert "48 held-out" in message
    assert "at least 99" in message
    assert "\n" not in message
    advised = float(message.rpartition("=")[2].rstrip(")"))
    assert smallest_rate(48) <= advised < smallest_rate(48) * 1.001
    assert conformal_threshold(range(48), advised) == 47  # type: ignore[arg-type]
    with pytest.raises(DataError, match="48 held-out"):
        rate_bound(48, 0.01)
    with pytest.raises(DataError, match="0 held-out"):
        conformal_threshold([], 0.5)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, 1.5, math.nan])
def test_rate_out_of_range(rate: float) -> None:
    for call in (lambda: conformal_threshold([1.0], rate), lambda: normals_needed(rate), lambda: rate_bound(9, rate)):
        with pytest.raises(SettingsError, match="false_alarm_rate"):
            call()


def test_tiny_rates_have_an_answer() -> None:
    assert normals_needed(1e-6) == 999_999
    assert normals_needed(5e-324) > 10**300
    with pytest.raises(DataError, match="too few"):
        conformal_threshold([1.0, 2.0], 5e-324)


def test_bad_input_is_named() -> None:
    good = np.arange(99.0)
    with pytest.raises(DataError, match=r"residual of 2 of 99 .* not finite"):
        calibrate(good, np.r_[np.nan, np.inf, good[2:]], good, 0.1, 0.01)
    with pytest.raises(SettingsError, match=r"\(99, 98, 99\)"):
        calibrate(good, good[1:], good, 0.1, 0.01)
    for scale in (math.nan, -1.0, math.inf):
        with pytest.raises(SettingsError, match="heatmap scale"):
            calibrate(good, good, good, scale, 0.01)
    with pytest.raises(SettingsError, match="shape"):
        conformal_threshold(np.zeros((9, 9)), 0.5)
    with pytest.raises(SettingsError, match="confidence"):
        rate_bound(99, 0.01, confidence=1.0)
    with pytest.raises(SettingsError, match="at least 0"):
        smallest_rate(-1)
