"""What texture an image shows, whatever its brightness and contrast: how much pixels differ at some distances."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from anotwin.records import Array

LAGS = 1, 2, 4, 8  # pixels
DIRECTIONS = (0, 1), (1, 0), (1, 1), (1, -1)  # rows down, columns across
TEXTURE = len(LAGS) * len(DIRECTIONS)  # numbers an image
PAIRS = 2**18  # of pixels for each number, at most: evenly spaced in larger images
LEAST = 1e-3  # a difference, of the largest: a pattern that repeats exactly is not infinitely smooth

Texture = npt.NDArray[np.float64]


def texture_of(pixels: Array) -> Texture:
    """Log mean root difference of pixels (H, W) or (H, W, C) at each distance and direction, less their mean: (16,).

    A variogram in the robust form of Cressie and Hawkins (1980): a defect, which few pairs of pixels touch, hardly
    changes it. Neither do brightness and contrast. Zeros for a flat image; sides of more than 8 pixels.

    >>> stripes = np.tile(np.arange(32) % 4, (32, 1))
    >>> found = texture_of(stripes)
    >>> bool(np.allclose(found, texture_of(3 * stripes + 50))), bool(found[0] > found[1])  # across, down
    (True, True)
    """
    planes = np.atleast_3d(pixels)
    step, means = math.isqrt(max(planes[..., 0].size // PAIRS, 1)), []
    for lag in LAGS:
        for down, across in ((lag * row, lag * column) for row, column in DIRECTIONS):
            height, width = planes.shape[0] - down, planes.shape[1] - abs(across)
            left, right = max(0, -across), max(0, across)
            here = planes[:height:step, left : left + width : step].astype(np.float64)
            there = planes[down::step, right : right + width : step]
            means.append(np.sqrt(np.abs(here - there)).mean())
    found = np.array(means)
    if not found.any():
        return np.zeros(TEXTURE)
    logs = np.log(np.maximum(found, LEAST * found.max()))
    texture: Texture = logs - logs.mean()
    return texture
