"""Folders and images in memory as two domains, and what is left out."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anotwin.errors import DataError, SettingsError
from anotwin.settings import Settings
from anotwin.translation.kinds import chosen_layout, translates
from anotwin.translation.layouts import Domains, images_below, open_domains


def put(folder: Path, *names: str, size: tuple[int, int] = (8, 8)) -> None:
    """Images (width, height) of these names, each with a grey value of its own."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full(size[::-1], len(name) % 200, np.uint8)).save(folder / name)


def opened(root: Path, layout: str, part: str = "train", *sets: str) -> Domains:
    return open_domains(root, part, layout, Settings().with_overrides(sets))  # type: ignore[arg-type]


def ids(domains: Domains) -> tuple[list[str], list[str]]:
    return [item.id for item in domains.a.items], [item.id for item in domains.b.items]


@pytest.mark.parametrize(
    ("a", "b"),
    [("trainA", "trainB"), ("train/A", "train/B"), ("A/train", "B/train"), ("A", "B"), ("Train/a", "Train/b")],
)
def test_the_folders_of_two_domains_are_found_in_all_their_spellings(tmp_path: Path, a: str, b: str) -> None:
    put(tmp_path, f"{a}/1.png", f"{a}/2.png", f"{b}/3.png")
    assert ids(opened(tmp_path, "unpaired")) == ([f"{a}/1.png", f"{a}/2.png"], [f"{b}/3.png"])


def test_each_part_is_read_by_itself(tmp_path: Path) -> None:
    put(tmp_path, "trainA/1.png", "trainB/1.png", "testA/2.png", "testB/2.png")
    assert ids(opened(tmp_path, "pairs")) == (["trainA/1.png"], ["trainB/1.png"])
    assert ids(opened(tmp_path, "pairs", "test")) == (["testA/2.png"], ["testB/2.png"])


def test_pairs_have_equal_names_but_for_ending_and_case(tmp_path: Path) -> None:
    put(tmp_path, "A/x/1.png", "A/2.PNG", "A/alone.png", "B/x/1.bmp", "B/2.png", "B/other.png")
    found = opened(tmp_path, "pairs")
    assert ids(found) == (["A/2.PNG", "A/x/1.png"], ["B/2.png", "B/x/1.bmp"])
    assert found.aligned
    assert any("1 images without one partner of the same name left out: A/alone.png" in note for note in found.notes)
    assert any("B/other.png" in note for note in found.notes)


def test_two_files_of_one_name_are_no_partner(tmp_path: Path) -> None:
    put(tmp_path, "A/1.png", "A/2.png", "B/1.png", "B/1.bmp", "B/2.png")
    found = opened(tmp_path, "pairs")
    assert ids(found) == (["A/2.png"], ["B/2.png"])
    assert any("2 images" in note and "B/1.bmp, B/1.png" in note for note in found.notes)


def test_side_by_side_images_are_cut_in_two(tmp_path: Path) -> None:
    both = np.hstack([np.full((8, 8), 10, np.uint8), np.full((8, 8), 20, np.uint8)])
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    Image.fromarray(both).save(tmp_path / "train" / "1.png")
    Image.fromarray(both[:, 1:]).save(tmp_path / "train" / "odd.png")
    Image.fromarray(both[:4]).save(tmp_path / "train" / "wide.png")
    Image.fromarray(both).save(tmp_path / "test" / "2.png")
    found = opened(tmp_path, "pairs")
    assert ids(found)[0] == ids(found)[1] == ["train/1.png", "train/odd.png", "train/wide.png"]
    assert found.a.read(0).tolist() == np.full((8, 8), 10).tolist()
    assert found.b.read(0).tolist() == np.full((8, 8), 20).tolist()
    with pytest.raises(DataError, match=r"odd.png: 15 x 8 pixels, expected A and B side by side"):
        found.a.read(1)
    with pytest.raises(DataError, match=r"wide.png: 16 x 4 .*translation.side_by_side=true"):
        found.b.read(2)
    assert opened(tmp_path, "pairs", "train", "translation.side_by_side=true").b.read(2).shape == (4, 8)
    assert ids(opened(tmp_path, "pairs", "test"))[0] == ["test/2.png"]


