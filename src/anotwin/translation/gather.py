"""Every image of both domains read once: what can be used, what a person should know, and who is held out.

Pixels stay in memory up to `data.memory_mb`; images beyond that are read from their files again when they are shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from anotwin.data.split import groups_of, split_holdout
from anotwin.errors import DataError, SettingsError
from anotwin.prepare.image_spec import longer_side, sample_images, spec_of
from anotwin.prepare.stream import UNUSABLE, named
from anotwin.records import Array, ImageItem, ImageSource, ImageSpec
from anotwin.seeding import fingerprint
from anotwin.settings import SIZES, Settings
from anotwin.training.protocol import Rows
from anotwin.translation.derived import Derived
from anotwin.translation.layouts import Domains
from anotwin.translation.protocol import TranslationSpec
from anotwin.translation.reduce import Reduced

MOST_SIZE = 64  # pixels: a training square by default; larger ones cost time, and are set by name
MOST_CLASSES = 64  # grey values of a label map: with more it is no label map


@dataclass(frozen=True)
class Kept(Derived):
    """A source whose images are kept in memory once they were read, as far as there is room."""

    source: ImageSource
    room: list[int]  # bytes left, shared by several
    pixels: dict[int, Array] = field(default_factory=dict)

    def read(self, index: int) -> Array:
        """Native pixels; raises what the source raises."""
        if index in self.pixels:
            return self.pixels[index]
        found = self.source.read(index)
        if found.nbytes <= self.room[0]:
            self.pixels[index] = found
            self.room[0] -= found.nbytes
        return found


@dataclass(frozen=True)
class Gathered:
    """What there is to learn from: rows are indices of items."""

    a: Kept
    b: Kept
    aligned: bool
    train: tuple[Rows, Rows]  # of a and b; the same where aligned
    heldout: tuple[Rows, Rows]
    fingerprints: tuple[Rows, Rows]  # of every item; -1: not used
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Read:
    """What was found of every image of one domain."""

    fingerprints: Rows  # (N,) -1: cannot be used
    shapes: Rows  # (N, 2) height and width
    failures: tuple[str, ...]


def gather(domains: Domains, settings: Settings, progress: Callable[[int, int], None]) -> Gathered:
    """Read everything, leave out what cannot be used, and hold some out, by group.

    Raises:
        DataError: too little is left of a domain, or A and B are the same images.
    """
    room = [settings.data.memory_mb * 2**20]
    b = Kept(domains.b, room)
    a = Kept(replace(domains.a, source=b) if isinstance(domains.a, Reduced) else domains.a, room)
    total = len(a.items) + len(b.items)
    read_b = _read(b, "B", lambda done: progress(done, total))
    read_a = _read(a, "A", lambda done: progress(len(b.items) + done, total))
    notes = [*_left_out("A", read_a), *_left_out("B", read_b)]
    use = np.flatnonzero(read_a.fingerprints >= 0), np.flatnonzero(read_b.fingerprints >= 0)
    if domains.aligned:
        rows = _of_one_size(domains, np.intersect1d(*use), read_a.shapes, read_b.shapes, notes)
        use = rows, rows
    if domains.factor == 1:
        _check_different(domains, read_a.fingerprints[use[0]], read_b.fingerprints[use[1]], notes)
    fingerprints = read_a.fingerprints, read_b.fingerprints
    train, heldout = _split(domains, use, fingerprints, settings, notes)
    return Gathered(a, b, domains.aligned, train, heldout, fingerprints, tuple(notes))


def infer_spec(gathered: Gathered, factor: int, settings: Settings) -> tuple[TranslationSpec, tuple[str, ...]]:
    """What a method takes and gives, measured on the training images, and what a person should know of it.

    Raises:
        DataError: nothing to learn (one flat colour), or no label map where classes were asked for.
        SettingsError: a training square too small for the factor.
    """
    seed, data, kept = settings.training.seed, settings.data, (gathered.a, gathered.b)
    samples = [sample_images(each, rows, seed) for each, rows in zip(kept, gathered.train, strict=True)]
    side = longer_side(samples[1])
    size = data.image_size or next((each for each in SIZES if each >= side), MOST_SIZE)
    size = size if data.image_size else max(min(size, MOST_SIZE), SIZES[0] * factor)
    if size // factor < SIZES[0]:
        told = f"data.image_size={size} enlarged {factor} times: they are made from squares of {size // factor} pixels"
        raise SettingsError(f"{told}; set it to {SIZES[0] * factor} or more")
    measured = [spec_of(each.root, sample, data, size) for each, sample in zip(kept, samples, strict=True)]
    (spec_a, notes_a), (spec_b, notes_b) = measured
    if factor > 1:
        spec_a, notes_a = replace(spec_b, size=size // factor), ()  # the same quantity in both
    notes = [f"A: {note}" for note in notes_a] + [f"B: {note}" for note in notes_b]
    if spec_a.channels != spec_b.channels:
        colour, grey = ("A", "B") if spec_a.channels == 3 else ("B", "A")
        notes.append(f"{colour} is in colour and {grey} is grey: translations are so too")
    if settings.translation.target == "labels":
        spec_b = replace(spec_b, classes=_classes(gathered, spec_b))
        notes.append(f"B: {len(spec_b.classes)} classes, its grey values {', '.join(map(str, spec_b.classes))}")
    return TranslationSpec(spec_a, spec_b, gathered.aligned), tuple(notes)


def _read(kept: Kept, side: str, progress: Callable[[int], None]) -> _Read:
    count = len(kept.items)
    fingerprints, shapes, failures = np.full(count, -1, np.int64), np.zeros((count, 2), np.int64), []
    for index, item in enumerate(kept.items):
        try:
            pixels = kept.read(index)
            shapes[index], fingerprints[index] = pixels.shape[:2], fingerprint(pixels)
        except UNUSABLE as error:
            failures.append(named(item.id, error))
        progress(index + 1)
    if 2 * len(failures) > count:
        raise DataError(f"{side}: {len(failures)} of {count} images cannot be used; the first: {failures[0]}")
    return _Read(fingerprints, shapes, tuple(failures))


def _left_out(side: str, read: _Read) -> list[str]:
    count = len(read.failures)
    return [f"{side}: {count} image{'s' if count > 1 else ''} left out, the first: {read.failures[0]}"] if count else []


def _of_one_size(domains: Domains, rows: Rows, shapes_a: Rows, shapes_b: Rows, notes: list[str]) -> Rows:
    """Of the pairs `rows` those of equal size, or where B is `factor` times A; those of others are named."""
    factor = domains.factor
    fits = (shapes_b[rows] // factor == shapes_a[rows]).all(axis=1)
    if fits.all():
        return rows
    bad = rows[~fits]
    (height, width), (other_height, other_width) = shapes_a[bad[0]].tolist(), shapes_b[bad[0]].tolist()
    found = f"{width} x {height} and {other_width} x {other_height} pixels"
    wanted = "equal sizes" if factor == 1 else f"B {factor} times as large as A (--set translation.factor=...)"
    names = f"{domains.a.items[bad[0]].id} and {domains.b.items[bad[0]].id}: {found}"
    if not fits.any():
        raise DataError(f"{domains.root}: no pair has {wanted}: {names}")
    notes.append(f"{domains.root}: {len(bad)} pairs left out, expected {wanted}; the first: {names}")
    fitting: Rows = rows[fits]
    return fitting


def _check_different(domains: Domains, prints_a: Rows, prints_b: Rows, notes: list[str]) -> None:
    """Nothing can be learnt where A and B are the same; a note where some images are."""
    if domains.aligned:
        same, total = int((prints_a == prints_b).sum()), len(prints_a)
    else:
        same, total = len(np.intersect1d(prints_a, prints_b)), min(len(np.unique(prints_a)), len(np.unique(prints_b)))
    if total and same == total:
        raise DataError(
            f"{domains.root}: A and B hold the same images: there is nothing to translate; check the folders"
        )
    if same:
        notes.append(f"{domains.root}: {same} images are the same in A and B; if that is not meant, check the folders")


def _split(
    domains: Domains, use: tuple[Rows, Rows], prints: tuple[Rows, Rows], settings: Settings, notes: list[str]
) -> tuple[tuple[Rows, Rows], tuple[Rows, Rows]]:
    """Rows to train on and rows held out, by group; a group of both domains is on one side of the split in both."""
    data, seed = settings.data, settings.training.seed
    a, b = ([source.items[row] for row in rows] for source, rows in zip((domains.a, domains.b), use, strict=True))
    if domains.aligned:
        items = [replace(one, group=one.group or other.group) for one, other in zip(a, b, strict=True)]
        train, heldout = _held_out(items, prints[0][use[0]], data.holdout, data.holdout_most, seed, domains.root)
        notes += _group_note("", items, train, heldout)
        return (use[0][train], use[1][train]), (use[0][heldout], use[1][heldout])
    if any(item.group for item in a) and any(item.group for item in b):
        both = np.concatenate([prints[0][use[0]], prints[1][use[1]]])
        train, heldout = _held_out(
            [*_as_side(a, "A"), *_as_side(b, "B")], both, data.holdout, len(both), seed, domains.root
        )
        first = [rows[rows < len(a)] for rows in (train, heldout)]
        second = [rows[rows >= len(a)] - len(a) for rows in (train, heldout)]
        if all(len(rows) for rows in (*first, *second)):
            notes += _group_note("A and B: ", [*a, *b], train, heldout)
            return (use[0][first[0]], use[1][second[0]]), (use[0][first[1]], use[1][second[1]])
    sides = []
    for name, items, rows, own in zip("AB", (a, b), use, prints, strict=True):
        train, heldout = _held_out(items, own[rows], data.holdout, data.holdout_most, seed, domains.root)
        notes += _group_note(f"{name}: ", items, train, heldout)
        sides.append((rows[train], rows[heldout]))
    return (sides[0][0], sides[1][0]), (sides[0][1], sides[1][1])


def _group_note(side: str, items: Sequence[ImageItem], train: Rows, heldout: Rows) -> list[str]:
    """How many groups there are, where images have any."""
    if all(item.group is None for item in items):
        return []
    trained, held = (len(groups_of([items[row] for row in rows], None)) for rows in (train, heldout))
    return [f"{side}{trained + held} groups: {trained} to train on, {held} held out"]


def _as_side(items: Sequence[ImageItem], side: str) -> list[ImageItem]:
    """Items of one domain, named apart from those of the other."""
    return [replace(item, id=f"{side}/{item.id}") for item in items]


def _held_out(
    items: Sequence[ImageItem], prints: Rows, share: float, most: int, seed: int, root: str
) -> tuple[Rows, Rows]:
    if len(items) < 2:
        raise DataError(
            f"{root}: {len(items)} image of a domain can be used; training needs many, at least a few dozen"
        )
    return split_holdout(items, share, most, seed, prints.tolist())


def _classes(gathered: Gathered, spec: ImageSpec) -> tuple[int, ...]:
    """The grey values of all training images of B; raises DataError where these are no label maps."""
    values: set[int] = set()
    for row in gathered.train[1].tolist():
        pixels = gathered.b.read(row)
        name = gathered.b.items[row].id
        if spec.channels != 1 or pixels.dtype != np.uint8:
            raise DataError(f"{name}: translation.target=labels needs 8-bit grey images of B, whose values are classes")
        values |= set(np.unique(pixels).tolist())
        if len(values) > MOST_CLASSES:
            told = f"more than {MOST_CLASSES} grey values in B until {name}"
            raise DataError(f"{told}: no label maps; leave translation.target=labels out, or save them without loss")
    return tuple(sorted(values))
