"""anotwin prepare: synthetic eyes whose lines are known, and everything that is none, in one folder."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from anotwin.domains.oct.report.tables import ScanRow
from anotwin.domains.oct.synthetic.retina import RetinaScan, retina_scan, retina_volume
from anotwin.report.rows import columns
from quick import Outcome, good, leftovers, normals, run, sets, write

HEIGHT, WIDTH = 352, 256
PATIENTS = {"one.png": "P1", "two.png": "P2", "volume.tif": "P3"}
READABLE = ("colour", "one", "two", "upside", "volume~tif%23000", "volume~tif%23001", "volume~tif%23002")


def table(out: Path) -> dict[str, dict[str, str]]:
    with (out / "prepared.csv").open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        assert tuple(reader.fieldnames or ()) == columns(ScanRow)
        return {row["image"]: row for row in reader}


def photograph() -> np.ndarray:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] / HEIGHT
    return np.rint(np.stack([255 * rows, 255 * (1 - rows), 255 * columns], axis=2)).astype(np.uint8)


@pytest.fixture(scope="module")
def truth() -> dict[str, RetinaScan]:
    scans = {"one.png": retina_scan(1, HEIGHT, WIDTH), "two.png": retina_scan(2, HEIGHT, WIDTH)}
    volume = retina_volume(3, 3, HEIGHT, WIDTH)
    return scans | {f"volume.tif#{number:03d}": scan for number, scan in enumerate(volume)}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, truth: dict[str, RetinaScan]) -> Path:
    root = tmp_path_factory.mktemp("oct")
    for name in ("one.png", "two.png"):
        Image.fromarray(truth[name].pixels).save(root / name)
    volume = np.stack([truth[f"volume.tif#{k:03d}"].pixels for k in range(3)])
    tifffile.imwrite(root / "volume.tif", volume, photometric="minisblack")
    Image.fromarray(truth["one.png"].pixels[::-1]).save(root / "upside.png")
    Image.fromarray(photograph()).save(root / "colour.png")
    (root / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    lines = ["file,patient,eye,axial_um,lateral_um"]
    lines += [f"{name},{patient},OD,3.87,11.5" for name, patient in PATIENTS.items()]
    lines += [f"{name},,,," for name in ("upside.png", "colour.png", "broken.png")]
    (root / "manifest.csv").write_text("\n".join(lines), encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def prepared(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    out = tmp_path_factory.mktemp("prepared")
    return out, good("prepare", data, "--layout", "oct", "--out", out)


def test_each_scan_is_a_row_with_its_identity(prepared: tuple[Path, Outcome], truth: dict[str, RetinaScan]) -> None:
    rows = table(prepared[0])
    assert set(rows) == {*truth, "upside.png", "colour.png", "broken.png"}
    for name in truth:
        row, file = rows[name], name.partition("#")[0]
        assert (row["status"], row["reason"]) == ("segmented", "")
        assert (row["patient"], row["eye"], row["volume"]) == (PATIENTS[file], "OD", file)
        assert row["slice"] == (str(int(name[-3:])) if "#" in name else "0")
        assert (row["width"], row["height"]) == (str(WIDTH), str(HEIGHT))
        assert (row["axial_um"], row["lateral_um"], row["spacing"]) == ("3.87", "11.5", "file")


def test_lines_are_measured_as_they_were_drawn(prepared: tuple[Path, Outcome], truth: dict[str, RetinaScan]) -> None:
    rows = table(prepared[0])
    for name, scan in truth.items():
        thickness = float(np.median(scan.baseline - scan.ilm)) * scan.spacing.axial
        assert float(rows[name]["thickness_um"]) == pytest.approx(thickness, abs=12)
        assert 0.5 < float(rows[name]["quality"]) <= 1
        assert 0.8 < float(rows[name]["valid"]) <= 1


def test_what_is_no_scan_says_why(prepared: tuple[Path, Outcome]) -> None:
    rows = table(prepared[0])
    assert rows["upside.png"]["status"] == rows["colour.png"]["status"] == "refused"
    assert "upside down" in rows["upside.png"]["reason"]
    assert "colour picture" in rows["colour.png"]["reason"]
    assert rows["upside.png"]["spacing"] == "assumed"
    assert rows["broken.png"]["status"] == "unreadable"
    assert rows["broken.png"]["reason"].startswith("not an image that can be read")
    for name in ("upside.png", "colour.png", "broken.png"):
        assert rows[name]["thickness_um"] == ""
        assert len(rows[name]["reason"].splitlines()) == 1
    assert {rows["broken.png"][column] for column in ("width", "height", "axial_um", "spacing", "quality")} == {""}


def test_pictures_show_each_step(prepared: tuple[Path, Outcome]) -> None:
    out, _ = prepared
    steps = sorted(path.name for path in (out / "steps").rglob("*.png"))
    assert steps == sorted(f"{name}.png" for name in READABLE)  # none of what could not be read
    assert sorted(path.name for path in (out / "sheets").iterdir()) == ["bands-01.png", "scans-01.png"]
    assert leftovers(out) == []
    heights = {}
    for name in ("one", "upside", "colour"):
        with Image.open(out / "steps" / f"{name}.png") as image:
            heights[name] = image.height / image.width
    assert heights["one"] > heights["upside"] == heights["colour"]  # a band and patches below what was segmented


def test_the_summary_counts(prepared: tuple[Path, Outcome]) -> None:
    out, outcome = prepared
    text = " ".join(outcome.out.split())
    assert "8 scans of 6 volumes, 5 segmented (quality" in text
    assert "2 refused, 1 unreadable" in text
    assert str(out / "prepared.csv") in text
    assert "upside down" in text
    assert "colour picture" in text
    assert "3 of 8 scans have no spacing" in " ".join(outcome.err.split())


def test_json_says_the_same(data: Path, prepared: tuple[Path, Outcome], tmp_path: Path) -> None:
    found = json.loads(good("prepare", data, "--out", tmp_path, "--no-pictures", "--json").out)
    counts = {name: found[name] for name in ("scans", "volumes", "segmented", "refused", "unreadable")}
    assert counts == {"scans": 8, "volumes": 6, "segmented": 5, "refused": 2, "unreadable": 1}
    assert sum(reason["scans"] for reason in found["reasons"]) == 3
    assert {reason["first"] for reason in found["reasons"]} == {"upside.png", "colour.png", "broken.png"}
    rows = table(tmp_path)
    assert rows == table(prepared[0])
    qualities = [float(row["quality"]) for row in rows.values() if row["status"] == "segmented"]
    assert found["quality"] == pytest.approx(float(np.median(qualities)), abs=1e-3)
    assert Path(found["table"]) == tmp_path / "prepared.csv"
    assert all(Path(path).is_file() for path in found["sheets"])
    assert any("have no spacing" in note for note in found["notes"])
    assert not (tmp_path / "steps").exists()


def test_a_limit_takes_volumes_and_a_file_alone_is_enough(data: Path, tmp_path: Path) -> None:
    good("prepare", data / "volume.tif", "--out", tmp_path / "file", "--no-pictures", "--limit", 2)
    assert list(table(tmp_path / "file")) == ["volume.tif#000", "volume.tif#001"]
    for limit in (1, 4):
        out = tmp_path / str(limit)
        run("prepare", data, "--out", out, "--no-pictures", "--limit", limit)
        assert len(table(out)) == limit


def test_nothing_to_segment_is_an_error_with_everything_written(tmp_path: Path) -> None:
    only = tmp_path / "only"
    only.mkdir()
    Image.fromarray(photograph()).save(only / "colour.png")
    outcome = run("prepare", only, "--out", tmp_path / "out", "--no-pictures")
    assert outcome.code == 2
    assert "none of 1 scans could be segmented; the first: colour.png: a colour picture" in outcome.error
    assert table(tmp_path / "out")["colour.png"]["status"] == "refused"
    assert (tmp_path / "out" / "sheets" / "scans-01.png").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--layout", "folder"), "nothing to prepare in the layout folder"),
        (("--layout", "auto"), "use --layout oct"),
        (("--layout", "nonsense"), "expected auto, folder, mvtec, idx, oct"),
        (("--limit", "0"), "at least 1 scan"),
        (("--part", "both"), "expected train or test"),
    ],
)
def test_what_cannot_be_asked_for(data: Path, tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    outcome = run("prepare", data, "--out", tmp_path / "out", *words)
    assert outcome.code == 2
    assert said in outcome.error
    assert not (tmp_path / "out" / "prepared.csv").exists()


def test_places_that_cannot_be(data: Path, tmp_path: Path) -> None:
    outcome = run("prepare", data, "--out", data / "out")
    assert outcome.code == 2
    assert "inside DATA" in outcome.error
    outcome = run("prepare", tmp_path / "nowhere", "--out", tmp_path / "out")
    assert outcome.code == 2
    assert "nowhere" in outcome.error


def test_scoring_and_evaluating_tell_what_is_odd_about_the_data(tmp_path: Path) -> None:
    """A model of whole images may be shown OCT scans too: the notes are the source's."""
    images = write(tmp_path / "data" / "good", normals(4))
    write(tmp_path / "data" / "bad", normals(4, seed=3))
    good("train", write(tmp_path / "train", normals(20)), "--out", tmp_path / "model", *sets())
    scored = good("score", tmp_path / "model", images, "--out", tmp_path / "out", "--layout", "oct", "--no-pictures")
    assert "4 of 4 scans have no spacing" in " ".join(scored.err.split())
    words = ("--json", tmp_path / "numbers.json", "--layout", "oct")
    measured = good("evaluate", tmp_path / "model", tmp_path / "data", *words)
    assert "8 of 8 scans have no spacing" in " ".join(measured.err.split())
