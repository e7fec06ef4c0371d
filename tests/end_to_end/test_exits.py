"""Text of strangers at every exit: the terminal, CSV, JSON, pictures and their names."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anotwin.report.table import scan_scores
from anotwin.report.text import read_cell
from made_scans import scan
from model_folders import edit
from nasty import NAMES, cells, computed, files, harmless
from quick import good, normals, queries, run, sets, write

ALONE = ["[/]", "\x1b[31mred", "two\nlines", "a\u202egnp", "=1+1", os.fsdecode(b"\xff"), "$x^", "con", "图"]


@pytest.fixture(scope="module")
def nasty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """good/ with nasty names of files, and a folder of each nasty name as a label."""
    root = tmp_path_factory.mktemp("nasty") / "data"
    write(root / "good", queries(3, abnormal=False))
    files(root / "good", queries(1, abnormal=False)[0])
    for name in ALONE:
        try:
            files(root / name, queries(1)[0], [name])
        except (OSError, UnicodeError, ValueError):
            continue
    return root


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory, model: Path, nasty: Path) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("out") / "scores"
    outcome = good("score", model, nasty, "--out", out)
    return out, outcome.out + outcome.err


def ids(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*.png") if path.is_file()}


def test_score_prints_harmless_lines(scored: tuple[Path, str]) -> None:
    assert harmless(scored[1])
    assert "... and " in scored[1]


def test_ids_come_back_and_no_cell_is_a_formula(scored: tuple[Path, str], nasty: Path) -> None:
    table = scored[0] / "scores.csv"
    assert {row["image"] for row in scan_scores(table)} == ids(nasty)
    assert not [cell for row in cells(table) for cell in row if computed(cell)]
    assert [cell for row in cells(table) for cell in row if cell.startswith("'=")] or sys.platform == "win32"


def test_every_picture_has_a_name_of_its_own_on_any_disk(scored: tuple[Path, str], nasty: Path) -> None:
    pictures = [path.relative_to(scored[0] / "heatmaps") for path in (scored[0] / "heatmaps").rglob("*.png")]
    assert len(pictures) == len(ids(nasty))
    assert len({str(path).casefold() for path in pictures}) == len(pictures)
    for part in {part for path in pictures for part in path.parts}:
        assert part.split(".")[0].lower() != "con"
        assert part.isprintable()


def test_evaluate_prints_labels_as_they_are(model: Path, tmp_path: Path) -> None:
    labels = ["[/]", "[bold]x", "\x1b[31mred", "two\nlines", "a\u202egnp", "=1+1", "$x^", "=cmd|x"]
    data = write(tmp_path / "data", [*queries(3, abnormal=False), *queries(len(labels))])
    with (data / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        rows = [
            (path.name, label) for path, label in zip(sorted(data.glob("*.png")), ["good"] * 3 + labels, strict=True)
        ]
        csv.writer(file).writerows([("file", "label"), *rows])
    outcome = good("evaluate", model, data, "--json", tmp_path / "n.json")
    assert harmless(outcome.out + outcome.err)
    assert "\n[/] " in outcome.out
    assert "\\x1b[31mred" in outcome.out
    assert set(json.loads((tmp_path / "n.json").read_text())["by_label"]) == {"good", *labels}
    assert (tmp_path / "n" / "figure.png").is_file()


def test_train_and_calibrate_with_nasty_names_groups_and_notes(tmp_path: Path) -> None:
    data = tmp_path / "[bold]data\x1b[31m"
    write(data, normals(30))
    files(data, normals(1, seed=5)[0], [name for name in NAMES if name.isprintable() and "/" not in name])
    (data / "broken [i]\x1b.png").write_bytes(b"broken")
    with (data / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        names = sorted(path.name for path in data.glob("*.png"))
        groups = [name for name in NAMES if "\udcff" not in name]
        rows = [(name, "good", groups[number % len(groups)]) for number, name in enumerate(names)]
        csv.writer(file).writerows([("file", "label", "group"), *(row for row in rows if row[0] == row[0].strip())])
    model = tmp_path / "model[/i]\x1b"
    outcome = good("train", data, "--out", model, *sets("training.steps=2", "calibration.false_alarm_rate=0.45"))
    assert harmless(outcome.out + outcome.err)
    assert "broken [i]\\x1b.png" in outcome.err
    outcome = good("calibrate", model, data, "--false-alarm-rate", 0.45)
    assert harmless(outcome.out + outcome.err)


def test_info_of_a_foreign_model(tmp_path: Path, model: Path) -> None:
    copy = shutil.copytree(model, tmp_path / "m")

    def foreign(document: dict[str, Any]) -> None:
        document["history"] = {"notes": NAMES[:8], "[/]\x1b[2J": {"[/]\x1b": "\x9b[/]", "long": "x" * 10**6}}
        document["layout"] = {"name": "folder", "normal": "[/]\x1b]0;t\x07"}

    edit(copy, foreign)
    outcome = good("info", copy)
    assert harmless(outcome.out)
    assert "[/]\\x1b[2J" in outcome.out
    assert max(map(len, outcome.out.splitlines())) < 3000
    assert json.loads(good("info", copy, "--json").out)["history"]["[/]\x1b[2J"]["[/]\x1b"] == "\x9b[/]"


def test_prepare_and_patients_of_scans(tmp_path: Path) -> None:
    data, patients = tmp_path / "scans", ["[/]", "=1+1", "\x1b[31m"]
    data.mkdir()
    names = ["=1.png", "[bold]x[/bold].png" if os.sep == "\\" else "[bold]x.png", "\u202egnp.png"]
    for seed, name in enumerate(names):
        Image.fromarray(scan(seed)).save(data / name)
    (data / "two\nlines.png").write_bytes(b"broken")
    with (data / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        rows = [*zip(names, patients, strict=True), ("two\nlines.png", "@x")]
        csv.writer(file).writerows([("file", "patient"), *rows])
    outcome = good("prepare", data, "--layout", "oct", "--out", tmp_path / "o", "--no-pictures")
    assert harmless(outcome.out + outcome.err)
    table = cells(tmp_path / "o" / "prepared.csv")
    assert not [cell for row in table for cell in row if computed(cell)]
    assert {(read_cell(row[0]), read_cell(row[1])) for row in table} == set(rows)


@pytest.mark.parametrize("name", ALONE)
def test_errors_and_click_name_things_in_one_harmless_line(tmp_path: Path, model: Path, name: str) -> None:
    for words in (
        ("info", tmp_path / name),
        ("score", model, tmp_path / name, "--out", tmp_path / "o"),
        ("score", model, tmp_path, "--out", tmp_path / "o", "--option", name),
        ("score", model, tmp_path, "--out", tmp_path / "o", "--layout", name),
        ("train", tmp_path, "--out", tmp_path / "o", "--method", name),
        ("train", tmp_path, "--out", tmp_path / "o", "--set", name),
        ("train", tmp_path, "--out", tmp_path / "o", "--config", tmp_path / name),
        ("train", tmp_path, "--out", tmp_path / "o", "--device", name),
        (f"x{name}",),
        ("info", f"--x{name}"),
        ("train", tmp_path, "--out", tmp_path / "o", "--steps", name),
    ):
        outcome = run(*words)
        assert outcome.code == 2, words
        assert harmless(outcome.error), words


def shell(command: str, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    """A command line of bash, where $ANOTWIN is the program."""
    program = f"{sys.executable} -m anotwin.cli"
    names = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "PYTHONUNBUFFERED", "PYTHONIOENCODING")}
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command.replace("$ANOTWIN", program)],
        capture_output=True,
        check=False,
        env=names | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"} | environment,
    )


needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")


@needs_bash
def test_names_outside_the_encoding_of_the_terminal(tmp_path: Path, model: Path) -> None:
    """And nobody reads what is said on stderr, the terminal has no columns, stdin is closed."""
    data = tmp_path / "data"
    taken = files(data, queries(1)[0], ["图", "é", os.fsdecode(b"\xff"), "[/]"])
    command = f"$ANOTWIN score '{model}' '{data}' --out '{tmp_path}/o' --no-pictures <&-"
    done = shell(f"{{ {command} 2>&1 1>&3 | true; }} 3>&1", PYTHONIOENCODING="ascii", COLUMNS="0", TERM="dumb")
    assert done.returncode == 0, done.stderr
    shown = done.stdout.decode("ascii")
    assert "\\u56fe" in shown
    assert ("\\udcff" in shown) == (os.fsdecode(b"\xff") + ".png" in taken)
    rows = [line for line in shown.splitlines() if "converged" in line]
    assert len(rows) == len(taken)
    assert len({line.index("converged") for line in rows}) == 1  # columns are still columns


def test_a_row_in_a_pipe_is_a_line_however_long(tmp_path: Path, model: Path) -> None:
    data = tmp_path / "data"
    long = "a very long name " * 12
    files(data, queries(1)[0], [long, "b"])
    outcome = good("score", model, data, "--out", tmp_path / "o", "--no-pictures")
    (line,) = [line for line in outcome.out.splitlines() if f"{long}.png" in line]
    assert "converged" in line


SCORE = "$ANOTWIN score '{model}' '{data}' --out '{out}' --no-pictures"


@needs_bash
@pytest.mark.parametrize(
    "command",
    [
        "$ANOTWIN info '{model}' | head -n 1 >&2",
        "$ANOTWIN score --help | true",
        "$ANOTWIN --help >&- 2>&-",
        "COLUMNS=1 NO_COLOR=1 $ANOTWIN score --help",
        "COLUMNS=² LINES=x TERMINAL_WIDTH=x $ANOTWIN score --help",
        "PYTHONIOENCODING=ascii $ANOTWIN score --help",
        *(
            pytest.param(command, marks=pytest.mark.slow)
            for command in (
                "$ANOTWIN info '{model}' --json | true",
                f"{SCORE} >&-",
                f"{SCORE} 2>&-",
                f"{SCORE} 2>/dev/full",
                f"COLUMNS=1 PYTHONIOENCODING=cp1252 {SCORE}",
            )
        ),
    ],
)
def test_closed_and_odd_streams_are_no_trouble(tmp_path: Path, model: Path, query_folder: Path, command: str) -> None:
    done = shell(command.format(model=model, data=query_folder, out=tmp_path / "o"))
    assert done.returncode == 0, done.stderr
    assert not any(word in done.stderr for word in (b"Traceback", b"Exception ignored", b"error"))
    if command.endswith(SCORE) or SCORE in command:
        assert len(list(scan_scores(tmp_path / "o" / "scores.csv"))) == 8


@needs_bash
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("words", ["--version", "score --help", pytest.param("info '{model}'", marks=pytest.mark.slow)])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_behind_stdout_is_one_line(model: Path, words: str, unbuffered: str) -> None:
    done = shell(f"$ANOTWIN {words.format(model=model)} >/dev/full", PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    assert done.stderr.startswith(b"error: ")
    assert b"No space left" in done.stderr


def test_what_libraries_say_of_a_file_is_harmless() -> None:
    code = (
        "import logging, warnings, anotwin.cli as cli; "
        "cli._run = lambda _: (warnings.warn('a\\x1b[2J'), logging.getLogger('x').warning('b\\n\\x9b')) and 0; "
        "cli.main([])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == ["UserWarning: a\\x1b[2J", "x: b\\n\\x9b"]


def test_ten_thousand_names_are_named_in_time() -> None:
    from anotwin.report.files import picture_names

    names = [f"{folder}/{number}.JPG" for folder in ("Good", "good") for number in range(5000)]
    assert len({name.casefold() for name in picture_names(names).values()}) == 10_000


def test_pictures_of_very_deep_files(tmp_path: Path, model: Path) -> None:
    data = tmp_path / "d"
    deep = data.joinpath(*["é" * 100] * 12)
    try:
        write(deep, queries(2))
    except OSError:
        pytest.skip("this disk has no such deep folders")
    out = tmp_path / ("o" * 200) / ("p" * 200)
    good("score", model, data, "--out", out)
    assert len(list((out / "heatmaps").rglob("*.png"))) == 2
    assert np.isfinite([row["score"] for row in scan_scores(out / "scores.csv")]).all()
