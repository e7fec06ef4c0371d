"""Calibration by groups against brute force in exact fractions, against single images, and by simulation."""

from __future__ import annotations

import math
from bisect import bisect_left
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from anotwin.calibrate.decision import by_score, calibrate, decider, promise, unit_decider
from anotwin.calibrate.groups import group_rate_bound, group_threshold, p_values
from anotwin.calibrate.threshold import conformal_threshold, normals_needed, p_value, rate_bound, smallest_rate
from anotwin.errors import DataError, SettingsError
from anotwin.records import UnitScores

quick = settings(derandomize=True, deadline=None, max_examples=60)
tied = st.lists(st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=9), min_size=1, max_size=12)
spread = st.lists(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9), min_size=1, max_size=12)
rates = st.one_of(
    st.floats(0.001, 0.999),
    st.integers(1, 999).map(lambda per_mille: per_mille / 1000),
    st.tuples(st.integers(1, 40), st.integers(41, 80)).map(lambda pair: pair[0] / pair[1]),
)
Groups = list[list[float]]


def exact_p(score: float, groups: Groups) -> Fraction:
    """The formula of the issue, word for word."""
    shares = [Fraction(sum(each >= score for each in group), len(group)) for group in groups]
    return (1 + sum(shares)) / Fraction(len(groups) + 1)


def flat(groups: Groups) -> tuple[list[float], list[int]]:
    return [s for group in groups for s in group], [k for k, group in enumerate(groups) for _ in group]


def p_of(score: float, groups: Groups) -> float:
    scores, numbers = by_score(*flat(groups))
    return p_values(numbers)[bisect_left(scores, score)]


@quick
@given(groups=st.one_of(tied, spread), other=st.floats(-1e6, 1e6))
def test_p_is_the_exact_fraction_rounded_once(groups: Groups, other: float) -> None:
    for score in [other, *flat(groups)[0], math.inf, -math.inf]:
        assert p_of(score, groups) == float(exact_p(score, groups))


@quick
@given(groups=st.one_of(tied, spread), rate=rates, other=st.floats(-1e6, 1e6))
def test_small_p_value_and_exceeded_threshold_are_the_same(groups: Groups, rate: float, other: float) -> None:
    assume(len(groups) >= normals_needed(rate))
    scores, numbers = by_score(*flat(groups))
    threshold = group_threshold(scores, numbers, rate)
    assert threshold in scores
    near = [each for s in scores for each in (s, math.nextafter(s, math.inf), math.nextafter(s, -math.inf))]
    for score in [other, *near]:
        small = float(exact_p(score, groups)) <= rate
        assert small == (score > threshold) == (p_of(score, groups) <= rate)


@quick
@given(groups=st.one_of(tied, spread))
def test_a_rate_that_is_the_p_value_of_a_score_flags_it_and_one_double_less_does_not(groups: Groups) -> None:
    """Also where it is (1 + shares) / (K + 1) with shares in thirds and sevenths, which no double is."""
    ordered, numbers = by_score(*flat(groups))
    for score in set(ordered):
        rate = float(exact_p(score, groups))
        if rate < 1:
            assert score > group_threshold(ordered, numbers, rate)
            stricter = math.nextafter(rate, 0)
            if len(groups) >= normals_needed(stricter):
                assert score <= group_threshold(ordered, numbers, stricter)
    assert p_of(math.inf, groups) == 1 / (len(groups) + 1)


@quick
@given(scores=st.lists(st.integers(-4, 4).map(float) | st.floats(-1e6, 1e6), min_size=1, max_size=60), rate=rates)
def test_groups_of_one_image_are_images_to_the_bit(scores: list[float], rate: float) -> None:
    assume(len(scores) >= normals_needed(rate))
    ordered, numbers = by_score(scores, range(len(scores)))
    assert group_threshold(ordered, numbers, rate) == conformal_threshold(scores, rate)
    for score in [*scores, 0.5, math.inf]:
        assert p_values(numbers)[bisect_left(ordered, score)] == p_value(score, sorted(scores))
    single = calibrate(scores, scores, scores, 0.5, rate)
    assert calibrate(scores, scores, scores, 0.5, rate, range(len(scores))) == single
    assert (single.groups, single.units) == ((), ())
    assert single.rate_bound == rate_bound(len(scores), rate)
    assert set(single.stored()) == set(vars(single)) - {"groups", "units", "region_limit", "alarms"}


@quick
@given(groups=spread, rate=rates, times=st.integers(2, 4), seed=st.integers(0, 99))
def test_more_pictures_of_the_same_change_nothing(groups: Groups, rate: float, times: int, seed: int) -> None:
    """Nor does the order in which images, or groups, come."""
    assume(len(groups) >= normals_needed(rate))
    scores, numbers = flat(groups)
    before = group_threshold(*by_score(scores, numbers), rate)
    copied, owners = flat([group * times if k % 2 else group for k, group in enumerate(groups)])
    order = np.random.default_rng(seed).permutation(len(copied))
    shuffled = by_score(np.array(copied)[order], np.array(owners)[order])
    assert group_threshold(*shuffled, rate) == before
    assert shuffled == by_score(copied, owners)


