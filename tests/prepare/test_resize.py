"""Native pixels to model values and back: closed forms, exact identities, places that must not move."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import downscale_local_mean

from anotwin.errors import DataError
from anotwin.prepare.resize import (
    check_image,
    difference_to_native,
    image_to_native,
    map_to_native,
    to_model,
    to_models,
)
from anotwin.records import Geometry, ImageSpec

SETTINGS = settings(derandomize=True, deadline=None, max_examples=80)
SIDES = st.integers(1, 90)
FITS = st.sampled_from(["stretch", "pad"])
SIZES = st.sampled_from([16, 32, 64])
RNG = np.random.default_rng(0)


def spec(channels=1, size=16, pixel_type="uint8", black=0.0, white=255.0, fit="stretch"):
    return ImageSpec(channels, size, pixel_type, black, white, fit)


U16 = spec(pixel_type="uint16", white=4095.0)
F32 = spec(pixel_type="float32", black=-1000.0, white=3000.0)


@pytest.mark.parametrize(
    "value,dtype,spec_,expected",
    [
        (0, np.uint8, spec(), -1),
        (255, np.uint8, spec(), 1),
        (51, np.uint8, spec(), -0.6),
        (255, np.uint8, U16, 1),
        (65535, np.uint16, spec(), 1),
        (4095, np.uint16, U16, 1),
        (8190, np.uint16, U16, 3),
        (65535, np.uint16, U16, 3),  # limited
        (0.25, np.float32, spec(), -0.5),
        (1.0, np.float32, U16, 1),
        (1000.0, np.float32, F32, 0),
        (5000.0, np.float32, F32, 2),
        (-9e9, np.float32, F32, -3),
        (255, np.uint8, spec(pixel_type="float32", white=1.0), 1),
        (65535, np.uint16, spec(pixel_type="float32", white=1.0), 1),
    ],
)
@pytest.mark.parametrize("shape", [(16, 16), (5, 31), (40, 40, 3)])
def test_values(value, dtype, spec_, expected, shape):
    image, geometry = to_model(np.full(shape, value, dtype), spec_)
    assert image.shape == (1, 16, 16)
    assert image.dtype == torch.float32
    assert geometry == Geometry(shape[0], shape[1], 16, "stretch")
    torch.testing.assert_close(image, torch.full_like(image, expected), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "pixels,spec_,word",
    [
        (np.full((4, 4), 1.01, np.float32), spec(), "expected [0, 1]"),
        (np.full((4, 4), -0.01, np.float32), U16, "expected [0, 1]"),
        (np.zeros((4, 4), np.uint8), F32, "unit is unknown"),
        (np.zeros((4, 4), np.uint16), F32, "unit is unknown"),
        (np.full((4, 4), np.nan, np.float32), F32, "NaN"),
        (np.full((4, 4), np.inf, np.float32), F32, "NaN or infinite"),
        (np.zeros((4, 4), np.int32), spec(), "int32"),
        (np.zeros((4, 4, 4), np.uint8), spec(), "(4, 4, 4)"),
        (np.zeros((0, 4), np.uint8), spec(), "(0, 4)"),
    ],
)
def test_refused(pixels, spec_, word):
    with pytest.raises(DataError) as error:
        to_model(pixels, spec_)
    assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_values_of_few_bits_are_not_scored_as_nearly_black():
    twelve = np.full((4, 4), 4090, np.uint16)
    with pytest.raises(DataError, match=r"end at 4090 of 65535.* 12 bits"):
        check_image(twelve, spec())
    for fine, own in ((twelve * 16, spec()), (twelve, U16), (np.zeros((4, 4), np.uint16), spec())):
        check_image(fine, own)
    check_image(np.pad(twelve, 1, constant_values=4096), spec())  # may be a dark image of 16 bits


@pytest.mark.parametrize("fit", ["stretch", "pad"])
@pytest.mark.parametrize("spec_", [spec(), spec(3)])
def test_identity_where_sizes_agree_is_exact(spec_, fit):
    spec_ = ImageSpec(spec_.channels, 16, fit=fit)
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image, geometry = to_model(pixels, spec_)
    for plane in image:
        np.testing.assert_array_equal(plane.numpy(), (pixels * (2 / 255) - 1).astype(np.float32))
    np.testing.assert_array_equal(image_to_native(image, geometry, spec_, pixels), pixels)
    heat = RNG.random((16, 16), dtype=np.float32)
    np.testing.assert_array_equal(map_to_native(torch.from_numpy(heat), geometry), heat)


@pytest.mark.parametrize("spec_", [spec(pixel_type="uint16", white=65535.0), U16, spec()])
def test_sixteen_bits_come_back_exactly(spec_):
    pixels = RNG.integers(0, 4096 if spec_ is U16 else 65536, (16, 16), dtype=np.uint16)
    image, geometry = to_model(pixels, spec_)
    np.testing.assert_array_equal(image_to_native(image, geometry, spec_, pixels), pixels)


def test_floats_come_back_closely():
    pixels = RNG.uniform(-1000, 3000, (16, 16)).astype(np.float32)
    image, geometry = to_model(pixels, F32)
    np.testing.assert_allclose(image_to_native(image, geometry, F32, pixels), pixels, atol=1e-3)


def test_colours():
    pixels = RNG.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    image, geometry = to_model(pixels, spec(3))
    np.testing.assert_array_equal(image_to_native(image, geometry, spec(3), pixels), pixels)
    grey, _ = to_model(pixels, spec(1))
    luma = pixels @ np.array([0.299, 0.587, 0.114]) / 127.5 - 1
    np.testing.assert_allclose(grey[0].numpy(), luma, atol=1e-6)
    assert image_to_native(grey, geometry, spec(1), pixels).shape == (16, 16, 3)
    assert image_to_native(image, geometry, spec(3), pixels[:, :, 0]).shape == (16, 16)


def test_integer_range_is_clipped_on_the_way_back():
    like = np.zeros((16, 16), np.uint8)
    image = torch.linspace(-3, 3, 256).view(1, 16, 16)
    back = image_to_native(image, Geometry(16, 16, 16, "stretch"), spec(), like)
    assert (back.min(), back.max()) == (0, 255)
    assert (np.diff(back.ravel().astype(int)) >= 0).all()


def test_downsizing_averages_like_skimage():
    pixels = RNG.integers(0, 256, (64, 64), dtype=np.uint8)
    image, _ = to_model(pixels, spec())
    blocks = downscale_local_mean(pixels, (4, 4)) / 127.5 - 1
    # a triangle filter is wider than a block: the same picture, a little smoother, with the same mean
    assert np.corrcoef(image[0].numpy().ravel(), blocks.ravel())[0, 1] > 0.85
    assert abs(float(image.mean()) - blocks.mean()) < 0.02
    assert float(image.std()) < blocks.std()


@SETTINGS
@given(SIDES, SIDES, SIZES, FITS, st.integers(0, 255))
def test_constant_stays_constant(height, width, size, fit, value):
    pixels = np.full((height, width), value, np.uint8)
    spec_ = spec(size=size, fit=fit)
    image, geometry = to_model(pixels, spec_)
    torch.testing.assert_close(image, torch.full((1, size, size), value / 127.5 - 1), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(image_to_native(image, geometry, spec_, pixels), pixels)
    heat = map_to_native(torch.full((size, size), 0.7), geometry)
    assert heat.shape == (height, width)
    np.testing.assert_allclose(heat, 0.7, rtol=1e-6)


@SETTINGS
@given(SIDES, SIDES, SIZES, FITS, st.booleans(), st.integers(0, 99))
def test_shape_type_and_range(height, width, size, fit, colour, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3) if colour else (height, width), np.uint8)
    spec_ = spec(3 if seed % 2 else 1, size, fit=fit)
    image, geometry = to_model(pixels, spec_)
    assert image.shape == (spec_.channels, size, size)
    low, high = pixels.min() / 127.5 - 1, pixels.max() / 127.5 - 1
    assert low - 1e-5 <= image.min()
    assert image.max() <= high + 1e-5
    back = image_to_native(image, geometry, spec_, pixels)
    assert (back.shape, back.dtype) == (pixels.shape, pixels.dtype)
    assert back.min() >= pixels.min()
    assert back.max() <= pixels.max()


def centroid(heat):
    rows, columns = np.mgrid[: heat.shape[0], : heat.shape[1]] + 0.5
    return (heat * rows).sum() / heat.sum(), (heat * columns).sum() / heat.sum()


@SETTINGS
@given(st.integers(12, 150), st.integers(12, 150), SIZES, FITS, st.floats(0.25, 0.75), st.floats(0.25, 0.75))
def test_a_hot_spot_comes_back_to_its_place(height, width, size, fit, down, across):
    # a spot of several pixels of the coarser of the two grids, well inside, through the model's square and back
    scale_y = max(1, (height if fit == "stretch" else max(height, width)) / size)
    scale_x = max(1, (width if fit == "stretch" else max(height, width)) / size)
    rows, columns = np.mgrid[:height, :width] + 0.5
    y, x = down * height, across * width
    spot = np.exp(-((((rows - y) / scale_y) ** 2 + ((columns - x) / scale_x) ** 2) / 2))
    image, geometry = to_model(spot.astype(np.float32), spec(size=size, fit=fit))
    back = map_to_native((image[0] + 1) / 2, geometry).astype(float)
    back[back < 0.15 * back.max()] = 0
    want = centroid(np.where(spot < 0.15 * spot.max(), 0, spot))
    got = centroid(back)
    assert abs(got[0] - want[0]) <= 0.5 * scale_y
    assert abs(got[1] - want[1]) <= 0.5 * scale_x


def test_pad_keeps_the_aspect_centres_and_repeats_the_border():
    pixels = np.zeros((16, 8), np.uint8)
    pixels[:, 0], pixels[:, 7] = 51, 204
    image = to_model(pixels, spec(fit="pad"))[0][0].numpy()
    left, right = 51 / 127.5 - 1, 204 / 127.5 - 1
    np.testing.assert_allclose(image[:, :5], left, atol=1e-6)
    np.testing.assert_allclose(image[:, 5:11], -1)
    np.testing.assert_allclose(image[:, 11:], right, atol=1e-6)
    heat = map_to_native(torch.arange(16.0).tile(16, 1), Geometry(16, 8, 16, "pad"))
    np.testing.assert_array_equal(heat, np.tile(np.arange(4.0, 12.0), (16, 1)))


def test_map_of_another_size_is_our_bug():
    with pytest.raises(ValueError, match=r"\(8, 8\)"):
        map_to_native(torch.zeros(8, 8), Geometry(4, 4, 16, "stretch"))


@SETTINGS
@given(SIDES, SIDES, SIZES, FITS, st.sampled_from([1, 3]), st.booleans(), st.integers(0, 99))
def test_many_images_at_once_are_each_as_if_alone(height, width, size, fit, channels, colour, seed):
    shape = (5, height, width, 3) if colour else (5, height, width)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    spec_ = spec(channels, size, fit=fit)
    together, geometry = to_models(pixels, spec_)
    alone = [to_model(image, spec_) for image in pixels]
    assert torch.equal(together, torch.stack([image for image, _ in alone]))
    assert {each for _, each in alone} == {geometry}


def test_colour_is_reduced_to_luma():
    pixels = RNG.random((2, 16, 16, 3), dtype=np.float32)
    luma = pixels.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(to_models(pixels, spec())[0][:, 0], 2 * luma - 1, atol=1e-6)


def test_the_query_is_not_touched():
    pixels = RNG.random((16, 16), dtype=np.float32)
    pixels.flags.writeable = False
    before = pixels.copy()
    to_model(pixels, spec())[0].zero_()
    np.testing.assert_array_equal(pixels, before)


@SETTINGS
@given(st.integers(2, 64), st.integers(2, 64), FITS, st.booleans(), st.integers(0, 99))
def test_enlarging_is_undone_exactly(height, width, fit, colour, seed):
    """Small images come back as they were, not blurred twice."""
    shape = (height, width, 3) if colour else (height, width)
    pixels = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    spec_ = spec(3 if colour else 1, 64, fit=fit)
    image, geometry = to_model(pixels, spec_)
    assert np.array_equal(image_to_native(image, geometry, spec_, pixels), pixels)


@SETTINGS
@given(st.integers(2, 150), st.integers(2, 150), SIZES, FITS, st.integers(0, 99))
def test_difference_is_query_minus_counterpart(height, width, size, fit, seed):
    """In native pixels, of what the model sees of the query."""
    rng = np.random.default_rng(seed)
    spec_ = spec(1, size, pixel_type="float32", black=-1.0, white=1.0, fit=fit)
    query = rng.uniform(-1, 1, (height, width)).astype(np.float32)
    image, geometry = to_model(query, spec_)
    counterpart = torch.from_numpy(rng.uniform(-1, 1, (1, size, size)).astype(np.float32))
    seen, ought = (image_to_native(each, geometry, spec_, query) for each in (image, counterpart))
    difference = difference_to_native((image - counterpart)[0], geometry)
    assert np.allclose(difference, seen - ought, atol=1e-4)
