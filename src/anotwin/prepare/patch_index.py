"""Where a million random patches of many images lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from anotwin.errors import DataError, SettingsError
from anotwin.prepare.patches import MIN_VALID, Mask, valid_share
from anotwin.records import Array
from anotwin.seeding import derive


@dataclass(frozen=True)
class _Places:
    """The places of one image where a patch may lie."""

    shape: tuple[int, ...]  # of the image
    count: int
    ends: npt.NDArray[np.int64]  # (rows,) how many places lie in this row and those above
    bits: npt.NDArray[np.uint8] | None  # (rows, columns / 8) a bit per place; None: a patch may lie at all of them

    @classmethod
    def of(cls, valid: Mask, size: int) -> _Places:
        fits = min(valid.shape) >= size
        allowed = valid_share(valid, size) >= MIN_VALID if fits else np.zeros((1, 1), bool)
        ends = allowed.sum(axis=1).cumsum()
        return cls(valid.shape, int(ends[-1]), ends, None if allowed.all() else np.packbits(allowed, axis=1))

    def position(self, number: int) -> tuple[int, int]:
        """The corner of place `number`, counted row by row."""
        if self.bits is None:
            return divmod(number, self.count // len(self.ends))
        row = int(np.searchsorted(self.ends, number, side="right"))
        columns = np.flatnonzero(np.unpackbits(self.bits[row]))
        return row, int(columns[number - self.ends[row]])  # from the end of the row: an index below zero


class PatchIndex:
    """Random patches of many images, none of them stored: patch k follows from (seed, k) alone.

    Patches come in rounds, in each round one of every image in an order of its own: images give equally many, whatever
    their width, and a batch of consecutive patches shows many of them. Within an image all allowed places are equally
    likely: those where at least 90 % of the patch is valid. Images without such a place give none.

    >>> index = PatchIndex([np.ones((100, 300), bool), np.ones((100, 200), bool)], size=64, total=1_000_000, seed=0)
    >>> image, row, column = index[123_456]
    >>> len(index), index[123_456] == (image, row, column)
    (1000000, True)
    """

    def __init__(self, masks: Sequence[Mask], size: int, total: int, seed: int) -> None:
        """Count the places of each image.

        Args:
            masks: of each image, (h, w) True where valid.
            size: side of a patch in pixels.
            total: patches in the set; the first do not change with it.
            seed: of all draws.

        Raises:
            DataError: no image has an allowed place.
            SettingsError: a size or a total below 1.
        """
        if size < 1 or total < 1:
            raise SettingsError(f"{total} patches of side {size}: expected at least one patch of at least one pixel")
        self.size, self.total, self.seed = size, total, seed
        self._places = [_Places.of(mask, size) for mask in masks]
        self._used = np.array([i for i, places in enumerate(self._places) if places.count], dtype=np.int64)
        if not self._used.size:
            raise DataError(
                f"none of {len(masks)} images has a patch of side {size} with {MIN_VALID:.0%} of its pixels valid; "
                "use smaller patches or check the masks"
            )
        self._key = derive(seed, "patches", "places")

    def __len__(self) -> int:
        return self.total

    def __getitem__(self, k: int) -> tuple[int, int, int]:
        """Patch k: which image, and row and column of its corner; raises IndexError outside 0..total - 1."""
        if not 0 <= k < self.total:
            raise IndexError(f"patch {k} of {self.total}")
        turn, place = divmod(int(k), self._used.size)
        image = int(self._used[round_order(self.seed, turn, self._used.size)[place]])
        draw = int(np.random.Philox(key=self._key, counter=int(k)).random_raw())  # 64 bits that belong to k alone
        return image, *self._places[image].position(draw * self._places[image].count >> 64)

    def patches(self, images: Sequence[Array], numbers: Sequence[int] | npt.NDArray[np.int64]) -> Array:
        """Patches `numbers` (n,) cut from `images`, which have the shapes of their masks: (n, size, size)."""
        if not len(numbers):
            raise ValueError("no patches asked for; expected at least one number")
        found = []
        for image, row, column in (self[int(k)] for k in numbers):
            pixels = images[image]
            if pixels.shape[:2] != (shape := self._places[image].shape):
                raise ValueError(f"image {image} of {pixels.shape}, expected {shape}, that of its mask")
            found.append(pixels[row : row + self.size, column : column + self.size])
        return np.stack(found)


@lru_cache(maxsize=8)
def round_order(seed: int, turn: int, count: int) -> npt.NDArray[np.int64]:
    """The order of the images in a round. Raw bits of a generator never change with numpy's version, shuffles may."""
    return np.random.Philox(key=derive(seed, "patches", "round", turn)).random_raw(count).argsort(kind="stable")
