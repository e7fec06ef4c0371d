"""Planted intruders: what changes in every frame, and that the mask is what is to be seen of it in the last."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anotwin.defects import intruders
from anotwin.defects.intruders import FAST, FASTER, KINDS, SEEN, SPOILED, intrude

SIDE = 64


def walkers(count: int = 4, frames: int = 5, channels: int = 1, side: int = SIDE, seed: int = 0) -> np.ndarray:
    """Clips (B, T, C, S, S) of a grey ground over which a bright bar goes to the right, 2 pixels a frame."""
    rng = np.random.default_rng(seed)
    clips = np.zeros((count, frames, channels, side, side), np.float32) - 0.2
    clips += rng.normal(0, 0.005, (count, 1, channels, side, side)).astype(np.float32)
    for clip in clips:
        row, column = rng.integers(0, side // 2, 2)
        for number, frame in enumerate(clip):
            frame[:, row : row + side // 4, column + 2 * number : column + 2 * number + side // 8] = 0.5
    return clips


def only(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(intruders, "KINDS", {kind: 1.0})
    monkeypatch.setattr(intruders, "MOST", 1)
    monkeypatch.setattr(intruders, "SPOILED", 1.0)


@given(
    side=st.sampled_from([8, 16, 33, 64]),
    channels=st.sampled_from([1, 3]),
    frames=st.integers(2, 6),
    seed=st.integers(0, 2**32),
)
def test_clips_of_any_size_keep_their_range_and_are_not_changed_themselves(
    side: int, channels: int, frames: int, seed: int
) -> None:
    clips = walkers(3, frames, channels, side)
    given_ = clips.copy()
    planted, masks = intrude(clips, np.random.default_rng(seed))
    assert np.array_equal(clips, given_)
    assert planted.shape == clips.shape
    assert planted.dtype == np.float32
    assert masks.shape == (3, side, side)
    assert np.abs(planted).max() <= 1 + 1e-6
    again, same = intrude(clips, np.random.default_rng(seed))
    assert np.array_equal(planted, again)
    assert np.array_equal(masks, same)
    for clip, found, mask in zip(clips, planted, masks, strict=True):
        if np.array_equal(clip, found):
            assert not mask.any()


def test_some_clips_stay_normal_and_every_kind_is_planted(monkeypatch: pytest.MonkeyPatch) -> None:
    clips = walkers(400, side=32)
    planted, masks = intrude(clips, np.random.default_rng(0))
    untouched = (planted == clips).all((1, 2, 3, 4))
    assert untouched.mean() == pytest.approx(1 - SPOILED, abs=0.06)
    assert not masks[untouched].any()
    assert masks[~untouched].any((1, 2)).mean() > 0.7
    clips = walkers(40)
    for kind in KINDS:
        only(monkeypatch, kind)
        assert intrude(clips[:40], np.random.default_rng(1))[1].any((1, 2)).mean() > 0.5


@pytest.mark.parametrize("kind", ["piece", "shape", "fast", "backwards"])
def test_the_mask_is_what_can_be_seen_in_the_last_frame(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, kind)
    clips = walkers(60)
    planted, masks = intrude(clips, np.random.default_rng(2))
    apart = np.abs(planted - clips)[:, -1].max(1)
    assert (apart[masks] > SEEN).all()
    missed = (apart > SEEN) & ~masks  # the outer half of a soft rim
    if kind != "backwards":  # of whom there is only what moves
        assert missed.sum() < 0.35 * masks.sum()


def test_a_shape_goes_on_as_fast_in_every_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "shape")
    clips = np.zeros((200, 5, 1, SIDE, SIDE), np.float32)
    planted, _ = intrude(clips, np.random.default_rng(3))
    speeds = []
    for clip in np.abs(planted[:, :, 0]):
        border = np.concatenate([clip[:, [0, -1]].reshape(5, -1), clip[:, :, [0, -1]].reshape(5, -1)], 1)
        if border.any() or not clip.any((1, 2)).all():
            continue  # cut off: its middle says nothing
        rows, columns = np.mgrid[:SIDE, :SIDE]
        middles = np.array([[(frame * at).sum() / frame.sum() for at in (rows, columns)] for frame in clip])
        steps = np.diff(middles, axis=0)
        assert np.abs(steps - steps.mean(0)).max() <= 1  # whole pixels
        speeds.append(float(np.hypot(*steps.mean(0))))
    assert len(speeds) > 40
    assert max(speeds) <= FAST * SIDE + 0.5
    assert min(speeds) == 0
    assert np.mean(speeds) > 0.3


def test_somebody_fast_goes_two_or_three_times_as_far_as_he_did(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "fast")
    monkeypatch.setattr(intruders, "BODY", ((0.6, 0.6), (0.4, 0.4)))  # all of the bar
    clips = walkers(120)  # 2 pixels a frame
    planted, masks = intrude(clips, np.random.default_rng(9))
    assert masks.any((1, 2)).mean() > 0.7
    speeds = []
    for before, clip in zip(clips[:, :, 0], planted[:, :, 0], strict=True):
        added = (clip > 0.45) & (before < 0)  # the bar again, elsewhere
        if added[:, :, [0, 1, -2, -1]].any() or (added.sum((1, 2)) < 60).any():
            continue  # cut off or hidden by the other: its middle says nothing
        middles = [np.argwhere(each)[:, 1].mean() for each in added]
        speeds.append(abs(float(np.median(np.diff(middles)))))
    assert len(speeds) > 15
    assert 2 * FASTER[0] - 0.7 < min(speeds)
    assert max(speeds) < 2 * FASTER[1] + 0.7
    assert np.std(speeds) > 0.3


def test_somebody_fast_has_a_trail_as_long_as_his_way(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "fast")
    monkeypatch.setattr(intruders, "BODY", ((0.6, 0.6), (0.4, 0.4)))
    monkeypatch.setattr(intruders, "FASTER", (2.0, 2.0))
    times = [-12, -8, -4, -3, -2, -1, 0]
    clips = np.zeros((200, 7, 1, 128, 128), np.float32) - 0.2
    clips += np.random.default_rng(1).normal(0, 0.005, (200, 1, 1, 128, 128)).astype(np.float32)
    for number, clip in enumerate(clips):
        for frame, time in zip(clip, times, strict=True):
            frame[:, 40:72, 60 + number % 20 + 2 * time : 70 + number % 20 + 2 * time] = 0.5
    planted, _ = intrude(clips, np.random.default_rng(9), times)
    ways = []
    for before, clip in zip(clips[:, :, 0], planted[:, :, 0], strict=True):
        added = (clip > 0.45) & (before < 0)
        if added[:, :, [0, 1, -2, -1]].any() or (added.sum((1, 2)) < 150).any():
            continue
        middles = np.array([np.argwhere(each)[:, 1].mean() for each in added])
        ways.append((middles - middles[-1]) / np.array(times).clip(max=-1))
    assert len(ways) > 20
    assert np.abs(np.abs(np.median(ways, 0)[:2]) - 4).max() < 1.2  # twice 2 pixels a frame, some seconds back too


def test_what_goes_backwards_is_where_it_was_before(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "backwards")
    clips = walkers(60)
    planted, masks = intrude(clips, np.random.default_rng(4))
    first, last = clips[:, 0, 0], planted[:, -1, 0]
    known = np.abs(first - clips[:, -1, 0]) > 0.3  # the bar now and at the beginning
    assert masks.any((1, 2)).mean() > 0.8
    inside = masks & known
    assert inside.sum() > 200
    assert (np.abs(last - first)[inside] < 0.36).mean() > 0.95  # all but the soft rim: as at the beginning
    still = np.abs(planted[:, -1, 0] - planted[:, -2, 0]) < 1e-3
    assert (masks & still).sum() < 0.8 * masks.sum()  # around what moves, two pixels wide


def test_what_turns_back_at_a_border_changes_nothing_at_the_opposite_one(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "backwards")
    clips = np.zeros((100, 5, 1, SIDE, SIDE), np.float32)
    for number in range(5):
        clips[:, number, 0, 1:5, 1 + number : 3 + number] = 0.5  # in a corner
        clips[:, number, 0, :, 40:] = 0.1 * number  # the lights go on
    monkeypatch.setattr(intruders, "MOVES", 0.2)
    planted, _ = intrude(clips, np.random.default_rng(6))
    assert (planted != clips).any()
    assert np.array_equal(planted[..., 56:, :], clips[..., 56:, :])


def test_masks_of_several_intruders_are_what_is_to_be_seen_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intruders, "KINDS", {"shape": 1.0})
    clips = np.zeros((200, 5, 1, SIDE, SIDE), np.float32)
    planted, masks = intrude(clips, np.random.default_rng(7))
    seen = np.abs(planted[:, -1, 0]) > SEEN
    assert (seen & masks).sum() > 0.85 * seen.sum()  # all but the outer half of soft rims
    assert (seen & masks).sum() > 0.97 * masks.sum()


def test_an_intruder_leaves_a_trail_unless_it_has_just_come(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "shape")
    times = [-32, -24, -16, -4, -3, -2, -1, 0]
    clips = np.zeros((300, len(times), 1, SIDE, SIDE), np.float32)
    planted, masks = intrude(clips, np.random.default_rng(8), times)
    there = (planted != 0).any((2, 3, 4))
    marked = there[masks.any((1, 2))]
    assert marked[:, 3:].mean() > 0.95
    assert 0.2 < marked[:, 0].mean() < marked[:, 2].mean() < 0.9  # fast ones come from outside of the picture


def test_nothing_turns_back_where_nothing_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "backwards")
    clips = np.zeros((5, 5, 1, 32, 32), np.float32)
    planted, masks = intrude(clips, np.random.default_rng(5))
    assert np.array_equal(planted, clips)
    assert not masks.any()
