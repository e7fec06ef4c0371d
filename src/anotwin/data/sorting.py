"""Which images are normal, by their folders, by a manifest, or by the patterns of ``--normal`` and ``--abnormal``.

The deepest folder with a known word decides (`anotwin.data.words`). A folder that says nothing and lies beside one of
good images is a kind of defect. What is in no such folder is not known.
"""

from __future__ import annotations

import fnmatch
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from anotwin.data.words import Sort, Split, meaning, plain, words_of
from anotwin.errors import DataError

OF_FILES = {"broken", "damaged", "invalid", "error", "errors", "sick"}  # in a file's name: of the file, or of a person
SAY = "say which with --normal PATTERN and --abnormal PATTERN ('line*/good'), or by a column label in manifest.csv"


class Place(NamedTuple):
    """Where an image lies: images of one place are of one kind."""

    folder: str  # posix, below DATA; "" for DATA itself
    label: str | None = None  # what a manifest says, which counts more than folders
    split: str | None = None  # likewise

    @property
    def folders(self) -> tuple[str, ...]:
        """The names of the folders, from DATA on."""
        return tuple(self.folder.split("/")) if self.folder else ()


@dataclass(frozen=True)
class Kind:
    """What the images of a place are."""

    label: str | None
    normal: bool | None  # None: not known
    split: Split | None = None
    unclear: bool = False  # a name says that it is not known, or two things at once


Sorter = Callable[[Sequence[Place]], dict[Place, Kind]]


@dataclass(frozen=True)
class Chosen:
    """The patterns that say which images are normal and abnormal, several of them on lines of their own.

    A pattern is matched against a label or any folders in a row: ``good``, ``*ok*``, ``line*/good``; a name that is
    there exactly is meant before its pattern. One that fits no folder is tried on the names of the files.
    """

    normal: str | None = None
    abnormal: str | None = None

    @property
    def given(self) -> bool:
        """Whether there is a pattern at all."""
        return bool(self.normal or self.abnormal)


def sort_places(places: Sequence[Place]) -> dict[Place, Kind]:
    """The kind of each place by the words in its folders or its label.

    >>> kinds = sort_places([Place("line1/good"), Place("line1/dents"), Place("line1/x"), Place("line2")])
    >>> [(kind.label, kind.normal) for kind in kinds.values()]
    [('good', True), ('dents', False), ('x', False), ('line2', None)]
    """
    splits = {place: _split(place) for place in places}
    if not {"train", "test"} & {split for split, _ in splits.values()}:  # "valid" is then no word for a part
        splits = {place: (None, place.folders) for place in places}
    said: dict[Place, tuple[tuple[str, ...], list[tuple[int, Sort]]]] = {}
    for place, (_, folders) in splits.items():
        names = (place.label,) if place.label is not None else folders
        sorts = [(depth, sort) for depth, name in enumerate(names) if (sort := meaning(name).sort)]
        said[place] = names, sorts
    good = {_above(names, depth) for names, sorts in said.values() if (depth := _deepest(sorts, "normal")) is not None}
    unclear = _pairs(names for names, sorts in said.values() if not sorts)
    return {place: _kind(names, sorts, good, unclear, splits[place][0]) for place, (names, sorts) in said.items()}


def choose(
    root: Path, kinds: dict[Place, Kind], chosen: Chosen, names: dict[Place, list[str]]
) -> tuple[dict[Place, Kind], dict[str, Kind]]:
    """The kinds of places, and of single images, after the patterns of `chosen`; raises DataError.

    Without a pattern for normal, what is not known is normal, as the others are named; without one for abnormal, what
    is in another folder is abnormal.
    """
    if not chosen.given:
        return kinds, {}
    normal, abnormal = (_Patterns(root, text, kinds, names) for text in (chosen.normal, chosen.abnormal))
    found: dict[Place, Kind] = {}
    single: dict[str, Kind] = {}
    for place, kind in kinds.items():
        depths = normal.depth(place), abnormal.depth(place)
        if depths[0] is not None and depths[0] == depths[1]:
            raise DataError(f"{root}: {place.folder or place.label!r} fits --normal and --abnormal; change one of them")
        found[place] = _chosen_kind(place, kind, depths, chosen)
        for name in names[place] if normal.of_files or abnormal.of_files else ():
            fits = normal.names_file(name), abnormal.names_file(name)
            if all(fits):
                raise DataError(f"{root}: the file {name!r} fits --normal and --abnormal; change one of them")
            if any(fits):
                single[name] = replace(found[place], normal=fits[0], unclear=False)
            elif normal.of_files and chosen.abnormal is None and depths[0] is None:
                single[name] = replace(found[place], normal=False, unclear=False)
    return found, single


def named_bad(name: str) -> bool:
    """Whether a file's own name says that its image is abnormal: ``NG_0001``, ``img12-defect``; not ``broken.png``."""
    stem = name.rpartition("/")[2].rpartition(".")[0]
    return meaning(stem).sort == "abnormal" and OF_FILES.isdisjoint(words_of(stem))


def count_labels(counts: Iterable[str]) -> str:
    """Labels with their counts for a message, at most 10: ``"good" (12), "crack" (3)``; takes a Counter or labels."""
    most = (counts if isinstance(counts, Counter) else Counter(counts)).most_common()
    if not most:
        return "no labels (no sub-folders)"
    text = ", ".join(f"{label!r} ({count})" for label, count in most[:10])
    return text if len(most) <= 10 else f"{text} and {len(most) - 10} more"


def _split(place: Place) -> tuple[Split | None, tuple[str, ...]]:
    """The part that a place belongs to, and its folders without the one that says it."""
    folders = place.folders
    for depth, name in enumerate(folders):
        said = meaning(name)
        if said.split is not None:
            rest = folders if said.sort else folders[:depth] + folders[depth + 1 :]
            return _manifest_split(place) or said.split, rest
    return _manifest_split(place), folders


