"""Patches of what moves: where they lie, that they are cut and put back where it is said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from clip_arrays import ArrayClips, Constant
from hypothesis import given, settings
from hypothesis import strategies as st

from anotwin.domains.video.context import OFFSETS, frames_before, frames_steadying
from anotwin.domains.video.frame import FADE
from anotwin.domains.video.moving import BODY, MOST, PATCH, SIDE, MovingView, moving_places
from anotwin.prepare.resize import to_model
from anotwin.records import Array, ImageSpec
from anotwin.run.local import score_stream
from anotwin.settings import Settings
from anotwin.updates import silent

QUICK = settings(derandomize=True, deadline=None, max_examples=40)
SIZE = 32  # of patches in these tests
SPEC = ImageSpec(1, SIZE, view="moving", parts=True)
WALKER = 12, 6  # rows, columns
Place = tuple[int, int]


def street(seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(90, 110, (SIDE, SIDE)).astype(np.uint8)


def walked(places: Sequence[Place], ground: Array) -> Array:
    """The street with somebody at each place."""
    frame = ground.copy()
    for row, column in places:
        frame[row : row + WALKER[0], column : column + WALKER[1]] = 220
    return frame


def walk(frames: int, seed: int = 0) -> Array:
    """Two people who go their ways, by 4 pixels a frame, and are gone at the places of the frames before."""
    ground = street(seed)
    return np.stack([walked([(40, 30 + 4 * n), (180, 220 - 4 * n)], ground) for n in range(frames)])


def model(frame: Array) -> Array:
    return frame[None].astype(np.float32) / 127.5 - 1


# -- where they lie -------------------------------------------------------------------------------------------------


@QUICK
@given(st.lists(st.tuples(st.integers(0, 240), st.integers(0, 249)), min_size=1, max_size=4))
def test_each_that_moves_is_in_a_patch_and_each_patch_shows_one(places: list[Place]) -> None:
    if any(abs(a - c) < 3 * BODY and abs(b - d) < 3 * BODY for i, (a, b) in enumerate(places) for c, d in places[:i]):
        return  # people close to each other may be one place
    ground = street()
    before = np.stack([model(ground)] * len(OFFSETS))
    corners = moving_places(model(walked(places, ground)), before, SIZE)
    assert len(corners) == len(places)
    for row, column in places:
        high, wide = min(WALKER[0], SIDE - row), min(WALKER[1], SIDE - column)
        inside = (corners <= [row, column]) & (corners + SIZE >= [row + high, column + wide])
        assert inside.all(1).any(), (row, column, corners)


@QUICK
@given(st.integers(0, 2**32), st.sampled_from([8, 32, 64, 256]), st.floats(0, 60))
def test_patches_lie_in_the_frame_apart_and_are_few(seed: int, size: int, noise: float) -> None:
    random = np.random.default_rng(seed)
    frame = model(street()) + random.normal(0, noise / 127.5, (1, SIDE, SIDE)) + random.random((1, 1, SIDE))
    corners = moving_places(frame, np.stack([model(street())] * 3), size)
    assert corners.dtype == np.int64
    assert 1 <= len(corners) <= MOST
    assert corners.min() >= 0
    assert corners.max() <= SIDE - size
    inner = corners[((corners > 0) & (corners < SIDE - size)).all(1)]  # those at the border were moved into the frame
    apart = np.abs(inner[:, None] - inner[None]).max(-1)
    assert (apart[~np.eye(len(inner), dtype=bool)] >= BODY).all()


def test_a_still_frame_has_one_place() -> None:
    ground = model(street())
    assert len(moving_places(ground, np.stack([ground] * len(OFFSETS)), SIZE)) == 1


def test_who_passed_once_is_no_background() -> None:
    """He was in five of the eleven frames before, and is gone: nothing moves there, but where somebody is now."""
    ground = street()
    before = [model(ground)] * 6 + [model(walked([(100, 100)], ground))] * 5
    corners = moving_places(model(walked([(30, 200)], ground)), np.stack(before), SIZE)
    assert len(corners) == 1
    assert np.abs(corners[0] + SIZE / 2 - [36, 203]).max() <= 2  # in the middle of him


def test_the_clearest_come_first_and_the_faint_are_left_out() -> None:
    ground = np.full((SIDE, SIDE), 100, np.uint8)
    frame = walked([(40, 40)], ground)
    frame[120:132, 120:126] = 150
    frame[200:212, 200:206] = 103  # 3 of 120: less than a tenth
    corners = moving_places(model(frame), model(ground)[None], SIZE)
    assert [tuple(each) for each in np.round(corners / 40).astype(int).tolist()] == [(1, 1), (3, 3)]


# -- cut and put back -----------------------------------------------------------------------------------------------


def views(source: ArrayClips, indices: Sequence[int]) -> list[object]:
    return list(MovingView().prepare(source, indices, SPEC, Settings(), True))


def test_patches_are_cut_where_it_is_said() -> None:
    film = walk(8)
    for image in views(ArrayClips([film]), range(8)):
        own = [row for row, number in enumerate(image.numbers) if number == image.index]
        assert len(own) == len(image.corners) > 0
        for row, (top, left) in zip(own, image.corners.tolist(), strict=True):
            expected = model(film[image.index])[:, top : top + SIZE, left : left + SIZE]
            np.testing.assert_allclose(image.squares.images[row].numpy(), expected, atol=1e-6)
        assert image.squares.images.shape[1:] == (1, SIZE, SIZE)
        assert len(set(image.squares.fingerprints)) == len(image.squares)  # each has latents of its own


def test_patches_of_a_frame_do_not_depend_on_which_frames_were_asked_for() -> None:
    source = ArrayClips([walk(12)])
    for image in views(source, range(12)):
        (alone,) = views(source, [image.index])
        np.testing.assert_array_equal(alone.corners, image.corners)
        count = len(image.corners)
        assert torch.equal(alone.squares.images[-count:], image.squares.images[-count:])
        assert alone.squares.fingerprints[-count:] == image.squares.fingerprints[-count:]


def test_a_frame_scores_as_its_highest_patch_smoothed_over_those_before() -> None:
    film = walk(12)
    source = ArrayClips([film])
    (clip,) = source.clips
    highest = []
    for index, frame in enumerate(film):
        before = np.stack([model(film[each]) for each in frames_before(clip, index)])
        cut = [
            np.abs(model(frame)[:, top : top + SIZE, left : left + SIZE]).max()
            for top, left in moving_places(model(frame), before, SIZE).tolist()
        ]
        highest.append(max(cut))
    found = [each.score for each in score_stream(Constant(SPEC), source, None, pictures=False)]
    for index, score in enumerate(found):
        steadying = [highest[each] for each in frames_steadying(clip, index)]
        weights = [FADE**age for age in range(len(steadying))][::-1]
        assert score == pytest.approx(np.average(steadying, weights=weights), rel=1e-5)
    some = [11, 2, 7]
    assert [each.score for each in score_stream(Constant(SPEC), source, None, some, pictures=False)] == [
        found[index] for index in some
    ]


def test_pictures_are_put_back_at_their_place() -> None:
    """Of a method whose counterparts are grey: inside of the patches all is grey, outside nothing is changed."""
    film = walk(6)
    source = ArrayClips([film])
    corners = {image.index: image.corners for image in views(source, range(6))}
    for index, finding in enumerate(score_stream(Constant(SPEC), source, None)):
        inside = np.zeros((SIDE, SIDE), bool)
        for top, left in corners[index].tolist():
            inside[top : top + SIZE, left : left + SIZE] = True
        assert 0 < inside.mean() < 0.2
        np.testing.assert_array_equal(finding.query, film[index])
        np.testing.assert_array_equal(finding.counterpart[~inside], film[index][~inside])
        assert np.abs(finding.counterpart[inside].astype(int) - 127.5).max() <= 1
        assert (finding.heatmap[~inside] == 0).all()
        expected = np.abs(model(film[index])[0][inside]) / 0.25
        np.testing.assert_allclose(finding.heatmap[inside], expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(finding.difference[~inside], 0, atol=1e-6)


def test_frames_of_any_size_come_back_in_their_own_pixels() -> None:
    film = np.repeat(walk(8), 2, axis=1)[:, :, :200]  # 512 x 200
    for number, finding in enumerate(score_stream(Constant(SPEC), ArrayClips([film]), None)):
        assert finding.counterpart.shape == finding.heatmap.shape == finding.difference.shape == (512, 200)
        assert np.unravel_index(finding.heatmap.argmax(), (512, 200))[0] // 2 in {*range(40, 52), *range(180, 192)}
        np.testing.assert_array_equal(finding.query, film[number])


# -- training -------------------------------------------------------------------------------------------------------


def test_training_patches_are_those_that_scoring_would_look_at(tmp_path: Path) -> None:
    films = [walk(6, seed=1), walk(4, seed=2)]
    source = ArrayClips(films)
    images = MovingView().training(source, range(10), SPEC, Settings(), tmp_path, silent)
    subset = images.subset(np.array([7, 1]))
    scored = {image.index: image for image in views(source, [1, 7])}
    expected = torch.cat(
        [
            scored[index].squares.images[[number == index for number in scored[index].numbers]]
            for index in (7, 1)
        ]
    )  # fmt: skip
    assert len(subset) == len(expected)
    np.testing.assert_allclose(subset.batch(np.arange(len(subset))).images, expected, atol=1e-6)
    assert subset.batch(np.array([1])).context is None
    images.close()


@pytest.mark.parametrize("size", [0, 32])
def test_the_spec_is_of_patches_of_64_pixels_unless_told_otherwise(size: int) -> None:
    source = ArrayClips([walk(3)])
    wishes = Settings().with_overrides([f"data.image_size={size}"] if size else [])
    spec, notes = MovingView().spec(source, range(3), wishes)
    assert (spec.view, spec.parts, spec.size, spec.fit) == ("moving", True, size or PATCH, "stretch")
    assert f"{spec.size} x {spec.size} that move" in notes[0]
    assert to_model(walk(1)[0], spec)[0].shape == (1, spec.size, spec.size)
