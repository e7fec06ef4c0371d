"""Whether numbered pictures are slices of one volume: names say it only if neighbours look alike.

Pictures of several eyes are numbered too, and lines of slices that are no neighbours would be drawn towards each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from anotwin.data.pixels import read_pixels
from anotwin.errors import DataError

MOST = 1024  # pictures: more in one folder are no volume of any scanner, and are not compared
SIDE = 64  # pixels of the squares that are compared
SHIFT = 10  # of their rows: the eye moves along the beam between two slices
# Correlation of the grey values, the best over shifts: of the next slices of 10 eyes (duke_layers, 120 micrometres and
# more apart) 0.82 to 0.97, of slices of different ones 0.51 to 0.86, half of them below 0.70
ALIKE, CLEARLY_ALIKE = 0.75, 0.87

Square = npt.NDArray[np.float64]


def volume_runs(pictures: Sequence[Path]) -> list[list[int]]:
    """Positions of pictures in the order of their numbers, parted where neighbours differ; a run of one stands alone.

    Where half or more of the neighbours differ none belong together. A picture that differs from both its neighbours
    while these resemble each other (a blink) stays in; so does one that cannot be read or shows nothing.
    """
    if len(pictures) > MOST:
        return [[position] for position in range(len(pictures))]
    squares = [_square(path) for path in pictures]
    readable = [position for position, square in enumerate(squares) if square is not None]
    near = [_resemblance(squares, one, next) for one, next in pairwise(readable)]
    # slices of most volumes are closer than those of the least alike: a gap of four times the usual parts them too
    limit = float(np.clip(1 - 4 * (1 - np.median(near or [1])), ALIKE, CLEARLY_ALIKE))
    breaks = {number for number, value in enumerate(near, start=1) if value < limit}
    for number in sorted(breaks):  # one odd picture makes two breaks
        if number + 1 in breaks and _resemblance(squares, readable[number - 1], readable[number + 1]) > CLEARLY_ALIKE:
            breaks -= {number, number + 1}
    if breaks and 2 * len(breaks) >= len(near):
        return [[position] for position in range(len(pictures))]
    begins = {readable[number] for number in breaks}
    runs: list[list[int]] = []
    for position in range(len(pictures)):
        if not runs or position in begins:
            runs.append([])
        runs[-1].append(position)
    return runs


def _resemblance(squares: Sequence[Square | None], one: int, other: int) -> float:
    first, second = squares[one], squares[other]
    assert first is not None
    assert second is not None
    shifted = (
        (first[max(0, rows) : SIDE + min(0, rows)], second[max(0, -rows) : SIDE + min(0, -rows)])
        for rows in range(-SHIFT, SHIFT + 1)
    )
    return max(_correlation(*pair) for pair in shifted)


def _correlation(one: Square, other: Square) -> float:
    a, b = one - one.mean(), other - other.mean()
    return float((a * b).sum() / max(np.sqrt((a * a).sum() * (b * b).sum()), 1e-12))


def _square(path: Path) -> Square | None:
    """The picture on 64 x 64 pixels, grey; None where it is flat or cannot be read, which its own row will say."""
    try:
        pixels = read_pixels(path)
    except (DataError, MemoryError):
        return None
    grey = pixels.astype(np.float32) if pixels.ndim == 2 else pixels.mean(axis=2, dtype=np.float32)
    square = np.asarray(Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.BOX), np.float64)
    return square if np.ptp(square) > 0 else None
