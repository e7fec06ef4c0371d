"""Pictures saved and read back; colours against closed forms."""

import matplotlib
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from anotwin.errors import DataError
from anotwin.records import Finding
from anotwin.report.files import picture_name
from anotwin.report.overlay import display_window, heat_rgb, overlay, save_pictures, save_png, to_display

RNG = np.random.default_rng(0)
QUICK = settings(derandomize=True, deadline=None, max_examples=60)


@QUICK
@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6)))
def test_eight_bits_are_shown_as_they_are(pixels):
    shown = to_display(pixels)
    assert shown.dtype == np.uint8
    assert all((shown[..., channel] == pixels).all() for channel in range(3))


@QUICK
@given(
    hnp.arrays(np.float32, (3, 4), elements=st.floats(width=32)),
    st.floats(-1e3, 1e3),
    st.floats(1e-2, 1e3),
)
def test_display_is_the_clipped_line_between_black_and_white(pixels, black, span):
    shown = to_display(pixels, black, black + span)[..., 0]
    for value, got in zip(pixels.ravel(), shown.ravel(), strict=True):
        share = 0.0 if np.isnan(value) else min(max((float(value) - black) / span, 0.0), 1.0)
        assert abs(got - 255 * share) <= 0.5 + 1e-6


def test_window_uses_the_bulk_of_deep_pixels():
    pixels = RNG.integers(100, 4000, (64, 64)).astype(np.uint16)
    pixels[0, 0] = 65535  # a hot pixel
    black, white = display_window(pixels)
    assert 100 <= black < 120
    assert 3900 < white <= 4000
    assert display_window(np.zeros((2, 2), np.uint8)) == (0.0, 255.0)
    assert display_window(np.full((2, 2), 7.0, np.float32)) == (6.5, 7.5)
    assert display_window(np.full((2, 2), np.nan, np.float32)) == (0.0, 1.0)
    with pytest.raises(DataError, match="black below white"):
        to_display(pixels, 5, 5)


def test_heat_grows_lighter_and_a_good_image_stays_dark():
    ramp = heat_rgb(np.linspace(0, 2, 200)[None])[0].astype(float)
    luminance = ramp @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luminance) >= -0.7).all()  # up to the rounding of the map to 8 bits
    assert luminance[20] < 15  # heat 0.2, the bulk of a normal image
    assert luminance[-1] > 150
    assert (heat_rgb(np.array([[2.0, 50.0, np.inf]])) == heat_rgb(np.array([[2.0]]))).all()
    assert (heat_rgb(np.array([[np.nan, -1.0]])) == heat_rgb(np.array([[0.0]]))).all()
    expected = np.array(matplotlib.colormaps["inferno"](0.87 / 2, bytes=True)[:3])
    assert (heat_rgb(np.array([[1.0]]))[0, 0] == expected).all()


@pytest.mark.parametrize("shape", [(28, 28), (31, 17, 3)])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_without_heat_the_overlay_is_the_image_in_grey(shape, kind):
    pixels = (RNG.random(shape) * 255).astype(kind)
    drawn = overlay(pixels, np.full(shape[:2], 0.5, np.float32), (0.0, 255.0))
    assert drawn.shape == (*shape[:2], 3)
    assert (drawn[..., 0] == drawn[..., 1]).all()
    assert (drawn[..., 0] == drawn[..., 2]).all()
    grey = to_display(pixels).astype(float) @ [0.299, 0.587, 0.114]
    assert np.abs(drawn[..., 0] - grey).max() <= 1


def test_full_heat_covers_four_fifths():
    drawn = overlay(np.full((2, 2), 100, np.uint8), np.full((2, 2), 9.0))
    assert np.abs(drawn - (0.2 * 100 + 0.8 * heat_rgb(np.full((2, 2), 9.0)))).max() <= 0.5
    with pytest.raises(DataError, match="same height and width"):
        overlay(np.zeros((2, 3), np.uint8), np.zeros((3, 2)))


@pytest.mark.parametrize(
    ("kind", "shape"), [(np.uint8, (5, 7)), (np.uint8, (5, 7, 3)), (np.uint16, (5, 7)), (np.uint8, (1, 1))]
)
def test_png_keeps_every_bit(tmp_path, kind, shape):
    pixels = RNG.integers(0, np.iinfo(kind).max + 1, shape).astype(kind)
    path = save_png(pixels[::-1], tmp_path / "new" / "a.png")  # a view with negative strides
    with Image.open(path) as image:
        assert image.format == "PNG"
        back = np.asarray(image)
    assert back.dtype == kind
    assert (back == pixels[::-1]).all()


@pytest.mark.parametrize(("kind", "shape"), [(np.float32, (5, 7)), (np.float32, (5, 3, 3)), (np.uint16, (4, 6, 3))])
def test_what_png_cannot_hold_becomes_a_tiff(tmp_path, kind, shape):
    pixels = (RNG.random(shape) * 1000).astype(kind)
    path = save_png(pixels, tmp_path / "scan.7.png")
    assert path.name == "scan.7.tif"
    back = tifffile.imread(path)
    assert back.dtype == kind
    assert (back == pixels).all()


@pytest.mark.parametrize("array", [np.zeros((2, 2)), np.zeros((2, 2, 4), np.uint8), np.zeros((0, 2), np.uint8)])
def test_what_is_no_picture_is_refused(tmp_path, array):
    with pytest.raises(DataError, match="expected"):
        save_png(array, tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_a_picture_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = save_png(np.zeros((4, 4), np.uint8), tmp_path / "a.png")
    before = path.read_bytes()

    def full(_image, target, **_options):
        target.write_bytes(b"half a picture")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(DataError, match=r"cannot write .*a\.png: No space left on device"):
        save_png(np.ones((4, 4), np.uint8), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_pictures_of_a_finding(tmp_path):
    query = RNG.integers(0, 4096, (49, 51)).astype(np.uint16)
    heat = np.zeros((49, 51), np.float32)
    heat[10:20, 10:20] = 3
    for name in ("../../out.png", "/abs/a.jpg", "/abs/a.png"):
        found = Finding(name, query=query, counterpart=query // 2, heatmap=heat)
        save_pictures(found, tmp_path / "out", picture_name(name))
    save_pictures(Finding("error.png", error="unreadable"), tmp_path / "out", "error.png")
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    names = ["%/abs/a.png", "%/abs/a~jpg.png", "%2E%2E/%2E%2E/out.png"]
    assert files == [f"out/{kind}/{name}" for kind in ("counterparts", "heatmaps") for name in names]
    with Image.open(tmp_path / "out" / files[0][4:]) as image:
        assert (np.asarray(image) == query // 2).all()
    with Image.open(tmp_path / "out" / files[3][4:]) as image:
        drawn = np.asarray(image).astype(int)
    assert drawn.shape == (49, 51, 3)
    hot = np.abs(drawn[..., 0] - drawn[..., 2]) > 50
    assert (hot == (heat > 0)).all()
