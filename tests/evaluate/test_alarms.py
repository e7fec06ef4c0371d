"""Events: frames counted one by one as a twin, the Poisson distribution itself for the interval of a rate."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from anotwin.errors import DataError, SettingsError
from anotwin.evaluate.alarms import (
    PredictedEvent,
    TruthEvent,
    alarms_per_hour,
    delay,
    evaluate_alarms,
    track_coverage,
    truth_events,
)
from anotwin.evaluate.metrics import group_proportion_interval, proportion_interval
from anotwin.evaluate.tracks import PredictedRegion, TruthRegion

quick = settings(derandomize=True, deadline=None, max_examples=80)


def some_events(seed: int) -> tuple[list[PredictedEvent], list[TruthEvent]]:
    rng = np.random.default_rng(seed)

    def interval() -> tuple[str, int, int]:
        start = int(rng.integers(0, 40))
        return str(rng.choice(["a", "b"])), start, start + int(rng.integers(0, 12))

    truth = [TruthEvent(*each, int(rng.integers(each[1], each[2] + 1))) for each in (interval() for _ in range(4))]
    return [PredictedEvent(*interval()) for _ in range(int(rng.integers(0, 6)))], truth


@quick
@given(seed=st.integers(0, 10**6))
def test_alarms_are_those_of_frames_counted_one_by_one(seed: int) -> None:
    predicted, truth = some_events(seed)
    delays: list[int | None] = []
    for event in truth:
        of_clip = [alarm for alarm in predicted if alarm.clip == event.clip]
        on = [frame for alarm in of_clip for frame in range(int(alarm.start), int(alarm.end) + 1)]
        seen = [frame for frame in range(int(event.first), int(event.last) + 1) if frame in on]
        delays.append(seen[0] - int(event.fully_visible_from) if seen else None)
    abnormal = {(event.clip, frame) for event in truth for frame in range(int(event.first), int(event.last) + 1)}
    false = sum(
        not any((alarm.clip, frame) in abnormal for frame in range(int(alarm.start), int(alarm.end) + 1))
        for alarm in predicted
    )
    found = evaluate_alarms(predicted, truth, normal_hours=2.0)
    known = [value for value in delays if value is not None]
    assert found.delays == tuple(delays)
    assert (found.n_found, found.recall) == (len(known), len(known) / 4)
    assert (found.n_false, found.n_alarms, found.false_per_hour) == (false, len(predicted), false / 2)
    assert (found.recall_low, found.recall_high) == group_proportion_interval(
        [value is not None for value in delays], [event.clip for event in truth]
    )
    if known:
        assert (found.median_delay, found.longest_delay) == (np.median(known), max(known))
    assert evaluate_alarms(predicted[::-1], truth, normal_hours=2.0).as_dict() == found.as_dict()


def test_delay_by_hand() -> None:
    event = TruthEvent("a", 10, 50, 15)
    assert delay([PredictedEvent("a", 18, 20)], event) == 3
    assert delay([PredictedEvent("a", 30, 40), PredictedEvent("a", 18, 20)], event) == 3
    assert delay([PredictedEvent("a", 12, 13)], event) == -3  # before it was fully visible
    assert delay([PredictedEvent("a", 2, 30)], event) == -5  # on for something else already
    assert delay([PredictedEvent("a", 50, 60)], event) == 35  # both ends belong to an event
    assert delay([PredictedEvent("a", 51, 60), PredictedEvent("a", 0, 9), PredictedEvent("b", 10, 50)], event) is None
    assert delay([PredictedEvent("a", 12, 13)], TruthEvent("a", 10, 50, None)) == 2
    assert delay([PredictedEvent("a", 1.85, 2.0)], TruthEvent("a", 1.0, 5.0, 1.5)) == pytest.approx(0.35)  # seconds


def test_one_event_a_clip_has_the_exact_interval_of_a_proportion() -> None:
    truth = [TruthEvent(f"clip {k}", 0, 9, 0) for k in range(20)]
    predicted = [PredictedEvent(f"clip {k}", 3, 4) for k in range(19)]
    found = evaluate_alarms(predicted, truth, 1.0)
    assert (found.recall_low, found.recall_high) == proportion_interval(19, 20)
    assert (found.n_false, found.false_per_hour, found.false_per_hour_low) == (0, 0, 0)


def test_undefined_is_none_in_json() -> None:
    text = json.loads(json.dumps(evaluate_alarms([], [], 0.0).as_dict(), allow_nan=False))
    for name in ("recall", "recall_low", "median_delay", "longest_delay", "false_per_hour", "false_per_hour_high"):
        assert text[name] is None
    missed = evaluate_alarms([], [TruthEvent("a", 0, 9, 0)], 1.0).as_dict()
    assert (missed["delays"], missed["recall"], missed["median_delay"]) == ([None], 0.0, None)


@pytest.mark.parametrize(
    ("count", "hours", "confidence"), [(0, 2.0, 0.95), (1, 0.5, 0.95), (10, 1.0, 0.95), (7, 24, 0.8)]
)
def test_the_interval_of_a_rate_is_where_the_poisson_tails_are(count: int, hours: float, confidence: float) -> None:
    rate, tail = alarms_per_hour(count, hours, confidence), (1 - confidence) / 2
    assert rate.value == count / hours
    assert stats.poisson.cdf(count, rate.high * hours) == pytest.approx(tail)
    if count:
        assert stats.poisson.sf(count - 1, rate.low * hours) == pytest.approx(tail)
    else:
        assert rate.low == 0


def test_the_interval_of_a_rate_is_in_the_tables_and_covers() -> None:
    table = {0: (0, 3.689), 1: (0.025, 5.572), 5: (1.623, 11.668), 10: (4.795, 18.390)}  # Garwood 1936
    for count, (low, high) in table.items():
        rate = alarms_per_hour(count, 1.0)
        assert (rate.low, rate.high) == pytest.approx((low, high), abs=6e-4)
    for truth in (0.3, 2.0, 9.0):
        intervals = {count: alarms_per_hour(count, 1.0) for count in range(60)}
        covered = [count for count, rate in intervals.items() if rate.low <= truth <= rate.high]
        assert stats.poisson.pmf(covered, truth).sum() >= 0.95


def test_events_of_tracks() -> None:
    regions = [
        *[TruthRegion("a", frame, (10, 3.0 * frame, 20, 3.0 * frame + 8), 0) for frame in range(25)],  # goes through
        *[TruthRegion("a", frame, (0, 0, 40 + frame, 80), 1) for frame in (5, 6, 9)],  # never within the image
        *[TruthRegion("b", frame, (30, 30, 40, 40), 0) for frame in (2, 3)],  # there from the beginning
    ]
    rng = np.random.default_rng(1)
    mixed = [regions[place] for place in rng.permutation(len(regions))]
    found = truth_events(mixed, height=60, width=80)
    assert found == {
        ("a", 0): TruthEvent("a", 0, 24, 1),
        ("a", 1): TruthEvent("a", 5, 9, 9),
        ("b", 0): TruthEvent("b", 2, 3, 2),
    }
    jumping = [TruthRegion("a", k, (9, left, 20, left + 9), 0) for k, left in enumerate([0, 3, 0, 4, 5, 6, 7])]
    assert truth_events(jumping, 60, 80)[("a", 0)].fully_visible_from == 3
    assert truth_events(jumping, 60, 80, steady=1)[("a", 0)].fully_visible_from == 1
    assert truth_events(jumping, 60, 80, margin=5, steady=1)[("a", 0)].fully_visible_from == 4
    assert truth_events([], 60, 80) == {}


def test_coverage_of_tracks_by_hand() -> None:
    truth = [TruthRegion("a", frame, (0, 0, 10, 10), 0) for frame in range(5)]
    truth += [TruthRegion("a", 0, (0, 20, 10, 30), 0), TruthRegion("b", 0, (0, 0, 10, 10), 0)]  # two parts in frame 0
    predicted = [
        PredictedRegion("a", 0, (0, 20, 10, 30), 1.0),
        PredictedRegion("a", 1, (0, 0, 10, 10), 1.0),
        PredictedRegion("a", 1, (0, 0, 10, 9), 1.0),
        PredictedRegion("a", 2, (9, 9, 20, 20), 1.0),  # one pixel in common
        PredictedRegion("a", 3, (10, 0, 20, 10), 1.0),  # side by side
    ]
    assert track_coverage(predicted, truth) == {("a", 0): 0.4, ("b", 0): 0.0}
    assert track_coverage(predicted, truth, overlap=0.0) == {("a", 0): 0.6, ("b", 0): 0.0}
    assert track_coverage([], truth) == {("a", 0): 0.0, ("b", 0): 0.0}
    assert track_coverage(predicted, []) == {}


def test_bad_events_are_named() -> None:
    with pytest.raises(DataError, match="a: alarm from 3 to 2"):
        evaluate_alarms([PredictedEvent("a", 3, 2)], [], 1.0)
    with pytest.raises(DataError, match="b: event from 9 to 3, fully visible from None"):
        evaluate_alarms([], [TruthEvent("b", 9, 3, None)], 1.0)
    with pytest.raises(DataError, match="b: event from 3 to 9, fully visible from 10"):
        evaluate_alarms([], [TruthEvent("b", 3, 9, 10)], 1.0)
    for values in ((-1, 1.0, 0.95), (1, -1.0, 0.95), (1, math.nan, 0.95), (1, 1.0, 1.0)):
        with pytest.raises(SettingsError, match="alarms: count and hours"):
            alarms_per_hour(*values)


def test_true_events_are_in_the_order_of_their_clips() -> None:
    """Whichever begins first: results say which is which by it."""
    regions = [
        TruthRegion(clip, frame, (4, 4, 8, 8), track)
        for clip, track, first in (("a", 0, 50), ("a", 1, 60), ("b", 0, 3), ("c", 0, 20))
        for frame in range(first, first + 5)
    ]
    assert list(truth_events(regions, 20, 20)) == [("a", 0), ("a", 1), ("b", 0), ("c", 0)]
