"""The optic disc: where Bruch's membrane opens, the RPE ends at both sides and the inner surface dips into a cup.

A lesion disturbs the RPE, or lifts it; in the disc there is none, neither along the line nor where it would be. That
alone is not enough, a scar has little of it too: there must be a cup, which no lesion makes, or, at an end of the scan,
the thick nerve fibres at the rim of a disc that is cut off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_closing, binary_dilation, find_objects, gaussian_filter1d, label

from anotwin.domains.oct.layers.quality import Columns, contrast
from anotwin.domains.oct.layers.shortest_paths import Bools, Floats, Grid

ABSENT = 0.45  # contrast of the RPE with what lies below it, of that in half of the columns: less is none
PLUNGE = 60.0  # micrometres below its undisturbed course that no RPE lies
EMPTY = 0.35  # brightness where the retina would be, of that in half of the columns: a cup
FLOOR = 0.5  # brightness of its bottom, likewise
NOISY = 3.0  # brightness of the retina, of the noise in the vitreous: with less nothing can be said to be empty
SHALLOW = 60.0  # micrometres of retina that are left over a cup
THICKER, NOT_THIN = 1.15, 0.9  # thickness at a rim that the end of the scan cuts off, of that in half of the columns
DIP = 0.52  # thickness that is left where the inner surface falls into a cup, of that next to it
ATROPHY = (
    1.25  # brightness below the RPE, of that in half of the columns: an atrophy lets light through, a disc does not
)
CUP, WHOLE, CUT = 100.0, 300.0, 120.0  # micrometres at least: of a cup, of a disc, of one cut off by the end
WIDEST = 2600.0  # of a disc
JOIN = 400.0  # micrometres from the end of the scan that a disc cut off by it may be taken to begin
NEAR_END = 1500.0  # from the end of the scan: no macular hole lies there
GAP = 100.0  # that a speckle or a vessel takes for an RPE
BESIDE, STEADY, NEAR = 500.0, 0.6, 40.0  # micrometres next to a disc, share of them with an RPE this near its course
RIM = 250.0  # micrometres around the opening that belong to it: fibres, vessels, atrophy


def hollow_columns(grid: Grid, ilm: Floats, rpe: Floats, shown: Bools) -> Bools:
    """(w,) dark from the inner surface on, with tissue further down: a cup; a macular hole, where there is an RPE."""
    columns = Columns(grid)
    lines = ((ilm, 0.0, rpe, -40.0), (ilm, 0.0, ilm, 80.0), (rpe, -20.0, rpe, 100.0))
    filled, first, floor = (np.nan_to_num(columns.mean(*line)) for line in lines)
    usual = float(np.median(filled))
    if usual < NOISY * grid.noise:
        return np.zeros_like(shown)
    dark = np.maximum(filled, first) < EMPTY * usual
    return np.asarray(shown & dark & (floor > np.maximum(2 * filled, FLOOR * usual)))


def near_end(grid: Grid) -> Bools:
    """(w,) so near an end of the scan that no macular hole lies there: what is hollow is a cup that is cut off.

    Its bottom is no RPE, and the undisturbed course must not be drawn towards it.
    """
    number = np.arange(grid.values.shape[1])
    return np.asarray(np.minimum(number, number[::-1]) * grid.lateral < NEAR_END)


def disc_columns(grid: Grid, lines: tuple[Floats, Floats, Floats], shown: Bools, hollow: Bools) -> Bools:
    """(w,) True in an optic disc and its rim.

    Args:
        grid: the fine one.
        lines: ILM, RPE and its undisturbed course, (w,) rows each.
        shown: (w,) columns that are no margin.
        hollow: (w,) `hollow_columns`.
    """
    ilm, rpe, base = lines
    columns = Columns(grid)
    wide = 40.0 / grid.lateral

    def under(line: Floats) -> Floats:
        found = contrast(columns.mean(line, -16, line, 16), columns.mean(line, 30, line, 90), grid)
        return np.asarray(gaussian_filter1d(np.nan_to_num(found), wide, mode="nearest"))

    if not shown.any():
        return np.zeros_like(shown)
    along, there = under(rpe), under(base)
    usual = float(np.median(along[shown]))
    plunges = (rpe - base) * grid.axial > PLUNGE
    absent = shown & (there < ABSENT * usual) & ((along < ABSENT * usual) | plunges)
    absent |= hollow & near_end(grid)
    steady = (there > ABSENT * usual) | ((along > ABSENT * usual) & (np.abs(rpe - base) * grid.axial < NEAR))
    thickness = (base - ilm) * grid.axial
    below = np.nan_to_num(columns.mean(base, 30, base, 220))
    evidence = _Evidence(shown, absent, steady, hollow, below > ATROPHY * np.median(below), thickness)
    gaps = max(1, round(GAP / grid.lateral))
    parts, _ = label(binary_closing(np.pad(absent, gaps, mode="edge"), iterations=gaps)[gaps:-gaps] & shown)
    found = np.zeros_like(shown)
    for (run,) in find_objects(parts):
        if evidence.is_disc(run, grid.lateral):
            found[evidence.to_end(run, grid.lateral)] = True
    return np.asarray(binary_dilation(found, iterations=max(1, round(RIM / grid.lateral)))) if found.any() else found


@dataclass(frozen=True)
class _Evidence:
    """What is known of each column of the fine grid, (w,)."""

    shown: Bools
    absent: Bools  # no RPE
    steady: Bools  # an RPE that lies where an undisturbed one would
    hollow: Bools  # nothing where the retina would be
    bright: Bools  # below the RPE, as where an atrophy lets light through
    thickness: Floats  # micrometres from the inner surface to where the RPE would be

    def is_disc(self, run: slice, lateral: float) -> bool:
        """Whether neighbouring columns without an RPE are a disc; `lateral`: micrometres of a column."""
        length, beside = (run.stop - run.start) * lateral, round(BESIDE / lateral)
        sides = slice(max(0, run.start - beside), run.start), slice(run.stop, run.stop + beside)
        flanks, around = (np.r_[some[sides[0]], some[sides[1]]] for some in (self.steady, self.thickness))
        if length > WIDEST or not len(flanks) or flanks.mean() < STEADY:
            return False
        own, usual = self.thickness[run][self.absent[run]], float(np.median(self.thickness[self.shown]))
        cup = np.count_nonzero(self.hollow[run][self.absent[run]] | (own < SHALLOW)) * lateral
        if self.to_end(run, lateral) == run and not (run.start == 0 or run.stop == len(self.shown)):
            return bool(length >= WHOLE and cup >= CUP)
        dips = len(own) > 0 and own.min() < DIP * around.mean()
        thick = np.median(self.thickness[run]) > (THICKER if length < WHOLE else NOT_THIN) * usual
        return bool(length >= CUT and (cup >= CUP or dips or (thick and self.bright[run].mean() < 0.5)))

    def to_end(self, run: slice, lateral: float) -> slice:
        """With the columns between a disc and the end of what is shown, if they are few."""
        first, last = np.flatnonzero(self.shown)[[0, -1]]
        start = 0 if (run.start - first) * lateral < JOIN else run.start
        return slice(start, len(self.shown) if (last + 1 - run.stop) * lateral < JOIN else run.stop)
