"""Values as text: for a person, for a terminal, for the cells of a CSV file."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable

TRUTH = {True: "true", False: "false", None: ""}


def cell_text(value: object) -> str:
    """A value in a table: numbers in full, true and false, and nothing for None."""
    return TRUTH[value] if value is None or isinstance(value, bool) else str(value)


def short(value: float) -> str:
    """A score for a person to read; "" for NaN."""
    return "" if math.isnan(value) else f"{value:.2f}" if abs(value) >= 100 else f"{value:.4g}"


def printable(text: str) -> str:
    """Text that a terminal can show, without control characters."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def encode(rows: Iterable[Iterable[object]]) -> bytes:
    """Rows of values as the bytes of a CSV file."""
    text = io.StringIO(newline="")
    plain = csv.writer(text, lineterminator="\n")
    quoted = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)  # a bare \r goes unquoted otherwise
    for row in rows:
        cells = [cell_text(value) for value in row]
        (quoted if any("\r" in cell for cell in cells) else plain).writerow(cells)
    return text.getvalue().encode("utf-8", "surrogateescape")  # file names that are not UTF-8 keep their bytes
