"""Whatever the user names as DATA -> an `ImageSource`. A new layout joins by one entry in `LAYOUTS`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from anotwin.data.arrays import from_arrays
from anotwin.data.folder import FileSource, Part, open_folder
from anotwin.data.idx import find_idx, open_idx
from anotwin.data.mvtec import GOOD, is_mvtec, open_mvtec
from anotwin.data.oct import OctSource, is_oct, open_oct
from anotwin.errors import DataError, SettingsError
from anotwin.records import ImageSource

Opener = Callable[[Path, Part, str | None], ImageSource]


def _open_mvtec(root: Path, part: Part, normal: str | None) -> FileSource:
    if normal not in (None, GOOD):
        raise DataError(f"{root}: the mvtec layout's normal label is 'good', got {normal!r}; or use --layout folder")
    return open_mvtec(root, part)


LAYOUTS: dict[str, Opener] = {"folder": open_folder, "idx": open_idx, "mvtec": _open_mvtec, "oct": open_oct}


def open_source(data: Any, part: Part, layout: str = "auto", normal: str | None = None) -> ImageSource:
    """The images in `data`, which is a path, an array (see `from_arrays`) or an `ImageSource` (returned as it is).

    Args:
        data: a folder, an image file, arrays or tensors, or a source.
        part: "train" or "test": what the images are for.
        layout: a key of `LAYOUTS`, or "auto": mvtec if there is ``train/good`` beside ``test`` or ``ground_truth``,
            idx if there are idx files, oct if there are files that can be nothing else, else folder.
        normal: the label that is normal; None leaves it to the layout.

    Raises:
        DataError: nothing usable there. SettingsError: no such layout.
    """
    if part not in ("train", "test"):
        raise SettingsError(f"part {part!r}: expected 'train' or 'test'")
    if all(hasattr(data, name) for name in ("items", "read", "read_mask", "layout")):
        source: ImageSource = data
        return source
    if not isinstance(data, (str, Path)):
        return from_arrays(data)
    root = Path(data)
    if layout == "auto":
        layout = _guess(root)
    if layout not in LAYOUTS:
        raise SettingsError(f"layout {layout!r}: expected auto, {', '.join(LAYOUTS)}")
    return LAYOUTS[layout](root, part, normal)


def notes_of(source: ImageSource) -> tuple[str, ...]:
    """What a person should know of a source that was opened: what is missing or odd, a sentence each."""
    return source.notes if isinstance(source, OctSource) else ()


def _guess(root: Path) -> str:
    if is_mvtec(root):
        return "mvtec"
    if root.is_dir() and (find_idx(root, "train") or find_idx(root, "test")):
        return "idx"
    return "oct" if is_oct(root) else "folder"
