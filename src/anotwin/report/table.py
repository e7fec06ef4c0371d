"""Scores as CSV, one row per image, written so that a stopped run keeps what it has scored.

Rows go to ``scores.csv.partial``. Beside it ``scores.csv.partial.json`` holds the key of the run (model and settings)
and, for each row, which image it is of and the hash of its bytes. A run with the same key goes on after the rows that
are whole and whose images are the same; `ScoresWriter.finish` puts the table under its final name.
"""

from __future__ import annotations

import csv
import heapq
import math
import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import nullcontext
from io import BufferedReader, FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, TypedDict

from rich.console import Console

from anotwin.errors import DataError
from anotwin.files import atomic_path, move, write_bytes_atomic
from anotwin.report.files import disk_errors
from anotwin.report.journal import check_of, journal_line, journal_values
from anotwin.report.listing import Listing, print_listing
from anotwin.report.text import TRUTH, encode, read_cell, short

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


class Identities(Protocol):
    """What tells whether an image is still the one that its row was written for."""

    def of(self, finding: Finding) -> Any:
        """Plain JSON, kept beside the row."""
        ...

    def same(self, image: str, stored: Any) -> bool:
        """Whether the image of this id is the one that `of` gave `stored` for."""
        ...

    def forget(self, pictures: AbstractSet[str]) -> None:
        """Remove pictures whose rows are not kept; names as given to `ScoresWriter.begin`."""
        ...


