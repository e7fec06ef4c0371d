"""Two lines through a B-scan as shortest paths: the inner limiting membrane and the outer edge of the RPE.

After Chiu et al. 2010 (Opt. Express 18:19413): a pixel costs little where brightness changes as it does at the line,
and the line is the cheapest way from the left border to the right one. Each line is found on a coarse grid first and
then again, at full depth, within a narrow ribbon around it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, gaussian_filter1d, map_coordinates
from skimage.graph import MCP_Geometric

from anotwin.domains.oct.records import Spacing

Floats = npt.NDArray[np.floating[Any]]
Bools = npt.NDArray[np.bool_]

ROW, COLUMN = 7.8, 46.0  # micrometres of a pixel of the coarse grid: a tenth of the thinnest retina, half a druse
FINE_COLUMN = 23.0  # of the fine grid, which has every row of the scan
RIBBON = 62.0  # micrometres above and below the coarse line that the fine line may go: it must reach the next layer
LEAST = 0.05  # cost of a pixel on a perfect line: keeps the way short where the contrast is equal
CLIMB = 0.4  # length of a step of one row, that of a column being 1
THINNEST, THIN = 75.0, 170.0  # micrometres between the lines: a scarred fovea, a healthy one
DARK_CHOROID, BRIGHT_CHOROID = (1.0, 3.0), (0.3, 0.6)  # weights of what lies below the RPE: darker, brighter
FAINT = 0.1  # brightness that counts as none
VITREOUS = 150.0  # micrometres at the top of a scan that show vitreous


@dataclass(frozen=True)
class Grid:
    """A scan in blocks of pixels; `values` are about 0 in the vitreous and 1 in the brightest layers."""

    values: Floats  # (h, w), unknown pixels 0
    known: Bools  # (h, w)
    noise: float  # standard deviation of the vitreous
    axial: float  # micrometres of a row
    lateral: float  # of a column
    rows: int  # of the scan, a row of the grid
    columns: int

    def mean(self, first: float, last: float) -> Floats:
        """The mean from `first` to `last` micrometres below each pixel (negative: above); 0 beyond the border."""
        begin = round(first / self.axial)
        size = max(1, round(last / self.axial) - begin)
        height = self.values.shape[0]
        reach = max(abs(begin), abs(begin + size))
        sums = np.cumsum(np.pad(self.values, ((reach + 1, reach), (0, 0))), axis=0, dtype=np.float32)
        start = reach + begin
        return (sums[start + size : start + size + height] - sums[start : start + height]) / size


def to_grid(values: Floats, known: Bools, spacing: Spacing, row: float, column: float) -> Grid:
    """Means over blocks of about row x column micrometres of what is known, scaled by this scan's own vitreous."""
    rows, columns = max(1, round(row / spacing.axial)), max(1, round(column / spacing.lateral))
    axial, lateral = spacing.axial * rows, spacing.lateral * columns
    weight = _blocks(known.astype(np.float32), rows, columns)
    mean = _blocks(np.where(known, values, 0), rows, columns) / np.maximum(weight, 1)
    whole = weight >= 0.5 * rows * columns
    values, noise = _by_vitreous(mean, whole, axial)
    return Grid(values, whole, noise, axial, lateral, rows, columns)


def turned(grid: Grid) -> Grid:
    """The grid of the same scan upside down."""
    values, noise = _by_vitreous(grid.values[::-1], grid.known[::-1], grid.axial)
    return replace(grid, values=values, known=grid.known[::-1], noise=noise)


def _by_vitreous(mean: Floats, known: Bools, axial: float) -> tuple[Floats, float]:
    """Values scaled so that the vitreous is 0 and the brightest layers are 1; and the vitreous' standard deviation."""
    if not known.any():
        return np.zeros(mean.shape, np.float32), 0.0
    # what lies within VITREOUS of the top; the median of the columns, for a retina may reach the top in some
    top = known & (np.cumsum(known, axis=0) <= max(1, round(VITREOUS / axial)))
    some = top.any(axis=0)
    floor = float(np.median(np.where(top, mean, 0).sum(axis=0)[some] / top.sum(axis=0)[some]))
    vitreous = mean[top & (mean - floor <= 2 * np.abs(mean[top] - floor).mean())]
    span = max(float(np.percentile(mean[known], 99)) - floor, 1e-6)
    scaled = np.clip(np.where(known, (mean - floor) / span, 0), -0.5, 1.5)
    return scaled.astype(np.float32), float(vitreous.std()) / span if len(vitreous) else 0.0


def coarse_lines(
    grid: Grid, near: tuple[Floats, Floats] | None = None, below: tuple[float, float] = DARK_CHOROID
) -> tuple[Floats, Floats]:
    """Rows (w,) of ILM and outer edge of the RPE on the coarse grid.

    `near`: two others (w,) where given; `below`: what it is worth that it is darker below the RPE, and what it costs
    that something brighter lies deeper.
    """
    smooth = replace(grid, values=gaussian_filter(grid.values, 0.7 + np.clip(10 * (grid.noise - 0.1), 0, 1.3)))
    # speckle has edges too, but no tissue below them
    coarse = gaussian_filter(_ilm_contrast(smooth, 150.0), (1.0, 2.0))
    edge = _ilm_contrast(smooth, 65.0) * np.clip(2 * _scaled(coarse), 0, 1)
    edge[: round(25 / grid.axial)] *= 0.5  # nothing is known above the top row: noise looks like an edge there
    # a line deep below another clear edge is not the innermost one
    earlier = np.maximum.accumulate(_scaled(gaussian_filter(edge, (1.0, 3.0))), axis=0)
    depth = round(70 / grid.axial)
    earlier = np.pad(earlier, ((depth, 0), (0, 0)))[: len(edge)]
    ilm = shortest(1 - edge + 1.5 * np.clip(earlier - 0.35, 0, 1) + (_away(grid, near[0]) if near else 0))
    rpe = shortest(_rpe_cost(smooth, ilm, below) + (_away(grid, near[1]) if near else 0))
    return ilm, rpe


