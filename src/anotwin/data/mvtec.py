"""The MVTec AD layout (Bergmann et al. 2019): ``train/good``, ``test/<label>``, masks in ``ground_truth/<label>``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from anotwin.data.collect import collect
from anotwin.data.folder import FileSource, Part, source_of
from anotwin.data.pixels import IMAGE_SUFFIXES
from anotwin.data.sorting import Kind, Place
from anotwin.data.walk import walk
from anotwin.errors import DataError

GOOD = "good"


def is_mvtec(root: Path) -> bool:
    """Whether a folder has the sub-folders of a category of MVTec AD."""
    return (root / "train" / GOOD).is_dir() and ((root / "test").is_dir() or (root / "ground_truth").is_dir())


def open_mvtec(root: str | Path, part: Part) -> FileSource:
    """One category of MVTec AD, of its successors MVTec 3D and LOCO, or of any set with these folders.

    The mask of ``test/crack/007.png`` is ``ground_truth/crack/007_mask.png`` (any image suffix, or without
    ``_mask``), or all of ``ground_truth/crack/007/``. With ground truth in the set, normal images have an empty mask. A
    manifest.csv gives the groups.

    Raises:
        DataError: no such folders, or no image in them.
    """
    root = Path(root)
    top = root / "train" / GOOD if part == "train" else root / "test"
    if not top.is_dir():
        raise DataError(f"{top}: no such folder; the mvtec layout has train/good, test/<label>, ground_truth/<label>")
    if not any(name for name in walk(top, IMAGE_SUFFIXES) if part == "train" or "/" in name):  # test: below a label
        raise DataError(f"{top}: no image in the folder; expected {'*.png' if part == 'train' else '<label>/*.png'}")
    found = collect(root, part, IMAGE_SUFFIXES, sort=_sort, named=False)
    return source_of(root, found, "mvtec", masked=(root / "ground_truth").is_dir())


def _sort(places: Sequence[Place]) -> dict[Place, Kind]:
    """The kind of each place: of train what lies below good, of test what lies below a label."""
    return {place: _kind(place.folders) for place in places}


def _kind(folders: Sequence[str]) -> Kind:
    match list(folders):
        case ["train", "good", *_]:
            return Kind(GOOD, True, "train")
        case ["test", label, *_]:
            return Kind(label, label == GOOD, "test")
    return Kind(None, None, "validation")  # of no part
