"""Tables of prepared scans, of the slices of a volume, and of volumes and patients, with one score for many scans."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from anotwin.files import write_bytes_atomic
from anotwin.report.listing import Listing
from anotwin.report.text import cell_text, encode, short

Outcome = Literal["segmented", "refused", "unreadable"]
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


@dataclass(frozen=True, kw_only=True)
class ScanRow:
    """One scan in the table. What is not known is None, and an empty cell."""

    image: str
    patient: str | None = None
    eye: str | None = None  # "OD", "OS"
    volume: str
    slice: int  # its place in the volume, from 0
    width: int | None = None  # pixels; None where the file could not be read
    height: int | None = None
    axial_um: float | None = None  # micrometres a row, that lengths were measured with
    lateral_um: float | None = None  # a column
    spacing: Literal["file", "assumed"] | None = None  # assumed: no file gives it, that of a Heidelberg Spectralis
    status: Outcome
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


@dataclass(frozen=True)
class SliceRow:
    """One slice in the table of its volume; higher scores are more abnormal."""

    slice: int  # its place in the volume, from 0
    image: str
    score: float = float("nan")  # NaN where the slice could not be scored
    p_value: float | None = None  # None before calibration
    anomalous: bool | None = None  # None before calibration
    quality: float | None = None  # of the retina that was found, 0 to 1; None where the slice could not be read
    error: str = ""  # one line where the slice could not be scored


@dataclass(frozen=True)
class VolumeRow:
    """One volume in the table; higher scores are more abnormal. What is not known is None, and an empty cell."""

    volume: str
    patient: str | None
    eye: str | None  # "OD", "OS"
    slices: int  # of the whole volume, also those that are missing
    scored: int
    failed: int  # could not be read or segmented
    anomalous: int | None  # of those scored; None before calibration
    score: float  # pooled over its slices; NaN where none has a score
    worst: str | None  # image: the slice with the highest score


@dataclass(frozen=True)
class PatientRow:
    """One patient in the table, where a file or the manifest names the patient."""

    patient: str
    volumes: int
    scans: int
    score: float  # pooled over the volumes; NaN where none has a score


def columns(kind: type[Any]) -> tuple[str, ...]:
    """The columns of a table: the fields of the dataclass of its rows."""
    return tuple(field.name for field in fields(kind))


def write_rows(kind: type[Any], rows: Iterable[Any], path: str | Path) -> None:
    """Save rows, dataclasses of one kind, as CSV in the order given, whole or not at all; raises DataError."""
    write_bytes_atomic(path, encode([columns(kind), *map(astuple, rows)]))


def write_scans(rows: Sequence[ScanRow], path: str | Path) -> None:
    """Save the table as CSV in the order given, whole or not at all; raises DataError."""
    write_rows(ScanRow, map(_rounded, rows), path)


def count_reasons(rows: Sequence[ScanRow]) -> list[Reason]:
    """Reasons that differ only in their numbers are one; the most frequent come first.

    >>> rows = [ScanRow(image=f"{k}.png", volume="v", slice=k, status="refused", reason=f"{k} rows") for k in (3, 7)]
    >>> count_reasons(rows)
    [Reason(status='refused', reason='3 rows', scans=2, first='3.png')]
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
    return Listing(("scans", "", "reason", "for example"), rows, len(reasons), words, ("yellow",) * len(rows))


def volume_listing(rows: Sequence[VolumeRow], most: int = 6) -> Listing:
    """Volumes for the terminal, the most anomalous first."""
    calibrated = any(row.anomalous is not None for row in rows)
    names = ["volume", "score", "slices", *(["anomalous"] if calibrated else []), "failed", "worst slice"]
    cells = []
    for row in sorted(rows, key=_badness)[:most]:
        counts = [f"{row.scored}/{row.slices}", *([cell_text(row.anomalous)] if calibrated else []), str(row.failed)]
        cells.append((row.volume, short(row.score), *counts, row.worst or ""))
    return Listing(tuple(names), tuple(cells), len(rows), frozenset({"volume", "worst slice"}))


def patient_listing(rows: Sequence[PatientRow], most: int = 6) -> Listing:
    """Patients for the terminal, the most anomalous first."""
    shown = sorted(rows, key=_badness)[:most]
    cells = tuple((row.patient, short(row.score), str(row.volumes), str(row.scans)) for row in shown)
    return Listing(("patient", "score", "volumes", "scans"), cells, len(rows), frozenset({"patient"}))


def _rounded(row: ScanRow) -> ScanRow:
    digits = {"quality": 3, "thickness_um": 1, "valid": 3}
    known = {name: value for name in digits if (value := getattr(row, name)) is not None}
    return replace(row, **{name: round(value, digits[name]) for name, value in known.items()})


def _badness(row: VolumeRow | PatientRow) -> tuple[bool, float]:
    return math.isnan(row.score), -row.score
