"""`anotwin check`: every planted fault of a data set is found, named and counted, and a clean one has none."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from sklearn.decomposition import PCA

from anotwin.data.arrays import from_arrays
from anotwin.prepare.facts import read_facts
from anotwin.prepare.suspects import cross_fitted
from anotwin.report.text import read_cell
from quick import good, run

SHAPE = 60, 72


def texture(rng: np.random.Generator) -> np.ndarray:
    made = gaussian_filter(rng.normal(size=SHAPE), 1.5)
    return np.clip(128 + 25 * made / made.std(), 0, 254).astype(np.uint8)


def save(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def folder(root: Path, count: int = 52) -> Path:
    """A clean data set."""
    rng = np.random.default_rng(0)
    for number in range(count):
        save(root / f"train/good/{number:03d}.png", texture(rng))
    for number in range(8):
        image = texture(rng)
        if number >= 4:
            image[20:36, 20:36] = 250
        save(root / f"test/{'good' if number < 4 else 'spot'}/t{number:03d}.png", image)
    return root


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    return folder(tmp_path / "data")


def rows(out: Path) -> dict[str, dict[str, str]]:
    with (out / "check.csv").open(newline="") as file:
        return {read_cell(row["image"]): row for row in csv.DictReader(file)}


def test_a_clean_set_needs_nothing(clean: Path, tmp_path: Path) -> None:
    said = good("check", clean, "--out", tmp_path / "out").out
    assert "60 images (52 to train on, 8 to test with), 72 x 60 pixels, grey uint8" in said
    assert "nothing to do" in said
    found = rows(tmp_path / "out")
    assert len(found) == 60
    assert {row["problem"] for row in found.values()} == {""}
    assert {row["part"] for row in found.values()} == {"train", "test"}
    assert all((row["suspicion"] != "") == (row["normal"] == "true") for row in found.values())
    assert (tmp_path / "out/suspicious.png").is_file()


def test_every_fault_is_found(clean: Path, tmp_path: Path) -> None:
    train, test = clean / "train/good", clean / "test"
    shutil.copy(train / "000.png", train / "copy.png")
    shutil.copy(train / "001.png", test / "good/leak.png")
    first = np.asarray(Image.open(train / "002.png"))
    save(test / "good/near.png", np.clip(first.astype(int) + 5, 0, 254).astype(np.uint8))
    save(train / "flat.png", np.full(SHAPE, 77, np.uint8))
    burnt = texture(np.random.default_rng(5))
    burnt[:24] = 255
    save(train / "burnt.png", burnt)
    wrong = texture(np.random.default_rng(6))
    wrong[20:40, 30:50] = 5
    save(train / "wrong.png", wrong)
    (train / "{0}{} broken.png").write_bytes(b"\x89PNG\r\n\x1a\n no more")
    said = good("check", clean, "--out", tmp_path / "out", "--json").out
    found = json.loads(said)
    counts = {
        key: found[key] for key in ("unreadable", "constant", "saturated", "equal", "equal_across", "like_across")
    }
    assert counts == {
        "unreadable": 1, "constant": 1, "saturated": 1, "equal": 2, "equal_across": 1, "like_across": 1
    }  # fmt: skip
    table = rows(tmp_path / "out")
    assert table["train/good/copy.png"]["equal_to"] == "train/good/000.png"
    assert table["test/good/leak.png"]["equal_to"] == "train/good/001.png"
    assert table["test/good/near.png"]["like"] == "train/good/002.png"
    assert table["train/good/flat.png"]["problem"] == "constant"
    assert table["train/good/burnt.png"]["problem"].startswith("white in 40% of its pixels")
    assert "unlike" in table["train/good/wrong.png"]["problem"]
    assert "broken.png" in table["train/good/{0}{} broken.png"]["error"]
    assert any(each.startswith("1 image cannot be read") for each in found["advice"])
    assert any("1 image to test with is equal to images to train on: remove it" in each for each in found["advice"])
    worst = max((row for row in table.values() if row["suspicion"]), key=lambda row: float(row["suspicion"]))
    assert worst["image"] in ("train/good/burnt.png", "train/good/wrong.png")


def test_a_flat_folder_has_no_parts_and_few_images_are_said(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for number in range(12):
        save(tmp_path / f"data/{number:03d}.png", texture(rng))
    found = json.loads(good("check", tmp_path / "data", "--json").out)
    assert found["images"] == 12
    assert found["summary"].startswith("12 images, 72 x 60 pixels")
    assert any(each.startswith("12 normal images to train on: take more") for each in found["advice"])


def test_bit_depths_and_sizes_are_said(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    for number in range(10):
        save(tmp_path / f"data/{number}.png", texture(rng)[: 50 + number].astype(np.uint16) * 16)
    found = json.loads(good("check", tmp_path / "data", "--model-size", "16", "--view", "whole", "--json").out)
    assert "10 sizes from 72 x 50 to 72 x 59 pixels, grey uint16 (up to 12 bits used)" in found["summary"]
    assert "a model sees whole images in 16 x 16 pixels: 4.5 times smaller than most are" in found["notes"]
    save(tmp_path / "data/x.png", texture(rng))
    found = json.loads(good("check", tmp_path / "data", "--json").out)
    assert any("mixed types of pixels (10 of uint16, 1 of uint8)" in each for each in found["advice"])


def test_nothing_usable_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.png").write_bytes(b"no image")
    assert "none of 1 images can be read" in run("check", tmp_path / "data").error
    assert "no such" in run("check", tmp_path / "none").error.lower() or run("check", tmp_path / "none").code == 2
    assert "--out" in run("check", folder(tmp_path / "set"), "--out", tmp_path / "set/train").error


def test_facts_are_those_of_numpy() -> None:
    images = [np.zeros((20, 30), np.uint8), np.full((20, 30, 3), 7, np.uint16), np.full((4, 3), 255, np.uint8)]
    images[0][:5] = 255
    images[1][0, 0] = [0, 4095, 3]
    black, deep, tiny = read_facts(from_arrays(images[:1]), [0]), read_facts(from_arrays(images[1:2]), [0]), None
    first, second = next(iter(black)), next(iter(deep))
    assert (first.at_white, first.at_black, first.bits, first.constant) == (0.25, 0.75, 8, False)
    assert (second.channels, second.bits, second.type, second.width, second.height) == ("colour", 12, "uint16", 30, 20)
    tiny = next(iter(read_facts(from_arrays(images[2:]), [0])))
    assert (tiny.constant, tiny.shape.shape, tiny.look.shape) == (True, (288,), (512,))
    assert np.isfinite(tiny.look).all()


def test_scores_are_of_models_fitted_without_the_fold() -> None:
    """The same by hand: leave each group's fold out, project, measure what is left."""
    from sklearn.model_selection import GroupKFold

    looks = np.random.default_rng(0).normal(size=(40, 12))
    groups = [k // 2 for k in range(40)]
    left = np.empty(40)
    for rest, fold in GroupKFold(5).split(looks, groups=groups):
        model = PCA(6, svd_solver="full").fit(looks[rest])
        for k in fold:
            centred = looks[k] - model.mean_
            left[k] = centred @ centred - np.square(model.components_ @ centred).sum()
    logs = np.log(left + 1e-9)
    expected = 0.6745 * (logs - np.median(logs)) / np.median(np.abs(logs - np.median(logs)))
    assert cross_fitted(looks, groups) == pytest.approx(expected)


def test_a_defect_that_was_photographed_twice_does_not_explain_itself() -> None:
    rng = np.random.default_rng(3)
    looks = rng.normal(size=(50, 30)) * 0.1
    looks[10] += 3 * rng.normal(size=30)
    looks[11] = looks[10] + 0.01 * rng.normal(size=30)
    together = cross_fitted(looks, [*range(10), 10, 10, *range(12, 50)])
    assert set(np.argsort(together)[-2:]) == {10, 11}
    assert together[[10, 11]].min() > 3.5
    assert not cross_fitted(looks[:9], list(range(9))).any()