def _away(grid: Grid, line: Floats) -> Floats:
    """What it costs to leave a line by more than 40 micrometres: as much as no contrast at 120, and more beyond."""
    distance = np.abs(np.arange(grid.values.shape[0])[:, None] - line) * grid.axial
    return np.clip((distance - 40) / 80, 0, 3)


def shortest(cost: Floats) -> Floats:
    """The cheapest way (w,) from the left to the right border over cost (h, w) >= 0, in rows."""
    height, width = cost.shape
    # a free column at either side: the way may begin and end at any row
    padded = np.pad(cost + LEAST, ((0, 0), (1, 1)), constant_values=1e-6)
    search = MCP_Geometric(padded, fully_connected=True, sampling=(CLIMB, 1.0))
    search.find_costs([(0, 0)], [(height - 1, width + 1)])
    way = np.array(search.traceback((height - 1, width + 1)))
    way = way[(way[:, 1] > 0) & (way[:, 1] <= width)]
    count = np.bincount(way[:, 1] - 1, minlength=width)
    return (np.bincount(way[:, 1] - 1, way[:, 0], minlength=width) / count).astype(np.float32)


def fine_line(grid: Grid, centre: Floats, kind: Literal["ilm", "rpe"]) -> Floats:
    """The line (w,) once more on the fine grid, within `RIBBON` of `centre` (w,): an edge, or the middle of a band."""
    half, more = max(2, round(RIBBON / grid.axial)), round(45 / grid.axial)  # `more`: the reach of the means
    offsets = np.arange(-half - more, half + more + 1)[:, None]
    columns = np.broadcast_to(np.arange(len(centre)), (len(offsets), len(centre)))
    ribbon = map_coordinates(
        gaussian_filter1d(grid.values, 0.8, axis=1), (offsets + centre, columns), order=1, mode="nearest"
    )
    straight = replace(grid, values=gaussian_filter1d(ribbon, 1.0, axis=1))
    if kind == "ilm":
        cost = 1 - _ilm_contrast(straight, 30.0)
    else:
        cost = 1 - _scaled(straight.mean(-12, 12) - straight.mean(16, 44)) + 0.5 * np.abs(offsets) / half
    row = shortest(cost[more:-more]) - half
    return np.asarray(gaussian_filter1d(row, 1.0, mode="nearest") + centre)


def _ilm_contrast(grid: Grid, reach: float) -> Floats:
    """0..1: dark above, bright below, relative to both: a dim retina over a bright choroid counts as much."""
    above, below = grid.mean(-reach, 0), grid.mean(0, reach)
    dim = np.clip(above, 0, None) + np.clip(below, 0, None) + 2 * (FAINT + grid.noise)
    return _scaled((below - above) / dim)


def _rpe_cost(grid: Grid, ilm: Floats, below: tuple[float, float]) -> Floats:
    """0.. at the outer edge of a bright band: darker above and below it, and nothing brighter deeper down."""
    rows = np.arange(grid.values.shape[0])[:, None]
    inside = rows >= ilm + THINNEST / grid.axial
    # a column in a shadow or at the dim end of a scan counts as much as the others
    usual = np.percentile(np.where(inside, grid.values, 0), 98, axis=0)
    usual = np.maximum(gaussian_filter1d(usual, 3.0, mode="nearest"), 2 * FAINT)
    even = replace(grid, values=np.where(grid.known, grid.values / usual, 0))
    band = even.mean(-45, 0)
    under, over = band - even.mean(5, 80), band - even.mean(-130, -50)
    step = below[0] * np.clip(under, 0, None) + 0.7 * np.clip(over, 0, None)
    seen = replace(grid, values=grid.known.astype(np.float32)).mean(-60, 40) > 0.99
    contrast = _scaled(np.where(seen & (band > FAINT), step, 0))
    depth = round(70 / grid.axial)
    deeper = np.maximum.accumulate(np.where(seen, band, 0)[::-1], axis=0)[::-1]
    deeper = np.pad(deeper[depth:], ((0, depth), (0, 0)))
    thin = np.clip((THIN - (rows - ilm) * grid.axial) / (THIN - THINNEST), 0, 1)
    return np.asarray(1 - contrast + below[1] * np.clip(deeper - band - 0.1, 0, 1) + 0.6 * thin + 2.0 * ~inside)


def _scaled(step: Floats) -> Floats:
    """Positive steps by what an ordinary column has at its best place, at most 1."""
    usual = np.percentile(step.max(axis=0), 50)
    return np.asarray(np.clip(step / max(usual, 1e-3), 0, 1), np.float32)


def _blocks(values: Floats, rows: int, columns: int) -> Floats:
    height, width = -(-values.shape[0] // rows), -(-values.shape[1] // columns)
    padded = np.pad(values, ((0, height * rows - values.shape[0]), (0, width * columns - values.shape[1])))
    return np.asarray(padded.reshape(height, rows, width, columns).sum((1, 3)))
