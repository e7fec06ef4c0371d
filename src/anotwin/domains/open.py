"""Whatever the user names as DATA -> an `ImageSource`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anotwin.data.arrays import from_arrays
from anotwin.data.folder import Part
from anotwin.data.grouping import HOW, NONE
from anotwin.data.groups import with_groups, with_names
from anotwin.data.taken import ROWS, Taken, table_lines
from anotwin.domains.protocol import Layout
from anotwin.domains.registry import layout_of, layouts
from anotwin.errors import SettingsError
from anotwin.records import ImageSource

LINES = ROWS + 2  # of `table_of`
Group = str | Sequence[object] | None  # how images are grouped, see `anotwin.data.grouping`, or the group of each


def open_source(
    data: Any,
    part: Part,
    layout: str = "auto",
    normal: str | None = None,
    *,
    abnormal: str | None = None,
    group: Group = None,
    must: bool = True,
) -> ImageSource:
    """The images in `data`, which is a path, an array (see `from_arrays`) or an `ImageSource` (returned as it is).

    Args:
        data: a folder, an image file, arrays or tensors, or a source.
        part: "train" or "test": what the images are for.
        layout: the name of a layout, or "auto": the first that recognises `data`, else "folder".
        normal: the label that is normal, or patterns (`anotwin.data.sorting.Chosen`); None leaves it to the layout.
        abnormal: patterns of what is abnormal.
        group: which images belong together, see `anotwin.data.grouping`; for images in memory the group of each.
        must: refuse a `group` that names none here, instead of saying so: it was asked for, not that of another set.

    Raises:
        DataError: nothing usable there, or no such groups. SettingsError: no such layout, or groups that cannot be.
    """
    if part not in ("train", "test"):
        raise SettingsError(f"part {part!r}: expected 'train' or 'test'")
    if all(hasattr(data, name) for name in ("items", "read", "read_mask", "layout")):
        source: ImageSource = data
        return _grouped(source, group if must else None, must)
    if not isinstance(data, (str, os.PathLike)):
        return _grouped(from_arrays(data), group, must)
    root = Path(data)
    chosen = layout_of(guess_layout(root) if layout == "auto" else layout)
    if group is not None and not isinstance(group, str):
        raise SettingsError(f"{root}: a list of groups is for images in memory; expected {HOW}")
    if group is not None and not chosen.named and must and group != NONE:
        raise SettingsError(f"{root}: --group {group!r}: the images of the layout {chosen.name} have no names of files")
    source = _open(chosen, root, part, normal, abnormal)
    folder, how = root if root.is_dir() else None, group if chosen.named else None
    return with_groups(source, how, folder, must=must, one_is_enough=part == "test", known=chosen.columns)


def _open(layout: Layout, root: Path, part: Part, normal: str | None, abnormal: str | None) -> ImageSource:
    if abnormal is None:
        return layout.open(root, part, normal)
    if layout.open_sorted is None:
        raise SettingsError(
            f"{root}: --abnormal {abnormal!r}: the layout {layout.name} knows itself what is abnormal; leave it out "
            "or use --layout folder"
        )
    return layout.open_sorted(root, part, normal, abnormal)


def _grouped(source: ImageSource, group: Group, must: bool) -> ImageSource:
    """Images in memory in the groups that a list names or, where they are files, their names."""
    if group is None:
        return source
    if not isinstance(group, str):
        return with_names(source, group)
    if any(isinstance(image, Path) for image in getattr(source, "images", ())):
        return with_groups(source, group, must=must)
    if must and group != NONE:
        raise SettingsError(f"{source.root}: --group {group!r}: images in memory have no names; give a list of groups")
    return source


def guess_layout(root: Path) -> str:
    """The first layout that recognises `root`, else "folder"."""
    return next((layout.name for layout in layouts().values() if layout.recognises(root)), "folder")


def notes_of(source: ImageSource) -> tuple[str, ...]:
    """What a person should know of a source that was opened: what is missing or odd, a sentence each."""
    return tuple(getattr(source, "notes", ()))


def table_of(source: ImageSource) -> list[str]:
    """The folders of a source, and what their images count as, in lines for a terminal; at most `LINES` of them."""
    return table_lines(taken_of(source))


def taken_of(source: ImageSource) -> tuple[Taken, ...]:
    """The rows of `table_of`."""
    return tuple(getattr(source, "taken", ()))
