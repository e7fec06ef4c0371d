"""TIFF through read_pixels: depth, photometrics, planes, compressions with and without a codec, several pages."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from anotwin.data.pixels import read_pixels
from anotwin.errors import DataError

RNG = np.random.default_rng(1)


def image(dtype, *shape):
    if np.dtype(dtype).kind == "f":
        return RNG.normal(size=shape).astype(dtype)
    return RNG.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def fails(path, *words):
    with pytest.raises(DataError) as error:
        read_pixels(path)
    assert "\n" not in str(error.value)
    for word in (str(path), *words):
        assert word in str(error.value)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(11, 7), (11, 7, 3)])
def test_depth_is_kept(tmp_path, dtype, shape, byteorder, compression):
    values = image(dtype, *shape)
    photometric = "rgb" if len(shape) == 3 else "minisblack"
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values, photometric=photometric, byteorder=byteorder, compression=compression)
    got = read_pixels(path)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, values)


def test_float64_and_planar_and_alpha(tmp_path):
    values = image(np.float64, 6, 5)
    tifffile.imwrite(tmp_path / "d.tif", values)
    np.testing.assert_array_equal(read_pixels(tmp_path / "d.tif"), values.astype(np.float32))
    planes = image(np.uint16, 3, 6, 5)
    tifffile.imwrite(tmp_path / "p.tif", planes, photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_pixels(tmp_path / "p.tif"), np.moveaxis(planes, 0, 2))
    rgba = image(np.uint16, 6, 5, 4)
    tifffile.imwrite(tmp_path / "a.tif", rgba, photometric="rgb", extrasamples=["unassalpha"])
    seen = (rgba[:, :, :3] * rgba[:, :, 3:].astype(np.int64) + 32767) // 65535  # on black
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.tif"), seen)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_white_is_zero_is_turned_around(tmp_path, dtype):
    values = image(dtype, 6, 5)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="miniswhite")
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.tif"), np.iinfo(dtype).max - values)


def test_palette_and_cmyk(tmp_path):
    values, colours = image(np.uint8, 6, 5), image(np.uint16, 3, 256)
    tifffile.imwrite(tmp_path / "p.tif", values, photometric="palette", colormap=colours)
    np.testing.assert_array_equal(read_pixels(tmp_path / "p.tif"), np.moveaxis((colours >> 8)[:, values], 0, 2))
    tifffile.imwrite(tmp_path / "g.tif", values, photometric="palette", colormap=np.tile(colours[:1], (3, 1)))
    np.testing.assert_array_equal(read_pixels(tmp_path / "g.tif"), (colours >> 8)[0, values])
    inks = image(np.uint8, 6, 5, 4)
    tifffile.imwrite(tmp_path / "c.tif", inks, photometric="separated")
    expected = np.asarray(Image.fromarray(inks, "CMYK").convert("RGB")).astype(int)
    assert np.abs(read_pixels(tmp_path / "c.tif").astype(int) - expected).max() <= 1


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_compressions_that_users_have(tmp_path, dtype, compression):
    values = image(dtype, 20, 30)
    Image.fromarray(values).save(tmp_path / "a.tif", compression=compression)
    got = read_pixels(tmp_path / "a.tif")
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, values)


def test_one_bit(tmp_path):
    values = image(np.uint8, 20, 30) > 128
    Image.fromarray(values).save(tmp_path / "a.tif", compression="group4")
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.tif"), np.where(values, 255, 0))


def test_several_pages_and_volumes(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", image(np.uint8, 3, 20, 30), photometric="minisblack")
    fails(tmp_path / "a.tif", "3 pages", "--layout oct")
    tifffile.imwrite(
        tmp_path / "v.tif", image(np.uint8, 16, 32, 32), volumetric=True, photometric="minisblack", tile=(16, 16, 16)
    )
    fails(tmp_path / "v.tif", "16 pages")


def test_a_thumbnail_is_no_second_page(tmp_path):
    values = image(np.uint8, 20, 30)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(values, photometric="minisblack")
        file.write(values[::2, ::2], photometric="minisblack", subfiletype=1)
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.tif"), values)


def test_truncated_and_absurd(tmp_path, capfd, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", image(np.uint8, 64, 64), compression="zlib", rowsperstrip=8)
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data[:-40])
    fails(tmp_path / "a.tif", "truncated")
    tifffile.imwrite(tmp_path / "b.tif", image(np.uint8, 300, 200), compression="zlib")
    monkeypatch.setattr("anotwin.data.claims.MOST_PIXELS", 40000)  # some 10^8
    fails(tmp_path / "b.tif", "200 x 300", "tile the image")
    assert capfd.readouterr().err == ""