def test_a_folder_is_reduced_by_the_factor(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", "2.png", size=(18, 13))
    found = opened(tmp_path, "folder", "train", "translation.factor=2")
    assert ids(found) == (["2.png", "a/1.png"],) * 2
    assert (found.factor, found.aligned) == (2, True)
    assert found.a.read(0).shape == (6, 9)
    assert found.b.read(0).shape == (13, 18)


def test_low_and_high_resolution_are_taken_as_given(tmp_path: Path) -> None:
    put(tmp_path, "LR/img1x4.png", "LR/0002.png", size=(4, 4))
    put(tmp_path, "HR/img1.png", "HR/0002.png", size=(16, 16))
    found = opened(tmp_path, "folder")
    assert ids(found) == (["LR/0002.png", "LR/img1x4.png"], ["HR/0002.png", "HR/img1.png"])
    assert found.a.read(0).shape == (4, 4)


def test_high_resolution_alone_is_reduced(tmp_path: Path) -> None:
    put(tmp_path, "HR/1.png", size=(16, 16))
    assert opened(tmp_path, "folder").a.read(0).shape == (4, 4)


def test_swap_exchanges_the_domains(tmp_path: Path) -> None:
    put(tmp_path, "A/1.png", "B/1.png")
    assert ids(opened(tmp_path, "pairs", "train", "translation.swap=true")) == (["B/1.png"], ["A/1.png"])


def test_groups_come_from_patterns_and_from_the_manifest(tmp_path: Path) -> None:
    put(tmp_path, "A/s1_0.png", "A/s2_0.png", "B/s1_0.png", "B/s2_0.png")
    found = opened(tmp_path, "pairs", "train", "data.group='{}_*'")
    assert [item.group for item in (*found.a.items, *found.b.items)] == ["s1", "s2", "s1", "s2"]
    (tmp_path / "manifest.csv").write_text("file,patient\nA/s1_0.png,p\nA/s2_0.png,p\nB/s1_0.png,p\nB/s2_0.png,q\n")
    assert [item.group for item in opened(tmp_path, "pairs").b.items] == ["p", "q"]


@pytest.mark.parametrize(
    ("names", "layout", "said"),
    [
        (["x.png"], "unpaired", "expected folders A and B, or trainA and trainB"),
        (["A/1.png"], "unpaired", "A without B"),
        (["trainB/1.png"], "pairs", "trainB without trainA"),
        (["A/1.png", "B/2.png"], "pairs", "no name of an image in A is also in B"),
        (["A/1.png", "B/readme.txt"], "unpaired", "B: no image in it or below"),
        (["LR/1.png", "x.png"], "folder", "LR without HR"),
    ],
)
def test_what_is_missing_is_said(tmp_path: Path, names: list[str], layout: str, said: str) -> None:
    put(tmp_path, *[name for name in names if not name.endswith(".txt")])
    for name in names:
        if name.endswith(".txt"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("nothing")
    with pytest.raises(DataError, match=said):
        opened(tmp_path, layout)


def test_a_missing_folder_and_an_unknown_layout(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        opened(tmp_path / "nowhere", "unpaired")
    with pytest.raises(SettingsError, match="layout 'strange' for a translation: expected unpaired, pairs, folder"):
        opened(tmp_path, "strange")


def test_images_in_memory() -> None:
    a, b = np.zeros((3, 8, 8), np.uint8), [np.zeros((9, 9, 3), np.uint8)] * 2
    found = open_domains((a, b), "train", "unpaired", Settings())
    assert (len(found.a.items), len(found.b.items), found.aligned) == (3, 2, False)
    assert open_domains(a, "train", "folder", Settings()).a.read(0).shape == (2, 2)
    assert open_domains((a, a), "train", "pairs", Settings()).aligned
    with pytest.raises(DataError, match="3 images of A and 2 of B"):
        open_domains((a, b), "train", "pairs", Settings())
    with pytest.raises(DataError, match=r"a tuple \(A, B\)"):
        open_domains(a, "train", "unpaired", Settings())
    with pytest.raises(SettingsError, match="images in memory have no names"):
        open_domains((a, b), "train", "unpaired", Settings().with_overrides(["data.group='{}_*'"]))


def test_one_file_is_an_image_too(tmp_path: Path) -> None:
    put(tmp_path, "1.png")
    assert images_below(tmp_path / "1.png").read(0).shape == (8, 8)


@pytest.mark.parametrize(
    ("method", "layout", "is_one"),
    [
        ("cyclegan", None, True),
        ("cyclegan", "auto", True),
        ("pix2pix", None, False),
        ("pix2pix", "pairs", True),
        ("pix2pix", "folder", False),
        ("srgan", "auto", False),
        ("srgan", "folder", True),
        ("twin", "folder", False),
        (None, "unpaired", True),
        (None, None, False),
    ],
)
def test_what_is_a_translation(method: str | None, layout: str | None, is_one: bool) -> None:
    assert translates(method, layout) == is_one


def test_methods_and_layouts_that_do_not_go_together() -> None:
    assert chosen_layout("cyclegan", None) == "unpaired"
    assert chosen_layout("pix2pix", "auto") == "pairs"
    with pytest.raises(SettingsError, match="method cyclegan with --layout pairs: it learns from --layout unpaired"):
        chosen_layout("cyclegan", "pairs")
    with pytest.raises(SettingsError, match="no --method for a translation"):
        chosen_layout(None, "pairs")
    with pytest.raises(SettingsError, match="did you mean 'cyclegan'"):
        chosen_layout("cyclgan", "unpaired")
