"""A million random patches of many images, none of them stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from anotwin.errors import DataError, SettingsError
from anotwin.prepare.patches import MIN_VALID, Mask, allowed_places, wanted
from anotwin.records import Array
from anotwin.seeding import derive


@dataclass(frozen=True)
class _Places:
    """The places of one image that are allowed, as a bit each; `ends` None: all of them."""

    shape: tuple[int, int]  # of the grid of places
    count: int
    ends: npt.NDArray[np.int64] | None = None  # (rows,) how many places lie in this row and those above
    bits: npt.NDArray[np.uint8] | None = None  # (rows, columns / 8)

    @classmethod
    def of(cls, image: Mask | tuple[int, int], size: int, share: float) -> _Places:
        shape = image if isinstance(image, tuple) else image.shape
        grid = (max(shape[0] - size + 1, 0), max(shape[1] - size + 1, 0))
        if isinstance(image, tuple) or 0 in grid:
            return cls(grid, grid[0] * grid[1])
        allowed = allowed_places(image, size, share)
        ends = allowed.sum(axis=1).cumsum()
        if ends[-1] == allowed.size:
            return cls(grid, allowed.size)
        return cls(grid, int(ends[-1]), ends, np.packbits(allowed, axis=1))

    def position(self, number: int) -> tuple[int, int]:
        """The corner of place `number`, counted row by row."""
        if self.ends is None or self.bits is None:
            return divmod(number, self.shape[1])
        row = int(np.searchsorted(self.ends, number, side="right"))
        columns = np.flatnonzero(np.unpackbits(self.bits[row], count=self.shape[1]))
        return row, int(columns[number - self.ends[row]])  # from the end of the row: an index below zero


class PatchIndex:
    """Random patches of many images, none of them stored: patch k follows from (seed, k) alone.

    Patches come in rounds, in each round one of every image in an order of its own: images give equally many, whatever
    their width, and a batch of consecutive patches shows many of them. Within an image all allowed places are equally
    likely. Images without an allowed place take no part. Costs a bit a place, for images with a mask.

    >>> index = PatchIndex([(100, 300), (100, 200)], size=64, total=1_000_000, seed=0)
    >>> image, row, column = index[123_456]
    >>> len(index), index[123_456] == (image, row, column)
    (1000000, True)
    """

    def __init__(
        self, images: Sequence[Mask | tuple[int, int]], size: int, total: int, seed: int, share: float = MIN_VALID
    ) -> None:
        """Count the places of each image.

        Args:
            images: of each its mask (h, w), True where valid, or its shape (h, w) where all is.
            size: side of a patch in pixels.
            total: patches in the set; they are drawn by themselves, so more of them leave the first as they are.
            seed: of all draws.
            share: the least valid share of a patch, in [0, 1].

        Raises:
            DataError: no image has an allowed place.
            SettingsError: a size, a total or a share that cannot be.
        """
        if size < 1 or total < 1:
            raise SettingsError(f"{total} patches of side {size}: expected at least one patch of at least one pixel")
        self.size, self.total, self.seed = size, total, seed
        self._places = [_Places.of(image, size, share) for image in images]
        self._used = np.array([i for i, places in enumerate(self._places) if places.count], dtype=np.int64)
        if not self._used.size:
            raise DataError(f"none of {len(images)} images has a {wanted(size, share)}")
        self._key = derive(seed, "patches", "places")

    def __len__(self) -> int:
        return self.total

    def __getitem__(self, k: int) -> tuple[int, int, int]:
        """Patch k: which image, and row and column of its corner; raises IndexError outside 0..total - 1."""
        if not 0 <= k < self.total:
            raise IndexError(f"patch {k} of {self.total}")
        turn, place = divmod(int(k), self._used.size)
        image = int(self._used[_order(self.seed, turn, self._used.size)[place]])
        draw = int(np.random.Philox(key=self._key, counter=int(k)).random_raw())  # 64 bits that belong to k alone
        return image, *self._places[image].position(draw * self._places[image].count >> 64)

    def patches(self, images: Sequence[Array], numbers: Sequence[int] | npt.NDArray[np.int64]) -> Array:
        """Patches `numbers` (n,) cut from `images`: (n, size, size) of their type. Each image is asked for once.

        `images` may read on demand: all that it needs is ``images[i]``, in the shape that was given for it.
        """
        where = np.array([self[int(k)] for k in numbers], dtype=np.int64).reshape(-1, 3)
        if not len(where):
            raise ValueError("no patches asked for; expected at least one number")
        found: list[Array] = [np.empty(0)] * len(where)
        for image in np.unique(where[:, 0]):
            pixels = images[image]
            wanted_shape = tuple(side + self.size - 1 for side in self._places[image].shape)
            if pixels.shape[:2] != wanted_shape:
                raise ValueError(f"image {image} of {pixels.shape}, expected {wanted_shape} as when it was indexed")
            for k in np.flatnonzero(where[:, 0] == image):
                row, column = where[k, 1:]
                found[k] = pixels[row : row + self.size, column : column + self.size]
        return np.stack(found)


@lru_cache(maxsize=8)
def _order(seed: int, turn: int, count: int) -> npt.NDArray[np.int64]:
    """The order of the images in a round. Raw bits of a generator never change with numpy's version, shuffles may."""
    return np.random.Philox(key=derive(seed, "patches", "round", turn)).random_raw(count).argsort(kind="stable")
