"""Pixel AUROC against scikit-learn; AUPRO against every threshold tried, with scikit-image's regions."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import measure
from sklearn.metrics import roc_auc_score

from anotwin.errors import DataError, SettingsError
from anotwin.evaluate.pixels import PixelHeat, aupro, pixel_auroc, pixel_heat

quick = settings(derandomize=True, deadline=None, max_examples=60)


def split(masks: list[np.ndarray], heats: list[np.ndarray]) -> list[PixelHeat]:
    return [pixel_heat(mask, heat) for mask, heat in zip(masks, heats, strict=True)]


def random_images(seed: int, levels: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """A few small images of different sizes with blobs that also touch at corners; `levels` distinct heats."""
    rng = np.random.default_rng(seed)
    shapes = [(rng.integers(3, 10), rng.integers(3, 10)) for _ in range(rng.integers(1, 4))]
    masks = [rng.random(shape) < rng.choice([0.0, 0.15, 0.4]) for shape in shapes]
    masks[0][:2, 0], masks[0][2, 1], masks[0][0, 2] = [True, False], True, False
    heats = [(rng.integers(levels, size=m.shape) / levels + 0.3 * m).astype(np.float32) for m in masks]
    return masks, heats


def slow_aupro(masks: list[np.ndarray], heats: list[np.ndarray], limit: float) -> float:
    """The definition: at every threshold, the mean share found of each region and the share of normal pixels above."""
    thresholds = np.unique(np.concatenate([heat.ravel() for heat in heats]))[::-1]
    curve = [(0.0, 0.0)]
    for threshold in thresholds:
        overlaps, alarms, normals = [], 0, 0
        for mask, heat in zip(masks, heats, strict=True):
            above = heat >= threshold
            for region in measure.regionprops(measure.label(mask, connectivity=2)):
                overlaps.append(above[tuple(region.coords.T)].mean())
            alarms += np.count_nonzero(above & ~mask)
            normals += np.count_nonzero(~mask)
        curve.append((alarms / normals, float(np.mean(overlaps))))
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(curve):
        if x0 >= limit or x1 == x0:
            continue
        end = min(x1, limit)
        area += (end - x0) * (y0 + (y0 + (y1 - y0) * (end - x0) / (x1 - x0))) / 2
    return area / limit


@quick
@given(seed=st.integers(0, 10**6), levels=st.sampled_from([2, 5, 1000]), limit=st.sampled_from([0.05, 0.3, 0.77, 1.0]))
def test_aupro_is_that_of_every_threshold(seed: int, levels: int, limit: float) -> None:
    masks, heats = random_images(seed, levels)
    assert aupro(split(masks, heats), limit) == pytest.approx(slow_aupro(masks, heats, limit), abs=1e-9)


@quick
@given(seed=st.integers(0, 10**6), levels=st.sampled_from([2, 5, 1000]))
def test_pixel_auroc_is_scikit_learns(seed: int, levels: int) -> None:
    masks, heats = random_images(seed, levels)
    labels = np.concatenate([mask.ravel() for mask in masks])
    scores = np.concatenate([heat.ravel() for heat in heats])
    assert pixel_auroc(split(masks, heats)) == pytest.approx(roc_auc_score(labels, scores), abs=1e-9)


def two_regions() -> np.ndarray:
    mask = np.zeros((20, 30), dtype=np.uint8)
    mask[2:4, 2:4], mask[10:18, 10:25] = 255, 255  # 4 and 120 pixels; 255 as in mask files
    return mask


def test_perfect_inverted_and_constant_heat() -> None:
    mask = two_regions()
    heat = (mask > 0).astype(np.float32)
    for values, overlap, area in ((heat, 1.0, 1.0), (1 - heat, 0.0, 0.0), (np.full(mask.shape, 0.2), 0.15, 0.5)):
        image = [pixel_heat(mask, values)]
        assert (aupro(image), pixel_auroc(image)) == (pytest.approx(overlap), pytest.approx(area))


def test_each_region_counts_the_same_whatever_its_size() -> None:
    mask = two_regions()
    only_small = np.zeros(mask.shape, dtype=np.float32)
    only_small[2:4, 2:4] = 1
    # half of PRO at once, the other half rises with the false alarms as for a constant heatmap
    image = [pixel_heat(mask, only_small)]
    assert aupro(image) == pytest.approx(0.5 + 0.5 * 0.15)
    assert pixel_auroc(image) == pytest.approx(4 / 124 + 120 / 124 / 2)


def test_regions_that_touch_at_a_corner_are_one() -> None:
    mask = np.zeros((6, 6), dtype=bool)
    mask[0, 0] = mask[1, 1] = mask[1, 2] = True
    np.testing.assert_allclose(pixel_heat(mask, np.zeros((6, 6))).weights, 1 / 3)
    mask[1, 1] = False
    np.testing.assert_allclose(pixel_heat(mask, np.zeros((6, 6))).weights, 1)


def test_undefined_is_nan() -> None:
    empty, heat = np.zeros((4, 4), dtype=bool), np.ones((4, 4))
    for metric in (pixel_auroc, aupro):
        assert math.isnan(metric([pixel_heat(empty, heat)]))
        assert math.isnan(metric([pixel_heat(~empty, heat)]))
        assert math.isnan(metric([]))


def test_bad_input_is_named() -> None:
    mask = np.ones((4, 4), dtype=bool)
    with pytest.raises(SettingsError, match=r"a\.png: mask \(4, 4\) and heatmap \(4, 5\)"):
        pixel_heat(mask, np.ones((4, 5)), "a.png")
    with pytest.raises(DataError, match=r"a\.png: 1 of 16 pixels"):
        pixel_heat(mask, np.where(np.eye(4) * np.arange(4) == 3, np.nan, 1.0), "a.png")
    for limit in (0.0, 1.1):
        with pytest.raises(SettingsError, match="limit"):
            aupro([pixel_heat(mask, np.ones((4, 4)))], limit)
