"""Patches of scans as training images: cuts of the flattened scans, found again in them by brute force."""

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from anotwin.domains.oct.scans import flat_scans, levels
from anotwin.errors import DataError
from anotwin.prepare.patch_images import EACH, prepare_patches
from anotwin.seeding import fingerprint
from made_scans import BLANK, Scans, scan, volume

SIZE = 16
MANY = np.arange(24)


@pytest.fixture(scope="module")
def source():
    return Scans(((scan(0),), (scan(1),), volume(2, 2)))


@pytest.fixture(scope="module")
def images(source):
    return prepare_patches(source, range(4), SIZE, seed=0)


def places(patch, bands):
    """(band, row, column) of every place where a patch (S, S) of bytes lies."""
    found = []
    for number, band in enumerate(bands):
        windows = sliding_window_view(band, patch.shape)
        found += [(number, *place) for place in np.argwhere((windows == patch).all(axis=(2, 3))).tolist()]
    return found


def as_bytes(batch):
    return np.rint((batch[:, 0].numpy() + 1) * 127.5).astype(np.uint8)


def test_patches_are_cuts_of_the_bands(source, images):
    bands = [levels(found.flat.pixels) for found in flat_scans(source, range(4))]
    valid = [found.flat.valid for found in flat_scans(source, range(4))]
    batch = images.batch(images.positions(np.arange(4))[MANY])
    assert batch.shape == (24, 1, SIZE, SIZE)
    assert batch.abs().max() <= 1
    seen = []
    for patch in as_bytes(batch):
        ((band, row, column),) = places(patch, bands)  # speckle: no two places look alike
        assert valid[band][row : row + SIZE, column : column + SIZE].mean() >= 0.9
        seen.append((band, row, column))
    assert {band for band, *_ in seen} == {0, 1, 2, 3}
    assert len(set(seen)) > 20


def test_training_and_held_out_patches_never_come_from_one_scan(images):
    training, heldout = np.array([0, 3]), np.array([2])
    first, second = images.positions(training), images.positions(heldout)
    assert len(first) == len(second) == EACH
    assert first[-1] < second[0]
    for rows, positions in ((training, first), (heldout, second)):
        far = np.concatenate([positions[:8], positions[-8:]])
        assert {places(patch, images.bands)[0][0] for patch in as_bytes(images.batch(far))} == set(rows.tolist())
    mixed = images.batch(np.array([second[3], first[5], second[1]]))
    apart = [images.batch(each) for each in (second[3:4], first[5:6], second[1:2])]
    assert all((one == other[0]).all() for one, other in zip(mixed, apart, strict=True))


def test_a_seed_gives_its_patches_again(source, images):
    first = images.batch(images.positions(np.arange(4))[MANY])
    again = prepare_patches(source, range(4), SIZE, seed=0)
    assert (again.batch(again.positions(np.arange(4))[MANY]) == first).all()
    other = prepare_patches(source, range(4), SIZE, seed=1)
    assert (other.batch(other.positions(np.arange(4))[MANY]) != first).any()


def test_scans_keep_who_they_are(images):
    assert images.indices.tolist() == [0, 1, 2, 3]
    pixels = [scan(0), scan(1), *volume(2, 2)]
    assert images.fingerprints.tolist() == [np.int64(fingerprint(each)) for each in pixels]
    assert images.bands[0].dtype == np.uint8
    assert images.failures == ()
    assert images.close() is None


def test_bad_scans_are_left_out_up_to_half_of_all():
    source = Scans(((scan(0),), (BLANK,), ("no picture",), (scan(1),), (BLANK,)))
    told = []
    found = prepare_patches(source, [3, 2, 1, 0], SIZE, 0, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert found.indices.tolist() == [3, 0]
    assert [index for index, _ in found.failures] == [2, 1]
    assert found.failures[0][1] == "v2#0: no picture"
    with pytest.raises(DataError, match=r"memory: 3 of 5 scans cannot be used; the first: v1#0: one flat colour"):
        prepare_patches(source, range(5), SIZE, 0)
    with pytest.raises(DataError, match="1 of 1 scans"):
        prepare_patches(source, [2], SIZE, 0)
