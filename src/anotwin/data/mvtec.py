"""The MVTec AD layout (Bergmann et al. 2019): ``train/good``, ``test/<label>``, masks in ``ground_truth/<label>``."""

from __future__ import annotations

from pathlib import Path

from anotwin.data.folder import FileSource, Part, walk
from anotwin.data.manifest import read_manifest
from anotwin.data.pixels import IMAGE_SUFFIXES
from anotwin.errors import DataError
from anotwin.records import ImageItem

GOOD = "good"


def is_mvtec(root: Path) -> bool:
    """Whether a folder has the sub-folders of a category of MVTec AD."""
    return (root / "train" / GOOD).is_dir() and ((root / "test").is_dir() or (root / "ground_truth").is_dir())


def open_mvtec(root: str | Path, part: Part) -> FileSource:
    """One category of MVTec AD or of any set with these folders.

    The mask of ``test/crack/007.png`` is ``ground_truth/crack/007_mask.png`` (any image suffix, or without
    ``_mask``). With ground truth in the set, normal images have an empty mask. A manifest.csv gives the groups.

    Raises:
        DataError: no such folders, or no image in them.
    """
    root = Path(root)
    top = root / "train" / GOOD if part == "train" else root / "test"
    if not top.is_dir():
        raise DataError(f"{top}: no such folder; the mvtec layout has train/good, test/<label>, ground_truth/<label>")
    start = top.relative_to(root).as_posix()
    names = sorted(name for name in walk(top, IMAGE_SUFFIXES) if part == "train" or "/" in name)  # test: below a label
    if not names:
        raise DataError(f"{top}: no image in the folder; expected {'*.png' if part == 'train' else '<label>/*.png'}")
    truth = root / "ground_truth"
    masks = _masks(truth) if part == "test" and truth.is_dir() else {}
    rows = read_manifest(root) or {}
    items = []
    for name in names:
        label = GOOD if part == "train" else name.split("/")[0]
        id = f"{start}/{name}"
        row = rows.get(id)
        mask = masks.get(name.rpartition(".")[0]) if label != GOOD else None
        items.append(ImageItem(id, label, label == GOOD, row.group if row else None, mask))
    return FileSource(str(root), tuple(items), "mvtec", masked=truth.is_dir())


def _masks(truth: Path) -> dict[str, str]:
    """``crack/007`` -> ``ground_truth/crack/007_mask.png``; a file with _mask wins over one without."""
    stems = {name: name.rpartition(".")[0] for name in sorted(walk(truth, IMAGE_SUFFIXES))}
    bare = {stem: name for name, stem in reversed(stems.items()) if not stem.endswith("_mask")}  # the first name wins
    marked = {stem.removesuffix("_mask"): name for name, stem in stems.items() if stem.endswith("_mask")}
    return {stem: f"{truth.name}/{name}" for stem, name in (bare | marked).items()}
