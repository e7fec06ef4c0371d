"""Arrays and tensors as sources."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from anotwin.data.arrays import from_arrays
from anotwin.data.pixels import read_pixels
from anotwin.errors import DataError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (4, 5, 6), dtype=np.uint8)
RGB = RNG.integers(0, 256, (4, 5, 6, 3), dtype=np.uint8)

RTOL = {torch.bfloat16: 2**-7}  # 8 bits of mantissa


@pytest.mark.parametrize(
    "given,expected",
    [
        (GREY, GREY),
        (GREY[..., None], GREY),
        (RGB, RGB),
        (torch.from_numpy(GREY), GREY),
        (torch.from_numpy(GREY)[:, None], GREY),
        (torch.from_numpy(RGB).permute(0, 3, 1, 2), RGB),
        (torch.from_numpy(RGB), RGB),
        (list(RGB), RGB),
        ([torch.from_numpy(image).permute(2, 0, 1) for image in RGB], RGB),
        ([torch.from_numpy(image) for image in GREY], GREY),
        (torch.from_numpy(GREY / 255).float().requires_grad_(), (GREY / 255).astype(np.float32)),
        (torch.from_numpy(GREY).bfloat16(), GREY.astype(np.float32)),
        (torch.from_numpy(GREY).long(), GREY),  # what its file gives
        (GREY > 9, np.where(GREY > 9, 255, 0).astype(np.uint8)),
        (GREY / 255, (GREY / 255).astype(np.float32)),
    ],
)
def test_shapes_and_types(given, expected):
    source = from_arrays(given)
    assert len(source.items) == 4
    for i in range(4):
        got = source.read(i)
        assert got.dtype == expected.dtype
        np.testing.assert_allclose(got, expected[i], rtol=RTOL.get(getattr(given, "dtype", None), 0))
        assert source.read_mask(i) is None


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64, np.uint32, np.uint64])
def test_integers_of_no_depth_are_8_bit_where_all_of_them_fit(dtype):
    """By all images of the source: a dark one of 12 bits among brighter ones must not become 8-bit."""
    np.testing.assert_array_equal(from_arrays(GREY.astype(dtype)).read(0), GREY[0])
    assert from_arrays(list(RGB.astype(dtype))).read(0).dtype == np.uint8
    deep = GREY.astype(dtype) * 16
    deep[0] //= 16
    for images in (deep, list(deep)):
        got = from_arrays(images).read(0)
        assert got.dtype == np.uint16
        np.testing.assert_array_equal(got, GREY[0])
    assert from_arrays(GREY.astype(dtype)).of_model("uint16").read(0).dtype == np.uint16
    assert from_arrays(GREY.astype(np.uint16)).read(0).dtype == np.uint16  # its type says so


@pytest.mark.parametrize(
    "given",
    [
        np.zeros((32, 24, 3), np.uint8),
        np.zeros((32, 24, 4), np.uint8),
        np.zeros((32, 24, 1)),
        torch.zeros(3, 32, 24),
        torch.zeros(32, 24, 3),
        torch.zeros(32, 24, 1),
        Image.new("RGB", (24, 32)),
    ],
)
def test_one_image_alone_is_refused(given):
    with pytest.raises(DataError, match="wrap it in a list"):
        from_arrays(given)
    (item,) = from_arrays([given]).items
    assert item.id == "image-00000"


@pytest.mark.parametrize("given", [np.zeros((32, 24, 3)), torch.zeros(3, 32, 24), Image.new("RGB", (24, 32))])
def test_one_image_in_a_list(given):
    assert from_arrays([given]).read(0).shape == (32, 24, 3)


@pytest.mark.parametrize(
    "given,expected",
    [
        (GREY[:, None], GREY),
        (np.moveaxis(RGB, 3, 1), RGB),
        (np.array(["a"] * 4), None),
        (iter(GREY), GREY),
        ((image for image in RGB), RGB),
        (tuple(GREY), GREY),
        ([image[None] for image in GREY], GREY),
        ([np.moveaxis(image, 2, 0) for image in RGB], RGB),
        ([image.tolist() for image in GREY], GREY),
        ([Image.fromarray(image) for image in RGB], RGB),
        (np.concatenate([RGB, np.full((4, 5, 6, 1), 255, np.uint8)], 3), RGB),
        (torch.from_numpy(np.concatenate([RGB, np.full((4, 5, 6, 1), 255, np.uint8)], 3)).permute(0, 3, 1, 2), RGB),
    ],
)
def test_what_else_images_come_as(given, expected):
    source = from_arrays(given)
    assert len(source.items) == 4
    for i in range(4):
        if expected is None:
            with pytest.raises(DataError, match="a: cannot read the file"):
                source.read(i)
        else:
            np.testing.assert_array_equal(source.read(i), expected[i])
            assert source.read(i).dtype == np.uint8


def test_a_list_of_paths(tmp_path):
    for name, image in zip("abc", RGB, strict=False):
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    (tmp_path / "d.png").write_text("no image")
    paths = [tmp_path / f"{name}.png" for name in "abcd"]
    source = from_arrays([paths[0], str(paths[1]), RGB[2], paths[3], paths[0]])
    names = [path.as_posix() for path in paths]
    assert [item.id for item in source.items] == [names[0], names[1], "image-00002", names[3], f"{names[0]}#2"]
    assert {item.label for item in source.items} == {None}
    for i in (0, 1, 2):
        np.testing.assert_array_equal(source.read(i), RGB[i])
    with pytest.raises(DataError, match=r"d\.png: not an image"):
        source.read(3)
    assert pickle.loads(pickle.dumps(source)).items == source.items


def test_alpha_of_arrays_is_laid_on_black_like_that_of_files(tmp_path):
    rgba = RNG.integers(0, 256, (2, 9, 7, 4), dtype=np.uint8)
    Image.fromarray(rgba[0]).save(tmp_path / "a.png")
    expected = read_pixels(tmp_path / "a.png")
    for given in (rgba, list(rgba), [Image.fromarray(image) for image in rgba], rgba.astype(np.int64)):
        np.testing.assert_array_equal(from_arrays(given).read(0), expected)
    light = from_arrays(rgba / np.float32(255)).read(0)
    np.testing.assert_allclose(light, expected / 255, atol=0.6 / 255)
    with pytest.raises(DataError, match=r"image-00000: alpha from .* to 25"):
        from_arrays(rgba.astype(np.float32)).read(0)


def test_masked_and_ragged_images_are_refused():
    masked = np.ma.masked_array(GREY[0], GREY[0] > 9)
    with pytest.raises(DataError, match="image 0 is masked"):
        from_arrays([masked])
    with pytest.raises(DataError, match="image 1 of type list is no array"):
        from_arrays([GREY[0], [[1, 2], [3]]])


def test_sizes_may_differ_in_a_list():
    source = from_arrays([np.zeros((3, 4)), np.zeros((5, 6, 3))])
    assert [source.read(i).shape for i in (0, 1)] == [(3, 4), (5, 6, 3)]


def test_labels_and_ids():
    source = from_arrays(GREY, labels=[0, 1, 0, 2], normal="0", prefix="scan")
    assert [(i.id, i.label, i.normal) for i in source.items][:2] == [
        ("scan-00000", "0", True),
        ("scan-00001", "1", False),
    ]
    assert {item.normal for item in from_arrays(GREY, labels="abcd").items} == {None}
    assert pickle.loads(pickle.dumps(source)).items == source.items


def test_a_bad_image_is_found_on_reading():
    values = np.zeros((3, 4, 4))
    values[1, 0, 0] = np.nan
    source = from_arrays(values)
    source.read(0)
    with pytest.raises(DataError, match="image-00001: 1 of 16 pixels"):
        source.read(1)


@pytest.mark.parametrize(
    "given,word",
    [
        (np.zeros((4, 4)), "(4, 4)"),
        (np.zeros((2, 3, 4, 4)), "3, 4, 4)"),
        (np.zeros((0, 4, 4)), "no images"),
        (np.zeros((2, 0, 4)), "(0, 4)"),
        (np.zeros((2, 4, 4), complex), "complex128"),
        ([np.full((4, 4), "x")], "<U1"),
        ([], "no images"),
        (7, "int"),
        (None, "NoneType"),
        ({"a": GREY}, "dict"),
        (b"a.png", "bytes"),
        ({1, 2}, "set"),
        (torch.zeros(4, 4), "(4, 4)"),
        (torch.zeros(2, 5, 4, 4), "5, 4, 4)"),
        ([np.zeros(3)], "(3,)"),
    ],
)
def test_refused(given, word):
    with pytest.raises(DataError) as error:
        from_arrays(given)
    assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_labels_that_do_not_fit():
    with pytest.raises(DataError, match="3 labels for 4 images"):
        from_arrays(GREY, labels=[1, 2, 3])
    with pytest.raises(DataError, match=r"no label 'x'; found 'a' \(3\), 'b' \(1\)"):
        from_arrays(GREY, labels=list("aaab"), normal="x")
    with pytest.raises(DataError, match="no labels"):
        from_arrays(GREY, normal="x")
