"""manifest.csv beside the images: label, split and group of each file, where folders alone cannot say it."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from anotwin.data.columns import (
    ENOUGH,
    FILE,
    LABEL,
    MORE,
    SOMETIMES,
    SPLIT,
    UNKNOWN,
    first_of,
    plain,
    split_of,
    units_of,
)
from anotwin.data.names import FileNames
from anotwin.errors import DataError

NAME = "manifest.csv"

_DELIMITERS = ",;\t|"


@dataclass(frozen=True)
class Row:
    """What a manifest says of one file; None where it has no such column or the cell is empty."""

    label: str | None
    split: str | None  # "train", "test" or "val"
    group: str | None
    # all columns by their plain headers ("patientid") and by the names that layouts ask for, where not empty
    more: Mapping[str, str] = field(default_factory=dict)
    by: str | None = None  # the plain header of the column that the group is from

    def cell(self, column: str) -> str | None:
        """The cell of a column by its plain header; None where it is empty or says that it is not known."""
        return _known(self.more.get(column, ""))


@dataclass(frozen=True)
class Manifest:
    """A manifest with its headers understood; see `anotwin.data.columns`."""

    rows: dict[str, Row]  # by file, a posix path below the folder as the disk spells it
    columns: Mapping[str, str]  # plain header -> header as written
    used: frozenset[str]  # plain headers of file, label, split and group
    unit: str | None  # the plain header that says which images belong together
    notes: tuple[str, ...]


def read_manifest(root: Path) -> dict[str, Row] | None:
    """The rows of ``root/manifest.csv`` by file (posix path below root); None if there is no manifest.

    Columns in any order and under the names people use (`anotwin.data.columns`): ``file`` and, each optional,
    ``label``, ``split``, and one that says which images belong together: ``group``, else ``patient``, and so on.

    Raises:
        DataError: not a readable CSV, no column ``file``, a file named twice, outside root or missing.
    """
    found = open_manifest(root)
    return None if found is None else found.rows


def open_manifest(root: Path) -> Manifest | None:
    """All that ``root/manifest.csv`` says; None if there is none. Raises DataError, see `read_manifest`."""
    path = _path(root)
    if path is None:
        return None
    try:
        state = path.stat()
    except OSError as error:
        raise DataError(f"{path}: cannot read the manifest ({error.strerror or error})") from None
    return _open(path, state.st_size, state.st_mtime_ns)


def _path(root: Path) -> Path | None:
    if (root / NAME).is_file():
        return root / NAME
    try:
        return next((each for each in sorted(root.iterdir()) if each.name.casefold() == NAME and each.is_file()), None)
    except OSError:
        return None


@lru_cache(maxsize=4)  # layouts, groups and notes each ask for it; size and time of the file are part of the key
def _open(path: Path, _size: int, _changed: int) -> Manifest:
    notes: list[str] = []
    headers, lines = _cells(path, _text(path, notes))
    columns = {name: number for number, header in enumerate(headers) if (name := plain(header))}
    cells = [cells for _, cells in lines]
    label, split, unit = first_of(LABEL, columns), _split_column(columns, cells), None
    for name in units_of(columns):
        if unit is None and name not in (split, label):
            values = {value for each in cells if (value := _known(each[columns[name]]))}
            if name in SOMETIMES and len(values) < ENOUGH:
                notes.append(
                    f"{path}: column {headers[columns[name]]!r} has {len(values)} values, too few to split and "
                    f"calibrate by; --group {headers[columns[name]]} does it all the same"
                )
                continue
            unit = name
    file, names = _files(path, columns, lines, headers)
    rows: dict[str, Row] = {}
    for name, (line, each) in zip(names, lines, strict=True):
        if name in rows:
            raise DataError(f"{path}: line {line}: {name!r} is named a second time; keep one row per file")
        rows[name] = Row(
            each[columns[label]] or None if label else None,
            _split(path, line, each[columns[split]], headers[columns[split]]) if split else None,
            _known(each[columns[unit]]) if unit else None,
            _more(columns, each),
            unit,
        )
    _mention_splits(path, rows, notes)
    used = frozenset(name for name in (file, label, split, unit) if name)
    return Manifest(rows, {name: headers[number] for name, number in columns.items()}, used, unit, tuple(notes))


def _text(path: Path, notes: list[str]) -> str:
    """UTF-8, UTF-16 as Excel writes it, or Windows' own encoding."""
    how = "save it as CSV in UTF-8"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot read the manifest ({error.strerror or error})") from None
    if data.startswith(b"PK\x03\x04"):
        raise DataError(f"{path}: an Excel workbook, not a CSV file; {how}")
    start, encodings = data[:400], ["utf-8-sig", "cp1252"]
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings = ["utf-16"]
    elif start[1::2].count(0) > len(start) // 3:
        encodings = ["utf-16-le"]
    elif start[::2].count(0) > len(start) // 3:
        encodings = ["utf-16-be"]
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            if encoding == "cp1252":
                notes.append(f"{path}: not UTF-8, read as Windows-1252; if names or labels look wrong, {how}")
            return text.removeprefix("\ufeff")
    raise DataError(f"{path}: cannot read the manifest (not text); expected a CSV file in UTF-8: {how}")


