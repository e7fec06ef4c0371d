"""The reduction that super-resolution learns to undo: bicubic with antialiasing, as in published low-resolution sets.

Kernel: cubic convolution (Keys 1981) with a = -1/2, stretched by the factor, so that each pixel is a weighted mean of
4 f x 4 f; pixels beyond the border are mirrored; rows first, then columns, rounded to the type of the file after each.
That is MATLAB's imresize, which made the low-resolution images of Set5, Set14 and BSD100.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anotwin.errors import DataError
from anotwin.records import Array, ImageSource
from anotwin.translation.derived import Derived


def reduced(pixels: Array, factor: int) -> Array:
    """A native image (H, W) or (H, W, 3), `factor` times smaller: (H // factor, W // factor), same type.

    Rows and columns beyond a multiple of the factor are cut off first, at the bottom and at the right.

    >>> reduced(np.full((9, 8), 7, np.uint8), 4).tolist()
    [[7, 7], [7, 7]]

    Raises:
        DataError: an image smaller than the factor.
    """
    height, width = (side // factor for side in pixels.shape[:2])
    if not height or not width:
        raise DataError(f"image of {pixels.shape[1]} x {pixels.shape[0]} pixels: too small to be reduced by {factor}")
    found = pixels[: height * factor, : width * factor]
    for axis, side in ((0, height), (1, width)):
        found = np.moveaxis(_along_rows(np.moveaxis(found, axis, 0), side, factor), 0, axis)
    return np.ascontiguousarray(found)


def _along_rows(pixels: Array, side: int, factor: int) -> Array:
    """(H, ...) -> (side, ...), rounded to the type."""
    margin = factor * 3 // 2  # 4 f rows for each row of the result, the same number above its f rows and below
    rows = np.pad(pixels, [(margin, margin), *[(0, 0)] * (pixels.ndim - 1)], mode="symmetric")
    small = np.zeros((side, *pixels.shape[1:]))
    for place, weight in enumerate(_weights(factor)):
        small += weight * rows[place : place + factor * side : factor]
    if pixels.dtype.kind in "iu":
        small = np.rint(np.clip(small, 0, np.iinfo(pixels.dtype).max))
    return small.astype(pixels.dtype)


def _weights(factor: int) -> npt.NDArray[np.float64]:
    """Of the 4 f pixels that a reduced one is the mean of: the kernel at their distances, over its sum."""
    x = np.abs((np.arange(4 * factor) + 0.5) / factor - 2)
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    weights = np.where(x <= 1, near, far)
    found: npt.NDArray[np.float64] = weights / weights.sum()
    return found


@dataclass(frozen=True)
class Reduced(Derived):
    """A source of the reduced images of another one, as an `ImageSource`."""

    source: ImageSource
    factor: int

    def read(self, index: int) -> Array:
        """Native pixels, reduced; raises DataError naming the file."""
        try:
            return reduced(self.source.read(index), self.factor)
        except DataError as error:
            name = self.items[index].id
            raise DataError(str(error) if name in str(error) else f"{name}: {error}") from None
