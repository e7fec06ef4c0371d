"""Frames of clips as they are read and resized, kept while those after them need them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from anotwin.domains.video.clips import Clip
from anotwin.domains.video.context import OFFSETS, frames_before, frames_steadying
from anotwin.prepare.resize import to_model
from anotwin.prepare.stream import UNUSABLE, named
from anotwin.records import Array, Batch, Geometry, ImageSource, ImageSpec
from anotwin.seeding import fingerprint


@dataclass(frozen=True, eq=False)
class SeenFrame:
    """A frame as it was read and resized, or the error why there is none."""

    index: int
    error: str = ""
    fingerprint: int = 0
    square: torch.Tensor | None = field(default=None, repr=False)  # (C, S, S)
    geometry: Geometry | None = None
    pixels: Array | None = field(default=None, repr=False)


class FrameReader:
    """Frames of a source, kept while those after them need them."""

    def __init__(self, source: ImageSource, spec: ImageSpec) -> None:
        self._source, self._spec = source, spec
        self._seen: dict[int, SeenFrame] = {}

    def frame(self, index: int) -> SeenFrame:
        """A frame, read now or kept."""
        if index not in self._seen:
            self._seen[index] = self._read(index)
        return self._seen[index]

    def _read(self, index: int) -> SeenFrame:
        try:
            pixels = self._source.read(index)
            square, geometry = to_model(pixels, self._spec)
        except UNUSABLE as error:
            return SeenFrame(index, named(self._source.items[index].id, error))
        return SeenFrame(index, "", fingerprint(pixels), square, geometry, pixels)

    def squares(self, clip: Clip, numbers: Sequence[int]) -> Batch:
        """These frames of a clip with those before them."""
        images = torch.stack([self._square(number, number) for number in numbers])
        context = torch.stack(
            [torch.stack([self._square(each, number) for each in frames_before(clip, number)]) for number in numbers]
        )
        return Batch(images, tuple(self.frame(number).fingerprint for number in numbers), context)

    def _square(self, index: int, instead: int) -> torch.Tensor:
        """A frame or, where it cannot be read, the one that it is the context of."""
        square = self.frame(index).square
        if square is None:
            square = self.frame(instead).square
        assert square is not None
        return square

    def forget_before(self, clip: Clip, index: int) -> None:
        """Frames that no later one of the clip needs."""
        first = max(clip.first, frames_steadying(clip, index)[0] - max(OFFSETS))
        for old in [number for number in self._seen if not first <= number <= index + 2 * max(OFFSETS)]:
            del self._seen[old]
