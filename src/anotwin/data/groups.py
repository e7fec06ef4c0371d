"""Which images belong together - a patient, a part, a clip - : `ImageItem.group`, and what is said of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import is_dataclass, replace
from pathlib import Path
from statistics import median_low
from typing import Any, TypeVar

from anotwin.data.columns import MORE, units_of
from anotwin.data.grouping import HOW, NONE, namer
from anotwin.data.manifest import NAME, Manifest, open_manifest
from anotwin.data.names import same_name
from anotwin.errors import DataError, SettingsError
from anotwin.records import ImageItem, ImageSource
from anotwin.updates import Passing

S = TypeVar("S", bound=ImageSource)
SHOWN = 3  # groups in a preview, and files of each


def with_groups(
    source: S,
    how: str | None = None,
    folder: Path | None = None,
    *,
    must: bool = False,
    one_is_enough: bool = True,
    known: Collection[str] = (),
) -> S:
    """The same source with the groups that `how` names, and notes on groups and on its manifest.

    Args:
        source: of files; a layout has given its items the groups that it knows of.
        how: see `anotwin.data.grouping`; None: those of the layout, which are the manifest's where it has some.
        folder: where a manifest.csv may lie.
        must: refuse what names no group here, instead of saying so.
        one_is_enough: whether all images may be one group.
        known: columns of a manifest that the layout uses, beside file, label, split and group.

    Raises:
        DataError: `how` cannot be understood, or names no group, or one alone.
        SettingsError: a source whose items cannot be changed.
    """
    if not is_dataclass(source):
        if how is not None:
            raise SettingsError(f"{source.root}: --group {how!r}: this source names its groups itself")
        return source
    manifest = open_manifest(folder) if folder is not None and folder.is_dir() else None
    notes = list(_manifest_notes(manifest, source, how, known)) if manifest else []
    groups = [item.group for item in source.items]
    by = f"by column {manifest.columns[manifest.unit]!r} of {NAME}" if manifest and manifest.unit else ""
    if how is not None:
        try:
            groups, by = _named(source, how, manifest, one_is_enough)
        except DataError as error:
            if must:
                raise
            if len(source.items) > 1:
                notes.append(f"{error}; here the groups of training are not known")
        else:
            notes += _unmatched(source.items, groups, how)
    items = _one_spelling(source.items, groups)
    told = _preview(source, items, by)
    changes: dict[str, Any] = {} if items == source.items else {"items": items}
    if hasattr(source, "positional") and how is not None and by:
        changes["positional"] = frozenset()
    if hasattr(source, "notes"):
        changes["notes"] = (*source.notes, *notes, *told)
    return replace(source, **changes) if changes else source


def with_names(source: S, groups: Sequence[object]) -> S:
    """The same source of images in memory with the group of each, None for one of its own; raises DataError."""
    names = [None if group is None else str(group) for group in groups]
    if len(names) != len(source.items):
        raise DataError(f"{source.root}: {len(names)} groups for {len(source.items)} images, expected one per image")
    if not is_dataclass(source):
        raise SettingsError(f"{source.root}: groups for a source that names its groups itself")
    return replace(source, items=_one_spelling(source.items, names))


def _named(source: ImageSource, how: str, manifest: Manifest | None, one: bool) -> tuple[list[str | None], str]:
    """The group of each image by `how`, and `how` in words."""
    name, by = namer(how, source.root, manifest)
    files = files_of(source)
    groups = [name(file, item) for file, item in zip(files, source.items, strict=True)]
    if by == NONE:
        return groups, ""
    found = {same_name(group) for group in groups if group is not None}
    some = ", ".join(files[:SHOWN])
    if not found:
        raise DataError(
            f"{source.root}: --group {how!r} names no group for any of {len(groups)} images ({some}); expected {HOW}"
        )
    if len(found) == 1 and None not in groups and not one and len(groups) > 1:
        raise DataError(
            f"{source.root}: --group {how!r} makes one single group {groups[0]!r} of all {len(groups)} images "
            f"({some}); expected {HOW}"
        )
    several = Counter(files)  # slices of one file belong together, whatever a pattern says
    return [group or (file if several[file] > 1 else None) for group, file in zip(groups, files, strict=True)], by


def files_of(source: ImageSource) -> list[str]:
    """The file of each item, as a posix path below the root."""
    places = getattr(source, "places", None)
    return [place[0] for place in places] if places is not None else [item.id for item in source.items]


def _one_spelling(items: Sequence[ImageItem], groups: Sequence[str | None]) -> tuple[ImageItem, ...]:
    """Items with their groups; of names that differ in case, spaces or Unicode form alone the first in order counts."""
    spelling: dict[str, str] = {}
    for group in sorted({group for group in groups if group is not None}):
        spelling.setdefault(same_name(group), group)
    wanted = [None if group is None else spelling[same_name(group)] for group in groups]
    return tuple(
        item if item.group == group else replace(item, group=group) for item, group in zip(items, wanted, strict=True)
    )


def _preview(source: ImageSource, items: Sequence[ImageItem], by: str) -> list[str]:
    """One note that shows what was taken for a group; not to be stored, because it may name patients."""
    members: dict[str, list[str]] = defaultdict(list)
    for item, file in zip(items, files_of(source), strict=True):
        if item.group is not None:
            members[item.group].append(file)
    if not members or len(items) < 2:
        return []
    sizes = sorted(map(len, members.values()))
    size = f"{sizes[0]} to {sizes[-1]}, median {median_low(sizes)}" if sizes[0] < sizes[-1] else str(sizes[0])
    some = ", ".join(f"{name} ({_some(files)})" for name, files in list(members.items())[:SHOWN])
    count, kind = f"{len(members)} group{'s' if len(members) > 1 else ''}", f" {by}" if by else ""
    return [Passing(f"{count}{kind}, images in each: {size}; for example {some}")]


def _some(files: Sequence[str]) -> str:
    names = list(dict.fromkeys(files))
    return ", ".join(names[:2]) + (" ..." if len(names) > 2 else "")


def _unmatched(items: Sequence[ImageItem], groups: Sequence[str | None], how: str) -> list[str]:
    missing = [item.id for item, group in zip(items, groups, strict=True) if group is None]
    if not missing or how.strip().casefold() == NONE:
        return []
    some = ", ".join(missing[:SHOWN]) + (" ..." if len(missing) > SHOWN else "")
    return [
        f"--group {how!r} names no group for {len(missing)} of {len(groups)} images ({some}): each counts by itself"
    ]


def _manifest_notes(
    manifest: Manifest, source: ImageSource, how: str | None, known: Collection[str]
) -> tuple[str, ...]:
    """What a manifest does not say, and which of its columns are not used."""
    notes = [*manifest.notes]
    unit = manifest.unit if how is None else None
    if unit is not None and (empty := sum(row.group is None for row in manifest.rows.values())):
        header = manifest.columns[unit]
        count = f"{empty} of {len(manifest.rows)} images"
        notes.append(f"{source.root}/{NAME}: no {header} is known for {count}: each of these counts by itself")
    taken = {*manifest.used, *(header for name in known for header in MORE[name])}
    rest = {name: header for name, header in manifest.columns.items() if name not in taken}
    groups = [rest[name] for name in units_of(rest)]
    if rest and how is None:
        hint = f"; {', '.join(groups)} may name groups too, --group takes one" if groups else ""
        hint = hint if groups or unit else "; if one says which images belong together, name it with --group"
        notes.append(f"{source.root}/{NAME}: not used: {', '.join(map(repr, rest.values()))}{hint}")
    return tuple(notes)
