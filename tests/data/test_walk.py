"""Files below a folder: links, what systems leave behind, what is passed over."""

import os
import sys

import numpy as np
import pytest
from PIL import Image

from anotwin.data.folder import open_folder
from anotwin.data.walk import Walked, walk
from anotwin.errors import DataError

SUFFIXES = (".png", ".jpg")


@pytest.fixture
def root(tmp_path):
    return image(tmp_path / "data" / "good/1.png").parents[1]


def image(path, value=100):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 6), value, np.uint8)).save(path)
    return path


def found(root):
    met = Walked()
    return sorted(walk(root, SUFFIXES, met)), met


def test_links_that_loop_or_lead_nowhere_are_counted_and_said(root):
    (root / "good/up").symlink_to(root, target_is_directory=True)
    (root / "self.png").symlink_to(root / "self.png")
    (root / "gone.png").symlink_to(root / "nothing.png")
    (root / "gone").symlink_to(root / "nowhere", target_is_directory=True)
    names, met = found(root)
    assert names == ["good/1.png"]
    assert sorted(met.dangling) == ["gone", "gone.png", "self.png"]
    assert met.again == ["good/up"]
    notes = " ".join(open_folder(root, "test").notes)
    assert "3 links to nothing left out (the first: gone)" in notes
    assert "1 link to folders that are read under their own names" in notes


def test_links_out_of_data_are_not_followed(root, tmp_path):
    image(tmp_path / "elsewhere/secret.png")
    (root / "good/linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (root / "good/file.png").symlink_to(tmp_path / "elsewhere/secret.png")
    (root / "good/sibling.png").symlink_to(image(tmp_path / "data-2/1.png"))  # its path begins alike
    source = open_folder(root, "train")
    assert [item.id for item in source.items] == ["good/1.png"]
    (note,) = [note for note in source.notes if "out of DATA" in note]
    assert "3 links that lead out of DATA not followed" in note
    assert "good/file.png" in note


def test_links_within_data_and_data_that_is_a_link(root, tmp_path):
    image(root / "pool/a.png", 7)
    (root / "good/a.png").symlink_to("../pool/a.png")
    (root / "a_link").symlink_to(root / "pool", target_is_directory=True)  # the folder's own name counts
    (tmp_path / "link").symlink_to(root, target_is_directory=True)
    for place in (root, tmp_path / "link"):
        assert found(place)[0] == ["good/1.png", "good/a.png", "pool/a.png"]


def test_a_set_of_links_alone_says_why_nothing_is_there(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/1.png").symlink_to(image(tmp_path / "store/1.png"))
    with pytest.raises(DataError, match=r"no image for test.*1 link that lead out of DATA not followed"):
        open_folder(tmp_path / "data", "test")


def test_what_systems_leave_behind_is_no_image(root):
    for folder in ("__MACOSX/good", ".ipynb_checkpoints", "@eaDir", "$RECYCLE.BIN"):
        image(root / folder / "1.png")
    image(root / "good/._1.png")
    (root / "good/Thumbs.db").write_bytes(b"x")
    (root / "desktop.ini").write_text("x")
    names, met = found(root)
    assert names == ["good/1.png"]
    assert not met.passed


def test_files_passed_over_are_counted_by_ending(root):
    for number in range(10):
        (root / f"good/{number}.HEIC").write_bytes(b"x")
    for name in ("a.jp2", "b.jp2", "clip.mp4", "x.npy", "scan", "README", "notes.txt", "labels.csv", "v.nii.gz"):
        (root / name).write_bytes(b"x")
    (note,) = open_folder(root, "train").notes
    assert note == (
        f"{root}: 16 files passed over: .heic (10), .jp2 (2), .mp4 (1), no ending (1), .nii.gz (1), .npy (1); "
        "convert them to PNG or TIFF"
    )


def test_endings_without_advice(root):
    (root / "a.pdf").write_bytes(b"x")
    assert open_folder(root, "train").notes == (f"{root}: 1 file passed over: .pdf (1)",)


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes")
def test_a_pipe_with_the_name_of_an_image_is_not_opened(root):
    os.mkfifo(root / "good/pipe.png")
    (root / "folder.png").mkdir()
    names, met = found(root)
    assert names == ["good/1.png"]
    assert met.special == ["good/pipe.png"]


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux alone")
def test_names_that_are_no_utf8(root):
    with open(os.fsencode(root) + b"/good/\xff.png", "wb") as file:  # noqa: PTH123
        file.write((root / "good/1.png").read_bytes())
    source = open_folder(root, "train")
    assert [os.fsencode(item.id) for item in source.items] == [b"good/1.png", b"good/\xff.png"]
    assert source.read(1).shape == (4, 6)


def test_a_folder_that_cannot_be_listed(tmp_path):
    with pytest.raises(DataError, match="nowhere: cannot list the folder"):
        list(walk(tmp_path / "nowhere", SUFFIXES))