def _manifest_split(place: Place) -> Split | None:
    return meaning(place.split).split if place.split else None


def _kind(
    names: tuple[str, ...],
    sorts: list[tuple[int, Sort]],
    good: set[tuple[str, ...]],
    unclear: set[tuple[str, ...]],
    split: Split | None,
) -> Kind:
    known = [(depth, sort) for depth, sort in sorts if sort != "unclear"]
    if known:
        depth, sort = known[-1]
        return Kind(names[depth], sort == "normal", split)
    if sorts:
        return Kind(names[sorts[0][0]], None, split, unclear=True)
    for depth, name in enumerate(names):
        if _above(names, depth) in good and not meaning(name).container:
            return Kind(name, False, split)
    label = next((name for name in names if not meaning(name).container), names[0] if names else None)
    return Kind(label, None, split, any(_above(names, depth) in unclear for depth in range(1, len(names) + 1)))


def _above(names: Sequence[str], depth: int) -> tuple[str, ...]:
    return tuple(plain(name) for name in names[:depth])


def _deepest(sorts: list[tuple[int, Sort]], wanted: Sort) -> int | None:
    known = [(depth, sort) for depth, sort in sorts if sort != "unclear"]
    return known[-1][0] if known and known[-1][1] == wanted else None


def _pairs(folders: Iterable[tuple[str, ...]]) -> set[tuple[str, ...]]:
    """Folders that are each other's opposite, of which nobody knows which is good: 0 and 1, tumour and no_tumour."""
    beside: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for names in folders:
        for depth, name in enumerate(names):
            beside[_above(names, depth)].add(plain(name))
    found: set[tuple[str, ...]] = set()
    for above, names_here in beside.items():
        if names_here == {"0", "1"}:
            found |= {(*above, "0"), (*above, "1")}
        for name in names_here:
            words = words_of(name)
            if len(words) > 1 and words[0] in ("no", "not", "non", "without"):
                others = [other for other in names_here if words_of(other) in (words[1:], ["with", *words[1:]])]
                found |= {(*above, each) for each in [*others, name] if others}
    return found


def _chosen_kind(place: Place, kind: Kind, depths: tuple[int | None, int | None], chosen: Chosen) -> Kind:
    """The kind of a place that patterns fit at these depths; a deeper word for bad counts more than `--normal`."""
    names = (place.label,) if place.label is not None else place.folders
    normal, abnormal = depths
    if normal is not None and (abnormal is None or normal > abnormal):
        deeper = [meaning(name).sort for name in names[normal + 1 :]]
        bad = next((sort for sort in reversed(deeper) if sort in ("normal", "abnormal")), None) == "abnormal"
        return replace(kind, label=kind.label if bad else names[normal], normal=not bad, unclear=False)
    if abnormal is not None:
        return replace(kind, label=names[abnormal], normal=False, unclear=False)
    if chosen.normal is not None:
        other = kind.label is not None and chosen.abnormal is None
        return replace(kind, normal=False if other else None, unclear=False)
    return replace(kind, normal=True if kind.normal is None else kind.normal, unclear=False)


class _Patterns:
    """The patterns of one option on the places of a set."""

    def __init__(self, root: Path, text: str | None, kinds: dict[Place, Kind], names: dict[Place, list[str]]) -> None:
        self._depths: dict[Place, int] = {}
        self.of_files: list[re.Pattern[str]] = []
        for pattern in (text or "").split("\n") if text else ():
            fits = _fitting(pattern, kinds)
            for place, depth in fits.items():
                self._depths[place] = max(depth, self._depths.get(place, -1))
            files = None if fits else _glob(pattern)
            if files is not None:
                if not any(_fits_file(files, name) for inside in names.values() for name in inside):
                    counts = Counter({kind.label: 0 for kind in kinds.values() if kind.label is not None})
                    for place, kind in kinds.items():
                        if kind.label is not None:
                            counts[kind.label] += len(names[place])
                    raise DataError(f"{root}: no label {pattern!r}; found {count_labels(counts)}")
                self.of_files.append(files)

    def depth(self, place: Place) -> int | None:
        """The depth of the deepest folder that a pattern fits."""
        return self._depths.get(place)

    def names_file(self, name: str) -> bool:
        """Whether a pattern for files fits this one."""
        return any(_fits_file(pattern, name) for pattern in self.of_files)


def _fitting(pattern: str, kinds: Iterable[Place]) -> dict[Place, int]:
    """The places that a pattern fits, with the depth at which it ends."""
    places = list(kinds)
    parts = [part for part in pattern.split("/") if part] or [pattern]
    for same in (_exactly, _as_glob):
        found: dict[Place, int] = {}
        for place in places:
            names = (place.label,) if place.label is not None else place.folders
            if place.label is not None and same(pattern, place.label):
                found[place] = 0
                continue
            for start in range(len(names) - len(parts) + 1):
                if all(same(part, name) for part, name in zip(parts, names[start:], strict=False)):
                    found[place] = start + len(parts) - 1
        if found:
            return found
    return {}


def _exactly(pattern: str, name: str) -> bool:
    return pattern == name


def _as_glob(pattern: str, name: str) -> bool:
    return _glob(pattern).fullmatch(plain(name)) is not None


@lru_cache(maxsize=256)
def _glob(pattern: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(plain(pattern)))


def _fits_file(pattern: re.Pattern[str], name: str) -> bool:
    file = plain(name.rpartition("/")[2])
    return bool(pattern.fullmatch(file) or pattern.fullmatch(file.rpartition(".")[0]))
