"""The counterpart of a whole scan, from that of its band: what lies beyond the band, and the grain of the vitreous.

A generated vitreous is smooth and, as dark noise is skewed, too dark; above the band nothing is generated. Above the
counterpart's own inner surface there is vitreous, in the band and above it: the scan's own where the scan shows it
there, else a mirror image of that above the scan's inner surface.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt, gaussian_filter, gaussian_filter1d, median_filter, uniform_filter1d

from anotwin.domains.oct.flatten import BRIGHT, VITREOUS, Flat, to_scan
from anotwin.domains.oct.layers.find import Retina
from anotwin.domains.oct.layers.mask import as_scan, known_pixels
from anotwin.records import Array

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

SURFACE = VITREOUS + 0.25 * (BRIGHT - VITREOUS)  # values of the band above it are tissue
SOFT = 6  # rows of the scan at the edges of the band, and columns at those of what decides, where both are mixed
CLEAR = 8  # rows above the scan's inner surface that are not taken for vitreous: the surface is blurred
LEAST = 40  # rows of vitreous that a column needs to be a pattern for others, if any has as many
STEEPEST = 0.7  # rows of the band a column that a counterpart's surface may fall or rise: 20 degrees


def whole_counterpart(pixels: Array, retina: Retina, flat: Flat, change: Array, drawn: Array, normal: Bools) -> Floats:
    """Grey levels (H, W) of the counterpart, not yet rounded.

    Args:
        pixels: (H, W) or (H, W, 3) native, of one colour.
        change: (H, W) values of the band that the scan is brighter than what was generated; 0 outside the band.
        drawn: (h, w) the band as generated.
        normal: (H, W) where nothing is remarkable.
    """
    grey = (pixels if pixels.ndim == 2 else pixels.mean(axis=2)).astype(np.float64)
    own = grey - _faded(change, flat) * flat.grey
    rows = np.arange(len(grey))[:, None]
    values, _ = as_scan(pixels)
    assert values is not None
    known = known_pixels(values, pixels.dtype == np.uint8) & retina.valid
    vitreous = known & (rows < retina.ilm - CLEAR)
    mirror = _mirrored(grey, vitreous)
    if mirror is None:
        return own
    surface = _surface(drawn, flat)
    above = np.clip((surface - rows) / SOFT, 0, 1) * known  # 1 in the counterpart's vitreous
    there = np.clip((retina.ilm - CLEAR - rows) / SOFT, 0, 1) * gaussian_filter(normal.astype(np.float64), 2)
    filled = there * grey + (1 - there) * mirror
    return np.asarray(own + above * (filled - own))


def _faded(change: Array, flat: Flat) -> Floats:
    """The change, going to 0 over a few rows at the lower edge of the band: below it the scan is left as it is."""
    edge = to_scan(np.full(len(flat.baseline), len(flat.pixels) - 0.5), _across(flat), flat)[0]
    return np.asarray(change * np.clip((edge - np.arange(flat.height)[:, None]) / SOFT, 0, 1))


def _across(flat: Flat) -> Floats:
    return np.asarray((np.arange(len(flat.baseline)) + 0.5) / flat.columns - 0.5)


def _surface(drawn: Array, flat: Flat) -> Floats:
    """(W,) rows of the scan: the inner surface of the counterpart, nowhere above the band and nowhere steep.

    Where a dark place, or none at all, is seen at the surface, it goes on from the sides.
    """
    smooth = gaussian_filter(np.nan_to_num(drawn, nan=VITREOUS).astype(np.float64), (1.0, 3.0))
    tissue = uniform_filter1d((smooth > SURFACE).astype(np.float64), 5, axis=0, origin=-2, mode="nearest") > 0.7
    first = np.where(tissue.any(axis=0), tissue.argmax(axis=0), len(drawn)).astype(np.float64)
    first = median_filter(first, 9, mode="nearest")
    columns = np.arange(len(first))
    rise = STEEPEST * columns  # the lowest cone over all columns that lies on none of them
    left = np.minimum.accumulate(first - rise) + rise
    right = (np.minimum.accumulate((first + rise)[::-1]))[::-1] - rise
    shown = np.interp(_across(flat), columns, gaussian_filter1d(np.minimum(left, right), 2.0, mode="nearest"))
    return np.asarray(to_scan(shown, np.arange(len(flat.baseline)), flat)[0])


def _mirrored(grey: Floats, vitreous: Bools) -> Floats | None:
    """(H, W) the vitreous of each column mirrored at the inner surface, again and again; None where there is none.

    Columns with little of it are filled as the one that lies as far beyond the nearest with more, if that has more too.
    """
    last = np.where(vitreous.any(axis=0), len(grey) - 1 - vitreous[::-1].argmax(axis=0), -1)  # lowest vitreous row
    gap = ~vitreous & (np.arange(len(grey))[:, None] <= last)
    first = np.where(gap.any(axis=0), len(grey) - gap[::-1].argmax(axis=0), 0)  # of its run down to there
    count = last - first + 1
    if not vitreous.any():
        return None
    enough = (last >= 0) & (count >= min(LEAST, int(count[last >= 0].max())))
    nearest = distance_transform_edt(~enough, return_distances=False, return_indices=True)[0]
    beyond = np.clip(2 * nearest - np.arange(len(nearest)), 0, len(nearest) - 1)  # one column alone would make stripes
    nearest = np.where(enough[beyond], beyond, nearest)
    place = np.arange(len(grey))[:, None] - (last[nearest] + 1)  # rows below the vitreous; negative: within it
    turn = place % (2 * count[nearest])
    steps = np.where(turn < count[nearest], turn, 2 * count[nearest] - 1 - turn)  # 0 at the surface, count - 1 farthest
    return np.asarray(grey[last[nearest] - steps, nearest])
