"""Clips in memory, and a method whose every number is known: what frames are read, what is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from anotwin.domains.video.clips import Clip, clip_at
from anotwin.errors import DataError
from anotwin.records import Array, Batch, Comparison, Counterpart, ImageItem, ImageSpec, Scores, Status
from anotwin.settings import Settings


@dataclass
class ArrayClips:
    """See `anotwin.domains.video.clips.ClipSource`."""

    films: Sequence[Array]  # (T, H, W) each
    rate: float | None = 10.0
    broken: frozenset[int] = frozenset()  # frames that cannot be read
    layout: str = "video"
    root: str = "films"
    reads: list[int] = field(default_factory=list)  # in the order they came

    @property
    def clips(self) -> tuple[Clip, ...]:
        firsts = np.cumsum([0, *map(len, self.films)]).tolist()
        return tuple(Clip(f"clip{n}", firsts[n], len(film), self.rate) for n, film in enumerate(self.films))

    @property
    def items(self) -> tuple[ImageItem, ...]:
        return tuple(
            ImageItem(f"{clip.name}/{number:03d}", group=clip.name)
            for clip in self.clips
            for number in range(clip.count)
        )

    def read(self, index: int) -> Array:
        self.reads.append(index)
        if index in self.broken:
            raise DataError(f"frame {index} cannot be read")
        clip = clip_at(self.clips, index)
        return self.films[self.clips.index(clip)][index - clip.first]

    def read_mask(self, index: int) -> None:
        del index

    def time(self, index: int) -> float:
        return (index - clip_at(self.clips, index).first) / (self.rate or 10.0)


def noise(frames: int, seed: int = 0, shape: tuple[int, int] = (16, 16)) -> Array:
    """(frames, H, W) of which no two are alike."""
    return np.random.default_rng(seed).integers(0, 256, (frames, *shape)).astype(np.uint8)


class Blend:
    """The counterpart is a blend of the frames before, each with a weight of its own; a score is the highest error."""

    name = "blend"
    networks = torch.nn.ModuleDict()

    def __init__(self, spec: ImageSpec, weights: Sequence[float], *overrides: str) -> None:
        self.spec, self.weights = spec, torch.tensor(weights)
        self.settings = Settings().with_overrides(overrides)

    def counterpart(self, batch: Batch) -> Counterpart:
        assert batch.context is not None
        blended = (batch.context * self.weights[:, None, None, None]).sum(1)
        return Counterpart(blended, None, torch.zeros(len(batch)), (Status.CONVERGED,) * len(batch))

    def compare(self, queries: torch.Tensor, counterpart: Counterpart) -> Comparison:
        differences = queries - counterpart.images
        heat = differences.abs().amax(1)
        high = heat.flatten(1).amax(1)
        return Comparison(Scores(high, high, 2 * high, 3 * high, -high, high / 4), differences, heat)


class Constant:
    """The counterpart of a pixel is grey; heat is how far it is from that, a score the highest heat."""

    name = "constant"
    networks = torch.nn.ModuleDict()

    def __init__(self, spec: ImageSpec, *overrides: str) -> None:
        self.spec = spec
        self.settings = Settings().with_overrides(overrides)

    def counterpart(self, batch: Batch) -> Counterpart:
        grey = torch.zeros_like(batch.images)
        return Counterpart(grey, None, torch.zeros(len(batch)), (Status.CONVERGED,) * len(batch))

    def compare(self, queries: torch.Tensor, counterpart: Counterpart) -> Comparison:
        differences = queries - counterpart.images
        heat = differences.abs().amax(1)
        high = heat.flatten(1).amax(1)
        return Comparison(Scores(high, high, high, high, high, high), differences, heat)
