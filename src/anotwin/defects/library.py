"""Planting one defect: its kind, its size and its contrast, and the exact mask of what changed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anotwin.defects.kinds import KINDS, Pixels
from anotwin.defects.shapes import Rng

SQUARE = "square"  # what is planted where no kind can be: `Planted.kind`
SMALLEST, LARGEST = 3.0, 0.5  # diameters drawn: from pixels, to a share of the shorter side
FAINT, GROSS = 0.7, 8.0  # contrasts drawn, in standard deviations of the pixels around
LEVEL = 2 / 255  # of pixels in [-1, 1], one grey level of 8 bits: a change of less than half of it is none
VISIBLE = 4  # pixels that change by more than a grey level, at least; and by half the grain on average
TRIES = 5  # a defect that cannot be seen is planted again, larger


@dataclass(frozen=True, eq=False)
class Planted:
    """Pixels with a defect."""

    pixels: Pixels  # (C, H, W) in [-1, 1]; equal to the normal ones outside of the mask
    mask: npt.NDArray[np.bool_]  # (H, W) where they differ from the normal ones, in all by half a grey level; not empty
    kind: str  # SQUARE where the kind that was drawn leaves nothing to see: a flat image cannot be bent
    diameter: float  # as it was planted, in pixels
    contrast: float  # as it was planted, share of the pixel range


def plant(
    pixels: Pixels,
    donor: Pixels,
    rng: Rng,
    kinds: Sequence[str] = tuple(KINDS),
    diameter: float | None = None,
    contrast: float | None = None,
) -> Planted:
    """One defect somewhere in normal pixels (C, H, W) in [-1, 1].

    Args:
        pixels: normal.
        donor: natural pixels (C, h, w) of another place or image, for kinds that paste; any size.
        rng: of everything that is drawn.
        kinds: of which one is drawn.
        diameter: of a circle of its area, in pixels; None: drawn from 3 to half the shorter side, in equal ratios.
        contrast: share of the pixel range; None: drawn between 0.7 and 8 standard deviations of the pixels.

    >>> normal = np.random.default_rng(0).normal(0, 0.1, (1, 64, 64)).astype(np.float32)
    >>> found = plant(normal, normal, np.random.default_rng(1), ["pit"], diameter=6, contrast=0.4)
    >>> found.kind, bool((found.pixels == normal)[:, ~found.mask].all()), 10 < int(found.mask.sum()) < 100
    ('pit', True, True)
    """
    kind = kinds[int(rng.integers(len(kinds)))]
    shorter = min(pixels.shape[1:])
    for attempt in range(TRIES):
        large = max(LARGEST * shorter, SMALLEST)
        size = math.exp(rng.uniform(math.log(SMALLEST), math.log(large))) if diameter is None else diameter
        own = _contrast(pixels, rng) if contrast is None else contrast
        size, own = min(size * 1.5**attempt, shorter), min(own * 1.5**attempt, 1.0)
        after, alpha = KINDS[kind](pixels, donor, size, own, rng)
        made = np.clip(pixels + alpha * (after - pixels), -1, 1).astype(np.float32)
        change = np.where(alpha > 0, np.abs(made - pixels).max(0), 0)
        # black is not made darker: the mask is what became of the defect, not where it was meant to be
        mask = change > LEVEL / 2
        if (change > LEVEL).sum() >= VISIBLE and change[mask].mean() >= 0.5 * _grain(pixels):
            return Planted(np.where(mask, made, pixels), mask, kind, size, own)
    return _square(pixels, shorter)


def _contrast(pixels: Pixels, rng: Rng) -> float:
    spread = max(float(pixels.std()) / 2, 0.01)
    return float(np.clip(spread * math.exp(rng.uniform(math.log(FAINT), math.log(GROSS))), 0.02, 0.9))


def _grain(pixels: Pixels) -> float:
    """How much neighbouring pixels differ: a smaller change is seen by nobody."""
    down, right = (float(np.median(np.abs(np.diff(pixels, axis=axis)))) for axis in (1, 2))
    return min(down, right)


def _square(pixels: Pixels, shorter: int) -> Planted:
    """Where nothing could be seen, in flat images for one: a square in the middle, brighter or darker by half."""
    side = max(shorter // 4, 1)
    row, column = ((size - side) // 2 for size in pixels.shape[1:])
    mask = np.zeros(pixels.shape[1:], bool)
    mask[row : row + side, column : column + side] = True
    middle = np.where(pixels > 0, pixels - 1, pixels + 1)
    return Planted(np.where(mask, middle, pixels).astype(np.float32), mask, SQUARE, float(side), 0.5)
