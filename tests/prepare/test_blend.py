"""Tiles put together: against `patches.stitch` and brute force, without seams, in bounded memory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anotwin.prepare import blend as module
from anotwin.prepare.blend import Blend, merge
from anotwin.prepare.patches import cut, stitch
from anotwin.prepare.pyramid import Level, enlarged

SIZE = 16
sides = st.integers(1, 70)


def level_of(height: int, width: int, seed: int = 0) -> Level:
    values = np.random.default_rng(seed).normal(size=(max(height, SIZE), max(width, SIZE))).astype(np.float32)
    return Level(values, height, width)


def blended(level: Level, maps: np.ndarray, pieces: list[int]) -> np.ndarray:
    """Maps (P, K, S, S), added in pieces of these lengths."""
    blend = Blend((level.height, level.width), level.grid(SIZE), SIZE, maps.shape[1])
    begin = 0
    for piece in [*pieces, len(maps)]:
        blend.add(maps[begin : begin + piece])
        begin = min(begin + piece, len(maps))
        assert blend.missing == len(maps) - begin
    return blend.done


@settings(derandomize=True, deadline=None, max_examples=50)
@given(height=sides, width=sides, pieces=st.lists(st.integers(0, 9), max_size=9))
def test_tiles_cut_from_a_map_give_it_again(height: int, width: int, pieces: list[int]) -> None:
    level = level_of(height, width)
    tiles = cut(level.pixels, level.grid(SIZE), SIZE)
    found = blended(level, np.stack([tiles, -2 * tiles], 1), pieces)
    expected = level.pixels[:height, :width]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.stack([expected, -2 * expected]), atol=2e-6)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(height=sides, width=sides)
def test_weights_are_those_of_stitch(height: int, width: int) -> None:
    """An independent implementation: all tiles at once, with sums of weights over every pixel."""
    level = level_of(height, width)
    corners = level.grid(SIZE)
    maps = np.random.default_rng(1).normal(size=(len(corners), SIZE, SIZE)).astype(np.float32)
    expected = stitch(maps, corners, level.pixels.shape)[:height, :width]
    np.testing.assert_allclose(blended(level, maps[:, None], [])[0], expected, atol=1e-5)


@settings(derandomize=True, deadline=None, max_examples=20)
@given(height=st.integers(64, 200), width=st.integers(64, 200))
def test_no_border_of_a_tile_shows(height: int, width: int) -> None:
    """The worst case: each tile is flat, at -1 or 1. The mean of tiles without weights would jump by 1 at a border."""
    grid = Level(np.zeros((height, width), np.float32), height, width).grid(64)
    values = np.random.default_rng(2).choice([-1.0, 1.0], len(grid)).astype(np.float32)
    blend = Blend((height, width), grid, 64, 1)
    blend.add(np.broadcast_to(values[:, None, None, None], (len(values), 1, 64, 64)))
    steepest = 2 * 0.245  # tiles of 64 share 8 pixels or more; by hand from squared sines: 0.242
    assert max(np.abs(np.diff(blend.done[0], axis=axis)).max(initial=0) for axis in (0, 1)) <= steepest
    assert np.abs(blend.done).max() <= 1 + 1e-5


def test_no_border_of_a_tile_of_128_shows() -> None:
    """Sixteen shared pixels: two flat tiles of -1 and 1 go over into each other in steps of at most 0.2."""
    level = Level(np.zeros((128, 240), np.float32), 128, 240)
    grid = level.grid(128)
    assert grid.tolist() == [[0, 0], [0, 112]]
    blend = Blend((128, 240), grid, 128, 1)
    blend.add(np.stack([np.full((1, 128, 128), value, np.float32) for value in (-1, 1)]))
    line = blend.done[0, 64]
    assert line[:112].max() == -1
    assert line[128:].min() == 1
    assert 0 < np.diff(line)[111:128].max() < 0.25
    assert (np.diff(line) >= 0).all()


def test_large_maps_are_kept_in_half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    level = level_of(50, 60)
    tiles = cut(level.pixels, level.grid(SIZE), SIZE)[:, None]
    exact = blended(level, tiles, [])
    monkeypatch.setattr(module, "MANY", 1000)
    half = blended(level, tiles, [])
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, exact, rtol=1e-3, atol=1e-6)
    assert np.isfinite(blended(level, tiles * 1e9, [])).all()


# -- levels ------------------------------------------------------------------------------------------------------------


def levels(*shapes: tuple[int, int], planes: int = 2, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [
        np.concatenate([rng.uniform(0, 3, (1, *shape)), rng.normal(size=(planes - 1, *shape))]).astype(np.float32)
        for shape in shapes
    ]


def whole(coarse: np.ndarray, like: np.ndarray) -> np.ndarray:
    return enlarged(coarse, slice(0, like.shape[1]), *like.shape[1:])


def test_one_level_is_itself() -> None:
    (only,) = levels((5, 6))
    assert merge([only]) is only


@pytest.mark.parametrize("block", [2**20, 1])
def test_heat_is_the_highest_of_all_levels(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(module, "BLOCK", block)
    fine, middle, coarse = levels((21, 30), (11, 15), (6, 8))
    lower = np.maximum(middle[0], whole(coarse, middle)[0])
    expected = np.maximum(fine[0], whole(lower[None], fine)[0])
    np.testing.assert_allclose(merge([fine.copy(), middle.copy(), coarse])[0], expected, atol=1e-6)


def test_the_change_is_that_of_the_finest_level_unless_a_coarser_one_is_hotter() -> None:
    fine, coarse = levels((20, 30), (10, 15), planes=4)
    cold = coarse.copy()
    cold[0] = 1.0  # not above what is usual
    np.testing.assert_array_equal(merge([fine.copy(), cold])[1:], fine[1:])
    fine[0] = 0.5
    hot = coarse.copy()
    hot[0] = 2.0  # twice what is usual
    np.testing.assert_allclose(merge([fine.copy(), hot])[1:], whole(coarse, fine)[1:], atol=1e-6)
    hot[0] = 1.5
    between = (fine + whole(coarse, fine))[1:] / 2
    np.testing.assert_allclose(merge([fine.copy(), hot])[1:], between, atol=1e-6)
