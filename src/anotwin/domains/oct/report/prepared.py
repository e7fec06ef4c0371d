"""Prepared scans as a table: where the retina was found, how far it can be trusted, and why not where it was not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from anotwin.report.files import atomic
from anotwin.report.listing import Listing
from anotwin.report.text import encode

if TYPE_CHECKING:
    from anotwin.domains.oct.records import Spacing

COLUMNS = (
    "image",
    "patient",
    "eye",
    "volume",
    "slice",
    "width",
    "height",
    "axial_um",
    "lateral_um",
    "spacing",
    "status",
    "quality",
    "thickness_um",
    "valid",
    "reason",
)
Outcome = Literal["segmented", "refused", "unreadable"]
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


@dataclass(frozen=True)
class ScanRow:
    """One scan in the table. What is not known is None, and an empty cell."""

    image: str
    patient: str | None
    eye: str | None  # "OD", "OS"
    volume: str
    slice: int  # its place in the volume, from 0
    status: Outcome
    width: int | None = None  # pixels; None where the file could not be read
    height: int | None = None
    spacing: Spacing | None = None  # that lengths were measured with
    assumed: bool = False  # no file told the spacing: that of a Heidelberg Spectralis was taken
    quality: float | None = None  # of the lines, 0 to 1
    thickness_um: float | None = None  # from the ILM to the undisturbed RPE: median over the valid columns
    valid: float | None = None  # share of the columns that show tissue
    reason: str = ""  # one line: why there is no retina, or no picture


@dataclass(frozen=True)
class Reason:
    """How many scans were refused, or could not be read, for one reason."""

    status: Outcome
    reason: str  # of the first of them
    scans: int
    first: str  # image


def write_scans(rows: Sequence[ScanRow], path: str | Path) -> None:
    """Save the table as CSV in the order given, whole or not at all; raises DataError."""
    with atomic(path) as temporary:
        temporary.write_bytes(encode([COLUMNS, *map(_cells, rows)]))


def count_reasons(rows: Sequence[ScanRow]) -> list[Reason]:
    """Reasons that differ in their numbers alone are one; the most frequent come first.

    >>> rows = [ScanRow(f"{k}.png", None, None, "v", k, "refused", reason=f"too small: {k} rows") for k in (3, 7)]
    >>> count_reasons(rows)
    [Reason(status='refused', reason='too small: 3 rows', scans=2, first='3.png')]
    """
    found: dict[tuple[str, str], list[ScanRow]] = {}
    for row in rows:
        if row.status != "segmented":
            found.setdefault((row.status, _NUMBER.sub("0", row.reason)), []).append(row)
    reasons = [Reason(each[0].status, each[0].reason, len(each), each[0].image) for each in found.values()]
    return sorted(reasons, key=lambda reason: -reason.scans)


def reason_listing(reasons: Sequence[Reason], most: int = 10) -> Listing:
    """Why scans were refused or could not be read, with an example of each."""
    rows = tuple((str(each.scans), each.status, each.reason, each.first) for each in reasons[:most])
    words = frozenset({"", "reason", "for example"})
    return Listing(("scans", "", "reason", "for example"), rows, len(reasons), words, "yellow")


def _cells(row: ScanRow) -> list[str]:
    axial, lateral = (row.spacing.axial, row.spacing.lateral) if row.spacing else (None, None)
    told = None if row.spacing is None else "assumed" if row.assumed else "file"
    known = (row.image, row.patient, row.eye, row.volume, row.slice, row.width, row.height, axial, lateral, told)
    found = (row.status, _round(row.quality, 3), _round(row.thickness_um, 1), _round(row.valid, 3), row.reason)
    return ["" if cell is None else str(cell) for cell in (*known, *found)]


def _round(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
