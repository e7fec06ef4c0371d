"""The split of VisA (Zou et al. 2022): ``split_csv/1cls.csv`` beside the folders of its objects."""

from __future__ import annotations

import csv
from pathlib import Path

from anotwin.data.manifest import Row
from anotwin.errors import DataError

_FILE = "split_csv/1cls.csv"  # one-class: train on normal images alone
_COLUMNS = {"split", "label", "image", "mask"}


def read_visa(root: Path) -> dict[str, Row] | None:
    """Label, split and mask of each image below `root`, the whole set or one object of it; None without such a file.

    Raises:
        DataError: a file of that name that is no such table.
    """
    for top, start in ((root, ""), (root.parent, f"{root.name}/")):
        path = top / _FILE
        if path.is_file() and (not start or (root / "Data").is_dir()):
            return _rows(path, root, start)
    return None


def _rows(path: Path, root: Path, start: str) -> dict[str, Row]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file, skipinitialspace=True)
            if not _COLUMNS.issubset(table.fieldnames or ()):
                raise DataError(f"{path}: columns {table.fieldnames}, expected object, split, label, image, mask")
            lines = [line for line in table if (line["image"] or "").startswith(start)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot read the split of VisA ({error})") from None
    rows = {}
    for line in lines:
        name, mask = (str(line[key] or "").removeprefix(start) for key in ("image", "mask"))
        if (root / name).is_file():
            rows[name] = Row(line["label"] or None, line["split"] or None, None, {"mask": mask} if mask else {})
    return rows
