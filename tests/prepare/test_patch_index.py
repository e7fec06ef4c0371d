"""Patches on demand: the same places as a brute-force list of them, evenly over images, from (seed, k) alone."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from anotwin.errors import DataError, SettingsError
from anotwin.prepare.patch_index import PatchIndex

SETTINGS = settings(derandomize=True, deadline=None, max_examples=60)
MASKS = st.lists(
    hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9)), min_size=1, max_size=5
)


def allowed(mask, size):
    """Every corner whose patch is valid in nine pixels of ten, one by one."""
    corners = np.ndindex(*(max(side - size + 1, 0) for side in mask.shape))
    return {(row, column) for row, column in corners if mask[row : row + size, column : column + size].mean() >= 0.9}


def ones(*shapes):
    return [np.ones(shape, bool) for shape in shapes]


@SETTINGS
@given(MASKS, st.integers(1, 4), st.integers(0, 99))
def test_all_allowed_places_and_no_others(masks, size, seed):
    places = {(i, *place) for i, mask in enumerate(masks) for place in allowed(mask, size)}
    used = {i for i, _, _ in places}
    if not places:
        with pytest.raises(DataError, match=f"none of {len(masks)} images has a patch of side {size} with 90%"):
            PatchIndex(masks, size, 1, seed)
        return
    index = PatchIndex(masks, size, 81 * 15 * len(used), seed)  # each place is missed with probability < e^-15
    assert {index[k] for k in range(len(index))} == places


def test_images_give_equally_many_and_places_are_uniform():
    mask = np.zeros((9, 30), bool)
    mask[:, :12] = True
    mask[:5, 12:] = True
    index = PatchIndex([mask, *ones((4, 203), (3, 3), (4, 4))], size=4, total=9_000, seed=3)
    drawn = np.array([index[k] for k in range(len(index))])
    for start in range(0, 9_000, 3):
        assert sorted(drawn[start : start + 3, 0].tolist()) == [0, 1, 3]  # one of each in every round
    orders = {tuple(drawn[start : start + 3, 0].tolist()) for start in range(0, 300, 3)}
    assert len(orders) == 6  # and all orders occur
    for image, places in ((0, allowed(mask, 4)), (1, {(0, column) for column in range(200)})):
        found = [tuple(place) for place in drawn[drawn[:, 0] == image, 1:].tolist()]
        counts = np.array([found.count(place) for place in sorted(places)])
        expected = 3_000 / len(places)
        chi2 = ((counts - expected) ** 2 / expected).sum()
        assert abs(chi2 - (len(places) - 1)) < 4 * np.sqrt(2 * len(places))


def test_a_patch_follows_from_seed_and_number_alone():
    masks = ones((70, 300), (64, 64), (100, 200))
    index, longer = PatchIndex(masks, 64, 1_000_000, seed=5), PatchIndex(masks, 64, 2_000_000, seed=5)
    numbers = [999_999, 0, 17, 123_456]
    wanted = [index[k] for k in numbers]
    assert [longer[k] for k in numbers] == wanted
    assert [pickle.loads(pickle.dumps(index))[k] for k in reversed(numbers)] == wanted[::-1]
    assert [PatchIndex(masks, 64, 1_000_000, seed=6)[k] for k in numbers] != wanted
    assert len({index[k][1:] for k in range(0, 300, 3)}) > 60
    for k in (-1, 1_000_000):
        with pytest.raises(IndexError, match=f"patch {k} of 1000000"):
            index[k]


def test_golden_places():
    """The draws of a seed must never change: a resumed training would see other patches."""
    index = PatchIndex(ones((70, 300), (80, 120)), 64, 1_000_000, seed=0)
    assert [index[k] for k in (0, 1, 2, 999_999)] == [(0, 2, 126), (1, 11, 52), (0, 2, 30), (0, 3, 183)]


def test_patches_are_cut_where_the_index_says():
    rng = np.random.default_rng(0)
    images = [rng.random((70, 300)).astype(np.float32), rng.random((80, 120)).astype(np.float32)]
    index = PatchIndex(ones((70, 300), (80, 120)), 64, 1_000, seed=0)
    numbers = [5, 900, 6, 7, 5]
    patches = index.patches(images, numbers)
    assert patches.shape == (5, 64, 64)
    assert patches.dtype == np.float32
    for patch, k in zip(patches, numbers, strict=True):
        image, row, column = index[k]
        assert (patch == images[image][row : row + 64, column : column + 64]).all()
    with pytest.raises(ValueError, match=r"expected \(70, 300\), that of its mask"):
        index.patches([images[1], images[1]], range(8))
    with pytest.raises(ValueError, match="at least one number"):
        index.patches(images, [])


@pytest.mark.parametrize("size,total", [(0, 5), (4, 0)])
def test_impossible_settings_are_refused(size, total):
    with pytest.raises(SettingsError, match="at least one"):
        PatchIndex(ones((9, 9)), size, total, seed=0)
