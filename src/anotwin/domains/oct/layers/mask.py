"""What of a picture is a scan: one finite grey image, without the margins that registration leaves at its borders."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_opening, find_objects, label, maximum_filter, minimum_filter

from anotwin.domains.oct.layers.margins import margins

LEAST_SIDE = 64  # rows and columns
WHITE = 0.97  # of the brightest pixel; JPEG leaves 250 to 255
RING = 4  # pixels around white that JPEG has changed
COLOURED = 0.06  # of the brightest pixel that the channels of a grey picture may differ by, beyond a tint of all of it
MOST_COLOURED = 0.005  # share of the pixels by which colour is judged: drawn lines are few
BLOCK = 2  # pixels: JPEG keeps one colour for so many, in either direction
MORE = 1.5  # strength of a tint that JPEG makes of 1
VIVID, LEAST_VIVID = 0.25, 1e-4  # a difference that no JPEG makes, and the share of blocks with it that is no accident
LINE_WIDTH, LINE_LENGTH = 3, 0.25  # rows at most and share of the columns at least that a drawn white line takes
SHARP = 0.3  # of the range of values, from a drawn line to what lies beside it


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
        coloured = _coloured(values, high - low)
        if coloured:
            return None, f"a colour picture: {coloured}; expected a grey OCT B-scan, exported without drawings"
        values = values.mean(axis=2)
    if _has_drawn_line(values, high - low, pixels.dtype == np.uint8):
        return None, "a line is drawn into it, white and of one width: export the B-scan without its drawings"
    return values, ""


def _coloured(values: npt.NDArray[np.float32], span: float) -> str:
    """What is coloured in a picture (H, W, 3); "": nothing but a tint that all of it has."""
    if (values.max(2) - values.min(2)).max() <= COLOURED * span:
        return ""
    height, width = values.shape[0] // BLOCK * BLOCK, values.shape[1] // BLOCK * BLOCK
    blocks = values[:height, :width].reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK, 3).mean((1, 3)) / span
    grey = blocks.mean(axis=2)
    colour = blocks - grey[:, :, None]
    bright = grey > np.median(grey)
    tint = np.median(colour[bright] / grey[bright][:, None], axis=0)  # as most of the picture has it, few lines do not
    strength = max(float(np.linalg.norm(tint)), 1e-6)
    # JPEG blurs colour: where all have one hue, brightness and colour need not fit
    shared = np.clip(colour @ tint / strength, 0, MORE * strength)
    colour -= shared[:, :, None] * tint / strength
    differ = (colour.max(2) - colour.min(2)).ravel()
    count = max(1, round(MOST_COLOURED * differ.size))
    most, vivid = float(np.partition(differ, -count)[-count:].mean()), float(np.mean(differ > VIVID))
    if most <= COLOURED and vivid < LEAST_VIVID:
        return ""
    return f"the channels of its most coloured parts differ by {most:.0%} of the brightest"


def _has_drawn_line(values: npt.NDArray[np.float32], span: float, eight_bit: bool) -> bool:
    """Whether a thin white curve runs through a good part of the picture. JPEG blurs such lines: then nobody can say.

    Bright tissue may be as white, but not without a transition above and below.
    """
    high = float(values.max())
    white = values >= high - span / 255
    thin = white & ~binary_opening(white, np.ones((LINE_WIDTH + 1, 1)))
    around = np.maximum(np.roll(values, LINE_WIDTH, axis=0), np.roll(values, -LINE_WIDTH, axis=0))
    parts, count = label(thin & (around < high - SHARP * span), np.ones((3, 3)))
    if not count:
        return False
    long = [part for part in find_objects(parts) if part[1].stop - part[1].start >= LINE_LENGTH * values.shape[1]]
    if not long:
        return False
    known = known_pixels(values, eight_bit)  # no edge of a white margin
    return any(known[part][parts[part] > 0].mean() > 0.5 for part in long)


def known_pixels(values: npt.NDArray[np.float32], eight_bit: bool) -> npt.NDArray[np.bool_]:
    """(H, W) False in white areas that touch the border and in `margins` of one value, and a little around them.

    White must fill 5 x 5 pixels, counting those beyond the border: bright tissue does not, and speckle breaks it up.
    """
    high = float(values.max())
    threshold = max(WHITE * high, 240.0) if eight_bit else WHITE * high
    level = 1.0 if eight_bit else max(high - float(values.min()), 1e-30) / 255
    known = ~margins(values, level, 1.0 if eight_bit else 0.1 * level, threshold)
    white = np.pad(values >= threshold, RING, constant_values=True)
    rim = white[RING:-RING, RING:-RING]
    if not (rim[0].any() or rim[-1].any() or rim[:, 0].any() or rim[:, -1].any()):
        return known
    core = minimum_filter(white.view(np.uint8), 5, mode="constant", cval=1)
    areas, _ = label(maximum_filter(core, 5).astype(np.bool_) & white)
    outside = areas == areas[0, 0]
    inner = np.ascontiguousarray(outside[RING:-RING, RING:-RING])  # without what lies beyond the border
    return np.asarray(known & (maximum_filter(inner.view(np.uint8), 2 * RING + 1) == 0))
