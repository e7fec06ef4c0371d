"""Flattening: places there and back, areas by brute force, what stays straight, and what must not be readable."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anotwin.domains.oct.flatten import VITREOUS, FlatSpec, flatten, to_flat, to_scan, unflatten
from anotwin.domains.oct.layers.find import Retina
from anotwin.domains.oct.records import Spacing
from anotwin.domains.oct.synthetic.retina import Appearance, Lesion, retina_scan
from anotwin.errors import DataError
from made_scans import retina_of

SETTINGS = settings(derandomize=True, deadline=None, max_examples=20)
RNG = np.random.default_rng(0)
UNIT = Spacing(1.0, 1.0)


@cache
def example(seed=0, width=512, shift=0, shear=0):
    lesions = [Lesion("cyst", 350, at=0.35), Lesion("druse", 150, at=0.7)]
    scan = retina_scan(
        seed, width=width, lesions=lesions, appearance=Appearance(tilt=0.08, bend=0.06, shift=shift, shear=shear)
    )
    retina = retina_of(scan.pixels, scan.spacing)
    assert retina.reason == ""
    return scan, retina


def made_up(baseline, valid=None, thickness=30.0):
    """A retina along a curve that need not be one."""
    line = np.asarray(baseline, np.float32)
    return Retina(line - thickness, line, line, np.ones(len(line), bool) if valid is None else valid, 1.0)


@given(st.integers(0, 1000), st.floats(2, 40), st.floats(4, 60))
@SETTINGS
def test_places_there_and_back(seed, row, column):
    rng = np.random.default_rng(seed)
    width = int(rng.integers(64, 300))
    retina = made_up(100 + 20 * np.sin(np.arange(width) / 30 + seed))
    flat = flatten(rng.random((200, width)), retina, FlatSpec(300, 100, row, column), Spacing(3.9, 11.0))
    rows, columns = rng.uniform(0, 199, 50), rng.uniform(0, width - 1, 50)
    back = to_scan(*to_flat(rows, columns, flat), flat)
    np.testing.assert_allclose(back, (rows, columns), atol=1e-8)
    there = to_flat(*to_scan(rows, columns, flat), flat)
    np.testing.assert_allclose(there, (rows, columns), atol=1e-8)


def test_the_band_lies_where_the_spec_says():
    scan, retina = example()
    flat = flatten(scan.pixels, retina, FlatSpec(400, 100, 5, 23), scan.spacing)
    assert flat.pixels.shape == (100, round(512 * 11.5 / 23))
    assert flat.pixels.dtype == np.float32
    columns = np.arange(512)
    rows, across = to_flat(retina.baseline, columns, flat)
    np.testing.assert_allclose(rows, 400 / 5 - 0.5, atol=1e-4)  # rows 0..79 lie above the baseline
    np.testing.assert_allclose(across, (columns + 0.5) / 2 - 0.5)
    lower, _ = to_flat(retina.baseline + 50 / 3.87, columns, flat)
    np.testing.assert_allclose(lower - rows, 10, atol=1e-3)


@pytest.mark.parametrize("width,expected", [(512, 491), (768, 736), (1536, 736)])
def test_wide_scans_come_to_the_same_scale(width, expected):
    scan, retina = example(1, width)
    assert flatten(scan.pixels, retina).pixels.shape == (100, expected)


@pytest.mark.parametrize("seed,width", [(0, 512), (1, 768), (2, 512), (3, 1536)])
def test_the_true_baseline_becomes_straight(seed, width):
    scan, retina = example(seed, width)
    flat = flatten(scan.pixels, retina, FlatSpec(row=scan.spacing.axial), scan.spacing)
    rows, _ = to_flat(scan.baseline, np.arange(width), flat)
    assert np.abs(rows - np.median(rows)).mean() < 1


def test_areas_by_brute_force():
    """Each band pixel is the mean of the scan over its own area, by sampling that area densely."""
    scan = RNG.random((90, 70))
    baseline = 50 + 8 * np.sin(np.arange(70) / 9)
    flat = flatten(scan, made_up(baseline), FlatSpec(30, 12, 2.8, 3.3), UNIT)
    down, across = flat.pixels.shape
    mean = np.zeros((down, across))
    for j in range(across):
        fine = (j + (np.arange(400) + 0.5) / 400) * 70 / across
        column = fine.astype(int)
        for i in range(down):
            depth = -30 + (i + (np.arange(200)[:, None] + 0.5) / 200) * 2.8
            row = np.floor(baseline.astype(np.float32)[column] + depth + 0.5).astype(int)
            mean[i, j] = scan[row, column].mean()
    # values are scaled by the scan's own anchors: an affine map
    inside = np.abs(flat.pixels) < 1  # beyond, values are clipped
    slope, offset = np.polyfit(mean[inside], flat.pixels[inside], 1)
    assert slope > 0
    np.testing.assert_allclose(flat.pixels[inside], (slope * mean + offset)[inside], atol=0.02)


def test_rows_of_the_band_come_back_to_their_rows():
    scan, retina = example()
    flat = flatten(scan.pixels, retina, FlatSpec(), scan.spacing)
    down, across = flat.pixels.shape
    rows, columns = np.meshgrid(np.arange(down), np.arange(across), indexing="ij")
    back_rows, back_columns = unflatten(rows, flat), unflatten(columns, flat)
    assert back_rows.shape == scan.pixels.shape
    assert back_rows.dtype == np.float32
    native = np.stack(np.meshgrid(np.arange(496), np.arange(512), indexing="ij"))
    there = to_flat(native[0], native[1], flat)
    inside = (there[0] > 0) & (there[0] < down - 1) & (there[1] > 0) & (there[1] < across - 1)
    found = to_scan(back_rows[inside], back_columns[inside], flat)
    assert np.abs(found[0] - native[0][inside]).max() < 0.5
    assert np.abs(found[1] - native[1][inside]).max() < 0.5
    outside = (there[0] < -0.5) | (there[0] > down - 0.5)
    assert outside.any()
    assert not back_rows[outside].any()


def test_a_lesion_comes_back_to_its_place():
    scan, retina = example()
    flat = flatten(scan.pixels, retina, FlatSpec(), scan.spacing)
    mask = scan.lesions[0].mask
    down, across = flat.pixels.shape
    rows, columns = to_scan(*np.meshgrid(np.arange(down), np.arange(across), indexing="ij"), flat)
    there = mask[np.clip(np.rint(rows).astype(int), 0, 495), np.clip(np.rint(columns).astype(int), 0, 511)]
    back = unflatten(there.astype(float), flat)
    middle = np.argwhere(mask).mean(axis=0)
    weighted = [(np.indices(mask.shape)[k] * back).sum() / back.sum() for k in range(2)]
    np.testing.assert_allclose(weighted, middle, atol=0.5)
    assert back[mask].mean() > 0.9


@pytest.mark.parametrize("slope,offset", [(0.4, 0.0), (1.0, 40.0), (300.0, -900.0)])
def test_brightness_and_contrast_cannot_be_read(slope, offset):
    scan, retina = example()
    plain = flatten(scan.pixels.astype(np.float64), retina)
    other = flatten(scan.pixels * slope + offset, retina)
    np.testing.assert_allclose(other.pixels, plain.pixels, atol=1e-4)


def test_anchors_are_the_vitreous_and_the_bright_layers():
    scan, retina = example()
    flat = flatten(scan.pixels, retina, FlatSpec(), scan.spacing)
    rows = np.arange(flat.pixels.shape[0])[:, None]
    columns = np.rint((np.arange(flat.pixels.shape[1]) + 0.5) * flat.columns - 0.5).astype(int)
    ilm, _ = to_flat(retina.ilm[columns], columns, flat)
    rpe, _ = to_flat(retina.rpe[columns], columns, flat)
    assert np.median(flat.pixels[rows < ilm - 3]) == pytest.approx(VITREOUS, abs=0.02)
    band = flat.pixels[np.rint(rpe).astype(int), np.arange(len(columns))]
    assert 0.4 < np.median(band) < 0.9
    assert np.abs(flat.pixels).max() <= 1


def test_white_corners_leave_no_trace():
    scan, retina = example(2, 512, 30, 40)
    flat = flatten(scan.pixels, retina, FlatSpec(above=1500), scan.spacing)
    assert not flat.valid.all()
    brighter = scan.pixels.copy()
    # what hides behind the white does not matter: a scan whose white reaches a little further has the same pixels
    brighter[:3] = 255
    again = flatten(brighter, retina, FlatSpec(above=1500), scan.spacing)
    both = flat.valid & again.valid
    assert both.mean() > 0.5
    np.testing.assert_allclose(again.pixels[both], flat.pixels[both], atol=0.02)
    assert flat.pixels[~flat.valid].max() < 0.2  # filled with vitreous where the white was
    rows, columns = to_flat(*np.nonzero(scan.white), flat)
    inside = (rows > -0.4) & (rows < flat.valid.shape[0] - 0.6)
    assert inside.any()
    assert not flat.valid[np.rint(rows[inside]).astype(int), np.rint(columns[inside]).astype(int)].mean() > 0.02


def test_what_is_not_valid_is_filled_from_its_row():
    scan = np.tile(np.linspace(10, 200, 80)[:, None], (1, 64))
    scan[45, 50:60] = 300  # what is brightest is not white
    valid = np.ones(64, bool)
    valid[:10] = valid[30:40] = False
    flat = flatten(scan, made_up(np.full(64, 60), valid, 25.0), FlatSpec(40, 40, 1, 1), UNIT)
    np.testing.assert_array_equal(flat.valid[:60], np.tile(valid, (60, 1)))
    assert not flat.valid[60:].any()  # below the scan
    np.testing.assert_allclose(flat.pixels[:60, ~valid], flat.pixels[:60, [20] * 20], atol=1e-6)
    np.testing.assert_allclose(flat.pixels[60:], VITREOUS)


def test_a_retina_at_the_very_top_still_has_a_scale():
    scan = np.full((80, 64), 50.0) + RNG.random((80, 64))
    scan[30:34] = 200
    flat = flatten(scan, made_up(np.full(64, 32), None, 40.0), FlatSpec(32, 40, 1, 1), UNIT)
    assert np.isfinite(flat.pixels).all()
    assert flat.pixels[32].mean() == pytest.approx(0.6, abs=0.05)


def test_errors():
    scan, retina = example()
    with pytest.raises(DataError, match="cannot flatten the scan: upside down"):
        flatten(scan.pixels, replace(retina, reason="upside down"))
    with pytest.raises(DataError, match="cannot flatten the scan: one flat colour"):
        flatten(np.zeros((496, 512), np.uint8), retina)
    with pytest.raises(DataError, match="a retina of 512 columns for a scan of 500"):
        flatten(scan.pixels[:, :500], retina)
    with pytest.raises(ValueError, match="map of shape"):
        unflatten(np.zeros((3, 3)), flatten(scan.pixels, retina))
