"""What `anotwin score` writes of OCT scans: volumes and patients by hand, files in time, every scan scored once."""

import csv
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from anotwin import Detector, Settings
from anotwin.commands.scoring import score_folder
from anotwin.data.arrays import from_arrays
from anotwin.domains.oct.domain import OCT
from anotwin.domains.oct.outputs import ScanOutputs
from anotwin.domains.oct.report.tables import PatientRow, VolumeRow
from anotwin.domains.oct.volumes import pool_table, write_pooled
from anotwin.domains.protocol import Job
from anotwin.errors import SettingsError
from anotwin.methods.registry import create
from anotwin.records import Finding, ImageSpec
from anotwin.report.table import ScoresWriter
from anotwin.updates import silent
from made_scans import BLANK, Scans, scan, volume

NAN = float("nan")


def source_of(*counts, patients=()):
    return Scans(tuple((BLANK,) * count for count in counts), patients=patients)


def findings_of(source, scores, threshold=None, heat=None):
    for item, score in zip(source.items, scores, strict=True):
        failed = math.isnan(score)
        yield Finding(
            item.id,
            score=score,
            anomalous=None if threshold is None or failed else score > threshold,
            error=f"{item.id}: broken" if failed else "",
            heatmap=None if failed or heat is None else np.full((20, 30), heat, np.float32),
        )


def table_of(folder, source, scores, threshold=None):
    with ScoresWriter(folder / "scores.csv", "key") as writer:
        writer.write(findings_of(source, scores, threshold))
        return writer.finish()


def model_of(view="retina"):
    spec = ImageSpec(1, 16, view=view, parts=view == "retina")
    overrides = ["networks.base_channels=4", "data.layout=oct", "search.batch_size=512"]
    return Detector(create("acae", spec, Settings().with_overrides(overrides)))


def test_volumes_and_patients_by_hand(tmp_path):
    source = source_of(40, 1, 2, 1, patients=("Anna", "Bert", "Anna", None))
    scores = [*np.linspace(0, 1, 39), NAN, 7.0, 3.0, 2.0, 9.0]
    volumes, patients = pool_table(table_of(tmp_path, source, scores, threshold=0.96), source, None)
    second = 37 / 38  # 5 % of 39 scores are the highest and 0.95 of the next
    pooled = (1 + 0.95 * second) / 1.95
    assert volumes == [
        VolumeRow("v0", "Anna", None, 40, 39, 1, 2, pytest.approx(pooled), None, None, "v0#38"),
        VolumeRow("v1", "Bert", None, 1, 1, 0, 1, 7.0, None, None, "v1#0"),
        VolumeRow("v2", "Anna", None, 2, 2, 0, 2, 3.0, None, None, "v2#0"),
        VolumeRow("v3", None, None, 1, 1, 0, 1, 9.0, None, None, "v3#0"),
    ]
    assert patients == [PatientRow("Anna", 2, 42, 3.0, None, None), PatientRow("Bert", 1, 1, 7.0, None, None)]


def test_scans_without_a_score_are_counted_and_lower_no_pooled_score(tmp_path):
    source = source_of(2, 1, patients=("Anna", "Anna"))
    volumes, patients = write_pooled(table_of(tmp_path, source, [NAN, NAN, 1.5]), source, tmp_path, None, listed=True)
    with volumes.path.open() as file:
        first, second = csv.DictReader(file)
    assert first == {
        "volume": "v0",
        "patient": "Anna",
        "eye": "",
        "slices": "2",
        "scored": "0",
        "failed": "2",
        "anomalous_slices": "",
        "score": "nan",
        "p_value": "",
        "anomalous": "",
        "worst": "",
    }
    assert (second["score"], second["worst"]) == ("1.5", "v1#0")
    assert patients.path.read_text() == "patient,volumes,scans,score,p_value,anomalous\nAnna,2,3,1.5,,\n"
    assert [row[0] for row in volumes.listing.rows] == ["v1", "v0"]
    assert patients.listing.rows == (("Anna", "1.5", "2", "3"),)
    assert write_pooled(tmp_path / "scores.csv", source, tmp_path, None, listed=False)[0].listing is None


@pytest.mark.parametrize(
    "done, expected",
    [
        ([], [0, 1, 2, 3, 4, 5]),
        (["v0#0"], [0, 1, 2, 3, 4, 5]),
        (["v0#0", "v0#1", "v0#2"], [3, 4, 5]),
        (["v0#0", "v0#1", "v0#2", "v1#0", "v2#0"], [4, 5]),
        (["v0#0", "v0#1", "v0#2", "v1#0", "v2#0", "v2#1"], []),
    ],
)
def test_a_volume_is_scored_again_as_long_as_one_slice_has_no_row(tmp_path, done, expected):
    assert list(ScanOutputs(Job(source_of(3, 1, 2), tmp_path, model_of())).unfinished(set(done))) == expected


