"""Pixels at full depth, channels that are no colours, and Pillow images in place of their files."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from made_pictures import DEEP, GREY, RGB, RNG, chunk, exif, png, refused, same, turned
from PIL import Image, ImageOps

from anotwin.data.pixels import object_pixels, read_pixels

# -- deep -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("colour,channels", [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_png_of_16_bits_keeps_them(tmp_path: Path, colour: int, channels: int) -> None:
    values = RNG.integers(0, 65536, (9, 13, channels), dtype=np.uint16)
    alpha = values[:, :, -1:].astype(np.int64) if channels in (2, 4) else np.int64(65535)
    path = png(tmp_path / "a.png", colour, 16, values, after=chunk(b"eXIf", exif(6)[6:]))
    seen = (values[:, :, : channels - (channels in (2, 4))] * alpha + 32767) // 65535
    expected = seen[:, :, 0] if channels < 3 else seen
    same(read_pixels(path), np.ascontiguousarray(turned(expected.astype(np.uint16), 6)))


def test_png_of_16_bits_as_opencv_writes_it(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    cv2.imwrite(str(tmp_path / "a.png"), DEEP[:, :, ::-1])
    same(read_pixels(tmp_path / "a.png"), DEEP)
    cv2.imwrite(str(tmp_path / "a.ppm"), DEEP[:, :, ::-1])
    same(read_pixels(tmp_path / "a.ppm"), DEEP)


def test_interlaced_png_of_16_bits(tmp_path: Path) -> None:
    values = RNG.integers(0, 65536, (8, 8, 3), dtype=np.uint16)
    raw = b""
    for y, x, down, across in (
        (0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)
    ):  # fmt: skip
        raw += b"".join(b"\0" + row.astype(">u2").tobytes() for row in values[y::down, x::across])
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 1))
    body = head + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    same(read_pixels(tmp_path / "a.png"), values)


@pytest.mark.parametrize("most", [1000, 4095, 65535])
def test_ppm_of_more_than_8_bits(tmp_path: Path, most: int) -> None:
    values = RNG.integers(0, most + 1, (9, 13, 3)).astype(">u2")
    scaled = np.rint(values / most * 65535).astype(np.uint16)
    (tmp_path / "a.ppm").write_bytes(b"P6\n# made here\n13 9\n%d\n" % most + values.tobytes())
    (tmp_path / "a.pgm").write_bytes(b"P5 13 9 %d\n" % most + values[:, :, 0].tobytes())
    same(read_pixels(tmp_path / "a.ppm"), scaled)
    same(read_pixels(tmp_path / "a.pgm"), np.ascontiguousarray(scaled[:, :, 0]))
    with Image.open(tmp_path / "a.pgm") as image:
        np.testing.assert_array_equal(np.asarray(image), scaled[:, :, 0])  # as Pillow scales grey
    text = f"P3 13 9 {most}\n" + " ".join(map(str, values.ravel().tolist()))
    (tmp_path / "b.ppm").write_text(text)
    refused(tmp_path / "b.ppm", "16 bits written as text", "P6")
    (tmp_path / "c.ppm").write_bytes((tmp_path / "a.ppm").read_bytes()[:-10])
    refused(tmp_path / "c.ppm")


def test_half_floats_and_twelve_bits(tmp_path: Path) -> None:
    half = RNG.normal(size=(9, 13)).astype(np.float16)
    tifffile.imwrite(tmp_path / "a.tif", half)
    same(read_pixels(tmp_path / "a.tif"), half.astype(np.float32))
    values = RNG.integers(0, 4096, (9, 14), dtype=np.uint16)
    twelve = np.stack(
        [values[:, ::2] >> 4, (values[:, ::2] & 15) << 4 | values[:, 1::2] >> 8, values[:, 1::2] & 255], 2
    )
    tags = {256: 14, 257: 9, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 9, 279: 9 * 21}
    data = twelve.astype(np.uint8).tobytes() + b"\0"
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    head = b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(tags)) + entries + b"\0" * 4
    (tmp_path / "b.tif").write_bytes(head)
    same(read_pixels(tmp_path / "b.tif"), values)


# -- channels that are no colours -------------------------------------------------------------------------------------


def test_channels_that_are_no_picture_are_refused(tmp_path: Path) -> None:
    for number, (photometric, channels) in enumerate(
        [("rgb", 5), ("minisblack", 5), ("minisblack", 2), ("minisblack", 4), ("cielab", 3)]
    ):
        path = tmp_path / f"{number}.tif"
        values = RNG.integers(0, 256, (9, 13, channels), dtype=np.uint8)
        extra = ["unspecified"] * (channels - 3) if photometric == "rgb" else None
        more: dict[str, Any] = {"extrasamples": extra} if extra else {}
        tifffile.imwrite(path, values, photometric=photometric, planarconfig="contig", **more)
        refused(path, "LAB" if photometric == "cielab" else f"{channels} channels", "RGB")


def test_jpeg_like_colours_in_tiff_become_rgb(tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(32) * 4, np.arange(32) * 3).astype(np.uint8)
    colours = np.stack([smooth, 255 - smooth, smooth // 2], 2)
    Image.fromarray(colours).convert("YCbCr").save(tmp_path / "a.tif")
    assert np.abs(read_pixels(tmp_path / "a.tif").astype(int) - colours).max() <= 4


# -- the same as an object --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "1", "CMYK", "I;16", "F", "PA"])
def test_an_object_gives_what_its_file_gives(tmp_path: Path, mode: str, loaded: bool) -> None:
    rgba = np.concatenate([RGB, GREY[:, :, None]], 2)
    image = Image.fromarray(rgba)
    if mode in ("I;16", "F"):
        image = Image.fromarray(DEEP[:, :, 0] if mode == "I;16" else GREY.astype(np.float32) / 3)
    elif mode != "RGBA":
        image = image.convert(mode)
    path = tmp_path / ("a.png" if mode in ("L", "RGB", "RGBA", "LA", "P", "1") else "a.tif")
    if mode == "PA":
        same(object_pixels(image, "x"), read_pixels_of(image.convert("RGBA"), tmp_path))
        return
    image.save(path)
    with Image.open(path) as opened:
        if loaded:
            opened.load()
        same(object_pixels(opened, "x"), read_pixels(path))


def read_pixels_of(image: Image.Image, folder: Path) -> Any:
    image.save(folder / "other.png")
    return read_pixels(folder / "other.png")


@pytest.mark.parametrize("loaded", [False, True])
def test_an_object_is_turned_once(tmp_path: Path, loaded: bool) -> None:
    block = Image.Exif()
    block[274] = 6
    for suffix in (".png", ".tif"):
        Image.fromarray(RGB).save(tmp_path / f"a{suffix}", exif=block)
        with Image.open(tmp_path / f"a{suffix}") as image:
            if loaded:
                image.load()
            same(object_pixels(image, "x"), np.ascontiguousarray(turned(RGB, 6)))
            same(object_pixels(ImageOps.exif_transpose(image), "x"), np.ascontiguousarray(turned(RGB, 6)))


def test_an_object_of_16_bits_that_is_not_loaded_keeps_them(tmp_path: Path) -> None:
    path = png(tmp_path / "a.png", 2, 16, DEEP)
    with Image.open(path) as image:
        same(object_pixels(image, "x"), DEEP)
    with Image.open(io.BytesIO(path.read_bytes())) as image:
        same(object_pixels(image, "x"), DEEP)
