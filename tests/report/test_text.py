"""Values as text: CSV read back by the csv module, and terminals that no file name can control."""

import csv
import io
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from anotwin.report.listing import Listing, print_listing
from anotwin.report.text import cell_text, encode, printable, short

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
CELLS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
QUICK = settings(derandomize=True, deadline=None, max_examples=150)


@QUICK
@given(st.lists(st.lists(CELLS, min_size=2, max_size=4), max_size=5))
def test_the_csv_module_reads_back_every_value(rows):
    rows = [
        [cell.encode("utf-8", "ignore").decode() if isinstance(cell, str) else cell for cell in row] for row in rows
    ]
    read = list(csv.reader(io.StringIO(encode(rows).decode(), newline=""), strict=True))
    assert read == [[cell_text(cell) for cell in row] for row in rows]
    for row, texts in zip(rows, read, strict=True):
        for value, text in zip(row, texts, strict=True):
            if isinstance(value, bool) or value is None:
                assert text == {True: "true", False: "false", None: ""}[value]
            elif isinstance(value, float | int):
                assert type(value)(text) == value  # no digit is lost


@pytest.mark.parametrize(
    ("value", "text"),
    [(math.nan, ""), (0.123456, "0.1235"), (99.994, "99.99"), (12345.678, "12345.68"), (-100, "-100.00")],
)
def test_scores_are_short(value, text):
    assert short(value) == text


@QUICK
@given(st.text(max_size=20))
def test_printable_text_has_no_control_character_and_keeps_the_rest(text):
    shown = printable(text)
    assert shown.isprintable()
    assert (shown == text) == text.isprintable()


def printed(listing, width=60):
    text = io.StringIO()
    print_listing(listing, Console(file=text, width=width, color_system="truecolor", force_terminal=True))
    return text.getvalue()


def test_a_listing_has_its_rows_in_order_and_says_how_many_more_there_are():
    rows = (("[b]a\x1b[31m.png", "9.5"), ("b" * 80, "10"))
    text = printed(Listing(("image", "score"), rows, 5, frozenset({"image"}), ("bold red", "")))
    head, first, *others = [line.rstrip() for line in text.splitlines()]
    assert "image" in head
    assert "[b]a\\x1b[31m.png" in first
    assert first.startswith("\x1b[1;31m")
    assert sum(line.count("b") for line in others) == 80  # a long name is folded, not cut
    assert others[-1] == "... and 3 more"
    assert "more" not in printed(Listing(("image", "score"), rows, 2, frozenset({"image"})))
