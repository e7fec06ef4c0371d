"""The counterpart of a whole scan: its vitreous, what lies above the band, and the heat of large lesions by depth."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anotwin.domains.oct.counterpart import whole_counterpart
from anotwin.domains.oct.flatten import BAND, flatten, unflatten
from anotwin.domains.oct.layers.find import Retina
from anotwin.domains.oct.records import Spacing
from anotwin.domains.oct.synthetic.retina import retina_scan
from anotwin.domains.oct.view import RetinaView
from anotwin.records import ImageSpec
from anotwin.settings import Settings
from made_scans import Scans

RNG = np.random.default_rng(0)
HEIGHT, WIDTH, BASE = 400, 240, 320
SPACING = Spacing(4.0, 12.0)


def phantom(thickness):
    """Noisy vitreous of mean 40, a retina of 150 and a bright RPE; and its lines."""
    ilm = (BASE - np.broadcast_to(thickness, WIDTH)).astype(np.float32)
    rows = np.arange(HEIGHT)[:, None]
    pixels = RNG.gamma(4.0, 10.0, (HEIGHT, WIDTH))
    pixels = np.where(rows >= ilm, 150 + 10 * RNG.standard_normal(pixels.shape), pixels)
    pixels = np.where(np.abs(rows - BASE) < 5, 220, np.where(rows > BASE + 40, 60, pixels))
    base = np.full(WIDTH, BASE, np.float32)
    return np.clip(pixels, 0, 250).astype(np.uint8), Retina(ilm, base, base, np.ones(WIDTH, bool), 1.0)


def drawn_as(flat, rows):
    """A band as a network draws it: smooth, and darker than the vitreous is; a retina of so many rows."""
    band = np.full(flat.pixels.shape, -0.95, np.float32)
    base = round(BAND.above / BAND.row)
    band[base - rows : base + 3] = 0.1
    band[base - 2 : base + 2] = 0.7
    band[base + 3 :] = -0.2
    return band


def made(thickness, rows=50, normal=True):
    pixels, retina = phantom(thickness)
    flat = flatten(pixels, retina, spacing=SPACING)
    drawn = drawn_as(flat, rows)
    change = unflatten(flat.pixels - drawn, flat)
    seen = np.full(pixels.shape, normal)
    return pixels, retina, whole_counterpart(pixels, retina, flat, change, drawn, seen)


def test_the_vitreous_keeps_its_level_and_its_noise():
    pixels, retina, found = made(75)
    vitreous = np.arange(HEIGHT)[:, None] < retina.ilm - 20
    np.testing.assert_allclose(found[vitreous], pixels[vitreous], atol=1e-6)
    # also where it is remarkable, and hence drawn anew from what lies elsewhere
    pixels, _, found = made(75, normal=False)
    assert found[vitreous].mean() == pytest.approx(pixels[vitreous].mean(), rel=0.05)
    assert found[vitreous].std() == pytest.approx(pixels[vitreous].std(), rel=0.1)


def test_of_a_dome_nothing_is_left_above_the_band():
    columns = np.arange(WIDTH)
    dome = 75 + 130 * np.exp(-(((columns - 120) / 40) ** 2))  # up to 820 micrometres: the band ends at 480
    pixels, _, found = made(dome)
    top = BASE - round(BAND.above / SPACING.axial)
    above = slice(0, top - 2), slice(100, 140)
    outside = slice(0, top - 2), slice(0, 40)
    assert pixels[above].mean() > 1.5 * pixels[outside].mean()
    assert found[above].mean() == pytest.approx(found[outside].mean(), rel=0.1)
    assert found[above].std() == pytest.approx(found[outside].std(), rel=0.2)
    middle = found[top - 30 : top + 30, 100:140].mean(axis=1)  # and no seam at the edge of the band
    assert np.abs(np.diff(middle)).max() < 12


def test_the_heat_of_each_depth_is_measured_by_what_is_normal_there():
    """Hot rows of normals are no news: a cavity with half their heat at a calm depth is hotter than they are."""
    view, spec = RetinaView(), ImageSpec(1, 16, view="retina", parts=True)
    source = Scans(tuple((retina_scan(seed, 400, 128).pixels,) for seed in (1, 2)))
    scans = list(view.prepare(source, [0, 1], spec, Settings(), True))

    def heat_of(one, cavity=0.0):
        height, width = one.flat.pixels.shape
        usual = np.where(np.abs(np.arange(height) - 80) < 5, 0.4, 0.05)[:, None] * np.ones(width)
        usual[40:56, 40:72] += cavity
        return np.stack([usual[r : r + 16, c : c + 16] for r, c in one.positions.tolist()])

    def results_of(one):
        results, heat = one.results(), torch.from_numpy(heat_of(one))
        results.take(heat, heat, heat)
        return results

    reference = view.refer((one, results_of(one), None) for one in scans)
    rows = np.array(reference["heat"])
    assert rows.shape == (BAND.height,)
    assert rows[80] == pytest.approx(0.4, rel=0.01)
    assert rows[48] == pytest.approx(0.05, rel=0.01)
    (one, _) = view.against(reference).prepare(source, [0, 1], spec, Settings(), True)
    assert one.heat(heat_of(one)) == pytest.approx(1, abs=0.02)  # a normal is 1 everywhere
    hot = one.native(torch.zeros(len(one.squares), 1, 16, 16), torch.zeros(1), torch.from_numpy(heat_of(one, 0.2)), 2.0)
    cavity = unflatten(np.pad(np.ones((12, 28)), ((42, 46), (42, one.flat.pixels.shape[1] - 70))), one.flat) == 1
    assert hot.heatmap[cavity].min() > 1.5
    assert hot.heatmap[~cavity].mean() < 0.6
    assert view.refer([]) == {}
