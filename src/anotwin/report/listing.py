"""A few rows for a person to read in a terminal, or for another program to read line by line."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from anotwin.report.terminal import print_line
from anotwin.report.text import printable


@dataclass(frozen=True)
class Listing:
    """Rows of cells under their columns, the most important first."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    total: int  # rows in all, of which `rows` are the first
    words: frozenset[str]  # columns of text: left-aligned and folded where it is long; others are right-aligned numbers
    styles: tuple[str, ...] = ()  # of rich, one a row; (): none


def print_listing(listing: Listing, console: Console) -> None:
    """Print the rows, and how many more there are; in a file or a pipe each row is one line, so that grep finds it."""
    if console.is_terminal:
        console.print(_table(listing, console.encoding))
    else:
        for line in _lines(listing, console.encoding):
            print_line(line, console)
    if listing.total > len(listing.rows):
        print_line(f"... and {listing.total - len(listing.rows)} more", console)


def _table(listing: Listing, encoding: str) -> Table:
    """Fitted to the width of the terminal, long words folded."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in listing.columns:
        words = name in listing.words
        table.add_column(name, justify="left" if words else "right", overflow="fold", no_wrap=not words)
    for number, row in enumerate(listing.rows):
        style = listing.styles[number] if listing.styles else ""
        table.add_row(*(Text(printable(cell, encoding), style=style) for cell in row))
    return table


def _lines(listing: Listing, encoding: str) -> list[str]:
    """As wide as the longest cells are."""
    rows = [[printable(cell, encoding) for cell in row] for row in (listing.columns, *listing.rows)]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        padded = []
        for name, cell, width in zip(listing.columns, row, widths, strict=True):
            room = " " * (width - cell_len(cell))
            padded.append(cell + room if name in listing.words else room + cell)
        lines.append("  ".join(padded).rstrip())
    return lines
