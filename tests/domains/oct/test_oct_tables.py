"""Tables of OCT scans: read back by the csv module, counted by hand, and listed for the terminal."""

import csv
import io
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from anotwin.domains.oct.report.tables import (
    PatientRow,
    ScanRow,
    SliceRow,
    VolumeRow,
    count_reasons,
    patient_listing,
    reason_listing,
    volume_listing,
    write_scans,
)
from anotwin.errors import DataError
from anotwin.report.listing import print_listing
from anotwin.report.rows import columns, write_rows
from anotwin.report.text import read_cell

NAN = float("nan")
FLOATS = st.floats(allow_nan=False)
ROWS = st.builds(
    SliceRow,
    slice=st.integers(0, 99),
    image=st.text(max_size=8),
    score=FLOATS | st.just(math.nan),
    p_value=st.none() | st.floats(0, 1),
    anomalous=st.sampled_from([None, True, False]),
    quality=st.none() | st.floats(0, 1),
    error=st.text(max_size=8),
)
SEGMENTED = {
    **{"image": "a.png", "patient": "P,1", "eye": "OD", "volume": "v", "slice": 3, "width": 512, "height": 496},
    **{"axial_um": 3.87, "lateral_um": 11.5, "spacing": "file", "status": "segmented", "quality": 0.98765},
    **{"thickness_um": 301.234, "valid": 1.0},
}


def refused(name, reason, status="refused"):
    return ScanRow(image=name, volume=name, slice=0, status=status, reason=reason)


def listed(listing):
    console = Console(file=io.StringIO(), width=120)
    print_listing(listing, console)
    return console.file.getvalue()


@settings(derandomize=True, deadline=None, max_examples=60)
@given(rows=st.lists(ROWS, max_size=6))
def test_csv_reads_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("t") / "new" / "slices.csv"
    write_rows(SliceRow, rows, path)
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        names, *lines = csv.reader(file, strict=True)
    assert tuple(names) == columns(SliceRow)
    for row, (place, image, score, p_value, anomalous, quality, error, left_out) in zip(rows, lines, strict=True):
        assert read_cell(left_out) == row.left_out
        assert (int(place), read_cell(image), read_cell(error)) == (row.slice, row.image, row.error)
        assert float(score) == row.score or (math.isnan(float(score)) and math.isnan(row.score))
        assert (float(p_value) if p_value else None) == row.p_value
        assert (float(quality) if quality else None) == row.quality
        assert anomalous == {None: "", True: "true", False: "false"}[row.anomalous]


def test_measures_of_prepared_scans_are_rounded_and_the_unknown_is_empty(tmp_path):
    unread = refused("b.png", '/data/b.png: the file is "empty"', "unreadable")
    write_scans([ScanRow(**SEGMENTED), unread], tmp_path / "prepared.csv")
    with (tmp_path / "prepared.csv").open(encoding="utf-8", newline="") as file:
        names, good, bad = csv.reader(file, strict=True)
    assert tuple(names) == columns(ScanRow)
    numbers = ["512", "496", "3.87", "11.5", "file", "segmented", "0.988", "301.2", "1.0"]
    assert good == ["a.png", "P,1", "OD", "v", "3", *numbers, "", ""]
    named = dict(zip(names, bad, strict=True))
    told = {"image": "b.png", "volume": "b.png", "slice": "0", "status": "unreadable", "reason": unread.reason}
    assert {name: value for name, value in named.items() if value} == told


def test_a_disk_that_refuses_is_one_line_and_leaves_nothing(tmp_path):
    (tmp_path / "prepared.csv").mkdir()
    with pytest.raises(DataError, match=r"prepared\.csv"):
        write_scans([ScanRow(**SEGMENTED)], tmp_path / "prepared.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["prepared.csv"]


def test_the_most_anomalous_are_listed_first():
    rows = [VolumeRow(f"v{k}", None, None, 5, 4, 1, k, float(k), None, None, f"v{k}#1\x1b[2J") for k in range(9)]
    gone = VolumeRow("gone", None, None, 1, 0, 1, None, NAN, None, None, None)
    head, first, *_, last, more = listed(volume_listing([gone, *rows])).splitlines()
    assert head.split() == ["volume", "score", "slices", "anomalous", "slices", "failed", "worst", "slice"]
    assert first.split() == ["v8", "8", "4/5", "8", "1", "v8#1\\x1b[2J"]
    assert last.split()[0] == "v3"
    assert more == "... and 4 more"
    head, first, second = listed(
        patient_listing([PatientRow("Anna", 2, 42, 3.0, None, None), PatientRow("Bert", 1, 1, 7.0, None, None)])
    ).splitlines()
    assert head.split() == ["patient", "score", "volumes", "scans"]
    assert (first.split()[0], second.split()) == ("Bert", ["Anna", "3", "2", "42"])


def test_volumes_of_a_model_without_calibration_have_no_column_of_anomalous_slices():
    assert "anomalous" not in listed(
        volume_listing([VolumeRow("v", None, None, 2, 2, 0, None, 1.0, None, None, "v#0")])
    )


def test_reasons_that_differ_in_numbers_alone_are_one():
    rows = [
        ScanRow(**SEGMENTED),
        refused("1.png", "no bright RPE (contrast 0.12 above it)"),
        refused("v.tif#001", "page 1 is damaged", "unreadable"),
        refused("2.png", "upside down"),
        refused("3.png", "no bright RPE (contrast -0.7 above it)"),
        refused("w.tif#002", "page 2 is damaged", "unreadable"),
        refused("4.png", "no bright RPE (contrast 1 above it)"),
        refused("5.png", "upside down", "unreadable"),
    ]
    found = [(each.status, each.first, each.scans) for each in count_reasons(rows)]
    assert found == [
        ("refused", "1.png", 3),
        ("unreadable", "v.tif#001", 2),
        ("refused", "2.png", 1),
        ("unreadable", "5.png", 1),
    ]
    assert sum(each.scans for each in count_reasons(rows)) == len(rows) - 1


def test_listed_reasons_are_bounded_and_cannot_control_a_terminal():
    reasons = count_reasons([refused(f"{letter}\x1b[31m.png", f"because of [b]{letter}[/b]") for letter in "abcdefgh"])
    text = listed(reason_listing(reasons, most=5))
    assert "\x1b" not in text
    assert "[b]a[/b]" in text
    assert "[b]f[/b]" not in text
    assert "... and 3 more" in text
