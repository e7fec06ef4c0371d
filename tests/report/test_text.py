"""Values as text: CSV read back by the csv module, and terminals that no file name can control."""

import csv
import io
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from anotwin.report.listing import Listing, print_listing
from anotwin.report.text import cell_text, encode, printable, read_cell, short
from nasty import NAMES, computed

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
    for row, texts in zip(rows, read, strict=True):
        for value, text in zip(row, texts, strict=True):
            if isinstance(value, str):
                assert read_cell(text) == value
                assert not computed(text)
                assert text in (value, f"'{value}")
            elif isinstance(value, bool) or value is None:
                assert text == {True: "true", False: "false", None: ""}[value]
            else:
                assert text == cell_text(value)
                assert type(value)(text) == value  # no digit is lost


HARD = st.text(st.sampled_from("'\"=+-@\t\r\n a1\u200b\uff1d\ufe62\x00"), max_size=6)


@QUICK
@given(st.one_of(HARD, st.sampled_from(NAMES)))
def test_no_text_is_a_formula_and_every_text_comes_back(text):
    ((cell,),) = csv.reader(io.StringIO(encode([[text]]).decode("utf-8", "surrogateescape"), newline=""), strict=True)
    assert not computed(cell)
    assert read_cell(cell) == text


@QUICK
@given(HARD, HARD)
def test_two_texts_never_share_a_cell(one, other):
    assert (encode([[one]]) == encode([[other]])) == (one == other)


@pytest.mark.parametrize("value", [-0.5, -1, -math.inf, 1e-300])
def test_numbers_stay_numbers(value):
    assert float(encode([[value]])) == value


@pytest.mark.parametrize("text", ["a.png", "'quoted'", "''", "1-2", "x=1", "", " ", "(=1)", "é", "图/a.png"])
def test_other_text_is_written_as_it_is(text):
    assert next(csv.reader([encode([[text, "x"]]).decode()])) == [text, "x"]


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
    assert printable(shown) == shown
    assert shown == text or not text.isprintable() or not text.isascii()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain [bold] :smile: $x$.png", "plain [bold] :smile: $x$.png"),
        ("图 é e\u0301 שלום 한글 👍.png", "图 é e\u0301 שלום 한글 👍.png"),  # other people's names are names
        ("\x1b[31m\x9b\x07", "\\x1b[31m\\x9b\\x07"),
        ("a\nb\rc\td\u2028e\x85", "a\\nb\\rc\\td\\u2028e\\x85"),
        ("\u202e\u2066\u200f\u061c", "\\u202e\\u2066\\u200f\\u061c"),  # direction
        ("a\u200bb\ufeff\u00ad\u3164\u2800\ufe0f\U000e0100", "a\\u200bb\\ufeff\\xad\\u3164\\u2800\\ufe0f\\U000e0100"),
        ("\xa0\u3000", "\\xa0\\u3000"),  # blanks that look like a space
        ("\udcff", "\\udcff"),
        ("z" + "\u0335" * 6, "z" + "\u0335" * 4 + "\\u0335" * 2),
    ],
)
def test_what_hides_or_moves_is_written_out(text, shown):
    assert printable(text) == shown
    assert printable(text, "ascii").isascii()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
@pytest.mark.parametrize("name", NAMES)
def test_printable_text_can_be_encoded(name, encoding):
    assert printable(name, encoding).encode(encoding).decode(encoding).isprintable()


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


def test_outside_of_a_terminal_each_row_is_one_line_in_columns():
    rows = (("[/]" + "b" * 200, "9.5", "x"), ("图\n\x1b", "10", ""))
    text = io.StringIO()
    print_listing(Listing(("image", "score", ""), rows, 2, frozenset({"image", ""})), Console(file=text, width=40))
    head, first, second = text.getvalue().splitlines()
    assert head == "image" + " " * 200 + "score"
    assert first == "[/]" + "b" * 200 + "    9.5  x"
    assert second == "图\\n\\x1b" + " " * 195 + "     10"
