"""The one way to a terminal: each text in one line, exactly as it is, whatever it holds and wherever it goes.

Results go to stdout, where a failure counts. Notes, progress and errors go to stderr, where none does: hours of work
must not end because nobody reads how far they are.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import warnings
from contextlib import suppress
from typing import IO, Any, cast

from rich.console import Console
from rich.text import Text

from anotwin.errors import clip
from anotwin.report.text import printable

_NARROWEST = 20  # columns, below which a table is not readable
_LONGEST = 800  # characters of an error: a path may have 4,096, a number in the arguments any


class _Results(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # rich would end the process with an error


class _Unfailing:
    """A text stream whose failures are ignored: a closed pipe, a full disk behind a redirection, no stream at all."""

    def __init__(self, stream: IO[str] | None) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            if self._stream is not None:
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            if self._stream is not None:
                self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def results() -> Console:
    """stdout, as it is when something is printed."""
    return _Results(highlight=False, soft_wrap=True, markup=False, emoji=False)


def messages() -> Console:
    """stderr as it is now; writing to it never fails."""
    return Console(file=cast(IO[str], _Unfailing(sys.stderr)), highlight=False, markup=False, emoji=False)


def print_line(text: str, console: Console, style: str = "") -> None:
    """Print `text` in one line, however long: without colours, codes, markup or line breaks of its own."""
    console.print(Text(printable(text, console.encoding), style=style), soft_wrap=True)


def print_error(message: str) -> None:
    """``error: message`` on stderr, in one line that is not longer than a person reads."""
    console, line = messages(), clip(" ".join(message.splitlines()), _LONGEST)
    console.print(Text.assemble(("error:", "bold red"), " ", printable(line, console.encoding)), soft_wrap=True)


def prepare_streams() -> None:
    """Make stdin, stdout and stderr of this process safe to use, and what libraries print on stderr safe to read."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:  # closed: the next file that is opened would take its place, and what is printed go there
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what a terminal cannot show is no reason to fail
    logging.basicConfig(handlers=[_Warnings(logging.WARNING)])
    warnings.showwarning = _show_warning


class _Warnings(logging.Handler):
    """Libraries quote the files that they read: one harmless line each."""

    def emit(self, record: logging.LogRecord) -> None:
        print_line(f"{record.name}: {clip(record.getMessage(), _LONGEST)}", messages())


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    print_line(f"{category.__name__}: {clip(str(message), _LONGEST)}", messages())


def nobody_reads() -> bool:
    """Whether stdout is a pipe that has been closed at its other end."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        return True
    except OSError:
        pass
    return False


def flush_results() -> str:
    """Write what stdout and stderr still hold, so that the interpreter finds nothing to complain of at its end.

    Returns why that failed for stdout, "" where all is well or nobody reads.
    """
    _flush(sys.stderr)
    error = _flush(sys.stdout)
    if error is None or isinstance(error, BrokenPipeError):
        return ""
    return f"cannot print the results: {error.strerror or error}"


def _flush(stream: IO[str] | None) -> OSError | None:
    if stream is None:
        return None
    try:
        stream.flush()
    except OSError as error:
        with suppress(OSError, ValueError):  # what is left goes nowhere
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return error
    return None


def forget_odd_sizes() -> None:
    """Drop the sizes of a terminal that nobody can use from the environment: rich and typer trust COLUMNS=0."""
    for name in ("COLUMNS", "LINES", "TERMINAL_WIDTH"):
        given, least = os.environ.get(name), 1 if name == "LINES" else _NARROWEST
        if given is not None and not (given.isascii() and given.isdigit() and least <= int(given[:6]) < 10_000):
            del os.environ[name]
