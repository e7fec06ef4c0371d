"""Frames of clips as they are read and resized, kept while those after them need them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch

from anotwin.domains.video.camera import Scene, what_is_wrong
from anotwin.domains.video.clips import Clip
from anotwin.domains.video.context import OFFSETS, frames_before, frames_steadying
from anotwin.prepare.resize import check_image, to_model
from anotwin.prepare.stream import UNUSABLE, named
from anotwin.records import Array, Batch, Geometry, ImageSource, ImageSpec
from anotwin.seeding import fingerprint


@dataclass(frozen=True, eq=False)
class SeenFrame:
    """A frame as it was read and resized, or the error why there is none, or none that can be judged."""

    index: int
    error: str = ""
    fingerprint: int = 0
    square: torch.Tensor | None = field(default=None, repr=False)  # (C, S, S)
    geometry: Geometry | None = None
    pixels: Array | None = field(default=None, repr=False)


class FrameReader:
    """Frames of a source, kept while those after them need them; `scene` is what the camera ought to show.

    Native pixels are kept where `pixels` says so, and of a frame and those after it alone: they are large.
    """

    def __init__(self, source: ImageSource, spec: ImageSpec, scene: Scene | None = None, pixels: bool = False) -> None:
        self._source, self._spec, self._scene, self._pixels = source, spec, scene, pixels
        self._seen: dict[int, SeenFrame] = {}

    def frame(self, index: int, itself: bool = False) -> SeenFrame:
        """A frame, read now or kept; `itself`: not as the context of another, pixels are needed."""
        seen = self._seen.get(index)
        if seen is None or (itself and self._pixels and seen.square is not None and seen.pixels is None):
            seen = self._seen[index] = self._read(index)
        return seen

    def _read(self, index: int) -> SeenFrame:
        name = self._source.items[index].id
        try:
            pixels = self._source.read(index)
            check_image(pixels, self._spec)
            square, geometry = to_model(pixels, self._spec)
        except UNUSABLE as error:
            return SeenFrame(index, named(name, error))
        if why := what_is_wrong(square, self._scene):
            return SeenFrame(index, f"{name}: {why}")
        return SeenFrame(index, "", fingerprint(pixels), square, geometry, pixels if self._pixels else None)

    def squares(self, clip: Clip, numbers: Sequence[int]) -> Batch:
        """These frames of a clip with those before them."""
        for number in numbers:
            self._read_beginning(clip, number)
        before = [
            torch.stack([self._square(each, number) for each in frames_before(clip, number)]) for number in numbers
        ]
        images = torch.stack([self._square(number, number) for number in numbers])
        context = before[0][None] if len(before) == 1 else torch.stack(before)
        return Batch(images, tuple(self.frame(number).fingerprint for number in numbers), context)

    def _read_beginning(self, clip: Clip, number: int) -> None:
        """Where the context is mirrored, all frames that it reaches over, in order: video files are read on, not back.

        The frames between are needed next.
        """
        if number - max(OFFSETS) < clip.first:
            for index in range(clip.first, min(number + max(OFFSETS), clip.first + clip.count - 1) + 1):
                self.frame(index)

    def _square(self, index: int, instead: int) -> torch.Tensor:
        """A frame or, where it cannot be read or shows something else, the one that it is the context of.

        After a second of black, a frame predicted from black would be an alarm.
        """
        square = self.frame(index).square
        if square is None:
            square = self.frame(instead).square
        assert square is not None
        return square

    def forget_before(self, clip: Clip, index: int) -> None:
        """Frames that no later one of the clip needs, and the pixels of this one and those before it."""
        first = max(clip.first, frames_steadying(clip, index)[0] - max(OFFSETS))
        for old in [number for number in self._seen if not first <= number <= index + 2 * max(OFFSETS)]:
            del self._seen[old]
        for number, seen in self._seen.items():
            if number <= index and seen.pixels is not None:
                self._seen[number] = replace(seen, pixels=None)
