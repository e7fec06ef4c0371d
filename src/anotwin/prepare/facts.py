"""What is to be known of images before training: size, type, values, identity, and a description to compare them by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from anotwin.prepare.near import SIDE, describe
from anotwin.prepare.stream import UNUSABLE, named
from anotwin.records import Array, ImageSource
from anotwin.seeding import fingerprint

Floats = npt.NDArray[np.float32]

LOOK = 16  # cells along a side of the description by brightness and contrast
MOST = 2**22  # pixels of an image that it is described by: of a larger one some rows and columns


@dataclass(frozen=True)
class Facts:
    """One image; what could not be read has an error and nothing else."""

    index: int  # in its source
    image: str
    error: str = ""
    width: int = 0
    height: int = 0
    channels: Literal["", "grey", "colour"] = ""  # colour whose channels are equal is grey
    type: str = ""  # of pixels
    bits: int = 0  # as many as its highest pixel takes; 0 of float pixels
    low: float = 0.0
    high: float = 0.0
    at_black: float = 0.0  # share of pixels at the lowest value of their bits
    at_white: float = 0.0  # and at the highest
    fingerprint: int | None = None
    shape: Floats | None = field(default=None, repr=False)  # (288,) to find near-duplicates by, see `prepare.near`
    look: Floats | None = field(default=None, repr=False)  # (512,) brightness and local contrast of 16 x 16 cells

    @property
    def constant(self) -> bool:
        """Whether all pixels are equal."""
        return not self.error and self.low == self.high


def read_facts(source: ImageSource, indices: Sequence[int]) -> Iterator[Facts]:
    """Each image in turn."""
    for index in indices:
        name = source.items[index].id
        try:
            yield _facts(index, name, source.read(index))
        except UNUSABLE as error:
            yield Facts(index, name, named(name, error))


def _facts(index: int, name: str, pixels: Array) -> Facts:
    low, high = float(pixels.min()), float(pixels.max())
    whole = pixels.dtype.kind in "iu"
    bits = max(int(high).bit_length(), 1) if whole else 0
    white = (255 if pixels.dtype == np.uint8 else 2 ** max(bits, 8) - 1) if whole else high
    black = 0 if whole else low
    colour = pixels.ndim == 3 and bool((pixels != pixels[:, :, :1]).any())
    shape, look = _described(pixels, low, high)
    return Facts(
        index,
        name,
        width=pixels.shape[1],
        height=pixels.shape[0],
        channels="colour" if colour else "grey",
        type=str(pixels.dtype),
        bits=bits,
        low=low,
        high=high,
        at_black=float((pixels <= black).mean()),
        at_white=float((pixels >= white).mean()),
        fingerprint=fingerprint(pixels),
        shape=shape,
        look=look,
    )


def _described(pixels: Array, low: float, high: float) -> tuple[Floats, Floats]:
    """The descriptions of an image, values brought to [-1, 1]: of 8 bits by their type, of others by their range."""
    step = int(np.ceil(np.sqrt(max(pixels.shape[0] * pixels.shape[1] / MOST, 1))))
    some = np.ascontiguousarray(pixels[::step, ::step], np.float32)
    black, white = (0.0, 255.0) if pixels.dtype == np.uint8 else (low, high if high > low else low + 1)
    planes = some[None] if some.ndim == 2 else np.moveaxis(some, 2, 0)
    values = torch.from_numpy(np.ascontiguousarray((planes - black) * (2 / (white - black)) - 1))[None]
    if min(values.shape[2:]) < SIDE:
        values = F.interpolate(values, [max(side, SIDE) for side in values.shape[2:]], mode="nearest")
    grey = values.mean(1, keepdim=True)
    mean = F.adaptive_avg_pool2d(grey, LOOK)
    spread = (F.adaptive_avg_pool2d(grey.square(), LOOK) - mean.square()).clamp(min=0).sqrt()
    look = torch.cat([mean.flatten(), spread.flatten()])
    return describe(values)[0], look.numpy()
