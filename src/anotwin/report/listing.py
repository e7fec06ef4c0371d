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
    total: int  # how many rows there are in all
    words: frozenset[str]  # columns of text, at the left and folded where it is long; others are numbers, at the right
    style: str = ""  # of rich, for example "yellow"


def print_listing(listing: Listing, console: Console) -> None:
    """Print the rows, and how many more there are."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in listing.columns:
        words = name in listing.words
        table.add_column(name, justify="left" if words else "right", overflow="fold", no_wrap=not words)
    for row in listing.rows:
        table.add_row(*(Text(printable(cell), style=listing.style) for cell in row))
    console.print(table)
    if listing.total > len(listing.rows):
        console.print(Text(f"... and {listing.total - len(listing.rows)} more"))
