"""PreparedImages: in memory and in a file, exact for 8-bit images, failures counted."""

import errno

import numpy as np
import pytest
import torch

from anotwin.data.arrays import from_arrays
from anotwin.errors import DataError
from anotwin.prepare import cache
from anotwin.prepare.cache import prepare_images
from anotwin.prepare.resize import to_model
from anotwin.records import ImageSpec
from anotwin.seeding import fingerprint

RNG = np.random.default_rng(0)
EXACT = RNG.integers(0, 256, (150, 16, 16), dtype=np.uint8)
SPEC = ImageSpec(1, 16)
LARGE = ImageSpec(3, 64)  # 150 of these are 1.8 MiB


def tensor(prepared, rows):
    return prepared.subset(rows).batch(np.arange(len(rows))).images


def test_eight_bits_are_exact():
    seen = []
    prepared = prepare_images(from_arrays(EXACT), [5, 3, *range(100)], SPEC, progress=lambda *done: seen.append(done))
    assert prepared.array.dtype == np.uint8
    assert prepared.array.shape == (102, 1, 16, 16)
    np.testing.assert_array_equal(prepared.array[:2, 0], EXACT[[5, 3]])
    assert prepared.indices.tolist() == [5, 3, *range(100)]
    assert prepared.fingerprints[0] == fingerprint(EXACT[5])
    assert prepared.fingerprints.dtype == np.int64
    assert prepared.failures == ()
    assert prepared.file is None
    assert seen == [(64, 102), (102, 102)]
    batch = prepared.subset(np.array([7, 1, 0])).batch(np.array([1, 2, 1])).images
    expected = torch.stack([to_model(EXACT[i], SPEC)[0] for i in (3, 5, 3)])
    assert batch.dtype == torch.float32
    assert torch.equal(batch, expected)


@pytest.mark.parametrize("workers", [0, 1])
def test_file_and_memory_hold_the_same(tmp_path, workers):
    source = from_arrays(EXACT)
    memory = prepare_images(source, range(150), LARGE, 100)
    disk = prepare_images(source, range(150), LARGE, 1, tmp_path / "new" / "folder", workers)
    assert disk.file is not None
    assert disk.file.parent == tmp_path / "new" / "folder"
    np.testing.assert_array_equal(disk.array, memory.array)
    positions = np.array([149, 0, 7])
    assert torch.equal(tensor(disk, positions), tensor(memory, positions))
    assert tensor(disk, positions).shape == (3, 3, 64, 64)
    disk.close()
    disk.close()
    memory.close()
    assert list((tmp_path / "new" / "folder").iterdir()) == []


@pytest.mark.parametrize(
    "values,spec",
    [
        (RNG.integers(0, 4096, (20, 16, 16)).astype(np.uint16), ImageSpec(1, 16, "uint16", 0, 4095)),
        (RNG.uniform(-3, 9, (20, 16, 16)).astype(np.float32), ImageSpec(1, 16, "float32", -3, 9)),
    ],
)
def test_deep_images_keep_sixteen_bits(values, spec):
    prepared = prepare_images(from_arrays(values), range(20), spec)
    assert prepared.array.dtype == np.uint16
    expected = torch.stack([to_model(image, spec)[0] for image in values])
    torch.testing.assert_close(tensor(prepared, np.arange(20)), expected, rtol=0, atol=1.01 / 65535)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_level_is_what_double_precision_makes_of_it(dtype):
    full = np.iinfo(dtype).max
    levels = np.arange(full + 1, dtype=dtype).reshape(16, 1, -1, 16)
    prepared = cache.PreparedImages(levels, np.zeros(16, np.int64), np.arange(16), ())
    expected = (levels.astype(np.float64) * (2 / full) - 1).astype(np.float32)
    assert torch.equal(tensor(prepared, np.arange(16)), torch.from_numpy(expected))
    assert expected.min() == -1
    assert expected.max() == 1


def test_outliers_are_clipped_to_the_learnt_range():
    values = np.full((1, 16, 16), 60000, np.uint16)
    prepared = prepare_images(from_arrays(values), [0], ImageSpec(1, 16, "uint16", 0, 4095))
    assert torch.equal(tensor(prepared, np.array([0])), torch.ones(1, 1, 16, 16))


def with_bad(count):
    values = (EXACT[:10] / 255).astype(np.float32)
    values[:count, 0, 0] = np.nan
    return from_arrays(values)


def test_a_few_failures_are_counted():
    prepared = prepare_images(with_bad(5), range(10), SPEC)
    assert prepared.indices.tolist() == [5, 6, 7, 8, 9]
    assert len(prepared.subset(np.arange(5))) == len(prepared.array) == len(prepared.fingerprints) == 5
    assert [index for index, _ in prepared.failures] == [0, 1, 2, 3, 4]
    assert "NaN" in prepared.failures[0][1]


@pytest.mark.parametrize("bad", [6, 10])
def test_too_many_failures(bad, tmp_path):
    with pytest.raises(DataError, match=f"{bad} of the 10 images .*the first: image-00000: 1 of 256 pixels are NaN"):
        prepare_images(with_bad(bad), range(10), SPEC)
    many = from_arrays(np.full((150, 4, 4), np.nan))
    with pytest.raises(DataError, match=r"array: 128 of the 128 images read so far \(150 in all\)"):
        prepare_images(many, range(150), LARGE, 1, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_images():
    with pytest.raises(DataError, match="0 of the 0 images"):
        prepare_images(with_bad(0), [], SPEC)


def test_full_disk_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    def full(_self, _images):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache.ArrayFile, "append", full)
    with pytest.raises(DataError) as error:
        prepare_images(from_arrays(EXACT), range(150), LARGE, 1, tmp_path)
    assert "No space left on device" in str(error.value)
    assert "memory_mb" in str(error.value)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="cannot keep 2 MiB"):
        prepare_images(from_arrays(EXACT), range(150), LARGE, 1, tmp_path / "file")


def test_an_interrupt_leaves_nothing(tmp_path):
    def stop(_done, _total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_images(from_arrays(EXACT), range(150), LARGE, 1, tmp_path, progress=stop)
    assert list(tmp_path.iterdir()) == []
