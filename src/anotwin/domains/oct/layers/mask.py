"""What of a picture is a scan: one finite grey image, without the white that registration leaves at its borders."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import label, maximum_filter, minimum_filter

LEAST_SIDE = 64  # rows and columns
WHITE = 0.97  # of the brightest pixel; JPEG leaves 250 to 255
RING = 4  # pixels around white that JPEG has changed
COLOURED = 0.06  # of the brightest pixel that the channels of a grey picture may differ by


def as_scan(picture: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float32] | None, str]:
    """(H, W) float32 and no reason; or None and a sentence that says why the picture cannot be an OCT B-scan."""
    pixels = np.asarray(picture)
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (1, 3)):
        return None, f"no B-scan: pixels of shape {pixels.shape}, expected (height, width)"
    if min(pixels.shape[:2]) < LEAST_SIDE:
        rows, columns = pixels.shape[:2]
        return None, f"too small: {rows} rows and {columns} columns, expected at least {LEAST_SIDE} of each"
    if pixels.dtype.kind not in "iufb":
        return None, f"no B-scan: pixels of type {pixels.dtype}, expected numbers"
    values = pixels.astype(np.float32)
    if not np.isfinite(values).all():
        return None, "NaN or infinite pixels: clean or leave out the scan"
    low, high = float(values.min()), float(values.max())
    if low == high:
        return None, f"one flat colour (every pixel is {low:g}): there is nothing to see"
    if values.ndim == 3:
        differ = float(np.percentile(values.max(2) - values.min(2), 95)) / max(high - low, 1e-6)
        if differ > COLOURED:
            words = f"its channels differ by {differ:.0%} of the brightest; expected a grey OCT B-scan"
            return None, f"a colour picture: {words}"
        values = values.mean(axis=2)
    return values, ""


def known_pixels(values: npt.NDArray[np.float32], eight_bit: bool) -> npt.NDArray[np.bool_]:
    """(H, W) False in white areas that touch the border, and a little around them.

    White must fill 5 x 5 pixels, counting those beyond the border: bright tissue does not, and speckle breaks it up.
    """
    high = float(values.max())
    white = np.pad(values >= (max(WHITE * high, 240.0) if eight_bit else WHITE * high), RING, constant_values=True)
    rim = white[RING:-RING, RING:-RING]
    if not (rim[0].any() or rim[-1].any() or rim[:, 0].any() or rim[:, -1].any()):
        return np.ones(values.shape, np.bool_)
    core = minimum_filter(white.view(np.uint8), 5, mode="constant", cval=1)
    areas, _ = label(maximum_filter(core, 5).astype(np.bool_) & white)
    outside = areas == areas[0, 0]
    inner = np.ascontiguousarray(outside[RING:-RING, RING:-RING])  # without what lies beyond the border
    return np.asarray(maximum_filter(inner.view(np.uint8), 2 * RING + 1) == 0)
