"""Whether an image is still the one that a row of scores was written for, when a stopped `score` is called again."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

from anotwin.prepare.stream import UNUSABLE
from anotwin.records import Finding, ImageSource
from anotwin.report.stale import KINDS, picture_files, pictures_of, remove
from anotwin.seeding import derive, fingerprint

TICK = 100_000_000  # ns; a file changed so shortly before it was looked at may have been changed again unnoticed


class ImageIdentities:
    """Of a row: the size and times of its file, the hash of its native pixels, and what the source says of it.

    A file of the same size and times is the same; any other counts by its pixels, so that a copied or touched file
    keeps its row. An image that could not be scored has no pixels: in any other file it is tried again. What the source
    says (`contexts`, where it has such a method) are all other things that a score depends on: of an OCT slice the
    spacing, and which slices its volume has. The pictures that were written for the image must still be there, too.

    Args:
        source: the images of this run; files are looked at now, before any is read.
        out: the result folder.
        names: of pictures, by the id of their image; empty where none are written.
    """

    def __init__(self, source: ImageSource, out: Path, names: Mapping[str, str]) -> None:
        self._source, self._out, self._names = source, out, names
        self._positions = {item.id: index for index, item in enumerate(source.items)}
        find: Callable[[int], Path] | None = getattr(source, "file", None)
        context: Callable[[], Iterable[int]] | None = getattr(source, "contexts", None)
        count = len(source.items)
        self._files = array("q", _signatures(map(find, range(count))) if find else [0] * count)
        self._contexts = array("q", context() if context else [0] * count)

    def of(self, finding: Finding) -> list[int | None]:
        """[file, pixels, context] as numbers of 63 bits; file 0: it cannot be known by size and times."""
        index = self._positions[finding.id]
        return [self._files[index], finding.fingerprint, self._context(finding.id, index)]

    def same(self, image: str, stored: Any) -> bool:
        """Whether the image of this id is the one that `of` gave `stored` for."""
        index = self._positions.get(image)
        if index is None or not isinstance(stored, list) or len(stored) != 3:
            return False
        file, pixels, context = stored
        if context != self._context(image, index) or (pixels is not None and not self._has_pictures(image)):
            return False
        if file and file == self._files[index]:
            return True
        if pixels is None:
            return False
        try:
            return bool(fingerprint(self._source.read(index)) == pixels)
        except UNUSABLE:
            return False

    def forget(self, pictures: AbstractSet[str]) -> None:
        """Remove the pictures of rows that are not kept."""
        remove(pictures_of(self._out, pictures), self._out)

    def _context(self, image: str, index: int) -> int:
        return derive(self._contexts[index], self._names.get(image, ""))

    def _has_pictures(self, image: str) -> bool:
        if image not in self._names:
            return True
        places = (list(picture_files(self._out / kind, self._names[image])) for kind in KINDS)
        return all(any(map(_has_content, each)) for each in places)


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0  # a power cut may leave an empty one
    except OSError:
        return False


def _signatures(files: Iterable[Path]) -> Iterator[int]:
    """A number for the size and times of each file, 0: they tell nothing; a file that comes again is asked once."""
    now, before, found = time.time_ns(), None, 0
    for path in files:
        if path != before:
            before, found = path, _signature(path, now)
        yield found


def _signature(path: Path, now: int) -> int:
    try:
        state = path.stat()
    except OSError:
        return 0
    if max(state.st_mtime_ns, state.st_ctime_ns) > now - TICK:
        return 0
    return derive(state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino, state.st_dev)
