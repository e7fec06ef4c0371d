"""Scores as CSV, one row per image, written so that a stopped run keeps what it has scored.

Rows go to ``scores.csv.partial``; ``scores.csv.partial.json`` holds the key of the run (model, data, settings). A run
with the same key continues after the last row; `ScoresWriter.finish` renames the partial to its final name.
"""

from __future__ import annotations

import csv
import heapq
import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypedDict

from rich.console import Console

from anotwin.errors import DataError
from anotwin.files import write_bytes_atomic, write_text_atomic
from anotwin.report.files import disk_errors
from anotwin.report.listing import Listing, print_listing
from anotwin.report.text import TRUTH, encode, short

if TYPE_CHECKING:
    from anotwin.records import Finding


class Row(TypedDict):
    """One image in the table; higher scores are more abnormal."""

    image: str
    score: float  # NaN where the image could not be scored
    residual: float
    discrimination: float
    p_value: float | None  # None before calibration
    anomalous: bool | None  # None before calibration
    flagged_by: str
    status: str
    error: str


COLUMNS = tuple(Row.__annotations__)


def row(finding: Finding) -> Row:
    """The numbers of a finding, without its pictures."""
    return Row(
        image=finding.id,
        score=float(finding.score),
        residual=float(finding.residual),
        discrimination=float(finding.discrimination),
        p_value=None if finding.p_value is None else float(finding.p_value),
        anomalous=None if finding.anomalous is None else bool(finding.anomalous),
        flagged_by=finding.flagged_by,
        status=str(finding.status),
        error=finding.error,
    )


