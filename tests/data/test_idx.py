"""idx files, written here byte by byte; every lie a header can tell."""

import gzip
import pickle
import struct
import time

import numpy as np
import pytest

from anotwin.data.idx import find_idx, open_idx
from anotwin.errors import DataError

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 3, 4), dtype=np.uint8)
LABELS = np.array([0, 1, 0, 2, 0, 1], np.uint8)


def idx(array):
    return struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()


GOOD_IMAGES, GOOD_LABELS = idx(IMAGES), idx(LABELS)


def write(folder, images=GOOD_IMAGES, labels=GOOD_LABELS, part="train", style="-", zipped=False, prefix=""):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in (
        (f"{prefix}{part}-images{style}idx3-ubyte", images),
        (f"{prefix}{part}-labels{style}idx1-ubyte", labels),
    ):
        if data is not None:
            (folder / (name + ".gz" * zipped)).write_bytes(gzip.compress(data) if zipped else data)
    return folder


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("style", ["-", "."])
@pytest.mark.parametrize("prefix", ["", "emnist-letters-"])
@pytest.mark.parametrize("below", [".", "raw", "MNIST/raw"])
def test_names_and_places(tmp_path, zipped, style, prefix, below):
    write(tmp_path / below, zipped=zipped, style=style, prefix=prefix)
    write(tmp_path / below, zipped=zipped, style=style, prefix=prefix, part="test" if prefix else "t10k")
    train = open_idx(tmp_path, "train", "0")
    assert [(item.id, item.label, item.normal) for item in train.items] == [
        (f"train-0000{i}", "0", True) for i in (0, 2, 4)
    ]
    np.testing.assert_array_equal(train.read(1), IMAGES[2])
    test = open_idx(tmp_path, "test", "0")
    assert [item.normal for item in test.items] == (LABELS == 0).tolist()
    assert [item.label for item in test.items] == [str(label) for label in LABELS]
    assert test.items[3].id == ("test-00003" if prefix else "t10k-00003")
    np.testing.assert_array_equal(test.read(3), IMAGES[3])
    assert test.read_mask(0) is None


def test_reading_is_safe_and_picklable(tmp_path):
    source = open_idx(write(tmp_path), "train", "0")
    source.read(0)[:] = 0  # a copy: the file stays
    copy = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(copy.read(0), IMAGES[0])
    assert len(pickle.dumps(source)) < 2000
    raw, zipped = tmp_path / "a", write(tmp_path / "b", zipped=True)
    write(raw)
    assert [open_idx(f, "train", "1").read(0).tolist() for f in (raw, zipped)] == [IMAGES[1].tolist()] * 2


def test_a_changed_file_is_read_again(tmp_path):
    for value in (1, 2):
        write(tmp_path, idx(np.full((6, 3, 4), value, np.uint8)), zipped=True)
        assert open_idx(tmp_path, "train", "0").read(0)[0, 0] == value
        time.sleep(0.02)


def test_unlabelled_normal_in_test(tmp_path):
    assert {item.normal for item in open_idx(write(tmp_path, part="t10k"), "test").items} == {None}


def fails(folder, *words, part="train", normal="0"):
    with pytest.raises(DataError) as error:
        open_idx(folder, part, normal)
    assert "\n" not in str(error.value)
    for word in (str(folder), *words):
        assert word in str(error.value)


def test_normal_must_be_given_and_exist(tmp_path):
    write(tmp_path)
    fails(tmp_path, "needs --normal", "'0' (3), '1' (2), '2' (1)", normal=None)
    fails(tmp_path, "no label '7'", "'0' (3)", normal="7")


def header(*sizes, magic=0x803):
    return struct.pack(f">{1 + len(sizes)}I", magic, *sizes)


DATA = IMAGES.tobytes()


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    "data,word",
    [
        (b"", "truncated"),
        (header(6, 3, 4)[:9], "truncated"),
        (idx(IMAGES)[:-1], "truncated"),
        (idx(IMAGES) + b"\0", "longer"),
        (header(6, 3, 4, magic=0x801) + DATA, "magic number 0x00000801, expected 0x00000803"),
        (header(6, 3, 4, magic=0xD03) + DATA, "magic number"),
        (header(0, 3, 4), "at least one"),
        (header(6, 3, 5) + DATA, "truncated"),
        (header(2**32 - 1, 2**32 - 1, 2**32 - 1) + DATA, "truncated"),
    ],
)
def test_damaged_images(tmp_path, data, word, zipped):
    fails(write(tmp_path, data, zipped=zipped), word)


@pytest.mark.parametrize("cut", [5, 30, -3])
def test_damaged_gzip(tmp_path, cut):
    write(tmp_path, zipped=True)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:cut])
    fails(tmp_path, "train-images-idx3-ubyte.gz")
    path.write_bytes(b"not gzip at all")
    fails(tmp_path, "fetch it again")


def test_labels_must_fit(tmp_path):
    fails(write(tmp_path, labels=idx(LABELS[:5])), "5 labels for 6 images")
    fails(write(tmp_path / "none", labels=None), "train-labels-idx1-ubyte", "no labels beside")


def test_no_files_or_too_many(tmp_path):
    fails(tmp_path, "no train-images-idx3-ubyte(.gz)")
    write(tmp_path, prefix="emnist-letters-")
    write(tmp_path, prefix="emnist-digits-")
    fails(tmp_path, "several idx sets", "emnist-digits")
    assert find_idx(tmp_path, "test") is None


def test_raw_goes_before_gz(tmp_path):
    write(tmp_path, zipped=True)
    write(tmp_path)
    assert find_idx(tmp_path, "train").name == "train-images-idx3-ubyte"
