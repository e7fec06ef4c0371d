"""Clips: images that follow each other in time, as a source of frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from anotwin.records import ImageSource

ASSUMED_RATE = 10.0  # frames a second where nobody knows, as of UCSD's clips


@dataclass(frozen=True, slots=True)
class Clip:
    """Frames of one camera that follow each other: a file, or a folder of frames. The unit of splits and promises."""

    name: str  # unique in its source; the group of its frames
    first: int  # index in the source of its first frame
    count: int  # frames
    rate: float | None = None  # frames a second, on average; None: nobody knows


@runtime_checkable
class ClipSource(ImageSource, Protocol):
    """An image source of which the images are frames, clip by clip and in the order of time."""

    @property
    def clips(self) -> tuple[Clip, ...]: ...

    def time(self, index: int) -> float:
        """Seconds from the beginning of its clip to frame `index`, by the timestamps of the file."""
        ...


def clip_at(clips: Sequence[Clip], index: int) -> Clip:
    """The clip of frame `index`.

    >>> clip_at([Clip("a", 0, 3), Clip("b", 3, 2)], 3).name
    'b'
    """
    low, high = 0, len(clips) - 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if clips[middle].first <= index else (low, middle - 1)
    return clips[low]
