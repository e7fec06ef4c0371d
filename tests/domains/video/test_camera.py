"""What is said of a camera, on made-up footage: black, moved, another place; and what is not: light, noise, people."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from clip_arrays import ArrayClips
from hypothesis import given, settings
from hypothesis import strategies as st

from anotwin.domains.video.camera import SIDE, Scene, restored, scene_of, stored, structure, what_is_wrong
from anotwin.domains.video.synthetic.walkway import walkway
from anotwin.domains.video.view import FramesView
from anotwin.errors import DataError
from anotwin.files import json_text, parse_json
from anotwin.prepare.resize import to_model
from anotwin.records import Array, ImageSpec
from anotwin.settings import Settings

QUICK = settings(derandomize=True, deadline=None, max_examples=40)
PLACES = 0, 1, 2
SPEC = ImageSpec(1, 256, view="frames")
RANDOM = np.random.default_rng(0)


def square(frame: Array) -> torch.Tensor:
    return to_model(np.ascontiguousarray(frame), SPEC)[0]


@cache
def footage(place: int, seed: int = 0, density: float = 8.0) -> Array:
    """Twelve frames of half a minute."""
    return walkway(seed, 24, density=density, place=place, rate=1.0).frames[::2]


@cache
def scene(place: int) -> Scene:
    found = scene_of(map(square, footage(place)))
    assert found is not None
    return found


def told(frame: Array, place: int = 0) -> str:
    return what_is_wrong(square(frame), scene(place))


def moved(frame: Array, down: int, right: int) -> Array:
    """What the camera shows after it was pushed by so many pixels; what came into view is like what was at the edge."""
    wide = np.pad(frame, 60, mode="reflect")
    return wide[60 + down :, 60 + right :][: frame.shape[0], : frame.shape[1]]


def clipped(values: Array) -> Array:
    return np.clip(values, 0, 255).astype(np.uint8)


# -- what is said ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [True, False], ids=["scene", "no scene"])
@pytest.mark.parametrize(("level", "what"), [(0, "black"), (2, "black"), (90, "of one colour"), (255, "of one colour")])
def test_a_camera_that_shows_nothing(level: int, what: str, known: bool) -> None:
    flat = np.full((240, 360), level, np.uint8)
    noisy = clipped(flat + RANDOM.normal(0, 1.5, flat.shape))  # as of a sensor
    for frame in (flat, noisy):
        assert f"shows nothing: the frame is {what}" in what_is_wrong(square(frame), scene(0) if known else None)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("down", "right"), [(30, 0), (-30, 0), (0, 30), (0, -30), (30, 30), (-45, 20)])
def test_a_camera_that_was_moved(place: int, down: int, right: int) -> None:
    for frame in footage(place)[:3]:
        assert "it was moved or covered, or is another camera" in told(moved(frame, down, right), place)


@pytest.mark.parametrize("place", PLACES)
def test_another_camera(place: int) -> None:
    for other in (*PLACES, 3):
        if other != place:
            assert "another camera" in told(footage(other)[0], place)


def test_a_camera_that_is_turned_or_nearer_or_covered() -> None:
    frame = footage(0)[0]
    near = to_model(frame[24:216, 36:324], SPEC)[0]
    assert "another camera" in what_is_wrong(near, scene(0))
    for other in (frame[::-1], frame[:, ::-1], clipped(RANDOM.normal(120, 40, frame.shape))):
        assert "another camera" in told(other)
    covered = frame.copy()
    covered[:, 80:] = 60
    assert "covered" in told(covered)


# -- what is not ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
def test_people_who_walk_by(place: int) -> None:
    """Three times as many as when the scene was learnt, half a day later."""
    for frame in footage(place, seed=9, density=25.0):
        assert told(frame, place) == ""


@pytest.mark.parametrize("kind", ["cart", "bag", "bicycle"])
def test_intruders(kind: str) -> None:
    for frame in walkway(5, 130, kind).frames[40:110:14]:
        assert told(frame) == ""


@pytest.mark.parametrize("place", PLACES)
def test_light(place: int) -> None:
    frame = footage(place)[0].astype(float)
    slope = np.linspace(0.7, 1.2, 360)  # the sun goes round
    others = [frame * 1.5, frame * 0.3, frame + 60, 0.5 * frame + 70, 255 * (frame / 255) ** 0.5, frame * slope]
    for other in others:
        assert told(clipped(other), place) == ""


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("spread", [5, 20])
def test_noise(place: int, spread: float) -> None:
    frame = footage(place)[0]
    assert told(clipped(frame + RANDOM.normal(0, spread, frame.shape)), place) == ""


def test_without_a_scene_everything_that_shows_something_is_right() -> None:
    for frame in (footage(0)[0], moved(footage(0)[0], 40, 40), footage(1)[0]):
        assert what_is_wrong(square(frame), None) == ""


@pytest.mark.parametrize("place", PLACES)
def test_no_frame_that_the_scene_was_made_of_is_another(place: int) -> None:
    assert not any(told(frame, place) for frame in footage(place))


def test_frames_of_many_cameras_are_all_of_the_scene() -> None:
    """Whatever the reference is then: it must not refuse those that it was made of."""
    frames = [square(clipped(RANDOM.normal(120, 40, (64, 64)))) for _ in range(6)]
    found = scene_of(frames)
    assert not any(what_is_wrong(frame, found) for frame in frames)
    opposite = Scene(found.picture, -0.4, found.spread)
    assert not any(what_is_wrong(frame, opposite) for frame in frames)


def test_a_dim_scene_is_no_blank_one() -> None:
    dim = [square(clipped(20 + 0.04 * frame)) for frame in footage(0)]
    found = scene_of(dim)
    assert found.spread < 0.02
    assert not any(what_is_wrong(frame, found) for frame in dim)


# -- the reference --------------------------------------------------------------------------------------------------


@QUICK
@given(st.floats(0.1, 3), st.floats(-1, 1), st.integers(0, 11))
def test_neither_exposure_nor_contrast_changes_the_structure(contrast: float, light: float, number: int) -> None:
    frame = square(footage(0)[number])
    np.testing.assert_allclose(structure(contrast * frame + light), structure(frame), atol=1e-5)
    assert np.linalg.norm(structure(frame)) == pytest.approx(1)


@pytest.mark.parametrize("size", [16, 32, 64, 128, 256])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_structure_is_small_whatever_the_frame(size: int, channels: int) -> None:
    frame = torch.from_numpy(RANDOM.random((channels, size, size))).float()
    assert structure(frame).shape == (SIDE, SIDE)
    assert np.linalg.norm(structure(frame)) == pytest.approx(1)
    assert not structure(torch.full((channels, size, size), 0.3)).any()


def test_the_scene_comes_back_from_json() -> None:
    there = restored(parse_json(json_text(stored(scene(0))).encode()))
    assert there is not None
    np.testing.assert_allclose(there.picture, scene(0).picture, atol=6e-5)
    assert (there.least, there.spread) == pytest.approx((scene(0).least, scene(0).spread), abs=1e-5)
    frames = [*footage(0), *(moved(frame, 0, 30) for frame in footage(0))]
    assert [what_is_wrong(square(each), there) == "" for each in frames] == [True] * 12 + [False] * 12
    assert scene_of([]) is None
    assert stored(None) == {}
    assert restored({}) is None


GOOD = {"edges": [0] * SIDE**2, "least": 0.5, "spread": 0.1}


@pytest.mark.parametrize(
    "change",
    [{"edges": [0] * 7}, {"edges": "none"}, {"edges": None}, {"edges": [float("nan")] * SIDE**2}, {"least": None},
     {"edges": [10**400] * SIDE**2}, {"spread": float("inf")}, {"least": "much"}, {"edges": [[0]] * SIDE**2}],
)  # fmt: skip
def test_what_is_not_a_scene_is_refused(change: dict[str, object]) -> None:
    if change == {"edges": [[0]] * SIDE**2}:
        assert restored(GOOD | change) is not None  # the numbers are there
        return
    with pytest.raises(DataError, match="not one of this view; train it again"):
        restored(GOOD | change)


def test_the_view_says_which_frames_are_not_of_the_scene_and_judges_the_others() -> None:
    film = [*footage(0)[:4], moved(footage(0)[4], 30, 0), *footage(0)[5:8], np.zeros((240, 360), np.uint8)]
    source, spec = ArrayClips([film]), ImageSpec(1, 64, view="frames")
    learnt = list(FramesView().prepare(ArrayClips([footage(0)]), range(12), spec, Settings(), False))
    reference = FramesView().refer((image, None, None) for image in learnt)
    images = list(FramesView().against(reference).prepare(source, range(9), spec, Settings(), False))
    assert [image.index for image in images if image.error] == [4, 8]
    assert images[4].error.startswith("clip0/004: not what the camera showed in training")
    assert all(image.squares is not None for image in images if not image.error)
    assert not any(image.error for image in FramesView().prepare(source, range(8), spec, Settings(), False))
