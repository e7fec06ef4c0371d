"""manifest.csv beside the images: label, split and group of each file, where folders alone cannot say it."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from anotwin.errors import DataError

NAME = "manifest.csv"

_OWN = frozenset({"file", "label", "split", "group"})  # "patient" is in `Row.more` too: OCT needs it beside the group


@dataclass(frozen=True)
class Row:
    """What a manifest says of one file; None where it has no such column or the cell is empty."""

    label: str | None
    split: str | None
    group: str | None
    more: Mapping[str, str] = field(default_factory=dict)  # the other columns that a layout may know, where not empty


def read_manifest(root: Path) -> dict[str, Row] | None:
    """The rows of ``root/manifest.csv`` by file (posix path below root); None if there is no manifest.

    Columns in any order: ``file`` and, each optional, ``label``, ``split``, ``group`` (or ``patient``, which counts
    where there is no ``group``); all others are in `Row.more`.

    Raises:
        DataError: not a readable CSV, no column ``file``, a file named twice, outside root or missing.
    """
    path = root / NAME
    if not path.is_file():
        return None
    rows: dict[str, Row] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            columns = [name.strip() for name in reader.fieldnames or ()]
            if "file" not in columns:
                raise DataError(f"{path}: columns {columns}, expected file and optionally label, split, group")
            reader.fieldnames = columns
            for cells in reader:
                name = _file(path, reader.line_num, cells.get("file"), rows)
                group = _cell(cells, "group") if "group" in columns else _cell(cells, "patient")
                more = {column: text for column in columns if column not in _OWN and (text := _cell(cells, column))}
                rows[name] = Row(_cell(cells, "label"), (_cell(cells, "split") or "").casefold() or None, group, more)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot read the manifest ({error}); expected a CSV file in UTF-8") from None
    missing = [name for name in rows if not (root / name).is_file()]
    if missing:
        raise DataError(
            f"{path}: {len(missing)} of {len(rows)} files do not exist, the first is {missing[0]!r}; "
            "paths are relative to the manifest"
        )
    return rows


def _cell(cells: dict[str, str | None], column: str) -> str | None:
    return (cells.get(column) or "").strip() or None


def _file(path: Path, line: int, text: str | None, rows: dict[str, Row]) -> str:
    name = PurePosixPath((text or "").strip())
    if name == PurePosixPath() or name.is_absolute() or ".." in name.parts:
        raise DataError(f"{path}: line {line}: file {text!r}, expected a path below the manifest's folder")
    if str(name) in rows:
        raise DataError(f"{path}: line {line}: {str(name)!r} is named a second time; keep one row per file")
    return str(name)
