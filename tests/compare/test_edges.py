"""Edge directions: against scikit-image's Sobel and a loop over pixels, and what they must not see."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.filters import sobel_h, sobel_v

from anotwin.compare.edges import EDGES, edge_directions

QUARTER = 2  # directions of 45 degrees in a right angle


def noise(count: int = 3, channels: int = 1, side: int = 32, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def by_hand(image: np.ndarray) -> np.ndarray:
    """One image (C, S, S), pixel by pixel: into every cell that it lies in, at its direction's share."""
    side = image.shape[-1]
    cell, table = side // 8, np.zeros((8, 8, 8))
    for channel in image:
        padded = np.pad(channel, 1, mode="edge")
        down, across = sobel_h(padded)[1:-1, 1:-1], sobel_v(padded)[1:-1, 1:-1]
        for row in range(side):
            for column in range(side):
                slope = math.hypot(across[row, column], down[row, column])
                angle = math.atan2(down[row, column], across[row, column])
                for direction in range(8):
                    cosine = max(0.0, math.cos(angle - 2 * math.pi * direction / 8))
                    for y in range(8):
                        for x in range(8):
                            top, left = y * cell - cell // 2, x * cell - cell // 2
                            if top <= row < top + 2 * cell and left <= column < left + 2 * cell:
                                table[direction, y, x] += slope * cosine**4
    return (table / np.linalg.norm(table)).ravel()


@pytest.mark.parametrize("channels, side", [(1, 16), (3, 16), (1, 32)])
def test_every_pixel_by_hand(channels: int, side: int) -> None:
    images = noise(2, channels, side)
    got = edge_directions(images)
    assert got.shape == (2, EDGES)
    for row, image in zip(got, images, strict=True):
        assert np.allclose(row.numpy(), by_hand(image.double().numpy()), atol=1e-5)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_image_has_turned_directions_in_turned_cells(turns: int) -> None:
    images = noise()
    got = edge_directions(images.rot90(turns, (2, 3))).view(-1, 8, 8, 8)
    # rot90 turns against the clock, and so does a direction: rows run down, so its number falls
    expected = edge_directions(images).view(-1, 8, 8, 8).rot90(turns, (2, 3)).roll(-QUARTER * turns, 1)
    assert torch.allclose(got, expected, atol=1e-5)


def test_brightness_and_contrast_do_not_matter() -> None:
    images = noise()
    assert torch.allclose(edge_directions(0.3 * images + 0.5), edge_directions(images), atol=1e-5)
    reversed_ = edge_directions(-images).view(-1, 8, 8, 8)  # dark to bright is another direction
    assert torch.allclose(reversed_, edge_directions(images).view(-1, 8, 8, 8).roll(4, 1), atol=1e-5)


def test_a_stroke_moved_by_its_width_stays_near() -> None:
    """What this is for: in pixels such a stroke is as far from itself as one that runs another way."""
    stroke = torch.full((1, 1, 32, 32), -1.0)
    stroke[..., 6:26, 14:16] = 1
    moved, across = stroke.roll(2, 3), stroke.transpose(2, 3)

    def apart(one: torch.Tensor, other: torch.Tensor) -> float:
        return float((one - other).flatten(1).square().sum())

    edges = edge_directions(stroke)
    assert apart(edges, edge_directions(moved)) < 0.4 * apart(edges, edge_directions(across))
    assert apart(stroke, moved) > 0.9 * apart(stroke, across)


def test_flat_images_have_no_edges_and_gradients_are_finite() -> None:
    flat = torch.full((2, 1, 16, 16), 0.3)
    assert edge_directions(flat).count_nonzero() == 0
    assert edge_directions(torch.full((1, 1, 16, 16), torch.nan)).isnan().all()
    assert torch.allclose(edge_directions(noise()).norm(dim=1), torch.ones(3), atol=1e-6)


def test_no_row_depends_on_the_others() -> None:
    images = noise(33)
    together = edge_directions(images)
    for count in (1, 2, 5):
        assert torch.equal(torch.cat([edge_directions(part) for part in torch.split(images, count)]), together)
