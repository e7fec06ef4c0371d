"""One frame of a clip as the model sees it: as a whole, or what moves in it, with scores that are steady in time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from anotwin.domains.kept import KeptResults
from anotwin.domains.regions import highest_heat
from anotwin.domains.video.camera import Scene
from anotwin.domains.video.clips import Clip, clip_at
from anotwin.domains.video.context import clips_of, frames_steadying
from anotwin.domains.video.reader import FrameReader
from anotwin.prepare.batches import join_batches
from anotwin.prepare.patches import stitch
from anotwin.prepare.resize import difference_to_native, image_to_native, map_to_native
from anotwin.records import Array, Batch, Geometry, ImageSource, ImageSpec, Pictures, Scores

FADE = 0.6  # weight of a frame's score beside that of the next one, when scores are smoothed


@dataclass(frozen=True, eq=False)
class FrameImage:
    """See `anotwin.domains.protocol.Prepared`.

    Its squares are its own and, before them, those of frames that its score is smoothed with and that were not scored
    on the way: a score does not depend on which other frames were asked for.
    """

    index: int
    error: str = ""
    fingerprint: int | None = None
    squares: Batch | None = None  # (P, C, S, S)
    numbers: tuple[int, ...] = ()  # (P,) the frame that each square is of: its index in the source
    steadying: tuple[int, ...] = ()  # the frames whose scores count, in the order of time; the last is this one
    scores: dict[int, Scores[float]] = field(default_factory=dict, repr=False)  # of frames of this stream, shared
    square: torch.Tensor | None = field(default=None, repr=False)  # (C, F, F) the frame resized, F the side
    corners: npt.NDArray[np.int64] | None = None  # (p, 2) of its own squares in it; None: the square is the frame
    geometry: Geometry | None = field(default=None, repr=False)
    pixels: Array | None = field(default=None, repr=False)
    spec: ImageSpec | None = field(default=None, repr=False)
    evidence: None = None

    def pool(self, scores: Scores[Array]) -> Scores[float]:
        """The highest square of each frame, smoothed over this one and those before it, the nearer the stronger."""
        for number in dict.fromkeys(self.numbers):
            rows = [row for row, of in enumerate(self.numbers) if of == number]
            self.scores[number] = scores.map(lambda term, rows=rows: float(term[rows].max()))  # type: ignore[misc]
        for old in [number for number in self.scores if number < self.steadying[0]]:
            del self.scores[old]  # no later frame needs it
        known = [self.scores[number] for number in self.steadying if number in self.scores]
        weights = FADE ** np.arange(len(known) - 1, -1, -1)
        weights /= weights.sum()
        terms = vars(known[-1])
        return Scores(**{term: float(weights @ [getattr(each, term) for each in known]) for term in terms})

    def results(self) -> FrameResults:
        """Of its own squares."""
        return FrameResults(self)

    def heat_of(self, heat: Array) -> Array:
        """The heat (P, S, S) of the squares -> that of the frame as it was resized, (F, F); 0 where nothing moves."""
        own = heat[len(heat) - self._own :]
        if self.corners is None:
            whole: Array = own[0]
            return whole
        assert self.square is not None
        side = self.square.shape[-1]
        return np.nan_to_num(stitch(own, self.corners, (side, side))).astype(np.float32)

    @property
    def _own(self) -> int:
        return sum(number == self.index for number in self.numbers)

    def native(self, counterparts: torch.Tensor, differences: torch.Tensor, heat: torch.Tensor, one: float) -> Pictures:
        """Resized to the frame; where no square lies, the counterpart is the frame."""
        del counterparts  # queries minus differences
        assert self.geometry is not None
        assert self.spec is not None
        assert self.pixels is not None
        assert self.square is not None
        change = -differences[len(differences) - self._own :]
        side = self.square.shape[-1]
        if self.corners is not None:
            planes = [stitch(plane.numpy(), self.corners, (side, side)) for plane in change.unbind(1)]
            change = torch.from_numpy(np.nan_to_num(np.stack(planes)).astype(np.float32))[None]
        return Pictures(
            query=self.pixels,
            counterpart=image_to_native((self.square + change[0]).clamp(-1, 1), self.geometry, self.spec, self.pixels),
            difference=difference_to_native(-change[0].mean(0) / 2, self.geometry),  # pixels in [0, 1]
            heatmap=map_to_native(torch.from_numpy(self.heat_of(heat.numpy())) / one, self.geometry),
        )


class FrameResults(KeptResults):
    """See `anotwin.domains.protocol.ShowsRegions`."""

    def __init__(self, frame: FrameImage) -> None:
        super().__init__(frame.heat_of, frame.native)
        self._frame = frame

    def region_heat(self, least_area: int) -> float:
        """In the pixels of the file."""
        assert self._frame.geometry is not None
        heat = torch.from_numpy(np.ascontiguousarray(self.heat()))
        return highest_heat(map_to_native(heat, self._frame.geometry), least_area)


class Parts(NamedTuple):
    """What a model looks at in one frame."""

    squares: Batch  # (p, C, S, S)
    corners: npt.NDArray[np.int64] | None  # (p, 2) in the frame as it was resized; None: one square, the frame


def seen_frames(
    source: ImageSource,
    indices: Sequence[int],
    spec: ImageSpec,
    pixels: bool,
    parts: Callable[[FrameReader, Clip, int], Parts],
    scene: Scene | None,
) -> Iterator[FrameImage]:
    """The frames at `indices`, in that order; each is read once where they follow each other.

    `spec` says how frames are resized, `parts` what of frame number n is looked at, `scene` what the camera shows.
    """
    reader, clips = FrameReader(source, spec, scene, pixels), clips_of(source)
    scores: dict[int, Scores[float]] = {}
    asked: set[int] = set()  # frames whose scores come, or came, in this stream
    for index in indices:
        clip = clip_at(clips, index)
        seen = reader.frame(index, itself=True)
        if seen.square is None:
            reader.forget_before(clip, index)
            yield FrameImage(index, seen.error)
            continue
        steadying = frames_steadying(clip, index)
        asked &= set(steadying)
        missing = [each for each in steadying[:-1] if each not in asked and reader.frame(each).square is not None]
        asked |= {*missing, index}
        found = {number: parts(reader, clip, number) for number in (*missing, index)}
        numbers = tuple(number for number, each in found.items() for _ in range(len(each.squares)))
        reader.forget_before(clip, index)
        yield FrameImage(
            index=index,
            fingerprint=seen.fingerprint,
            squares=join_batches([each.squares for each in found.values()]),
            numbers=numbers,
            steadying=steadying,
            scores=scores,
            square=seen.square,
            corners=found[index].corners,
            geometry=seen.geometry,
            pixels=seen.pixels,
            spec=spec,
        )
