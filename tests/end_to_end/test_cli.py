"""Every command as its documentation promises it."""

import csv
import gzip
import json
import math
import shutil
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

import anotwin
from anotwin import Detector
from anotwin.data.synthetic import textured_discs
from anotwin.report.files import picture_names
from model_folders import edit
from quick import good, launch, leftovers, normals, queries, run, same_weights, sets, weights, write

COLUMNS = ["image", "score", "residual", "discrimination", "p_value", "anomalous", "flagged_by", "status", "error"]
NUMBERS = {
    "auroc",
    "auroc_low",
    "auroc_high",
    "average_precision",
    "f1",
    "detection_rate",
    "false_alarm_rate",
    "n_normal",
    "n_abnormal",
    "mean_residual_normal",
    "mean_residual_abnormal",
    "seconds_per_image",
}


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "scores.csv").open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        assert reader.fieldnames == COLUMNS
        return list(reader)


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


@pytest.fixture(scope="module")
def mvtec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mvtec")
    write(root / "train" / "good", normals(40))
    write(root / "test" / "good", queries(6, abnormal=False))
    images, masks = textured_discs(6, 16, seed=7, abnormal=True)
    write(root / "test" / "crack", images)
    (root / "ground_truth" / "crack").mkdir(parents=True)
    for number, mask in enumerate(masks):
        Image.fromarray(mask.astype(np.uint8) * 255).save(root / "ground_truth" / "crack" / f"{number:03d}_mask.png")
    return root


