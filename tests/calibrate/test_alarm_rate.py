"""Alarms an hour against exact Poisson probabilities, brute force, and simulations of which the true rate is known."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.signal import lfilter

from anotwin.calibrate import alarms
from anotwin.calibrate.alarms import AlarmRate, alarm_rate, clip_threshold, rate_bound
from anotwin.errors import DataError, SettingsError

Floats = npt.NDArray[np.float64]
QUICK = settings(derandomize=True, deadline=None, max_examples=60)
GAP = 10  # frames that end an event
clips_of = st.lists(st.lists(st.integers(0, 20).map(float), min_size=1, max_size=25), min_size=1, max_size=4)
wishes = st.sampled_from([0.01, 1.0, 20.0, 300.0, 2000.0, 9000.0])


def frames_above(scores: Floats, threshold: float) -> int:
    return int(np.count_nonzero(scores > threshold))


def events_above(scores: Floats, threshold: float) -> int:
    """Stretches above the threshold, those at most `GAP` frames apart together."""
    above = np.flatnonzero(scores > threshold)
    return int(above.size > 0) + int(np.count_nonzero(np.diff(above) > GAP))


def spikes(rng: np.random.Generator, hours: float, rate: float, height: Callable[[int], Floats]) -> Floats:
    """An hour of 3600 frames without anything but spikes, at random times and of random heights."""
    scores = np.zeros(round(3600 * hours))
    count = min(int(rng.poisson(rate * hours)), scores.size)
    scores[rng.choice(scores.size, count, replace=False)] = height(count)
    return scores


def course(rng: np.random.Generator, frames: int, memory: float = 0.9) -> Floats:
    """Frame scores that resemble the ones before: an AR(1) process of variance 1."""
    noise = rng.normal(size=frames + 100)
    found: Floats = lfilter([math.sqrt(1 - memory**2)], [1, -memory], noise)[100:]
    return found


@pytest.mark.parametrize("count", [0, 1, 2, 5, 20])
@pytest.mark.parametrize("hours", [0.02, 1.0, 7.5])
def test_bound_is_the_rate_at_which_so_few_are_improbable(count: int, hours: float) -> None:
    bound = rate_bound(count, hours)
    assert math.isclose(stats.poisson.cdf(count, bound * hours), 0.05)
    assert math.isclose(bound, stats.chi2.ppf(0.95, 2 * (count + 1)) / 2 / hours)  # Garwood


def slow_rate(clips: list[Floats], wish: float) -> float | None:
    """The promised threshold at a frame a second, by trying every score from the highest; None: too little footage."""
    hours = sum(map(len, clips)) / 3600
    allowed = -1  # the most events of which the bound is within the wish
    while rate_bound(allowed + 1, hours) <= wish:
        allowed += 1
    if allowed < 0:
        return None
    scores = sorted(np.concatenate(clips), reverse=True)
    found = scores[0]
    for threshold in scores[: len(scores) // 2 + 1]:
        if sum(events_above(clip, threshold) for clip in clips) > allowed:
            break
        found = threshold
    return float(found)


@QUICK
@given(clips_of, wishes)
def test_promised_threshold_is_that_of_brute_force(clips: list[list[float]], wish: float) -> None:
    arrays = [np.array(clip) for clip in clips]
    found, slow = alarm_rate(clips, 1.0, events_above, wish, GAP), slow_rate(arrays, wish)
    assert found.promised == (slow is not None)
    assert found.alarms == sum(events_above(clip, found.threshold) for clip in arrays)
    if slow is None:
        assert found.threshold >= max(map(max, clips))
        assert found.alarms == 0
        assert math.isclose(found.bound, 2.9957 / found.hours, rel_tol=1e-4)
        assert found.expected <= wish
    else:
        assert found.threshold == slow
        assert found.bound <= wish


@QUICK
@given(clips_of, st.lists(st.floats(0.001, 20000), min_size=2, max_size=2))
def test_fewer_alarms_are_never_a_lower_threshold(clips: list[list[float]], pair: list[float]) -> None:
    few, many = (alarm_rate(clips, 1.0, events_above, wish, GAP).threshold for wish in sorted(pair))
    assert few >= many


@QUICK
@given(clips_of, wishes, st.sampled_from([0.25, 8.0]), st.integers(-30, 30))
def test_threshold_follows_the_scale_of_scores(clips: list[list[float]], wish: float, scale: float, shift: int) -> None:
    found = alarm_rate(clips, 1.0, events_above, wish, GAP)
    moved = alarm_rate([np.array(clip) * scale + shift for clip in clips], 1.0, events_above, wish, GAP)
    assert math.isclose(moved.threshold, found.threshold * scale + shift, rel_tol=1e-9, abs_tol=1e-9)
    assert math.isclose(moved.expected, found.expected)


@pytest.mark.parametrize("wish", [1.0, 400.0])
def test_frames_without_a_score_are_no_footage(wish: float) -> None:
    scores = course(np.random.default_rng(2), 300)
    with_gaps = np.insert(scores, [20, 100, 100, 290], math.nan)
    clips = [with_gaps, np.full(50, math.nan), np.array([])]

    def events(each: Floats, threshold: float) -> int:
        return events_above(each[~np.isnan(each)], threshold)

    found = alarm_rate(clips, 2.0, events, wish, GAP)
    alone = alarm_rate([scores], 2.0, events_above, wish, GAP)
    assert (found.threshold, found.hours, found.alarms) == (alone.threshold, alone.hours, alone.alarms)
    assert found.hours == 300 / 2 / 3600


@pytest.mark.parametrize("wish", [4.0, 20.0, 70.0])
def test_bound_holds_in_95_of_100_draws(wish: float) -> None:
    """Spikes of a Poisson process with exponential heights: the true rate above t is 100 exp(-t) an hour."""
    rng, draws = np.random.default_rng(int(wish)), 800
    found = [
        alarm_rate([spikes(rng, 1.0, 100.0, rng.standard_exponential)], 1.0, frames_above, wish) for _ in range(draws)
    ]
    assert all(each.promised for each in found)
    true = np.array([100 * math.exp(-each.threshold) for each in found])
    covered = np.mean(true <= [each.bound for each in found])
    assert abs(covered - 0.95) < 3.5 * math.sqrt(0.05 * 0.95 / draws)  # exact: neither less nor more
    assert abs(np.mean(true) / found[0].expected - 1) < 3.5 * np.std(true) / found[0].expected / math.sqrt(draws)


@pytest.mark.parametrize(("peaks", "used"), [(4, 4), (16, 8), (50, 14)])
@pytest.mark.parametrize("wish", [0.1, 2.0])
def test_extrapolated_threshold_in_closed_form(peaks: int, used: int, wish: float) -> None:
    """A peak beyond the base, in mean excesses of the m peaks used, is F(2, 2 m) distributed if all are exponential."""
    heights = np.sort(np.random.default_rng(peaks).gamma(2.0, size=peaks))[::-1]
    scores = np.zeros(180)
    scores[np.arange(peaks) * 3 + 1] = heights
    base = heights[used] if used < peaks else 0.0
    beyond = stats.f.isf(wish * 0.05 / (used + 1), 2, 2 * used)  # 0.05 hours, m + 1 peaks expected above the base
    found = alarm_rate([scores], 1.0, frames_above, wish)
    assert not found.promised
    assert math.isclose(found.threshold, max(base + beyond * (heights[:used] - base).mean(), heights[0]))
    assert found.expected == wish or found.threshold == heights[0]


def test_extrapolated_rate_is_the_wish_on_average() -> None:
    """Of an exponential tail, which is what is assumed, over draws of ten minutes; of a normal one it is lower."""
    rng, draws, wish = np.random.default_rng(5), 800, 1.0
    heights: dict[str, tuple[Callable[[int], Floats], Callable[[float], float]]] = {
        "exponential": (rng.standard_exponential, lambda level: math.exp(-level)),
        "normal": (lambda count: rng.normal(9, 1, count), lambda level: float(stats.norm.sf(level, 9))),
    }
    ratio = {}
    for name, (height, beyond) in heights.items():
        found = [alarm_rate([spikes(rng, 1 / 6, 600.0, height)], 1.0, frames_above, wish) for _ in range(draws)]
        assert not any(each.promised for each in found)
        assert all(each.expected <= wish for each in found)
        ratio[name] = np.array([600 * beyond(each.threshold) for each in found]) / wish
    assert abs(ratio["exponential"].mean() - 1) < 3.5 * ratio["exponential"].std() / math.sqrt(draws)
    assert 0.0005 < ratio["normal"].mean() < 0.5


def test_frames_that_depend_on_each_other_do_not_break_the_promise() -> None:
    """Half an hour of AR(1) scores, 10 frames a second; the true rate is counted in 30 other hours."""
    rng, wish = np.random.default_rng(3), 40.0
    other = course(rng, 30 * 36000)
    ratios = []
    for _ in range(40):
        found = alarm_rate([course(rng, 6000) for _ in range(3)], 10.0, events_above, wish, GAP)
        assert found.promised
        ratios.append(events_above(other, found.threshold) / 30 / wish)
    assert np.mean(np.array(ratios) > 1) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 40)
    assert 0.5 < np.mean(ratios) < 0.9  # 13 of 20 events may be above: the price of the promise


def test_a_minute_of_clips_is_extrapolated_sanely() -> None:
    """900 frames of a few clips, as there are: on average no more alarms than wished, and no absurd threshold."""
    rng, wish = np.random.default_rng(4), 20.0
    other = course(rng, 30 * 36000)
    ratios, thresholds = [], []
    for _ in range(60):
        clips = [course(rng, 225) for _ in range(4)]
        found = alarm_rate(clips, 10.0, events_above, wish, GAP)
        assert not found.promised
        assert found.threshold >= max(clip.max() for clip in clips)
        ratios.append(events_above(other, found.threshold) / 30 / wish)
        thresholds.append(found.threshold)
    assert 0.05 < np.mean(ratios) < 1.3
    assert np.median(thresholds) < 1.6 * np.quantile(other, 1 - 1e-4)  # some 20 an hour


def test_heavier_tails_are_extrapolated_farther() -> None:
    """From 30 peaks on the shape is estimated: of a generalised Pareto tail it is found, within the limits."""
    rng = np.random.default_rng(6)
    for shape in (0.0, 0.15, 0.3):
        excesses = stats.genpareto.rvs(shape, scale=2.0, size=(200, 400), random_state=rng)
        fits = np.array([alarms._tail(each) for each in excesses])
        assert abs(np.mean(fits[:, 0]) - shape) < 0.05
        assert abs(np.mean(fits[:, 1]) / 2 - 1) < 0.05
        assert fits[:, 0].max() <= 0.3
    shape, scale = alarms._tail(excesses[0][:8])
    assert shape == 1 / 8
    assert scale == excesses[0][:8].mean()


@QUICK
@given(st.lists(st.integers(0, 9).map(float), max_size=40), st.integers(1, 6), st.integers(0, 9))
def test_every_event_has_a_peak(scores: list[float], gap: int, threshold: int) -> None:
    """Peaks above a threshold are at least as many as events, and at least `gap` frames apart."""
    values = np.array(scores)
    peaks = alarms._peaks(values, gap)
    above = np.flatnonzero(values > threshold)
    events = int(above.size > 0) + int(np.count_nonzero(np.diff(above) > gap))
    assert np.count_nonzero(peaks > threshold) >= events
    places = [
        k
        for k in range(len(scores))
        if all(scores[k] > s for s in scores[max(k - gap, 0) : k])
        and all(scores[k] >= s for s in scores[k + 1 : k + 1 + gap])
    ]
    assert peaks.tolist() == values[places].tolist()


def test_an_hour_is_searched_in_steps_that_only_raise_the_threshold() -> None:
    rng = np.random.default_rng(7)
    scores, calls = course(rng, 90_000), []

    def counted(each: Floats, threshold: float) -> int:
        calls.append(threshold)
        return events_above(each, threshold)

    found = alarm_rate([scores], 25.0, counted, 60.0, GAP)
    assert found.promised
    assert len(calls) < 1000
    wanted = round(found.expected * found.hours) - 1
    assert 0.85 * wanted <= found.alarms <= wanted
    calls.clear()
    lax = alarm_rate([scores], 25.0, counted, 1e6, GAP)  # more than there are: down to the median, and no farther
    assert lax.threshold >= np.median(scores)
    assert len(calls) < 1000


@QUICK
@given(clips_of.filter(lambda clips: len(clips) > 1), st.sampled_from([0.4, 0.7, 1.0, 2.0, 3.5]), st.integers(1, 4))
def test_risk_of_the_clip_left_out_is_controlled(clips: list[list[float]], wish: float, most: int) -> None:
    """Each clip in turn is the new one: then the average of its loss over the turns is at most the wish, always."""
    count = len(clips)
    if wish * count - most < 0:
        with pytest.raises(DataError, match="hold out more clips or ask for more alarms"):
            clip_threshold(clips[1:], frames_above, wish, most)
        return
    losses = []
    for k, clip in enumerate(clips):
        threshold = clip_threshold(clips[:k] + clips[k + 1 :], frames_above, wish, most)
        losses.append(min(frames_above(np.array(clip), threshold), most))
    assert np.mean(losses) <= wish + 1e-9


@QUICK
@given(clips_of, st.sampled_from([0.5, 1.0, 2.5]), st.integers(1, 3))
def test_risk_controlled_threshold_is_that_of_brute_force(clips: list[list[float]], wish: float, most: int) -> None:
    """The lowest score, from the highest to the median, up to which (losses + most) / (n + 1) stays within the wish."""
    if wish * (len(clips) + 1) < most:
        return
    scores = sorted((score for clip in clips for score in clip), reverse=True)
    expected = scores[0]
    for threshold in scores[: len(scores) // 2 + 1]:
        losses = [min(frames_above(np.array(clip), threshold), most) for clip in clips]
        if (sum(losses) + most) / (len(clips) + 1) > wish:
            break
        expected = threshold
    assert clip_threshold(clips, frames_above, wish, most) == expected


def test_risk_control_of_one_spike_a_clip_is_the_conformal_threshold() -> None:
    heights = np.random.default_rng(8).permutation(99).astype(float)
    clips = [[-1.0, -2.0, height, -1.0] for height in heights]
    assert clip_threshold(clips, events_above, wish=0.05) == 94.0  # ceil(100 * 0.95): 4 of 99 above it


def test_promise_says_what_is_known_and_what_is_needed() -> None:
    short = AlarmRate(wish=1.0, threshold=2.0, alarms=0, expected=1.0, bound=179.7, hours=1 / 60, clips=3)
    assert short.promise == (
        "about 1 an hour, estimated, not promised: 60 s of held-out footage in 3 clips can promise at most "
        "180 alarms an hour (95 %); 1 an hour needs 3 h"
    )
    long = AlarmRate(wish=1.0, threshold=2.0, alarms=1, expected=0.5, bound=0.95, hours=5.0, clips=1)
    assert long.promised
    assert long.promise == (
        "at most 0.95 alarms an hour (95 %), about 0.5 expected, "
        "on normal footage like the 5 h of held-out footage in 1 clip"
    )


@pytest.mark.parametrize("scores", [[3.0] * 50, [3.0], [1.0, 1.0, 3.0, 1.0]])
def test_scores_that_hardly_vary(scores: list[float]) -> None:
    found = alarm_rate([scores], 10.0, events_above, 1.0, GAP)
    assert found.threshold >= 3.0
    assert found.alarms == 0
    assert math.isfinite(found.threshold)


def test_what_is_not_possible_is_said() -> None:
    with pytest.raises(DataError, match="no frame of 2 clips has a score"):
        alarm_rate([[], [math.nan]], 10.0, events_above, 1.0)
    with pytest.raises(DataError, match="clip 2 has infinite scores"):
        alarm_rate([[1.0], [math.inf]], 10.0, events_above, 1.0)
    with pytest.raises(DataError, match=r"clip 1 has shape \(1, 1\)"):
        alarm_rate([np.ones((1, 1))], 10.0, events_above, 1.0)
    for wish, rate, gap in [(0.0, 10.0, 1), (math.nan, 10.0, 1), (math.inf, 10.0, 1), (1.0, 0.0, 1), (1.0, 10.0, 0)]:
        with pytest.raises(SettingsError, match="expected positive numbers"):
            alarm_rate([[1.0]], rate, events_above, wish, gap)
    with pytest.raises(SettingsError, match="positive wish"):
        clip_threshold([[1.0]], events_above, 0.0)
    with pytest.raises(DataError, match="at least 19 are needed"):
        clip_threshold([[1.0]] * 18, events_above, 0.05)
