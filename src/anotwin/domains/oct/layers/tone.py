"""Grey levels as the lines are found in: those of a scan whose contrast was stretched, brought back to the usual ones.

Scanners show the logarithm of the signal or nearly so. After a gamma, CLAHE, an equalised histogram or a linear export
the noise of the vitreous or the choroid is as bright as the retina, or the retina as dark as the vitreous.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

USUAL = 0.2, 0.45  # level that a fifth of the blocks exceeds, 0: dark, 1: brightest; 0.21 to 0.43 in 176 real scans
POSSIBLE = 0.12, 0.68  # that a noisy scan, or one with a bright choroid, may have as it is
INVERTED = 0.7  # level of half of the blocks; at most 0.24 in real scans, 0.45 where the histogram was equalised
WANTED = 0.28, 0.32  # that it is brought to from below and from above: that of most of these scans
BLOCK = 4  # pixels: speckle alone is no contrast
MOST = 6.0  # exponent


def tones(values: npt.NDArray[np.float32], known: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.float32], ...]:
    """What lines are to be looked for in: the values (H, W) themselves where a fifth of the scan is as bright as usual.

    Else also their power that makes it so, and that alone where they are far from it.

    >>> scan = np.random.default_rng(0).random((64, 64), np.float32) ** 3
    >>> tones(scan, scan >= 0)[0] is scan
    True
    """
    low, _, level, high = _levels(values, known)
    share = float((level - low) / (high - low)) if high > low else WANTED[0]
    if USUAL[0] <= share <= USUAL[1] or level <= low:
        return (values,)
    power = np.clip(np.log(np.clip(share, *WANTED)) / np.log(np.clip(share, 1e-3, 0.99)), 1 / MOST, MOST)
    changed = np.asarray(np.clip((values - low) / (high - low), 0, None) ** power, np.float32)
    return (values, changed) if POSSIBLE[0] <= share <= POSSIBLE[1] else (changed,)


def is_inverted(values: npt.NDArray[np.float32], known: npt.NDArray[np.bool_]) -> bool:
    """Whether half of what is known is nearly as bright as its brightest parts: a vitreous that was turned to white."""
    low, middle, _, high = _levels(values, known)
    return high > low and (middle - low) / (high - low) > INVERTED


def _levels(values: npt.NDArray[np.float32], known: npt.NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """Of the means of blocks of what is known: nearly the darkest, the median, what a fifth exceeds, the brightest."""
    height, width = (size // BLOCK * BLOCK for size in values.shape)
    counts, sums = (_blocks(some[:height, :width]) for some in (known.astype(np.float32), np.where(known, values, 0)))
    blocks = sums[counts > 0] / counts[counts > 0]
    low, middle, level, high = np.percentile(blocks, (5, 50, 80, 99.5)) if len(blocks) else np.zeros(4)
    return float(low), float(middle), float(level), float(high)


def _blocks(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Sums over blocks."""
    height, width = values.shape
    return np.asarray(values.reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK).sum((1, 3)))
