"""Which pixels a mask file marks, in whatever form it was saved.

Background is the darkest value; what is marked is brighter. A file with few values is a mask as drawn (0 and 1, 0 and
255, numbers of classes, a palette): everything above the darkest counts. A file with many, or one of a format that
loses detail, has noise and soft edges: what lies above half of its brightest counts. Where a transparent layer was
drawn on, what is seen of it counts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from anotwin.data.pixels import native, read_stored
from anotwin.errors import DataError

Marked = npt.NDArray[np.bool_]

FEW = 16  # grey values: more are shades


def read_mask(path: str | Path) -> Marked:
    """A mask file as (H, W) bool, True where marked; upright, like its image. Raises DataError like `read_pixels`.

    Of 0 and 1 the ones are marked, of JPEG what is brighter than half of the brightest. A palette counts by its
    colours. A mask of one value marks nothing if that is black, else everything.
    """
    stored = read_stored(path)
    levels = _levels(native(stored.pixels, str(path)))
    lossy = _is_lossy(Path(path))
    if stored.alpha is None:
        return _marked(levels, lossy)
    alpha = np.asarray(stored.alpha)
    seen = alpha if alpha.dtype == bool else alpha > alpha.max() / 2 if alpha.any() else np.zeros(alpha.shape, bool)
    if seen.all():
        return _marked(levels, lossy)
    shown = levels[seen]
    if shown.size == 0 or shown.min() == shown.max():  # one colour on a transparent layer, which may be black
        return np.array(seen)
    return np.asarray(_marked(np.where(seen, levels, levels.dtype.type(0)), lossy))


def looks_drawn(path: Path) -> bool:
    """Whether a file could be a mask by its values: few of them, or nearly all dark or bright."""
    try:
        levels = _levels(native(read_stored(path).pixels, str(path)))
    except DataError:
        return False
    if not _is_lossy(path) and np.unique(levels).size <= FEW:
        return True
    high = float(levels.max())
    return high > 0 and bool(np.mean((levels > 0.15 * high) & (levels < 0.85 * high)) < 0.05)


def _levels(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(H, W) one number a pixel: of colours the luminance in thousandths, so that the darkest is the background."""
    if pixels.ndim == 2:
        return pixels
    if (pixels == pixels[:, :, :1]).all():
        return np.ascontiguousarray(pixels[:, :, 0])
    if pixels.dtype.kind == "f":
        return np.asarray(pixels @ np.array([299, 587, 114], np.float32))
    return np.asarray(pixels.astype(np.uint32) @ np.array([299, 587, 114], np.uint32))


def _marked(levels: npt.NDArray[Any], lossy: bool) -> Marked:
    low, high = levels.min(), levels.max()
    if lossy and (high < 16 or (low == high and high < 128)):  # noise, or the black of video, which is 16
        return np.zeros(levels.shape, bool)
    if low == high:
        return np.full(levels.shape, bool(high > 0))
    values = np.unique(levels)
    if len(values) == 2 and not lossy:
        return np.asarray(levels == high)
    if lossy or _are_shades(values):
        floor = low if low <= high / 4 else 0
        return np.asarray(levels > (float(floor) + float(high)) / 2)
    return np.asarray(levels > low)


def _are_shades(values: npt.NDArray[Any]) -> bool:
    """Whether these values of a mask are noise and soft edges between two, and not the numbers of classes."""
    high = values[-1]
    if values.dtype == np.uint32:  # of colours: a palette may have many
        return len(values) > 256
    if values.dtype.kind != "f" and high < (64 if values.dtype == np.uint8 else 1024):
        return False
    return len(values) > FEW or int(np.count_nonzero((values > 0) & (values <= high / 8))) >= 2


def _is_lossy(path: Path) -> bool:
    """JPEG, or WebP that is not lossless."""
    with path.open("rb") as file:
        start = file.read(64)
    return start[:2] == b"\xff\xd8" or (start[:4] == b"RIFF" and b"VP8 " in start)
