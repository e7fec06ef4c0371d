"""The table of scores: read back by the csv module, resumed after a kill at every byte."""

import csv
import io
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

import anotwin.errors
from anotwin.errors import DataError
from anotwin.records import Finding
from anotwin.report.table import COLUMNS, ScoresWriter, print_table, row, scan_scores

HARD_NAMES = ['comma,"quote".png', "line\nbreak.png", "return\rhere.png", "ümläut/图.png", "bad\udcff.png", " blank "]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
FLOATS = st.floats(allow_nan=False)


def finding(name="a.png", **values):
    return Finding(**{"id": name, "score": 0.1 + 0.2, "residual": 1e-300, "discrimination": 7.0, **values})


def write(path, findings, key="k"):
    with ScoresWriter(path, key) as writer:
        writer.write(findings)
        return writer.finish()


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    st.dictionaries(
        TEXT,
        st.tuples(FLOATS, FLOATS, st.none() | FLOATS, st.none() | st.booleans(), TEXT),
        max_size=6,
    )
)
def test_round_trip(tmp_path_factory, cases):
    path = tmp_path_factory.mktemp("table") / "scores.csv"
    findings = [
        finding(name, score=score, residual=residual, p_value=p, anomalous=anomalous, error=error)
        for name, (score, residual, p, anomalous, error) in cases.items()
    ]
    write(path, findings)
    assert list(scan_scores(path)) == [row(each) for each in findings]


def test_the_csv_module_reads_what_was_written(tmp_path):
    calibrated = {"p_value": 0.25, "anomalous": True, "flagged_by": "both", "status": "converged"}
    findings = [finding(name, **calibrated) for name in HARD_NAMES] + [finding(error="cannot, be read", score=math.nan)]
    path = write(tmp_path / "new" / "scores.csv", findings)
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    assert tuple(header) == COLUMNS
    assert [cells[0] for cells in rows] == [*HARD_NAMES, "a.png"]
    assert rows[0][1:] == ["0.30000000000000004", "1e-300", "7.0", "0.25", "true", "both", "converged", ""]
    assert rows[-1][1] == "nan"
    assert rows[-1][4:6] == ["", ""]


def test_numpy_numbers_are_written_as_numbers(tmp_path):
    path = write(
        tmp_path / "s.csv", [finding(score=np.float64(2.5), p_value=np.float32(0.5), anomalous=np.bool_(False))]
    )
    assert path.read_text().splitlines()[1] == "a.png,2.5,1e-300,7.0,0.5,false,,error,"


@pytest.mark.parametrize("last", ['quote",\nname.png', "return\r.png", "图.png", "plain.png"])
def test_resume_after_a_kill_at_every_byte_of_the_last_line(tmp_path, last):
    path = tmp_path / "scores.csv"
    findings = [finding('first,"\n.png'), finding("second.png", error='a "b"\nc'), finding(last)]
    with ScoresWriter(path, "k") as writer:
        writer.write(findings[:2])
        kept = writer.partial.stat().st_size
        writer.write(findings[2:])
        partial, whole = writer.partial, writer.partial.read_bytes()
    expected = write(tmp_path / "uninterrupted.csv", findings).read_bytes()
    for size in range(kept, len(whole)):
        partial.write_bytes(whole[:size])
        with ScoresWriter(path, "k") as writer:
            assert writer.done == {'first,"\n.png', "second.png"}
            assert partial.read_bytes() == whole[:kept]
    with ScoresWriter(path, "k") as writer:
        writer.write(findings)  # what is there already is not written twice
        writer.finish()
    assert path.read_bytes() == expected
    assert sorted(each.name for each in tmp_path.iterdir()) == ["scores.csv", "uninterrupted.csv"]


def test_resume_after_a_kill_anywhere_ends_in_the_same_table(tmp_path):
    path = tmp_path / "scores.csv"
    findings = [finding(name) for name in HARD_NAMES]
    with ScoresWriter(path, "k") as writer:
        writer.write(findings)
        partial, whole = writer.partial, writer.partial.read_bytes()
    sidecar = Path(f"{partial}.json").read_bytes()
    for size in range(0, len(whole), 7):
        partial.write_bytes(whole[:size])
        Path(f"{partial}.json").write_bytes(sidecar)
        write(path, findings)
        assert path.read_bytes() == whole


def test_another_key_starts_afresh(tmp_path):
    path = tmp_path / "scores.csv"
    with ScoresWriter(path, "model A") as writer:
        writer.write([finding("old.png")])
    with ScoresWriter(path, "model A") as writer:
        assert writer.done == {"old.png"}
    with ScoresWriter(path, "model B") as writer:
        assert writer.done == set()
        writer.write([finding("new.png")])
        assert not path.exists()
        writer.finish()
    assert [entry["image"] for entry in scan_scores(path)] == ["new.png"]


def test_a_finished_table_is_replaced_only_at_the_end(tmp_path):
    path = write(tmp_path / "scores.csv", [finding("one.png")])
    before = path.read_bytes()
    with ScoresWriter(path, "k") as writer:
        assert writer.done == set()
        writer.write([finding("two.png")])
        assert path.read_bytes() == before
        writer.finish()
    assert [entry["image"] for entry in scan_scores(path)] == ["two.png"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n", "not a table of scores"),
        ("", "not a table of scores"),
        (",".join(COLUMNS) + "\na,1,1,1,,,,ok\n", "line 2.*8 cells"),
        (",".join(COLUMNS) + "\na,1,1,1,,maybe,,ok,\n", "line 2.*maybe"),
        (",".join(COLUMNS) + "\na,x,1,1,,,,ok,\n", "line 2.*float"),
    ],
)
def test_foreign_tables_are_refused_on_one_line(tmp_path, content, message):
    path = tmp_path / "t.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        list(scan_scores(path))
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_missing_table_and_folder_for_a_table(tmp_path):
    with pytest.raises(DataError, match=r"none\.csv: cannot read"):
        list(scan_scores(tmp_path / "none.csv"))
    with pytest.raises(DataError, match="is a folder"):
        ScoresWriter(tmp_path, "k")


def test_print_table_has_the_worst_first_and_errors_last():
    findings = [
        finding("low.png", score=1.0, p_value=0.5, anomalous=False, status="converged"),
        finding("broken.png", score=math.nan, error="cannot read"),
        finding("[red]high\x1b.png", score=9.0, p_value=0.01, anomalous=True, status="converged"),
    ]
    text = io.StringIO()
    print_table([row(each) for each in findings], Console(file=text, width=120))
    lines = text.getvalue().splitlines()
    assert [line.split()[0] for line in lines] == ["image", "[red]high\\x1b.png", "low.png", "broken.png"]
    assert "ANOMALOUS" in lines[1]
    assert "cannot read" in lines[3]
    print_table([row(findings[0])], Console(file=(short := io.StringIO()), width=120), total=3)
    assert short.getvalue().endswith("... and 2 more\n")


def test_the_table_never_imports_torch():
    # a bare package object stands for anotwin, so that only what the table itself imports is seen
    source = Path(anotwin.errors.__file__).parent
    code = (
        "import sys, types; package = types.ModuleType('anotwin'); "
        f"package.__path__ = [{str(source)!r}]; sys.modules['anotwin'] = package; "
        "import anotwin.report.table; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
