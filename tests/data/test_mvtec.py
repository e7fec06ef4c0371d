"""The MVTec AD layout: parts, labels, masks, groups."""

import numpy as np
import pytest
from PIL import Image

from anotwin.data.mvtec import is_mvtec, open_mvtec
from anotwin.errors import DataError


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


@pytest.fixture
def root(tmp_path):
    grey = np.full((5, 7), 9, np.uint8)
    for name in (
        "train/good/000.png",
        "test/good/000.png",
        "test/crack/000.jpg",
        "test/crack/001.png",
        "test/loose.png",
    ):
        save(tmp_path / name, grey)
    mask = np.zeros((5, 7), np.uint8)
    mask[1, 2] = 255
    save(tmp_path / "ground_truth/crack/000_mask.bmp", mask)
    return tmp_path


def test_train(root):
    source = open_mvtec(root, "train")
    (item,) = source.items
    assert (item.id, item.label, item.normal, item.mask) == ("train/good/000.png", "good", True, None)
    assert source.layout == "mvtec"
    assert source.read(0).shape == (5, 7)


def test_test_labels_and_masks(root):
    source = open_mvtec(root, "test")
    assert [(item.id, item.label, item.normal) for item in source.items] == [
        ("test/crack/000.jpg", "crack", False),
        ("test/crack/001.png", "crack", False),
        ("test/good/000.png", "good", True),
    ]
    assert np.argwhere(source.read_mask(0)).tolist() == [[1, 2]]
    assert source.read_mask(1) is None
    empty = source.read_mask(2)
    assert empty.shape == (5, 7)
    assert empty.dtype == bool
    assert not empty.any()


def test_without_ground_truth_nothing_is_known(root):
    (root / "ground_truth/crack/000_mask.bmp").unlink()
    (root / "ground_truth/crack").rmdir()
    (root / "ground_truth").rmdir()
    assert [open_mvtec(root, "test").read_mask(i) for i in range(3)] == [None, None, None]


def test_mask_of_another_size(root):
    save(root / "ground_truth/crack/000_mask.bmp", np.zeros((7, 5), np.uint8))
    with pytest.raises(DataError, match=r"000_mask.bmp: mask of shape \(7, 5\), expected \(5, 7\)"):
        open_mvtec(root, "test").read_mask(0)


def test_mask_without_suffix_gives_way(root):
    save(root / "ground_truth/crack/000.png", np.full((5, 7), 255, np.uint8))
    save(root / "ground_truth/crack/001.png", np.full((5, 7), 255, np.uint8))
    source = open_mvtec(root, "test")
    assert [int(source.read_mask(i).sum()) for i in (0, 1)] == [1, 35]


def test_groups_from_the_manifest(root):
    (root / "manifest.csv").write_text("file,group\ntrain/good/000.png,17\n")
    assert open_mvtec(root, "train").items[0].group == "17"
    assert open_mvtec(root, "test").items[0].group is None


def test_missing_folders(tmp_path):
    for part in ("train", "test"):
        with pytest.raises(DataError, match="no such folder; the mvtec layout"):
            open_mvtec(tmp_path, part)
    (tmp_path / "train/good").mkdir(parents=True)
    with pytest.raises(DataError, match="no image in the folder"):
        open_mvtec(tmp_path, "train")


def test_is_mvtec(root):
    assert is_mvtec(root)
    assert not is_mvtec(root / "test")
