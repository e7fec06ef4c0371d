"""Pixels as a person sees them: turned as the tag says, without what is transparent."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from made_pictures import DEEP, GREY, RGB, RNG, XMP, chunk, exif, png, refused, same, turned
from PIL import Image, ImageOps

from anotwin.data.pixels import image_shape, read_pixels, read_stored
from anotwin.data.tiff import page_shapes

# -- turned -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("colour", [False, True])
def test_every_orientation_in_every_format(tmp_path: Path, suffix: str, orientation: int, colour: bool) -> None:
    smooth = np.add.outer(np.arange(24) * 5, np.arange(40) * 3).astype(np.uint8)
    pixels = np.stack([smooth, 255 - smooth, smooth // 2], 2) if colour else smooth
    more: dict[str, Any] = {"lossless": True} if suffix == ".webp" else {"quality": 95, "subsampling": 0}
    if suffix == ".tif":
        more = {"tiffinfo": {274: orientation}}
    path = tmp_path / f"a{suffix}"
    block = Image.Exif()
    block[274] = orientation
    Image.fromarray(pixels).save(path, exif=block, **(more if suffix != ".png" else {}))
    got = read_pixels(path)
    if suffix != ".tif":  # Pillow 13 garbles a turned TIFF without compression
        with Image.open(path) as image:
            np.testing.assert_array_equal(got, np.asarray(ImageOps.exif_transpose(image)))
    shown = turned(pixels, orientation)
    if got.ndim == 3 and shown.ndim == 2:
        shown = np.repeat(shown[:, :, None], 3, 2)  # WebP has no grey
    assert np.abs(got.astype(int) - shown).max() <= (8 if suffix == ".jpg" else 0)
    if suffix != ".tif":
        assert image_shape(path) == got.shape[:2]
    else:
        assert page_shapes(path) == [got.shape[:2]]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("values", [GREY, DEEP, DEEP.astype(np.float32), GREY > 99])
def test_every_orientation_of_tiff_at_full_depth(tmp_path: Path, values: Any, byteorder: Any, orientation: int) -> None:
    photometric = "rgb" if values.ndim == 3 else "minisblack"
    tags = [(274, "H", 1, orientation, True)]
    tifffile.imwrite(tmp_path / "a.tif", values, photometric=photometric, byteorder=byteorder, extratags=tags)
    expected = np.where(values, 255, 0).astype(np.uint8) if values.dtype == bool else values
    same(read_pixels(tmp_path / "a.tif"), np.ascontiguousarray(turned(expected, orientation)))
    assert page_shapes(tmp_path / "a.tif") == [turned(values, orientation).shape[:2]]


def test_pages_are_turned_each_by_its_own_tag(tmp_path: Path) -> None:
    pages = RNG.integers(0, 256, (8, 9, 13), dtype=np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for number, page in enumerate(pages):
            file.write(page, photometric="minisblack", extratags=[(274, "H", 1, number + 1, True)], contiguous=False)
    shapes = page_shapes(tmp_path / "a.tif")
    for number, page in enumerate(pages):
        expected = turned(page, number + 1)
        same(read_pixels(tmp_path / "a.tif", number), np.ascontiguousarray(expected))
        assert shapes[number] == expected.shape


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_pages_that_pillow_decodes_are_the_right_ones_and_turned_once(tmp_path: Path, orientation: int) -> None:
    pages = [Image.fromarray(page) for page in RNG.integers(0, 256, (3, 20, 31), dtype=np.uint8)]
    pages[0].save(
        tmp_path / "a.tif",
        compression="tiff_lzw",
        save_all=True,
        append_images=pages[1:],
        tiffinfo={274: orientation},
    )
    for number, page in enumerate(pages):
        with Image.open(tmp_path / "a.tif") as stored:
            stored.seek(number)
            told = stored.getexif().get(274, 1)
        same(read_pixels(tmp_path / "a.tif", number), np.ascontiguousarray(turned(np.asarray(page), told)))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("orientation", [1, 6, 8])
def test_an_orientation_that_stands_in_xmp_alone(tmp_path: Path, suffix: str, orientation: int) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".png":
        text = b"XML:com.adobe.xmp\0\0\0\0\0" + XMP % orientation
        png(path, 2, 8, RGB, after=chunk(b"iTXt", text))  # behind the pixels
    else:
        Image.fromarray(RGB).save(path, xmp=XMP % orientation, **({"lossless": True} if suffix == ".webp" else {}))
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    assert expected.shape[:2] == ((9, 13) if orientation == 1 else (13, 9))
    same(read_pixels(path), expected)
    assert image_shape(path) == expected.shape[:2]


def test_a_png_with_its_tag_behind_the_pixels(tmp_path: Path) -> None:
    path = png(tmp_path / "a.png", 0, 8, GREY, after=chunk(b"eXIf", exif(6)[6:]))
    same(read_pixels(path), np.ascontiguousarray(turned(GREY, 6)))
    assert image_shape(path) == (13, 9)


@pytest.mark.parametrize(
    "block", [b"Exif\0\0junk", b"Exif\0\0MM\0*\xff\xff\xff\xff", exif(0), exif(9), exif(65535), exif(6)[:-9]]
)
def test_a_damaged_tag_leaves_the_image_as_it_is(tmp_path: Path, block: bytes) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.jpg", quality=95, exif=block)
    Image.fromarray(RGB).save(tmp_path / "b.jpg", quality=95)
    same(read_pixels(tmp_path / "a.jpg"), read_pixels(tmp_path / "b.jpg"))
    assert image_shape(tmp_path / "a.jpg") == (9, 13)


# -- transparent ------------------------------------------------------------------------------------------------------


def composed(rgba: Any) -> Any:
    """Pillow's own way to lay an image on black."""
    image = Image.fromarray(rgba)
    return np.asarray(Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image))[:, :, :3]


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_what_is_transparent_does_not_decide(tmp_path: Path, suffix: str) -> None:
    alpha = np.where(GREY > 120, 255, np.where(GREY > 60, 80, 0)).astype(np.uint8)
    rgba = np.concatenate([RGB, alpha[:, :, None]], 2)
    other = np.where(alpha[:, :, None] == 0, 255 - rgba, rgba)
    other[:, :, 3] = alpha
    found = []
    for name, values in (("a", rgba), ("b", other)):
        path = tmp_path / f"{name}{suffix}"
        Image.fromarray(values).save(path, **({"lossless": True, "exact": True} if suffix == ".webp" else {}))
        found.append(read_pixels(path))
    same(found[0], found[1])
    with Image.open(tmp_path / f"a{suffix}") as image:
        stored = np.asarray(image.convert("RGBA"))
    assert np.abs(found[0].astype(int) - composed(stored)).max() <= 1


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.integers(0, 255), st.integers(0, 255), st.sampled_from([np.uint8, np.uint16]))
def test_partial_transparency_is_the_rounded_share(value: int, alpha: int, dtype: Any) -> None:
    from anotwin.data.alpha import Stored, on_black

    scale = np.iinfo(dtype).max // 255
    pixels = np.array([[value * scale, np.iinfo(dtype).max]], dtype)
    shares = np.array([[alpha * scale, np.iinfo(dtype).max]], dtype)
    got = on_black(Stored(pixels, shares), "a")
    assert abs(int(got[0, 0]) - value * scale * alpha / 255) <= 0.5
    assert got[0, 1] == np.iinfo(dtype).max
    assert got.dtype == dtype


