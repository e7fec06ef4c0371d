"""A few rows for a person to read in a terminal."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

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
    """Print the rows, and how many more there are."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in listing.columns:
        words = name in listing.words
        table.add_column(name, justify="left" if words else "right", overflow="fold", no_wrap=not words)
    for number, row in enumerate(listing.rows):
        style = listing.styles[number] if listing.styles else ""
        table.add_row(*(Text(printable(cell), style=style) for cell in row))
    console.print(table)
    if listing.total > len(listing.rows):
        console.print(Text(f"... and {listing.total - len(listing.rows)} more"))
