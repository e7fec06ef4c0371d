"""Events against a twin of regular expressions, tracks against motions that are known and assignment by trying all."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anotwin.domains.regions import find_regions
from anotwin.domains.video import tracks as tracking
from anotwin.domains.video.events import Event, EventFinder, EventSettings, alarm_count
from anotwin.domains.video.tracks import MOST_POINTS, MOST_TRACKS, Box, box_of, link
from anotwin.errors import SettingsError

QUICK = settings(derandomize=True, deadline=None, max_examples=120)
NAN = math.nan
scores_of = st.lists(st.one_of(st.integers(0, 6).map(float), st.just(NAN)), max_size=40)
settings_of = st.builds(
    lambda leave, above, least, bridge: EventSettings(float(leave + above), float(leave), least, bridge),
    st.integers(0, 4),
    st.integers(0, 3),
    st.integers(1, 4),
    st.integers(1, 4),
)
boxes_of = st.builds(
    lambda top, left, high, wide, peak: Box(top, left, top + high, left + wide, peak),
    st.integers(0, 30),
    st.integers(0, 30),
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(1, 9).map(float),
)


def told_by(
    scores: list[float], rules: EventSettings, regions: dict[int, list[Box]] | None = None
) -> list[list[Event]]:
    """What the finder tells of after each frame, and at the end."""
    finder = EventFinder("clip", rules)
    told = [finder.take(k, k / 10, score, (regions or {}).get(k, [])) for k, score in enumerate(scores)]
    return [*told, finder.finish()]


def ended(told: list[list[Event]]) -> list[Event]:
    return [event for each in told for event in each if not event.going_on]


def slow_events(scores: list[float], rules: EventSettings) -> list[tuple[int, int, int, float]]:
    """First frame, last, peak and score of each event, from the whole course as text."""
    frames = [k for k, score in enumerate(scores) if not math.isnan(score)]
    text = "".join("h" if scores[k] > rules.leave else "c" for k in frames)
    found = []
    for stretch in re.finditer(f"h(?:c{{0,{rules.bridge - 1}}}h)*", text):
        places = list(range(*stretch.span()))
        first = next((k for k in places if scores[frames[k]] > rules.enter), None)
        if first is not None:
            own = [k for k in places if k >= first]
            peak = max(own, key=lambda k: scores[frames[k]])
            if sum(text[k] == "h" for k in own) >= rules.least_frames:
                found.append((frames[first], frames[own[-1]], frames[peak], scores[frames[peak]]))
    return found


@QUICK
@given(scores_of, settings_of)
def test_events_are_those_of_the_whole_course(scores: list[float], rules: EventSettings) -> None:
    found = ended(told_by(scores, rules))
    assert [(e.start_frame, e.end_frame, e.peak_frame, e.score) for e in found] == slow_events(scores, rules)
    assert [event.number for event in found] == list(range(1, len(found) + 1))
    assert all(
        (e.start_s, e.end_s, e.peak_s) == (e.start_frame / 10, e.end_frame / 10, e.peak_frame / 10) for e in found
    )


@QUICK
@given(scores_of, settings_of)
def test_calibration_counts_what_the_finder_tells_of(scores: list[float], rules: EventSettings) -> None:
    told = told_by(scores, rules)
    begun = [event for each in told for event in each if event.going_on]
    assert alarm_count(scores, rules) == len(ended(told)) == len(begun)


@QUICK
@given(scores_of, scores_of, settings_of)
def test_what_is_told_does_not_depend_on_what_comes(
    before: list[float], after: list[float], rules: EventSettings
) -> None:
    alone, whole = told_by(before, rules), told_by(before + after, rules)
    assert alone[: len(before)] == whole[: len(before)]


@QUICK
@given(scores_of, settings_of)
def test_a_notice_comes_with_the_frame_that_makes_it_count(scores: list[float], rules: EventSettings) -> None:
    told = told_by(scores, rules)
    begun = {event.number: k for k, each in enumerate(told) for event in each if event.going_on}
    for event in ended(told):
        frames = [k for k in range(event.start_frame, event.end_frame + 1) if scores[k] > rules.leave]
        assert begun[event.number] == frames[rules.least_frames - 1]


@QUICK
@given(scores_of, settings_of)
def test_frames_without_a_score_change_nothing(scores: list[float], rules: EventSettings) -> None:
    places = [k for k, score in enumerate(scores) if not math.isnan(score)]
    with_gaps = [(e.start_frame, e.end_frame, e.peak_frame) for e in ended(told_by(scores, rules))]
    without = ended(told_by([scores[k] for k in places], rules))
    assert with_gaps == [(places[e.start_frame], places[e.end_frame], places[e.peak_frame]) for e in without]


@QUICK
@given(scores_of, settings_of, st.integers(0, 4))
def test_a_higher_level_to_begin_is_no_more_alarms(scores: list[float], rules: EventSettings, more: int) -> None:
    """Where the level to go on stays: each stretch above it has one event at most, and it begins later."""
    higher = EventSettings(rules.enter + more, rules.leave, rules.least_frames, rules.bridge)
    assert alarm_count(scores, higher) <= alarm_count(scores, rules)
    assert alarm_count(scores, EventSettings(math.inf, rules.leave)) == 0


@QUICK
@given(scores_of, settings_of, st.integers(-50, 50))
def test_only_the_distance_from_the_levels_counts(scores: list[float], rules: EventSettings, shift: int) -> None:
    moved = EventSettings(rules.enter + shift, rules.leave + shift, rules.least_frames, rules.bridge)
    assert alarm_count([score + shift for score in scores], moved) == alarm_count(scores, rules)


def test_a_course_by_hand() -> None:
    rules = EventSettings(enter=4, leave=2, least_frames=3, bridge=2)
    course = [3, 5, 3, 1, 6, 2, 2, 9, 0, 0, 5, 5, 5, 5]
    #         -  begins      ends^   dropped  going on at the end
    (first, last) = ended(told_by([float(score) for score in course], rules))
    assert (first.start_frame, first.end_frame, first.peak_frame, first.score) == (1, 4, 4, 6.0)
    assert (last.number, last.start_frame, last.end_frame) == (2, 10, 13)
    assert math.isclose(first.duration, 0.3)
    assert first.box is None
    assert first.track == ()


def test_a_finder_goes_on_after_a_gap() -> None:
    finder = EventFinder("gate", EventSettings(1.0, 0.5, bridge=5))
    assert finder.peak_frame is None
    (begun,) = finder.take(0, 0.0, 2.0)
    assert begun.going_on
    assert begun.number == 1
    assert finder.peak_frame == 0
    (first,) = finder.finish()
    assert finder.finish() == []
    (second,) = finder.take(900, 90.0, 3.0)
    assert (first.number, first.end_frame, second.number, second.start_frame) == (1, 0, 2, 900)


def test_scores_of_numpy_become_plain_numbers() -> None:
    finder = EventFinder("gate", EventSettings(1.0, 0.5))
    (event,) = finder.take(np.int64(3), np.float32(0.5), np.float32(2.5))  # type: ignore[arg-type]
    assert {type(event.start_frame), type(event.start_s), type(event.score)} == {int, float}


@pytest.mark.parametrize(
    "wrong", [(1.0, 2.0, 1, 1), (1.0, NAN, 1, 1), (NAN, 0.0, 1, 1), (1.0, 0.5, 0, 1), (1.0, 0.5, 1, 0)]
)
def test_levels_and_frames_must_be_possible(wrong: tuple[float, float, int, int]) -> None:
    with pytest.raises(SettingsError, match="events: l"):
        EventSettings(*wrong)


def moving(frame: int, start: tuple[float, float], step: tuple[float, float], peak: float, side: int = 6) -> Box:
    top, left = (round(at + frame * by) for at, by in zip(start, step, strict=True))
    return Box(top, left, top + side, left + side, peak)


def test_two_that_cross_are_two_tracks() -> None:
    """A walker and a cyclist meet: only their velocities tell them apart."""
    paths = {5.0: ((20, 0), (0, 3)), 9.0: ((20, 90), (0, -4))}
    rng = np.random.default_rng(0)
    regions = {k: [moving(k, *path, peak) for peak, path in paths.items()] for k in range(25)}
    for boxes in regions.values():
        rng.shuffle(boxes)
    (event,) = ended(told_by([2.0] * 25, EventSettings(1.0, 0.5), regions))
    assert len(event.tracks) == 2
    for track, peak in zip(event.tracks, (9.0, 5.0), strict=True):  # the hottest is the event's own
        assert track == tuple((k, moving(k, *paths[peak], peak)) for k in range(25))


@pytest.mark.parametrize(("hidden", "tracks"), [(3, 1), (4, 2)])
def test_a_track_is_lost_after_as_many_frames_as_an_event(hidden: int, tracks: int) -> None:
    seen = [k for k in range(30) if not 10 <= k < 10 + hidden]
    regions = {k: [moving(k, (10, 0), (1, 4), 3.0)] for k in seen}
    (event,) = ended(told_by([2.0] * 30, EventSettings(1.0, 0.5, bridge=4), regions))
    assert len(event.tracks) == tracks
    assert sorted(point for track in event.tracks for point in track) == [(k, regions[k][0]) for k in seen]


@pytest.mark.parametrize("jump", [0, 40])
def test_what_appears_elsewhere_is_another_track(jump: int) -> None:
    regions = {k: [Box(0, jump * (k >= 5), 5, jump * (k >= 5) + 5, 2.0)] for k in range(10)}
    (event,) = ended(told_by([2.0] * 10, EventSettings(1.0, 0.5, bridge=9), regions))
    assert len(event.tracks) == 1 + (jump > 0)


def test_tracks_end_with_their_event_and_go_on_through_it() -> None:
    course = [0.0, 2.0, 2.0, 0.0, 3.0, 0.0, 0.0, 0.0]
    regions = {k: [Box(0, k, 5, k + 5, 1.0 + k)] for k in range(len(course))}
    (event,) = ended(told_by(course, EventSettings(1.0, 0.5, bridge=3), regions))
    assert [frame for frame, _ in event.track] == [1, 2, 3, 4]  # 3 is bridged; 5 and 6 turned out to be behind the end
    assert event.box == regions[4][0]


def test_the_box_is_the_one_nearest_to_the_peak() -> None:
    regions = {1: [Box(0, 0, 4, 4, 2.0)], 4: [Box(1, 0, 5, 4, 3.0)]}
    (event,) = ended(told_by([2.0, 2.0, 9.0, 2.0, 2.0], EventSettings(1.0, 0.5, bridge=9), regions))
    assert (event.peak_frame, event.box) == (2, regions[1][0])


def slow_cost(expected: Box, region: Box) -> float | None:
    """The cost of a link by counting pixels; None: it is too far."""

    def pixels(box: Box) -> set[tuple[int, int]]:
        return set(itertools.product(range(box.top, box.bottom), range(box.left, box.right)))

    def centre(box: Box) -> complex:
        return complex(box.top + box.bottom, box.left + box.right) / 2

    diagonals = [abs(complex(box.bottom - box.top, box.right - box.left)) for box in (expected, region)]
    apart, ours, theirs = abs(centre(expected) - centre(region)), pixels(expected), pixels(region)
    reach = sum(diagonals) / 2
    return None if apart > reach else apart / reach - len(ours & theirs) / len(ours | theirs)


@settings(derandomize=True, deadline=None, max_examples=80)
@given(st.lists(boxes_of, max_size=4), st.lists(boxes_of, max_size=4))
def test_links_are_the_best_of_all(expected: list[Box], regions: list[Box]) -> None:
    """As many as possible, then at the lowest cost, among all ways to link."""
    costs = {(a, b): slow_cost(x, y) for a, x in enumerate(expected) for b, y in enumerate(regions)}
    corners = [np.array([b.top, b.left, b.bottom, b.right], float) for b in expected]
    found = link(corners, regions)
    assert len({a for a, _ in found}) == len({b for _, b in found}) == len(found)
    assert all(costs[pair] is not None for pair in found)
    short, long = sorted((len(expected), len(regions)))
    best = (0, 0.0)
    for order in itertools.permutations(range(long), short):
        pairs = [(k, o) if len(expected) <= len(regions) else (o, k) for k, o in enumerate(order)]
        known = [cost for cost in map(costs.__getitem__, pairs) if cost is not None]
        best = min(best, (-len(known), sum(known)))
    assert -len(found) == best[0]
    assert math.isclose(sum(costs[pair] or 0.0 for pair in found), best[1], abs_tol=1e-9)


def test_overlap_counts_beside_distance() -> None:
    """A small box nearer to the middle is not what a large one became."""
    assert link([np.array([0.0, 0.0, 10.0, 10.0])], [Box(6, 4, 8, 6), Box(0, 4, 10, 14)]) == [(0, 1)]


def test_a_long_event_lives_in_bounded_memory() -> None:
    rng = np.random.default_rng(1)
    finder = EventFinder("clip", EventSettings(1.0, 0.5, bridge=2))
    frames = 2 * MOST_POINTS
    told: list[Event] = []
    for k in range(frames):
        noise = [Box(top, 300, top + 2, 302, 1.0) for top in rng.integers(0, 400, 2).tolist()] if k % 40 == 0 else []
        told += finder.take(k, k / 25, 2.0, [moving(k, (10, 0), (0, 0.01), 5.0), *noise])
    (event,) = finder.finish()
    assert MOST_POINTS / 2 <= len(event.track) <= MOST_POINTS
    assert (event.track[0][0], event.track[-1][0], event.end_frame) == (0, frames - 1, frames - 1)
    assert 1 < len(event.tracks) <= MOST_TRACKS + 1
    assert np.all(np.diff([frame for frame, _ in event.track]) > 0)


def test_of_too_many_regions_those_of_the_highest_peaks_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "MOST_REGIONS", 2)
    (event,) = ended(told_by([2.0], EventSettings(1.0, 0.5), {0: [Box(9 * k, 0, 9 * k + 5, 5, k) for k in (1, 3, 2)]}))
    assert [track[0][1].peak for track in event.tracks] == [3, 2]


def test_a_region_of_heat_as_a_box() -> None:
    heat = np.zeros((6, 9), np.float32)
    heat[1:3, 4:8] = 2.5
    assert box_of(find_regions(heat, 1.0)[0]) == Box(1, 4, 3, 8, 2.5)