def test_images_without_volumes_are_scored_if_they_have_no_row(tmp_path):
    source = from_arrays(np.zeros((3, 8, 8), np.uint8))
    assert list(ScanOutputs(Job(source, tmp_path, model_of())).unfinished({"image-00001"})) == [0, 2]


def test_files_of_a_volume_are_written_with_its_last_slice_and_not_before(tmp_path):
    source = source_of(3, 1, 2)
    folder = tmp_path / "volumes"
    folder.mkdir()
    (folder / "v2.png").write_bytes(b"from an earlier run")
    outputs = ScanOutputs(Job(source, tmp_path, model_of()))
    seen = []
    for index, finding in enumerate(findings_of(source, [1.0, NAN, 3.0, 5.0, NAN, NAN], heat=2.0)):
        outputs.take(index, finding)
        seen.append(sorted(path.name for path in folder.iterdir()))
    before, after = ["v2.png"], ["v0.csv", "v0.png", "v2.png"]
    assert seen == [before, before, after, after, after, ["v0.csv", "v0.png", "v2.csv"]]
    with (folder / "v0.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [(line["slice"], line["image"], line["score"]) for line in lines] == [
        ("0", "v0#0", "1.0"),
        ("1", "v0#1", "nan"),
        ("2", "v0#2", "3.0"),
    ]
    assert lines[1]["error"] == "v0#1: broken"
    assert {line["quality"] for line in lines} == {""}  # of no retina


@pytest.mark.parametrize("pictures, heat", [(True, None), (False, 1.0)])
def test_without_heatmaps_or_pictures_there_is_a_table_and_no_map(tmp_path, pictures, heat):
    source = source_of(2)
    outputs = ScanOutputs(Job(source, tmp_path, model_of(), pictures))
    for index, finding in enumerate(findings_of(source, [1.0, 2.0], heat=heat)):
        outputs.take(index, finding)
    assert [path.name for path in (tmp_path / "volumes").iterdir()] == ["v0.csv"]


@pytest.fixture
def counted(monkeypatch, tmp_path):
    """A model, a source of two volumes and a scan, a run of `score`, and how often each image was scored."""
    source = Scans((volume(20, 2, lesion=True), (scan(21),), volume(2, 2)))
    detector, scored, honest = model_of(), Counter(), Detector.findings

    def findings(self, data, indices=None, **more):
        for finding in honest(self, data, indices, **more):
            scored[finding.id] += 1
            yield finding

    def score(out, pictures):
        source.reads.clear()
        scored.clear()
        return score_folder(detector, source, tmp_path / out, layout="auto", pictures=pictures, watch=silent)

    monkeypatch.setattr(Detector, "findings", findings)
    return source, score, scored


@pytest.mark.parametrize("pictures", [True, False])
def test_every_scan_is_read_and_scored_once(counted, tmp_path, pictures):
    """The table, the figure, the patches, the worst scans and the volumes come from one stream."""
    source, score, scored = counted
    summary = score("out", pictures)
    assert summary.images == len(source.items) == 5
    assert Counter(source.reads) == dict.fromkeys(range(5), 1)
    assert scored == {item.id: 1 for item in source.items}
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"scores.csv", "figure.png", "patches.png", "bscans", "volumes", "volumes.csv", "patients.csv"} <= written
    assert len(list((tmp_path / "out" / "bscans").rglob("*.png"))) == 5


@pytest.mark.parametrize("pictures", [True, False])
def test_after_a_stop_only_kept_rows_are_scored_again_for_their_pictures(counted, tmp_path, monkeypatch, pictures):
    """Stopped within the last volume, which is scored from its start; the three rows before it are kept."""
    source, score, scored = counted
    score("whole", pictures)
    take = ScanOutputs.take

    def stopped(self, index, finding):
        if index == 4:
            raise KeyboardInterrupt
        take(self, index, finding)

    with monkeypatch.context() as patched:
        patched.setattr(ScanOutputs, "take", stopped)
        with pytest.raises(KeyboardInterrupt):
            score("out", pictures)
    score("out", pictures)
    assert scored == {item.id: 1 for item in source.items}  # for all the pictures of a kept row once
    # scan 3, whose row was kept, once more: it lies in no file that could tell that it is the same
    assert [index for index in source.reads if index > 2] == [3, 3, 4]
    files = {
        out: {path.relative_to(tmp_path / out): path.read_bytes() for path in (tmp_path / out).rglob("*.*")}
        for out in ("whole", "out")
    }
    assert files["out"] == files["whole"]


def test_lines_are_an_option_of_retinas_alone(tmp_path):
    assert "lines" in OCT.options
    with pytest.raises(SettingsError, match=r"--option lines: .*retina.*whole"):
        score_folder(
            model_of("whole"),
            Path("data"),
            tmp_path,
            layout="auto",
            pictures=True,
            watch=silent,
            options=frozenset({"lines"}),
        )
