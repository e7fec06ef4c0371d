"""stream: order, failures, and the same values with workers as without."""

import numpy as np
import pytest
import torch
from PIL import Image

from anotwin.data.arrays import from_arrays
from anotwin.data.folder import open_folder
from anotwin.errors import DataError
from anotwin.prepare.resize import to_model
from anotwin.prepare.stream import stream
from anotwin.records import ImageSpec
from anotwin.seeding import fingerprint

SPEC = ImageSpec(1, 16)
RNG = np.random.default_rng(0)


@pytest.fixture
def folder(tmp_path):
    for i in range(9):
        Image.fromarray(RNG.integers(0, 256, (20 + i, 31), dtype=np.uint8)).save(tmp_path / f"{i}.png")
    (tmp_path / "4.png").write_bytes(b"junk")
    return open_folder(tmp_path, "test")


def test_batches_in_order(folder):
    order = [8, 0, 4, 7, 7, 1, 2]
    batches = list(stream(folder, order, SPEC, 3))
    assert [batch.indices for batch in batches] == [(8, 0), (7, 7, 1), (2,)]
    for batch in batches:
        assert batch.images.shape == (len(batch.indices), 1, 16, 16)
        assert batch.images.dtype == torch.float32
        for k, index in enumerate(batch.indices):
            pixels = folder.read(index)
            image, geometry = to_model(pixels, SPEC)
            np.testing.assert_array_equal(batch.pixels[k], pixels)
            torch.testing.assert_close(batch.images[k], image, rtol=0, atol=0)
            assert batch.geometries[k] == geometry
            assert batch.fingerprints[k] == fingerprint(pixels)
    ((index, message),) = batches[0].failures
    assert index == 4
    assert "4.png: not an image" in message


def test_pixels_are_dropped_on_request(folder):
    assert [batch.pixels for batch in stream(folder, range(4), SPEC, 2, keep_pixels=False)] == [(), ()]


def test_nothing_asked_for(folder):
    assert list(stream(folder, [], SPEC, 2, workers=2)) == []


def test_a_batch_of_failures_only():
    source = from_arrays(np.full((3, 4, 4), np.nan))
    (batch,) = stream(source, [0, 1, 2], SPEC, 5)
    assert batch.images.shape == (0, 1, 16, 16)
    assert [index for index, _ in batch.failures] == [0, 1, 2]
    assert batch.failures[1][1].startswith("image-00001: ")


def test_errors_of_preparation_name_the_image():
    (batch,) = stream(from_arrays(np.full((1, 4, 4), 7.0)), [0], SPEC, 1)
    assert batch.failures[0][1].startswith("image-00000: float pixels from 7 to 7")


@pytest.mark.parametrize("at_once", [1, 100, 2**18])
def test_sizes_and_failures_may_alternate(monkeypatch, at_once):
    """Images of one size are prepared together; what comes out, and its order, does not depend on how many."""
    monkeypatch.setattr("anotwin.prepare.stream.AT_ONCE", at_once)
    images = [RNG.random(shape, dtype=np.float32) for shape in [(4, 4)] * 5 + [(5, 4)] * 2 + [(4, 4)] * 3]
    images[3] = np.full((4, 4), 7, np.float32)  # out of range: known when it is prepared, with its neighbours
    images[4] = np.full((4, 4), np.nan, np.float32)  # known when it is read
    images[8] = np.full((4, 4), 9, np.float32)
    (batch,) = stream(from_arrays(images), range(10), SPEC, 10)
    good = [0, 1, 2, 5, 6, 7, 9]
    assert batch.indices == tuple(good)
    assert [index for index, _ in batch.failures] == [3, 4, 8]
    assert [message.partition(":")[0] for _, message in batch.failures] == ["image-00003", "image-00004", "image-00008"]
    assert "from 7 to 7 " in batch.failures[0][1]
    assert "from 9 to 9 " in batch.failures[2][1]
    for row, index in enumerate(good):
        image, geometry = to_model(images[index], SPEC)
        assert torch.equal(batch.images[row], image)
        assert batch.geometries[row] == geometry
        assert batch.fingerprints[row] == fingerprint(images[index])


def test_memory_is_bounded_by_the_batch_asked_for():
    source = from_arrays(RNG.integers(0, 256, (100, 8, 8), dtype=np.uint8))
    reads = []

    class Counting:
        items, root, layout = source.items, source.root, source.layout

        def read(self, index):
            reads.append(index)
            return source.read(index)

        def read_mask(self, _index):
            return None

    batches = stream(Counting(), range(100), SPEC, 10)
    next(batches)
    assert reads == list(range(10))


def test_workers_change_nothing(folder):
    order = [3, 1, 4, 8, 0, 2, 7]
    state = torch.random.get_rng_state()
    alone, helped = list(stream(folder, order, SPEC, 2)), list(stream(folder, order, SPEC, 2, workers=2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert len(alone) == len(helped) == 4
    for a, b in zip(alone, helped, strict=True):
        assert torch.equal(a.images, b.images)
        assert (a.indices, a.fingerprints, a.geometries, a.failures) == (
            b.indices,
            b.fingerprints,
            b.geometries,
            b.failures,
        )
        for x, y in zip(a.pixels, b.pixels, strict=True):
            np.testing.assert_array_equal(x, y)


def test_a_stream_with_workers_may_be_left_early(folder):
    batches = stream(folder, [0, 1, 2, 3], SPEC, 1, workers=1)
    assert next(batches).indices == (0,)
    batches.close()


class Killed:
    """A source that ends its process, as the system does when memory runs out."""

    layout, root = "array", "somewhere"
    items = from_arrays(np.zeros((2, 4, 4))).items

    def read(self, _index):
        import os

        os._exit(9)

    def read_mask(self, _index):
        return None


@pytest.mark.slow  # the loader looks after its workers every five seconds
def test_a_dead_worker_is_one_line():
    with pytest.raises(DataError, match=r"somewhere: a decoding process ended .*workers=0"):
        list(stream(Killed(), [0, 1], SPEC, 1, workers=1))
