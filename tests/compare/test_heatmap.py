"""Smoothing against scipy.ndimage, heatmaps against what they are made of."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from anotwin.compare.heatmap import gaussian, heatmap, heatmap_of_parts

few_examples = settings(derandomize=True, deadline=None, max_examples=40)


def maps(count: int, side: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random((count, side, side)))


SIGMAS = (0.05, 0.1249, 0.125, 0.3, 0.64, 1.0, 1.28, 2.5, 4.0)  # 0.125: the first with a neighbour in reach


@pytest.mark.parametrize(
    "side, sigma", [(side, sigma) for side in (4, 16, 33) for sigma in SIGMAS if 4 * sigma <= side]
)
def test_is_scipys_gaussian_filter(side: int, sigma: float) -> None:
    images = maps(3, side)
    oracle = [gaussian_filter(image, sigma, mode="nearest", truncate=4) for image in images.numpy()]
    assert np.allclose(gaussian(images, sigma).numpy(), oracle, rtol=0, atol=1e-12)


@pytest.mark.parametrize("sigma", [5.0, 16.0])
def test_wide_kernels_are_cut_at_the_side(sigma: float) -> None:
    images = maps(2, 16)
    oracle = [gaussian_filter(image, sigma, mode="nearest", radius=16) for image in images.numpy()]
    assert np.allclose(gaussian(images, sigma).numpy(), oracle, rtol=0, atol=1e-12)


def test_no_smoothing_is_the_map_itself() -> None:
    images = maps(2, 8)
    assert torch.equal(gaussian(images, 0.0), images)


@few_examples
@given(st.integers(0, 1000), st.floats(0.0, 3.0), st.sampled_from([4, 9, 16]))
def test_smoothing_averages(seed: int, sigma: float, side: int) -> None:
    images = maps(2, side, seed)
    smooth = gaussian(images, sigma)
    assert smooth.shape == images.shape
    for before, after in zip(images, smooth, strict=True):
        assert before.min() - 1e-12 <= after.min()
        assert after.max() <= before.max() + 1e-12
    flat = torch.full((1, side, side), 0.7, dtype=torch.float64)
    assert torch.allclose(gaussian(flat, sigma), flat)
    turned = gaussian(images.transpose(1, 2), sigma).transpose(1, 2)
    assert torch.allclose(turned, smooth)  # rows and columns alike


def test_heatmap_is_the_mean_difference_in_pixels_of_one() -> None:
    differences = torch.tensor([[2.0, -2.0, 0.5], [0.0, 0.0, 0.0]]).view(2, 3, 1, 1).expand(2, 3, 8, 8)
    heat = heatmap(differences, sigma=0.0)
    assert heat.shape == (2, 8, 8)
    assert heat[0].unique().tolist() == [0.75]  # (2 + 2 + 0.5) / 3 / 2
    assert heat[1].unique().tolist() == [0.0]


@pytest.mark.parametrize("side", [16, 32, 64])
def test_heatmap_against_scipy(side: int) -> None:
    rng = np.random.default_rng(side)
    differences = rng.uniform(-2, 2, (2, 3, side, side))
    oracle = [
        gaussian_filter(np.abs(each).mean(0) / 2, 0.05 * side, mode="nearest", truncate=4) for each in differences
    ]
    heat = heatmap(torch.from_numpy(differences), sigma=0.05).numpy()
    assert np.allclose(heat, oracle, rtol=0, atol=1e-12)
    assert heat.min() >= 0


def test_a_patch_has_more_heat_than_a_pixel() -> None:
    differences = torch.zeros(2, 1, 32, 32)
    differences[0, 0, 16, 16] = 1
    differences[1, 0, 14:19, 14:19] = 1
    pixel, patch = heatmap(differences, sigma=0.05).amax((1, 2)).tolist()
    assert patch > 5 * pixel
    assert np.unravel_index(int(heatmap(differences)[0].argmax()), (32, 32)) == (16, 16)


@pytest.mark.parametrize("channels", [1, 3])
def test_heat_of_parts_against_scipy(channels: int) -> None:
    differences = torch.randn(2, channels, 32, 32, generator=torch.Generator().manual_seed(0))
    scores = torch.tensor([-1.0, 6.0])
    got = heatmap_of_parts(differences, scores, 0.05)
    for image, score, found in zip(differences.double().numpy(), scores.tolist(), got.numpy(), strict=True):
        once = np.abs(gaussian_filter(image.mean(0) / 2, 1.6, mode="nearest"))
        expected = gaussian_filter(once, 1.6, mode="nearest") * np.sqrt(np.log1p(np.exp(score)))
        assert np.allclose(found, expected, atol=1e-6)


def test_speckle_cancels_in_parts_and_a_lesion_stays() -> None:
    rng = torch.Generator().manual_seed(0)
    differences = 0.4 * torch.randn(1, 1, 64, 64, generator=rng)
    differences[..., 24:36, 24:36] += 0.4  # as faint as the speckle
    inside = torch.zeros(64, 64, dtype=torch.bool)
    inside[24:36, 24:36] = True
    apart = [heat[0][inside].mean() / heat[0][~inside].mean() for heat in _both(differences)]
    assert float(apart[1]) > 1.5 * float(apart[0])


def _both(differences: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return heatmap(differences), heatmap_of_parts(differences, torch.zeros(1))


def test_the_heat_of_parts_grows_with_their_score() -> None:
    differences = torch.full((4, 1, 16, 16), 0.5)
    heat = heatmap_of_parts(differences, torch.tensor([-50.0, 0.0, 9.0, 900.0]))[:, 8, 8]
    assert heat.isfinite().all()
    assert (heat[1:] > heat[:-1]).all()
    assert float(heat[2]) == pytest.approx(0.25 * 3, rel=1e-3)


@pytest.mark.parametrize("size", [1, 2, 8, 16, 32, 64])
def test_heat_of_parts_does_not_depend_on_the_batch(size):
    rng = torch.Generator().manual_seed(0)
    differences, scores = torch.randn(128, 1, 16, 16, generator=rng), 5 * torch.randn(128, generator=rng)
    together = heatmap_of_parts(differences, scores)
    parts = [heatmap_of_parts(d, s) for d, s in zip(differences.split(size), scores.split(size), strict=True)]
    assert torch.equal(torch.cat(parts), together)
