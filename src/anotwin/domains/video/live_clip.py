"""Frames of a live source between two gaps, as a source of images: memory holds the last few seconds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

from anotwin.domains.video.clips import Clip
from anotwin.domains.video.context import OFFSETS, STEADY
from anotwin.domains.video.live import LiveFrame
from anotwin.domains.video.newest import Gap
from anotwin.errors import DataError
from anotwin.records import Array, ImageItem

KEPT = 2 * max(OFFSETS) + STEADY  # frames: those that a frame is judged by, also mirrored at the beginning
ENDLESS = 2**40  # frames of a clip of which nobody knows the end


class LiveClip:
    """See `anotwin.records.ImageSource` and `ClipSource`; frames count from 0 and come when they are asked for."""

    layout = "video"

    def __init__(self, name: str, coming: Iterator[LiveFrame | Gap]) -> None:
        self.root = self.name = name
        self.items: Sequence[ImageItem] = _Items(name)
        self.clips = (Clip(name, 0, ENDLESS),)
        self.gap: Gap | None = None  # that ended it; None: it goes on, or the source is over
        self._coming = coming
        self._frames: dict[int, LiveFrame] = {}
        self._count = 0
        self._over = False

    def has(self, index: int) -> bool:
        """Whether frame `index` comes: waits for it."""
        while self._count <= index and not self._over:
            self._next()
        return index < self._count

    def _next(self) -> None:
        found = next(self._coming, None)
        if not isinstance(found, LiveFrame):
            self.gap, self._over = found, True
            return
        self._frames[self._count] = found
        self._frames.pop(self._count - KEPT, None)
        self._count += 1

    def indices(self) -> Iterator[int]:
        """Of the frames, as they come, until the gap or the end."""
        index = 0
        while self.has(index):
            yield index
            index += 1

    def frame(self, index: int) -> LiveFrame:
        """Raises DataError where it does not come, or was forgotten."""
        if not self.has(index) or index not in self._frames:
            raise DataError(f"{self.name}: frame {index + 1} of the live source is not there")
        return self._frames[index]

    def read(self, index: int) -> Array:
        """Its pixels."""
        return self.frame(index).pixels

    def read_mask(self, index: int) -> None:
        """Nobody knows it."""
        del index

    def time(self, index: int) -> float:
        """Seconds since the watch began."""
        return self.frame(index).time

    @property
    def rate(self) -> float | None:
        """Frames a second of those that are remembered; None: there are too few."""
        times = [frame.time for frame in self._frames.values()]
        return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 and times[-1] > times[0] else None


class _Items(Sequence[ImageItem]):
    """As many as are asked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __len__(self) -> int:
        return ENDLESS

    @overload
    def __getitem__(self, index: int) -> ImageItem: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[ImageItem]: ...
    def __getitem__(self, index: int | slice) -> ImageItem | Sequence[ImageItem]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(ENDLESS))]
        return ImageItem(f"{self._name}/{index + 1:06d}", group=self._name)
