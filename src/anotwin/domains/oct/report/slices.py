"""The slices of a volume as a table: which of them is abnormal, and how far each can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anotwin.report.files import atomic
from anotwin.report.text import TRUTH, encode

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
