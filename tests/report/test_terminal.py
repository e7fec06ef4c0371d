"""What is printed: one harmless line each; stderr may fail, stdout may not go unnoticed."""

import io
import os
import sys

import pytest
from rich.console import Console

from anotwin.commands import showing
from anotwin.report.terminal import forget_odd_sizes, messages, print_error, print_line
from anotwin.updates import Update
from nasty import NAMES, harmless


class Broken(io.StringIO):
    """A stream that nobody reads, or that lies on a full disk."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error

    def write(self, _: str) -> int:
        raise self.error

    def flush(self) -> None:
        raise self.error


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_one_line_as_it_is(name: str, terminal: bool) -> None:
    text = io.StringIO()
    print_line(f"<{name}>", Console(file=text, width=40, force_terminal=terminal, color_system="truecolor"))
    assert harmless(text.getvalue())
    assert text.getvalue().count("\n") == 1
    if name.isprintable() and name.isascii():
        assert text.getvalue() == f"<{name}>\n"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_strict_stream_takes_every_name(encoding: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    for name in NAMES:
        print_line(name, Console(file=stream))


@pytest.mark.parametrize("name", NAMES)
def test_notes_and_details_of_progress_are_harmless(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", text := io.StringIO())
    with showing.bars() as watch:
        watch(Update("note", detail=f"note {name}"))
        watch(Update("training", 1, 2, name[:20]))
    assert harmless(text.getvalue())
    assert text.getvalue().startswith("note ")


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(28, "No space left on device")])
def test_work_goes_on_when_nobody_reads_how_far_it_is(error: OSError, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Broken(error))
    with showing.bars() as watch:
        watch(Update("note", detail="a note"))
        watch(Update("training", 1, 2))
        watch(Update("training", 2, 2))
    print_error("an error")


def test_no_stderr_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    print_line("a note", messages())


def test_an_error_is_one_line_that_a_person_reads(capsys: pytest.CaptureFixture[str]) -> None:
    print_error("what: " + "9" * 5000 + "\n[/] why")
    (line,) = capsys.readouterr().err.splitlines()
    assert len(line) < 900
    assert line.startswith("error: what: 999")
    assert line.endswith("9 [/] why")


@pytest.mark.parametrize(("columns", "kept"), [("0", False), ("1", False), ("²", False), ("", False), ("100", True)])
def test_sizes_that_nobody_can_use(columns: str, kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("TERMINAL_WIDTH", "9" * 5000)
    forget_odd_sizes()
    assert ("COLUMNS" in os.environ) == kept
    assert "TERMINAL_WIDTH" not in os.environ
    Console(file=io.StringIO()).print("works")
