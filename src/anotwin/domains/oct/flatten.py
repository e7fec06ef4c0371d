"""A scan flattened along the baseline of its retina, a band of one spacing and range of values; and the inverse.

Column j of the band is a strip of scan columns, row i a depth below the baseline, so that flattening only moves
pixels along their own column: `to_flat` and `to_scan` are exact inverses.

Values are set by the scan's own vitreous (-0.8) and by its own bright layers (0.6, the median over the columns of each
column's 95th percentile between the lines): brightness, contrast and noise floor of a device cancel, and a lesion,
which is not in half of the columns, does not move the scale. Both are taken from the band's own pixels, hence after
its averaging. What the scan does not show is filled with what lies next to it and is not `valid`; `decides` are the
columns that a score may be taken from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates

from anotwin.domains.oct.layers.find import Retina, default_spacing
from anotwin.domains.oct.layers.mask import as_scan, known_pixels
from anotwin.domains.oct.records import Spacing
from anotwin.errors import DataError

Floats = npt.NDArray[np.floating[Any]]
Bools = npt.NDArray[np.bool_]

VITREOUS, BRIGHT = -0.8, 0.6  # band values of the two anchors: headroom for noise below and for foci above
SHOWN = 0.5  # share of a band pixel that the scan must show, or it is not valid


@dataclass(frozen=True)
class FlatSpec:
    """The band, in micrometres. All scans come to the same scale; wide ones have more columns."""

    above: float = 480.0  # above the baseline: room for a retina lifted by fluid to 1.5 times its thickness
    below: float = 120.0  # below the baseline: the RPE, Bruch's membrane and the inner choroid
    row: float = 6.0  # about the optical resolution in tissue
    column: float = 12.0  # no less than in Spectralis' quick scans: no scan is enlarged

    @property
    def height(self) -> int:
        """Rows of the band."""
        return max(1, round((self.above + self.below) / self.row))


BAND = FlatSpec()  # what models are trained with


@dataclass(frozen=True)
class Flat:
    """A flattened scan, and what maps it back."""

    pixels: npt.NDArray[np.float32]  # (h, w) in [-1, 1]
    valid: Bools  # (h, w) shown by the scan, in columns with a retina
    baseline: Floats  # (W,) rows of the scan
    height: int  # rows of the scan
    first: float  # rows of the scan from the baseline to the middle of band row 0; negative: above
    rows: float  # of the scan in a band row
    columns: float  # of the scan in a band column
    grey: float = 1.0  # grey levels of the scan in a unit of the band's values
    decides: Bools | None = None  # (w,) columns that may decide: no disc, no outer ones; None: all

    @property
    def deciding(self) -> Bools:
        """(w,) columns that show something and may decide."""
        shown = np.asarray(self.valid.any(axis=0))
        return shown if self.decides is None else shown & self.decides


def flatten(scan: npt.NDArray[Any], retina: Retina, spec: FlatSpec = BAND, spacing: Spacing | None = None) -> Flat:
    """The band of a scan along its baseline.

    Args:
        scan: (H, W) or (H, W, 3) with equal channels, any range.
        retina: of this scan, by `find_retinas`.
        spec: of the band.
        spacing: as given to `find_retinas`.

    Raises:
        DataError: the retina was not found, or belongs to a scan of another width.
    """
    values, reason = as_scan(scan)
    if values is None or retina.reason:
        raise DataError(f"cannot flatten the scan: {reason or retina.reason}")
    height, width = values.shape
    if len(retina.baseline) != width:
        raise DataError(f"a retina of {len(retina.baseline)} columns for a scan of {width}: they must be of one scan")
    spacing = default_spacing(height, width) if spacing is None else spacing
    rows, across = spec.row / spacing.axial, max(1, round(width * spacing.lateral / spec.column))
    first = -spec.above / spacing.axial + rows / 2
    empty = np.zeros((spec.height, across), np.float32)
    flat = Flat(empty, empty > 0, retina.baseline.astype(np.float64), height, first, rows, width / across)
    known = known_pixels(values, scan.dtype == np.uint8) & retina.valid
    pixels, shown = _band(values, known, flat)
    valid = shown >= SHOWN
    floor, top = _anchors(pixels, valid, retina, flat)
    grey = max(top - floor, 1e-6) / (BRIGHT - VITREOUS)
    scaled = _fill(np.clip(VITREOUS + (pixels - floor) / grey, -1, 1), valid)
    deciding = retina.valid if retina.decides is None else retina.valid & retina.decides
    cuts = np.linspace(0, width, across + 1)[:, None]
    decides = _integral(deciding[:, None].astype(np.float64), cuts)[:, 0] >= SHOWN * flat.columns
    return replace(flat, pixels=scaled.astype(np.float32), valid=valid, grey=grey, decides=decides)


def to_flat(rows: npt.ArrayLike, columns: npt.ArrayLike, flat: Flat) -> tuple[Floats, Floats]:
    """Places of the scan as places (rows, columns) of the band; pixel middles are whole numbers in both."""
    rows, columns = np.asarray(rows, dtype=np.float64), np.asarray(columns, dtype=np.float64)
    return (rows - _base(columns, flat) - flat.first) / flat.rows, (columns + 0.5) / flat.columns - 0.5


def to_scan(rows: npt.ArrayLike, columns: npt.ArrayLike, flat: Flat) -> tuple[Floats, Floats]:
    """Places of the band as places (rows, columns) of the scan: the inverse of `to_flat`."""
    rows, columns = np.asarray(rows, dtype=np.float64), np.asarray(columns, dtype=np.float64)
    across = (columns + 0.5) * flat.columns - 0.5
    return rows * flat.rows + flat.first + _base(across, flat), across


def unflatten(map: npt.NDArray[Any], flat: Flat) -> npt.NDArray[np.float32]:
    """A map of the band (h, w) in the pixels of the scan: (H, W) float32, bilinear, 0 outside the band."""
    if map.shape != flat.pixels.shape:
        raise ValueError(f"map of shape {map.shape}, expected that of the band, {flat.pixels.shape}")
    width = len(flat.baseline)
    columns = np.arange(width)
    down, across = to_flat(np.arange(flat.height)[:, None], columns, flat)
    places = np.stack([down, np.broadcast_to(across, down.shape)])
    inside = (down >= -0.5) & (down < map.shape[0] - 0.5)
    native = np.zeros(down.shape, np.float32)
    native[inside] = map_coordinates(np.asarray(map, np.float32), places[:, inside], order=1, mode="nearest")
    return native


def _base(columns: Floats, flat: Flat) -> Floats:
    return np.interp(columns, np.arange(len(flat.baseline)), flat.baseline)


def _band(values: Floats, known: Bools, flat: Flat) -> tuple[Floats, Floats]:
    """Means over what is known of each band pixel's area, and the share of it that is known, (h, w) each.

    First down each column, where the layers are straightened, and only then across: no layer is blurred by its slope.
    """
    down, width = flat.pixels.shape[0], values.shape[1]
    # (h + 1, W) pixel edges
    edges = (np.arange(down + 1) - 0.5)[:, None] * flat.rows + flat.first + flat.baseline + 0.5
    above = int(np.clip(edges[0].min(), 0, len(values) - 1))
    below = int(np.clip(np.ceil(edges[-1].max()), above + 1, len(values)))
    edges, values, known = edges - above, values[above:below], known[above:below]  # the band alone: half of the work
    weights = _integral(known.astype(np.float64), edges)
    sums = _integral(np.where(known, values, 0).astype(np.float64), edges)
    cuts = np.linspace(0, width, flat.pixels.shape[1] + 1)[:, None]
    weights, sums = _integral(weights.T, cuts).T, _integral(sums.T, cuts).T
    return sums / np.maximum(weights, 1e-9), weights / (flat.rows * flat.columns)


def _integral(values: Floats, edges: Floats) -> Floats:
    """Sums of values (n, m) between neighbouring edges (k + 1, m or 1) along axis 0; nothing lies outside: (k, m)."""
    sums = np.vstack([np.zeros_like(values[:1]), np.cumsum(values, axis=0)])
    place = np.clip(edges, 0, len(values))
    whole = np.minimum(place.astype(np.int64), len(values) - 1)
    columns = np.arange(values.shape[1])
    # the integral of a step function is piecewise linear
    upto = sums[whole, columns] + (place - whole) * values[whole, columns]
    return np.diff(upto, axis=0)


def _anchors(pixels: Floats, valid: Bools, retina: Retina, flat: Flat) -> tuple[float, float]:
    """Grey levels of the vitreous and of the bright layers of this scan."""
    down, across = pixels.shape
    columns = np.minimum(((np.arange(across) + 0.5) * flat.columns).astype(np.int64), len(retina.ilm) - 1)
    ilm, rpe = (to_flat(line[columns], columns, flat)[0] for line in (retina.ilm, retina.rpe))
    rows = np.arange(down)[:, None]
    margin = 5 / flat.rows
    vitreous, tissue = valid & (rows < ilm - margin), valid & (rows > ilm) & (rows < rpe + margin)
    some = tissue.any(axis=0)
    layers = np.sort(np.where(tissue, pixels, np.inf)[:, some], axis=0)  # nanpercentile takes a hundred times longer
    places = np.rint(0.95 * (tissue[:, some].sum(axis=0) - 1)).astype(np.int64)
    bright = layers[places, np.arange(len(places))]
    top = float(np.median(bright)) if len(bright) else float(pixels.max())
    if vitreous.sum() >= 4 * down:
        return float(np.median(pixels[vitreous])), top
    return float(np.percentile(pixels[valid], 2)) if valid.any() else 0.0, top


def _fill(pixels: Floats, valid: Bools) -> Floats:
    """Invalid pixels get the nearest valid value of their row, rows without one the vitreous."""
    columns = np.arange(pixels.shape[1])
    left = np.maximum.accumulate(np.where(valid, columns, -1), axis=1)
    right = np.minimum.accumulate(np.where(valid, columns, len(columns))[:, ::-1], axis=1)[:, ::-1]
    nearer_left = (left >= 0) & ((columns - left <= right - columns) | (right == len(columns)))
    source = np.where(nearer_left, left, np.minimum(right, len(columns) - 1))
    filled = np.take_along_axis(pixels, source, axis=1)
    return np.where(valid.any(axis=1, keepdims=True), filled, VITREOUS)
