"""The object on a plain background, and what of it a tile or a pixel of any level shows: by brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anotwin.prepare.foreground import MARGIN, Foreground, find_foreground
from anotwin.prepare.pyramid import pyramid
from anotwin.records import Array

RNG = np.random.default_rng(0)


def part(height: int, width: int, inside: float, outside: float, hole: bool = False) -> tuple[Array, Array]:
    rows, columns = np.mgrid[:height, :width]
    away = np.hypot((rows - height / 2) / (height / 3), (columns - width / 2) / (width / 3))
    values = np.where(away < (0.3 if hole else 0), outside, np.where(away < 1, inside, outside))
    noisy = values + RNG.normal(0, 5, (height, width))
    return noisy.clip(0, 255).astype(np.uint8), away < 1


@pytest.mark.parametrize(("inside", "outside"), [(60, 200), (200, 60)])
@pytest.mark.parametrize("shape", [(100, 140), (700, 900)])
@pytest.mark.parametrize("hole", [False, True])
def test_the_object_is_what_the_border_of_the_image_does_not_show(
    inside: float, outside: float, shape: tuple[int, int], hole: bool
) -> None:
    pixels, truth = part(*shape, inside, outside, hole)
    levels = pyramid(pixels, 32, 1)
    found = find_foreground(levels)
    assert found is not None
    rows, columns = np.arange(shape[0])[:, None], np.arange(shape[1])[None]
    mask = found.at(rows, columns)
    assert mask.shape == shape
    assert mask[truth].all()
    assert (mask & ~truth).sum() < 12 * (MARGIN + 1) * sum(shape) * 2 ** max(found.level - 1, 0) / 2
    colour = np.stack([pixels, pixels // 2, pixels], 2)
    also = find_foreground(pyramid(colour, 32, 3))
    assert also is not None
    assert (also.at(rows, columns) == mask).mean() > 0.98


def test_no_object_stands_out_of_a_texture() -> None:
    for pixels in (
        RNG.integers(90, 110, (200, 200)).astype(np.uint8),
        np.full((50, 50), 7, np.uint8),
        np.repeat(np.arange(200, dtype=np.uint8)[None], 150, 0),
    ):
        assert find_foreground(pyramid(pixels, 32, 1)) is None


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    own=st.integers(0, 3),
    level=st.integers(0, 4),
    row=st.integers(0, 20),
    column=st.integers(0, 20),
    size=st.integers(1, 9),
)
def test_tiles_of_all_levels_know_whether_they_show_it(own: int, level: int, row: int, column: int, size: int) -> None:
    """Each pixel of a level as the pixels of level 0 that it covers."""
    mask = np.random.default_rng(own).random((9, 11)) < 0.1
    fine = np.kron(mask, np.ones((2**own, 2**own), bool))
    scale = 2**level
    box = fine[row * scale : (row + size) * scale, column * scale : (column + size) * scale]
    assert Foreground(mask, own).touches(row, column, size, level) == bool(box.any())
