"""--group: columns, parent folders and patterns; what is refused, what is said, and the preview."""

import fnmatch
import time
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from anotwin.data.grouping import namer
from anotwin.domains.open import notes_of, open_source
from anotwin.errors import DataError, SettingsError
from anotwin.records import ImageItem
from anotwin.updates import Passing


def make(root, *names):
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), number, np.uint8)).save(root / name)
    return root


def found(root, how, part="train", **more):
    return {item.id: item.group for item in open_source(root, part, group=how, **more).items}


def group_of(how, file):
    return namer(how, "DATA", None)[0](file, ImageItem(file))


@pytest.mark.parametrize(
    "how,file,group",
    [
        ("{}_*.png", "good/p1_left_3.png", "p1"),
        ("{}_*.PNG", "good/p1_left_3.png", "p1"),
        ("strip-*-{}-*", "strip-a-07-x.png", "07"),
        ("*_{}_*.png", "f00_0012_07.png", "0012"),
        ("*/{}/*", "train/p1/a.png", "p1"),
        ("*/{}/*", "train/good/p1/a.png", None),
        ("**/{}/*", "train/good/p1/a.png", "p1"),
        ("{}/*", "p1/a.png", "p1"),
        ("{}_{}_*", "p1_left_3.png", "p1/left"),
        ("{}?.png", "p17.png", "p1"),
        ("{}_*", "nothing.png", None),
        ("{}_*", "_1.png", None),  # a group has a name
        ("[{}]*", "[7]a.png", "7"),  # brackets are themselves
        ("{}_1.png", unicodedata.normalize("NFD", "Zoë_1.png"), unicodedata.normalize("NFC", "Zoë")),
        (unicodedata.normalize("NFD", "ë{}.png"), unicodedata.normalize("NFC", "Ë7.png"), "7"),
        ("*.{}.png", "scan.p1.png", "p1"),
    ],
)
def test_patterns(how, file, group):
    assert group_of(how, file) == group


WORDS = st.text(st.sampled_from("ab_-1"), min_size=0, max_size=8)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.lists(st.sampled_from(["a", "_", "-", "*", "?"]), max_size=5), WORDS, st.integers(0, 5))
def test_a_pattern_fits_what_fnmatch_fits(pieces, name, place):
    """The oracle: a group of at least one character is ``?*``, and what is taken for it fits between the rest."""
    before, after = "".join(pieces[:place]), "".join(pieces[place:])
    group = group_of(f"{before}{{}}{after}", name) if name else None
    assert (group is not None) == fnmatch.fnmatchcase(name, f"{before}?*{after}")
    if group is not None:
        assert fnmatch.fnmatchcase(name, f"{before}{group}{after}")


def test_a_name_of_many_underscores_costs_no_time():
    began = time.perf_counter()
    assert group_of("*_*_*_*_*_*_*_*_{}_*_*_x", "_" * 250) is None
    assert time.perf_counter() - began < 0.5


def test_the_parent_folder_without_parts_and_labels(tmp_path):
    make(tmp_path, "train/good/p1/a.png", "train/good/p2/a.png", "test/good/p1/b.png", "test/bad/p3/c.png")
    assert found(tmp_path, "folder") == {"train/good/p1/a.png": "p1", "train/good/p2/a.png": "p2"}
    assert found(tmp_path, "folder", "test") == {"test/good/p1/b.png": "p1", "test/bad/p3/c.png": "p3"}


def test_a_number_makes_a_word_the_name_of_a_group(tmp_path):
    make(tmp_path, *(f"Train/Train{k:03d}/{i}.png" for k in (1, 2) for i in range(2)))
    assert list(found(tmp_path, "folder", "test").values()) == ["Train001"] * 2 + ["Train002"] * 2


def test_class_folders_are_no_groups(tmp_path):
    make(tmp_path, *(f"good/{i}.png" for i in range(5)), "bad/x.png")
    with pytest.raises(DataError, match=r"'folder' names no group for any of 5 images .*pattern such as"):
        found(tmp_path, "folder")


