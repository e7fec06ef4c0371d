"""The made-up images: exact masks, seeds, planted blobs."""

import numpy as np
import pytest

from anotwin.data.synthetic import plant_blob, textured_discs
from anotwin.errors import DataError


@pytest.mark.parametrize("size", [8, 16, 32, 64])
def test_masks_are_exactly_what_changed(size):
    normal, none = textured_discs(12, size, seed=3)
    abnormal, masks = textured_discs(12, size, seed=3, abnormal=True)
    assert normal.shape == abnormal.shape == masks.shape == (12, size, size)
    assert normal.dtype == abnormal.dtype == np.uint8
    assert not none.any()
    np.testing.assert_array_equal(masks, normal != abnormal)
    share = masks.mean(axis=(1, 2))
    assert (share > 0).all()
    assert share.max() < 0.25


def test_defects_are_visible():
    normal, _ = textured_discs(30, 32, seed=1)
    abnormal, masks = textured_discs(30, 32, seed=1, abnormal=True)
    change = [np.abs(a.astype(int) - n)[m].mean() for a, n, m in zip(abnormal, normal, masks, strict=True)]
    assert min(change) > 25


def test_images_depend_on_seed_and_number_alone():
    few, many = textured_discs(3, seed=5)[0], textured_discs(9, seed=5)[0]
    np.testing.assert_array_equal(few, many[:3])
    assert (textured_discs(3, seed=6)[0] != few).any(axis=(1, 2)).all()
    assert len({image.tobytes() for image in many}) == 9


def test_discs_are_bright_on_dark_ground():
    images, _ = textured_discs(20, 32)
    middle, corner = images[:, 14:18, 14:18].mean(axis=(1, 2)), images[:, :3, :3].mean(axis=(1, 2))
    assert (middle > corner + 60).all()


@pytest.mark.parametrize("count,size", [(0, 32), (1, 7)])
def test_absurd_sizes(count, size):
    with pytest.raises(DataError, match="expected at least"):
        textured_discs(count, size)


@pytest.mark.parametrize("dtype,full", [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1)])
@pytest.mark.parametrize("shape", [(4, 20, 24), (4, 20, 24, 3)])
def test_blobs(dtype, full, shape):
    images = (np.random.default_rng(0).random(shape) * full).astype(dtype)
    before = images.copy()
    planted, masks = plant_blob(images, seed=2)
    np.testing.assert_array_equal(images, before)
    assert planted.dtype == dtype
    assert masks.shape == shape[:3]
    np.testing.assert_array_equal(planted[~masks], images[~masks])
    assert planted.min() >= 0
    assert planted.max() <= full
    for image, old, mask in zip(planted, images, masks, strict=True):
        assert 4 <= mask.sum() <= 40
        assert abs(float(image[mask].mean()) - float(old[mask].mean())) > 0.2 * full
    np.testing.assert_array_equal(plant_blob(images, seed=2)[0], planted)
    assert (plant_blob(images, seed=3)[1] != masks).any()
