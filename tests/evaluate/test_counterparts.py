"""Measures of counterparts: closed forms, a second implementation of each, and what says nothing says why."""

from __future__ import annotations

import math
from statistics import median
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.filters import difference_of_gaussians
from skimage.morphology import disk

from anotwin.errors import SettingsError
from anotwin.evaluate.counterparts import (
    NAMES,
    Measures,
    collateral,
    contrast,
    difference,
    grain,
    measure,
    median_of,
    repair,
    sharpness,
    summarise,
)

Image = np.ndarray[Any, Any]
SIDE = 32


@pytest.fixture
def truth(rng: np.random.Generator) -> Image:
    return rng.random((SIDE, SIDE))


@pytest.fixture
def mask() -> np.ndarray[Any, np.dtype[np.bool_]]:
    inside = np.zeros((SIDE, SIDE), bool)
    inside[10:18, 8:20] = True
    return inside


@pytest.fixture
def planted(truth: Image, mask: Image) -> Image:
    return np.where(mask, truth + 0.5, truth)


# -- closed forms ------------------------------------------------------------------------------------------------------


def test_copying_the_query_repairs_nothing_and_harms_nothing(truth: Image, planted: Image, mask: Image) -> None:
    found = measure(truth, planted, planted, mask, difference(truth, truth), planted)
    assert (found.repair, found.collateral, found.contrast) == (0, 0, 0)
    assert found.sharpness_outside == pytest.approx(1, abs=0.2)  # the filters reach 12 pixels out of the mask
    assert (found.no_op, found.idempotence) == (0, 0)
    assert found.reasons == {}


def test_the_truth_is_perfect(truth: Image, planted: Image, mask: Image) -> None:
    found = measure(truth, planted, truth, mask, 0.0, truth)
    assert (found.repair, found.collateral, found.contrast) == (1, 0, math.inf)
    assert (found.sharpness_inside, found.sharpness_outside) == (1, 1)


@pytest.mark.parametrize("share", [-1.0, 0.0, 0.25, 0.5, 1.0, 2.0])
def test_a_share_of_the_defect_that_is_undone(truth: Image, planted: Image, mask: Image, share: float) -> None:
    counterpart = planted + share * (truth - planted)
    assert repair(truth, planted, counterpart, mask) == pytest.approx(1 - abs(1 - share))


def test_collateral_counts_from_three_pixels_off_the_mask(truth: Image, mask: Image) -> None:
    rows, columns = np.indices(mask.shape)
    inside = np.argwhere(mask)
    away = np.hypot(rows[..., None] - inside[:, 0], columns[..., None] - inside[:, 1]).min(axis=2)  # brute force
    assert collateral(truth, np.where(away <= 3, truth + 9, truth), mask) == 0
    ring = (away > 3) & (away < 4)
    expected = ring.sum() / (away > 3).sum() / grain(truth)
    assert collateral(truth, np.where(ring, truth + 1, truth), mask) == pytest.approx(expected)


def test_the_grain_is_the_distance_to_the_median_of_nine(truth: Image) -> None:
    padded = np.pad(truth, 1, mode="symmetric")
    middle = [[median(padded[r : r + 3, c : c + 3].ravel()) for c in range(SIDE)] for r in range(SIDE)]
    assert grain(truth) == pytest.approx(np.abs(truth - np.array(middle)).mean())
    assert grain(np.stack([truth] * 3, 2)) == pytest.approx(grain(truth))


def test_contrast_by_sorting(truth: Image, planted: Image, mask: Image, rng: np.random.Generator) -> None:
    counterpart = truth + rng.normal(0, 0.05, truth.shape)
    shown = np.abs(planted - counterpart)
    outside = np.sort(shown[~mask])
    place = 0.99 * (len(outside) - 1)
    below, share = int(place), place % 1
    bound = outside[below] * (1 - share) + outside[below + 1] * share
    assert contrast(planted, counterpart, mask) == pytest.approx(shown[mask].mean() / bound)


def test_sharpness_against_scikit_image(truth: Image, mask: Image, rng: np.random.Generator) -> None:
    counterpart = rng.random(truth.shape)
    ours, theirs = (difference_of_gaussians(each, 1, 3, mode="reflect") for each in (counterpart, truth))
    expected = [ours[where].var() / theirs[where].var() for where in (mask, ~mask)]
    assert sharpness(truth, counterpart, mask) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("factor", [0.0, 0.5, 2.0])
def test_sharpness_is_the_square_of_the_strength_of_details(truth: Image, mask: Image, factor: float) -> None:
    assert sharpness(truth, factor * truth + 3, mask) == pytest.approx([factor**2] * 2)


def test_a_blurred_counterpart_is_less_sharp_everywhere(truth: Image, mask: Image) -> None:
    blurred = np.pad(truth, 2, mode="edge")
    blurred = sum(blurred[r : r + SIDE, c : c + SIDE] for r in range(5) for c in range(5)) / 25
    assert max(sharpness(truth, blurred, mask)) < 0.3


def test_colour_is_the_mean_of_its_channels(truth: Image, planted: Image, mask: Image) -> None:
    counterpart = (truth + planted) / 2 + 0.01
    grey = measure(truth, planted, counterpart, mask, 0.125, counterpart)
    three = [np.stack([each] * 3, axis=2) for each in (truth, planted, counterpart)]
    colour = measure(*three, mask, 0.125, three[2])
    for name in NAMES:
        assert getattr(colour, name) == pytest.approx(getattr(grey, name))
    one = np.stack([counterpart, truth, truth], axis=2)
    assert difference(three[0], one) == pytest.approx(difference(truth, counterpart) / 3)


