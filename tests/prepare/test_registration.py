"""Poses of small pictures, beside pictures that were moved and turned by hand."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, rotate, shift

from anotwin.prepare.pyramid import pyramid
from anotwin.prepare.registration import SIDE, Pose, lay, pose_of, refined, small_picture, template_of

Picture = npt.NDArray[np.float64]


def part(height: int = 240, width: int = 320) -> Picture:
    """A plate with holes and a bar on a plain ground, nothing symmetric about it."""
    image = np.full((height, width), 60.0)
    image[50:200, 70:260] = 150
    rows, columns = np.mgrid[:height, :width]
    for row, column, radius in ((90, 110, 14), (160, 130, 9), (120, 215, 20)):
        image[(rows - row) ** 2 + (columns - column) ** 2 < radius**2] = 30
    image[170:180, 160:250] = 220
    return gaussian_filter(image, 1.0)


def seen(image: Picture, angle: float = 0, by: tuple[float, float] = (0, 0), noise: float = 6.0) -> Picture:
    """The small picture of an image that is turned, counter-clockwise as seen, then moved by pixels."""
    laid = shift(rotate(image, angle, reshape=False, order=1, mode="nearest"), by, order=1, mode="nearest")
    noisy = laid + np.random.default_rng(3).normal(0, noise, image.shape)
    return small_picture(pyramid(noisy.clip(0, 255).astype(np.uint8), 64, 1))


TEMPLATE = seen(part(), noise=0)


def test_a_small_picture_has_one_light_and_its_own_aspect_ratio() -> None:
    picture = small_picture(pyramid((part() * 0.5 + 20).astype(np.uint8), 64, 1))
    assert picture.shape == (SIDE * 240 // 320, SIDE)
    assert picture.mean() == pytest.approx(0, abs=1e-9)
    assert picture.std() == pytest.approx(1)
    assert picture == pytest.approx(TEMPLATE, abs=0.1)
    colours = np.repeat(part()[..., None], 3, 2).astype(np.uint8)
    assert small_picture(pyramid(colours, 64, 3)) == pytest.approx(TEMPLATE, abs=0.05)


@pytest.mark.parametrize("tile", [16, 32, 64, 128])
def test_a_small_picture_is_made_of_no_less_than_there_is(tile: int) -> None:
    """Levels of small tiles go on below its own size: of 90 x 90 pixels down to 12 x 12."""
    image = part(90, 90).astype(np.uint8)
    levels = pyramid(image, tile, 1)
    assert small_picture(levels) == pytest.approx(small_picture(levels[:1]), abs=1e-9)
    large = np.kron(part().astype(np.uint8), np.ones((8, 8), np.uint8))
    assert small_picture(pyramid(large, 128, 1)) == pytest.approx(TEMPLATE, abs=0.15)
    strided = small_picture(pyramid(large, 128, 1)[:1])
    assert np.abs(strided - TEMPLATE).mean() < 0.03


@pytest.mark.parametrize("by", [(0, 0), (12, -20), (-31, 7), (3.5, 40)])
def test_a_part_that_was_moved_is_moved_back(by: tuple[float, float]) -> None:
    pose = pose_of(seen(part(), by=by), TEMPLATE, turn=False)
    assert pose.angle == 0
    assert (240 * pose.down, 320 * pose.across) == pytest.approx((-by[0], -by[1]), abs=1.0)


@pytest.mark.parametrize(
    ("angle", "by"), [(0, (6, -9)), (37, (0, 0)), (-90, (10, 5)), (179, (-8, 12)), (122.5, (5, 5))]
)
def test_a_part_that_was_turned_is_turned_back(angle: float, by: tuple[float, float]) -> None:
    """Where a hole of the part lies in the picture is where the template has it."""
    image = part()
    pose = pose_of(seen(image, angle, by), TEMPLATE, turn=True)
    assert (pose.angle + angle + 180) % 360 - 180 == pytest.approx(0, abs=1.5)
    marked = np.zeros_like(image)
    marked[118:123, 213:218] = 1  # the middle of a hole
    laid = shift(rotate(marked, angle, reshape=False, order=1), by, order=1)
    place = np.array([(np.indices(image.shape) * laid).sum((1, 2)) / laid.sum() + 0.5]) / image.shape
    (found,) = pose.on_template(place, TEMPLATE.shape) * image.shape
    assert found == pytest.approx([120.5, 215.5], abs=3.0)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.floats(-180, 180), st.floats(-0.2, 0.2), st.floats(-0.2, 0.2))
def test_places_turn_around_the_middle_and_move(angle: float, down: float, across: float) -> None:
    places = np.array([[0.5, 0.5], [0.2, 0.9], [1.0, 0.0]])
    found = Pose(angle, down, across).on_template(places, (30, 40))
    assert found[0] == pytest.approx([0.5 + down, 0.5 + across])
    sides = np.array([30, 40])
    before, after = ((each[1:] - each[0]) * sides for each in (places, found))
    assert np.linalg.norm(after, axis=1) == pytest.approx(np.linalg.norm(before, axis=1))
    back = Pose(-angle).on_template(Pose(angle).on_template(places, (30, 40)), (30, 40))
    assert back == pytest.approx(places)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.floats(-180, 180), st.floats(-0.3, 0.3), st.floats(-0.3, 0.3), st.integers(8, 90), st.integers(8, 90))
def test_the_way_to_the_template_leads_back(angle: float, down: float, across: float, height: int, width: int) -> None:
    pose, places = Pose(angle, down, across), np.random.default_rng(0).uniform(0, 1, (20, 2))
    there = pose.on_template(places, (height, width))
    assert pose.on_picture(there, (height, width)) == pytest.approx(places, abs=1e-9)


@pytest.mark.parametrize("by", [(0, 0), (3, -2), (-4, 5)])
def test_what_is_laid_by_whole_pixels_is_moved_by_them(by: tuple[int, int]) -> None:
    picture = np.random.default_rng(1).normal(0, 1, (40, 50)).astype(np.float32)
    found = lay(picture, Pose(0.0, by[0] / 40, by[1] / 50), (40, 50))
    inside = slice(6, -6), slice(6, -6)
    assert found[inside] == pytest.approx(np.roll(picture, by, (0, 1))[inside], abs=1e-4)


@pytest.mark.parametrize(("angle", "by"), [(0.0, (0.4, -0.7)), (33.3, (2.3, 1.1)), (-151.7, (-3.0, 0.6))])
def test_a_pose_that_is_nearly_right_is_made_exact(angle: float, by: tuple[float, float]) -> None:
    """The place of a hole is known to a twentieth of a pixel; before, to one or two."""
    template = gaussian_filter(part(), 4).astype(np.float32)
    true = Pose(angle, by[0] / 240, by[1] / 320)
    back = Pose(-angle, *(true.on_picture(np.array([[0.5, 0.5]]), template.shape)[0] - 0.5))
    picture = lay(template, back, template.shape)
    near = Pose(angle + 0.7, true.down + 1.5 / 240, true.across - 1.5 / 320)
    found = refined(near, picture, template, turn=True)
    hole = np.array([[120.5, 215.5]]) / template.shape
    expected, off = true.on_template(hole, template.shape), near.on_template(hole, template.shape)
    assert abs((off - expected) * template.shape).max() > 1
    assert abs((found.on_template(hole, template.shape) - expected) * template.shape).max() < 0.1


def test_a_part_that_is_not_turned_keeps_its_angle() -> None:
    template = gaussian_filter(part(), 4).astype(np.float32)
    turned = lay(template, Pose(2.0), template.shape)
    assert refined(Pose(), turned, template, turn=False).angle == 0
    assert refined(Pose(), turned, template, turn=True).angle == pytest.approx(-2, abs=0.1)


def test_a_flat_picture_stays_where_it_is() -> None:
    flat = np.zeros((30, 40), np.float32)
    assert refined(Pose(5.0, 0.1, 0.0), flat, flat, turn=True) == Pose(5.0, 0.1, 0.0)


def test_what_shows_nothing_or_another_shape_stays_where_it_is() -> None:
    assert pose_of(np.zeros_like(TEMPLATE), TEMPLATE, turn=True) == Pose()
    assert pose_of(seen(part(320, 240)), TEMPLATE, turn=False) == Pose()
    stretched = seen(part(240, 330), by=(0, 16))  # nearly the same aspect ratio
    assert pose_of(stretched, TEMPLATE, turn=False).across == pytest.approx(-16 / 330, abs=0.02)


def test_parts_that_lie_alike_make_a_sharp_template() -> None:
    random = np.random.default_rng(0)
    pictures = [seen(part(), by=tuple(random.uniform(-15, 15, 2))) for _ in range(8)]
    template, alike = template_of(pictures, turn=False)
    blurred = np.mean(pictures, 0)
    assert alike > 0.95
    assert (pictures[0] * blurred / blurred.std()).mean() < 0.95
    grain = [
        small_picture(pyramid((128 + 40 * random.normal(size=(240, 320))).clip(0, 255).astype(np.uint8), 64, 1))
        for _ in range(8)
    ]
    assert template_of(grain, turn=False)[1] < 0.7
    assert pose_of(pictures[3], template, turn=False) != Pose()
