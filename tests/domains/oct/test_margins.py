"""What is unknown in a scan: margins of any value, and nothing else; lines do not lie on their seams."""

import io

import numpy as np
import pytest
from oct_writers import write_vol
from PIL import Image

from anotwin.domains.oct.flatten import flatten
from anotwin.domains.oct.formats.files import read_slice
from anotwin.domains.oct.layers.mask import as_scan, known_pixels
from anotwin.domains.oct.records import Spacing
from anotwin.domains.oct.synthetic.retina import Appearance, retina_scan
from made_scans import retina_of

PLAIN = Appearance(depth=0.3, bend=0.03)


def scan(seed=0, **changes):
    return retina_scan(seed, appearance=Appearance(**{"depth": 0.3, "bend": 0.03, **changes}))


def jpeg(pixels, quality=75):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def known(pixels):
    values, reason = as_scan(pixels)
    assert reason == ""
    return known_pixels(values, pixels.dtype == np.uint8)


def padded(pixels, value, top=0, bottom=0, left=0, right=0):
    return np.pad(pixels, ((top, bottom), (left, right)), constant_values=value)


FORMS = {
    "8 bits": lambda pixels: pixels,
    "JPEG": jpeg,
    "poor JPEG": lambda pixels: jpeg(pixels, 40),
    "16 bits": lambda pixels: pixels.astype(np.uint16) * 257,
    "float": lambda pixels: pixels.astype(np.float32) / 255,
}


SIDES = [{"top": 120}, {"top": 60, "bottom": 70}, {"left": 50, "right": 64}, {"top": 9, "left": 6}]
# every form with every value, every form with every pair of sides
CASES = [(form, value, SIDES[(f + v) % 4]) for f, form in enumerate(FORMS) for v, value in enumerate((0, 128, 255, 60))]


@pytest.mark.parametrize(("form", "value", "sides"), CASES)
def test_padding_of_any_value_is_unknown_and_the_lines_are_those_without_it(form, value, sides):
    truth = scan()
    pixels = FORMS[form](padded(truth.pixels, value, **sides))
    top, left = sides.get("top", 0), sides.get("left", 0)
    inside = np.zeros(pixels.shape, bool)
    inside[top : top + 496, left : left + 512] = True
    there = known(pixels)
    # JPEG mixes a margin with the scan over a block of 8 pixels: a thin one may not be told from a dim scan then
    assert there[~inside].mean() <= (0 if "JPEG" not in form else 0.01 if max(sides.values()) > 16 else 1)
    assert there[inside].mean() > 0.94
    retina = retina_of(pixels, truth.spacing)
    assert retina.reason == ""
    assert np.abs(retina.ilm[left : left + 512] - top - truth.ilm).mean() < 2
    assert np.abs(retina.rpe[left : left + 512] - top - truth.rpe).mean() < 2
    if left > 16:
        assert not retina.valid[:left].any()


@pytest.mark.parametrize("margin", [0, 60, 255])
@pytest.mark.parametrize("shear", [-40, 40])
def test_slanted_corners_of_a_registration_are_unknown_whatever_their_value(margin, shear):
    truth = scan(2, shift=25, shear=shear, margin=margin, left=12)
    there = known(truth.pixels)
    assert not there[truth.white].any()
    assert there[~truth.white].mean() > 0.95
    retina = retina_of(truth.pixels, truth.spacing)
    used = retina.valid & ~truth.white[np.clip(truth.ilm.astype(int), 0, 495), np.arange(512)]
    assert np.abs(retina.ilm - truth.ilm)[used].mean() < 2
    assert np.abs(retina.rpe - truth.rpe)[used].mean() < 2
    assert [str(one) for one in retina.left_out if one.last < 40] == ["nothing but margin in columns 0 to 15"]


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99, 1.0])
def test_a_vitreous_that_the_scanner_cut_off_at_black_is_no_margin(share):
    """So many of its pixels are 0, as Cirrus and Topcon show it."""
    truth = scan(4)
    vitreous = np.arange(496)[:, None] < truth.ilm - 1
    rng = np.random.default_rng(0)
    pixels = truth.pixels.copy()
    pixels[vitreous & (rng.random(pixels.shape) < share)] = 0
    there = known(pixels)
    near = vitreous & (np.arange(496)[:, None] > truth.ilm - 30)
    assert there[near].mean() > 0.9
    retina = retina_of(pixels, truth.spacing)
    assert np.abs(retina.ilm - truth.ilm).mean() < 2
    assert retina.valid.all()


