"""An image at several resolutions, and where tiles lie on each.

Level 0 is the image at its own resolution or at a stated scale; each further level is half as large, until the whole
image fits into one tile. A pixel of a level is the mean of two by two of the level before: nothing is aliased, and
pixel (r, c) of level k covers rows r 2^k to (r + 1) 2^k of level 0 exactly, so that results are enlarged without a
shift. All levels have the type of the file: of 8-bit images nothing is lost at level 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from anotwin.prepare.blocks import blocks
from anotwin.prepare.patches import Positions, grid_positions
from anotwin.prepare.resize import LUMA
from anotwin.records import Array

SHARED = 8  # a tile shares an eighth of its side with the next one: enough to go over from one to the other
_WIDER = {"uint8": np.uint16, "uint16": np.uint32}  # types that hold the sum of four


@dataclass(frozen=True, eq=False)
class Level:
    """An image at one resolution. One smaller than a tile is mirrored at its lower and right border up to a tile."""

    pixels: Array  # (h, w) or (h, w, 3), each side at least a tile's
    height: int  # of the image itself: rows from here on are mirrored
    width: int

    def grid(self, size: int) -> Positions:
        """The corners (P, 2) of overlapping tiles over all of it, row by row."""
        height, width = self.pixels.shape[:2]
        return grid_positions((height, width), size, max(1, size - size // SHARED))


def pyramid(pixels: Array, size: int, channels: int, scale: float | None = None) -> tuple[Level, ...]:
    """The levels of a native image (H, W) or (H, W, 3), the finest first.

    >>> [(level.height, level.width) for level in pyramid(np.zeros((300, 350), np.uint8), 128, 1)]
    [(300, 350), (150, 175), (75, 88)]

    Args:
        pixels: uint8, uint16 or float32.
        size: side of a tile.
        channels: of the model: 1 makes colour images grey.
        scale: of level 0; None: 1.
    """
    if channels == 1 and pixels.ndim == 3:
        pixels = _grey(pixels)
    if scale is not None:
        pixels = _scaled(pixels, *scaled_shape(pixels.shape[:2], scale))
    levels = [pixels]
    while max(levels[-1].shape[:2]) > size:
        levels.append(_halved(levels[-1]))
    return tuple(Level(_mirrored(level, size), *level.shape[:2]) for level in levels)


def scaled_shape(shape: tuple[int, ...], scale: float | None) -> tuple[int, int]:
    """Height and width of level 0 for an image of this shape."""
    height, width = shape[:2]
    return (height, width) if scale is None else (max(1, round(height * scale)), max(1, round(width * scale)))


def enlarged(maps: npt.NDArray[np.floating], rows: slice, height: int, width: int) -> npt.NDArray[np.float32]:
    """Some `rows` of maps (K, h, w) of a level, twice as large: (K, n, width) of the level before, bilinear.

    That level is `height` x `width`. Rows are made by themselves, so that a large map is never there as a whole.
    """
    first, last, _ = rows.indices(height)
    begin, end = max(first // 2 - 1, 0), min((last + 1) // 2 + 1, maps.shape[1])  # a row more on each side
    part = torch.from_numpy(np.ascontiguousarray(maps[:, begin:end], np.float32))
    double = F.interpolate(part[None], scale_factor=2, mode="bilinear", align_corners=False)[0].numpy()
    found: npt.NDArray[np.float32] = double[:, first - 2 * begin : last - 2 * begin, :width]
    return found


def _halved(pixels: Array) -> Array:
    """The mean of two by two pixels, rounded for integers; an odd last row or column is repeated."""
    height, width = pixels.shape[:2]
    odd = [(0, height % 2), (0, width % 2), (0, 0)][: pixels.ndim]
    even = np.pad(pixels, odd, mode="edge") if height % 2 or width % 2 else pixels
    wide = _WIDER.get(pixels.dtype.name, np.float32)
    total = even[0::2, 0::2].astype(wide)
    for part in (even[0::2, 1::2], even[1::2, 0::2], even[1::2, 1::2]):
        total += part
    return (total * np.float32(0.25) if wide is np.float32 else (total + 2) >> 2).astype(pixels.dtype)


def _mirrored(pixels: Array, size: int) -> Array:
    more = [(0, max(0, size - side)) for side in pixels.shape[:2]] + [(0, 0)]
    return np.pad(pixels, more[: pixels.ndim], mode="symmetric") if any(after for _, after in more) else pixels


def _grey(pixels: Array) -> Array:
    grey, shares = np.empty(pixels.shape[:2], pixels.dtype), np.array(LUMA, np.float32)
    for rows in blocks(pixels.shape):
        grey[rows] = _as_type(pixels[rows] @ shares, pixels)
    return grey


def _scaled(pixels: Array, height: int, width: int) -> Array:
    found = []
    for plane in np.moveaxis(np.atleast_3d(pixels), 2, 0):  # one at a time: in float each takes four times its bytes
        values = torch.from_numpy(plane.astype(np.float32))[None, None]
        small = F.interpolate(values, (height, width), mode="bilinear", antialias=True, align_corners=False)
        found.append(_as_type(small[0, 0].numpy(), pixels))
    return found[0] if pixels.ndim == 2 else np.stack(found, axis=2)


def _as_type(values: npt.NDArray[np.float32], like: Array) -> Array:
    if like.dtype.kind in "iu":
        values = np.rint(np.clip(values, 0, np.iinfo(like.dtype).max))
    return values.astype(like.dtype)
