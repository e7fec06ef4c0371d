"""Any folder of images: sub-folders are labels and parts, masks are known for what they are, manifest.csv may say more.

What each folder means is decided by `anotwin.data.sorting`, which files are masks by `anotwin.data.pairing`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from anotwin.data.collect import Found, collect
from anotwin.data.masks import read_mask
from anotwin.data.pixels import IMAGE_SUFFIXES, image_shape, read_pixels
from anotwin.data.sorting import Chosen
from anotwin.data.taken import Taken
from anotwin.errors import DataError
from anotwin.records import Array, ImageItem

Part = Literal["train", "test"]


@dataclass(frozen=True)
class FileSource:
    """Image files below one folder, as an `ImageSource`."""

    root: str
    items: tuple[ImageItem, ...]  # (N,)
    layout: str = "folder"
    masked: bool = False  # True: the set has ground truth, so that a normal image is known to have an empty mask
    notes: tuple[str, ...] = ()  # what a person should know
    taken: tuple[Taken, ...] = ()  # the folders, and what their images count as
    masks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # of images with several: all; they are joined
    unused_masks: tuple[str, ...] = ()  # masks that belong to no image

    def read(self, index: int) -> Array:
        """Native pixels of one image; raises DataError naming the file."""
        return read_pixels(self.file(index))

    def file(self, index: int) -> Path:
        """The file of one image."""
        return Path(self.root) / self.items[index].id

    def read_mask(self, index: int) -> npt.NDArray[np.bool_] | None:
        """(H, W) True where abnormal, zeros for a normal image of a set with masks, None where unknown."""
        item = self.items[index]
        if item.mask is None:
            return np.zeros(self.read(index).shape[:2], bool) if self.masked and item.normal else None
        shape = self.read(index).shape[:2]
        return read_masks(Path(self.root), self.masks.get(item.id, (item.mask,)), item.id, shape)

    def check_mask(self, index: int) -> str:
        """Why the masks of an image cannot be used, by the headers of the files alone; "": nothing is known."""
        item = self.items[index]
        return check_masks(Path(self.root), self.masks.get(item.id, (item.mask,)), item.id) if item.mask else ""


def open_folder(
    root: str | Path, part: Part, normal: str | None = None, abnormal: str | None = None, layout: str = "folder"
) -> FileSource:
    """All images below `root`, sorted; hidden files and other suffixes are left out, masks are no images.

    Folders whose names mean a part (train, test, val) are read for that part alone. A label is the deepest folder that
    means good or bad, else the folder beside good ones, else the first; see `anotwin.data.sorting`. For training the
    images known to be abnormal, and those that a mask marks, are left out.

    For scoring, `root` may be one image file.

    Args:
        root: the folder.
        part: "train" or "test": what the images are for.
        normal: patterns of the labels or folders that are normal, each on a line; see `anotwin.data.sorting.Chosen`.
        abnormal: likewise.
        layout: the name that the source bears.

    Raises:
        DataError: nothing there, no image in it, no such label, a manifest that does not fit the files or, for
            training, folders of which nobody can say whether they are normal.
    """
    root = Path(root)
    if root.is_file():
        return _single(root, part)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; expected a folder with images ({', '.join(IMAGE_SUFFIXES)})")
    return source_of(root, find_items(root, part, normal, IMAGE_SUFFIXES, abnormal), layout)


def find_items(
    root: Path,
    part: Part,
    normal: str | None,
    suffixes: tuple[str, ...] = IMAGE_SUFFIXES,
    abnormal: str | None = None,
) -> Found:
    """The items of `open_folder`, of files with one of `suffixes`, and what was found beside; raises DataError."""
    return collect(root, part, suffixes, Chosen(normal, abnormal))


def source_of(root: Path, found: Found, layout: str, masked: bool = False) -> FileSource:
    """A source of the images that were found."""
    several = {name: masks for name, masks in found.masks.items() if len(masks) > 1}
    return FileSource(
        str(root), found.items, layout, masked or found.masked, found.notes, found.taken, several, found.unused_masks
    )


def read_masks(root: Path, names: tuple[str, ...], image: str, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """(H, W) the union of the masks of one image of `shape`; raises DataError where one is of another size."""
    marked = np.zeros(shape, bool)
    for name in names:
        mask = read_mask(root / name)
        if mask.shape != shape:
            raise DataError(_other_size(root / name, mask.shape, image, shape))
        marked |= mask
    return marked


def check_masks(root: Path, names: tuple[str, ...], image: str) -> str:
    """Why the masks of an image cannot be used, by the headers of the files alone; "": nothing is known."""
    shape = image_shape(root / image)
    for name in names:
        if ".." in Path(name).parts or Path(name).is_absolute():
            return f"{name}: not below {root}, it is named as the mask of {image}"
        if not (root / name).is_file():
            return f"{root / name}: no such file, it is named as the mask of {image}"
        other = image_shape(root / name)
        if shape and other and shape != other:
            return _other_size(root / name, other, image, shape)
    return ""


def _other_size(path: Path, got: tuple[int, ...], image: str, expected: tuple[int, ...]) -> str:
    return f"{path}: mask of shape {tuple(got)}, expected {tuple(expected)}, that of its image {image}"


def _single(path: Path, part: Part) -> FileSource:
    if part == "train":
        raise DataError(f"{path}: one file; training needs a folder with images")
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise DataError(f"{path}: not an image by its name; expected {', '.join(IMAGE_SUFFIXES)} or a folder")
    return FileSource(str(path.parent), (ImageItem(path.name),))
