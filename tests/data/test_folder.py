"""Folders of images as users have them: labels, parts, manifest, hidden files, links."""

import pickle

import numpy as np
import pytest
from PIL import Image

from anotwin.data.folder import open_folder
from anotwin.errors import DataError
from anotwin.records import ImageItem


@pytest.fixture
def make(tmp_path):
    def make(*names, value=100):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((4, 6), value, np.uint8)).save(path)
        return tmp_path

    return make


def ids(source):
    return [item.id for item in source.items]


def fails(root, part="test", normal=None, words=()):
    with pytest.raises(DataError) as error:
        open_folder(root, part, normal)
    assert "\n" not in str(error.value)
    for word in (str(root), *words):
        assert word in str(error.value)


def test_everything_below_sorted_and_nothing_else(make):
    root = make("b/2.PNG", "b/1.jpg", "a/x/y.png", "top.png", ".hidden.png", ".git/a.png", "a/.b/c.png")
    (root / "a/notes.txt").write_text("no image")
    (root / "folder.png").mkdir()
    source = open_folder(root, "test")
    assert ids(source) == ["a/x/y.png", "b/1.jpg", "b/2.PNG", "top.png"]
    assert [item.label for item in source.items] == ["a", "b", "b", None]
    assert {item.normal for item in source.items} == {None}
    assert source.layout == "folder"
    assert source.read(2).shape == (4, 6)
    assert source.read_mask(2) is None
    assert pickle.loads(pickle.dumps(source)) == source


@pytest.mark.parametrize("name", ["good", "NORMAL", "Ok"])
def test_normal_names_are_known(make, name):
    root = make(f"{name}/1.png", "crack/1.png", "1.png")
    normal = {item.id: item.normal for item in open_folder(root, "test").items}
    assert normal == {"1.png": None, "crack/1.png": False, f"{name}/1.png": True}
    assert ids(open_folder(root, "train")) == [f"{name}/1.png"]  # of 1.png nothing is known


def test_given_normal_goes_before_the_names(make):
    root = make("good/1.png", "mild/1.png")
    assert [item.normal for item in open_folder(root, "test", "mild").items] == [False, True]
    assert ids(open_folder(root, "train", "mild")) == ["mild/1.png"]


def test_unknown_normal_lists_labels_with_counts(make):
    root = make("a/1.png", "a/2.png", "b/1.png", *(f"c{i}/1.png" for i in range(12)))
    fails(root, normal="zzz", words=["'zzz'", "'a' (2)", "and 4 more"])
    fails(make("1.png"), normal="zzz", words=["'zzz'"])


def test_parts(make):
    root = make("Train/ok/1.png", "Test/crack/2.png", "other/3.png")
    assert open_folder(root, "train").items == (ImageItem("Train/ok/1.png", "ok", True),)
    # "ok" exists in the other part, so that "crack" is known to be abnormal, and --normal ok is no mistake
    assert open_folder(root, "test").items == (ImageItem("Test/crack/2.png", "crack", False),)
    assert open_folder(root, "test", "ok").items[0].normal is False
    assert len(open_folder(make("only/train/1.png") / "only", "test").items) == 1


def test_links_cannot_loop(make):
    root = make("a/1.png")
    (root / "a/up").symlink_to(root, target_is_directory=True)
    (root / "b").symlink_to(root / "a", target_is_directory=True)
    (root / "gone.png").symlink_to(root / "nothing.png")
    assert ids(open_folder(root, "test")) == ["a/1.png"]


def test_single_file(make):
    root = make("a.png")
    source = open_folder(root / "a.png", "test")
    assert source.items == (ImageItem("a.png"),)
    assert source.read(0)[0, 0] == 100
    fails(root / "a.png", "train", words=["training needs a folder"])
    (root / "a.txt").write_text("x")
    fails(root / "a.txt", words=["not an image"])


def test_empty_or_missing(tmp_path):
    fails(tmp_path, words=["no image for test", ".png"])
    fails(tmp_path / "none", words=["no such folder"])


def test_only_abnormal_images_cannot_train(make):
    root = make("train/crack/1.png", "test/good/1.png")
    fails(root, "train", words=["no normal image", "'crack' (1)"])


def test_unreadable_image_is_found_on_reading(make):
    root = make("1.png")
    (root / "2.png").write_bytes(b"junk")
    source = open_folder(root, "test")
    with pytest.raises(DataError, match=r"2\.png"):
        source.read(1)


def write(root, text):
    (root / "manifest.csv").write_text(text, encoding="utf-8")
    return root


def test_manifest_gives_label_group_and_split(make):
    root = make("x/1.png", "x/2.png", "3.png", "x/unlisted.png")
    write(
        root,
        "\ufeffsplit, label,group,patient,file\ntrain,good,g1,p,x/1.png\nTest,bad,g2,p,x/2.png\ntest,good,,p,3.png\n",
    )
    assert open_folder(root, "train").items == (ImageItem("x/1.png", "good", True, "g1"),)
    assert open_folder(root, "test").items == (
        ImageItem("3.png", "good", True, None),
        ImageItem("x/2.png", "bad", False, "g2"),
    )


def test_manifest_without_split_keeps_the_parts(make):
    root = write(make("train/good/1.png", "test/bad/2.png"), "file,patient\ntrain/good/1.png,7\ntest/bad/2.png,8\n")
    assert open_folder(root, "train").items == (ImageItem("train/good/1.png", "good", True, "7"),)
    assert open_folder(root, "test").items == (ImageItem("test/bad/2.png", "bad", False, "8"),)


def test_manifest_alone_defines_the_set(make):
    root = write(make("a/1.png", "b/2.png"), "file\nb/2.png\n")
    assert open_folder(root, "test").items == (ImageItem("b/2.png", "b"),)


@pytest.mark.parametrize(
    "text,words",
    [
        ("file\nnone.png\n", ["1 of 1 files do not exist", "'none.png'"]),
        ("what,label\n1.png,a\n", ["columns ['what', 'label']", "expected file"]),
        ("", ["expected file"]),
        ("file\n1.png\n./1.png\n", ["line 3", "second time"]),
        ("file\n../1.png\n", ["line 2", "below the manifest's folder"]),
        ("file\n/1.png\n", ["below the manifest's folder"]),
        ("file,label\n,a\n", ["below the manifest's folder"]),
    ],
)
def test_bad_manifest(make, text, words):
    fails(write(make("1.png"), text), words=["manifest.csv", *words])


def test_manifest_that_is_not_text(make):
    root = make("1.png")
    (root / "manifest.csv").write_bytes(b"file\n\xff\xfe\x00.png\n")
    fails(root, words=["manifest.csv", "UTF-8"])