def test_opaque_alpha_changes_nothing(tmp_path: Path) -> None:
    full = np.full((9, 13, 1), 255, np.uint8)
    Image.fromarray(np.concatenate([RGB, full], 2)).save(tmp_path / "a.png")
    Image.fromarray(np.concatenate([GREY[:, :, None], full], 2)).save(tmp_path / "b.png")
    same(read_pixels(tmp_path / "a.png"), RGB)
    same(read_pixels(tmp_path / "b.png"), GREY)


def test_palettes_with_transparent_entries(tmp_path: Path) -> None:
    palette = RNG.integers(1, 256, (256, 3), dtype=np.uint8)
    image = Image.fromarray(GREY).copy()
    image.putpalette(palette.tobytes())
    image.info["transparency"] = bytes(range(256))
    image.save(tmp_path / "a.png")
    alphas = np.arange(256, dtype=np.uint8)[GREY]
    expected = composed(np.concatenate([palette[GREY], alphas[:, :, None]], 2))
    assert np.abs(read_pixels(tmp_path / "a.png").astype(int) - expected).max() <= 1
    image.info["transparency"] = 7
    for suffix in (".png", ".gif"):
        image.save(tmp_path / f"b{suffix}", transparency=7)
        with Image.open(tmp_path / f"b{suffix}") as shown:
            rgba = np.asarray(shown.convert("RGBA"))
        same(read_pixels(tmp_path / f"b{suffix}"), np.where(rgba[:, :, 3:] == 0, 0, rgba[:, :, :3]))


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_a_grey_that_is_transparent(tmp_path: Path, depth: int) -> None:
    most = 2**depth - 1
    values = RNG.integers(0, most + 1, (9, 13))
    values[2, 3], values[4, 5] = most, 0
    key = most
    path = png(tmp_path / "a.png", 0, depth, values, before=chunk(b"tRNS", struct.pack(">H", key)))
    if depth == 1:  # what is left is black
        refused(path, "nothing is seen")
        assert read_stored(path).alpha is not None
        return
    scale = 255 // most if depth <= 8 else 1
    dtype = np.uint16 if depth == 16 else np.uint8
    same(read_pixels(path), np.where(values == key, 0, values * scale).astype(dtype))