@pytest.fixture(scope="module")
def idx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Like MNIST: label 3 are discs, label 8 discs with defects."""
    root = tmp_path_factory.mktemp("idx")
    for part, seed, count in (("train", 0, 40), ("t10k", 7, 8)):
        images = np.concatenate([textured_discs(count, 16, seed)[0], textured_discs(count, 16, seed, abnormal=True)[0]])
        labels = np.repeat(np.array([3, 8], np.uint8), count)
        header = struct.pack(">IIII", 0x803, *images.shape)
        with gzip.open(root / f"{part}-images-idx3-ubyte.gz", "wb") as file:
            file.write(header + images.tobytes())
        with gzip.open(root / f"{part}-labels-idx1-ubyte.gz", "wb") as file:
            file.write(struct.pack(">II", 0x801, len(labels)) + labels.tobytes())
    return root


def test_train_on_a_folder_writes_a_model_and_says_where(tmp_path: Path, normal_folder: Path) -> None:
    out = tmp_path / "new" / "model"
    outcome = good("train", normal_folder, "--out", out, *sets("training.sample_every=15"))
    assert sorted(path.name for path in out.iterdir()) == ["bundle.json", "runs", "weights.safetensors"]
    assert sorted(path.name for path in (out / "runs" / "00000-twin").iterdir()) == [
        "run.json",
        "samples-000015.png",
        "samples-000030.png",
        "snapshot-000020.pt",
        "snapshot-000030.pt",
        "stats.jsonl",
    ]
    assert "trained twin: 30 steps" in outcome.out
    assert str(out) in outcome.out
    assert "48 to train on, 12 held out" in outcome.err
    assert "20.00%" in outcome.out  # the rate and its bound


def test_options_of_train_are_settings(tmp_path: Path, normal_folder: Path) -> None:
    config = tmp_path / "my.toml"
    config.write_text("[networks]\nbase_channels = 4\n[training]\nsteps = 9\nseed = 1\n[search]\nsteps = 2\n")
    words = (
        "--config",
        config,
        "--seed",
        7,
        "--steps",
        3,
        "--image-size",
        32,
        "--method",
        "acae",
        "--layout",
        "folder",
    )
    good("train", normal_folder, "--out", tmp_path / "m", *words)
    described = json.loads(good("info", tmp_path / "m", "--json").out)
    assert (described["method"], described["spec"]["size"], described["history"]["steps"]) == ("acae", 32, 3)
    settings = Detector.load(tmp_path / "m").method.settings
    assert (settings.training.seed, settings.search.steps, settings.networks.base_channels) == (7, 2, 4)


def test_train_on_mvtec_and_measure_with_masks(tmp_path: Path, mvtec: Path) -> None:
    good("train", mvtec, "--out", tmp_path / "m", *sets())
    outcome = good("evaluate", tmp_path / "m", mvtec, "--json", tmp_path / "numbers.json")
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert set(numbers) >= NUMBERS | {"pixel_auroc", "aupro"}
    assert (numbers["n_normal"], numbers["n_abnormal"]) == (6, 6)
    for name in ("auroc", "average_precision", "pixel_auroc", "aupro"):
        assert 0 <= numbers[name] <= 1
    assert numbers["auroc_low"] <= numbers["auroc"] <= numbers["auroc_high"]
    assert f"{numbers['auroc']:.4f}" in outcome.out
    pictures = sorted(path.name for path in (tmp_path / "numbers").iterdir())
    assert pictures == ["features-tsne.png", "features.png", "figure.png", "histogram.png", "roc.png"]


def test_numbers_are_those_of_the_scores(tmp_path: Path, model: Path, query_folder: Path) -> None:
    """AUROC counted by hand over pairs, rates over the rows of scores.csv."""
    good("evaluate", model, query_folder, "--json", tmp_path / "numbers.json", "--out", tmp_path / "pictures")
    good("score", model, query_folder, "--out", tmp_path / "scores")
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert not {"pixel_auroc", "aupro"} & set(numbers)  # no masks there
    found = rows(tmp_path / "scores")
    of = {label: [row for row in found if row["image"].startswith(label)] for label in ("good", "bad")}
    pairs = [float(b["score"]) > float(a["score"]) for a in of["good"] for b in of["bad"]]
    assert numbers["auroc"] == pytest.approx(sum(pairs) / len(pairs))
    assert numbers["detection_rate"] == sum(row["anomalous"] == "true" for row in of["bad"]) / 4
    assert numbers["false_alarm_rate"] == sum(row["anomalous"] == "true" for row in of["good"]) / 4
    assert numbers["seconds_per_image"] > 0
    assert numbers["n_leaked"] == 0
    assert (tmp_path / "pictures" / "roc.png").is_file()


def test_idx_files_with_a_normal_label(tmp_path: Path, idx: Path) -> None:
    model = tmp_path / "m"
    good("train", idx, "--out", model, "--normal", "3", *sets())
    assert json.loads(good("info", model, "--json").out)["images"] == {"train": 32, "holdout": 8}
    good("evaluate", model, idx, "--json", tmp_path / "n.json", "--limit", 10)
    numbers = json.loads((tmp_path / "n.json").read_text())
    assert numbers["n_normal"] + numbers["n_abnormal"] == 10
    assert set(numbers["by_label"]) == {"3", "8"}
    good("calibrate", model, idx, "--false-alarm-rate", "0.15")
    good("score", model, idx, "--out", tmp_path / "s")
    assert [row["image"] for row in rows(tmp_path / "s")] == [f"t10k-{number:05d}" for number in range(16)]


def test_evaluating_trained_images_is_said(tmp_path: Path, model: Path) -> None:
    write(tmp_path / "set" / "good", normals(10))
    write(tmp_path / "set" / "bad", queries(3))
    outcome = good("evaluate", model, tmp_path / "set", "--json", tmp_path / "n.json")
    leaked = json.loads((tmp_path / "n.json").read_text())["n_leaked"]
    assert 0 < leaked <= 10
    assert f"{leaked} of these images were trained on" in outcome.err


def test_json_without_a_suffix_and_pictures_have_names_of_their_own(
    tmp_path: Path, model: Path, query_folder: Path
) -> None:
    good("evaluate", model, query_folder, "--json", tmp_path / "numbers")
    assert (tmp_path / "numbers").is_file()
    assert (tmp_path / "numbers-pictures" / "roc.png").is_file()


def test_calibrate_sets_the_rate_and_prints_it(tmp_path: Path, model: Path, normal_folder: Path) -> None:
    copy = shutil.copytree(model, tmp_path / "m")
    before = weights(copy)
    outcome = good("calibrate", copy, normal_folder, "--false-alarm-rate", 0.1, "--json")
    printed = json.loads(outcome.out)
    assert set(printed) == {
        "false_alarm_rate",
        "threshold",
        "n_normal",
        "n_groups",
        "rate_bound",
        "residual_threshold",
        "discrimination_threshold",
    }
    assert (printed["false_alarm_rate"], printed["n_normal"]) == (0.1, 12)
    stored = json.loads(good("info", copy, "--json").out)["calibration"]
    assert {name: stored[name] for name in ("threshold", "false_alarm_rate", "rate_bound")} == {
        name: printed[name] for name in ("threshold", "false_alarm_rate", "rate_bound")
    }
    assert all((weights(copy)[name] == tensor).all() for name, tensor in before.items())
    assert leftovers(copy) == []


def test_calibrate_without_a_rate_takes_that_of_the_settings(tmp_path: Path, model: Path, normal_folder: Path) -> None:
    copy = shutil.copytree(model, tmp_path / "m")
    assert json.loads(good("calibrate", copy, normal_folder, "--json").out)["false_alarm_rate"] == 0.2
    words = ("--set", "calibration.false_alarm_rate=0.3", "--set", "search.steps=2")
    assert json.loads(good("calibrate", copy, normal_folder, *words, "--json").out)["false_alarm_rate"] == 0.3
    assert Detector.load(copy).method.settings.search.steps == 2


def test_scores_are_a_table_and_pictures_in_native_size(tmp_path: Path, model: Path) -> None:
    """Sizes and depths of all sorts; names with blanks, umlauts, commas and the same stem twice."""
    data, out = tmp_path / "data", tmp_path / "out"
    (data / "sub, dir").mkdir(parents=True)
    wide = np.tile(queries(1)[0], (2, 3))[:20, :45]  # 45 wide, 20 high
    Image.fromarray(wide).save(data / "wide.png")
    Image.fromarray(wide.T.copy()).save(data / "sub, dir" / "hoch ü.jpg")
    Image.fromarray(wide).save(data / "wide.bmp")
    tifffile.imwrite(data / "deep.tif", wide.astype(np.uint16) * 200)
    Image.fromarray(np.stack([wide] * 3, axis=2)).save(data / "rgb.png")
    outcome = good("score", model, data, "--out", out)
    found = rows(out)
    names = [row["image"] for row in found]
    assert names == ["deep.tif", "rgb.png", "sub, dir/hoch ü.jpg", "wide.bmp", "wide.png"]
    for row in found:
        assert math.isfinite(float(row["score"]))
        assert 0 < float(row["p_value"]) <= 1
        assert row["anomalous"] in ("true", "false")
        assert row["flagged_by"] in ("", "residual", "discrimination", "both")
        assert row["status"] in ("converged", "budget_spent")
        assert row["error"] == ""
    assert found[3]["score"] == found[4]["score"]  # the same pixels, whatever the format
    pictures = picture_names(names)
    for name in names:
        shape = (20, 45) if "hoch" in name else (45, 20)
        for kind in ("counterparts", "heatmaps"):
            assert size(out / kind / pictures[name]) == shape, (kind, name)
    for name in ("figure.png", "features.png"):
        assert min(size(out / name)) > 100
    assert leftovers(out) == []
    assert all(name in outcome.out for name in ("wide.png", "scores.csv", "5 images"))


def test_the_search_is_drawn_where_there_is_one(
    tmp_path: Path, model: Path, searching_model: Path, query_folder: Path
) -> None:
    out = tmp_path / "out"
    good("score", searching_model, query_folder, "--out", out)
    assert {row["status"] for row in rows(out)} <= {"converged", "budget_spent"}
    assert min(size(out / "search.png")) > 100
    good("score", model, query_folder, "--out", out)  # its counterparts come in one pass
    assert {row["status"] for row in rows(out)} == {"converged"}
    assert not (out / "search.png").exists()


def test_scoring_without_pictures(tmp_path: Path, model: Path, query_folder: Path) -> None:
    good("score", model, query_folder, "--out", tmp_path / "bare", "--no-pictures")
    good("score", model, query_folder, "--out", tmp_path / "full")
    assert not (tmp_path / "bare" / "counterparts").exists()
    assert (tmp_path / "bare" / "scores.csv").read_bytes() == (tmp_path / "full" / "scores.csv").read_bytes()


def test_one_image_file_is_data_too(tmp_path: Path, model: Path, query_folder: Path) -> None:
    good("score", model, query_folder / "bad" / "000.png", "--out", tmp_path / "one")
    (row,) = rows(tmp_path / "one")
    assert row["image"] == "000.png"


def test_an_uncalibrated_model_scores_and_says_what_is_missing(tmp_path: Path, query_folder: Path) -> None:
    few = write(tmp_path / "few", normals(2))  # one held out: no rate below 1/2
    good("train", few, "--out", tmp_path / "m", *sets("training.steps=1", "calibration.false_alarm_rate=0.01"))
    out = tmp_path / "out"
    assert Detector.load(tmp_path / "m").calibration is not None  # calibrated at what one image allows, 1/2
    Detector.load(tmp_path / "m").with_settings(Detector.load(tmp_path / "m").method.settings).save(tmp_path / "m")
    outcome = good("score", tmp_path / "m", query_folder, "--out", out)
    assert {(row["p_value"], row["anomalous"]) for row in rows(out)} == {("", "")}
    assert "anotwin calibrate" in outcome.out


def test_a_killed_scoring_goes_on_and_ends_like_another(tmp_path: Path, searching_model: Path) -> None:
    """Of a method that searches: the longer an image takes, the surer it is killed in the middle."""
    copy, out = shutil.copytree(searching_model, tmp_path / "m"), tmp_path / "out"
    data = write(tmp_path / "data", queries(6))
    good("calibrate", copy, data, "--false-alarm-rate", 0.2, "--set", "search.batch_size=1", "--set", "search.steps=80")
    process = launch("score", copy, data, "--out", out)
    partial, deadline = out / "scores.csv.partial", time.monotonic() + 120
    while not (partial.is_file() and partial.read_bytes().count(b"\n") > 2):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    process.communicate()
    done = [line.split(b",")[0].decode() for line in partial.read_bytes().splitlines()[1:]]
    assert 2 <= len(done) < 6
    assert not (out / "scores.csv").exists()
    before = {name: (out / "counterparts" / name).stat().st_mtime_ns for name in done}

    good("score", copy, data, "--out", out)
    assert [name for name in done if (out / "counterparts" / name).stat().st_mtime_ns != before[name]] == []
    good("score", copy, data, "--out", tmp_path / "straight")
    assert (out / "scores.csv").read_bytes() == (tmp_path / "straight" / "scores.csv").read_bytes()
    assert leftovers(out) == []


@pytest.mark.parametrize("change", ["calibration", "pictures"])
def test_rows_of_another_question_are_not_kept(
    tmp_path: Path, model: Path, query_folder: Path, normal_folder: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    copy, out = shutil.copytree(model, tmp_path / "m"), tmp_path / "out"
    words = ["--no-pictures"] if change == "pictures" else []
    honest = Detector.findings

    def stopped(self: Detector, *args: Any, **more: Any) -> Any:
        for number, finding in enumerate(honest(self, *args, **more)):
            if number == 5:
                raise KeyboardInterrupt
            yield finding

    monkeypatch.setattr(Detector, "findings", stopped)
    assert run("score", copy, query_folder, "--out", out, *words).code == 130
    monkeypatch.setattr(Detector, "findings", honest)
    if change == "calibration":
        good("calibrate", copy, normal_folder, "--false-alarm-rate", 0.4)
    good("score", copy, query_folder, "--out", out)
    good("score", copy, query_folder, "--out", tmp_path / "straight")
    assert (out / "scores.csv").read_bytes() == (tmp_path / "straight" / "scores.csv").read_bytes()
    assert len(list((out / "counterparts").rglob("*.png"))) == 8


def test_a_model_from_before_domains_scores_as_it_did(tmp_path: Path, model: Path, query_folder: Path) -> None:
    old = shutil.copytree(model, tmp_path / "m")

    def older(document: dict[str, Any]) -> None:
        del document["spec"]["view"], document["settings"]["data"]["view"]

    edit(old, older)
    good("score", old, query_folder, "--out", tmp_path / "old")
    good("score", model, query_folder, "--out", tmp_path / "new")
    assert (tmp_path / "old" / "scores.csv").read_bytes() == (tmp_path / "new" / "scores.csv").read_bytes()


def test_a_training_from_before_domains_is_resumed(tmp_path: Path, searching_model: Path, normal_folder: Path) -> None:
    """Its run.json names no data.view; the weights become those of a training that was never stopped."""
    good("train", normal_folder, "--out", tmp_path / "m", "--method", "anogan", *sets("training.steps=20"))
    (run_json,) = (tmp_path / "m").glob("runs/*/run.json")
    description = json.loads(run_json.read_text())
    del description["settings"]["data"]["view"], description["sha256"]
    run_json.write_text(json.dumps(description))
    good("train", normal_folder, "--out", tmp_path / "m", "--resume", "--steps", 30)
    assert same_weights(tmp_path / "m", searching_model)


def test_samples(tmp_path: Path, model: Path) -> None:
    outcome = good("sample", model, "--count", 5, "--out", tmp_path / "a")
    names = [f"sample-{number:05d}.png" for number in range(5)]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["grid.png", *names]
    assert {size(tmp_path / "a" / name) for name in names} == {(16, 16)}
    assert "5 new normal images" in outcome.out
    good("sample", model, "--count", 5, "--out", tmp_path / "b")
    good("sample", model, "--count", 5, "--out", tmp_path / "c", "--seed", 1)
    read = [[(tmp_path / folder / name).read_bytes() for name in names] for folder in "abc"]
    assert read[0] == read[1] != read[2]


def test_an_autoencoder_scores_and_does_not_sample(tmp_path: Path, normal_folder: Path, query_folder: Path) -> None:
    model = tmp_path / "m"
    good("train", normal_folder, "--out", model, "--method", "acae", *sets("training.steps=5"))
    good("score", model, query_folder, "--out", tmp_path / "s")
    assert {row["status"] for row in rows(tmp_path / "s")} == {"converged"}
    outcome = run("sample", model, "--count", 1, "--out", tmp_path / "x")
    assert outcome.code == 2
    assert "acae cannot sample" in outcome.error
    assert not (tmp_path / "x").exists()


def test_info_for_people_and_for_programs(model: Path) -> None:
    described = json.loads(good("info", model, "--json").out)
    assert described["method"] == "twin"
    assert described["images"] == {"train": 48, "holdout": 12}
    assert described["history"]["health"]["verdict"] == "unknown"  # 12 are too few to judge
    text = good("info", model).out
    assert all(word in text for word in ("twin", "calibration", "false_alarm_rate", "train: 48"))


def test_the_version() -> None:
    assert good("--version").out == f"anotwin {anotwin.__version__}\n"


LATER = "detectability", "sample", "info", "demo"


@pytest.mark.parametrize("command", ["prepare", "check", "train", "calibrate", "score", "evaluate", *LATER])
def test_help_of_every_command(command: str) -> None:
    text = good(command, "--help").out
    assert "Usage" in text
    assert command in good("--help").out


def test_a_closed_pipe_is_no_error() -> None:
    process = launch("--help")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
    process.wait()


@pytest.mark.slow
def test_the_demo(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    outcome = good("demo", "--data", "digits", "--out", out)
    assert "AUROC" in outcome.out or "auroc" in outcome.out
    for name in ("figure.png", "evaluation/roc.png", "scores/scores.csv", "model/bundle.json"):
        assert (out / name).is_file(), name
