"""Tables of prepared scans, of the slices of a volume, and of volumes and patients, with one score for many scans."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from anotwin.domains.groups import verdict_cells
from anotwin.report.listing import Listing
from anotwin.report.rows import write_rows
from anotwin.report.text import cell_text, short

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
    left_out: str = ""  # what a score does not look at: an optic disc and its columns, a retina above the band
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
    left_out: str = ""  # as in `ScanRow`


@dataclass(frozen=True)
class VolumeRow:
    """One volume in the table; higher scores are more abnormal. What is not known is None, and an empty cell."""

    volume: str
    patient: str | None
    eye: str | None  # "OD", "OS"
    slices: int  # of the whole volume, also those that are missing
    scored: int
    failed: int  # could not be read or segmented
    anomalous_slices: int | None  # of those scored; None before calibration
    score: float  # pooled over its slices; NaN where none has a score
    p_value: float | None  # of the volume; None without volumes to compare with
    anomalous: bool | None
    worst: str | None  # image: the slice with the highest score


@dataclass(frozen=True)
class PatientRow:
    """One patient in the table, where a file or the manifest names the patient."""

    patient: str
    volumes: int
    scans: int
    score: float  # pooled over the volumes; NaN where none has a score
    p_value: float | None  # of the patient; None without patients to compare with
    anomalous: bool | None


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
    calibrated, decided = any(row.anomalous_slices is not None for row in rows), _decided(rows)
    flagged = ["anomalous slices"] if calibrated else []
    names = ["volume", "score", *_decision_names(decided), "slices", *flagged, "failed", "worst slice"]
    cells = []
    shown = sorted(rows, key=_badness)[:most]
    for row in shown:
        decision = verdict_cells(row.p_value, row.anomalous) if decided else ()
        counts = [f"{row.scored}/{row.slices}", *(cell_text(row.anomalous_slices) for _ in flagged), str(row.failed)]
        cells.append((row.volume, short(row.score), *decision, *counts, row.worst or ""))
    words = frozenset({"volume", "verdict", "worst slice"})
    return Listing(tuple(names), tuple(cells), len(rows), words, _styles(shown))


def patient_listing(rows: Sequence[PatientRow], most: int = 6) -> Listing:
    """Patients for the terminal, the most anomalous first."""
    shown, decided = sorted(rows, key=_badness)[:most], _decided(rows)
    cells = []
    for row in shown:
        decision = verdict_cells(row.p_value, row.anomalous) if decided else ()
        cells.append((row.patient, short(row.score), *decision, str(row.volumes), str(row.scans)))
    names = ("patient", "score", *_decision_names(decided), "volumes", "scans")
    return Listing(names, tuple(cells), len(rows), frozenset({"patient", "verdict"}), _styles(shown))


def _decided(rows: Sequence[VolumeRow] | Sequence[PatientRow]) -> bool:
    return any(row.p_value is not None for row in rows)


def _decision_names(decided: bool) -> tuple[str, ...]:
    return ("p", "verdict") if decided else ()


def _styles(rows: Sequence[VolumeRow] | Sequence[PatientRow]) -> tuple[str, ...]:
    return tuple("bold red" if row.anomalous else "" for row in rows)


def _rounded(row: ScanRow) -> ScanRow:
    digits = {"quality": 3, "thickness_um": 1, "valid": 3}
    known = {name: value for name in digits if (value := getattr(row, name)) is not None}
    return replace(row, **{name: round(value, digits[name]) for name, value in known.items()})


def _badness(row: VolumeRow | PatientRow) -> tuple[bool, float]:
    return math.isnan(row.score), -row.score
