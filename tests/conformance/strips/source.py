"""strips.txt: a file and its label a line."""

from pathlib import Path

from anotwin.data.folder import FileSource
from anotwin.errors import DataError
from anotwin.records import ImageItem


def open_strips(root: Path, part: str) -> FileSource:
    """All strips to score; the normal ones to train on."""
    try:
        rows = [line.split() for line in (root / "strips.txt").read_text().splitlines()]
    except OSError:
        raise DataError(f"{root}: no strips.txt in it") from None
    items = [ImageItem(name, label, label == "normal") for name, label in rows]
    return FileSource(str(root), tuple(item for item in items if item.normal or part == "test"), "strips")
