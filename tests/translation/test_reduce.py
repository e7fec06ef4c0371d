"""The reduction against the kernel written out, and against published low-resolution images."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anotwin.data.arrays import from_arrays
from anotwin.data.pixels import read_pixels
from anotwin.errors import DataError
from anotwin.translation.reduce import Reduced, reduced


def keys(x: np.ndarray) -> np.ndarray:
    """Cubic convolution with a = -1/2 (Keys 1981, eq. 4)."""
    x = np.abs(x)
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


def one_axis(values: np.ndarray, factor: int) -> np.ndarray:
    """(H, W) -> (H / factor, W), weights of every pixel written out, the border mirrored."""
    count, margin = len(values), 4 * factor
    rows = np.pad(values.astype(np.float64), ((margin, margin), (0, 0)), mode="symmetric")
    places = np.arange(len(rows)) - margin
    out = []
    for place in range(count // factor):
        weights = keys(((place + 0.5) * factor - 0.5 - places) / factor)
        out.append((weights / weights.sum()) @ rows)
    return np.array(out)


@given(height=st.integers(4, 23), width=st.integers(4, 23), factor=st.sampled_from([2, 4]), seed=st.integers(0, 99))
@settings(derandomize=True, deadline=None, max_examples=25)
def test_floats_are_reduced_by_the_kernel_as_written_out(height: int, width: int, factor: int, seed: int) -> None:
    image = np.random.default_rng(seed).random((height, width)).astype(np.float32)
    cut = image[: height // factor * factor, : width // factor * factor]
    expected = one_axis(one_axis(cut, factor).T, factor).T
    np.testing.assert_allclose(reduced(image, factor), expected, atol=2e-6)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_integers_are_rounded_and_clipped_after_each_axis(kind: type) -> None:
    most = np.iinfo(kind).max
    image = np.random.default_rng(0).choice([0, most], (24, 16)).astype(kind)  # overshoots at every edge
    rows = np.clip(np.rint(one_axis(image, 2)), 0, most)
    expected = np.clip(np.rint(one_axis(rows.T, 2).T), 0, most)
    found = reduced(image, 2)
    assert found.dtype == kind
    assert np.abs(found.astype(int) - expected).max() <= 1  # a half may be rounded to the other side
    assert (found == expected).mean() > 0.95


def test_colours_are_reduced_each_by_itself() -> None:
    image = np.random.default_rng(1).integers(0, 256, (9, 14, 3), np.uint8)
    assert reduced(image, 4).shape == (2, 3, 3)
    for channel in range(3):
        assert np.array_equal(reduced(image, 4)[:, :, channel], reduced(image[:, :, channel], 4))


def test_an_image_too_small_is_named() -> None:
    source = Reduced(from_arrays([np.zeros((3, 9), np.uint8)], prefix="tiny"), 4)
    with pytest.raises(DataError, match="tiny-00000: image of 9 x 3 pixels: too small to be reduced by 4"):
        source.read(0)


def test_published_low_resolution_images_are_met() -> None:
    data = Path(os.environ.get("ANOTWIN_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
    folder = data / "superresolution" / "Set5" / "x4"
    if not folder.is_dir():
        pytest.skip("needs superresolution/Set5 of SelfExSR (Huang et al. 2015) below ANOTWIN_DATA")
    for path in sorted((folder / "HR").glob("*.png")):
        published = read_pixels(folder / "LR" / path.name).astype(int)
        apart = np.abs(reduced(read_pixels(path), 4) - published)
        assert apart.mean() < 0.1, path.name
        assert (apart == 0).mean() > 0.95, path.name
