"""``--group``: a column of the manifest, the parent folder, or a pattern on names -> the name of each file's group."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from pathlib import PurePosixPath

from anotwin.data.columns import plain
from anotwin.data.manifest import NAME, Manifest
from anotwin.data.words import meaning
from anotwin.errors import DataError
from anotwin.records import ImageItem

NONE, FOLDER = "none", "folder"
HOW = "a column of manifest.csv, 'folder' for the parent folder, a pattern such as '{}_*.png' or '*/{}/*', or 'none'"

Namer = Callable[[str, ImageItem], str | None]  # a file (posix, below DATA) and its item -> the name of its group


def namer(how: str, root: str, manifest: Manifest | None) -> tuple[Namer, str]:
    """The function that names groups, and how it does so in words; raises DataError for what cannot be understood."""
    if "{}" in how:
        expression, on_path = _expression(how), "/" in how
        return lambda file, _: _by_pattern(expression, file if on_path else PurePosixPath(file).name), f"by {how}"
    column = plain(how)
    if manifest is not None and column in manifest.columns:
        rows = manifest.rows
        header = manifest.columns[column]
        return lambda file, _: rows[file].cell(column) if file in rows else None, f"by column {header!r} of {NAME}"
    if how.strip().casefold() == NONE:
        return lambda _file, _item: None, "none"
    if how.strip().casefold() == FOLDER:
        return _by_folder, "by the parent folder"
    headers = ", ".join(map(repr, manifest.columns.values())) if manifest else f"there is no {NAME}"
    raise DataError(f"{root}: --group {how!r}: no such column ({headers}); expected {HOW}")


def _by_folder(file: str, item: ImageItem) -> str | None:
    """The folders above a file but for those that mean a part, a label or "images": ``test/good/p1/a.png`` is in p1."""
    names = [name for name in PurePosixPath(file).parts[:-1] if not _is_class(name, item)]
    return "/".join(names) or None


def _is_class(name: str, item: ImageItem) -> bool:
    said = meaning(name)
    if not any(char.isdigit() for char in name) and (said.split or said.container or said.sort):
        return True  # but not of Train007, the clip
    return name == item.label and item.normal is not None


def _by_pattern(expression: re.Pattern[str], text: str) -> str | None:
    found = expression.fullmatch(unicodedata.normalize("NFC", text))
    return "/".join(found.groups()) if found else None


def _expression(pattern: str) -> re.Pattern[str]:
    """``*`` and ``{}`` take as little as they can and no ``/``, ``?`` is one character, ``**/`` any folders.

    Each takes its first chance for good (atomic groups): a name of many underscores costs no time.
    """
    parts = unicodedata.normalize("NFC", pattern).strip("/").split("/")
    text = "".join(
        "(?:[^/]+/)*?" if part == "**" and number < len(parts) - 1 else _component(part) + "/"
        for number, part in enumerate(parts)
    )
    return re.compile(text.removesuffix("/"), re.IGNORECASE)


def _component(part: str) -> str:
    pieces = re.split(r"(\*+|\{\})", part)  # literal, wildcard, literal, ...
    found = _literal(pieces[0])
    for number in range(1, len(pieces), 2):
        wildcard = "([^/]+?)" if pieces[number] == "{}" else "[^/]*?"
        step = wildcard + _literal(pieces[number + 1])
        last = number == len(pieces) - 2
        found += step if last or not pieces[number + 1] else f"(?>{step})"
    return found


def _literal(text: str) -> str:
    return "".join("[^/]" if char == "?" else re.escape(char) for char in text)
