"""The training images of OCT scans: their flattened retinas, of which patches are cut."""

from pathlib import Path

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from anotwin.domains.oct.scans import flat_scans, levels
from anotwin.domains.oct.view import RetinaView
from anotwin.errors import DataError
from anotwin.records import ImageSpec
from anotwin.seeding import fingerprint
from anotwin.settings import Settings
from anotwin.updates import silent
from made_scans import BLANK, Scans, scan, volume

SIZE = 16
SPEC = ImageSpec(1, SIZE, view="retina", parts=True)


def training(source, indices, seed=0, watch=silent):
    settings = Settings.model_validate({"training": {"seed": seed}})
    return RetinaView().training(source, indices, SPEC, settings, Path("not used"), watch)


@pytest.fixture(scope="module")
def source():
    return Scans(((scan(0),), (scan(1),), volume(2, 2)))


@pytest.fixture(scope="module")
def images(source):
    return training(source, range(4))


def places(patch, bands):
    """(band, row, column) of every place where a patch (S, S) of bytes lies."""
    found = []
    for number, band in enumerate(bands):
        windows = sliding_window_view(band, patch.shape)
        found += [(number, *place) for place in np.argwhere((windows == patch).all(axis=(2, 3))).tolist()]
    return found


def as_bytes(batch):
    return np.rint((batch.images[:, 0].numpy() + 1) * 127.5).astype(np.uint8)


def test_patches_are_cuts_of_the_flattened_retinas(source, images):
    flattened = [found.flat for found in flat_scans(source, range(4))]
    seen = []
    for patch in as_bytes(images.subset(np.arange(4)).batch(np.arange(24))):
        ((band, row, column),) = places(patch, [levels(flat.pixels) for flat in flattened])  # speckle: all differ
        assert flattened[band].valid[row : row + SIZE, column : column + SIZE].mean() >= 0.9
        seen.append(band)
    assert set(seen) == {0, 1, 2, 3}


def test_training_and_held_out_patches_never_come_from_one_scan(images):
    for rows in ([0, 3], [2]):
        batch = images.subset(np.array(rows)).batch(np.arange(12))
        assert {places(patch, images.pixels)[0][0] for patch in as_bytes(batch)} == set(rows)


def test_the_seed_of_the_training_draws_the_patches(source, images):
    first = images.subset(np.arange(4)).batch(np.arange(8)).images
    assert (training(source, range(4)).subset(np.arange(4)).batch(np.arange(8)).images == first).all()
    assert (training(source, range(4), seed=1).subset(np.arange(4)).batch(np.arange(8)).images != first).any()


def test_scans_keep_their_indices_and_fingerprints(images):
    assert images.indices.tolist() == [0, 1, 2, 3]
    pixels = [scan(0), scan(1), *volume(2, 2)]
    assert images.fingerprints.tolist() == [np.int64(fingerprint(each)) for each in pixels]
    assert images.failures == ()


def test_bad_scans_are_left_out_up_to_half_of_all():
    source = Scans(((scan(0),), (BLANK,), ("no picture",), (scan(1),), (BLANK,)))
    told = []
    found = training(source, [3, 2, 1, 0], watch=lambda update: told.append((update.done, update.total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert found.indices.tolist() == [3, 0]
    assert [index for index, _ in found.failures] == [2, 1]
    assert found.failures[0][1] == "v2#0: no picture"
    with pytest.raises(DataError, match=r"memory: 3 of 5 scans cannot be used; the first: v1#0: "):
        training(source, range(5))
    with pytest.raises(DataError, match="1 of 1 scans"):
        training(source, [2])
