"""Which files are masks, and of which images: by folders and by names, as data sets in use have them.

    ground_truth/crack/007_mask.png  test/crack/007.png      a folder of masks with the folders of the images
    crack_gt/007.png                 crack/007.png           a folder named after the images'
    mask/007.png                     crack/007.png           masks beside the classes
    Part0_label.bmp                  Part0.jpg               beside the image
    007.png                          007.jpg                 beside the image, by its content
    img001/mask.png                  img001/image.png        a folder for each image
    ground_truth/crack/007/000.png   test/crack/007.png      several masks of an image: their union

Names are compared without case and with composed accents.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from anotwin.data.masks import looks_drawn
from anotwin.data.words import meaning, plain, unimaged, unmasked

_LOSSY = (".jpg", ".jpeg", ".webp")
_PEEKED = 3  # files of a kind that are read to see whether they are masks


@dataclass(frozen=True)
class Pairs:
    """The masks of a set."""

    images: tuple[str, ...]  # all files but the masks
    masks: dict[str, tuple[str, ...]]  # of an image: its masks, whose union counts
    unused: tuple[str, ...]  # masks that fit no image, or several
    beside: tuple[str, ...] = ()  # those of the masks that lie among images, known by name or content

    @property
    def any(self) -> bool:
        """Whether the set has masks."""
        return bool(self.masks or self.unused)


@dataclass(frozen=True)
class _Place:
    """A file by what pairs it."""

    name: str
    folders: tuple[str, ...]  # without words for masks and for images, splits by one word
    stem: str  # as `plain` has it
    in_masks: str = ""  # the folder of masks that it lies below

    @property
    def without_split(self) -> tuple[str, ...]:
        return tuple(folder for folder in self.folders if not folder.startswith("/"))


@dataclass
class _Index:
    """Images by the stems that a mask may name."""

    by_stem: dict[str, list[_Place]] = field(default_factory=lambda: defaultdict(list))
    by_folder: dict[tuple[str, ...], list[_Place]] = field(default_factory=lambda: defaultdict(list))

    def add(self, place: _Place) -> None:
        for stem in {place.stem, unimaged(place.stem)}:
            self.by_stem[stem].append(place)
        self.by_folder[place.folders].append(place)


def pair_masks(
    root: Path, names: Sequence[str], images: Iterable[str] = (), rank: Callable[[str], int] = lambda _: 0
) -> Pairs:
    """Masks and images among files.

    Args:
        root: where the files are; a few are read where names do not tell.
        names: of the files, posix paths below root.
        images: files that are images whatever they are called.
        rank: of an image: a mask that fits several belongs to that of the lowest.
    """
    sure = set(images)
    places = _places(names)
    below = [place for place in places if place.in_masks and place.name not in sure]
    among = [place for place in places if not place.in_masks or place.name in sure]
    beside = _beside(root, among, sure)
    index = _Index()
    for place in among:
        if place.name not in beside:
            index.add(place)
    if not index.by_folder:  # all lie below "labels" or "masks": a name for images then
        return Pairs(tuple(sorted(names)), {}, ())
    masks: dict[str, list[str]] = defaultdict(list)
    unused: list[str] = []
    for place in [*below, *(place for place in among if place.name in beside)]:
        image = _image_of(place, index, rank)
        (unused if image is None else masks[image]).append(place.name)
    photographs = _photographs(root, below)
    classes = {place.name for place in below if plain(_last(place.in_masks)) == "label"}
    back = photographs & (classes | set(unused))  # images of a class called so
    all_masks = {*beside, *(place.name for place in below)}
    masks = {name: left for name, each in masks.items() if (left := [one for one in each if one not in photographs])}
    paired = {one for each in masks.values() for one in each}
    return Pairs(
        tuple(sorted(name for name in names if name not in all_masks or name in back)),
        {name: _ordered(each) for name, each in masks.items()},
        tuple(sorted(all_masks - paired - back)),
        tuple(sorted(beside)),
    )


def _places(names: Sequence[str]) -> list[_Place]:
    folders = {""}
    for folder in {_folder(name) for name in names}:
        while folder not in folders:
            folders.add(folder)
            folder = _folder(folder)
    siblings: dict[str, set[str]] = defaultdict(set)
    for folder in folders:
        siblings[_folder(folder)].add(plain(_last(folder)))
    reduced: dict[str, tuple[tuple[str, ...], str]] = {"": ((), "")}
    for folder in sorted(folders - {""}, key=lambda folder: folder.count("/")):
        above, masks = reduced[_folder(folder)]
        own, mask = _reduced_name(_last(folder), siblings[_folder(folder)])
        reduced[folder] = (above + own, masks or (folder if mask else ""))
    return [
        _Place(name, folders_of, plain(_stem(name)), masks)
        for name in names
        for folders_of, masks in [reduced[_folder(name)]]
    ]


def _reduced_name(name: str, siblings: set[str]) -> tuple[tuple[str, ...], bool]:
    """What a folder adds to the place of a file, and whether it is one of masks."""
    said, own = meaning(name), unmasked(name)
    if own and own in siblings:  # Test003_gt beside Test003
        return _reduced_name(own, set())[0], True
    split = (f"/{said.split}",) if said.split else ()
    if said.mask:
        return split, True
    if said.container:
        return (), False
    if said.split and said.sort is None:
        return (split if not any(map(str.isdigit, name)) else (*split, plain(name))), False
    return (plain(name),), False


def _beside(root: Path, places: Sequence[_Place], sure: set[str]) -> set[str]:
    """Masks among the images, known by their names or, of two files with one name, by their content."""
    by_folder: dict[str, list[_Place]] = defaultdict(list)
    for place in places:
        by_folder[_folder(place.name)].append(place)
    found: set[str] = set()
    for inside in by_folder.values():
        named = {place.name: own for place in inside if (own := unmasked(place.stem)) is not None}
        images = [place for place in inside if place.name not in named]
        stems = {stem for place in images for stem in (place.stem, unimaged(place.stem))}
        fitting = {name for name, own in named.items() if own in stems or _without_number(own) in stems}
        words = {name for name, own in named.items() if own == "" or own.isdigit()}  # mask.png, mask_1.png
        masks = fitting or (words and len(images) == 1 and len(named) == len(words))
        if masks and any(looks_drawn(root / name) for name in sorted(fitting or words)[:_PEEKED]):
            found |= named.keys()
        found |= _equal_stems(root, [place for place in inside if place.name not in found])
    return found - sure


def _equal_stems(root: Path, inside: Sequence[_Place]) -> set[str]:
    """Of files that differ in their endings alone, those that look like masks."""
    by_stem: dict[str, list[str]] = defaultdict(list)
    for place in inside:
        by_stem[place.stem].append(place.name)
    pairs = [sorted(each) for each in by_stem.values() if len(each) == 2]
    votes: Counter[str] = Counter()
    for pair in pairs[:_PEEKED]:
        drawn = [name for name in pair if looks_drawn(root / name)]
        exact = [name for name in drawn if not name.lower().endswith(_LOSSY)]
        chosen = drawn if len(drawn) == 1 else exact if len(exact) == 1 else []
        votes.update(_ending(name) for name in chosen)
    return {name for pair in pairs for name in pair if votes[_ending(name)] * 2 > min(len(pairs), _PEEKED)}


def _image_of(mask: _Place, index: _Index, rank: Callable[[str], int]) -> str | None:
    """The image that a mask belongs to; None where none fits, or several fit as well."""
    stems = list(dict.fromkeys(stem for stem in _stems(mask) if stem is not None))
    for stem in stems:
        if fits := _fits(mask, stem, index, rank):
            return _only(fits)
    if mask.folders:  # a folder for each image
        *above, last = mask.folders
        if fits := _fits(_Place(mask.name, tuple(above), last), last, index, rank):
            return _only(fits)
        alone = index.by_folder.get(mask.folders, ())
        if len(alone) == 1 and (mask.in_masks or unmasked(mask.stem) is not None):
            return alone[0].name
    return None


def _stems(mask: _Place) -> Iterable[str | None]:
    yield mask.stem
    own = unmasked(mask.stem)
    if own:
        yield own
        yield unimaged(own)
        yield _without_number(own)
    elif own == "":
        yield ""
    yield unimaged(mask.stem) or None
    if mask.in_masks:
        yield _without_number(mask.stem)


def _fit(mask: _Place, image: _Place) -> int:
    """How well the folders of a mask fit those of an image: 1 best, 0 not at all."""
    if mask.folders == image.folders:
        return 1
    own, other = mask.without_split, image.without_split
    splits = set(mask.folders) - set(own), set(image.folders) - set(other)
    if splits[0] and splits[1] and splits[0] != splits[1]:
        return 0
    if own == other:
        return 2
    if own and other[-len(own) :] == own:
        return 3
    return 4 if other[: len(own)] == own else 0  # the masks lie above the classes


def _fits(mask: _Place, stem: str, index: _Index, rank: Callable[[str], int]) -> list[tuple[int, int, str]]:
    places = index.by_stem.get(stem, ())
    return [(fit, rank(place.name), place.name) for place in places if (fit := _fit(mask, place))]


def _only(fits: list[tuple[int, int, str]]) -> str | None:
    best = min(fits)[:2]
    names = {name for *each, name in fits if tuple(each) == best}
    return next(iter(names)) if len(names) == 1 else None


def _photographs(root: Path, below: Sequence[_Place]) -> set[str]:
    """Files below folders whose names mean masks that do not look like masks: pictures of a class "label", overlays."""
    by_folder: dict[str, list[str]] = defaultdict(list)
    for place in below:
        by_folder[place.in_masks].append(place.name)
    found: set[str] = set()
    for inside in by_folder.values():
        step = max(1, len(inside) // _PEEKED)
        if not any(looks_drawn(root / name) for name in sorted(inside)[::step][:_PEEKED]):
            found.update(inside)
    return found


def _without_number(stem: str) -> str | None:
    """``a_2`` -> ``a``: the second mask of an image; None where there is no such number."""
    start = stem.rstrip("0123456789")
    return start.rstrip("_-. ") or None if start != stem and start[-1:] in "_-. " and start else None


def _ordered(names: Sequence[str]) -> tuple[str, ...]:
    """A file with a word for masks in its name first; then one without it, of the same stem, is another version."""
    named = sorted(name for name in names if unmasked(_stem(name)) is not None)
    bare = sorted(name for name in names if name not in named)
    stems = {unmasked(_stem(name)) for name in named}
    return tuple(named + [name for name in bare if plain(_stem(name)) not in stems])


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _stem(name: str) -> str:
    return _last(name).rpartition(".")[0] or _last(name)


def _ending(name: str) -> str:
    return _last(name).rpartition(".")[2].lower()
