"""Files from other people's work that were misread, where the machine has them: lines, what is left out, refusals."""

from pathlib import Path

import numpy as np
import pytest

from anotwin.domains.oct.formats.files import file_volumes, read_slice
from anotwin.domains.oct.layers.mask import as_scan, known_pixels
from made_scans import retina_of

CASES = Path(__file__).parents[4] / "shared/cases/oct"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="no ../shared/cases on this machine")


def read(name):
    path = CASES / name
    (volume,) = file_volumes(path)
    pixels = read_slice(path, 0, 0)
    return pixels, retina_of(pixels, volume.spacing)


def test_invalid_pixels_of_a_spectralis_scan():
    pixels, retina = read("black_border/normal.vol")
    values, _ = as_scan(pixels)
    known = known_pixels(values, True)
    assert not known[:5].any()
    assert not known[:, :6].any()
    assert known[12:, 14:].all()
    assert retina.reason == ""
    assert not retina.valid[:6].any()
    assert retina.valid[20:].all()


def test_padding_is_no_vitreous():
    _, retina = read("black_border/padded.jpg")
    assert retina.reason == ""
    assert (retina.ilm > 228).all()  # the seam is at row 224
    assert np.median(retina.ilm) == pytest.approx(285, abs=15)


def test_the_disc_is_left_out():
    _, retina = read("disc/healthy_with_disc.vol")
    (disc,) = [one for one in retina.left_out if one.kind == "disc"]
    assert disc.first == 0
    assert 35 < disc.last < 90
    assert not retina.valid[: disc.last].any()
    assert retina.valid[disc.last + 2 : 755].all()


def test_drawn_lines():
    _, retina = read("overlays/drawn_lines.png")
    assert retina.reason.startswith("a colour picture")


def test_clahe():
    """The RPE by eye at six places; the line lay in the choroid, 60 rows lower."""
    _, retina = read("contrast/clahe.jpg")
    assert retina.reason == ""
    rows = retina.rpe[[100, 200, 500, 600, 800, 950]]
    np.testing.assert_allclose(rows, [281, 303, 313, 300, 244, 183], atol=8)
