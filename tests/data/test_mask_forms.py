"""Masks in every form that data sets have, read as an evaluation reads them: what is marked must be what was drawn."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from anotwin.domains.open import open_source

TRUTH = np.zeros((40, 56), bool)  # whole blocks of JPEG
TRUTH[8:24, 16:40] = True
ONE = TRUTH.astype(np.uint8)
FULL = np.full(TRUTH.shape, 255, np.uint8)


def palette(values, colours):
    image = Image.fromarray(values, "P")
    image.putpalette(colours)
    return image


def rgba(colour, alpha):
    return Image.fromarray(np.dstack([*np.broadcast_arrays(*colour), alpha]).astype(np.uint8), "RGBA")


FORMS = {
    "01.png": Image.fromarray(ONE),
    "255.png": Image.fromarray(ONE * 255),
    "38.png": Image.fromarray(ONE * 38),
    "255.bmp": Image.fromarray(ONE * 255),
    "1bit.png": Image.fromarray(TRUTH),
    "1bit.tif": Image.fromarray(TRUTH),
    "pascal.png": palette(ONE, [0, 0, 0, 128, 0, 0]),
    "white.png": palette(1 - ONE, [255, 255, 255, 0, 0, 0]),  # the colours count, not their numbers
    "quantised.png": Image.fromarray(ONE * 255).convert("RGB").quantize(2),
    "red.png": Image.fromarray(np.dstack([ONE * 255, ONE * 0, ONE * 0])),
    "viridis.png": Image.fromarray(np.where(TRUTH[..., None], [253, 231, 37], [68, 1, 84]).astype(np.uint8)),
    "opaque.png": rgba([ONE * 255] * 3, FULL),
    "layer.png": rgba([ONE * 200, ONE * 0, ONE * 0], ONE * 128),
    "black layer.png": rgba([ONE * 0] * 3, ONE * 255),
    "white layer.png": rgba([FULL] * 3, ONE * 255),
    "grey layer.png": Image.fromarray(np.dstack([FULL, ONE * 255]), "LA"),
    "16.png": Image.fromarray(ONE.astype(np.uint16) * 65535),
    "16, 0 and 1.png": Image.fromarray(ONE.astype(np.uint16)),
    "float.tif": Image.fromarray(ONE.astype(np.float32)),
    "lossless.webp": Image.fromarray(np.dstack([ONE * 255] * 3)),
    "255.gif": Image.fromarray(ONE * 255),
    "255.jpg": Image.fromarray(ONE * 255),
    "60.jpg": Image.fromarray(ONE * 60),
    "video levels.jpg": Image.fromarray(ONE * 219 + 16),
}


def marked(root: Path, mask: Image.Image, name: str, **options: object) -> np.ndarray:
    """The mask of an image in the layout of MVTec AD."""
    for folder in ("train/good", "test/bad", "ground_truth/bad"):
        (root / folder).mkdir(parents=True)
    shape = (mask.height, mask.width)
    for folder in ("train/good", "test/bad"):
        Image.fromarray(np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)).save(root / folder / "1.png")
    mask.save(root / "ground_truth/bad" / f"1_mask{Path(name).suffix}", **options)
    found = open_source(root, "test").read_mask(0)
    assert found is not None
    return found


@pytest.mark.parametrize("name", FORMS)
def test_every_form_marks_what_was_drawn(tmp_path, name):
    options = {"lossless": True} if name.endswith("webp") else {}
    np.testing.assert_array_equal(marked(tmp_path, FORMS[name], name, **options), TRUTH)


@given(st.integers(15, 95), st.integers(0, 2**32 - 1))
def test_noise_of_jpeg_is_not_marked(tmp_path_factory, quality, seed):
    """Blobs that end anywhere in the blocks of JPEG: right but for the pixels next to an edge."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((48, 48), bool)
    row, column = rng.integers(4, 20, 2)
    truth[row : row + 20, column : column + 17] = True
    mask = Image.fromarray(truth.astype(np.uint8) * 255)
    wrong = marked(tmp_path_factory.mktemp("jpeg"), mask, "m.jpg", quality=quality) != truth
    inner, outer = truth.copy(), truth.copy()
    for axis in (0, 1):
        inner &= np.roll(inner, 1, axis) & np.roll(inner, -1, axis)
        outer |= np.roll(outer, 1, axis) | np.roll(outer, -1, axis)
    assert not (wrong & (inner | ~outer)).any()
