"""Which frames lie before a frame: against a search through the clip."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from clip_arrays import ArrayClips, noise
from hypothesis import given, settings
from hypothesis import strategies as st

from anotwin.data.arrays import from_arrays
from anotwin.domains.video.clips import Clip, clip_at
from anotwin.domains.video.context import BACK, NEXT, OFFSETS, STEADY, clips_of, frames_before, frames_steadying

QUICK = settings(derandomize=True, deadline=None, max_examples=200)
firsts, counts = st.integers(0, 500), st.integers(1, 80)


@QUICK
@given(firsts, counts, st.data())
def test_the_frames_before_lie_so_far_from_it_or_mirrored(first: int, count: int, data: st.DataObject) -> None:
    clip, index = Clip("a", first, count), first + data.draw(st.integers(0, count - 1))
    own = range(first, first + count)
    farthest = min(own, key=lambda each: (-abs(each - index), -each))
    expected = []
    for offset in BACK:  # back; else as far ahead; else the farthest that there is
        candidates = [index - offset, index + offset, farthest]
        expected.append(next(each for each in candidates if each in own))
    for way in (-1, 1, -1):  # back together; else ahead together; else back as far as the clip reaches
        near = [index + way * offset for offset in NEXT]
        if set(near) <= set(own):
            break
    expected += [each if each in own else farthest for each in near]
    assert frames_before(clip, index) == (*expected, max(first, index - 1))


def test_no_frame_of_a_short_clip_is_its_own_past() -> None:
    """Else nothing would have moved at its end."""
    for count in range(2, 2 * max(OFFSETS)):
        clip = Clip("a", 5, count)
        assert all(index not in frames_before(clip, index)[:-1] for index in range(5, 5 + count))


def test_where_a_clip_has_begun_nothing_after_the_frame_counts() -> None:
    clip = Clip("a", 10, 3 * max(OFFSETS))
    for index in range(10 + max(OFFSETS), 10 + clip.count):
        assert frames_before(clip, index) == tuple(index - offset for offset in OFFSETS)
    assert max(frames_before(clip, 10 + max(OFFSETS) - 1)) == 10 + 2 * max(OFFSETS) - 1


def test_a_clip_of_one_frame_is_its_own_past() -> None:
    assert set(frames_before(Clip("a", 7, 1), 7)) == {7}


def test_the_nearest_frames_come_last_in_the_order_of_time() -> None:
    assert sorted(OFFSETS, reverse=True) == list(OFFSETS)
    assert OFFSETS[-1] == 1
    before = frames_before(Clip("a", 0, 100), 50)
    assert list(before) == sorted(before)


def test_the_way_of_a_walker_is_never_mirrored() -> None:
    """Backwards it would be the wrong one."""
    clip = Clip("a", 20, 60)
    for index in range(20, 80):
        assert frames_before(clip, index)[-1] == max(20, index - 1)


@QUICK
@given(firsts, counts, st.data())
def test_scores_are_steadied_by_the_last_frames_of_the_clip(first: int, count: int, data: st.DataObject) -> None:
    clip, index = Clip("a", first, count), first + data.draw(st.integers(0, count - 1))
    found = frames_steadying(clip, index)
    assert list(found) == [each for each in range(index - STEADY + 1, index + 1) if first <= each]
    assert found[-1] == index


@QUICK
@given(st.lists(st.integers(1, 9), min_size=1, max_size=8))
def test_every_frame_is_found_in_its_clip(lengths: list[int]) -> None:
    starts = np.cumsum([0, *lengths]).tolist()
    clips = [Clip(str(number), starts[number], length) for number, length in enumerate(lengths)]
    for index in range(sum(lengths)):
        (own,) = [clip for clip in clips if clip.first <= index < clip.first + clip.count]
        assert clip_at(clips, index) is own


def test_clips_are_those_that_a_source_knows() -> None:
    source = ArrayClips([noise(3), noise(5)], rate=25.0)
    assert clips_of(source) == source.clips == (Clip("clip0", 0, 3, 25.0), Clip("clip1", 3, 5, 25.0))


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        (None, [("", 0, 6)]),
        (["a", "a", "b", "b", "b", "c"], [("a", 0, 2), ("b", 2, 3), ("c", 5, 1)]),
        (["a", "a", "b", "a", "a", "b"], [("a", 0, 2), ("b", 2, 1), ("a (2)", 3, 2), ("b (2)", 5, 1)]),
    ],
)
def test_images_in_memory_are_runs_of_their_groups(
    groups: list[str] | None, expected: list[tuple[str, int, int]]
) -> None:
    source = from_arrays(noise(6))
    items = [replace(item, group=group) for item, group in zip(source.items, groups or [None] * 6, strict=True)]
    found = clips_of(replace(source, items=tuple(items)))
    assert [(each.name, each.first, each.count) for each in found] == expected
    assert all(each.rate is None for each in found)