def test_one_long_group_does_not_decide() -> None:
    """19 groups of one image that score 0, one of 981 that score 1: as images the threshold would be 1, or 0.."""
    groups = [[0.0]] * 19 + [[1.0] * 981]
    assert p_of(0.5, groups) == 2 / 21
    assert group_threshold(*by_score(*flat(groups)), 0.1) == 0.0
    assert conformal_threshold(flat(groups)[0], 0.1) == 1.0


def test_rates_below_one_in_so_many_groups_are_refused_in_groups() -> None:
    groups = [[float(k), k + 0.5] for k in range(12)]
    scores, numbers = flat(groups)
    with pytest.raises(DataError) as error:
        calibrate(scores, scores, scores, 0.5, 0.01, numbers)
    message = str(error.value)
    assert "12 held-out groups of normal images are too few for a false-alarm rate of 0.01" in message
    assert "at least 99; hold out more groups of normal images, or ask for a rate of at least 0.076924" in message
    assert "\n" not in message
    advised = float(message.rpartition("=")[2].rstrip(")"))
    assert calibrate(scores, scores, scores, 0.5, advised, numbers).threshold == 11.5
    with pytest.raises(DataError, match="12 held-out groups"):
        group_rate_bound(12, 0.01)
    with pytest.raises(SettingsError, match="false_alarm_rate"):
        group_threshold([1.0], [0], 0.0)
    with pytest.raises(SettingsError, match="confidence"):
        group_rate_bound(12, 0.5, confidence=0.0)
    with pytest.raises(SettingsError, match="one length"):
        calibrate(scores, scores, scores, 0.5, 0.5, numbers[1:])


def test_the_bound_counts_groups() -> None:
    assert group_rate_bound(99, 0.01) == rate_bound(99, 0.01) == pytest.approx(1 - 0.05 ** (1 / 99))
    for count in (1, 9, 16, 40):
        for allowed in range(1, count + 1):  # what K groups can promise exactly
            assert group_rate_bound(count, allowed / (count + 1)) == rate_bound(count, allowed / (count + 1))
        for allowed in range(1, count):
            between = (allowed + 0.9) / (count + 1)
            assert group_rate_bound(count, between) == rate_bound(count, (allowed + 1) / (count + 1))
        assert group_rate_bound(count, math.nextafter(1, 0)) == 1.0


def test_the_bound_holds_where_groups_are_nearly_all_above_and_counting_whole_groups_would_not() -> None:
    """Nine of ten images of a rare kind of group are high: (K + 1) rate = 1.95 lets one such group pass, not none."""
    count, rate, rng = 20, 1.95 / 21, np.random.default_rng(0)
    bounds = {"ours": group_rate_bound(count, rate), "whole": rate_bound(count, rate)}
    missed = dict.fromkeys(bounds, 0)
    for _ in range(2000):
        rare = rng.random(count) < 0.14 / 0.9
        groups = [[0.0] + [float(kind)] * 9 for kind in rare]
        threshold = group_threshold(*by_score(*flat(groups)), rate)
        true_rate = 0.14 if threshold < 1 else 0.0
        for name, bound in bounds.items():
            missed[name] += true_rate > bound
    assert missed["ours"] <= 0.05 * 2000
    assert missed["whole"] > 0.1 * 2000


CELLS = [(16, 25, 0.8, 1 / 17), (16, 25, 0.0, 1 / 17), (19, 5, 1.0, 0.1), (9, 25, 0.5, 0.15), (40, 1, 0.8, 0.05)]


@pytest.mark.parametrize(("count", "most", "icc", "rate"), CELLS)
def test_images_and_units_of_new_groups_keep_the_rate(count: int, most: int, icc: float, rate: float) -> None:
    """Normal scores of any intra-class correlation, groups of any size: rates are known, not sampled."""
    draws, rng = 400, np.random.default_rng([count, most, round(10 * icc)])
    image, unit, above = [], [], 0
    for _ in range(draws):
        sizes = rng.integers(1, most + 1, count + 1)
        centres = math.sqrt(icc) * rng.normal(size=count + 1)
        groups = [
            centre + math.sqrt(1 - icc) * rng.normal(size=size) for centre, size in zip(centres, sizes, strict=True)
        ]
        scores, numbers = flat([group.tolist() for group in groups[:count]])
        found = calibrate(
            *(scores,) * 3,
            0.5,
            rate,
            numbers,
            [UnitScores("part", *by_score([max(g) for g in groups[:-1]], range(count)))],
        )
        true_rate = float(stats.norm.sf(found.threshold))
        image.append(true_rate)
        above += true_rate > found.rate_bound
        judge = unit_decider(found, "part") if found.groups else None
        unit.append(bool(judge(float(max(groups[-1])), int(sizes[-1]))[1]) if judge else False)
    assert np.mean(image) <= rate + 3 * np.std(image) / math.sqrt(draws)
    assert np.mean(unit) <= rate + 3 * math.sqrt(rate * (1 - rate) / draws)
    assert above <= draws * 0.05 + 3 * math.sqrt(0.05 * 0.95 * draws)


