"""Tables of dataclasses as CSV."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

from anotwin.files import write_bytes_atomic
from anotwin.report.text import encode


def columns(kind: type[Any]) -> tuple[str, ...]:
    """The columns of a table: the fields of the dataclass of its rows."""
    return tuple(field.name for field in fields(kind))


def write_rows(kind: type[Any], rows: Iterable[Any], path: str | Path) -> None:
    """Save rows, dataclasses of one kind, as CSV in the order given, whole or not at all; raises DataError."""
    write_bytes_atomic(path, encode([columns(kind), *map(astuple, rows)]))


def is_table(kind: type[Any], path: str | Path) -> bool:
    """Whether a file begins with the columns that `write_rows` gives rows of this kind."""
    head = encode([columns(kind)])
    try:
        with Path(path).open("rb") as file:
            return file.read(len(head)) == head
    except OSError:
        return False
