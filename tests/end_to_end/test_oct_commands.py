"""OCT scans from files to scores, pictures and tables, with a training of a second on synthetic retinas."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from anotwin import Detector
from anotwin.domains.oct.report.bscan import LINES
from anotwin.domains.oct.report.tables import SliceRow
from anotwin.report.files import picture_names
from anotwin.report.rows import columns
from anotwin.report.table import COLUMNS as SCORES
from anotwin.seeding import fingerprint
from made_scans import HEIGHT, WIDTH, scan, volume
from quick import good, leftovers, run, sets

TINY = ("data.image_size=16", "training.steps=5", "calibration.false_alarm_rate=0.4")
PATIENTS = {"Anna": (0, 1, 2), "Bert": (3, 4), "Carla": (5,), "Dora": (6, 7)}
VOLUME = [f"eye.tif#{number:03d}" for number in range(4)]
SINGLE = ["broken.png", "deep.png", "photo.png", "sick.png"]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def oct_normals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight healthy scans of four patients, who are known to the manifest alone."""
    folder = tmp_path_factory.mktemp("oct") / "normals"
    folder.mkdir()
    lines = ["file,patient"]
    for patient, seeds in PATIENTS.items():
        for seed in seeds:
            Image.fromarray(scan(seed)).save(folder / f"{seed}.png")
            lines.append(f"{seed}.png,{patient}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def oct_model(tmp_path_factory: pytest.TempPathFactory, oct_normals: Path) -> Path:
    out = tmp_path_factory.mktemp("oct") / "model"
    good("train", oct_normals, "--out", out, "--layout", "oct", "--method", "acae", *sets(*TINY))
    return out


@pytest.fixture(scope="module")
def oct_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A volume with a cyst, a scan with one, one of 16 bit, a file that is none and a photograph."""
    folder = tmp_path_factory.mktemp("oct") / "data"
    folder.mkdir()
    tifffile.imwrite(folder / "eye.tif", np.stack(volume(20, 4, lesion=True)), photometric="minisblack")
    Image.fromarray(scan(21, lesion=True)).save(folder / "sick.png")
    Image.fromarray(scan(22).astype(np.uint16) * 100).save(folder / "deep.png")
    (folder / "broken.png").write_bytes(b"no picture")
    photo = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    Image.fromarray(photo).save(folder / "photo.png")
    lines = ["file,patient,eye,axial_um,lateral_um,between_um", "eye.tif,Zoe,OD,3.87,11.5,120", "sick.png,Zoe,OS,,,"]
    (folder / "manifest.csv").write_text(
        "\n".join([*lines, "deep.png,Yann,,,,", "broken.png,Yann,,,,", "photo.png,,,,,"])
    )
    return folder


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory, oct_model: Path, oct_data: Path) -> tuple[Path, str]:
    """The folder of a whole run, not to be written to, and what it printed."""
    out = tmp_path_factory.mktemp("oct") / "scored"
    return out, good("score", oct_model, oct_data, "--out", out, "--lines").out


def test_patients_are_held_out_whole(oct_model: Path) -> None:
    fingerprints = Detector.load(oct_model).fingerprints
    patient_of = {np.int64(fingerprint(scan(seed))): name for name, seeds in PATIENTS.items() for seed in seeds}
    sides = [[patient_of[each] for each in fingerprints[part].tolist()] for part in ("train", "holdout")]
    assert sorted(sides[0] + sides[1]) == sorted(patient_of.values())
    assert sides[0]
    assert sides[1]
    assert not set(sides[0]) & set(sides[1])
    described = json.loads(good("info", oct_model, "--json").out)
    assert (described["spec"]["view"], described["spec"]["size"]) == ("retina", 16)


def test_calibrate_says_what_is_missing_in_its_scans(tmp_path: Path, oct_model: Path, oct_normals: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(oct_model, model)
    said = good("calibrate", model, oct_normals, "--false-alarm-rate", "0.5")
    assert "8 of 8 scans have no spacing" in " ".join((said.out + said.err).split())


def test_every_scan_has_its_row_and_its_pictures(scored: tuple[Path, str]) -> None:
    out, printed = scored
    rows = {row["image"]: row for row in table(out / "scores.csv")}
    assert list(next(iter(rows.values()))) == list(SCORES)
    assert set(rows) == {*VOLUME, *SINGLE}
    errors = {name: row["error"] for name, row in rows.items() if row["error"]}
    assert set(errors) == {"broken.png", "photo.png"}
    assert "broken.png: not an image" in errors["broken.png"]
    assert errors["photo.png"].startswith("photo.png: ")
    assert "colour" in errors["photo.png"]
    assert {rows[name]["status"] for name in errors} == {"error"}
    for kind in ("counterparts", "heatmaps"):
        pictures = sorted((out / kind).iterdir())
        assert len(pictures) == 6
        assert {size(path) for path in pictures} == {(WIDTH, HEIGHT)}
    with Image.open(out / "counterparts" / "deep.png") as image:
        assert np.asarray(image).dtype == np.uint16
        assert np.asarray(image).max() > 255
    with Image.open(out / "heatmaps" / "deep.png") as image:
        assert np.median(np.asarray(image.convert("L"))) < 100  # shown in its own range, not as if it were of 8 bit
    assert size(out / "figure.png")[0] > 500
    assert size(out / "patches.png")[0] > 500
    assert not (out / "features.png").exists()
    assert leftovers(out) == []
    for word in ("eye.tif", "Zoe", "volumes.csv", "patients.csv", "bscans/"):
        assert word in printed


def test_volumes_and_patients_are_pooled_from_the_rows(scored: tuple[Path, str]) -> None:
    out, _ = scored
    score = {row["image"]: float(row["score"]) for row in table(out / "scores.csv")}
    flagged = {row["image"] for row in table(out / "scores.csv") if row["anomalous"] == "true"}
    volumes = {row["volume"]: row for row in table(out / "volumes.csv")}
    assert set(volumes) == {"eye.tif", *SINGLE}
    worst = max(VOLUME, key=lambda name: score[name])  # 5 % of four slices: one
    assert volumes["eye.tif"] == {
        "volume": "eye.tif",
        "patient": "Zoe",
        "eye": "OD",
        "slices": "4",
        "scored": "4",
        "failed": "0",
        "anomalous_slices": str(len(flagged & set(VOLUME))),
        "score": repr(score[worst]),
        "p_value": volumes["eye.tif"]["p_value"],
        "anomalous": volumes["eye.tif"]["anomalous"],
        "worst": worst,
    }
    assert (volumes["broken.png"]["score"], volumes["broken.png"]["failed"]) == ("nan", "1")
    zoe = {"patient": "Zoe", "volumes": "2", "scans": "5", "score": repr(max(score[worst], score["sick.png"]))}
    yann = {"patient": "Yann", "volumes": "2", "scans": "2", "score": repr(score["deep.png"])}
    patients = sorted(table(out / "patients.csv"), key=lambda row: row["patient"])
    assert all(row["anomalous"] in ("true", "false") and 0 < float(row["p_value"]) <= 1 for row in patients)
    assert [{name: row[name] for name in zoe} for row in patients] == [yann, zoe]


def test_a_volume_is_a_map_and_a_table_of_its_slices(scored: tuple[Path, str]) -> None:
    out, _ = scored
    assert sorted(path.name for path in (out / "volumes").iterdir()) == ["eye.tif.csv", "eye.tif.png"]
    assert min(size(out / "volumes" / "eye.tif.png")) > 200
    lines = table(out / "volumes" / "eye.tif.csv")
    assert list(lines[0]) == list(columns(SliceRow))
    rows = {row["image"]: row for row in table(out / "scores.csv")}
    assert [line["image"] for line in lines] == VOLUME
    for number, line in enumerate(lines):
        row = rows[line["image"]]
        assert line["slice"] == str(number)
        assert [line[name] for name in ("score", "p_value", "anomalous", "error")] == [
            row[name] for name in ("score", "p_value", "anomalous", "error")
        ]
        assert 0 < float(line["quality"]) <= 1


def test_the_most_anomalous_scans_are_drawn_with_lines_on_request(
    tmp_path: Path, scored: tuple[Path, str], oct_model: Path, oct_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, _ = scored
    rows = [row for row in table(out / "scores.csv") if not row["error"]]
    ranked = sorted(rows, key=lambda row: -float(row["score"]))
    names = picture_names([*VOLUME, *SINGLE])
    assert {path.name for path in (out / "bscans").iterdir()} == {names[row["image"]] for row in rows}  # so few: all
    monkeypatch.setattr("anotwin.domains.oct.outputs.SHOWN", 2)
    monkeypatch.setattr("anotwin.domains.oct.outputs.MOST_SCANS", 3)
    (tmp_path / "bscans").mkdir()
    for stale in (names[ranked[-1]["image"]], "mine.png"):
        (tmp_path / "bscans" / stale).write_bytes(b"from before")
    good("score", oct_model, oct_data, "--out", tmp_path, "--no-pictures")
    expected = {names[row["image"]] for row in ranked[: 3 if ranked[2]["anomalous"] == "true" else 2]}
    assert {path.name for path in (tmp_path / "bscans").iterdir()} == {*expected, "mine.png"}
    assert sorted(path.name for path in (tmp_path / "volumes").iterdir()) == ["eye.tif.csv"]
    yellow = [int(LINES["baseline"][1][0][place : place + 2], 16) for place in (1, 3, 5)]
    for name in expected:
        pictures = [np.asarray(Image.open(folder / "bscans" / name).convert("RGB")) for folder in (tmp_path, out)]
        assert min(pictures[0].shape[:2]) > 300
        bare, lined = (picture[: int(0.9 * len(picture))].astype(int) for picture in pictures)  # without the keys
        assert not (np.abs(bare - yellow).max(axis=2) < 25).any()
        assert (np.abs(lined - yellow).max(axis=2) < 25).sum() > 10


def test_a_stopped_run_goes_on_to_the_same_files(
    tmp_path: Path, scored: tuple[Path, str], oct_model: Path, oct_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped behind some slices of the volume, whose picture needs them all."""
    honest = Detector.findings

    def stopped(self: Detector, *args: Any, **more: Any) -> Any:
        for finding in honest(self, *args, **more):
            if finding.id == VOLUME[2]:
                raise KeyboardInterrupt
            yield finding

    monkeypatch.setattr(Detector, "findings", stopped)
    words = ("score", oct_model, oct_data, "--out", tmp_path, "--lines")
    assert run(*words).code == 130
    done = [line.split(",")[0] for line in (tmp_path / "scores.csv.partial").read_text().splitlines()[1:]]
    assert VOLUME[1] in done
    assert VOLUME[2] not in done
    assert not (tmp_path / "volumes").exists()
    asked: list[int] = []

    def counted(self: Detector, data: Any, indices: Any = None, **more: Any) -> Any:
        asked.append(len(indices))
        return honest(self, data, indices, **more)

    monkeypatch.setattr(Detector, "findings", counted)
    good(*words)
    assert files(tmp_path) == files(scored[0])
    assert asked[0] == 8 - len(set(done) - set(VOLUME))  # the rest, and the volume from its start


def test_labelled_scans_are_measured(tmp_path: Path, oct_model: Path) -> None:
    data = tmp_path / "data"
    lines = ["file,label,patient"]
    for label, lesion in (("normal", False), ("CNV", True)):
        (data / label).mkdir(parents=True)
        for seed in (30, 31, 32):
            Image.fromarray(scan(seed, lesion)).save(data / label / f"{seed}.png")
            lines.append(f"{label}/{seed}.png,{label},{label}{seed}")
    (data / "manifest.csv").write_text("\n".join(lines))
    good("evaluate", oct_model, data, "--json", tmp_path / "n.json", "--out", tmp_path / "pictures")
    numbers = json.loads((tmp_path / "n.json").read_text())
    assert (numbers["n_normal"], numbers["n_abnormal"], numbers["n_failed"]) == (3, 3, 0)
    assert 0 <= numbers["auroc"] <= 1
    assert set(numbers["by_label"]) == {"normal", "CNV"}
    drawn = files(tmp_path / "pictures")
    scans = {f"bscans/{label}/{seed}.png" for label in ("normal", "CNV") for seed in (30, 31, 32)}
    assert set(drawn) == {"roc.png", "histogram.png", "figure.png", *scans}
