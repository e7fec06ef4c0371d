"""How far the two lines of a retina can be trusted: the contrast at each of them, and what a retina must have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d

from anotwin.domains.oct.layers.shortest_paths import FAINT, Bools, Floats, Grid

# Limits of what counts as a retina, well below the worst of 176 real scans and above pictures of other things.
LEAST_TISSUE = 0.04  # brightness between the lines; 1: the brightest layers
LEAST_COLUMNS = 0.5  # share that shows tissue
LEAST_ILM, LEAST_CLEAR = 0.12, 0.55  # contrast at the inner surface, and the share of columns where it is clear
LEAST_RPE = 0.1  # contrast of the RPE with what lies above and below it, summed; neither may be below -half of it
THICKNESS = (80.0, 1200.0)  # micrometres, of half the columns
LEAST_UPRIGHT = 0.5  # share of columns where it is brighter below the RPE than above the ILM
CLEARLY_UPRIGHT = 1.2  # no upside-down scan has had a score as high
CLEAR_RISE = 0.4  # contrast of the RPE with what lies above it that leaves no doubt
MORE_RISE, MORE_SCORE = 0.12, 0.08  # by which other lines must be better; no real scan's other lines are, as they are
DISC = 0.2  # share of the width, at each end, that an optic disc may hide
CLEAR = 0.2  # contrast of a line that cannot be missed


@dataclass(frozen=True)
class LineQuality:
    """What is measured along the lines of a grid, (w,) each; contrasts are -1..1, NaN where nothing is known."""

    tissue: Bools  # columns where something bright lies between the lines
    shown: Bools  # columns that the scan shows: no margin
    valid: Bools  # those to use: shadows within the retina too, but no dark ends
    ilm: Floats  # brighter below the inner surface than above
    under: Floats  # the RPE brighter than what lies below it
    over: Floats  # and than what lies above it
    upright: Floats  # brightness of the choroid less that of the vitreous
    thickness: Floats  # micrometres from the ILM to the RPE

    def score(self) -> float:
        """Higher where the lines fit better; compares an upright with an upside-down reading of one scan."""
        upright = float(np.clip(_median(self.upright, self.tissue), -0.2, 0.2))
        under, over = _median(self.under, self.tissue), _median(self.over, self.tissue)
        return _median(self.ilm, self.tissue) + over + 0.5 * under + upright

    def rise(self) -> float:
        """How much brighter the RPE is than what lies above it."""
        return _median(self.over, self.tissue)

    def clearer_than(self, other: LineQuality) -> bool:
        """Whether these lines follow an RPE and the other ones a layer of a choroid as bright."""
        return self.rise() > other.rise() + MORE_RISE and self.score() > other.score() + MORE_SCORE

    def weights(self) -> Floats:
        """How far the RPE of each column is trusted, 0..1."""
        trusted = np.clip(np.nan_to_num(self.under) / (1.25 * CLEAR), 0.1, 1)
        return np.where(self.valid, trusted, 0).astype(np.float32)

    def quality(self) -> float:
        """0..1: geometric mean of the contrast at both lines, times the share of columns that show tissue."""
        ilm = np.clip(_median(self.ilm, self.tissue) / 0.5, 0, 1)
        rpe = np.clip((_median(self.under, self.tissue) + _median(self.over, self.tissue)) / 0.7, 0, 1)
        return float(np.sqrt(ilm * rpe) * self.tissue.mean())

    def reason(self) -> str:
        """Why this is no retina, in a sentence; "" if it may be one."""
        if self.tissue.mean() < LEAST_COLUMNS:
            return f"no retina found: only {self.tissue.mean():.0%} of the columns show tissue between two lines"
        ilm, clear = _median(self.ilm, self.tissue), float(np.mean(self.ilm[self.tissue] > CLEAR))
        if ilm < LEAST_ILM or clear < LEAST_CLEAR:
            return f"no retina found: an inner surface is seen in {clear:.0%} of the columns only"
        under, over = _median(self.under, self.tissue), _median(self.over, self.tissue)
        if min(under, over) < -LEAST_RPE / 2 or under + over < LEAST_RPE:
            return f"no retina found: no bright RPE (contrast {over:.2f} above it, {under:.2f} below, of 1)"
        thickness = _median(self.thickness, self.tissue)
        if not THICKNESS[0] <= thickness <= THICKNESS[1]:
            return (
                f"no retina found: the lines lie {thickness:.0f} micrometres apart, expected {THICKNESS[0]:g} to "
                f"{THICKNESS[1]:g}; check the spacing"
            )
        if np.mean(self.upright[self.tissue] > 0) < LEAST_UPRIGHT:
            return "no retina found: it is darker below the RPE than above the inner surface"
        return ""


def measure_lines(grid: Grid, ilm: Floats, rpe: Floats) -> LineQuality:
    """Measure the fine grid along its lines (w,)."""
    columns = Columns(grid)
    mean = columns.mean
    retina, known = mean(ilm, 0, rpe, 40), columns.known(ilm, 0, rpe, 40)
    band = mean(rpe, -16, rpe, 16)
    under, over = contrast(band, mean(rpe, 30, rpe, 90), grid), contrast(band, mean(rpe, -120, rpe, -50), grid)
    bright = np.nan_to_num(retina) > LEAST_TISSUE
    return LineQuality(
        (known > 0.9) & bright,
        known > 0.9,
        (known > 0.9) & ~_margins(grid, np.nan_to_num(retina), np.nan_to_num(under + over)),
        contrast(mean(ilm, 8, ilm, 60), mean(ilm, -80, ilm, -8), grid),
        under,
        over,
        mean(rpe, 50, rpe, 220) - mean(ilm, -200, ilm, -30),
        (rpe - ilm) * grid.axial,
    )


def contrast(bright: Floats, dark: Floats, grid: Grid) -> Floats:
    """-1..1: how much brighter the first is, relative to both and to the noise of the grid."""
    return np.asarray((bright - dark) / (np.abs(bright) + np.abs(dark) + 2 * (FAINT + grid.noise)))


class Columns:
    """Means of columns between two depths, from cumulative sums."""

    def __init__(self, grid: Grid) -> None:
        self._axial, self._height = grid.axial, grid.values.shape[0]
        above = ((1, 0), (0, 0))
        self._sums = np.cumsum(np.pad(grid.values, above), axis=0, dtype=np.float64)
        self._known = np.cumsum(np.pad(grid.known, above), axis=0, dtype=np.float64)
        self._columns = np.arange(grid.values.shape[1])

    def mean(self, top: Floats, first: float, bottom: Floats, last: float) -> Floats:
        """From `first` micrometres below line `top` to `last` below line `bottom`; NaN where nothing is known."""
        begin, end = self._rows(top, first), self._rows(bottom, last)
        count = self._known[end, self._columns] - self._known[begin, self._columns]
        total = self._sums[end, self._columns] - self._sums[begin, self._columns]
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    def known(self, top: Floats, first: float, bottom: Floats, last: float) -> Floats:
        """The share of the same rows that is known; 0 where the lines cross."""
        begin, end = self._rows(top, first), self._rows(bottom, last)
        count = self._known[end, self._columns] - self._known[begin, self._columns]
        return np.where(end > begin, count / np.maximum(end - begin, 1), 0)

    def _rows(self, line: Floats, micrometres: float) -> npt.NDArray[np.int64]:
        return np.asarray(np.clip(np.rint(line + micrometres / self._axial), 0, self._height), np.int64)


def _margins(grid: Grid, retina: Floats, contrast: Floats) -> Bools:
    """Columns from either end on that are black or show no RPE: a bar, the optic disc, a shadowed margin."""
    bright = gaussian_filter1d(retina, 1.0, mode="nearest") > LEAST_TISSUE
    seen = bright & (gaussian_filter1d(contrast, 100 / grid.lateral, mode="nearest") > 0.5 * CLEAR)
    width, most = len(seen), int(DISC * len(seen))
    columns = np.arange(width)
    black = (columns < _first(bright)) | (columns >= width - _first(bright[::-1]))
    disc = (columns < min(_first(seen), most)) | (columns >= width - min(_first(seen[::-1]), most))
    return black | disc


def _first(where: Bools) -> int:
    return int(np.argmax(where)) if where.any() else len(where)


def _median(values: Floats, where: Bools) -> float:
    chosen = values[where & np.isfinite(values)]
    return float(np.median(chosen)) if len(chosen) else 0.0
