"""The table of prepared scans: read back by the csv module; reasons counted against a count by hand."""

import csv
import io

import pytest
from rich.console import Console

from anotwin.domains.oct.records import Spacing
from anotwin.domains.oct.report.prepared import COLUMNS, ScanRow, count_reasons, print_reasons, write_scans
from anotwin.errors import DataError

GOOD = ScanRow("a.png", "P,1", "OD", "v", 3, "segmented", 512, 496, Spacing(3.87, 11.5), False, 0.98765, 301.234, 1.0)
BAD = ScanRow("b.png", None, None, "b.png", 0, "unreadable", reason='/data/b.png: the file is "empty"')


def refused(name, reason, status="refused"):
    return ScanRow(name, None, None, name, 0, status, reason=reason)


def test_csv_reads_back(tmp_path):
    write_scans([GOOD, BAD], tmp_path / "new" / "prepared.csv")
    with (tmp_path / "new" / "prepared.csv").open(encoding="utf-8", newline="") as file:
        names, good, bad = csv.reader(file, strict=True)
    assert tuple(names) == COLUMNS
    numbers = ["512", "496", "3.87", "11.5", "file", "segmented", "0.988", "301.2", "1.0"]
    assert good == ["a.png", "P,1", "OD", "v", "3", *numbers, ""]
    assert bad == ["b.png", "", "", "b.png", "0", "", "", "", "", "", "unreadable", "", "", "", BAD.reason]


def test_a_disk_that_refuses_leaves_the_old_table(tmp_path):
    (tmp_path / "prepared.csv").mkdir()
    with pytest.raises(DataError, match=r"prepared\.csv"):
        write_scans([GOOD], tmp_path / "prepared.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["prepared.csv"]


def test_reasons_that_differ_in_numbers_alone_are_one():
    rows = [
        GOOD,
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


def test_printed_reasons_are_bounded_and_cannot_steer_a_terminal():
    reasons = count_reasons([refused(f"{letter}\x1b[31m.png", f"because of [b]{letter}[/b]") for letter in "abcdefgh"])
    console = Console(file=io.StringIO(), width=100)
    print_reasons(reasons, console, most=5)
    text = console.file.getvalue()
    assert "\x1b" not in text
    assert "[b]a[/b]" in text
    assert "[b]f[/b]" not in text
    assert "3 more reasons" in text
