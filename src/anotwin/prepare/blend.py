"""Maps of overlapping tiles put together as they come, and maps of several resolutions as one.

The weight of a tile falls to 0 towards its border, so that no border of a tile shows. The weights are normalised
beforehand, along rows and columns by themselves, because tiles lie on a grid: what has been added is the mean at once,
and rows that no further tile reaches are done. So memory holds the finished map and one row of tiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from anotwin.prepare.blocks import BLOCK
from anotwin.prepare.patches import Positions
from anotwin.prepare.pyramid import enlarged

Floats = npt.NDArray[np.floating[Any]]
MANY = 2**24  # pixels of a map: one with more is kept as float16, for three float32 maps would fill the memory
_MOST = 65504.0  # what float16 holds


def kept_type(height: int, width: int) -> type[np.floating[Any]]:
    """The type of the maps of an image of this size."""
    return np.float16 if height * width > MANY else np.float32


class Blend:
    """K maps of one level, as a weighted mean of those of its tiles.

    Args:
        shape: (h, w) of the level; what tiles show beyond it is dropped.
        positions: (P, 2) corners of the tiles, `Level.grid`; they are added in that order.
        size: side of a tile.
        planes: K.
    """

    def __init__(self, shape: tuple[int, int], positions: Positions, size: int, planes: int) -> None:
        self.shape, self.positions, self.size = shape, positions, size
        self.done = np.zeros((planes, *shape), kept_type(*shape))  # (K, h, w)
        self._down, self._across = (_weights(np.unique(positions[:, axis]), size) for axis in (0, 1))
        self._width = int(positions[:, 1].max()) + size
        self._band = np.zeros((planes, size, self._width), np.float32)  # rows from `_top` on, not done yet
        self._top = self._next = 0

    @property
    def missing(self) -> int:
        """How many tiles are still to be added."""
        return len(self.positions) - self._next

    def add(self, tiles: npt.NDArray[np.float32]) -> None:
        """The maps (p, K, S, S) of the next tiles."""
        for maps, (row, column) in zip(tiles, self.positions[self._next :].tolist(), strict=False):
            self._finish(row)
            weights = self._down[row][:, None] * self._across[column]
            self._band[:, :, column : column + self.size] += weights * maps
        self._next += len(tiles)
        if len(tiles) and not self.missing:
            self._finish(self._top + self.size)
            self._band = np.zeros((0, 0, 0), np.float32)

    def _finish(self, row: int) -> None:
        """All rows before `row` are done."""
        count = row - self._top
        if count:
            rows, width = slice(self._top, min(row, self.shape[0])), self.shape[1]
            self.done[:, rows] = np.clip(self._band[:, : max(rows.stop - rows.start, 0), :width], -_MOST, _MOST)
            self._band[:, : self.size - count] = self._band[:, count:].copy()
            self._band[:, self.size - count :] = 0
            self._top = row


def merge(levels: Sequence[Floats]) -> Floats:
    """Heat and changes of all levels as those of the finest, in its place: (1 + C, h, w) with the heat first.

    The heat, in units of what is usual, is the highest of all levels. A change is that of the finest level or, where a
    coarser one is hotter than it and than 1, passes over to that one's: half where it is half as hot again.
    """
    coarse = levels[-1]
    for fine in reversed(levels[:-1]):
        _, height, width = fine.shape
        step = max(2, BLOCK // width // 2 * 2)
        for begin in range(0, height, step):
            rows = slice(begin, min(begin + step, height))
            above = enlarged(coarse, rows, height, width)
            fine[:, rows] = over(fine[:, rows], above)
        coarse = fine
    return coarse


def over(maps: Floats, above: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Heat and changes (1 + C, h, w) of one level with those of another in their place, as `merge` puts them together.

    >>> over(np.array([[[1.0]], [[0.25]]], np.float32), np.array([[[1.5]], [[0.75]]], np.float32)).tolist()
    [[[1.5]], [[0.5]]]
    """
    own = maps.astype(np.float32)
    share = np.clip(above[0] / np.maximum(own[0], 1) - 1, 0, 1)
    found: npt.NDArray[np.float32] = own + share * (above - own)
    found[0] = np.maximum(own[0], above[0])
    return found


def _weights(corners: npt.NDArray[np.int64], size: int) -> dict[int, npt.NDArray[np.float32]]:
    """Of each row (or column) of tiles, by its corner: weights (S,) that add up to 1 at every pixel."""
    window = np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2
    total = np.zeros(int(corners.max()) + size)
    for corner in corners.tolist():
        total[corner : corner + size] += window
    return {corner: (window / total[corner : corner + size]).astype(np.float32) for corner in corners.tolist()}
