"""The table of a volume's slices: read back by the csv module, and as a person sees it."""

import csv
import io
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from anotwin.domains.oct.report.slices import COLUMNS, SliceRow, print_slices, slice_row, write_slices
from anotwin.errors import DataError
from anotwin.records import Finding

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


@settings(derandomize=True, deadline=None, max_examples=60)
@given(rows=st.lists(ROWS, max_size=6))
def test_csv_reads_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("t") / "slices.csv"
    write_slices(rows, path)
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        names, *lines = csv.reader(file, strict=True)
    assert tuple(names) == COLUMNS
    ordered = sorted(rows, key=lambda row: (row.slice, row.image))
    for row, (place, image, score, p_value, anomalous, quality, error) in zip(ordered, lines, strict=True):
        assert (int(place), image, error) == (row.slice, row.image, row.error)
        assert float(score) == row.score or (math.isnan(float(score)) and math.isnan(row.score))
        assert (float(p_value) if p_value else None) == row.p_value
        assert (float(quality) if quality else None) == row.quality
        assert anomalous == {None: "", True: "true", False: "false"}[row.anomalous]


def printed(rows):
    console = Console(file=io.StringIO(), width=100)
    print_slices(rows, console)
    return console.file.getvalue()


def test_print_shows_slices_in_order_with_their_verdicts():
    rows = [
        SliceRow(2, "c.png", error="no retina found\x1b[2J"),
        SliceRow(1, "b.png", 3.25, 0.002, True, 0.91),
        SliceRow(0, "a.png", 1.5, 0.4, False, 0.88),
    ]
    head, first, second, third = printed(rows).splitlines()
    assert head.split() == ["slice", "score", "p", "quality", "verdict", "image"]
    assert first.split() == ["0", "1.5", "0.4000", "0.88", "normal", "a.png"]
    assert second.split() == ["1", "3.25", "0.0020", "0.91", "ANOMALOUS", "b.png"]
    assert third.split(maxsplit=3) == ["2", "not", "scored", "c.png: no retina found\\x1b[2J"]


def test_print_without_calibration_leaves_out_what_is_unknown():
    assert printed([SliceRow(0, "a.png", 1.5)]).splitlines()[0].split() == ["slice", "score", "quality", "image"]


def test_a_row_of_a_finding():
    finding = Finding("v/3.png", score=2.0, p_value=0.01, anomalous=True, error="")
    assert slice_row(finding, 3, 0.5) == SliceRow(3, "v/3.png", 2.0, 0.01, True, 0.5)
    failed = slice_row(Finding("v/4.png", error="unreadable"), 4)
    assert math.isnan(failed.score)
    assert (failed.p_value, failed.anomalous, failed.quality, failed.error) == (None, None, None, "unreadable")


def test_a_disk_that_refuses_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write"):
        write_slices([], tmp_path / "file" / "slices.csv")
