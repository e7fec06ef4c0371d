"""Values as text: for a person, for a terminal, for the cells of a CSV file.

Names, labels and errors come from other people's files. `printable` is what a terminal may be given of them, `encode`
what a table may hold: a spreadsheet computes a cell that begins with = + - or @, so such text gets an apostrophe in
front, and `read_cell` takes it away again.
"""

from __future__ import annotations

import csv
import io
import math
import unicodedata
from collections.abc import Iterable

TRUTH = {True: "true", False: "false", None: ""}

# printable for Unicode, but nothing is to be seen of them: fillers, joiners, and what chooses a glyph's variant
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\u180b\u180c\u180d\u180f") | frozenset(
    map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)))
)
_MOST_MARKS = 4  # accents over one letter; more of them run into the lines above and below
_COMPUTED = frozenset("=+-@")  # what spreadsheets begin a formula with
_CUT = frozenset("\t\r\n")  # at the start of a cell: a cell or a row ends there for some readers


def cell_text(value: object) -> str:
    """A value in a table: numbers in full, true and false, and nothing for None."""
    return TRUTH[value] if value is None or isinstance(value, bool) else str(value)


def short(value: float) -> str:
    """A score for a person to read; "" for NaN."""
    return "" if math.isnan(value) else f"{value:.2f}" if abs(value) >= 100 else f"{value:.4g}"


def printable(text: str, encoding: str = "utf-8") -> str:
    r"""Text for one line of a terminal: whatever moves, hides, reorders or cannot be encoded is written as ``\x1b``.

    Escaped are control characters, line breaks, blanks other than a space, direction overrides, invisible characters,
    lone surrogates (names that are not UTF-8), more than four accents on a letter, and what `encoding` lacks.

    >>> printable("a\x1b[31m\u202eb"), printable("图.png", "ascii")
    ('a\\x1b[31m\\u202eb', '\\u56fe.png')
    """
    if text.isascii() and text.isprintable():
        return text
    shown, marks = [], 0
    for char in text:
        marks = marks + 1 if unicodedata.category(char) in ("Mn", "Me") else 0
        seen = char.isprintable() and char not in _INVISIBLE and marks <= _MOST_MARKS and _encodes(char, encoding)
        shown.append(char if seen else char.encode("unicode_escape").decode("ascii"))
    return "".join(shown)


def encode(rows: Iterable[Iterable[object]]) -> bytes:
    """Rows of values as the bytes of a CSV file; text that a spreadsheet would compute begins with an apostrophe.

    >>> encode([["=1+1.png", -0.5, "'quoted'", "'=1"]])
    b"'=1+1.png,-0.5,'quoted',''=1\\n"
    """
    text = io.StringIO(newline="")
    plain = csv.writer(text, lineterminator="\n")
    quoted = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)  # a bare \r goes unquoted otherwise
    for row in rows:
        cells = [_safe(value) if isinstance(value, str) else cell_text(value) for value in row]
        (quoted if any("\r" in cell for cell in cells) else plain).writerow(cells)
    return text.getvalue().encode("utf-8", "surrogateescape")  # file names that are not UTF-8 keep their bytes


def read_cell(text: str) -> str:
    """The text that `encode` wrote as this cell; with pandas: ``read_csv(path, converters={"image": read_cell})``.

    >>> read_cell("'=1+1.png"), read_cell("'quoted'")
    ('=1+1.png', "'quoted'")
    """
    return text[1:] if text.startswith("'") and _is_computed(text[1:]) else text


def _safe(text: str) -> str:
    return f"'{text}" if _is_computed(text) else text


def _is_computed(text: str) -> bool:
    """Whether a spreadsheet might compute `text`, also after blanks, quotes and characters that it drops.

    Apostrophes in front change nothing, so that one more can always be taken away again.
    """
    if text.lstrip("'")[:1] in _CUT:
        return text.lstrip("'") != ""
    first = next((char for char in text if not _dropped(char)), "")
    return unicodedata.normalize("NFKC", first)[:1] in _COMPUTED if first else False  # full-width = too


def _dropped(char: str) -> bool:
    return char in "'\"" or char.isspace() or unicodedata.category(char) in ("Cc", "Cf")


def _encodes(char: str, encoding: str) -> bool:
    try:
        char.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