@given(st.integers(0, 1000), st.floats(0.1, 200), st.floats(-50, 50))
def test_ratios_have_no_unit(seed: int, factor: float, shift: float) -> None:
    rng = np.random.default_rng(seed)
    x, c, mask = rng.random((12, 12)), rng.random((12, 12)), np.pad(disk(2).astype(bool), ((1, 6), (1, 6)))
    y = np.where(mask, rng.random((12, 12)), x)
    one = measure(x, y, c, mask, difference(c, x), x)
    scaled = [factor * each + shift for each in (x, y, c)]
    other = measure(*scaled, mask, difference(scaled[2], scaled[0]), scaled[0])
    for name in NAMES[:5]:
        assert getattr(other, name) == pytest.approx(getattr(one, name), rel=1e-6)
    for name in NAMES[5:]:
        assert getattr(other, name) == pytest.approx(factor * getattr(one, name), rel=1e-6)


# -- what says nothing -------------------------------------------------------------------------------------------------


def test_a_mask_of_everything(truth: Image) -> None:
    found = measure(truth, truth + 1, truth, np.ones(truth.shape, bool), 0.0, truth)
    assert found.repair == 1
    assert found.reasons == {
        "collateral": "the dilated mask covers the image",
        "contrast": "the mask covers the image",
        "sharpness_outside": "fewer than two pixels",
    }
    assert all(math.isnan(getattr(found, name)) for name in found.reasons)


def test_a_mask_of_nothing(truth: Image) -> None:
    found = measure(truth, truth, truth, np.zeros(truth.shape, bool))
    assert set(found.reasons) == set(NAMES) - {"collateral", "sharpness_outside"}
    assert found.reasons["repair"] == "the defect changes nothing"
    assert found.reasons["contrast"] == "the mask is empty"
    assert found.reasons["no_op"] == "not scored"


def test_an_image_without_grain(mask: Image) -> None:
    flat = np.full((SIDE, SIDE), 0.3)
    found = measure(flat, np.where(mask, 1, flat), flat + 0.1, mask)
    assert found.reasons["collateral"] == "the image has no grain"
    assert found.reasons["sharpness_inside"] == found.reasons["sharpness_outside"] == "the image has no detail there"
    assert found.repair == pytest.approx(1 - 0.1 / 0.7)


def test_images_of_other_sizes_are_refused(truth: Image, mask: Image) -> None:
    with pytest.raises(SettingsError, match=r"\(32, 32\), \(16, 32\), \(32, 32\) and a mask of \(32, 32\)"):
        measure(truth, truth[:16], truth, mask)
    with pytest.raises(SettingsError, match=r"mask of \(16, 32\)"):
        measure(truth, truth, truth, mask[:16])


# -- over images -------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30), st.integers(0, 9))
def test_the_median_is_the_median(values: list[float], seed: int) -> None:
    found = median_of(values, range(len(values)), draws=50, seed=seed)
    assert found.value == pytest.approx(median(values))
    assert min(values) <= found.low <= found.high <= max(values)
    assert found.count == len(values)


def test_resampled_medians_are_those_of_repeated_values() -> None:
    """By hand: the interval of many draws is that of medians of groups that were drawn one by one."""
    rng = np.random.default_rng(1)
    groups = rng.integers(0, 12, 60).tolist()
    values = (rng.normal(size=12)[groups] + 0.3 * rng.normal(size=60)).tolist()
    members = {group: [v for v, g in zip(values, groups, strict=True) if g == group] for group in set(groups)}
    names, drawn = list(members), []
    for _ in range(4000):
        drawn.append(median([v for name in rng.choice(names, len(names)) for v in members[name]]))
    found = median_of(values, groups, draws=4000)
    assert (found.low, found.high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.06)


def test_groups_make_the_interval_wider(rng: np.random.Generator) -> None:
    groups = np.repeat(np.arange(8), 20)
    values = rng.normal(size=8)[groups] + 0.01 * rng.normal(size=160)
    alone, together = median_of(values.tolist(), range(160)), median_of(values.tolist(), groups.tolist())
    assert together.high - together.low > 2 * (alone.high - alone.low)
    assert together.value == alone.value


def test_infinite_values_are_values_and_nan_is_none() -> None:
    found = median_of([math.inf, math.inf, 2.0, math.nan], "abcd")
    assert (found.value, found.low, found.high, found.count) == (math.inf, 2.0, math.inf, 3)
    assert math.isnan(median_of([math.nan], "a").value)
    assert median_of([], []).count == 0


def test_a_summary_says_why_images_are_left_out(truth: Image, planted: Image, mask: Image) -> None:
    whole = measure(truth, truth + 1, truth, np.ones(truth.shape, bool), 0.0)
    found = summarise([measure(truth, planted, planted, mask, 0.0), whole, whole], "aab")
    assert list(found) == list(NAMES)
    assert (found["repair"].value, found["repair"].count) == (1, 3)
    assert (found["contrast"].value, found["contrast"].count) == (0, 1)
    assert found["contrast"].reasons == {"the mask covers the image": 2}
    assert found["idempotence"].reasons == {"not scored": 3}
    assert math.isnan(summarise([Measures()], "a")["repair"].value)
