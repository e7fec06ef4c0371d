"""Many generated images in one picture."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from anotwin.errors import DataError
from anotwin.report.overlay import save_png

if TYPE_CHECKING:
    from anotwin.records import Array

GAP = 2  # pixels between images
_PAPER = 255


def model_to_uint8(images: Array) -> npt.NDArray[np.uint8]:
    """Model images (..., C, S, S) in [-1, 1] as uint8, (..., S, S) for C = 1 or (..., S, S, 3)."""
    if images.ndim < 3 or images.shape[-3] not in (1, 3):
        raise DataError(f"images of shape {images.shape}: expected (..., C, S, S) with 1 or 3 channels")
    values = np.nan_to_num(images.astype(np.float64), nan=-1.0, posinf=1.0, neginf=-1.0)
    pixels = np.rint((np.clip(values, -1.0, 1.0) + 1) * 127.5).astype(np.uint8)
    return pixels[..., 0, :, :] if pixels.shape[-3] == 1 else np.moveaxis(pixels, -3, -1)


def image_grid(images: Array, columns: int | None = None) -> npt.NDArray[np.uint8]:
    """Images (N, C, S, S) in [-1, 1] row by row in one uint8 picture, (H, W) or (H, W, 3), white between them.

    `columns` not given: there are as many as rows, or one more.

    >>> image_grid(np.zeros((5, 1, 8, 8))).shape
    (18, 28)
    """
    if images.ndim != 4 or not len(images):
        raise DataError(f"images of shape {images.shape}: expected (N, C, S, S) with at least one image")
    count, _, height, width = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    pixels = model_to_uint8(images)
    shape = (rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, *pixels.shape[3:])
    picture = np.full(shape, _PAPER, dtype=np.uint8)
    for index, image in enumerate(pixels):
        top, left = index // columns * (height + GAP), index % columns * (width + GAP)
        picture[top : top + height, left : left + width] = image
    return picture


def save_grid(images: Array, path: str | Path, columns: int | None = None) -> None:
    """Save `image_grid` as a PNG, one to one, atomically."""
    save_png(image_grid(images, columns), path)
