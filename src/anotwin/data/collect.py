"""The images of one part of a folder, with label, normality and masks; what was left out, and a table of all."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from anotwin.data.manifest import Row, read_manifest
from anotwin.data.masks import read_mask
from anotwin.data.pairing import Pairs, pair_masks
from anotwin.data.pixels import IMAGE_SUFFIXES
from anotwin.data.sorting import SAY, Chosen, Kind, Place, Sorter, choose, count_labels, named_bad, sort_places
from anotwin.data.taken import Taken, folders_taken
from anotwin.data.visa import read_visa
from anotwin.data.walk import Walked, walk
from anotwin.data.words import is_depth, meaning
from anotwin.errors import DataError
from anotwin.records import ImageItem

_LEFT_OUT = "left out"
_NOTHING = Chosen()


@dataclass(frozen=True)
class Found:
    """The images of one part."""

    items: tuple[ImageItem, ...]  # sorted by id
    notes: tuple[str, ...] = ()
    taken: tuple[Taken, ...] = ()  # all folders
    masks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # of each image that has any
    unused_masks: tuple[str, ...] = ()
    masked: bool = False  # the set has masks


@dataclass(frozen=True)
class _Image:
    """One image while it is decided what it counts as."""

    name: str
    kind: Kind
    row: Row | None
    masks: tuple[str, ...] = ()

    @property
    def item(self) -> ImageItem:
        group = self.row.group if self.row else None
        return ImageItem(self.name, self.kind.label, self.kind.normal, group, self.masks[0] if self.masks else None)


def collect(
    root: Path,
    part: Literal["train", "test"],
    suffixes: tuple[str, ...],
    chosen: Chosen = _NOTHING,
    sort: Sorter = sort_places,
    named: bool = True,
) -> Found:
    """The images below `root` for one part.

    Args:
        root: a folder.
        part: what the images are for; for "train" none is taken that is known to be abnormal.
        suffixes: of the files wanted.
        chosen: patterns that say what is normal.
        sort: what a folder means.
        named: with a manifest only the images are taken that it names, with its labels and splits; else all.

    Raises:
        DataError: no image, a pattern that fits nothing, or folders of which training cannot know what they hold.
    """
    met, table = Walked(), Counter[tuple[str, str]]()
    names = sorted(walk(root, suffixes, met))
    rows = read_manifest(root)
    rows = read_visa(root) if rows is None else rows
    pairs = _pairs(root, names, rows or {})
    images = _images(root, pairs, rows or {}, chosen, sort, named and rows is not None, table)
    here, elsewhere = _of_part(images, part)
    _count(table, elsewhere, f"{_LEFT_OUT}: not in the part for {part}ing")
    _count_masks(table, pairs)
    notes = [*_mask_notes(root, pairs), *met.notes(root)]
    if not here:
        more = f" ({'; '.join(notes)})" if notes else ""
        looked = f"looked for {', '.join(suffixes)}, not hidden{more}"
        raise DataError(f"{root}: no image for {part} there or below; {looked}")
    decided = _by_masks(root, here, pairs.any, notes)
    if part == "train":
        decided = _to_train(root, decided, chosen, table, notes)
    else:
        _count_known(table, decided)
    masks = {image.name: image.masks for image in decided if image.masks}
    items = tuple(image.item for image in decided)
    return Found(items, tuple(notes), folders_taken(table), masks, pairs.unused, pairs.any or bool(masks))


def _count_masks(table: Counter[tuple[str, str]], pairs: Pairs) -> None:
    for name in {name for each in pairs.masks.values() for name in each}:
        table[_folder(name), "mask"] += 1
    for name in pairs.unused:
        table[_folder(name), f"{_LEFT_OUT}: for masks, but of no image"] += 1


def _pairs(root: Path, names: Sequence[str], rows: Mapping[str, Row]) -> Pairs:
    """Masks and images; what a manifest labels or splits is an image whatever its name."""
    folders = {_folder(name) for name in names}
    beside = {_folder(folder) for folder in folders if folder.rpartition("/")[2].casefold() == "rgb"}
    names = [name for name in names if not (beside and _is_depth(name, beside))]
    pictures = [name for name in names if name.lower().endswith(IMAGE_SUFFIXES)]
    sure = [name for name, row in rows.items() if row.label or row.split]

    def rank(name: str) -> int:
        """0 for an image that may be abnormal, to which a mask belongs sooner."""
        row = rows.get(name)
        said = [row.label] if row and row.label else name.split("/")[:-1]
        sorts = [sort for each in said if (sort := meaning(each).sort) in ("normal", "abnormal")]
        return int(sorts[-1:] == ["normal"])

    pairs = pair_masks(root, pictures, sure, rank)
    others = set(names) - set(pictures)
    return replace(pairs, images=tuple(sorted({*pairs.images, *others})))


def _images(
    root: Path,
    pairs: Pairs,
    rows: Mapping[str, Row],
    chosen: Chosen,
    sort: Sorter,
    named: bool,
    table: Counter[tuple[str, str]],
) -> list[_Image]:
    """All images of the set, in all parts; if `named`, those of the rows, by their labels and splits."""
    no_images = {*pairs.unused, *(name for each in pairs.masks.values() for name in each)}
    names = sorted(name for name in rows if name not in no_images) if named else pairs.images
    for name in set(pairs.images) - set(names):
        table[_folder(name), f"{_LEFT_OUT}: not in the manifest"] += 1
    inside: dict[Place, list[str]] = defaultdict(list)
    for name in names:
        row = rows.get(name) if named else None
        inside[Place(_folder(name), row.label if row else None, row.split if row else None)].append(name)
    kinds, single = choose(root, sort(list(inside)), chosen, inside)
    found = []
    for place, each in inside.items():
        for name in each:
            row = rows.get(name)
            mask = row.more.get("mask") if row else None
            masks = (mask,) if mask else pairs.masks.get(name, ())
            found.append(_Image(name, single.get(name, kinds[place]), row, masks))
    return sorted(found, key=lambda image: image.name)


def _of_part(images: Sequence[_Image], part: str) -> tuple[list[_Image], list[_Image]]:
    """The images for a part, and the others. Validation is neither, unless there is no test."""
    splits = {image.kind.split for image in images}
    by_rows = any(image.row and image.row.split for image in images)
    wanted: set[str | None] = set(splits)
    if part == "train":
        wanted = {"train"} if "train" in splits or by_rows else {None} if None in splits else wanted
    elif "test" in splits or by_rows:
        wanted = {"test"} if "test" in splits or "validation" not in splits else {"validation"}
    elif {"train", "validation"} <= splits:
        wanted = {"validation"}
    return [each for each in images if each.kind.split in wanted], [
        each for each in images if each.kind.split not in wanted
    ]


def _by_masks(root: Path, images: Sequence[_Image], masked: bool, notes: list[str]) -> list[_Image]:
    """What is not known by folders is abnormal where a mask marks something, normal where none does."""
    found, unreadable, without = [], [], 0
    known = any(image.kind.normal is not None for image in images)
    for image in images:
        kind = image.kind
        if kind.normal is None and not kind.unclear and masked:
            if image.masks:
                try:
                    kind = replace(kind, normal=not any(read_mask(root / name).any() for name in image.masks))
                except DataError as error:
                    unreadable.append(str(error))
            elif not known:
                kind, without = replace(kind, normal=True), without + 1
        found.append(replace(image, kind=kind))
    if unreadable:
        notes.append(
            f"{len(unreadable)} masks cannot be read, so that nothing is known of their images: {unreadable[0]}"
        )
    if without and any(image.masks for image in images):
        notes.append(f"{root}: {without} of {len(images)} images have no mask: taken as normal, as others have one")
    return found


def _to_train(
    root: Path,
    images: Sequence[_Image],
    chosen: Chosen,
    table: Counter[tuple[str, str]],
    notes: list[str],
) -> list[_Image]:
    """The images to learn from; raises DataError where it is not known which these are."""
    marked = [image for image in images if image.kind.normal and image.masks and _marks(root, image)]
    if marked:
        _count(table, marked, f"{_LEFT_OUT}: a mask marks it as abnormal")
        folders = count_labels(_folder(image.name) or "." for image in marked)
        notes.append(
            f"{root}: {len(marked)} images that a mask marks left out, though their folder is normal: {folders}"
        )
    left = {image.name for image in marked}
    normal = [image for image in images if image.kind.normal and image.name not in left]
    unknown = [image for image in images if image.kind.normal is None]
    abnormal = [image for image in images if image.kind.normal is False]
    _count(table, abnormal, f"abnormal, {_LEFT_OUT}")
    _count(table, normal, "normal")
    if normal or (marked and not unknown):
        _count(table, unknown, f"{_LEFT_OUT}: not known to be normal")
        if unknown:
            folders = count_labels(_folder(image.name) or "." for image in unknown)
            notes.append(f"{root}: {len(unknown)} images left out, not known to be normal: {folders}; {SAY}")
    else:
        _refuse(root, unknown, abnormal, chosen)
        _count(table, unknown, "normal, as nothing says otherwise")
        if unknown and any(image.kind.label for image in unknown):
            labels = count_labels(image.kind.label for image in unknown if image.kind.label)
            notes.append(
                f"{root}: no name says which folders are normal: all are taken as normal: {labels}; else {SAY}"
            )
        normal = unknown
    if not normal:
        labels = count_labels(image.kind.label for image in images if image.kind.label is not None)
        told = f"{len(abnormal) + len(marked)} of {len(images)} images are abnormal"
        raise DataError(f"{root}: no normal image to train on; {told}; found {labels}; {SAY}")
    return normal


def _refuse(root: Path, unknown: Sequence[_Image], abnormal: Sequence[_Image], chosen: Chosen) -> None:
    """Raise where images of which nothing is known lie beside abnormal ones, or may be abnormal themselves."""
    if not unknown:
        return
    where = count_labels(_folder(image.name) or "." for image in unknown)
    if abnormal:
        bad = count_labels(_folder(image.name) or "." for image in abnormal)
        raise DataError(f"{root}: which images are normal? {bad} count as abnormal, of {where} nothing is known; {SAY}")
    unclear = [image for image in unknown if image.kind.unclear]
    if unclear:
        raise DataError(f"{root}: which images are normal? The names of {where} do not say; {SAY}")
    named = [] if chosen.given else [image.name for image in unknown if named_bad(image.name)]
    if named:
        raise DataError(
            f"{root}: which images are normal? {len(named)} of {len(unknown)} are abnormal by their own names, the "
            f"first is {named[0]!r}; patterns fit names of files too: {SAY}"
        )


def _marks(root: Path, image: _Image) -> bool:
    """Whether a mask of an image marks something; one that cannot be read may."""
    try:
        return any(read_mask(root / name).any() for name in image.masks)
    except DataError:
        return True


def _mask_notes(root: Path, pairs: Pairs) -> list[str]:
    notes = []
    if pairs.beside:
        first = pairs.beside[0]
        notes.append(f"{root}: {len(pairs.beside)} files are masks of the images beside them, no images: {first}")
    if pairs.unused:
        count, first = len(pairs.unused), pairs.unused[0]
        notes.append(f"{root}: {count} files for masks fit no image, or several, and are not used (the first: {first})")
    return notes


def _count(table: Counter[tuple[str, str]], images: Sequence[_Image], counts_as: str) -> None:
    table.update((_folder(image.name), counts_as) for image in images)


def _count_known(table: Counter[tuple[str, str]], images: Sequence[_Image]) -> None:
    names = {True: "normal", False: "abnormal", None: "not known"}
    table.update((_folder(image.name), names[image.kind.normal]) for image in images)


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _is_depth(name: str, beside: set[str]) -> bool:
    """Whether a file lies in a folder of another sensor beside one named rgb."""
    folder = _folder(name)
    while folder:
        if _folder(folder) in beside and is_depth(folder.rpartition("/")[2]):
            return True
        folder = _folder(folder)
    return False