def test_counting_images_would_have_broken_the_promise() -> None:
    """The issue's cell: 4 patients x 25 images at an intra-class correlation of 0.8, 6.2 % for 1 %."""
    rng, as_images, as_groups = np.random.default_rng(0), [], []
    for _ in range(2000):
        scores = (math.sqrt(0.8) * rng.normal(size=(4, 1)) + math.sqrt(0.2) * rng.normal(size=(4, 25))).ravel()
        as_images.append(stats.norm.sf(conformal_threshold(scores, 0.01)))
        as_groups.append(stats.norm.sf(group_threshold(*by_score(scores, np.repeat(range(4), 25)), 0.2)))
    assert np.mean(as_images) == pytest.approx(0.062, abs=0.006)
    assert np.mean(as_groups) <= 0.2


def grouped() -> tuple[list[float], list[int], list[UnitScores]]:
    rng = np.random.default_rng(3)
    scores, groups = rng.integers(0, 9, 40).astype(float).tolist(), np.repeat(range(10), 4).tolist()
    volumes = [max(scores[k : k + 2]) for k in range(0, 40, 2)]
    units = [
        UnitScores("volume", *by_score(volumes, np.repeat(range(10), 2))),
        UnitScores("patient", *by_score([max(scores[k : k + 4]) for k in range(0, 40, 4)], range(10))),
        UnitScores("rare", (1.0, 2.0), (0, 1)),
    ]
    return scores, groups, units


def test_calibrate_by_groups_thresholds_each_term_and_keeps_what_can_decide() -> None:
    scores, groups, units = grouped()
    residuals, discriminations = [-s for s in scores], [s**2 for s in scores]
    found = calibrate(scores, residuals, discriminations, 0.25, 0.2, groups, units)
    for values, threshold in (
        (scores, found.threshold),
        (residuals, found.residual_threshold),
        (discriminations, found.discrimination_threshold),
    ):
        of = [values[k : k + 4] for k in range(0, 40, 4)]
        assert threshold == min(s for s in values if exact_p(math.nextafter(s, math.inf), of) <= Fraction(1, 5))
    assert (found.scores, found.groups) == by_score(scores, groups)
    assert found.rate_bound == group_rate_bound(10, 0.2)
    assert found.units == tuple(units[:2])  # two groups promise no 20 %
    of = [scores[k : k + 4] for k in range(0, 40, 4)]
    for score in np.arange(-1, 10, 0.5):
        p, anomalous, _ = decider(found)(score, 0.0, 0.0)
        assert (p, anomalous) == (float(exact_p(score, of)), score > found.threshold)


def test_units_are_judged_by_units() -> None:
    scores, groups, units = grouped()
    found = calibrate(scores, scores, scores, 0.25, 0.2, groups, units)
    volumes = [[max(scores[k : k + 2]), max(scores[k + 2 : k + 4])] for k in range(0, 40, 4)]
    for score in np.arange(-1, 10, 0.5):
        p = (1 + sum(max(each) >= score for each in volumes)) / 11
        assert unit_decider(found, "patient")(score, 4) == (p, p <= 0.2)
        p = float(exact_p(score, volumes))
        assert unit_decider(found, "volume")(score, 2) == (p, p <= 0.2)
    assert unit_decider(found, "rare")(9.0, 2) == (None, None)
    assert unit_decider(found, "patient")(math.nan, 0) == (None, None)
    assert unit_decider(None, "patient")(9.0, 2) == (None, None)


def test_single_images_judge_units_of_one_image_alone() -> None:
    found = calibrate(range(9), range(9), range(9), 0.25, 0.2)  # type: ignore[arg-type]
    assert unit_decider(found, "volume")(8.5, 1) == (0.1, True)
    assert unit_decider(found, "volume")(6.5, 1) == (0.3, False)
    assert unit_decider(found, "volume")(8.5, 2) == (None, None)  # the highest of two is not like one


def test_the_promise_speaks_of_groups() -> None:
    scores, groups, units = grouped()
    said = promise(calibrate(scores, scores, scores, 0.25, smallest_rate(10), groups, units))
    assert said.startswith("at most 9.09% of the images of a new normal group raise a false alarm, on average over ")
    assert "on 10 groups (40 normals); with 95 % confidence this one stays below 25.89%" in said
