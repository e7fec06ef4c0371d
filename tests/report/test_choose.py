"""Which findings a figure shows, chosen from a stream: against the whole list, sorted."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anotwin.errors import SettingsError
from anotwin.records import Finding
from anotwin.report.choose import Chooser, Extremes

QUICK = settings(derandomize=True, deadline=None, max_examples=150)
PIXELS = np.zeros((1, 1), np.uint8)
SCORES = st.lists(st.one_of(st.integers(0, 5).map(float), st.just(math.nan)), max_size=12)
IDS = st.text("ab\udcff", max_size=3)
STREAMS = st.lists(st.tuples(IDS, st.integers(-2, 2).map(float) | st.just(math.nan), st.booleans()), max_size=15)


def finding(name, score, picture=True, normal=None):
    return Finding(name, score=score, query=PIXELS if picture else None, normal=normal)


def choose(findings, count):
    chooser = Chooser(count)
    for each in findings:
        chooser.add(each)
    return chooser.chosen


def extremes_by_sorting(findings, highest, lowest):
    """By id, from the highest score on and among equal scores from the first id on: both ends of that order."""
    ranked = sorted(
        (each for each in findings if each.query is not None and each.score == each.score),
        key=lambda each: (-each.score, each.id),
    )
    return {each.id for each in ranked[:highest] + ranked[max(len(ranked) - lowest, 0) :]}


@QUICK
@given(STREAMS, st.integers(0, 4), st.integers(0, 4))
def test_extremes_are_both_ends_of_the_sorted_stream_whatever_its_order(drawn, highest, lowest):
    findings = [finding(*each) for each in {name: (name, *rest) for name, *rest in drawn}.values()]
    extremes = Extremes(highest, lowest)
    for count, each in enumerate(findings):
        wanted = extremes.wants(each)
        extremes.add(each)
        kept = extremes_by_sorting(findings[: count + 1], highest, lowest)
        assert extremes.kept.keys() == kept
        assert all(extremes.kept[name].id == name for name in kept)
        if each.query is None:  # `wants` says whether it would be kept with its picture
            with_picture = finding(each.id, each.score)
            kept = extremes_by_sorting([*findings[:count], with_picture], highest, lowest)
        assert wanted == (each.id in kept)


def test_extremes_hold_no_more_than_they_keep():
    extremes = Extremes(2, 1)
    for number in range(50):
        extremes.add(finding(f"{number:02}", float(number * 7 % 50)))
    held = [each for best in vars(extremes).values() if hasattr(best, "findings") for each in best.findings]
    assert sorted(each.score for each in held) == [0.0, 48.0, 49.0]


@QUICK
@given(SCORES, st.integers(1, 8), st.randoms(use_true_random=False))
def test_choice_without_labels_is_both_ends_in_any_order(scores, count, random):
    findings = [finding(f"{i}", score) for i, score in enumerate(scores)]
    ranked = sorted((f for f in findings if f.score == f.score), key=lambda f: (-f.score, f.id))
    got = choose(random.sample(findings, len(findings)), count)
    assert len(got) == min(count, len(ranked))
    highest = got[: min(math.ceil(count / 2), len(got))]
    assert [f.id for f in highest] == [f.id for f in ranked[: len(highest)]]
    rest = sorted(f.score for f in got[len(highest) :])
    assert rest == sorted(f.score for f in ranked[len(highest) :])[: len(rest)]
    assert [f.id for f in got] == [f.id for f in choose(findings, count)]


def test_choice_with_labels_is_half_of_each_in_any_order():
    findings = [finding(f"{i:02}", float(i % 7), normal=i >= 3) for i in range(20)]
    for shuffle in itertools.islice(itertools.permutations(findings[:5]), 30):
        got = choose([*findings[5:], *shuffle], 8)
        assert [f.normal for f in got] == [False] * 3 + [True] * 5
        assert {f.id for f in got} == {f.id for f in choose(findings, 8)}
        assert [f.score for f in got[3:]] == sorted((f.score for f in got[3:]), reverse=True)


def test_a_sample_of_labelled_images_does_not_depend_on_their_scores():
    names = [f"{i:02}" for i in range(30)]
    rising = choose([finding(name, float(i), normal=i % 2 == 0) for i, name in enumerate(names)], 8)
    falling = choose([finding(name, float(-i), normal=i % 2 == 0) for i, name in enumerate(names)], 8)
    assert {f.id for f in rising} == {f.id for f in falling}


def test_the_chooser_holds_little_and_leaves_errors_out():
    chooser = Chooser(3)
    for i in range(200):
        chooser.add(finding(f"{i}", float(i), normal=bool(i % 2)))
        chooser.add(Finding(f"error-{i}"))
        chooser.add(finding(f"no-picture-{i}", 1000.0, picture=False))
    held = {id(f) for best in vars(chooser).values() for f in getattr(best, "findings", ())}
    assert 3 <= len(held) <= 12
    assert len(chooser.chosen) == 3
    assert all(f.query is not None for f in chooser.chosen)
    with pytest.raises(SettingsError, match="at least 1"):
        Chooser(0)