def test_a_black_margin_over_a_vitreous_cut_off_at_black():
    truth = scan(4)
    vitreous = np.arange(496)[:, None] < truth.ilm - 1
    pixels = truth.pixels.copy()
    pixels[vitreous & (np.random.default_rng(0).random(pixels.shape) < 0.8)] = 0
    pixels = padded(pixels, 0, top=100)
    assert not known(pixels)[:100].any()
    retina = retina_of(pixels, truth.spacing)
    assert np.abs(retina.ilm - 100 - truth.ilm).mean() < 2


def test_words_and_a_scale_bar_in_a_margin_are_part_of_it():
    truth = scan(1)
    pixels = padded(truth.pixels, 0, top=100)
    rng = np.random.default_rng(0)
    pixels[20:32, 30:130] = np.where(rng.random((12, 100)) < 0.3, 255, 0)
    pixels[60, 400:450] = 255
    assert not known(pixels)[:100].any()
    retina = retina_of(pixels, truth.spacing)
    assert np.abs(retina.ilm - 100 - truth.ilm).mean() < 2


def test_scans_without_margins_are_known_all_over():
    for seed in range(6):
        assert known(scan(seed).pixels).all()


def test_what_is_unknown_does_not_reach_the_flattened_retina():
    truth = scan(3, depth=0.1)
    plain = retina_of(truth.pixels, truth.spacing)
    one = flatten(truth.pixels, plain, spacing=truth.spacing)
    pixels = padded(truth.pixels, 0, top=40, left=30)
    retina = retina_of(pixels, truth.spacing)
    other = flatten(pixels, retina, spacing=truth.spacing)
    assert not other.valid[:, : int(29 / other.columns)].any()
    assert other.pixels.min() > one.pixels.min() - 0.1  # black is nowhere


def test_invalid_pixels_of_a_vol_file_are_unknown(tmp_path):
    truth = scan(5)
    light = np.exp(truth.pixels / 255 * 8.285 - 8.3).astype(np.float32)
    light[:30], light[:, :20] = np.finfo(np.float32).max, np.finfo(np.float32).max
    light[:, 300:][: 30 + 60] = np.finfo(np.float32).max  # the eye moved: not along a straight seam
    path = write_vol(tmp_path / "a.vol", light[None])
    pixels = read_slice(path, 0, 0)
    there = known(pixels)
    assert not there[:30].any()
    assert not there[:, :20].any()
    assert not there[:90, 300:].any()
    retina = retina_of(pixels, truth.spacing)
    used = retina.valid & ~((np.arange(512) >= 300) & (truth.ilm < 95))
    assert np.abs(retina.ilm - truth.ilm)[used].mean() < 2
    assert not retina.valid[:20].any()


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((1024, 512), Spacing(1.95, 11.7)), ((885, 512), Spacing(2.6, 11.7)), ((496, 1024), Spacing(3.87, 5.75))],
)
@pytest.mark.parametrize("value", [0, 90])
def test_margins_of_other_devices(shape, spacing, value):
    truth = retina_scan(6, *shape, appearance=PLAIN, spacing=spacing)
    pixels = padded(truth.pixels[80:], value, top=80)
    retina = retina_of(pixels, spacing)
    assert retina.reason == ""
    assert np.abs(retina.ilm - truth.ilm).mean() * spacing.axial < 8
    assert np.abs(retina.rpe - truth.rpe).mean() * spacing.axial < 8


def test_the_outer_columns_do_not_decide():
    truth = scan(0, left=40)
    retina = retina_of(truth.pixels, truth.spacing)
    columns = np.flatnonzero(retina.decides)
    shown = np.flatnonzero(retina.valid)
    outer = min(round(0.06 * len(shown)), round(350 / 11.5))
    assert columns[0] == pytest.approx(shown[0] + outer, abs=3)
    assert columns[-1] == pytest.approx(511 - outer, abs=3)
    assert not (retina.decides & ~retina.valid).any()
