"""train, calibrate and evaluate on folders that mean something: the table, the masks, what --out holds already."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.quick import good, normals, queries, run, sets, write

MARK = np.zeros((16, 16), np.uint8)
MARK[4:9, 3:8] = 255


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    """line1/good, line1/bad, line2/good, and masks beside them; a model; what train said."""
    folder = tmp_path_factory.mktemp("lines")
    data, made = folder / "data", normals(40)
    write(data / "line1/good", made[:20])
    write(data / "line2/good", made[20:])
    write(data / "line1/bad", queries(6), "b")
    write(data / "masks/line1/bad", [MARK] * 3, "b")
    for name in ("x.heic", "y.heic"):
        (data / name).write_bytes(b"x")
    return data, folder / "model", good("train", data, "--out", folder / "model", *sets())


def test_train_prints_the_folders_and_learns_no_defect(lines):
    _, model, said = lines
    rows = [line.split(maxsplit=2) for line in said.err.splitlines()]
    assert ["line1/bad", "6", "abnormal, left out"] in rows
    assert ["line1/good", "20", "normal"] in rows
    assert ["masks/line1/bad", "3", "mask"] in rows
    assert "40 normal images: 32 to train on" in said.err
    assert "2 files passed over: .heic (2); convert them to PNG or TIFF" in said.err
    described = json.loads(good("info", model, "--json").out)
    assert described["images"] == {"train": 32, "holdout": 8}


def test_calibrate_prints_the_folders(lines):
    data, model, _ = lines
    said = good("calibrate", model, data, "--false-alarm-rate", "0.3").err
    assert "counts as" in said
    assert "abnormal, left out" in said
    said = good("calibrate", model, data, "--false-alarm-rate", "0.3", "--normal", "line*/good").err
    assert "calibrated on 8 normals, 32 left out" in said
    assert "no label 'cat'" in run("calibrate", model, data, "--normal", "cat").error


def test_evaluate_counts_masks_and_folders(lines, tmp_path):
    data, model, _ = lines
    said = good("evaluate", model, data, "--json", tmp_path / "n.json")
    assert "masks: 3 of 6 abnormal images, 0 files unused" in said.err
    numbers = json.loads((tmp_path / "n.json").read_text())
    assert (numbers["n_normal"], numbers["n_abnormal"], numbers["n_failed"]) == (40, 6, 0)
    assert numbers["masks"]["with_mask"] == 3
    assert {"folder": "masks/line1/bad", "images": 3, "counts_as": "mask"} in numbers["folders"]
    assert numbers["aupro"] is not None
    assert set(numbers["by_label"]) == {"good", "bad"}


def test_bad_masks_are_told_and_end_nothing(lines, tmp_path):
    data, model, _ = lines
    shutil.copytree(data, tmp_path / "data")
    masks = tmp_path / "data/masks/line1/bad"
    Image.fromarray(MARK[:8]).save(masks / "b000.png")
    Image.fromarray(MARK * 0).save(masks / "b001.png")
    (masks / "b003.png").write_bytes((masks / "b002.png").read_bytes()[:60])
    Image.fromarray(MARK).save(masks / "z.png")
    said = good("evaluate", model, tmp_path / "data", "--json", tmp_path / "n.json").err
    before, after = said.split("masks: ", 1)[1].split("\n", 1)
    assert before.startswith("3 of 6 abnormal images, 1 files unused; 1 cannot be used, the first: ")
    assert before.endswith("b000.png: mask of shape (8, 16), expected (16, 16), that of its image line1/bad/b000.png")
    assert "masks of 1 abnormal images mark nothing" in after
    assert "1 masks cannot be read" in after
    told = json.loads((tmp_path / "n.json").read_text())["masks"]
    assert (told["with_mask"], told["unused_files"], told["marking_nothing"], len(told["not_usable"])) == (2, 1, 1, 2)


def test_inverted_masks_are_suspected(lines, tmp_path):
    data, model, _ = lines
    shutil.copytree(data, tmp_path / "data")
    write(tmp_path / "data/masks/line1/bad", [255 - MARK] * 3, "b")
    said = good("evaluate", model, tmp_path / "data", "--json", tmp_path / "n.json").err
    assert "the masks look inverted: 3 of 3 mark more than half" in said
    assert json.loads((tmp_path / "n.json").read_text())["masks"]["look_inverted"] is True


def test_results_never_go_into_a_model(lines, tmp_path):
    data, model, _ = lines
    for words in (
        ("score", model, data, "--out", model),
        ("evaluate", model, data, "--json", tmp_path / "n.json", "--out", model),
    ):
        assert f"{model}: is the folder of a model" in run(*words).error
    assert not (model / "scores.csv").exists()
    inside = run("evaluate", model, data, "--json", data / "n.json")
    assert "lies inside DATA" in inside.error


def test_what_out_holds_is_said_before_it_is_replaced(lines, tmp_path):
    data, model, _ = lines
    queries_folder, out = write(tmp_path / "queries", queries(2)), write(tmp_path / "out", queries(1), "holiday")
    assert "holds other images (holiday000.png)" in good("score", model, queries_folder, "--out", out).err
    assert "scores.csv: of 20" in good("score", model, queries_folder, "--out", out).err
    shutil.copytree(model, tmp_path / "model")
    said = good("train", data, "--out", tmp_path / "model", *sets("training.steps=2")).err
    assert f"{tmp_path / 'model'}: replaces the model of 20" in said


def test_training_refuses_what_is_ambiguous_in_one_line(tmp_path):
    write(tmp_path / "data/crack", normals(4))
    write(tmp_path / "data/surface", normals(4))
    error = run("train", tmp_path / "data", "--out", tmp_path / "model").error
    assert "'crack' (4) count as abnormal, of 'surface' (4) nothing is known" in error
    assert "--normal PATTERN" in error
    assert not (tmp_path / "model").exists()
