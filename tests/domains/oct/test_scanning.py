"""Scores of volumes and patients by hand, which scans are scored again, and what is kept of a volume meanwhile."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from anotwin import Detector, Settings
from anotwin.commands.scoring import display_range, score_folder
from anotwin.data.arrays import from_arrays
from anotwin.domains.oct.outputs import pool_table, through_volumes, unfinished, write_pooled
from anotwin.domains.oct.report.pooled import PatientRow, VolumeRow, print_patients, print_volumes
from anotwin.errors import SettingsError
from anotwin.methods.registry import create
from anotwin.records import Finding, ImageSpec
from anotwin.report.table import ScoresWriter
from anotwin.updates import silent
from made_scans import BLANK, Scans

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


def test_volumes_and_patients_by_hand(tmp_path):
    source = source_of(40, 1, 2, 1, patients=("Anna", "Bert", "Anna", None))
    scores = [*np.linspace(0, 1, 39), NAN, 7.0, 3.0, 2.0, 9.0]
    volumes, patients = pool_table(table_of(tmp_path, source, scores, threshold=0.96), source)
    second = 37 / 38  # 5 % of 39 scores are the highest and 0.95 of the next
    pooled = (1 + 0.95 * second) / 1.95
    assert volumes == [
        VolumeRow("v0", "Anna", None, 40, 39, 1, 2, pytest.approx(pooled), "v0#38"),
        VolumeRow("v1", "Bert", None, 1, 1, 0, 1, 7.0, "v1#0"),
        VolumeRow("v2", "Anna", None, 2, 2, 0, 2, 3.0, "v2#0"),
        VolumeRow("v3", None, None, 1, 1, 0, 1, 9.0, "v3#0"),
    ]
    assert patients == [PatientRow("Anna", 2, 42, 3.0), PatientRow("Bert", 1, 1, 7.0)]


def test_what_has_no_score_is_said_and_lowers_none(tmp_path):
    source = source_of(2, 1, patients=("Anna", "Anna"))
    volumes, patients = write_pooled(table_of(tmp_path, source, [NAN, NAN, 1.5]), source, tmp_path)
    assert math.isnan(volumes[0].score)
    assert (volumes[0].failed, volumes[0].worst, volumes[0].anomalous) == (2, None, None)
    assert patients == [PatientRow("Anna", 2, 3, 1.5)]
    with (tmp_path / "volumes.csv").open() as file:
        first, second = csv.DictReader(file)
    assert first == {
        "volume": "v0",
        "patient": "Anna",
        "eye": "",
        "slices": "2",
        "scored": "0",
        "failed": "2",
        "anomalous": "",
        "score": "nan",
        "worst": "",
    }
    assert (second["score"], second["worst"]) == ("1.5", "v1#0")
    assert (tmp_path / "patients.csv").read_text() == "patient,volumes,scans,score\nAnna,2,3,1.5\n"


def test_the_most_anomalous_are_printed_first():
    console = Console(record=True, width=120)
    rows = [VolumeRow(f"v{k}", None, None, 5, 4, 1, k, float(k), f"v{k}#1\x1b[2J") for k in range(9)]
    print_volumes([*rows, VolumeRow("gone", None, None, 1, 0, 1, None, NAN, None)], console)
    head, first, *_, last, more = console.export_text().splitlines()
    assert head.split() == ["volume", "score", "slices", "anomalous", "failed", "worst", "slice"]
    assert first.split() == ["v8", "8", "4/5", "8", "1", "v8#1\\x1b[2J"]
    assert last.split()[0] == "v3"
    assert more == "... and 4 more"
    print_patients([PatientRow("Anna", 2, 42, 3.0), PatientRow("Bert", 1, 1, 7.0)], console)
    head, first, second = console.export_text().splitlines()
    assert (head.split(), first.split()[0], second.split()) == (
        ["patient", "score", "volumes", "scans"],
        "Bert",
        ["Anna", "3", "2", "42"],
    )


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
def test_a_volume_is_scored_again_until_it_is_whole(done, expected):
    assert list(unfinished(source_of(3, 1, 2), set(done))) == expected


def test_images_without_volumes_are_scored_once():
    assert list(unfinished(from_arrays(np.zeros((3, 8, 8), np.uint8)), {"image-00001"})) == [0, 2]


def test_files_of_a_volume_are_there_with_its_last_finding_and_not_before(tmp_path):
    source = source_of(3, 1, 2)
    folder = tmp_path / "volumes"
    folder.mkdir()
    (folder / "v2.png").write_bytes(b"from an earlier run")
    given = list(findings_of(source, [1.0, NAN, 3.0, 5.0, NAN, NAN], heat=2.0))
    stream = through_volumes(iter(given), range(6), source, tmp_path, 2.0)
    seen = []
    for finding in stream:
        seen.append((finding, sorted(path.name for path in folder.iterdir())))
    assert [finding for finding, _ in seen] == given
    before, after = ["v2.png"], ["v0.csv", "v0.png", "v2.png"]
    assert [names for _, names in seen] == [before, before, after, after, after, ["v0.csv", "v0.png", "v2.csv"]]
    with (folder / "v0.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [(line["slice"], line["image"], line["score"]) for line in lines] == [
        ("0", "v0#0", "1.0"),
        ("1", "v0#1", "nan"),
        ("2", "v0#2", "3.0"),
    ]
    assert lines[1]["error"] == "v0#1: broken"


def test_without_heatmaps_there_is_a_table_and_no_picture(tmp_path):
    source = source_of(2)
    list(through_volumes(findings_of(source, [1.0, 2.0]), range(2), source, tmp_path, None))
    assert [path.name for path in (tmp_path / "volumes").iterdir()] == ["v0.csv"]


def test_lines_are_for_models_of_retinas(tmp_path):
    detector = Detector(create("acae", ImageSpec(1, 16), Settings().with_overrides(["networks.base_channels=4"])))
    with pytest.raises(SettingsError, match=r"--lines: this model looks at whole images"):
        score_folder(detector, Path("data"), tmp_path, layout="auto", pictures=True, watch=silent, lines=True)
    assert display_range(detector) == (0.0, 255.0)