@pytest.mark.parametrize("depth", [8, 16])
def test_a_colour_that_is_transparent(tmp_path: Path, depth: int) -> None:
    values = (RGB if depth == 8 else DEEP).copy()
    values[3, 3:6] = values[0, 0]
    values[5, 5] = values[0, 0] ^ 1  # near it, in the lowest bit
    key = struct.pack(">HHH", *map(int, values[0, 0]))
    path = png(tmp_path / "a.png", 2, depth, values, before=chunk(b"tRNS", key))
    expected = np.where((values == values[0, 0]).all(axis=2, keepdims=True), 0, values).astype(values.dtype)
    same(read_pixels(path), expected)
    assert read_pixels(path)[5, 5].any()


def test_tiff_with_alpha(tmp_path: Path) -> None:
    alpha = np.where(GREY > 100, 65535, 0).astype(np.uint16)
    rgba = np.concatenate([DEEP, alpha[:, :, None]], 2)
    expected = np.where(alpha[:, :, None] == 0, 0, DEEP).astype(np.uint16)
    for kind in ("unassalpha", "assocalpha"):
        tifffile.imwrite(tmp_path / "a.tif", rgba, photometric="rgb", extrasamples=[kind])
        same(read_pixels(tmp_path / "a.tif"), expected)
    grey = np.stack([DEEP[:, :, 0], alpha], 2)
    tifffile.imwrite(
        tmp_path / "g.tif", grey, photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"]
    )
    same(read_pixels(tmp_path / "g.tif"), expected[:, :, 0])
    half = np.stack([np.full((4, 5), 0.5, np.float32), np.full((4, 5), 0.25, np.float32)], 2)
    tifffile.imwrite(
        tmp_path / "f.tif", half, photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"]
    )
    same(read_pixels(tmp_path / "f.tif"), np.full((4, 5), 0.125, np.float32))


def test_colours_that_are_multiplied_already_are_not_multiplied_again(tmp_path: Path) -> None:
    rgba = np.full((4, 5, 4), (50, 60, 70, 100), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", rgba, photometric="rgb", extrasamples=["assocalpha"])
    same(read_pixels(tmp_path / "a.tif"), np.ascontiguousarray(rgba[:, :, :3]))


def test_nothing_to_be_seen_is_said(tmp_path: Path) -> None:
    rgba = np.concatenate([RGB, np.zeros((9, 13, 1), np.uint8)], 2)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    refused(tmp_path / "a.png", "nothing is seen of it on black", "without transparency")
    drawn = np.zeros((9, 13, 4), np.uint8)
    drawn[:, :, 3] = GREY
    Image.fromarray(drawn).save(tmp_path / "b.png")  # black ink on nothing
    refused(tmp_path / "b.png", "nothing is seen of it on black")
    stored = read_stored(tmp_path / "b.png")  # where alpha is what is asked for, as in a mask
    assert stored.alpha is not None
    np.testing.assert_array_equal(stored.alpha, GREY)


def test_a_bmp_whose_fourth_bytes_are_all_0_is_opaque(tmp_path: Path) -> None:
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)  # red, green, blue, alpha
    head = struct.pack("<IiiHHIIiiII", 108, 13, 9, 1, 32, 3, 9 * 13 * 4, 0, 0, 0, 0) + masks + bytes(52)
    for alpha, expected in (
        (np.zeros((9, 13), np.uint8), RGB),
        (np.full((9, 13), 255, np.uint8), RGB),
        (np.where(GREY > 99, 255, 0).astype(np.uint8), np.where(GREY[:, :, None] > 99, RGB, 0).astype(np.uint8)),
    ):
        body = np.concatenate([RGB[:, :, ::-1], alpha[:, :, None]], 2)[::-1].tobytes()
        (tmp_path / "a.bmp").write_bytes(b"BM" + struct.pack("<IHHI", 122 + len(body), 0, 0, 122) + head + body)
        same(read_pixels(tmp_path / "a.bmp"), expected)