def _cells(path: Path, text: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Headers, and (line, cells) of each row that is not empty; the delimiter is what makes a column of files."""
    delimiters, first = _DELIMITERS, text.lstrip().partition("\n")[0].strip().strip('"').casefold()
    if first.startswith("sep=") and len(first) == 5:  # written by and for Excel
        delimiters, text = first[4], text.lstrip().partition("\n")[2]
    elif first == "sep=":
        delimiters, text = "\t", text.lstrip().partition("\n")[2]
    offset = 1 if delimiters != _DELIMITERS else 0
    try:
        tried = [[cell.strip() for cell in next(_reader(text, delimiter), [])] for delimiter in delimiters]
        tried = [headers for headers in tried if {*map(plain, headers)} & {*FILE}] or [max(tried, key=len)]
        headers = tried[0]
        chosen = next(d for d in delimiters if [cell.strip() for cell in next(_reader(text, d), [])] == headers)
        reader = _reader(text, chosen)
        next(reader, None)
        lines = [
            (reader.line_num + offset, _row(path, reader.line_num + offset, cells, headers))
            for cells in reader
            if any(cell.strip() for cell in cells)
        ]
    except csv.Error as error:
        raise DataError(f"{path}: cannot read the manifest ({error}); expected a CSV file in UTF-8") from None
    twice = [name for number, name in enumerate(headers) if plain(name) in {*map(plain, headers[:number])} - {""}]
    if twice:
        raise DataError(f"{path}: two columns {twice[0]!r} in {headers}; keep one")
    return headers, lines


def _reader(text: str, delimiter: str) -> Any:
    # strict: a quotation mark that is never closed would otherwise swallow the rest of the file
    return csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=delimiter != "\t", strict=True
    )


def _row(path: Path, line: int, cells: Sequence[str], headers: Sequence[str]) -> list[str]:
    """As many cells as there are headers; a line that ends early has empty ones."""
    values = [cell.strip() for cell in cells]
    if any(values[len(headers) :]):
        told = f"{len(values)} cells for {len(headers)} columns"
        raise DataError(f"{path}: line {line}: {told}; put cells with a delimiter in them between quotation marks")
    return (values + [""] * len(headers))[: len(headers)]


def _files(
    path: Path, columns: Mapping[str, int], lines: Sequence[tuple[int, list[str]]], headers: Sequence[str]
) -> tuple[str, list[str]]:
    """The column of files, and the file of each row as the disk spells it."""
    candidates = [name for name in FILE if name in columns]
    if not candidates:
        raise DataError(f"{path}: columns {list(headers)}, expected file and optionally label, split, group")
    on_disk = FileNames(path.parent)
    first: DataError | None = None
    for column in candidates:  # `image` may be a number beside a `path`
        try:
            return column, _found(path, [(line, each[columns[column]]) for line, each in lines], on_disk)
        except DataError as error:
            first = first or error
    assert first is not None
    raise first


def _found(path: Path, named: Sequence[tuple[int, str]], on_disk: FileNames) -> list[str]:
    found: list[str] = []
    missing: list[str] = []
    for line, text in named:
        name = _below(path, line, text, on_disk)
        like = on_disk.find(name)
        if len(like) > 1:
            told = f"{text!r} may be {' or '.join(map(repr, like[:3]))}"
            raise DataError(f"{path}: line {line}: {told}; spell it as the file is called")
        found += like or [name]
        missing += [] if like else [name]
    if missing:
        raise DataError(
            f"{path}: {len(missing)} of {len(named)} files do not exist, the first is {missing[0]!r}; "
            "paths are relative to the manifest"
        )
    return found


def _below(path: Path, line: int, text: str, on_disk: FileNames) -> str:
    name = PurePosixPath(text)
    if "\\" in text and not on_disk.find(str(name)):
        name = PurePosixPath(text.replace("\\", "/"))
    if name == PurePosixPath() or name.is_absolute() or ".." in name.parts:
        raise DataError(f"{path}: line {line}: file {text!r}, expected a path below the manifest's folder")
    return str(name)


def _known(text: str) -> str | None:
    return None if text.casefold() in UNKNOWN else text


def _split_column(columns: Mapping[str, int], cells: Sequence[Sequence[str]]) -> str | None:
    """The first column for splits whose cells all name one; `split` itself, whatever it holds."""
    for name in SPLIT:
        if name in columns:
            values = {each[columns[name]] for each in cells} - {""}
            if name == "split" or (values and all(map(split_of, values))):
                return name
    return None


def _split(path: Path, line: int, text: str, header: str) -> str | None:
    found = split_of(text)
    if text and found is None:
        raise DataError(f"{path}: line {line}: {header} {text!r}, expected train, val or test")
    return found


def _more(columns: Mapping[str, int], cells: Sequence[str]) -> dict[str, str]:
    more = {name: cells[number] for name, number in columns.items() if cells[number]}
    for name, headers in MORE.items():
        text = next((more[each] for each in headers if each in more), None)
        if text is not None and _known(text):
            more[name] = text.replace(",", ".") if name.endswith("_um") else text  # 3,87: Excel in most of Europe
        else:
            more.pop(name, None)
    return more


def _mention_splits(path: Path, rows: Mapping[str, Row], notes: list[str]) -> None:
    splits = [row.split for row in rows.values()]
    if any(splits):
        for value, what in (("val", "in a validation split"), (None, "without a split")):
            if count := splits.count(value):
                notes.append(f"{path}: {count} of {len(rows)} files are {what}: neither trained on nor tested")
