"""Any folder of images: the sub-folders are labels, ``train/`` and ``test/`` are parts, manifest.csv may say more."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from anotwin.data.manifest import Row, read_manifest
from anotwin.data.pixels import IMAGE_SUFFIXES, read_mask, read_pixels
from anotwin.errors import DataError
from anotwin.records import Array, ImageItem

Part = Literal["train", "test"]

NORMAL_NAMES = frozenset({"good", "normal", "ok"})  # compared ignoring case


@dataclass(frozen=True)
class FileSource:
    """Image files below one folder, as an `ImageSource`."""

    root: str
    items: tuple[ImageItem, ...]  # (N,)
    layout: str = "folder"
    masked: bool = False  # True: the set has ground truth, so that a normal image is known to have an empty mask

    def read(self, index: int) -> Array:
        """Native pixels of one image; raises DataError naming the file."""
        return read_pixels(Path(self.root) / self.items[index].id)

    def read_mask(self, index: int) -> npt.NDArray[np.bool_] | None:
        """(H, W) True where abnormal, zeros for a normal image of a set with masks, None where unknown."""
        item = self.items[index]
        if item.mask is None:
            return np.zeros(self.read(index).shape[:2], bool) if self.masked and item.normal else None
        path = Path(self.root) / item.mask
        mask, shape = read_mask(path), self.read(index).shape[:2]
        if mask.shape != shape:
            raise DataError(f"{path}: mask of shape {mask.shape}, expected {shape}, that of its image {item.id}")
        return mask


def open_folder(root: str | Path, part: Part, normal: str | None = None) -> FileSource:
    """All images below `root`, sorted; hidden files and other suffixes are left out.

    With both ``train/`` and ``test/`` below `root` only the folder of `part` is read (or, where manifest.csv has a
    column ``split``, the rows of `part`). A label is the first folder below that. An image is normal if its label is
    `normal` or, without `normal`, good, normal or ok; where no label has such a name, it is not known which images are.
    For training the images known to be abnormal are left out.

    For scoring, `root` may be one image file.

    Raises:
        DataError: nothing there, no image in it, no such label, or a manifest that does not fit the files.
    """
    root = Path(root)
    if root.is_file():
        return _single(root, part)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; expected a folder with images ({', '.join(IMAGE_SUFFIXES)})")
    return FileSource(str(root), find_items(root, part, normal))


def find_items(
    root: Path, part: Part, normal: str | None, suffixes: tuple[str, ...] = IMAGE_SUFFIXES
) -> tuple[ImageItem, ...]:
    """The items of `open_folder`, of files with one of `suffixes`; raises DataError."""
    found, other_labels = _find(root, part, suffixes)
    if not found:
        raise DataError(f"{root}: no image for {part} there or below; looked for {', '.join(suffixes)}, not hidden")
    counts = Counter(item.label for item in found if item.label is not None)
    known = {*counts, *other_labels}
    if normal is not None and normal not in known:
        raise DataError(f"{root}: no label {normal!r}; found {count_labels(counts)}")
    names = {normal} if normal is not None else {label for label in known if label.casefold() in NORMAL_NAMES}
    items = tuple(
        ImageItem(item.id, item.label, item.label in names if names and item.label is not None else None, item.group)
        for item in found
    )
    if part == "train":
        items = tuple(item for item in items if item.normal is not False)
    if not items:
        raise DataError(f"{root}: no normal image to train on; found {count_labels(counts)}")
    return items


def walk(folder: Path, suffixes: tuple[str, ...]) -> Iterator[str]:
    """Files below `folder` with one of `suffixes` (lower case) as posix paths, in no order; hidden ones are left out.

    Every real folder is entered once, so that links cannot loop.
    """
    return _walk(folder, "", suffixes, {os.path.realpath(folder)})


def count_labels(counts: Iterable[str]) -> str:
    """Labels with their counts for a message, at most 10: ``"good" (12), "crack" (3)``; takes a Counter or labels."""
    most = (counts if isinstance(counts, Counter) else Counter(counts)).most_common()
    if not most:
        return "no labels (no sub-folders)"
    text = ", ".join(f"{label!r} ({count})" for label, count in most[:10])
    return text if len(most) <= 10 else f"{text} and {len(most) - 10} more"


def _walk(folder: Path, prefix: str, suffixes: tuple[str, ...], entered: set[str]) -> Iterator[str]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{folder}: cannot list the folder ({error.strerror or error})") from None
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            real = os.path.realpath(entry.path)
            if real not in entered:
                entered.add(real)
                yield from _walk(Path(entry.path), f"{prefix}{entry.name}/", suffixes, entered)
        elif entry.name.lower().endswith(suffixes) and entry.is_file():
            yield prefix + entry.name


def _single(path: Path, part: Part) -> FileSource:
    if part == "train":
        raise DataError(f"{path}: one file; training needs a folder with images")
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise DataError(f"{path}: not an image by its name; expected {', '.join(IMAGE_SUFFIXES)} or a folder")
    return FileSource(str(path.parent), (ImageItem(path.name),))


def _find(root: Path, part: Part, suffixes: tuple[str, ...]) -> tuple[list[ImageItem], set[str]]:
    """The images of a part, normality unknown, and labels that may exist in the other part only."""
    rows, parts = read_manifest(root), part_folders(root)
    known = rows or {}
    if any(row.split for row in known.values()):
        chosen = [name for name, row in known.items() if row.split == part]
    elif parts:
        found = (f"{parts[part]}/{name}" for name in walk(root / parts[part], suffixes))
        chosen = [name for name in found if rows is None or name in rows]
    else:
        chosen = list(walk(root, suffixes) if rows is None else rows)
    labels = {label for name, row in known.items() if (label := _label(name, row, parts)) is not None}
    if parts and rows is None:
        labels = {label for folder in parts.values() for label in _subfolders(root / folder)}
    items = [
        ImageItem(name, _label(name, known.get(name), parts), group=row.group if (row := known.get(name)) else None)
        for name in sorted(chosen)
    ]
    return items, labels


def part_folders(root: Path) -> dict[Part, str] | None:
    """The names of the folders ``train`` and ``test`` (in any case) below `root`, None unless both are there."""
    names = {name.casefold(): name for name in reversed(_subfolders(root))}
    return {"train": names["train"], "test": names["test"]} if "train" in names and "test" in names else None


def _subfolders(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder}: cannot list the folder ({error.strerror or error})") from None


def _label(name: str, row: Row | None, parts: dict[Part, str] | None) -> str | None:
    if row is not None and row.label is not None:
        return row.label
    folders = name.split("/")[:-1]
    if parts and folders and folders[0] in parts.values():
        folders = folders[1:]
    return folders[0] if folders else None
