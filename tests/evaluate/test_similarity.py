"""Likeness of images by hand, by brute force and by published numbers of bicubic enlargement."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data as pictures
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio
from sklearn.metrics import f1_score

from anotwin.errors import DataError, SettingsError
from anotwin.evaluate.similarity import dice, enlarged_quality, luma, mean_of, psnr, ssim

PUBLISHED = {("Set5", 4): (28.42, 0.8104), ("Set14", 4): (26.00, 0.7027), ("Set5", 2): (33.66, 0.9299)}


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(("dtype", "span"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 2.0)])
def test_psnr_is_that_of_scikit_image_in_any_unit(dtype: type, span: float) -> None:
    one, other = (((noise(20, 30, 3, seed=seed) / 255) * span).astype(dtype) for seed in (0, 1))
    assert psnr(one, other, span) == pytest.approx(peak_signal_noise_ratio(one, other, data_range=span), rel=1e-6)
    assert psnr(one, one, span) == np.inf


def test_ssim_by_brute_force() -> None:
    """The paper's formula with its window written out, at every place where the window lies inside."""
    one, other = noise(15, 17, seed=0).astype(float), noise(15, 17, seed=1).astype(float)
    steps = np.arange(-5, 6)
    window = np.exp(-(steps[:, None] ** 2 + steps**2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2, found = (0.01 * 255) ** 2, (0.03 * 255) ** 2, []
    for top in range(15 - 10):
        for left in range(17 - 10):
            x, y = (each[top : top + 11, left : left + 11] for each in (one, other))
            mx, my = (window * x).sum(), (window * y).sum()
            vx, vy, vxy = (
                (window * x * x).sum() - mx**2,
                (window * y * y).sum() - my**2,
                (window * x * y).sum() - mx * my,
            )
            found.append((2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    assert ssim(one, other) == pytest.approx(np.mean(found), abs=1e-9)


def test_ssim_of_colour_is_the_mean_over_channels_and_does_not_depend_on_the_unit() -> None:
    one, other = noise(20, 20, 3, seed=0), noise(20, 20, 3, seed=1)
    assert ssim(one, other) == pytest.approx(np.mean([ssim(one[..., c], other[..., c]) for c in range(3)]))
    wide = [each.astype(np.uint16) * 257 for each in (one, other)]
    assert ssim(*wide, span=65535) == pytest.approx(ssim(one, other))


def test_luma_is_that_of_scikit_image_in_whole_levels() -> None:
    colour = pictures.astronaut()
    np.testing.assert_allclose(luma(colour), np.rint(rgb2ycbcr(colour)[..., 0]), atol=1e-9)
    np.testing.assert_array_equal(luma(colour[..., 0]), colour[..., 0])
    with pytest.raises(SettingsError, match="uint16"):
        luma(colour.astype(np.uint16))


def test_the_border_is_cut() -> None:
    truth = noise(40, 40, 3)
    image = truth.copy()
    image[:4], image[:, -4:] = 0, 0
    assert enlarged_quality(truth, image, 4) == (np.inf, 1.0)
    assert enlarged_quality(truth, image, 3)[0] < 40
    with pytest.raises(DataError, match="too small"):
        enlarged_quality(truth[:18], image[:18], 4)


def _published_set(name: str, factor: int) -> Path:
    places = [Path(place) for place in (os.environ.get("ANOTWIN_DATA"), "../shared/data") if place]
    for root in (place / "superresolution" / name / f"x{factor}" for place in places):
        if root.is_dir():
            return root
    pytest.skip(f"no superresolution/{name}/x{factor} with HR and LR (SelfExSR, Huang et al. 2015) in ANOTWIN_DATA")


@pytest.mark.parametrize(("name", "factor"), PUBLISHED)
def test_bicubic_enlargement_of_the_published_images_scores_as_published(name: str, factor: int) -> None:
    """Pillow's bicubic has MATLAB's kernel (a = -1/2); the rest is borders."""
    root = _published_set(name, factor)
    found = []
    for path in sorted((root / "HR").iterdir()):
        truth = Image.open(path)
        enlarged = Image.open(root / "LR" / path.name).resize(truth.size, Image.Resampling.BICUBIC)
        found.append(enlarged_quality(np.asarray(truth), np.asarray(enlarged), factor))
    expected = PUBLISHED[name, factor]
    decibels, structure = np.mean(found, axis=0)
    assert decibels == pytest.approx(expected[0], abs=0.025)
    assert structure == pytest.approx(expected[1], abs=0.001)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_dice_is_the_f1_score_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, found = rng.integers(0, 4, (2, 9, 9))
    expected = f1_score(truth.ravel(), found.ravel(), labels=range(4), average=None)
    np.testing.assert_allclose(dice(truth, found, range(4)), expected)
    assert np.isnan(dice(truth, found, [7])).all()


def test_a_mean_over_images_that_stand_alone_has_the_textbook_interval() -> None:
    values = np.random.default_rng(0).normal(3, 2, 2000)
    found = mean_of(values, range(2000))
    error = values.std() / np.sqrt(2000)
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx(
        (found.value - 1.96 * error, found.value + 1.96 * error), abs=0.3 * error
    )


def test_copies_do_not_narrow_the_interval_of_a_mean() -> None:
    values = np.random.default_rng(0).normal(3, 2, 50)
    plain, copied = mean_of(values, range(50)), mean_of(np.repeat(values, 9), np.repeat(range(50), 9))
    assert (copied.value, copied.low, copied.high) == pytest.approx((plain.value, plain.low, plain.high))
    assert np.isnan([mean_of(values, ["one"] * 50).low, mean_of([np.nan], "a").value]).all()
    with pytest.raises(SettingsError, match="one group per value"):
        mean_of(values, "ab")


def test_images_of_other_sizes_are_refused() -> None:
    for measure in (psnr, ssim):
        with pytest.raises(SettingsError, match=r"\(20, 20\) and \(20, 21\)"):
            measure(noise(20, 20), noise(20, 21))
    with pytest.raises(DataError, match="sides of 11"):
        ssim(noise(10, 20), noise(10, 20))
    with pytest.raises(SettingsError, match="span"):
        psnr(noise(20, 20), noise(20, 20), 0)
