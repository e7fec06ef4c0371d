"""DATA -> the two domains of a translation: two folders, one folder of A|B side by side, or one to be reduced.

    unpaired    folders A and B (or trainA, trainB; train/A, train/B; A/train, B/train), any images
    pairs       the same folders with equal names, but for the ending; or one folder of images with A left, B right
    folder      of super-resolution: any folder of images is B, and A is made from it; or folders LR and HR, equal names

Images in memory: a tuple (A, B), each as `anotwin.data.arrays.from_arrays` takes them; for `folder` B alone will do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from anotwin.data.arrays import from_arrays
from anotwin.data.folder import FileSource, Part
from anotwin.data.groups import with_groups
from anotwin.data.manifest import read_manifest
from anotwin.data.names import same_name
from anotwin.data.pixels import IMAGE_SUFFIXES
from anotwin.data.walk import Walked, walk
from anotwin.errors import DataError, SettingsError
from anotwin.records import Array, ImageItem, ImageSource
from anotwin.settings import Settings
from anotwin.translation.derived import Derived
from anotwin.translation.reduce import Reduced

SHOWN = 3  # names in a note
PARTS: dict[Part, tuple[str, ...]] = {"train": ("train",), "test": ("test", "val")}
_EXPECTED = "expected folders {a} and {b}, or train{a} and train{b}, train/{a} and train/{b} (test likewise)"


@dataclass(frozen=True)
class Domains:
    """The images of both domains before they are read."""

    a: ImageSource
    b: ImageSource
    root: str
    aligned: bool  # item n of a and of b show the same thing
    factor: int = 1  # side of an image of b over that of a
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Halves(Derived):
    """The left or the right halves of the images of another source, as an `ImageSource`."""

    source: ImageSource
    right: bool
    any_shape: bool  # also of images that are not twice as wide as high

    def read(self, index: int) -> Array:
        """Native pixels (H, W / 2); raises DataError naming an image that has no two halves."""
        pixels, name = self.source.read(index), self.items[index].id
        height, width = pixels.shape[:2]
        if width % 2 or (width != 2 * height and not self.any_shape):
            told = f"{name}: {width} x {height} pixels, expected A and B side by side, twice as wide as high"
            other = "" if width % 2 else " (others too: --set translation.side_by_side=true)"
            raise DataError(f"{told}{other}; or give folders A and B")
        return np.ascontiguousarray(pixels[:, width // 2 :] if self.right else pixels[:, : width // 2])


def open_domains(data: Any, part: Part, layout: str, settings: Settings) -> Domains:
    """The images of `data`, a folder or images in memory, as a layout of this module has them.

    Raises:
        DataError: a folder that is missing or empty, no pair at all, or groups that name none.
        SettingsError: no such layout, or groups of images in memory.
    """
    if layout not in OPENERS:
        raise SettingsError(f"layout {layout!r} for a translation: expected {', '.join(OPENERS)}")
    if not isinstance(data, str | Path):
        if settings.data.group is not None:
            raise SettingsError(f"--group {settings.data.group!r}: images in memory have no names")
        found = _in_memory(data, layout, settings)
    else:
        root = Path(data)
        if not root.is_dir():
            raise DataError(f"{root}: no such folder; {_EXPECTED.format(a='A', b='B')}")
        found = OPENERS[layout](root, part, settings)
    return replace(found, a=found.b, b=found.a) if settings.translation.swap and found.factor == 1 else found


def images_below(root: Path, group: str | None = None, below: str = "") -> FileSource:
    """All images below a folder of `root`, sorted; their ids and groups are those of `root`. DataError: there is none.

    `root` may be one image file.
    """
    if root.is_file():
        return FileSource(str(root.parent), (ImageItem(root.name),))
    met, prefix = Walked(), f"{below}/" if below else ""
    names = sorted(prefix + name for name in walk(root / below, IMAGE_SUFFIXES, met))
    notes = met.notes(root / below)
    if not names:
        more = f" ({'; '.join(notes)})" if notes else ""
        raise DataError(f"{root / below}: no image in it or below; expected {', '.join(IMAGE_SUFFIXES)}{more}")
    rows = read_manifest(root) or {}
    items = tuple(ImageItem(name, group=rows[name].group if name in rows else None) for name in names)
    source = FileSource(str(root), items, notes=tuple(notes))
    return with_groups(source, group, must=False) if group is not None else source


def _unpaired(root: Path, part: Part, settings: Settings) -> Domains:
    found = _two_folders(root, part, "A", "B")
    if found is None:
        raise DataError(f"{root}: {_EXPECTED.format(a='A', b='B')}")
    a, b = (images_below(root, settings.data.group, below) for below in found)
    return Domains(a, b, str(root), aligned=False, notes=(*a.notes, *b.notes))


def _pairs(root: Path, part: Part, settings: Settings) -> Domains:
    found = _two_folders(root, part, "A", "B")
    if found is not None:
        return _paired(root, *found, settings)
    both = images_below(root, settings.data.group, _part_below(root, part))
    a, b = (Halves(both, right, settings.translation.side_by_side) for right in (False, True))
    return Domains(a, b, str(root), aligned=True, notes=both.notes)


def _folder(root: Path, part: Part, settings: Settings) -> Domains:
    factor, found = settings.translation.factor, _two_folders(root, part, "LR", "HR", both=False)
    if found is not None and found[0]:
        return replace(_paired(root, *found, settings), factor=factor)
    b = images_below(root, settings.data.group, found[1] if found else _part_below(root, part))
    return Domains(Reduced(b, factor), b, str(root), aligned=True, factor=factor, notes=b.notes)


OPENERS: dict[str, Callable[[Path, Part, Settings], Domains]] = {
    "unpaired": _unpaired,
    "pairs": _pairs,
    "folder": _folder,
}


def _in_memory(data: Any, layout: str, settings: Settings) -> Domains:
    aligned, factor = OPENERS[layout] is not _unpaired, settings.translation.factor
    if isinstance(data, tuple) and len(data) == 2:
        a, b = (from_arrays(each, prefix=name) for each, name in zip(data, "AB", strict=True))
        if aligned and len(a.items) != len(b.items):
            raise DataError(
                f"array: {len(a.items)} images of A and {len(b.items)} of B; expected as many, pair by pair"
            )
        return Domains(a, b, "array", aligned, factor if OPENERS[layout] is _folder else 1)
    if OPENERS[layout] is not _folder:
        raise DataError(
            f"array: got {type(data).__name__}; expected a folder or a tuple (A, B) of images of each domain"
        )
    b = from_arrays(data, prefix="B")
    return Domains(Reduced(b, factor), b, "array", aligned, factor)


def _two_folders(root: Path, part: Part, a: str, b: str, both: bool = True) -> tuple[str, str] | None:
    """The folders of both domains below `root`, without regard to case; `both` False: the first may be missing, "".

    Raises DataError where one is there and its partner is not.
    """
    forms = [form for word in PARTS[part] for form in (f"{word}{{}}", f"{word}/{{}}", f"{{}}/{word}")]
    for form in (*forms, "{}"):
        one, other = (_folder_like(root, form.format(name)) for name in (a, b))
        if one is not None and other is not None:
            return one, other
        if other is not None and not both:
            return "", other
        if one is not None or other is not None:
            missing = form.format(a if one is None else b)
            raise DataError(f"{root}: {one or other} without {missing}; {_EXPECTED.format(a=a, b=b)}")
    return None


def _folder_like(root: Path, name: str) -> str | None:
    """A folder below `root` by its posix path, in any case; None: there is none."""
    found = ""
    for part in name.split("/"):
        try:
            entries = sorted(entry.name for entry in (root / found).iterdir() if entry.is_dir())
        except OSError:
            return None
        like = part if part in entries else next((each for each in entries if same_name(each) == same_name(part)), None)
        if like is None:
            return None
        found = f"{found}/{like}" if found else like
    return found


def _part_below(root: Path, part: Part) -> str:
    """The folder of one part where there is one, "" else."""
    return next((found for word in PARTS[part] if (found := _folder_like(root, word))), "")


def _paired(root: Path, a: str, b: str, settings: Settings) -> Domains:
    """Two folders of equal names."""
    sides = [images_below(root, settings.data.group, below) for below in (a, b)]
    keys = [_keys(side.items, len(below) + 1) for side, below in zip(sides, (a, b), strict=True)]
    common = sorted(key for key in keys[0].keys() & keys[1].keys() if len(keys[0][key]) == len(keys[1][key]) == 1)
    notes = [note for side in sides for note in side.notes]
    taken = [tuple(known[key][0] for key in common) for known in keys]
    for side, items in zip(sides, taken, strict=True):
        left = sorted({item.id for item in side.items} - {item.id for item in items})
        if left:
            some = ", ".join(left[:SHOWN]) + (" ..." if len(left) > SHOWN else "")
            notes.append(f"{root}: {len(left)} images without one partner of the same name left out: {some}")
    if not common:
        raise DataError(
            f"{root}: no name of an image in {a} is also in {b}; partners have equal names but for the ending"
        )
    one, other = (replace(side, items=items) for side, items in zip(sides, taken, strict=True))
    return Domains(one, other, str(root), aligned=True, notes=tuple(notes))


def _keys(items: Sequence[ImageItem], skip: int) -> dict[str, list[ImageItem]]:
    """Items by what partners have in common: the path below their folder without the ending, and without x2 or x4."""
    found: dict[str, list[ImageItem]] = {}
    for item in items:
        stem = item.id[skip:].rpartition(".")[0]
        found.setdefault(same_name(re.sub(r"(?<=\d)x[24]$", "", stem)), []).append(item)
    return found
