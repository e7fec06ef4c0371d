"""The lines of a retina: against synthetic truth, closed forms and brute force; what is refused, and why."""

from functools import cache
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data

from anotwin.domains.oct.layers.baseline import undisturbed
from anotwin.domains.oct.layers.find import default_spacing, find_retinas
from anotwin.domains.oct.layers.mask import RING, known_pixels
from anotwin.domains.oct.layers.shortest_paths import Grid, shortest
from anotwin.domains.oct.records import Spacing
from anotwin.domains.oct.synthetic.retina import Appearance, Lesion, retina_scan, retina_volume
from made_scans import retina_of

SETTINGS = settings(derandomize=True, deadline=None, max_examples=25)
RNG = np.random.default_rng(0)
LESIONS = (
    (),
    (Lesion("cyst", 300),),
    (Lesion("druse", 120, at=0.3), Lesion("druse", 250, at=0.7)),
    (Lesion("detachment", 1200),),
    (Lesion("fluid", 1000, at=0.6), Lesion("focus", 60, at=0.2)),
)
APPEARANCES = (
    Appearance(),
    Appearance(tilt=0.12, bend=0.02),
    Appearance(bend=0.09, haze=16, noise=1.2),
    Appearance(shift=30, shear=-35, gain=0.7),
    Appearance(vessels=9, speckle=0.6, depth=0.05),
)


@cache
def scan(seed, lesions=(), appearance=None, width=512):
    return retina_scan(seed, width=width, lesions=lesions, appearance=appearance)


def error(line, truth):
    return np.abs(line - truth).mean()


@pytest.mark.parametrize("number", range(len(LESIONS)))
def test_lines_within_two_rows_whatever_the_lesion_and_the_look(number):
    for seed in (number, number + 1, number + 3):
        appearance = APPEARANCES[seed % len(APPEARANCES)]
        truth = scan(seed, LESIONS[number], appearance)
        retina = retina_of(truth.pixels, truth.spacing)
        assert retina.reason == ""
        assert error(retina.ilm, truth.ilm) < 2
        assert error(retina.rpe, truth.rpe) < 2
        assert error(retina.baseline, truth.baseline) < 2
        assert retina.quality > 0.7
        assert retina.valid.mean() > 0.9
        for line in (retina.ilm, retina.rpe, retina.baseline):
            assert line.shape == (512,)
            assert line.dtype == np.float32


@pytest.mark.parametrize("width", [384, 768, 1024, 1536])
def test_wide_protocols_by_their_usual_spacing(width):
    truth = scan(3, LESIONS[2], None, width)
    retina = retina_of(truth.pixels)
    assert default_spacing(496, width) == Spacing(truth.spacing.axial, truth.spacing.lateral)
    assert error(retina.ilm, truth.ilm) < 2
    assert error(retina.rpe, truth.rpe) < 2


def test_a_detachment_moves_the_rpe_and_not_the_baseline():
    healthy, ill = scan(5), scan(5, (Lesion("detachment", 900, height_um=200, at=0.5),))
    before, after = (retina_of(one.pixels, one.spacing) for one in (healthy, ill))
    assert (before.rpe - after.rpe).max() == pytest.approx(200 / 3.87, abs=4)
    assert np.abs(before.baseline - after.baseline).max() < 4
    assert np.abs(before.baseline - before.rpe).mean() < 1.5


def test_another_depth_and_range_of_pixels_changes_nothing():
    truth = scan(1, LESIONS[2], Appearance(shift=20))
    plain = retina_of(truth.pixels)
    for other in (truth.pixels.astype(np.uint16) * 257, truth.pixels.astype(np.float32) / 255, truth.pixels * 1.0 - 7):
        retina = retina_of(other)
        np.testing.assert_allclose(retina.rpe, plain.rpe, atol=1)
        np.testing.assert_array_equal(retina.valid, plain.valid)
    grey = retina_of(np.repeat(truth.pixels[:, :, None], 3, axis=2))
    np.testing.assert_array_equal(grey.ilm, plain.ilm)