def test_a_single_group_cannot_be_trained_on(tmp_path):
    make(tmp_path, *(f"all/{i}.png" for i in range(5)))
    with pytest.raises(DataError, match=r"one single group 'all' of all 5 images .*expected a column"):
        found(tmp_path, "folder")
    assert set(found(tmp_path, "folder", "test").values()) == {"all"}


def test_a_column_by_any_spelling(tmp_path):
    make(tmp_path, *(f"{i}.png" for i in range(4)))
    rows = "".join(f"{i}.png,p{i},Lot {i % 2}\n" for i in range(4))
    (tmp_path / "manifest.csv").write_text("file,patient,Lot-Nr\n" + rows)
    assert list(found(tmp_path, "lot_nr").values()) == ["Lot 0", "Lot 1", "Lot 0", "Lot 1"]
    assert list(found(tmp_path, None).values()) == ["p0", "p1", "p2", "p3"]
    assert list(found(tmp_path, "none").values()) == [None] * 4
    with pytest.raises(DataError, match=r"'camera': no such column \('file', 'patient', 'Lot-Nr'\); expected"):
        found(tmp_path, "camera")


def test_what_does_not_match_is_said_with_examples(tmp_path):
    make(tmp_path, "p1_1.png", "p1_2.png", "p2_1.png", "odd.png")
    source = open_source(tmp_path, "train", group="{}_*.png")
    assert [item.group for item in source.items] == [None, "p1", "p1", "p2"]
    assert any("names no group for 1 of 4 images (odd.png): each counts by itself" in note for note in source.notes)
    with pytest.raises(DataError, match="names no group for any of 4 images"):
        open_source(tmp_path, "train", group="{}-*")


def test_the_groups_of_another_set_are_asked_for_and_not_demanded(tmp_path):
    make(tmp_path, "a.png", "b.png")
    source = open_source(tmp_path, "test", group="{}_*.png", must=False)
    assert [item.group for item in source.items] == [None, None]
    assert any("the groups of training are not known" in note for note in source.notes)


def test_the_preview_shows_what_was_taken_for_a_group_and_is_not_stored(tmp_path):
    make(tmp_path, *(f"p{k}_{i}.png" for k in range(5) for i in range(k + 1)))
    (note,) = [note for note in notes_of(open_source(tmp_path, "train", group="{}_*")) if isinstance(note, Passing)]
    assert note == (
        "5 groups by {}_*, images in each: 1 to 5, median 3; for example p0 (p0_0.png), p1 (p1_0.png, p1_1.png), "
        "p2 (p2_0.png, p2_1.png ...)"
    )


def test_images_in_memory_take_a_list():
    images = np.zeros((4, 8, 8), np.uint8)
    source = open_source(images, "train", group=["a", "A ", 7, None])
    assert [item.group for item in source.items] == ["A ", "A ", "7", None]
    with pytest.raises(DataError, match="3 groups for 4 images"):
        open_source(images, "train", group=["a"] * 3)
    with pytest.raises(SettingsError, match="images in memory have no names; give a list"):
        open_source(images, "train", group="folder")


def test_a_list_of_paths_takes_a_pattern(tmp_path):
    make(tmp_path, "p1_1.png", "p1_2.png", "p2_1.png")
    source = open_source(sorted(tmp_path.glob("*.png")), "train", group="{}_*")
    assert [item.group for item in source.items] == ["p1", "p1", "p2"]


def test_a_list_for_a_folder_and_names_for_idx_are_refused(tmp_path):
    make(tmp_path, "a.png", "b.png")
    with pytest.raises(SettingsError, match="a list of groups is for images in memory"):
        open_source(tmp_path, "train", group=["a", "b"])
    with pytest.raises(SettingsError, match="layout idx have no names of files"):
        open_source(tmp_path, "train", "idx", "0", group="folder")
