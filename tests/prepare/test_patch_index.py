"""Patches on demand: the same places as a brute-force list of them, evenly over images, from (seed, k) alone."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from anotwin.errors import DataError, SettingsError
from anotwin.prepare.patch_index import PatchIndex
from anotwin.prepare.patches import cut, valid_share

SETTINGS = settings(derandomize=True, deadline=None, max_examples=60)
MASKS = st.lists(
    hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9)), min_size=1, max_size=5
)


def allowed(mask, size, share):
    if min(mask.shape) < size:
        return set()
    return {tuple(place) for place in np.argwhere(valid_share(mask, size) >= share).tolist()}


@SETTINGS
@given(MASKS, st.integers(1, 4), st.sampled_from([0.5, 1.0]), st.integers(0, 99))
def test_all_allowed_places_and_no_others(masks, size, share, seed):
    places = {(i, *place) for i, mask in enumerate(masks) for place in allowed(mask, size, share)}
    used = {i for i, _, _ in places}
    if not places:
        with pytest.raises(DataError, match=f"none of {len(masks)} images"):
            PatchIndex(masks, size, 1, seed, share)
        return
    index = PatchIndex(masks, size, 81 * 15 * len(used), seed, share)  # each place is missed with probability < e^-15
    assert {index[k] for k in range(len(index))} == places
    assert set(index.left_out) == set(range(len(masks))) - used


def test_images_give_equally_many_and_places_are_uniform():
    mask = np.zeros((9, 30), bool)
    mask[:, :12] = True
    mask[:5, 12:] = True
    index = PatchIndex([mask, (4, 203), (3, 3), (4, 4)], size=4, total=9_000, seed=3, share=1.0)
    drawn = np.array([index[k] for k in range(len(index))])
    assert index.left_out == (2,)
    for start in range(0, 9_000, 3):
        assert sorted(drawn[start : start + 3, 0].tolist()) == [0, 1, 3]  # one of each in every round
    orders = {tuple(drawn[start : start + 3, 0].tolist()) for start in range(0, 300, 3)}
    assert len(orders) == 6  # and all orders occur
    for image, places in ((0, allowed(mask, 4, 1.0)), (1, {(0, column) for column in range(200)})):
        found = [tuple(place) for place in drawn[drawn[:, 0] == image, 1:].tolist()]
        counts = np.array([found.count(place) for place in sorted(places)])
        expected = 3_000 / len(places)
        chi2 = ((counts - expected) ** 2 / expected).sum()
        assert abs(chi2 - (len(places) - 1)) < 4 * np.sqrt(2 * len(places))


def test_a_patch_follows_from_seed_and_number_alone():
    shapes = [(70, 300), (64, 64), (100, 200)]
    index, longer = PatchIndex(shapes, 64, 1_000_000, seed=5), PatchIndex(shapes, 64, 2_000_000, seed=5)
    numbers = [999_999, 0, 17, 123_456]
    wanted = [index[k] for k in numbers]
    assert [longer[k] for k in numbers] == wanted
    assert [pickle.loads(pickle.dumps(index))[k] for k in reversed(numbers)] == wanted[::-1]
    masks = [np.ones(shape, bool) for shape in shapes]
    assert [PatchIndex(masks, 64, 1_000_000, seed=5)[k] for k in numbers] == wanted  # a full mask is no mask
    assert [PatchIndex(shapes, 64, 1_000_000, seed=6)[k] for k in numbers] != wanted
    assert len({index[k][1:] for k in range(0, 300, 3)}) > 60
    for k in (-1, 1_000_000):
        with pytest.raises(IndexError, match=f"patch {k} of 1000000"):
            index[k]


def test_golden_places():
    """The draws of a seed must never change: a resumed training would see other patches."""
    index = PatchIndex([(70, 300), (80, 120)], 64, 1_000_000, seed=0)
    assert [index[k] for k in (0, 1, 2, 999_999)] == [(0, 2, 126), (1, 11, 52), (0, 2, 30), (0, 3, 183)]


def test_patches_are_cut_where_the_index_says_and_each_image_is_read_once():
    rng = np.random.default_rng(0)
    images = [rng.random((70, 300)).astype(np.float32), rng.random((80, 120)).astype(np.float32)]
    read = []

    class Reader:
        def __getitem__(self, i):
            read.append(int(i))
            return images[i]

    index = PatchIndex([image.shape for image in images], 64, 1_000, seed=0)
    numbers = [5, 900, 6, 7, 5]
    patches = index.patches(Reader(), numbers)
    assert patches.shape == (5, 64, 64)
    assert patches.dtype == np.float32
    for patch, k in zip(patches, numbers, strict=True):
        image, row, column = index[k]
        assert (patch == cut(images[image], np.array([[row, column]]), 64)[0]).all()
    assert sorted(read) == [0, 1]
    with pytest.raises(ValueError, match=r"expected \(70, 300\) as when it was indexed"):
        index.patches([images[1], images[1]], range(8))
    with pytest.raises(ValueError, match="at least one number"):
        index.patches(images, [])


@pytest.mark.parametrize("size,total", [(0, 5), (4, 0)])
def test_impossible_settings_are_refused(size, total):
    with pytest.raises(SettingsError, match="at least one"):
        PatchIndex([(9, 9)], size, total, seed=0)