def test_white_corners_are_unknown_and_little_else():
    truth = scan(2, (), Appearance(shift=25, shear=40))
    known = known_pixels(truth.pixels.astype(np.float32), True)
    assert truth.white.sum() > 1000
    assert not known[truth.white].any()
    rows, columns = np.nonzero(~known)
    near = np.pad(truth.white, RING)
    for row, column in zip(rows[::97], columns[::97], strict=True):
        assert near[row : row + 2 * RING + 1, column : column + 2 * RING + 1].any()


def test_columns_without_tissue_are_not_valid():
    pixels = scan(0).pixels.copy()
    pixels[:, :60], pixels[:, -40:] = 255, 0
    retina = retina_of(pixels)
    assert not retina.valid[:60].any()
    assert not retina.valid[-36:].any()
    assert retina.valid[80:-60].all()
    assert np.isfinite(retina.baseline).all()


@pytest.mark.parametrize("seed", range(4))
def test_an_upside_down_scan_says_so(seed):
    truth = scan(seed, LESIONS[seed % len(LESIONS)])
    assert retina_of(truth.pixels[::-1]).reason.startswith("upside down")
    assert retina_of(truth.pixels[:, ::-1]).reason == ""


def pictures():
    ramp = np.tile(np.linspace(0, 255, 496)[:, None], (1, 512)).astype(np.uint8)
    stripe = np.zeros((300, 400), np.uint8)
    stripe[100:160] = 200
    return {
        "noise": RNG.integers(0, 255, (496, 512), dtype=np.uint8),
        "ramp": ramp,
        "stripe": stripe,
        "camera": data.camera(),
        "coins": data.coins(),
        "page": data.page(),
        "brick": data.brick(),
        "on its side": np.ascontiguousarray(scan(0).pixels.T),
    }


@pytest.mark.parametrize("name", pictures())
def test_pictures_without_a_retina_are_refused(name):
    retina = retina_of(pictures()[name])
    assert retina.reason.startswith(("no retina found", "upside down"))
    assert 0 <= retina.quality <= 1


HOLED = np.full((100, 100), np.nan, np.float32)


@pytest.mark.parametrize(
    "picture,words",
    [
        (np.full((496, 512), 7, np.uint8), "one flat colour"),
        (np.ones((496, 40)), "too small: 496 rows and 40 columns"),
        (HOLED, "NaN or infinite"),
        (data.astronaut(), "a colour picture"),
        (np.zeros((4, 496, 512)), "no B-scan: pixels of shape"),
        (np.zeros(9), "no B-scan: pixels of shape"),
        (np.full((80, 80), "x"), "no B-scan: pixels of type"),
    ],
)
def test_pictures_that_cannot_be_scans_are_refused_with_a_reason(picture, words):
    retina = retina_of(picture)
    assert retina.reason.startswith(words)
    assert "\n" not in retina.reason
    assert retina.quality == 0
    assert not retina.valid.any()
    assert np.isnan(retina.baseline).all()


def test_noise_lowers_the_quality():
    grey = scan(4).pixels.astype(np.float32)
    noise = RNG.normal(0, 1, grey.shape).astype(np.float32)
    quality = [retina_of(np.clip(grey + sigma * noise, 0, 250)).quality for sigma in (0, 60, 150)]
    assert quality[0] > quality[1] > quality[2]


def test_lines_of_a_damaged_slice_are_corrected_by_its_neighbours():
    volume = retina_volume(8, slices=5, appearance=Appearance())
    scans = [one.pixels.copy() for one in volume]
    scans[2][:, 150:350] = np.roll(scans[2][:, 150:350], -60, axis=0)  # the eye moved and came back
    alone, together = retina_of(scans[2]), find_retinas(scans)
    truth = volume[2]
    assert error(alone.ilm, truth.ilm) > 10
    assert error(together[2].ilm, truth.ilm) < 6
    assert error(together[2].rpe, truth.rpe) < 6
    for k in (0, 1, 3, 4):
        assert error(together[k].rpe, volume[k].rpe) < 2
        assert error(together[k].baseline, volume[k].baseline) < 1.5


