"""Groups from the files to the result: split, calibration, leak checks and notes, by the command line and by Python."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from anotwin import Detector
from anotwin.data.synthetic import textured_discs
from anotwin.errors import DataError
from anotwin.seeding import fingerprint
from tests.prepare.test_near import scenes
from tests.quick import SIDE, good, run, sets, settings, write

PATIENTS, EACH = 10, 6


def images(seed=0, count=PATIENTS * EACH):
    return textured_discs(count, SIDE, seed)[0]


def folder(root, header="Patient", first=0, seed=0):
    """Ten patients of six images each; the names of the files tell the patient too."""
    root.mkdir(parents=True)
    names = [f"P{first + i // EACH}_{i:02d}.png" for i in range(PATIENTS * EACH)]
    for name, image in zip(names, images(seed), strict=True):
        Image.fromarray(image).save(root / name)
    if header:
        rows = "".join(f"{name},{name.partition('_')[0]}\n" for name in names)
        (root / "manifest.csv").write_text(f"file,{header}\n{rows}")
    return root


def patients_of(detector, root):
    """The patients on each side of the split, by the content of their images."""
    found = {}
    for part in ("train", "holdout"):
        marks = set(detector.fingerprints[part].tolist())
        names = [path.name for path in root.glob("*.png") if fingerprint(np.array(Image.open(path))) in marks]
        found[part] = {name.partition("_")[0] for name in names}
    return found


def heard(notes):
    return lambda update: notes.append(update.detail) if update.stage == "note" else None


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return folder(tmp_path_factory.mktemp("groups") / "data")


@pytest.fixture(scope="module")
def model(tmp_path_factory, data):
    out = tmp_path_factory.mktemp("model") / "m"
    good("train", data, "--out", out, *sets("calibration.false_alarm_rate=0.4"))
    return out


@pytest.mark.parametrize("header", ["Patient", "patient_id", "subject", "SUBJECT ID", "Case No."])
def test_no_patient_is_on_both_sides_whatever_the_header(tmp_path, header):
    root = folder(tmp_path / "data", header)
    notes = []
    detector = Detector.train(root, settings=settings("calibration.false_alarm_rate=0.4"), watch=heard(notes))
    sides = patients_of(detector, root)
    assert not sides["train"] & sides["holdout"]
    assert len(sides["holdout"]) == 2
    assert len(set(detector.calibration.groups)) == 2
    assert any(f"10 groups by column {header!r} of manifest.csv, images in each: 6" in note for note in notes)


@pytest.mark.parametrize("how", ["{}_*.png", "{}_??.*"])
def test_a_pattern_is_stored_with_the_model_and_used_again(tmp_path, how):
    root = folder(tmp_path / "data", "")
    outcome = good("train", root, "--out", tmp_path / "m", "--group", how, *sets("calibration.false_alarm_rate=0.4"))
    assert "10 groups by" in outcome.err
    detector = Detector.load(tmp_path / "m")
    assert detector.settings.data.group == how
    sides = patients_of(detector, root)
    assert not sides["train"] & sides["holdout"]
    assert [item.group for item in detector.open(root).items[:2]] == ["P0", "P0"]
    assert {item.group for item in detector.open(root, group="none").items} == {None}
    other = write(tmp_path / "other", images(5)[:8], "x")
    good("score", tmp_path / "m", other, "--out", tmp_path / "scores")  # says that it does not know, and goes on
    refused = run("calibrate", tmp_path / "m", other)
    assert refused.code == 2
    assert "names no group for any of 8 images" in refused.error
    assert "'none'" in refused.error


def test_names_of_patients_do_not_get_into_the_model(model):
    text = (model / "bundle.json").read_text()
    assert "P0" not in text
    assert "P7" not in text


def test_new_images_of_patients_that_were_trained_on_are_left_out_of_calibration(tmp_path, data, model):
    """The other way to a promise that does not hold: known patients, new images."""
    detector = Detector.load(model)
    trained = patients_of(detector, data)["train"]
    known = folder(tmp_path / "known", seed=3)  # the same ten patients, photographed again
    notes = []
    calibration = detector.calibrate(known, 0.4, watch=heard(notes))
    assert len(set(calibration.groups)) == PATIENTS - len(trained)
    assert f"{len(trained) * EACH} images left out: of groups that the model was trained on" in notes
    new = folder(tmp_path / "new", "subject", first=100, seed=4)
    assert len(set(detector.calibrate(new, 0.4).groups)) == PATIENTS
    rows = "".join(f"{path.name};{path.name.partition('_')[0].lower()} \n" for path in sorted(known.glob("*.png")))
    (known / "manifest.csv").write_text(f"file;patient\n{rows}")
    assert len(set(detector.calibrate(known, 0.4).groups)) == PATIENTS - len(trained)  # in any spelling


def test_all_patients_known_is_one_line(tmp_path, data, model):
    root = folder(tmp_path / "again", seed=3)
    trained = patients_of(Detector.load(model), data)["train"]
    for path in root.glob("*.png"):
        if path.name.partition("_")[0] not in trained:
            path.unlink()
    rows = "".join(f"{path.name},{path.name.partition('_')[0]}\n" for path in root.glob("*.png"))
    (root / "manifest.csv").write_text("file,patient\n" + rows)
    assert "no image to calibrate on" in run("calibrate", model, root).error


def test_evaluate_and_score_say_which_groups_were_trained_on(tmp_path, data, model):
    trained = patients_of(Detector.load(model), data)["train"]
    normal, abnormal = images(8)[:12], textured_discs(6, SIDE, seed=9, abnormal=True)[0]
    for name, taken in (("good", normal), ("bad", abnormal)):
        write(tmp_path / "test" / name, taken)
    old = sorted(trained)[0]
    rows = [f"good/{i:03d}.png,{old if i < 4 else f'N{i}'}" for i in range(12)]
    rows += [f"bad/{i:03d}.png,N{i}" for i in range(6)]
    (tmp_path / "test" / "manifest.csv").write_text("File,Patient ID\n" + "\n".join(rows) + "\n")
    outcome = good("evaluate", model, tmp_path / "test", "--json", tmp_path / "e.json")
    numbers = json.loads((tmp_path / "e.json").read_text())
    assert (numbers["n_leaked"], numbers["n_leaked_by_group"]) == (0, 4)
    assert "4 more are of groups of which the model was trained on" in outcome.err
    scored = good("score", model, tmp_path / "test", "--out", tmp_path / "s")
    assert "4 of 18 images are of 1 groups that the model was trained on" in scored.err
    assert old not in json.dumps(numbers["shift"])


def test_a_class_folder_is_no_group(tmp_path):
    write(tmp_path / "data" / "good", images()[:20])
    refused = run("train", tmp_path / "data", "--out", tmp_path / "m", "--group", "folder")
    assert refused.code == 2
    assert "'folder' names no group for any of 20 images" in refused.error
    assert "pattern such as" in refused.error
    assert not (tmp_path / "m").exists()


def test_groups_of_images_in_memory():
    groups = [f"p{i // EACH}" for i in range(PATIENTS * EACH)]
    small = settings("calibration.false_alarm_rate=0.4")
    detector = Detector.train(images(), group=groups, settings=small)
    assert len(set(detector.calibration.groups)) == 2
    assert len(detector.fingerprints["holdout"]) == 2 * EACH
    same = Detector.train(images(), group=groups, settings=small)
    assert same.calibration == detector.calibration
    with pytest.raises(DataError, match="3 groups for 60 images"):
        Detector.train(images(), group=["a"] * 3, settings=small)


def burst_folder(root, count=10, frames=15):
    return write(root, scenes(count, frames, 32, seed=2, noise=3, shift=0.3))


def test_frames_of_a_burst_stay_on_one_side_and_count_once(tmp_path):
    root = burst_folder(tmp_path / "data")
    notes = []
    detector = Detector.train(root, settings=settings("calibration.false_alarm_rate=0.4"), watch=heard(notes))
    scene_of = {fingerprint(np.array(Image.open(path))): int(path.stem) // 15 for path in root.glob("*.png")}
    train, held = ({scene_of[mark] for mark in detector.fingerprints[part].tolist()} for part in ("train", "holdout"))
    assert not train & held
    assert len(set(detector.calibration.groups)) == len(held) == 2
    kept = " ".join(detector.history["notes"])
    assert "150 of 150 images are nearly identical to others, in 10 groups of 15" in kept
    assert "--group" in kept
    assert "groups" not in detector.fingerprints  # such groups have no name that means anything elsewhere


def test_nothing_is_said_and_nothing_changes_where_images_are_independent(tmp_path):
    detector = Detector.train(write(tmp_path / "data", images()), settings=settings())
    assert detector.calibration.groups == ()
    assert not any("identical" in note for note in detector.history["notes"])
    assert set(detector.fingerprints) == {"train", "holdout"}


def test_near_duplicates_may_be_said_to_be_independent(tmp_path):
    root = burst_folder(tmp_path / "data")
    detector = Detector.train(root, settings=settings('data.group="none"'))
    assert detector.calibration.groups == ()
    assert "held-out images are nearly identical to training images" in " ".join(detector.history["notes"])


def test_a_test_set_that_lies_elsewhere_is_said(tmp_path):
    detector = Detector.train(images(0, 150), tmp_path / "m", settings=settings("training.steps=60"))
    assert detector.calibration is not None
    model, alike, other = tmp_path / "m", tmp_path / "alike", tmp_path / "other"
    for root, change in ((alike, 0), (other, 70)):
        write(root / "good", np.clip(images(21, 40).astype(int) + change, 0, 255).astype(np.uint8))
        bad = textured_discs(15, SIDE, seed=22, abnormal=True)[0]
        write(root / "bad", np.clip(bad.astype(int) + change, 0, 255).astype(np.uint8))
    said = "these images are not like those calibrated on"
    for root, shifted in ((alike, False), (other, True)):
        evaluated = good("evaluate", model, root, "--json", tmp_path / "e.json")
        numbers = json.loads((tmp_path / "e.json").read_text())["shift"]
        assert bool(numbers["shifted"]) == shifted == (said in evaluated.err)
        assert numbers["all_normal"]
        assert numbers["images"] == 40
        assert said in good("score", model, root, "--out", tmp_path / f"s-{root.name}").err or not shifted
    shutil.move(alike / "good", alike / "plain")
    shutil.rmtree(alike / "bad")
    assert said not in good("score", model, alike / "plain", "--out", tmp_path / "s3").err
    with (tmp_path / "s3" / "scores.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 40


def test_bursts_to_calibrate_on_count_once(tmp_path):
    detector = Detector.train(images(0, 150)[:60], settings=settings())
    notes = []
    calibration = detector.calibrate(burst_folder(tmp_path / "data"), 0.2, watch=heard(notes))
    assert len(calibration.scores) == 150
    assert len(set(calibration.groups)) == 10
    assert any("150 of 150 images are nearly identical to others, in 10 groups of 15" in note for note in notes)
    assert detector.calibrate(tmp_path / "data", 0.2, group="none").groups == ()
