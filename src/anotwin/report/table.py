"""Scores as CSV, one row an image, written so that a kill costs nothing that was already scored.

Rows go to ``scores.csv.partial``; ``scores.csv.partial.json`` holds the key of the run (model, data, settings). A run
with the same key goes on where the last one stopped; `ScoresWriter.finish` renames the partial to its final name.
"""

from __future__ import annotations

import csv
import heapq
import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypedDict

from rich.console import Console
from rich.table import Table
from rich.text import Text

from anotwin.errors import DataError
from anotwin.report.files import atomic, disk_errors
from anotwin.report.text import TRUTH, encode, printable, short

if TYPE_CHECKING:  # records imports torch; whoever reads a table need not wait for it
    from anotwin.records import Finding

COLUMNS = (
    "image",
    "score",
    "residual",
    "discrimination",
    "p_value",
    "anomalous",
    "flagged_by",
    "status",
    "error",
)


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
    holds their ids; with any other key the run starts afresh. Ids already done are not written twice.
    Raises DataError where the disk refuses.
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
        with atomic(self._sidecar) as temporary:
            temporary.write_text(json.dumps({"key": key, "columns": list(COLUMNS)}), encoding="utf-8")
        with atomic(self.partial) as temporary:
            temporary.write_bytes(encode([COLUMNS]))

    def write(self, findings: Iterable[Finding]) -> None:
        """Append the rows of a batch of findings."""
        rows = []
        for finding in findings:
            if finding.id not in self.done:
                self.done.add(finding.id)
                rows.append(_cells(row(finding)))
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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_scores(path: str | Path) -> list[Row]:
    """The rows of a table that `ScoresWriter` finished, typed; raises DataError naming the line that is wrong."""
    return list(scan_scores(path))


def scan_scores(path: str | Path) -> Iterator[Row]:
    """The rows of `read_scores` one by one: a table of a million images need not fit into memory."""
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
    """Sorts rows from the most to the least anomalous, those that could not be scored behind them."""
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
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("image", overflow="fold")
    for name in ("score", "p", "verdict", "flagged by") if calibrated else ("score",):
        table.add_column(name, justify="right" if name in ("score", "p") else "left", no_wrap=True)
    table.add_column("status")
    for entry in shown:
        style = "bold red" if entry["anomalous"] else "yellow" if entry["error"] else ""
        cells = [printable(entry["image"]), short(entry["score"])]
        if calibrated:
            verdict = {True: "ANOMALOUS", False: "normal", None: ""}[entry["anomalous"]]
            p_value = "" if entry["p_value"] is None else f"{entry['p_value']:.4f}"
            cells += [p_value, verdict, printable(entry["flagged_by"])]
        cells.append(printable(entry["error"] or entry["status"]))
        table.add_row(*(Text(cell, style=style) for cell in cells))
    console.print(table)
    if total is not None and total > len(shown):
        console.print(Text(f"... and {total - len(shown)} more"))


def _cells(entry: Row) -> list[str]:
    p_value = entry["p_value"]
    return [
        entry["image"],
        repr(entry["score"]),
        repr(entry["residual"]),
        repr(entry["discrimination"]),
        "" if p_value is None else repr(p_value),
        TRUTH[entry["anomalous"]],
        entry["flagged_by"],
        entry["status"],
        entry["error"],
    ]


def _end_of_last_record(content: bytes) -> int:
    """Where the last complete record ends: behind the last line break that is not inside quotes."""
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
