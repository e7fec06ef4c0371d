"""Patches of images in memory: cuts of them, found again by brute force."""

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view

from anotwin.prepare.patch_images import EACH, PatchImages

SIZE = 16
SHAPES = ((20, 70), (40, 30), (33, 33), (25, 90))
NUMBERS = np.arange(24)


def made(seed=0, order="C"):
    rng = np.random.default_rng(1)
    pixels = tuple(np.asarray(rng.integers(0, 256, shape).astype(np.uint8), order=order) for shape in SHAPES)
    valid = [np.ones(shape, bool) for shape in SHAPES]
    valid[0][:, 30:] = False
    fingerprints, indices = np.arange(4) + 100, np.arange(4) * 2
    return PatchImages(pixels, tuple(valid), fingerprints, indices, (), SIZE, seed)


def places(patch, images):
    """(image, row, column) of every place where a patch (S, S) of bytes lies."""
    found = []
    for number, image in enumerate(images):
        windows = sliding_window_view(image, patch.shape)
        found += [(number, *place) for place in np.argwhere((windows == patch).all(axis=(2, 3))).tolist()]
    return found


def as_bytes(batch):
    return np.rint((batch.images[:, 0].numpy() + 1) * 127.5).astype(np.uint8)


def test_patches_are_cuts_of_the_images_where_they_are_valid():
    images = made()
    batch = images.subset(np.arange(4)).batch(NUMBERS)
    assert batch.images.shape == (24, 1, SIZE, SIZE)
    assert batch.images.dtype == torch.float32
    assert batch.images.abs().max() <= 1
    seen = []
    for patch in as_bytes(batch):
        ((image, row, column),) = places(patch, images.pixels)  # noise: no two places are equal
        assert images.valid[image][row : row + SIZE, column : column + SIZE].mean() >= 0.9
        seen.append((image, row, column))
    assert {image for image, *_ in seen} == {0, 1, 2, 3}
    assert len(set(seen)) > 20


@pytest.mark.parametrize("rows", [[0, 3], [2], [3, 1]])
def test_the_patches_of_a_subset_come_from_its_images_alone(rows):
    images = made()
    subset = images.subset(np.array(rows))
    assert len(subset) == EACH
    numbers = np.array([*range(8), *range(EACH - 8, EACH)])
    assert {places(patch, images.pixels)[0][0] for patch in as_bytes(subset.batch(numbers))} == set(rows)
    with pytest.raises(IndexError, match=f"patch {EACH}"):
        subset.batch(np.array([EACH]))


def test_a_patch_depends_on_its_number_alone():
    subset = made().subset(np.arange(4))
    mixed = subset.batch(np.array([3, EACH - 1, 1])).images
    alone = [subset.batch(np.array([number])).images[0] for number in (3, EACH - 1, 1)]
    assert all(torch.equal(one, other) for one, other in zip(mixed, alone, strict=True))


def test_a_seed_gives_its_patches_again():
    first = made().subset(np.arange(4)).batch(NUMBERS).images
    assert torch.equal(made().subset(np.arange(4)).batch(NUMBERS).images, first)
    assert not torch.equal(made(seed=1).subset(np.arange(4)).batch(NUMBERS).images, first)


def test_patches_lie_in_memory_row_by_row_whatever_their_images_do():
    """Sums over a patch add in the order of its memory: their last bits must not depend on that of the images."""
    first, other = (made(order=order).subset(np.arange(4)).batch(NUMBERS).images for order in "CF")
    assert first.stride() == other.stride() == (SIZE**2, SIZE**2, SIZE, 1)
    assert torch.equal(first, other)