class ScoresWriter:
    """Rows of a scoring run, appended as they come and put under their final name by `finish`.

    `key` names what the scores depend on: with the key of an interrupted run its complete rows are kept and `done`
    holds their ids; with any other key the table starts empty. Ids already done are not written twice.
    Raises DataError where the files cannot be written.
    """

    def __init__(self, path: str | Path, key: str) -> None:
        self.path = Path(path)
        self.partial = Path(f"{self.path}.partial")
        self._sidecar = Path(f"{self.partial}.json")
        self.done: set[str] = set()
        if self.path.is_dir():
            raise DataError(f"{self.path}: is a folder; expected the name of a CSV file to write")
        with disk_errors(self.partial):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not self._resume(key):
                self._start(key)
            # unbuffered: a row that was written is with the operating system, and survives a kill of this process
            self._file = self.partial.open("ab", buffering=0)

    def _resume(self, key: str) -> bool:
        """Take over the rows of an interrupted run of the same key, less a half-written last one."""
        try:
            stored = json.loads(self._sidecar.read_text(encoding="utf-8"))
            content = self.partial.read_bytes()
        except (FileNotFoundError, ValueError):
            return False
        if stored != {"key": key, "columns": list(COLUMNS)}:
            return False
        os.truncate(self.partial, _end_of_last_record(content))
        try:
            self.done = {entry["image"] for entry in scan_scores(self.partial)}
        except DataError:
            return False
        return True

    def _start(self, key: str) -> None:
        # in this order, no kill can leave another run's rows beside this run's key
        self.partial.unlink(missing_ok=True)
        write_text_atomic(self._sidecar, json.dumps({"key": key, "columns": list(COLUMNS)}))
        write_bytes_atomic(self.partial, encode([COLUMNS]))

    def write(self, findings: Iterable[Finding]) -> None:
        """Append the rows of a batch of findings."""
        rows = []
        for finding in findings:
            if finding.id not in self.done:
                self.done.add(finding.id)
                rows.append(row(finding).values())
        left = memoryview(encode(rows))
        with disk_errors(self.partial):
            while left:
                left = left[self._file.write(left) :]

    def finish(self) -> Path:
        """Put the complete table under its name, replacing an older one, and return the path."""
        with disk_errors(self.path):
            os.fsync(self._file.fileno())
            self.close()
            self.partial.replace(self.path)
            self._sidecar.unlink(missing_ok=True)
        return self.path

    def close(self) -> None:
        """Release the file and keep the partial for a later run."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def scan_scores(path: str | Path) -> Iterator[Row]:
    """The rows of a table one by one, so that it need not fit into memory; raises DataError naming a wrong line."""
    path = Path(path)
    with disk_errors(path, doing="read"):
        file = path.open(encoding="utf-8", errors="surrogateescape", newline="")
    with file:
        reader = csv.reader(file, strict=True)
        try:
            if tuple(next(reader, [])) != COLUMNS:
                raise DataError(f"{path}: not a table of scores; expected the columns {', '.join(COLUMNS)}")
            yield from map(_typed, reader)
        except (ValueError, KeyError, csv.Error) as error:
            raise DataError(f"{path}: line {reader.line_num} is not a row of scores ({error}); score again") from None


def badness(entry: Row) -> tuple[bool, float, str]:
    """A key that sorts rows from the most to the least anomalous, and after them those that could not be scored."""
    unscored = math.isnan(entry["score"])
    return unscored, 0.0 if unscored else -entry["score"], entry["image"]


def extremes(path: Path, count: int) -> list[Row]:
    """Of the scored images the half of `count` with the highest scores, then that with the lowest; descending."""
    high = heapq.nsmallest(count + 1, _scored(path), key=badness)
    if len(high) <= count:
        return high
    low = heapq.nlargest(count // 2, _scored(path), key=badness)
    return high[: count - count // 2] + low[::-1]


def first_of_each(path: Path, most: int) -> list[Row]:
    """The first `most` scored images of each verdict."""
    taken: dict[bool | None, list[Row]] = {True: [], False: [], None: []}
    for entry in _scored(path):
        if len(taken[entry["anomalous"]]) < most:
            taken[entry["anomalous"]].append(entry)
    return [entry for rows in taken.values() for entry in rows]


def _scored(path: Path) -> Iterator[Row]:
    return (entry for entry in scan_scores(path) if not math.isnan(entry["score"]))


def print_table(rows: Sequence[Row], console: Console, total: int | None = None) -> None:
    """Print rows, worst images first, images that could not be scored last; `total`: of how many, if not all."""
    shown = sorted(rows, key=badness)
    calibrated = any(entry["anomalous"] is not None for entry in shown)
    columns = ("image", "score", *(("p", "verdict", "flagged by") if calibrated else ()), "status")
    cells, styles = [], []
    for entry in shown:
        styles.append("bold red" if entry["anomalous"] else "yellow" if entry["error"] else "")
        verdict = {True: "ANOMALOUS", False: "normal", None: ""}[entry["anomalous"]]
        p_value = "" if entry["p_value"] is None else f"{entry['p_value']:.4f}"
        decided = (p_value, verdict, entry["flagged_by"]) if calibrated else ()
        cells.append((entry["image"], short(entry["score"]), *decided, entry["error"] or entry["status"]))
    words = frozenset({"image", "verdict", "flagged by", "status"})
    print_listing(Listing(columns, tuple(cells), total or len(cells), words, tuple(styles)), console)


def _end_of_last_record(content: bytes) -> int:
    """Where the last complete record ends: after the last line break that is not inside quotes."""
    end = len(content)
    while (end := content.rfind(b"\n", 0, end)) >= 0:
        if content.count(b'"', 0, end) % 2 == 0:
            return end + 1
    return 0


def _typed(cells: Sequence[str]) -> Row:
    if len(cells) != len(COLUMNS):
        raise ValueError(f"{len(cells)} cells, expected {len(COLUMNS)}")
    image, score, residual, discrimination, p_value, anomalous, flagged_by, status, error = cells
    return Row(
        image=image,
        score=float(score),
        residual=float(residual),
        discrimination=float(discrimination),
        p_value=float(p_value) if p_value else None,
        anomalous={text: truth for truth, text in TRUTH.items()}[anomalous],
        flagged_by=flagged_by,
        status=status,
        error=error,
    )
