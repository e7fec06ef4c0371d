"""Volumes and patients as tables: one score for many scans."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from anotwin.report.files import atomic
from anotwin.report.listing import Listing
from anotwin.report.text import encode, short


@dataclass(frozen=True)
class VolumeRow:
    """One volume in the table; higher scores are more abnormal. What is not known is None, and an empty cell."""

    volume: str
    patient: str | None
    eye: str | None  # "OD", "OS"
    slices: int  # that it ought to have
    scored: int  # of them
    failed: int  # read or segmented in vain; the rest is missing
    anomalous: int | None  # of those scored; None before calibration
    score: float  # pooled over its slices; NaN where none has a score
    worst: str | None  # image: the slice with the highest score


@dataclass(frozen=True)
class PatientRow:
    """One patient in the table, as far as somebody said whose scans these are."""

    patient: str
    volumes: int
    scans: int
    score: float  # pooled over the volumes; NaN where none has a score


def write_volumes(rows: Sequence[VolumeRow], path: str | Path) -> None:
    """Save volumes as CSV in the order given, whole or not at all; raises DataError."""
    _write([field.name for field in fields(VolumeRow)], rows, path)


def write_patients(rows: Sequence[PatientRow], path: str | Path) -> None:
    """Save patients as CSV in the order given, whole or not at all; raises DataError."""
    _write([field.name for field in fields(PatientRow)], rows, path)


def volume_listing(rows: Sequence[VolumeRow], most: int = 6) -> Listing:
    """Volumes for the terminal, the most anomalous first."""
    calibrated = any(row.anomalous is not None for row in rows)
    names = ["volume", "score", "slices", *(["anomalous"] if calibrated else []), "failed", "worst slice"]
    cells = []
    for row in sorted(rows, key=_badness)[:most]:
        counts = [f"{row.scored}/{row.slices}", *([_text(row.anomalous)] if calibrated else []), str(row.failed)]
        cells.append((row.volume, short(row.score), *counts, row.worst or ""))
    return Listing(tuple(names), tuple(cells), len(rows), frozenset({"volume", "worst slice"}))


def patient_listing(rows: Sequence[PatientRow], most: int = 6) -> Listing:
    """Patients for the terminal, the most anomalous first."""
    shown = sorted(rows, key=_badness)[:most]
    cells = tuple((row.patient, short(row.score), str(row.volumes), str(row.scans)) for row in shown)
    return Listing(("patient", "score", "volumes", "scans"), cells, len(rows), frozenset({"patient"}))


def _write(names: Sequence[str], rows: Sequence[VolumeRow | PatientRow], path: str | Path) -> None:
    lines = [list(map(_text, astuple(row))) for row in rows]
    with atomic(path) as temporary:
        temporary.write_bytes(encode([names, *lines]))


def _text(cell: object) -> str:
    return "" if cell is None else str(cell)


def _badness(row: VolumeRow | PatientRow) -> tuple[bool, float]:
    return math.isnan(row.score), -row.score
