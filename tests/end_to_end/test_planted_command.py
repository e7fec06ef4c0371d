"""`anotwin evaluate --planted`: files and numbers, which images defects are planted into, and what is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anotwin.defects.kinds import HELD_OUT
from anotwin.evaluate.counterparts import NAMES
from quick import good, leftovers, queries, run, write


@pytest.fixture(scope="module")
def outcome(model: Path, query_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of an evaluation, and what was printed."""
    out = tmp_path_factory.mktemp("planted")
    said = good("evaluate", model, query_folder, "--planted", 8, "--json", out / "numbers.json")
    return out, said.out + said.err


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "numbers" / "counterparts.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_files_and_numbers(outcome: tuple[Path, str]) -> None:
    out, said = outcome
    numbers = json.loads((out / "numbers.json").read_text())["planted"]
    assert sorted(path.name for path in (out / "numbers").iterdir()) == ["counterparts.csv", "counterparts.png"]
    assert not leftovers(out)
    assert (numbers["n_planted"], numbers["n_normal"], numbers["n_failed"], numbers["n_leaked"]) == (8, 4, 0, 0)
    assert tuple(numbers["kinds"]) == HELD_OUT
    assert list(numbers["counterparts"]) == list(NAMES)
    for each in numbers["counterparts"].values():
        assert each["low"] <= each["median"] <= each["high"]
        assert each["n"] == 8
    assert 0 <= numbers["auroc_low"] <= numbers["auroc"] <= numbers["auroc_high"] <= 1
    assert 0 <= numbers["detection_rate"] <= 1
    assert {name: own["n"] for name, own in numbers["by_kind"].items()} == dict.fromkeys(HELD_OUT, 2)
    assert "8 defects planted into 4 normal images" in said
    assert all(name in said for name in (*NAMES, *HELD_OUT, "AUROC, planted against untouched"))
    with Image.open(out / "numbers" / "counterparts.png") as picture:
        assert picture.width > 1000
        assert np.asarray(picture.convert("L")).std() > 20


def test_a_row_an_image_and_the_numbers_are_theirs(outcome: tuple[Path, str]) -> None:
    out, _ = outcome
    table, numbers = rows(out), json.loads((out / "numbers.json").read_text())["planted"]
    assert len(table) == 8
    assert list(table[0])[:4] == ["image", "kind", "diameter", "area"]
    for name in NAMES:
        values = [float(row[name]) for row in table]
        assert numbers["counterparts"][name]["median"] == pytest.approx(np.median(values))
    assert np.mean([row["anomalous"] == "true" for row in table]) == numbers["detection_rate"]
    assert all(int(row["area"]) > 0 and row["error"] == "" for row in table)


def test_nothing_is_planted_into_abnormal_images(outcome: tuple[Path, str]) -> None:
    assert {row["image"].split("/")[0] for row in rows(outcome[0])} == {"good"}


def test_the_same_again(outcome: tuple[Path, str], model: Path, query_folder: Path, tmp_path: Path) -> None:
    good("evaluate", model, query_folder, "--planted", 8, "--json", tmp_path / "numbers.json")
    for name in ("counterparts.csv", "counterparts.png"):
        assert (tmp_path / "numbers" / name).read_bytes() == (outcome[0] / "numbers" / name).read_bytes()


def test_images_without_labels_are_normal_and_those_trained_on_are_counted(
    model: Path, normal_folder: Path, tmp_path: Path
) -> None:
    said = good("evaluate", model, normal_folder, "--planted", 6, "--limit", 3, "--json", tmp_path / "n.json")
    numbers = json.loads((tmp_path / "n.json").read_text())["planted"]
    assert (numbers["n_planted"], numbers["n_normal"]) == (6, 3)
    assert "all 60 images are taken as normal" in said.err
    assert numbers["n_leaked"] > 0
    assert f"{numbers['n_leaked']} of the 3 normal images were trained on: the numbers are too optimistic" in said.err


def test_an_image_that_cannot_be_read_is_left_out(model: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "data", queries(3, abnormal=False))
    (data / "broken.png").write_bytes(b"no image")
    said = good("evaluate", model, data, "--planted", 6, "--json", tmp_path / "n.json")
    numbers = json.loads((tmp_path / "n.json").read_text())["planted"]
    assert (numbers["n_planted"], numbers["n_normal"], numbers["n_failed"]) == (6, 3, 1)
    assert "left out: " in said.err
    assert "broken.png" in said.err


@pytest.mark.parametrize("count", [0, -3, 10**9])
def test_a_count_that_cannot_be(count: int, model: Path, query_folder: Path, tmp_path: Path) -> None:
    failed = run("evaluate", model, query_folder, "--planted", count, "--json", tmp_path / "n.json")
    assert failed.code == 2
    assert failed.error == f"--planted {count}: expected 1 to 1000000 defects"
    assert not (tmp_path / "n.json").exists()


def test_no_normals_at_all(model: Path, tmp_path: Path) -> None:
    write(tmp_path / "data" / "broken", queries())
    write(tmp_path / "data" / "scratch", queries())
    failed = run("evaluate", model, tmp_path / "data", "--planted", 4, "--json", tmp_path / "n.json")
    assert failed.code == 2
    assert "no normal image to plant defects into, found the labels broken, scratch" in failed.error


def test_nothing_that_can_be_scored(model: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for number in range(2):
        (tmp_path / "data" / f"{number}.png").write_bytes(b"no image")
    failed = run("evaluate", model, tmp_path / "data", "--planted", 4, "--json", tmp_path / "n.json")
    assert failed.code == 2
    assert "none of 2 normal images can be scored" in failed.error
