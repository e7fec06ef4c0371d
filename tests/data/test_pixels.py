"""read_pixels against arrays that Pillow and tifffile wrote, and against every kind of damage."""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from anotwin.data.pixels import IMAGE_SUFFIXES, native, read_pixels
from anotwin.errors import DataError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (9, 13), dtype=np.uint8)
RGB = RNG.integers(0, 256, (9, 13, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (9, 13), dtype=np.uint16)
FLOAT = RNG.normal(size=(9, 13)).astype(np.float32)


def same(got, expected):
    assert got.dtype == expected.dtype
    assert got.flags.c_contiguous
    np.testing.assert_array_equal(got, expected)


def fails(path, *words):
    with pytest.raises(DataError) as error:
        read_pixels(path)
    message = str(error.value)
    assert "\n" not in message
    assert str(path) in message
    for word in words:
        assert word in message


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".gif", ".pgm", ".tif", ".tiff"])
def test_grey_is_lossless(tmp_path, suffix):
    Image.fromarray(GREY).save(tmp_path / f"a{suffix}")
    same(read_pixels(tmp_path / f"a{suffix}"), GREY)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".ppm", ".tif"])
def test_colour_is_lossless(tmp_path, suffix):
    Image.fromarray(RGB).save(tmp_path / f"a{suffix}")
    same(read_pixels(str(tmp_path / f"a{suffix}")), RGB)


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_lossy_formats_are_close(tmp_path, suffix):
    smooth = np.tile(np.linspace(0, 255, 32).astype(np.uint8), (32, 1))
    Image.fromarray(smooth).save(tmp_path / f"a{suffix}", quality=95)
    got = read_pixels(tmp_path / f"a{suffix}").astype(int)
    assert np.abs(got - (smooth if got.ndim == 2 else smooth[:, :, None])).max() <= 6


@pytest.mark.parametrize("suffix", [".png", ".pgm", ".tif"])
def test_sixteen_bits_keep_their_depth(tmp_path, suffix):
    Image.fromarray(DEEP).save(tmp_path / f"a{suffix}")
    same(read_pixels(tmp_path / f"a{suffix}"), DEEP)


def test_opaque_alpha_is_dropped(tmp_path):
    alpha = np.full((9, 13, 1), 255, np.uint8)
    Image.fromarray(np.concatenate([RGB, alpha], 2)).save(tmp_path / "rgba.png")
    Image.fromarray(np.concatenate([GREY[..., None], alpha], 2)).save(tmp_path / "la.png")
    same(read_pixels(tmp_path / "rgba.png"), RGB)
    same(read_pixels(tmp_path / "la.png"), GREY)


def test_one_bit_is_0_and_255(tmp_path):
    Image.fromarray(GREY > 99).save(tmp_path / "a.png")
    same(read_pixels(tmp_path / "a.png"), np.where(GREY > 99, 255, 0).astype(np.uint8))


def test_palettes_become_their_colours(tmp_path):
    palette = RNG.integers(0, 256, (256, 3), dtype=np.uint8)
    image = Image.fromarray(GREY).copy()
    image.putpalette(palette.tobytes())
    image.save(tmp_path / "colour.png")
    same(read_pixels(tmp_path / "colour.png"), palette[GREY])
    image.putpalette(np.repeat(palette[:, :1], 3, axis=1).tobytes())
    image.save(tmp_path / "grey.png")
    same(read_pixels(tmp_path / "grey.png"), palette[GREY, 0])


def test_cmyk_is_converted_as_pillow_does(tmp_path):
    image = Image.fromarray(np.full((8, 8, 3), (200, 40, 90), np.uint8)).convert("CMYK")
    image.save(tmp_path / "a.jpg", quality=100)
    got = read_pixels(tmp_path / "a.jpg").astype(int)
    assert np.abs(got - np.array((200, 40, 90))).max() <= 4


