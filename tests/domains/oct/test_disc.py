"""The optic disc is found and left out; a macula and its lesions are not taken for one."""

import numpy as np
import pytest

from anotwin.domains.oct.layers.find import find_retinas
from anotwin.domains.oct.layers.left_out import LeftOut, inner, left_out
from anotwin.domains.oct.records import Spacing
from anotwin.domains.oct.synthetic.retina import Appearance, Disc, Lesion, retina_scan, retina_volume
from made_scans import retina_of

WIDE = Spacing(3.87, 11.7)  # 12 mm on 1,024 columns
RIM = 26  # columns next to the opening that may be left out with it


def discs(retina):
    return [one for one in retina.left_out if one.kind == "disc"]


@pytest.mark.parametrize(
    ("width", "spacing", "disc"),
    [
        (768, None, Disc(0.0)),
        (768, None, Disc(1.0, nasal=1)),
        (768, None, Disc(0.04, depth_um=0)),
        (768, None, Disc(0.98, nasal=1, cup=0.7, depth_um=300)),
        (512, None, Disc(0.5)),
        (512, None, Disc(0.45, cup=0.6, depth_um=350)),
        (1024, WIDE, Disc(0.25)),
        (1024, WIDE, Disc(0.72, nasal=1, depth_um=250)),
    ],
)
@pytest.mark.parametrize("seed", [0, 5])
def test_a_disc_is_left_out_with_its_rim_and_little_else(width, spacing, disc, seed):
    truth = retina_scan(seed, 496, width, appearance=Appearance(bend=0.03, depth=0.3), spacing=spacing, disc=disc)
    retina = retina_of(truth.pixels, truth.spacing)
    opening = np.flatnonzero(truth.disc)
    assert retina.reason == ""
    assert not retina.valid[opening].any()
    (found,) = discs(retina)
    assert opening[0] - RIM <= found.first <= opening[0]
    assert opening[-1] <= found.last <= opening[-1] + RIM
    assert str(found) == f"optic disc in columns {found.first} to {found.last}"
    kept = retina.valid
    assert kept.sum() >= width - len(opening) - 2 * RIM - 4
    assert np.abs(retina.ilm - truth.ilm)[kept].mean() < 2
    assert np.abs(retina.rpe - truth.rpe)[kept].mean() < 2
    assert np.abs(retina.baseline - truth.baseline)[kept].mean() < 3


@pytest.mark.parametrize(
    "lesions",
    [
        (),
        (Lesion("detachment", 1500, 220),),
        (Lesion("fluid", 1500, 180), Lesion("cyst", 400, 250, at=0.3)),
        (Lesion("detachment", 900, 200, at=0.02),),
        (Lesion("druse", 250, at=0.05), Lesion("druse", 250, at=0.95)),
        (Lesion("cyst", 500, 260, at=0.0), Lesion("fluid", 900, 150, at=1.0)),
    ],
)
def test_a_macula_has_no_disc_whatever_its_lesions(lesions):
    for seed in range(3):
        truth = retina_scan(seed, lesions=lesions, appearance=Appearance(depth=0.6))
        retina = retina_of(truth.pixels, truth.spacing)
        assert discs(retina) == []
        assert retina.valid.mean() > 0.97


def test_a_shadow_and_an_atrophy_are_no_disc():
    """Both hide the RPE; an atrophy lets light through to the choroid."""
    truth = retina_scan(1, appearance=Appearance(depth=0.4))
    rows = np.arange(496)[:, None]
    below = (rows > truth.ilm + 8) & (np.abs(np.arange(512) - 250) < 30)
    shadowed = np.where(below, truth.pixels * 0.3, truth.pixels).astype(np.uint8)
    assert discs(retina_of(shadowed, truth.spacing)) == []
    columns = np.arange(512) > 400
    band, deep = (rows > truth.rpe - 14) & columns, (rows > truth.rpe) & (rows < truth.rpe + 60) & columns
    grain = np.random.default_rng(0).gamma(6, 1 / 6, truth.pixels.shape)
    bright = np.where(deep, 120 * grain, np.where(band, 100 * grain, truth.pixels))
    assert discs(retina_of(np.clip(bright, 0, 250).astype(np.uint8), truth.spacing)) == []


def test_a_slice_beside_two_with_a_disc_has_one():
    """Slices at the edge of a disc cut its rim, where there is no cup to be seen."""
    spacing = Spacing(3.87, 11.5, 240.0)
    volume = retina_volume(3, 5, 496, 768, appearance=Appearance(depth=0.3), spacing=spacing, disc=Disc(0.0))
    for truth, retina in zip(volume, find_retinas([one.pixels for one in volume], spacing), strict=True):
        assert not retina.valid[truth.disc].any()


def test_runs_of_columns_by_kind():
    disc, margin = np.zeros(10, bool), np.zeros(10, bool)
    disc[2:5] = margin[4:7] = margin[0] = True
    found = left_out({"disc": disc, "margin": margin})
    assert found == (LeftOut("margin", 0, 0), LeftOut("disc", 2, 4), LeftOut("margin", 5, 6))


def test_outer_columns():
    shown = np.ones(1000, bool)
    shown[:100] = False
    assert np.flatnonzero(inner(shown, 11.5))[[0, -1]].tolist() == [130, 969]  # 350 micrometres
    assert np.flatnonzero(inner(shown, 1.0))[[0, -1]].tolist() == [154, 945]  # 6 % of 900 columns
    assert not inner(np.zeros(9, bool), 1.0).any()
