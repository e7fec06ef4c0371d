"""Made-up images with planted defects and exact masks, for tests, the documentation's pictures and a first try."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from anotwin.errors import DataError
from anotwin.seeding import derive

Images = npt.NDArray[np.uint8]
Masks = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


def textured_discs(count: int, size: int = 32, seed: int = 0, abnormal: bool = False) -> tuple[Images, Masks]:
    """Soft-edged textured ellipses on noise; with `abnormal` each has a blob, a scratch or a missing piece.

    Image i depends on (size, seed, i) alone, and the abnormal one is the normal one with the defect planted.

    >>> images, masks = textured_discs(3, size=32, abnormal=True)
    >>> images.shape, images.dtype, bool(masks.any(axis=(1, 2)).all())
    ((3, 32, 32), dtype('uint8'), True)

    Args:
        count: images, at least 1.
        size: side in pixels, at least 8.
        seed: another seed, other images.
        abnormal: plant one defect in each image.

    Returns:
        Images (count, size, size) uint8, and masks of the same shape: True exactly where a defect changed a pixel.
    """
    if count < 1 or size < 8:
        raise DataError(f"synthetic: {count} images of {size} pixels, expected at least 1 image of at least 8 pixels")
    images = np.empty((count, size, size), np.uint8)
    masks = np.zeros((count, size, size), bool)
    for i in range(count):
        rng = np.random.default_rng(derive(seed, "disc", size, i))
        image, distance, background = _disc(size, rng)
        images[i] = _levels(image)
        if abnormal:
            defect = _levels(_DEFECTS[i % len(_DEFECTS)](image, distance, background, rng))
            masks[i] = defect != images[i]
            images[i] = defect
    return images, masks


def plant_blob(images: npt.NDArray[Any], seed: int = 0) -> tuple[npt.NDArray[Any], Masks]:
    """Copies of images with one round blob each, brighter on dark ground and darker on bright ground.

    Args:
        images: (N, H, W) or (N, H, W, 3); uint8, uint16, or floats in [0, 1].
        seed: another seed, other places.

    Returns:
        The images with blobs, same shape and type, and masks (N, H, W) True in the blob.
    """
    full = float(np.iinfo(images.dtype).max) if images.dtype.kind in "iu" else 1.0
    planted, masks = images.copy(), np.zeros(images.shape[:3], bool)
    height, width = images.shape[1:3]
    for i in range(len(images)):
        rng = np.random.default_rng(derive(seed, "blob", i))
        radius = max(1.0, rng.uniform(0.10, 0.14) * min(height, width))
        masks[i] = _circle(height, width, rng.uniform(0.3, 0.7) * height, rng.uniform(0.3, 0.7) * width, radius)
        ground = float(images[i][masks[i]].mean())
        step = 0.5 * full if ground < 0.5 * full else -0.5 * full
        values = np.clip(images[i][masks[i]].astype(np.float64) + step, 0, full)
        planted[i][masks[i]] = values.astype(images.dtype)
    return planted, masks


def _disc(size: int, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """One normal image in [0, 1], the distance from its centre in radii (1 at the rim), and its background."""
    rows, columns = np.mgrid[:size, :size] / size
    row, column = rng.uniform(0.42, 0.58, 2)
    tall, wide = rng.uniform(0.24, 0.36, 2)
    angle = rng.uniform(0, np.pi)
    y, x = rows - row, columns - column
    along, across = y * np.cos(angle) + x * np.sin(angle), x * np.cos(angle) - y * np.sin(angle)
    distance = np.hypot(along / tall, across / wide)
    background = 0.12 + rng.normal(0, 0.02, (size, size))
    texture = gaussian_filter(rng.normal(size=(size, size)), max(0.6, size / 32), mode="wrap")
    surface = rng.uniform(0.5, 0.75) + 0.05 * texture / texture.std() - 0.1 * distance  # brighter in the middle
    inside = 1 / (1 + np.exp((distance - 1) * 16))  # soft edge
    return background + inside * (surface - background), distance, background


def _blob(image: Floats, distance: Floats, _background: Floats, rng: np.random.Generator) -> Floats:
    row, column = _point(distance < 0.6, rng)
    blob = _circle(len(image), len(image), row, column, rng.uniform(0.06, 0.10) * len(image))
    return np.where(blob, image + rng.choice([-0.35, 0.35]), image)


def _scratch(image: Floats, distance: Floats, _background: Floats, rng: np.random.Generator) -> Floats:
    row, column = _point(distance < 0.5, rng)
    angle, size = rng.uniform(0, np.pi), len(image)
    rows, columns = np.mgrid[:size, :size]
    along = (rows - row) * np.cos(angle) + (columns - column) * np.sin(angle)
    across = (columns - column) * np.cos(angle) - (rows - row) * np.sin(angle)
    line = (np.abs(along) <= rng.uniform(0.15, 0.22) * size) & (np.abs(across) <= max(0.75, 0.02 * size))
    return np.where(line, image + rng.choice([-0.35, 0.35]), image)


def _missing_piece(image: Floats, distance: Floats, background: Floats, rng: np.random.Generator) -> Floats:
    row, column = _point((distance > 0.7) & (distance < 0.9), rng)
    piece = _circle(len(image), len(image), row, column, rng.uniform(0.10, 0.15) * len(image)) & (distance < 1.1)
    return np.where(piece, background, image)


_DEFECTS = (_blob, _scratch, _missing_piece)


def _point(allowed: Masks, rng: np.random.Generator) -> tuple[float, float]:
    row, column = rng.choice(np.argwhere(allowed))
    return float(row), float(column)


def _circle(height: int, width: int, row: float, column: float, radius: float) -> Masks:
    rows, columns = np.ogrid[:height, :width]
    circle: Masks = (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
    return circle


def _levels(image: Floats) -> Images:
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
