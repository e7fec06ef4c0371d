"""The slices of a volume as a table: which of them is abnormal, and how far each can be trusted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from anotwin.report.files import atomic
from anotwin.report.table import TRUTH, encode, printable, short

if TYPE_CHECKING:
    from anotwin.records import Finding

COLUMNS = ("slice", "image", "score", "p_value", "anomalous", "quality", "error")


@dataclass(frozen=True)
class SliceRow:
    """One slice in the table of its volume; higher scores are more abnormal."""

    slice: int  # its place in the volume, from 0
    image: str
    score: float = float("nan")  # NaN where the slice could not be scored
    p_value: float | None = None  # None before calibration
    anomalous: bool | None = None  # None before calibration
    quality: float | None = None  # of the retina that was found, 0 (nothing) to 1; None where nobody looked
    error: str = ""  # one line where the slice could not be scored


def slice_row(finding: Finding, place: int, quality: float | None = None) -> SliceRow:
    """The row of a finding at `place` in its volume, with the quality of its retina."""
    return SliceRow(
        slice=place,
        image=finding.id,
        score=float(finding.score),
        p_value=None if finding.p_value is None else float(finding.p_value),
        anomalous=None if finding.anomalous is None else bool(finding.anomalous),
        quality=None if quality is None else float(quality),
        error=finding.error,
    )


def write_slices(rows: Sequence[SliceRow], path: str | Path) -> None:
    """Save the slices of a volume as CSV in their order, whole or not at all; raises DataError."""
    with atomic(path) as temporary:
        temporary.write_bytes(encode([COLUMNS, *(_cells(row) for row in _in_order(rows))]))


def print_slices(rows: Sequence[SliceRow], console: Console) -> None:
    """Print the slices of a volume in their order, abnormal ones and those without a score in colour."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    calibrated = any(row.anomalous is not None for row in rows)
    names = ("score", "p", "quality") if calibrated else ("score", "quality")
    table.add_column("slice", justify="right", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    if calibrated:
        table.add_column("verdict", no_wrap=True)
    table.add_column("image", overflow="fold")
    for row in _in_order(rows):
        p_value = "" if row.p_value is None else f"{row.p_value:.4f}"
        quality = "" if row.quality is None else f"{row.quality:.2f}"
        verdict = {True: "ANOMALOUS", False: "normal", None: "not scored" if row.error else ""}[row.anomalous]
        cells = [str(row.slice), short(row.score), *([p_value] if calibrated else []), quality]
        cells += [verdict] if calibrated else []
        cells.append(printable(f"{row.image}: {row.error}" if row.error else row.image))
        style = "bold red" if row.anomalous else "yellow" if math.isnan(row.score) else ""
        table.add_row(*(Text(cell, style=style) for cell in cells))
    console.print(table)


def _in_order(rows: Sequence[SliceRow]) -> list[SliceRow]:
    return sorted(rows, key=lambda row: (row.slice, row.image))


def _cells(row: SliceRow) -> list[str]:
    return [
        str(row.slice),
        row.image,
        repr(row.score),
        "" if row.p_value is None else repr(row.p_value),
        TRUTH[row.anomalous],
        "" if row.quality is None else repr(row.quality),
        row.error,
    ]
