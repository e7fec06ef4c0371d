"""open_source finds the layout."""

import struct

import numpy as np
import pytest
from PIL import Image

from anotwin.data.arrays import from_arrays
from anotwin.domains.open import guess_layout, open_source
from anotwin.domains.registry import domain_for
from anotwin.errors import DataError, SettingsError


def save(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(path)


@pytest.fixture
def mvtec(tmp_path):
    save(tmp_path / "train/good/1.png")
    save(tmp_path / "test/crack/1.png")
    return tmp_path


def test_mvtec(mvtec):
    assert open_source(mvtec, "train").layout == "mvtec"
    assert open_source(str(mvtec), "test", normal="good").layout == "mvtec"
    assert open_source(mvtec, "test", "folder", "crack").items[0].normal is True
    with pytest.raises(DataError, match="normal label is 'good', got 'crack'"):
        open_source(mvtec, "test", normal="crack")


def test_idx_is_found_by_either_part(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/t10k-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x803, 1, 2, 2) + bytes(4))
    (tmp_path / "raw/t10k-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, 1) + bytes(1))
    assert open_source(tmp_path, "test").layout == "idx"
    with pytest.raises(DataError, match="no train-images"):
        open_source(tmp_path, "train", normal="0")


def test_folder_file_and_missing(tmp_path):
    save(tmp_path / "a/1.png")
    assert open_source(tmp_path, "test").layout == "folder"
    assert len(open_source(tmp_path / "a/1.png", "test").items) == 1
    with pytest.raises(DataError, match="no such folder"):
        open_source(tmp_path / "none", "test")


def test_arrays_and_sources():
    source = open_source(np.zeros((2, 4, 4)), "train")
    assert source.layout == "array"
    assert open_source(source, "test") is source
    assert open_source([np.zeros((4, 4))], "test").items == from_arrays([np.zeros((4, 4))]).items


def test_unknown_layout_or_part(tmp_path):
    with pytest.raises(SettingsError, match="layout 'tar': expected auto, folder, mvtec, idx, oct"):
        open_source(tmp_path, "test", "tar")
    with pytest.raises(SettingsError, match="part 'val'"):
        open_source(tmp_path, "val")


def test_a_layout_misspelt_is_suggested(tmp_path):
    with pytest.raises(SettingsError, match="did you mean 'mvtec'"):
        open_source(tmp_path, "test", "mvtek")


def test_the_first_layout_that_recognises_a_folder(mvtec, tmp_path):
    assert guess_layout(mvtec) == "mvtec"
    assert guess_layout(tmp_path / "none") == "folder"


@pytest.mark.parametrize(
    ("view", "layouts", "domain"),
    [
        ("auto", ("auto", "array"), "plain"),
        ("auto", ("auto", "oct"), "oct"),
        ("auto", ("oct", "array"), "oct"),
        ("auto", ("mvtec", "mvtec"), "plain"),
        ("whole", ("oct", "oct"), "plain"),
        ("retina", ("auto", "folder"), "oct"),
    ],
)
def test_the_view_is_the_one_named_else_that_of_the_layout(view, layouts, domain):
    assert domain_for(view, *layouts).name == domain


def test_an_unknown_view_is_named():
    views = "auto, whole, retina, tiles, frames, moving"
    with pytest.raises(SettingsError, match=f"view 'retna': expected {views}; did you mean 'retina'"):
        domain_for("retna")
