"""Images that come in groups, through the whole product: calibrate, score and evaluate count and judge groups."""

import csv
import json
import math
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from anotwin import Detector
from anotwin.data.synthetic import textured_discs
from quick import good, normals, queries, run, sets, stopped_after, write

SIZE = 3  # images of a group


def listed(folder: Path, groups: list[str], labels: list[str] | None = None) -> Path:
    """manifest.csv for the images of a folder, in the order of their names."""
    rows = [["file", "group", *(["label"] if labels else [])]]
    for number, (name, group) in enumerate(zip(sorted(p.name for p in folder.glob("*.png")), groups, strict=True)):
        rows.append([name, group, *([labels[number]] if labels else [])])
    with (folder / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder


def grouped(folder: Path, images: np.ndarray, prefix: str) -> Path:
    return listed(write(folder, images), [f"{prefix}{k // SIZE}" for k in range(len(images))])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A model of 20 groups of 3 images, a fifth of them held out for a rate of 10 %; and what was said."""
    root = tmp_path_factory.mktemp("grouped")
    data = grouped(root / "normals", normals(60), "part")
    said = good("train", data, "--out", root / "model", "--method", "acae", *sets("calibration.false_alarm_rate=0.1"))
    return root / "model", said.out + said.err


@pytest.fixture
def model(trained: tuple[Path, str], tmp_path: Path) -> Path:
    """Calibrated on nine other groups, at 20 %."""
    copy = shutil.copytree(trained[0], tmp_path / "model")
    good("calibrate", copy, grouped(tmp_path / "more", normals(27, seed=5), "g"), "--false-alarm-rate", 0.2)
    return copy


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_train_counts_the_groups_held_out(trained: tuple[Path, str]) -> None:
    model, said = trained
    told = json.loads(good("info", model, "--json").out)["calibration"]
    groups = told["groups"]
    assert groups * SIZE == told["images"] <= 12
    assert (
        f"{groups} held-out groups ({told['images']} normals) are too few for a false-alarm rate of 0.1 (9 groups"
        in said
    )
    assert told["false_alarm_rate"] == 1 / (groups + 1)
    assert f"{1 / (groups + 1):.2%} of the images of a new normal group" in said
    assert f"on {groups} groups ({told['images']} normals)" in said


def test_a_rate_that_images_would_allow_and_groups_do_not_is_refused(model: Path, tmp_path: Path) -> None:
    """27 images promise 5 %, nine groups do not."""
    error = run("calibrate", model, tmp_path / "more", "--false-alarm-rate", 0.05).error
    assert "9 held-out groups of normal images are too few for a false-alarm rate of 0.05" in error
    assert "at least 19" in error


def test_calibration_by_groups_is_that_of_the_formula(model: Path, tmp_path: Path) -> None:
    printed = json.loads(good("calibrate", model, tmp_path / "more", "--false-alarm-rate", 0.2, "--json").out)
    assert (printed["n_normal"], printed["n_groups"]) == (27, 9)
    detector = Detector.load(model)
    held = [finding.score for finding in detector.score(tmp_path / "more", pictures=False)]
    of = [held[k : k + SIZE] for k in range(0, 27, SIZE)]

    def p(score: float) -> Fraction:
        return (1 + sum(Fraction(sum(s >= score for s in group), SIZE) for group in of)) / Fraction(10)

    assert printed["threshold"] == min(s for s in held if p(math.nextafter(s, math.inf)) <= Fraction(1, 5))
    for finding in detector.score(queries(6), pictures=False):
        assert finding.p_value == float(p(finding.score))
        assert finding.anomalous == (finding.score > printed["threshold"])


def test_groups_are_judged_by_groups(model: Path, tmp_path: Path) -> None:
    images = np.concatenate([normals(6, seed=8), queries(6)])
    data = grouped(tmp_path / "new", images, "=new")
    (data / "manifest.csv").write_text((data / "manifest.csv").read_text() + "011b.png,\n")
    write(data, images[:1], "011b")  # 011b000.png: in no group, the manifest does not name it
    (data / "011b.png").write_bytes(b"no image")
    outcome = good("score", model, data, "--out", tmp_path / "out")
    held = table_of_held(model, tmp_path)
    scores = {row["image"]: float(row["score"]) for row in table(tmp_path / "out" / "scores.csv")}
    rows = table(tmp_path / "out" / "groups.csv")
    assert [row["group"].lstrip("'") for row in rows] == [f"=new{k}" for k in range(4)]
    for number, row in enumerate(rows):
        highest = max(scores[f"{k:03d}.png"] for k in range(SIZE * number, SIZE * number + SIZE))
        p = (1 + sum(each >= highest for each in held)) / 10
        assert (float(row["score"]), float(row["p_value"])) == (highest, p)
        assert row["anomalous"] == ("true" if p <= 0.2 else "false")
        assert (row["images"], row["failed"], scores[row["worst"]]) == ("3", "0", highest)
    assert "at most 20.00% of the images of a new normal group" in outcome.out
    assert "groups.csv" in outcome.out


def table_of_held(model: Path, tmp_path: Path) -> list[float]:
    held = [finding.score for finding in Detector.load(model).score(tmp_path / "more", pictures=False)]
    return [max(held[k : k + SIZE]) for k in range(0, 27, SIZE)]


def test_a_stopped_scoring_gives_the_same_groups(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = grouped(tmp_path / "new", queries(9), "new")
    words = ("score", model, data, "--no-pictures", "--out")
    good(*words, tmp_path / "whole")
    with monkeypatch.context() as patched:
        patched.setattr(Detector, "findings", stopped_after(4))
        assert run(*words, tmp_path / "out").code == 130
    assert not (tmp_path / "out" / "groups.csv").exists()
    good(*words, tmp_path / "out")
    assert (tmp_path / "out" / "groups.csv").read_bytes() == (tmp_path / "whole" / "groups.csv").read_bytes()


def test_without_groups_there_is_no_table_of_them(trained: tuple[Path, str], tmp_path: Path) -> None:
    outcome = good("score", trained[0], write(tmp_path / "new", queries(3)), "--out", tmp_path / "out")
    assert not (tmp_path / "out" / "groups.csv").exists()
    assert "of a new normal group" in outcome.out  # what the model's decisions promise all the same


def test_evaluate_has_intervals_by_groups_and_rates_of_groups(model: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "new", np.concatenate([normals(18, seed=8), queries(18)]))
    listed(data, [f"g{k // SIZE}" for k in range(36)], ["good"] * 18 + ["hole"] * 18)
    outcome = good("evaluate", model, data, "--json", tmp_path / "numbers.json")
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert (numbers["intervals_by"], numbers["n_groups"], numbers["n_leaked_by_group"]) == ("group", 12, 0)
    unit = numbers["by_unit"]["group"]
    assert (unit["n_normal"], unit["n_abnormal"], unit["n_mixed"]) == (6, 6, 0)
    assert 0 <= unit["false_alarm_rate"] <= 1
    assert "by group: 6 normal and 6 abnormal" in outcome.out
    assert "of 12 groups" in outcome.out
    (data / "manifest.csv").unlink()
    for number, name in enumerate(sorted(path.name for path in data.glob("*.png"))):
        kind = data / ("good" if number < 18 else "hole")
        kind.mkdir(exist_ok=True)
        (data / name).rename(kind / name)
    good("evaluate", model, data, "--json", tmp_path / "alone.json")
    alone = json.loads((tmp_path / "alone.json").read_text())
    assert (alone["intervals_by"], alone["n_groups"], alone["by_unit"]) == ("image", 36, {})
    assert alone["auroc"] == numbers["auroc"]


def test_other_pictures_of_a_group_that_was_trained_on_are_no_new_normals(model: Path, tmp_path: Path) -> None:
    """One picture of group g0 is a training image: its other two are left out of a calibration, and told of."""
    images = np.concatenate([textured_discs(27, 16, 5)[0]])
    trained_on = Detector.load(model).trained_on
    folder = tmp_path / "more"
    for number, image in enumerate(normals(60)):  # the first image that was not held out
        (finding,) = Detector.load(model).score([image], pictures=False)
        if finding.fingerprint in trained_on:
            images[1] = normals(60)[number]
            break
    write(folder, images)
    outcome = good("calibrate", model, folder, "--false-alarm-rate", 0.2, "--json")
    printed = json.loads(outcome.out)
    assert (printed["n_normal"], printed["n_groups"]) == (24, 8)
    assert "3 left out" in outcome.err
