"""Pictures with lines drawn into them are refused; grey scans that were saved as colour are not."""

import io

import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image

from anotwin.domains.oct.layers.mask import as_scan
from anotwin.domains.oct.synthetic.retina import Appearance, retina_scan

ACROSS = np.arange(512)


@pytest.fixture(scope="module")
def truth():
    return retina_scan(3, appearance=Appearance(depth=0.3, shift=20, shear=20))


def jpeg(pixels, quality, chroma=2):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=chroma)
    return np.asarray(Image.open(file))


def colour(pixels):
    return np.repeat(pixels[:, :, None], 3, axis=2)


def with_line(truth, value, rows=1):
    pixels = colour(truth.pixels) if isinstance(value, tuple) else truth.pixels.copy()
    for row in range(rows):
        pixels[np.rint(truth.ilm).astype(int) + 30 + row, ACROSS] = value
    return pixels


@pytest.mark.parametrize("value", [(255, 0, 0), (0, 255, 255), (255, 255, 0), (0, 0, 160)])
@pytest.mark.parametrize("quality", [None, 95, 75])
def test_one_coloured_line_of_one_pixel_is_enough(truth, value, quality):
    pixels = with_line(truth, value)
    _, reason = as_scan(pixels if quality is None else jpeg(pixels, quality))
    assert reason.startswith("a colour picture: the channels of its most coloured parts differ by ")
    assert reason.endswith("of the brightest; expected a grey OCT B-scan, exported without drawings")


def test_a_caliper_and_false_colours(truth):
    pixels = colour(truth.pixels)
    pixels[100, 100:150] = pixels[90:110, 100] = 0, 255, 0
    assert as_scan(pixels)[1].startswith("a colour picture")
    for name in ("jet", "viridis", "hot"):
        false = np.rint(colormaps[name](truth.pixels)[:, :, :3] * 255).astype(np.uint8)
        assert as_scan(false)[1].startswith("a colour picture")


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_a_white_line(truth, rows):
    _, reason = as_scan(with_line(truth, 255, rows))
    assert reason.startswith("a line is drawn into it, white")
    assert as_scan(with_line(truth, 255, rows).astype(np.uint16) * 257)[1] == reason


@pytest.mark.parametrize("quality", [None, 95, 75, 40])
@pytest.mark.parametrize("chroma", [0, 2])
@pytest.mark.parametrize("tint", [None, (1.0, 0.85, 0.65), (0.9, 0.95, 1.0)])
def test_grey_and_tinted_scans_saved_as_colour_are_scans(truth, quality, chroma, tint):
    pixels = colour(truth.pixels)
    if tint is not None:
        pixels = np.rint(pixels * np.array(tint)).astype(np.uint8)
    values, reason = as_scan(pixels if quality is None else jpeg(pixels, quality, chroma))
    assert reason == ""
    assert values is not None
    assert values.shape == truth.pixels.shape


def test_a_tint_hides_no_drawn_line(truth):
    pixels = np.rint(with_line(truth, (0, 255, 255), 2) * np.array([1.0, 0.85, 0.65])).astype(np.uint8)
    assert as_scan(pixels)[1].startswith("a colour picture")


def test_bright_tissue_and_the_edges_of_white_corners_are_no_drawn_lines():
    for seed in range(6):
        assert as_scan(retina_scan(seed, appearance=Appearance(gain=1.4, shift=20, shear=30)).pixels)[1] == ""


def test_noise_in_the_channels_is_no_colour(truth):
    noise = np.random.default_rng(0).normal(0, 3, (*truth.pixels.shape, 3))
    assert as_scan(np.clip(colour(truth.pixels) + noise, 0, 255).astype(np.uint8))[1] == ""