def test_content_decides_and_not_the_name(tmp_path):
    Image.fromarray(DEEP).save(tmp_path / "a.tif")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.tif").read_bytes())
    same(read_pixels(tmp_path / "a.png"), DEEP)


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp"])
def test_animation_is_refused(tmp_path, suffix):
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:])
    fails(tmp_path / f"a{suffix}", "2 frames")


@pytest.mark.parametrize("keep", [0, 1, 4, 20, 60, 0.5, 0.9])
@pytest.mark.parametrize("suffix", [s for s in IMAGE_SUFFIXES if s not in (".jpeg", ".tiff", ".ppm")])
def test_truncated_files(tmp_path, suffix, keep):
    noise = RNG.integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / f"a{suffix}")
    data = (tmp_path / f"a{suffix}").read_bytes()
    (tmp_path / f"a{suffix}").write_bytes(data[: int(keep if keep >= 1 else keep * len(data))])
    fails(tmp_path / f"a{suffix}")


@settings(derandomize=True, deadline=None, max_examples=120)
@given(st.sampled_from(["PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM"]), st.data())
def test_damaged_bytes_never_raise_anything_else(tmp_path_factory, kind, data):
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, kind)
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.bin"
    path.write_bytes(bytes(content))
    try:
        pixels = read_pixels(path)
    except DataError as error:
        message = str(error)
    else:
        assert pixels.dtype in (np.uint8, np.uint16, np.float32)
        assert pixels.size > 0
        return
    assert str(path) in message
    assert "\n" not in message


def test_not_an_image(tmp_path):
    (tmp_path / "a.png").write_text("hello, this is text")
    (tmp_path / "b.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")  # would go to ghostscript
    fails(tmp_path / "a.png", "not an image", ".png")
    fails(tmp_path / "b.png", "not an image")


def test_missing_or_folder(tmp_path):
    fails(tmp_path / "none.png", "No such file")
    fails(tmp_path)


def test_decompression_bomb(tmp_path):
    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    fails(tmp_path / "bomb.png", "tile the image")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_pixels(tmp_path, bad):
    values = FLOAT.copy()
    values[2, 3] = bad
    tifffile.imwrite(tmp_path / "a.tif", values)
    fails(tmp_path / "a.tif", "1 of 117 pixels are NaN or infinite")


@pytest.mark.parametrize("dtype,expected", [("i1", "u1"), ("i2", "u2"), ("i4", "u2"), ("u4", "u2"), ("i8", "u2")])
def test_native_integers(dtype, expected):
    values = (GREY // 2).astype(dtype)
    same(native(values, "x"), values.astype(expected))


@pytest.mark.parametrize("dtype", [">u2", ">f4", "f2", "f8", ">i4"])
def test_native_is_of_this_machines_byte_order(dtype):
    got = native(GREY.astype(dtype), "x")
    assert got.dtype.isnative
    np.testing.assert_array_equal(got, GREY)


def test_native_bool_and_single_channel():
    same(native(GREY[:, :, None] > 9, "x"), np.where(GREY > 9, 255, 0).astype(np.uint8))


@pytest.mark.parametrize(
    "values,word",
    [
        (np.array([[-1, 2]], np.int16), "from -1 to 2"),
        (np.array([[0, 70000]]), "from 0 to 70000"),
        (np.ones((2, 2), complex), "complex"),
        (np.ones((2, 2), "U1"), "<U1"),
        (np.full((2, 2), 1e300), "infinite"),
        (np.ones((2, 2, 4)), "(2, 2, 4)"),
        (np.ones((0, 2)), "(0, 2)"),
        (np.ones(5), "(5,)"),
        (np.ones((2, 2, 2, 3)), "(2, 2, 2, 3)"),
    ],
)
def test_native_refuses(values, word):
    with pytest.raises(DataError) as error:
        native(values, "scan 7")
    assert str(error.value).startswith("scan 7: ")
    assert word in str(error.value)
