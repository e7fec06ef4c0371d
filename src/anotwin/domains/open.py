"""Whatever the user names as DATA -> an `ImageSource`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from anotwin.data.arrays import from_arrays
from anotwin.data.folder import Part
from anotwin.domains.registry import layout_of, layouts
from anotwin.errors import SettingsError
from anotwin.records import ImageSource


def open_source(data: Any, part: Part, layout: str = "auto", normal: str | None = None) -> ImageSource:
    """The images in `data`, which is a path, an array (see `from_arrays`) or an `ImageSource` (returned as it is).

    Args:
        data: a folder, an image file, arrays or tensors, or a source.
        part: "train" or "test": what the images are for.
        layout: the name of a layout, or "auto": the first that recognises `data`, else "folder".
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
    return layout_of(guess_layout(root) if layout == "auto" else layout).open(root, part, normal)


def guess_layout(root: Path) -> str:
    """The first layout that recognises `root`, else "folder"."""
    return next((layout.name for layout in layouts().values() if layout.recognises(root)), "folder")


def notes_of(source: ImageSource) -> tuple[str, ...]:
    """What a person should know of a source that was opened: what is missing or odd, a sentence each."""
    return tuple(getattr(source, "notes", ()))
