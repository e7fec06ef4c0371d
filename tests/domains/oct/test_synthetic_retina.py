"""Synthetic retinas: lines where the picture has them, masks that are what was planted, seeds, volumes, bad arguments.

The truth comes from the drawing's own functions, so it is held against the pixels here (gradients, thresholds) and
against closed forms (ellipses, chords, thicknesses). Scans without grain make that exact.
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anotwin.domains.oct.records import Spacing
from anotwin.domains.oct.synthetic.retina import Appearance, Lesion, draw_appearance, retina_scan, retina_volume
from anotwin.errors import SettingsError

KINDS = {"cyst": 200, "fluid": 1200, "druse": 200, "detachment": 1000, "focus": 60}
AXIAL, LATERAL = 3.87, 11.5


def noiseless(seed, **changes):
    """The appearance of a seed without speckle, noise and vessels."""
    return replace(draw_appearance(seed), speckle=0, noise=0, vessels=0, **changes)


def with_and_without(kind, seed=3, **changes):
    lesion = Lesion(kind, KINDS[kind], at=0.75, **changes)
    return retina_scan(seed, appearance=noiseless(seed), lesions=[lesion]), retina_scan(
        seed, appearance=noiseless(seed)
    )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", [None, *KINDS])
def test_lines_lie_where_the_picture_has_them(seed, kind):
    lesions = [] if kind is None else [Lesion(kind, KINDS[kind])]
    scan = retina_scan(seed, appearance=noiseless(seed), lesions=lesions)
    for column in range(0, 512, 3):
        values = scan.pixels[:, column].astype(float)
        start = int(scan.ilm[column]) - 6
        rise = start + 0.5 + np.argmax(np.diff(values[start : start + 14]))
        assert abs(rise - scan.ilm[column]) <= 1
        start = round(scan.rpe[column]) - 5
        brightest = start + np.argmax(values[start : start + 11])
        assert abs(brightest - scan.rpe[column]) <= 1


def test_layers_are_bright_and_dark_in_their_order():
    scan = retina_scan(1, appearance=replace(Appearance(), speckle=0, noise=0, vessels=0))
    column = scan.pixels[:, 400].astype(float)
    ilm, rpe = round(scan.ilm[400]), round(scan.rpe[400])
    ganglion, choroid = column[ilm + 12 : ilm + 25].mean(), column[rpe + 12 : rpe + 40].mean()
    inner_nuclear, outer_nuclear = column[ilm + 25 : ilm + 45].min(), column[rpe - 28 : rpe - 20].min()
    assert column[:ilm].mean() < outer_nuclear < inner_nuclear < ganglion < column[rpe]
    assert column[rpe - 10] > 1.5 * ganglion  # ellipsoid zone
    assert column[-20:].mean() < choroid < column[rpe]


def test_nerve_fibres_are_thicker_on_one_side_and_the_middle_has_a_pit():
    for seed in range(6):
        scan = retina_scan(seed)
        thick = (scan.rpe - scan.ilm) * AXIAL
        middle = thick[200:312].min()
        assert 150 < middle < 240
        assert thick[:200].max() > middle + 70
        assert thick[312:].max() > middle + 70
        bright = [
            np.mean([scan.pixels[round(scan.ilm[c]) + 4, c] for c in side]) for side in (range(60), range(452, 512))
        ]
        assert max(bright) > min(bright) + 25


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(4))
def test_no_lesion_moves_the_baseline_or_what_lies_below(kind, seed):
    lesions = [Lesion(kind, KINDS[kind]), Lesion(kind, KINDS[kind] / 2)]
    plain, sick = retina_scan(seed), retina_scan(seed, lesions=lesions)
    np.testing.assert_array_equal(sick.baseline, plain.baseline)
    np.testing.assert_array_equal(plain.rpe, plain.baseline)
    assert not plain.mask.any()
    below = np.arange(496)[:, None] > plain.baseline + 9  # grain included: it is the seed's, not the lesion's
    np.testing.assert_array_equal(sick.pixels[below], plain.pixels[below])
    assert (sick.rpe <= sick.baseline).all()
    assert (sick.ilm <= plain.ilm + 1e-9).all()


@pytest.mark.parametrize("kind,lifts_ilm,lifts_rpe", [
    ("cyst", True, False), ("fluid", True, False), ("druse", False, True), ("detachment", True, True),
    ("focus", False, False),
])  # fmt: skip
def test_what_is_lifted(kind, lifts_ilm, lifts_rpe):
    sick, plain = with_and_without(kind)
    middle = round(sick.lesions[0].column)
    height = sick.lesions[0].height_um / AXIAL
    ilm, rpe = (plain.ilm - sick.ilm)[middle], (plain.rpe - sick.rpe)[middle]
    assert ilm >= 0.45 * height if lifts_ilm else ilm < 0.3 * height
    assert rpe == pytest.approx(height if lifts_rpe else 0)


@pytest.mark.parametrize("kind", ["cyst", "focus"])
@pytest.mark.parametrize("seed", range(6))
def test_masks_of_cysts_and_foci_are_what_a_threshold_finds(kind, seed):
    appearance = noiseless(seed, gain=1.0)
    scan = retina_scan(seed, appearance=appearance, lesions=[Lesion(kind, KINDS[kind], at=0.72)])
    rows, columns = np.nonzero(scan.mask)
    window = np.s_[rows.min() - 2 : rows.max() + 3, columns.min() - 2 : columns.max() + 3]
    seen = scan.pixels[window] < 39 if kind == "cyst" else scan.pixels[window] > 130
    mask = scan.mask[window]
    assert (seen & mask).sum() / (seen | mask).sum() > 0.93
    area = np.pi / 4 * KINDS[kind] * scan.lesions[0].height_um / AXIAL / LATERAL
    assert mask.sum() == pytest.approx(area, rel=0.04 if kind == "cyst" else 0.15)
    assert mask.any(0).sum() == pytest.approx(KINDS[kind] / LATERAL, abs=1.5)


def test_a_focus_changes_its_mask_and_no_other_pixel():
    sick, plain = with_and_without("focus")
    change = sick.pixels.astype(int) - plain.pixels
    assert change.min() == 0
    assert (change[sick.mask] > 50).all()
    assert not change[~(sick.mask | np.roll(sick.mask, 1, 0) | np.roll(sick.mask, -1, 0))].any()  # but its soft rim


def test_fluid_is_as_thick_as_the_lift_of_all_above_it():
    sick, plain = with_and_without("fluid")
    lift = plain.ilm - sick.ilm
    np.testing.assert_allclose(sick.mask.sum(0), lift, atol=1)
    assert lift.max() == pytest.approx(sick.lesions[0].height_um / AXIAL)
    assert sick.pixels[sick.mask].mean() < 40
    rows = np.arange(496)
    for column in np.flatnonzero(lift > 2)[::5]:  # moved down again, all above the fluid is the healthy scan
        top = np.flatnonzero(sick.mask[:, column])[0] - 2
        lowered = np.interp(rows[:top], rows + lift[column], sick.pixels[:, column].astype(float))
        healthy = plain.pixels[: top + int(lift[column]), column].astype(float)
        retina = np.arange(int(plain.ilm[column]) + 3, top - 1)
        assert np.abs(lowered[retina] - healthy[retina]).mean() < 6


@pytest.mark.parametrize("kind", ["druse", "detachment"])
def test_drusen_reach_from_the_raised_rim_to_bruchs_membrane(kind):
    sick, plain = with_and_without(kind)
    raised = plain.rpe - sick.rpe
    band = (19 + 14) / AXIAL  # upper rim to Bruch's membrane where nothing is raised
    inside = raised >= 1
    np.testing.assert_allclose(sick.mask.sum(0)[inside], raised[inside] + band, atol=1)
    assert not sick.mask[:, ~inside].any()
    changed = sick.pixels != plain.pixels
    assert changed[sick.mask].mean() > 0.8
    assert inside.sum() > 0.6 * KINDS[kind] / LATERAL


@pytest.mark.parametrize("shift,shear", [(0, 0), (12, 0), (-9, 0), (0, 30), (-5, -40), (20, 17)])
def test_white_is_what_registration_left(shift, shear):
    still = retina_scan(2, appearance=replace(draw_appearance(2), shift=0, shear=0))
    scan = retina_scan(2, appearance=replace(draw_appearance(2), shift=shift, shear=shear))
    np.testing.assert_array_equal(scan.pixels == 255, scan.white)
    moved = np.round(shift + shear * (np.arange(512) / 511 - 0.5))
    for column in (0, 100, 255, 511):
        rows = np.flatnonzero(scan.white[:, column])
        expected = range(int(moved[column])) if moved[column] > 0 else range(496 + int(moved[column]), 496)
        assert rows.tolist() == list(expected)
    for line in ("ilm", "rpe", "baseline"):  # the retina goes along
        assert np.ptp(getattr(scan, line) - getattr(still, line) - moved) < 1e-9
        assert not scan.white[np.round(getattr(scan, line)).astype(int), np.arange(512)].any()


def test_vessels_only_dim_what_lies_below_the_nerve_fibres():
    none, some = (retina_scan(4, appearance=replace(noiseless(4), vessels=count)) for count in (0, 6))
    change = some.pixels.astype(int) - none.pixels
    assert not change[np.arange(496)[:, None] < none.ilm - 12].any()
    deep = np.arange(496)[:, None] > none.ilm + 40
    assert (change[deep] <= 0).all()
    assert change[deep].min() < -10
    shadowed = (change[round(none.rpe.min()) :] < -3).any(0).mean()
    assert 0.01 < shadowed < 0.5


def test_noise_is_as_strong_as_asked():
    appearance = Appearance(haze=0, noise=0, speckle=0.3, vessels=0)
    clean, grainy = retina_scan(5, appearance=replace(appearance, speckle=0)), retina_scan(5, appearance=appearance)
    inside = (clean.pixels > 40) & (clean.pixels < 120)
    logs = 2 * np.log(grainy.pixels[inside] / clean.pixels[inside])
    assert logs.std() == pytest.approx(0.3, rel=0.1)
    assert abs(logs.mean()) < 0.02
    noisy = retina_scan(5, appearance=replace(appearance, speckle=0, noise=0.6))
    vitreous = noisy.pixels[:40].astype(float) ** 2 / 23**2
    assert vitreous.mean() == pytest.approx(1, rel=0.1)
    assert vitreous.std() == pytest.approx(0.6, rel=0.15)


def test_seeds_reproduce_and_differ():
    lesions = [Lesion("cyst", 150), Lesion("druse", 120)]
    first, again = retina_scan(11, lesions=lesions), retina_scan(11, lesions=lesions)
    np.testing.assert_array_equal(first.pixels, again.pixels)
    np.testing.assert_array_equal(first.mask, again.mask)
    assert draw_appearance(11) == draw_appearance(11)
    others = [retina_scan(seed, lesions=lesions) for seed in range(8)]
    assert len({scan.pixels.tobytes() for scan in others}) == len({scan.ilm.tobytes() for scan in others}) == 8
    assert len({scan.lesions[0].column for scan in others}) > 5
    top = [retina_scan(seed, appearance=Appearance()).pixels[:50].ravel() for seed in (0, 1)]
    assert abs(np.corrcoef(*top)[0, 1]) < 0.1  # the grain too


@pytest.mark.parametrize("height,width", [(496, 512), (496, 768), (496, 1024), (496, 1536), (384, 256), (640, 65)])
def test_sizes(height, width):
    scan = retina_scan(6, height, width, lesions=[Lesion("druse", 150)])
    assert scan.pixels.shape == scan.mask.shape == scan.white.shape == scan.lesions[0].mask.shape == (height, width)
    assert scan.pixels.dtype == np.uint8
    assert scan.ilm.shape == scan.rpe.shape == scan.baseline.shape == (width,)
    assert scan.spacing.lateral == (5.75 if width >= 1000 else 11.5)
    assert scan.mask.any(0).sum() == pytest.approx(150 / scan.spacing.lateral, rel=0.35)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(-(2**40), 2**40), kind=st.sampled_from(list(KINDS)), at=st.floats(0, 1))
def test_any_seed_gives_a_whole_retina_and_a_lesion(seed, kind, at):
    scan = retina_scan(seed, 400, 128, lesions=[Lesion(kind, KINDS[kind], at=at)])
    assert scan.ilm.min() > 2
    assert scan.baseline.max() < 400 - 30
    assert ((scan.rpe - scan.ilm) * AXIAL > 100).all()
    assert scan.mask.any()
    rows, columns = np.nonzero(scan.mask)
    assert (rows > scan.ilm[columns]).all()
    assert (rows < scan.baseline[columns] + 10).all()
    assert not (scan.mask & scan.white).any()


@pytest.mark.parametrize("size", [15, 30, 60, 120, 240, 400])
@pytest.mark.parametrize("seed", range(5))
def test_cysts_of_any_size_lie_within_the_retina(size, seed):
    scan = retina_scan(seed, lesions=[Lesion("cyst", size)])
    rows, columns = np.nonzero(scan.mask)
    assert len(rows)
    assert (rows - scan.ilm[columns] > 1.5).all()
    assert (scan.rpe[columns] - rows > 10).all()


def test_volumes_change_smoothly():
    volume = retina_volume(7, 9, appearance=noiseless(7))
    for one, two in pairwise(volume):
        assert 0 < np.abs(two.ilm - one.ilm).max() < 14  # 120 micrometres apart, over the rim of the pit
        assert 0 < np.abs(two.baseline - one.baseline).max() < 5
    flat = [
        scan.pixels[np.round(scan.baseline).astype(int) + np.arange(12, 60)[:, None], np.arange(512)] for scan in volume
    ]
    alike = [np.corrcoef(flat[0].ravel(), other.ravel())[0, 1] for other in flat]
    assert alike[1] > alike[8] + 0.05  # the choroid too


def test_the_middle_slice_is_the_scan_and_grain_is_new_in_each():
    lesions = [Lesion("fluid", 800, at=0.5)]
    volume, scan = retina_volume(8, 3, lesions=lesions), retina_scan(8, lesions=lesions)
    np.testing.assert_array_equal(volume[1].pixels, scan.pixels)
    np.testing.assert_array_equal(volume[1].mask, scan.mask)
    grain = [part.pixels[60:110, :200].astype(float) for part in volume]
    assert abs(np.corrcoef(grain[0].ravel(), grain[1].ravel())[0, 1]) < 0.2


def test_a_lesion_is_a_round_thing_that_slices_cut():
    spacing = Spacing(AXIAL, LATERAL, 50.0)
    volume = retina_volume(
        9, 11, lesions=[Lesion("cyst", 240, at=0.5, away_um=50)], appearance=noiseless(9), spacing=spacing
    )
    for k, scan in enumerate(volume):
        away = (k - 5) * 50 - 50
        chord = 2 * np.sqrt(max(120**2 - away**2, 0)) / LATERAL
        assert scan.mask.any(0).sum() == pytest.approx(chord, abs=2)
        assert scan.spacing == spacing


def test_a_small_golden():
    scan = retina_scan(0, appearance=Appearance(), lesions=[Lesion("druse", 200, at=0.5)])
    np.testing.assert_allclose(scan.ilm[::170], [192.95, 197.74, 193.61, 185.13], atol=0.01)
    np.testing.assert_allclose(scan.rpe[::170], [263.28, 280.8, 279.76, 263.56], atol=0.01)


@pytest.mark.parametrize("arguments,match", [
    ({"height": 200}, "expected at least"),
    ({"width": 10}, "expected at least"),
    ({"lesions": [Lesion("drusen", 100)]}, "'drusen', expected one of cyst, fluid, druse, detachment, focus"),
    ({"lesions": [Lesion("cyst", 0)]}, "above 0"),
    ({"lesions": [Lesion("cyst", float("nan"))]}, "above 0"),
    ({"lesions": [Lesion("cyst", 100, height_um=-1)]}, "above 0"),
    ({"lesions": [Lesion("cyst", 100, away_um=float("inf"))]}, "finite"),
    ({"lesions": [Lesion("cyst", 100, at=1.2)]}, "at from 0"),
    ({"lesions": [Lesion("fluid", 2000, height_um=2500)]}, "lift it out of the scan"),
    ({"appearance": Appearance(tilt=2.0)}, "rows more than"),
    ({"appearance": Appearance(depth=1.5)}, "depth 0 to 1"),
    ({"appearance": Appearance(gain=0)}, "gain above 0"),
    ({"appearance": Appearance(bend=float("nan"))}, "finite"),
    ({"appearance": Appearance(speckle=-0.1)}, "at least 0"),
    ({"spacing": Spacing(0.0, 11.5)}, "micrometres above 0"),
    ({"spacing": Spacing(3.87, float("inf"))}, "micrometres above 0"),
])  # fmt: skip
def test_bad_arguments(arguments, match):
    with pytest.raises(SettingsError, match=match) as caught:
        retina_scan(0, **arguments)
    assert "\n" not in str(caught.value)


def test_a_volume_needs_a_slice():
    with pytest.raises(SettingsError, match="0 slices"):
        retina_volume(0, 0)