def test_slices_that_are_no_neighbours_change_nothing():
    one = scan(0, (), Appearance())
    flat = np.zeros((496, 512), np.uint8)
    retinas = find_retinas([one.pixels, flat, one.pixels[::-1], scan(1, (), Appearance(), 768).pixels])
    np.testing.assert_array_equal(retinas[0].rpe, retina_of(one.pixels).rpe)
    np.testing.assert_array_equal(retinas[0].baseline, retina_of(one.pixels).baseline)
    assert [bool(retina.reason) for retina in retinas] == [False, True, True, False]
    assert len(retinas[3].rpe) == 768
    assert find_retinas([]) == []
    far = Spacing(3.87, 11.5, 800.0)
    np.testing.assert_array_equal(find_retinas([one.pixels] * 2, far)[0].baseline, retina_of(one.pixels).baseline)


def test_the_shortest_path_is_the_cheapest_of_all():
    cost = RNG.random((4, 5)).astype(np.float32)

    def price(way):
        # steps to a neighbouring row or straight on, none up or down within a column
        return sum(
            np.hypot(0.4 * (b - a), 1) * (cost[a, k] + cost[b, k + 1]) / 2 for k, (a, b) in enumerate(pairs(way))
        )

    def pairs(way):
        return list(pairwise(way))

    ways = [way for way in product(range(4), repeat=5) if max(abs(a - b) for a, b in pairs(way)) < 2]
    best = min(ways, key=lambda way: price(way) + (cost[way[0], 0] + cost[way[-1], -1]) / 2)
    cost[:, 1:-1] += 0.05  # of both
    found = shortest(cost)
    assert found.shape == (5,)
    wanted = np.array(best)
    assert np.abs(found - wanted).max() <= 1


@given(st.lists(st.integers(-1, 1), min_size=8, max_size=30))
@SETTINGS
def test_a_free_line_is_followed_exactly(steps):
    rows = 40 + np.cumsum(steps)
    cost = np.ones((80, len(rows)), np.float32)
    cost[rows, np.arange(len(rows))] = 0
    np.testing.assert_array_equal(shortest(cost), rows)


@given(st.integers(-12, 8), st.integers(1, 9))
@SETTINGS
def test_means_below_a_pixel_by_brute_force(first, size):
    values = np.random.default_rng(size).random((15, 3)).astype(np.float32)
    grid = Grid(values, values > -1, 0.0, 2.0, 1.0, 1, 1)
    padded = np.pad(values, ((40, 40), (0, 0)))
    wanted = [padded[40 + row + first : 40 + row + first + size].mean(axis=0) for row in range(15)]
    np.testing.assert_allclose(grid.mean(2.0 * first, 2.0 * (first + size)), wanted, atol=1e-5)


@given(st.floats(-3, 3), st.floats(-400, 400), st.floats(-300, 300))
@SETTINGS
def test_an_undisturbed_parabola_is_its_own_baseline(shift, tilt, bend):
    x = np.linspace(-1, 1, 256)
    line = 900 + shift + tilt * x + bend * x**2
    assert np.abs(undisturbed(line, np.ones(256), 23.0) - line).max() < 0.5


@given(st.floats(-0.6, 0.6), st.floats(60, 200), st.floats(0.03, 0.2))
@SETTINGS
def test_an_elevation_leaves_the_baseline_below_itself(at, height, width):
    x = np.linspace(-1, 1, 256)
    eye = 900 - 150 * x**2 + 60 * x
    line = eye - height * np.clip(1 - ((x - at) / width) ** 2, 0, None)
    assert np.abs(undisturbed(line, np.ones(256), 23.0) - eye).max() < 12


def test_columns_that_are_not_trusted_do_not_matter():
    x = np.linspace(-1, 1, 256)
    line = 900 - 150 * x**2
    broken = np.where(x < -0.8, 300, line)
    found = undisturbed(broken, (x >= -0.8).astype(float), 23.0)
    assert np.abs(found - line).max() < 2