class ScoresWriter:
    """Rows of a scoring run, appended as they come and put under their final name by `finish`.

    `key` names what the scores depend on besides the images: with the key of an interrupted run its rows are kept, if
    they are as they were written and `identities` says that their images are the same; `done` holds the ids. With any
    other key the table starts empty. A row that is written again replaces the one before.

    Raises DataError where the files cannot be written. One process at a time: see `anotwin.lock`.
    """

    def __init__(self, path: str | Path, key: str, identities: Identities | None = None) -> None:
        self.path = Path(path)
        self.partial = Path(f"{self.path}.partial")
        self._journal, self._whole = Path(f"{self.partial}.json"), Path(f"{self.partial}.csv")
        self._identities = identities
        self._numbers: dict[str, int] = {}  # image -> number of its last row
        self._starts, self._lengths = array("q"), array("q")  # of the rows, bytes in the partial
        self._others: set[str] = set()  # whose row is of another image, or damaged
        if self.path.is_dir():
            raise DataError(f"{self.path}: is a folder; expected the name of a CSV file to write")
        with disk_errors(self.partial):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._whole.unlink(missing_ok=True)
            if not self._resume({"key": key, "columns": list(COLUMNS)}):
                self._start({"key": key, "columns": list(COLUMNS)})
            # unbuffered: a row that was written is with the operating system, and survives a kill of this process
            self._file, self._lines = self.partial.open("ab", buffering=0), self._journal.open("ab", buffering=0)
        for image in self._others:
            self.drop(image)

    @property
    def done(self) -> AbstractSet[str]:
        """The ids that have a row."""
        return self._numbers.keys()

    def _resume(self, head: Any) -> bool:
        """Take over the rows of an interrupted run of the same key; whatever is not a whole row is cut off."""
        values, end, begun, kept = journal_values(self._journal), len(encode([COLUMNS])), set[str](), set[str]()
        same = next(values, None) == head and self.partial.is_file()
        with self.partial.open("rb") if same else nullcontext() as rows:
            for value in values:
                if value[0] == "picture":
                    begun.add(value[1])
                elif rows is not None:
                    end, picture = self._take(value, rows, end)
                    kept.add(picture)
        if self._identities is not None:
            self._identities.forget(begun - kept)
        if same:
            os.truncate(self.partial, min(end, self.partial.stat().st_size))
            os.truncate(self._journal, self._journal.read_bytes().rfind(b"\n") + 1)
        return same

    def _take(self, entry: Sequence[Any], rows: BufferedReader, end: int) -> tuple[int, str]:
        """One more entry of the journal; where whole rows end, and the pictures of its row if that is kept."""
        kind, image, *place = entry
        self._numbers.pop(image, None)  # the last entry of an image counts
        self._others.discard(image)
        if kind == "drop":
            return end, ""
        start, length, check, picture, identity = place
        rows.seek(start)
        whole = check_of(rows.read(length)) == check
        if whole and (self._identities is None or self._identities.same(image, identity)):
            self._add(image, start, length)
            return max(end, start + length), picture
        self._others.add(image)
        return max(end, start + length) if whole else end, ""

    def _start(self, head: Any) -> None:
        # in this order, no kill can leave another run's rows beside this run's key
        self.partial.unlink(missing_ok=True)
        write_bytes_atomic(self._journal, journal_line(head))
        write_bytes_atomic(self.partial, encode([COLUMNS]))

    def _add(self, image: str, start: int, length: int) -> None:
        self._numbers[image] = len(self._starts)
        self._starts.append(start)
        self._lengths.append(length)

    def drop(self, image: str) -> None:
        """Forget the row of an image, because it is to be scored again."""
        self._numbers.pop(image, None)
        self._append(self._lines, journal_line(["drop", image]))

    def begin(self, picture: str) -> None:
        """Say that the pictures of this name are about to be written: they are this run's, whatever comes next."""
        self._append(self._lines, journal_line(["picture", picture]))

    def write(self, findings: Iterable[Finding], picture: str = "") -> None:
        """Append the rows of findings, whose pictures have this name."""
        for finding in findings:
            content = encode([row(finding).values()])
            start = self._file.seek(0, os.SEEK_END)
            identity = None if self._identities is None else self._identities.of(finding)
            entry = ["row", finding.id, start, len(content), check_of(content), picture, identity]
            self._append(self._lines, journal_line(entry))  # first: a row that is there is known
            self._append(self._file, content)
            self._add(finding.id, start, len(content))

    def _append(self, file: FileIO, content: bytes) -> None:
        left = memoryview(content)
        with disk_errors(self.partial):
            while left:
                left = left[file.write(left) :]

    def complete(self, order: Iterable[str] | None = None) -> Path:
        """The complete table under a temporary name, its rows in the given order of ids or as they were written.

        All that is drawn from the table is drawn before `finish`: scores.csv is the last file of a run.
        """
        numbers = self._numbers.values() if order is None else (self._numbers[image] for image in order)
        with (
            disk_errors(self.path),
            self.partial.open("rb") as rows,
            atomic_path(self._whole) as temporary,
            temporary.open("wb") as table,
        ):
            table.write(encode([COLUMNS]))
            for number in numbers:
                rows.seek(self._starts[number])
                table.write(rows.read(self._lengths[number]))
        return self._whole

    def finish(self) -> Path:
        """Put the complete table under its name, replacing an older one, and return the path."""
        if not self._whole.exists():
            self.complete()
        self.close()
        with disk_errors(self.path):
            os.utime(self._whole)  # not older than what was drawn from it: see `anotwin.report.stale`
            move(self._whole, self.path)
            self.partial.unlink(missing_ok=True)
            self._journal.unlink(missing_ok=True)
        return self.path

    def close(self) -> None:
        """Release the files and keep the partial for a later run."""
        self._file.close()
        self._lines.close()

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


def images_of(path: Path) -> set[str]:
    """The ids in a table of scores; none where there is no such table."""
    try:
        return {entry["image"] for entry in scan_scores(path)}
    except DataError:
        return set()


def earlier_images(path: Path) -> frozenset[str]:
    """The ids that a finished run and one that was stopped have written rows of, into the table at `path`."""
    entries = journal_values(Path(f"{path}.partial.json"))
    return frozenset(images_of(path) | {entry[1] for entry in entries if isinstance(entry, list) and entry[0] == "row"})


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


def _typed(cells: Sequence[str]) -> Row:
    if len(cells) != len(COLUMNS):
        raise ValueError(f"{len(cells)} cells, expected {len(COLUMNS)}")
    image, score, residual, discrimination, p_value, anomalous, flagged_by, status, error = cells
    return Row(
        image=read_cell(image),
        score=float(score),
        residual=float(residual),
        discrimination=float(discrimination),
        p_value=float(p_value) if p_value else None,
        anomalous={text: truth for truth, text in TRUTH.items()}[anomalous],
        flagged_by=read_cell(flagged_by),
        status=read_cell(status),
        error=read_cell(error),
    )
