"""Levels of an image: against scikit-image and torch on the same pixels, and where a pixel of a level lies."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import downscale_local_mean

from anotwin.prepare.pyramid import enlarged, pyramid, scaled_shape
from anotwin.records import Array

RNG = np.random.default_rng(0)
sides = st.integers(1, 75)


def noise(*shape: int, dtype: type = np.uint8) -> Array:
    return RNG.integers(0, 256 if dtype is np.uint8 else 60000, shape).astype(dtype)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(height=sides, width=sides, size=st.sampled_from([4, 16, 32]))
def test_levels_halve_until_the_image_fits_into_one_tile(height: int, width: int, size: int) -> None:
    levels = pyramid(noise(height, width), size, 1)
    assert (levels[0].height, levels[0].width) == (height, width)
    for fine, coarse in pairwise(levels):
        assert (coarse.height, coarse.width) == (-(-fine.height // 2), -(-fine.width // 2))
        assert max(fine.height, fine.width) > size
    assert max(levels[-1].height, levels[-1].width) <= size
    for level in levels:
        assert level.pixels.shape == (max(level.height, size), max(level.width, size))
        corners = level.grid(size)
        covered = np.zeros(level.pixels.shape, bool)
        for row, column in corners.tolist():
            covered[row : row + size, column : column + size] = True
        assert covered.all()
        steps = [np.diff(np.unique(corners[:, axis])) for axis in (0, 1)]
        assert all(step.max(initial=0) <= size - size // 8 for step in steps)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(60, 84), (61, 83), (60, 84, 3), (1, 40)])
def test_a_level_is_the_mean_of_two_by_two(dtype: type, shape: tuple[int, ...]) -> None:
    pixels = noise(*shape, dtype=dtype)
    first, second, *_ = pyramid(pixels, 16, 3)
    assert first.pixels[: shape[0]] is not None
    np.testing.assert_array_equal(first.pixels[: shape[0], : shape[1]], pixels)
    odd = [(0, shape[0] % 2), (0, shape[1] % 2), (0, 0)][: len(shape)]
    blocks = (2, 2, 1)[: len(shape)]
    expected = downscale_local_mean(np.pad(pixels, odd, mode="edge").astype(np.float64), blocks)
    got = second.pixels[: second.height, : second.width].astype(np.float64)
    assert second.pixels.dtype == dtype
    assert np.abs(got - expected).max() <= (0.5 if dtype is not np.float32 else 0.01)


def test_an_image_of_the_file_is_not_copied() -> None:
    pixels = noise(40, 50)
    assert pyramid(pixels, 16, 1)[0].pixels is pixels


@pytest.mark.parametrize("shape", [(5, 7), (20, 7), (1, 1, 3)])
def test_small_images_are_mirrored_at_their_lower_and_right_border(shape: tuple[int, ...]) -> None:
    pixels = noise(*shape)
    level = pyramid(pixels, 16, 3)[-1] if max(shape) <= 16 else pyramid(pixels, 16, 3)[0]
    rows = np.array([(k if k % (2 * shape[0]) < shape[0] else -k - 1) % (2 * shape[0]) for k in range(16)])
    for r in range(16):
        for c in range(16):
            source = pixels[_reflected(r, shape[0]), _reflected(c, shape[1])]
            np.testing.assert_array_equal(level.pixels[r, c], source)
    assert len(rows) == 16


def _reflected(at: int, side: int) -> int:
    at %= 2 * side
    return at if at < side else 2 * side - 1 - at


def test_colours_become_grey_for_a_grey_model_alone() -> None:
    pixels = noise(20, 30, 3)
    assert pyramid(pixels, 16, 3)[0].pixels.shape == (20, 30, 3)
    grey = pyramid(pixels, 16, 1)[0].pixels
    expected = pixels @ np.array([0.299, 0.587, 0.114])
    assert np.abs(grey - expected).max() <= 0.501
    same = np.repeat(noise(20, 30)[:, :, None], 3, axis=2)
    np.testing.assert_array_equal(pyramid(same, 16, 1)[0].pixels, same[:, :, 0])
    assert pyramid(noise(20, 30), 16, 3)[0].pixels.ndim == 2  # tiles are repeated, not the image


@pytest.mark.parametrize("value", [0, 1, 254, 255])
def test_a_flat_image_is_flat_at_every_level(value: int) -> None:
    for level in pyramid(np.full((77, 51, 3), value, np.uint8), 16, 3):
        assert (level.pixels == value).all()


@pytest.mark.parametrize("shape", [(60, 90), (60, 90, 3)])
def test_a_stated_scale_is_that_of_the_finest_level(shape: tuple[int, ...]) -> None:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    smooth = np.rint(128 + 60 * np.sin(rows / 9) * np.cos(columns / 11)).astype(np.uint8)
    pixels = smooth if len(shape) == 2 else np.stack([smooth, smooth // 2, smooth], 2)
    level = pyramid(pixels, 16, 3, 0.4)[0]
    assert (level.height, level.width) == scaled_shape(shape, 0.4) == (24, 36)
    values = torch.from_numpy(np.moveaxis(np.atleast_3d(pixels).astype(np.float32), 2, 0))[None]
    expected = F.interpolate(values, (24, 36), mode="bilinear", antialias=True)[0].numpy()
    assert np.abs(np.moveaxis(np.atleast_3d(level.pixels), 2, 0) - expected).max() <= 0.51
    assert scaled_shape((2, 3), 0.1) == (1, 1)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(height=st.integers(1, 40), width=st.integers(1, 40), data=st.data())
def test_rows_that_are_enlarged_by_themselves_are_those_of_the_whole(
    height: int, width: int, data: st.DataObject
) -> None:
    maps = RNG.normal(size=(2, -(-height // 2), -(-width // 2))).astype(np.float32)
    first = data.draw(st.integers(0, height - 1))
    last = data.draw(st.integers(first + 1, height))
    whole = F.interpolate(torch.from_numpy(maps)[None], scale_factor=2, mode="bilinear", align_corners=False)[0]
    got = enlarged(maps, slice(first, last), height, width)
    np.testing.assert_allclose(got, whole.numpy()[:, first:last, :width], atol=1e-6)
