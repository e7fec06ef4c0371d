"""Lines of scans whose contrast was changed: those of the scan as it was, or a refusal."""

import numpy as np
import pytest
from PIL import Image
from skimage import exposure

from anotwin.domains.oct.layers.tone import tones
from anotwin.domains.oct.records import Spacing
from anotwin.domains.oct.synthetic.retina import Appearance, Lesion, retina_scan
from made_scans import retina_of

CHANGES = {
    "CLAHE": lambda x: exposure.equalize_adapthist(x, clip_limit=0.03),
    "weak CLAHE": lambda x: exposure.equalize_adapthist(x, clip_limit=0.01),
    "equalised": exposure.equalize_hist,
    "gamma 0.4": lambda x: x**0.4,
    "gamma 2.5": lambda x: x**2.5,
    "linear": lambda x: np.exp(x * 8.285 - 8.3),
    "stretched": lambda x: np.clip((x - 0.15) / 0.5, 0, 1),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_lines_are_right_whatever_was_done_to_the_contrast(name, seed):
    lesions = ([], [Lesion("cyst", 300, 200, at=0.4)], [Lesion("fluid", 1000, 150)])[seed]
    truth = retina_scan(seed, lesions=lesions, appearance=Appearance(depth=0.4))
    changed = np.asarray(np.clip(CHANGES[name](truth.pixels / 255), 0, 1) * 65535, np.uint16)
    retina = retina_of(changed, truth.spacing)
    assert retina.reason == ""
    assert np.abs(retina.ilm - truth.ilm).mean() * 3.87 < 20
    assert np.abs(retina.rpe - truth.rpe).mean() * 3.87 < 22


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_choroid_as_bright_as_the_rpe_does_not_draw_its_line(seed):
    """As local equalisation leaves it where light goes deep."""
    truth = retina_scan(seed, appearance=Appearance(depth=0.2, bend=0.02))
    rows = np.arange(496)[:, None]
    depth = (rows - truth.rpe) * 3.87
    grain = np.random.default_rng(seed).gamma(40, 1 / 40, truth.pixels.shape)
    deep = 170 * np.clip((420 - depth) / 120, 0, 1) * grain
    pixels = np.where(depth > 26, np.maximum(deep, truth.pixels), truth.pixels)
    retina = retina_of(np.clip(pixels, 0, 254).astype(np.uint8), truth.spacing)
    assert retina.reason == ""
    assert np.abs(retina.rpe - truth.rpe).mean() * 3.87 < 22


@pytest.mark.parametrize("seed", range(4))
def test_inverted_greys_are_refused_for_what_they_are(seed):
    truth = retina_scan(seed, appearance=Appearance(depth=0.1 + 0.2 * seed))
    reason = retina_of(254 - truth.pixels, truth.spacing).reason
    assert reason == "no retina found: half of the picture is nearly white; are its greys inverted? Turn them over"


def test_half_the_size():
    truth = retina_scan(4, appearance=Appearance(depth=0.4))
    half = np.asarray(Image.fromarray(truth.pixels).resize((256, 248), Image.Resampling.BILINEAR))
    retina = retina_of(half, Spacing(7.74, 23.0))
    assert np.abs(retina.ilm * 2 + 0.5 - truth.ilm[::2]).mean() < 3
    assert np.abs(retina.rpe * 2 + 0.5 - truth.rpe[::2]).mean() < 3


@pytest.mark.parametrize("power", [0.2, 0.4, 1.0, 2.5, 6.0])
def test_a_power_is_undone(power):
    x = np.random.default_rng(0).random((128, 128)).astype(np.float32) ** 3
    smooth = np.kron(x[::4, ::4], np.ones((4, 4), np.float32))
    there = smooth >= 0
    *_, other = tones(smooth**power, there)
    assert 0.19 < np.percentile(other, 80) / np.percentile(other, 99.5) < 0.46
    assert (np.diff(other.ravel()[np.argsort(smooth.ravel())]) >= 0).all()


def test_usual_grey_levels_are_left_as_they_are():
    for seed in range(4):
        values = retina_scan(seed).pixels.astype(np.float32)
        (only,) = tones(values, values < 255)
        assert only is values
    nothing = np.zeros((64, 64), np.float32)
    for known in (nothing > 0, nothing == 0):
        (only,) = tones(nothing, known)
        assert only is nothing
