"""What is usual at each place of parts that lie alike: a hole of the part is normal where it belongs, odd elsewhere.

A model that has seen a hole in every picture still draws it a little worse than bare metal, and the highest tile of
every normal image is the one with the hole: the threshold is set there, and a smaller defect elsewhere is missed. So
where parts lie alike (`data.registration`) a tile's terms are told above what training images reach at its place,
beside what they reach anywhere, as far as these say so (n images there count n / (n + lambda)): lower at a hole, higher
on bare metal. Heat is divided by what held-out normals reach there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates, maximum_filter

from anotwin.domains.surfaces.levels import TERMS, highest_of_levels, not_of_this_view, short
from anotwin.prepare.registration import Pose, cells_of, fits, pose_of, template_of
from anotwin.records import Array, Scores

if TYPE_CHECKING:
    from anotwin.domains.surfaces.golden import Wide

PRIOR = 5  # lambda, images
USUAL = 95  # percentile of the images, of a tile's terms and of heat: the highest of all would follow one stain
CELLS_A_TILE = 8  # cells of tiles' middles along each side of a tile; a cell is told by tiles in it and beside it
HEAT_CELL = 8  # pixels of a level along a cell of heat, or more of them
MOST_CELLS = 96  # along a side, of both kinds: tables are kept as JSON
LOOSE = 3  # cells: usual heat is that of the hottest of so many along each side, no part lies alike to the pixel
TRIED = 24  # pictures, to see whether parts are turned
FEWEST = 8  # training images, or "auto" does not know whether they lie alike
ALIKE = 0.8  # correlation with the mean of the others from which on "auto" looks at places: see docs/research.md, 10 K
Registration = Literal["shift", "turn"]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Places:
    """Of the part as the template shows it; arrays are (rows, columns) of equal cells."""

    template: Floats  # (h, w)
    registration: Registration
    alike: float  # the median correlation of training images with the template
    terms: Mapping[str, tuple[Floats, ...]]  # what each term of a tile is usually higher, of each level
    heat: tuple[Floats, ...]  # usual heat of each level, >= 1

    def of(self, picture: Floats) -> Placed:
        """For an image with this small picture."""
        pose = pose_of(picture, self.template, self.registration == "turn")
        return Placed(self, pose, fits(picture, self.template.shape))


@dataclass(frozen=True, eq=False)
class Placed:
    """An image that lies as `pose` says."""

    places: Places
    pose: Pose
    fits: bool = True  # False: of another shape than the template, so that it shows something else

    def higher(self, term: str, level: int, middles: Floats) -> Floats:
        """By how much tiles with these middles (n, 2), from 0 to 1, usually are higher than others: (n,)."""
        tables = self.places.terms[term]
        if level >= len(tables):
            return np.zeros(len(middles))
        found: Floats = tables[level][tuple(cells_of(self._on_template(middles), tables[level].shape).T)]
        return found

    def heat(self, level: int, rows: Floats, columns: Floats) -> npt.NDArray[np.float32]:
        """The usual heat of pixels at these rows (h,) and columns (w,), from 0 to 1: (h, w), at least 1; bilinear."""
        tables = self.places.heat
        if level >= len(tables):
            return np.ones((len(rows), len(columns)), np.float32)
        points = self._on_template(np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2))
        cells = (points * tables[level].shape - 0.5).T
        found = map_coordinates(tables[level], cells, order=1, mode="nearest")
        return found.reshape(len(rows), len(columns)).astype(np.float32)  # type: ignore[no-any-return]

    def highest_heat(self, shown: Shown, units: Sequence[float]) -> list[float]:
        """The highest heat of each level of an image, in these units and in what is usual at its places."""
        found = []
        for level, (heat, unit) in enumerate(zip(shown.heat, units, strict=False)):
            rows, columns = (_middles(count, side) for count, side in zip(heat.shape, shown.sides[level], strict=True))
            found.append(float((heat / self.heat(level, rows, columns)).max()) / unit)
        return found

    def _on_template(self, points: Floats) -> Floats:
        return self.pose.on_template(points, self.places.template.shape)


@dataclass(frozen=True, eq=False)
class Shown:
    """What the tiles of one normal image showed, without its pixels."""

    middles: tuple[Floats, ...]  # (p, 2) of the tiles of each level
    deciding: npt.NDArray[np.bool_]  # (P,) of all tiles: those that count
    scores: Scores[Array]  # (P,) each
    picture: Floats | None = None  # small; None: no place is asked for
    sides: tuple[tuple[int, int], ...] = ()  # height and width of each level
    heat: tuple[Floats, ...] = ()  # the highest of each cell of each level
    registration: str = "none"  # as `data.registration` says
    size: int = 0  # of a tile
    wide: Wide | None = None  # the picture that is compared with other parts
    group: str = ""  # the images that belong together
    fingerprint: int = 0

    def placed(self, places: Places) -> Placed:
        """How it lies; only where places are asked for."""
        return places.of(_picture(self))

    def highest(self, placed: Placed | None) -> Scores[list[float]]:
        """Of each level the highest tile, for each term, less what is usual at its place."""
        counts, scores = [len(each) for each in self.middles], self.scores
        if placed is not None:
            higher = {
                term: np.concatenate([placed.higher(term, *each) for each in enumerate(self.middles)]) for term in TERMS
            }
            scores = replace(scores, **{term: getattr(scores, term) - by for term, by in higher.items()})
        return scores.map(lambda term: highest_of_levels(term, counts, self.deciding))


def highest_of(shown: Sequence[Shown], placed: Sequence[Placed] | None) -> list[Scores[list[float]]]:
    """Of each image and each of its levels the highest tile, less what is usual at its place, where this is known."""
    return [each.highest(placed[number] if placed else None) for number, each in enumerate(shown)]


def heat_of_cells(heat: Array) -> Floats:
    """The highest of each cell of the heat of a level (h, w)."""
    rows, columns = (_cell(side) for side in heat.shape)
    across = range(0, heat.shape[1], columns)
    found = [np.maximum.reduceat(heat[row : row + rows].max(0), across) for row in range(0, heat.shape[0], rows)]
    return np.array(found, np.float64)


def _middles(count: int, side: int) -> Floats:
    """The middles of the cells of heat along a side of so many pixels, from 0 to 1."""
    return np.arange(0.5, count, dtype=np.float64) * (_cell(side) / side)


def _cell(side: int) -> int:
    """Pixels of a cell of heat along a side of so many."""
    return HEAT_CELL * -(-side // (HEAT_CELL * MOST_CELLS))


def stored_places(training: Sequence[Shown], heldout: Sequence[Shown], units: Sequence[float]) -> dict[str, Any]:
    """As JSON, of images whose places are asked for. `units`: of the heat of each level.

    {} without training images, or where "auto" finds that they do not lie alike.
    """
    if not training:
        return {}
    asked, size, levels = training[0].registration, training[0].size, len(units)
    if asked == "auto" and len(training) < FEWEST:
        return {}
    pictures = [_picture(each) for each in training]
    turn = asked == "turn" or (asked == "auto" and _only_turned(pictures))
    template, alike = template_of(pictures, turn)
    if asked == "auto" and alike < ALIKE:
        return {}
    poses = [[pose_of(_picture(each), template, turn) for each in group] for group in (training, heldout)]
    shape: tuple[int, int] = template.shape
    sides = [_median_sides(training, level) for level in range(levels)]
    grids = [_grid(side, size // CELLS_A_TILE, size // CELLS_A_TILE) for side in sides]
    heats = [_grid(side, *map(_cell, side)) for side in sides]
    terms = {
        term: [_usually_higher(training, poses[0], shape, term, level, grid) for level, grid in enumerate(grids)]
        for term in TERMS
    }
    heat = [
        _usual_heat(heldout, poses[1], shape, level, grid, unit)
        for level, (grid, unit) in enumerate(zip(heats, units, strict=True))
    ]
    return {
        "places": {
            "registration": "turn" if turn else "shift",
            "alike": short(alike),
            "template": _stored(template, 3),
            "terms": {term: [_stored(table, 4) for table in tables] for term, tables in terms.items()},
            "heat": [_stored(table, 3) for table in heat],
        }
    }


def _only_turned(pictures: Sequence[Floats]) -> bool:
    """Whether these lie alike only where they may be turned, by some of them: that takes tens of times as long."""
    some = pictures[:: -(-len(pictures) // TRIED)]
    return template_of(some, turn=False)[1] < ALIKE <= template_of(some, turn=True)[1]


def told_of(places: Places, others: int) -> str:
    """A sentence for the user who trains; `others`: how many training images are compared at the same place."""
    what = "each place is measured by what is usual there"
    beside = f"{what}, and compared with the same place of {others} training images" if others else what
    if places.alike < ALIKE:
        how = f"the images hardly lie alike, their correlation with their mean is {places.alike:.2f}"
        return f"{how}; yet {beside}, as data.registration asks"
    turned = ", turned" if places.registration == "turn" else ""
    how = f"the images lie alike{turned}, their correlation with their mean is {places.alike:.2f}"
    return f"{how}: {beside}; a training with data.registration=none leaves that out"


def places_of(reference: Mapping[str, Any]) -> Places | None:
    """What `stored_places` made, None without it; DataError where it is something else."""
    if "places" not in reference:
        return None
    try:
        found = reference["places"]
        tables = {term: tuple(_restored(table) for table in found["terms"][term]) for term in TERMS}
        places = Places(
            _restored(found["template"]),
            {"shift": "shift", "turn": "turn"}[found["registration"]],  # type: ignore[arg-type]
            float(found["alike"]),
            tables,
            tuple(_restored(table) for table in found["heat"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise not_of_this_view() from error
    if any((table < 1).any() for table in places.heat):
        raise not_of_this_view()
    return places


def _median_sides(shown: Sequence[Shown], level: int) -> tuple[int, int]:
    sides = [each.sides[level] for each in shown if len(each.sides) > level]
    height, width = np.median(sides, axis=0) if sides else (1, 1)
    return int(height), int(width)


def _grid(side: tuple[int, int], rows: int, columns: int) -> tuple[int, int]:
    """How many cells of so many pixels there are, or as many as there may be."""
    return min(MOST_CELLS, max(1, round(side[0] / rows))), min(MOST_CELLS, max(1, round(side[1] / columns)))


def _picture(shown: Shown) -> Floats:
    assert shown.picture is not None
    return shown.picture


def _usually_higher(
    shown: Sequence[Shown], poses: Sequence[Pose], shape: tuple[int, int], term: str, level: int, grid: tuple[int, int]
) -> Floats:
    """What the highest tiles around each cell usually reach, less what all tiles do; nearer to 0 the fewer images."""
    seen: dict[tuple[int, ...], list[float]] = {}
    every: list[npt.NDArray[np.float64]] = []
    for each, pose in zip(shown, poses, strict=True):
        if len(each.middles) <= level:
            continue
        begin = sum(map(len, each.middles[:level]))
        values = np.asarray(getattr(each.scores, term), np.float64)[begin : begin + len(each.middles[level])]
        own: dict[tuple[int, ...], float] = {}
        for cell, value in zip(cells_of(pose.on_template(each.middles[level], shape), grid), values, strict=True):
            around = (range(max(at - 1, 0), min(at + 2, most)) for at, most in zip(cell.tolist(), grid, strict=True))
            for place in product(*around):
                own[place] = max(own.get(place, -np.inf), float(value))
        for place, value in own.items():
            seen.setdefault(place, []).append(value)
        every.append(values)
    table = np.zeros(grid)
    anywhere = np.percentile(np.concatenate(every), USUAL) if every else 0.0
    for place, found in seen.items():
        table[place] = (np.percentile(found, USUAL) - anywhere) * len(found) / (len(found) + PRIOR)
    return table


def _usual_heat(
    shown: Sequence[Shown],
    poses: Sequence[Pose],
    shape: tuple[int, int],
    level: int,
    grid: tuple[int, int],
    unit: float,
) -> Floats:
    """What the highest heat in each cell and beside it usually reaches, in these units; at least 1."""
    found = [np.full(grid, np.nan)]
    for each, pose in zip(shown, poses, strict=True):
        if len(each.heat) <= level:
            continue
        heat = each.heat[level]
        rows, columns = (_middles(count, side) for count, side in zip(heat.shape, each.sides[level], strict=True))
        points = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)
        cells = np.ravel_multi_index(tuple(cells_of(pose.on_template(points, shape), grid).T), grid)
        highest = np.full(grid[0] * grid[1], -np.inf)
        np.maximum.at(highest, cells, heat.ravel() / unit)
        found.append(np.where(np.isfinite(highest), highest, np.nan).reshape(grid))
    stack = np.stack(found)
    known = ~np.isnan(stack).all(0)
    usual = np.ones(grid)
    usual[known] = np.nanpercentile(stack[:, known], USUAL, 0)
    wide: Floats = maximum_filter(np.maximum(usual, 1.0), LOOSE)
    return wide


def _stored(table: Floats, digits: int) -> list[list[float]]:
    return [[float(f"{value:.{digits}g}") for value in row] for row in table]


def _restored(rows: Sequence[Sequence[float]]) -> Floats:
    """A table (rows, columns); ValueError where it is none, or not finite."""
    table = np.array(rows, np.float64)
    if table.ndim != 2 or not table.size or not np.isfinite(table).all():
        raise ValueError
    return table
