"""Regions against brute force: flood fill by hand, an area opening, and what a polygon and a box must be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import binary_fill_holes
from skimage.draw import polygon2mask
from skimage.morphology import area_opening

import anotwin.domains.regions as module
from anotwin.calibrate.groups import group_threshold
from anotwin.calibrate.threshold import conformal_threshold
from anotwin.domains.regions import Heat, find_regions, highest_heat, regions_of

HEATS = arrays(
    np.float32,
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    elements=st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 7.0]),
)
SOME = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def flood(heat: Heat, limit: float) -> list[set[tuple[int, int]]]:
    """Connected pixels above the limit, one by one."""
    hot = {(int(r), int(c)) for r, c in zip(*np.nonzero(heat > limit), strict=True)}
    found = []
    while hot:
        open_, region = [hot.pop()], set()
        while open_:
            row, column = open_.pop()
            region.add((row, column))
            near = {(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & hot
            hot -= near
            open_ += near
        found.append(region)
    return found


@pytest.fixture(params=[0, module.AT_ONCE], autouse=True)
def at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything twice: in parts, and at once."""
    monkeypatch.setattr(module, "AT_ONCE", request.param)


@SOME
@given(HEATS, st.sampled_from([0.2, 1.0, 2.2]), st.integers(1, 6))
def test_regions_are_those_of_a_flood_fill(heat: Heat, limit: float, least: int) -> None:
    expected = [region for region in flood(heat, limit) if len(region) >= least]
    found = find_regions(heat, limit, least)
    pixels = [{(int(r) + each.top, int(c) + each.left) for r, c in np.argwhere(each.mask)} for each in found]
    assert sorted(map(sorted, pixels)) == sorted(map(sorted, expected))
    assert [each.peak for each in found] == sorted((each.peak for each in found), reverse=True)
    for each, region in zip(found, pixels, strict=True):
        rows, columns = zip(*region, strict=True)
        values = [heat[pixel] for pixel in region]
        assert (each.top, each.left) == (min(rows), min(columns))
        assert (each.height, each.width) == (max(rows) - min(rows) + 1, max(columns) - min(columns) + 1)
        assert each.area == len(region)
        assert each.centroid == pytest.approx((np.mean(rows), np.mean(columns)))
        assert each.peak == max(values) == heat[each.peak_at]
        assert each.mean == pytest.approx(np.mean(values))


@SOME
@given(HEATS, st.sampled_from([0.2, 1.0]))
def test_outlines_enclose_their_pixels_and_touch_their_box(heat: Heat, limit: float) -> None:
    for each in find_regions(heat, limit):
        assert (each.contour[0] == each.contour[-1]).all()
        low, high = each.contour.min(0), each.contour.max(0)
        assert (low == (each.top, each.left)).all()
        assert (high == (each.top + each.height, each.left + each.width)).all()
        own = np.zeros(heat.shape, bool)
        own[each.top : each.top + each.height, each.left : each.left + each.width] = each.mask
        inside = polygon2mask(heat.shape, each.contour - 0.5)  # the pixels whose middles lie within
        assert (inside == binary_fill_holes(own)).all()


@SOME
@given(HEATS, st.integers(1, 9))
def test_the_highest_heat_is_that_of_a_flood_fill(heat: Heat, least: int) -> None:
    enough = min(least, heat.size)
    expected = max(v for v in np.unique(heat) if any(len(each) >= enough for each in flood(heat, np.nextafter(v, -1))))
    found = highest_heat(heat, least)
    assert found == expected
    assert not find_regions(heat, found, least)
    if found > 0:
        assert find_regions(heat, found * (1 - 1e-6), min(least, heat.size))


def test_the_highest_heat_is_the_top_of_an_area_opening() -> None:
    heat = np.random.default_rng(0).gamma(2, size=(60, 50)).astype(np.float32)
    for least in (1, 2, 5, 17, 200):
        assert highest_heat(heat, least) == area_opening(heat, least, connectivity=2).max()


@SOME
@given(HEATS, st.integers(0, 5), st.integers(0, 5), st.integers(0, 3))
def test_regions_move_with_the_image_and_not_with_its_unit(heat: Heat, down: int, right: int, power: int) -> None:
    before = find_regions(heat, 1.0)
    after = find_regions(np.pad(heat, ((down, 2), (right, 1))) * np.float32(2**power), 2.0**power)
    assert len(before) == len(after)
    key = [(each.top + down, each.left + right, each.area, each.peak * 2**power) for each in before]
    assert key == [(each.top, each.left, each.area, each.peak) for each in after]
    for one, other in zip(before, after, strict=True):
        assert (one.mask == other.mask).all()
        assert other.contour == pytest.approx(one.contour + np.array([down, right]))


@SOME
@given(HEATS)
def test_a_higher_limit_shows_no_more_pixels(heat: Heat) -> None:
    areas = [sum(each.area for each in find_regions(heat, limit)) for limit in (0.0, 0.7, 1.2, 2.1, 9.0)]
    assert areas == sorted(areas, reverse=True)
    assert areas[-1] == 0


def test_the_limit_of_normals_holds_its_rate() -> None:
    """Exchangeable maps: at most the rate of new ones shows a region; by groups likewise."""
    rng = np.random.default_rng(0)
    maps = rng.gamma(1.0, size=(130, 12, 12)).astype(np.float32)
    heats = [highest_heat(heat, 3) for heat in maps]
    limit = conformal_threshold(heats[:99], 0.1)
    assert limit == group_threshold(sorted(heats[:99]), range(99), 0.1)
    assert [bool(find_regions(each, limit, 3)) for each in maps[99:]] == [heat > limit for heat in heats[99:]]
    shown = []
    for _ in range(300):
        mixed = rng.permutation(heats)
        shown.append(np.mean(mixed[99:] > conformal_threshold(mixed[:99], 0.1)))
    assert 0.08 < np.mean(shown) < 0.105


def test_an_anomalous_image_has_a_region_in_any_case() -> None:
    heat = np.zeros((20, 30), np.float32)
    heat[5:7, 8:11] = 0.7
    found, exceed = regions_of(heat, 1.0, 4)
    assert not exceed
    assert [(each.top, each.left, each.area) for each in found] == [(5, 8, 6)]
    heat[15:17, 20:22] = 1.5
    found, exceed = regions_of(heat, 1.0, 4)
    assert exceed
    assert [(each.top, each.left, each.area) for each in found] == [(15, 20, 4)]
    flat, exceed = regions_of(np.zeros((2, 3), np.float32), 1.0, 50)
    assert (exceed, [(each.area, each.peak) for each in flat]) == (False, [(6, 0.0)])


def test_a_large_map_is_labelled_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a map of 9 million pixels with ten spots no large part is ever labelled."""
    heat, sizes, label = np.zeros((3000, 3000), np.float32), [], module.label
    for k in range(10):
        heat[300 * k + 7 : 300 * k + 12, 290 * k : 290 * k + 9] = k + 1
    monkeypatch.setattr(module, "label", lambda hot, **more: sizes.append(hot.size) or label(hot, **more))
    assert [each.area for each in module.find_regions(heat, 0.5, 4)] == [45] * 10
    assert module.highest_heat(heat, 46) == 0.0
    assert max(sizes[:10]) == 45
