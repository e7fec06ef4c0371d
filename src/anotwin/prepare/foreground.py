"""Where the object is, in a picture of a part on a plain background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_dilation, binary_fill_holes, binary_opening, gaussian_filter
from skimage.filters import threshold_otsu

from anotwin.prepare.pyramid import Level

SIDE = 256  # pixels that the longer side has at least where the object is looked for, or all that there are
BORDER = 0.75  # of the image's border must be background, or no object stands out
LEAST, MOST = 0.01, 0.95  # of the image that an object covers
MARGIN = 2  # pixels around it that count as well: defects of an outline lie there


@dataclass(frozen=True, eq=False)
class Foreground:
    """The pixels of one level that show the object."""

    mask: npt.NDArray[np.bool_]  # (h, w)
    level: int

    def at(self, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64], level: int = 0) -> npt.NDArray[np.bool_]:
        """Whether pixels (rows, columns) of a level show the object, in the shape of both together."""
        height, width = self.mask.shape
        down, across = ((at << level) >> self.level for at in (rows, columns))
        found: npt.NDArray[np.bool_] = self.mask[np.minimum(down, height - 1), np.minimum(across, width - 1)]
        return found

    def touches(self, row: int, column: int, size: int, level: int) -> bool:
        """Whether a tile of a level shows any of the object."""
        top, left = ((at << level) >> self.level for at in (row, column))
        bottom, right = ((((at + size) << level) - 1) >> self.level for at in (row, column))
        return bool(self.mask[top : bottom + 1, left : right + 1].any())


def find_foreground(levels: Sequence[Level]) -> Foreground | None:
    """The object on the background that the border of the image shows, by Otsu's threshold; None: none stands out.

    What is enclosed by the object belongs to it.
    """
    number = max(k for k, level in enumerate(levels) if k == 0 or max(level.height, level.width) >= SIDE)
    level = levels[number]
    pixels = level.pixels[: level.height, : level.width].astype(np.float32)
    smooth = gaussian_filter(pixels if pixels.ndim == 2 else pixels.mean(2), 1.0)
    if smooth.min() == smooth.max():
        return None
    bright = smooth > threshold_otsu(smooth)  # type: ignore[no-untyped-call]
    border = np.concatenate([bright[0], bright[-1], bright[:, 0], bright[:, -1]])
    background = border.mean() > 0.5
    if (border == background).mean() < BORDER:
        return None
    mask = binary_fill_holes(binary_opening(bright != background, iterations=1))
    mask = binary_dilation(mask, iterations=MARGIN)
    return Foreground(mask, number) if LEAST <= mask.mean() <= MOST else None
