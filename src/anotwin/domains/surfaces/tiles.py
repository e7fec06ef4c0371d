"""One image in tiles of all its levels, and the maps of these tiles as maps of the image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from anotwin.domains.regions import highest_heat
from anotwin.domains.surfaces.golden import Beside, Golden, Units, alone, wide_picture
from anotwin.domains.surfaces.levels import (
    HEAT_QUANTILE,
    TERMS,
    Usual,
    pool_levels,
)
from anotwin.domains.surfaces.places import Placed, Shown, heat_of_cells
from anotwin.prepare.blend import Blend, Floats, kept_type, merge
from anotwin.prepare.blocks import blocks
from anotwin.prepare.foreground import Foreground
from anotwin.prepare.patches import Positions
from anotwin.prepare.pyramid import Level
from anotwin.prepare.registration import small_picture
from anotwin.prepare.resize import with_change
from anotwin.prepare.tile_images import cut_tiles
from anotwin.records import Array, Batch, ImageSpec, Pictures, Scores
from anotwin.seeding import derive

MEASURED = 2**20  # pixels of a level, evenly spaced, that the quantile of its heat is taken from


@dataclass(frozen=True, eq=False)
class TiledImage:
    """One image as the model sees it; see `anotwin.domains.protocol.Prepared`."""

    index: int
    error: str = ""
    fingerprint: int | None = None
    pixels: Array | None = field(default=None, repr=False)  # native
    levels: tuple[Level, ...] = field(default=(), repr=False)  # none with an error
    spec: ImageSpec = field(default=ImageSpec(1, 16), repr=False)
    usual: tuple[Usual, ...] = field(default=(), repr=False)  # of each level; (): before there is a reference
    foreground: Foreground | None = field(default=None, repr=False)  # None: all of the image counts
    registration: str = "none"  # as `data.registration` says
    group: str = ""  # the images that belong together; of one alone its own id
    placed: Placed | None = field(default=None, repr=False)  # None: no place is known
    golden: Golden | None = field(default=None, repr=False)  # None: it is compared with no other part
    without: Units | None = None  # the units of `golden` for a normal that these were made of
    score: str = "anomaly"  # the term that is the score, as `compare.score` says
    pictured: bool = True  # pictures will be asked for
    evidence: None = None  # nothing besides

    @cached_property
    def grids(self) -> tuple[Positions, ...]:
        """The corners (p, 2) of the tiles of each level."""
        return tuple(level.grid(self.spec.size) for level in self.levels)

    @cached_property
    def deciding(self) -> npt.NDArray[np.bool_]:
        """Which tiles (P,) count: all, or those that show some of the object."""
        found = [
            self.foreground is None or self.foreground.touches(row, column, self.spec.size, level)
            for level, grid in enumerate(self.grids)
            for row, column in grid.tolist()
        ]
        return np.array(found, bool)

    @property
    def squares(self) -> Tiles | None:
        """All tiles, level by level from the finest on."""
        return Tiles(self) if self.levels else None

    def pool(self, scores: Scores[Array]) -> Scores[float]:
        """The highest tile in units of what is usual at its level, or what is told by the same place of other parts.

        The residual per pixel is the mean of level 0.
        """
        highest = self.highest(scores)
        usual = [self.usual_at(level) for level in range(len(self.levels))]
        found = {term: pool_levels(getattr(highest, term), [each.of(term) for each in usual]) for term in TERMS}
        if self.golden is not None:
            units = self.without or self.golden.units
            found = alone(found, units) if self.beside is None else self.beside.pooled(found)
        finest = slice(len(self.grids[0]))
        mean = float(scores.mean_residual[finest][self.deciding[finest]].mean())
        return Scores(**{**found, "score": found[self.score], "mean_residual": mean})

    @cached_property
    def beside(self) -> Beside | None:
        """The image beside other parts; None where none are kept, or it is not known how it lies."""
        if self.golden is None or self.placed is None or not self.placed.fits:
            return None
        wide = wide_picture(self.levels, self.spec, self.foreground)
        return self.golden.beside(wide, self.placed.pose, self.fingerprint, self.without)

    def usual_at(self, level: int) -> Usual:
        """What is usual at a level; units of 1 before it is known."""
        return self.usual[level] if self.usual else Usual()

    @cached_property
    def middles(self) -> tuple[npt.NDArray[np.float64], ...]:
        """The middles (p, 2) of what tiles of each level show of the image, from 0 to 1 along its sides."""
        sides = [np.array([level.height, level.width]) for level in self.levels]
        ends = [np.minimum(grid + self.spec.size, side) for grid, side in zip(self.grids, sides, strict=True)]
        return tuple((grid + end) / 2 / side for grid, end, side in zip(self.grids, ends, sides, strict=True))

    def highest(self, scores: Scores[Array]) -> Scores[list[float]]:
        """Of each level the highest tile, for each term, less what is usual at its place."""
        return Shown(self.middles, self.deciding, scores).highest(self.placed)

    def shown(self, scores: Scores[Array], results: TileResults | None) -> Shown:
        """What a reference is made of; places only where `data.registration` asks for them."""
        if self.registration == "none":
            return Shown(self.middles, self.deciding, scores, group=self.group, fingerprint=self.fingerprint or 0)
        sides = tuple((level.height, level.width) for level in self.levels)
        return Shown(
            self.middles,
            self.deciding,
            scores,
            small_picture(self.levels),
            sides,
            () if results is None else tuple(map(heat_of_cells, results.shown_of_levels())),
            self.registration,
            self.spec.size,
            wide_picture(self.levels, self.spec, self.foreground),
            self.group,
            self.fingerprint or 0,
        )

    def results(self) -> TileResults:
        """Maps of each level."""
        return TileResults(self)


class Tiles:
    """The tiles of an image, cut when they are asked for."""

    def __init__(self, image: TiledImage) -> None:
        assert image.fingerprint is not None
        self._spec, self._fingerprint = image.spec, image.fingerprint
        self._levels, self._grids = image.levels, image.grids

    def __len__(self) -> int:
        return sum(map(len, self._grids))

    def rows(self, rows: slice) -> Batch:
        """Some of them, (p, C, S, S), each with a fingerprint of its own."""
        numbers = range(*rows.indices(len(self)))
        ends = np.cumsum([len(grid) for grid in self._grids])
        places, names = [], []
        for number in numbers:
            level = int(np.searchsorted(ends, number, side="right"))
            row, column = self._grids[level][number - int(ends[level])].tolist()  # from the end of the level's tiles
            places.append((self._levels[level], row, column))
            names.append(derive(self._fingerprint, "tile", number))
        return Batch(cut_tiles(places, self._spec), tuple(names))


class TileResults:
    """See `anotwin.domains.protocol.Results`, and there `ShowsRegions`."""

    def __init__(self, image: TiledImage) -> None:
        self._image = image
        planes = 1 + (image.spec.channels if image.pictured else 0)  # heat, and by how much each channel changes
        self._blends = [
            Blend((level.height, level.width), grid, image.spec.size, planes)
            for level, grid in zip(image.levels, image.grids, strict=True)
        ]

    def take(self, counterparts: torch.Tensor, differences: torch.Tensor, heat: torch.Tensor) -> None:
        """Add the next tiles to the maps of their levels, with heat in units of what is usual there."""
        del counterparts  # queries minus differences
        begin = 0
        for number, blend in enumerate(self._blends):
            rows = slice(begin, begin + min(blend.missing, len(heat) - begin))
            maps = heat[rows, None].float() / self._image.usual_at(number).heat
            if self._image.placed is not None and len(maps):
                maps /= torch.from_numpy(self._usual_there(self._image.placed, number, -blend.missing, len(maps)))
            if self._image.pictured:
                maps = torch.cat([maps, -differences[rows].float()], 1)
            blend.add(maps.numpy())
            begin = rows.stop

    def _usual_there(self, placed: Placed, number: int, first: int, count: int) -> npt.NDArray[np.float32]:
        """The usual heat of the pixels of `count` tiles of a level from `first` on: (p, 1, S, S)."""
        level, inside = self._image.levels[number], np.arange(self._image.spec.size) + 0.5
        found = [
            placed.heat(number, (row + inside) / level.height, (column + inside) / level.width)
            for row, column in self._image.grids[number][first:][:count].tolist()
        ]
        return np.stack(found)[:, None]

    def maps_of_levels(self) -> tuple[Array, ...]:
        """The heat of each level (h, w), the finest first, in units of what is usual there."""
        return tuple(blend.done[0] for blend in self._blends)

    def shown_of_levels(self) -> Iterator[Array]:
        """Likewise, and none beside the object."""
        for level, heat in enumerate(self.maps_of_levels()):
            rows, columns = (np.arange(side) for side in heat.shape)
            foreground = self._image.foreground
            yield heat if foreground is None else heat * foreground.at(rows[:, None], columns[None], level)

    def heat_of_levels(self) -> list[float]:
        """A high quantile of each level's heat, the finest first, in units of what is usual there."""
        found = []
        for level, blend in enumerate(self._blends):
            heat = blend.done[0]
            some = np.arange(0, heat.size, -(-heat.size // MEASURED))
            if self._image.foreground is not None:
                some = some[self._image.foreground.at(*np.divmod(some, heat.shape[1]), level)]
            found.append(float(np.quantile(heat.ravel()[some].astype(np.float32), HEAT_QUANTILE)))
        return found

    def heat(self) -> Array:
        """The highest of all levels over the pixels of the file (H, W), or over those that show the object (n,)."""
        heat: Array = self._merged[0]
        shown = self._shown()
        return heat if shown is None else heat[shown]

    def region_heat(self, least_area: int) -> float:
        """The highest heat that so many connected pixels of the file reach."""
        return highest_heat(self._merged[0], least_area)

    def pictures(self, one: float) -> Pictures:
        """The counterpart is the query with its change, so that nothing is lost where nothing changes.

        The last that can be asked for: the maps are let go, of a large image they take as much as what is made of them.
        """
        pixels, spec, maps = self._image.pixels, self._image.spec, self._merged
        assert pixels is not None
        del self._merged
        difference = np.empty(pixels.shape[:2], maps.dtype)
        for rows in blocks(difference.shape):
            difference[rows] = np.clip(maps[1:, rows].mean(0, dtype=np.float32) / -2, -1, 1)  # pixels in [0, 1]
        return Pictures(pixels, with_change(pixels, maps[1:], spec), difference, maps[0] / maps.dtype.type(one))

    @cached_property
    def _merged(self) -> Floats:
        """Heat and changes of all levels over the pixels of the file, (1 + C, H, W) or (1, H, W)."""
        assert self._blends, "the pictures have been made: the maps are gone"
        beside, levels = self._image.beside, [blend.done for blend in self._blends]
        if beside is not None:  # levels that show no more than the pictures of other parts are told by these
            levels = [maps for k, maps in enumerate(levels) if k == 0 or not beside.golden.sees(maps.shape[1:])]
        maps = merge(levels)
        self._blends = []  # they take as much memory again
        if beside is not None:
            for rows in blocks(maps.shape[1:]):
                maps[:, rows] = beside.over(maps[:, rows], rows.start, maps.shape[1:])
        assert self._image.pixels is not None
        height, width = self._image.pixels.shape[:2]
        if maps.shape[1:] != (height, width):
            wide = [  # one at a time: in float each takes up to twice its bytes
                F.interpolate(torch.from_numpy(each.astype(np.float32))[None, None], (height, width), mode="bilinear")
                for each in maps
            ]
            maps = np.stack([each[0, 0].numpy().astype(kept_type(height, width)) for each in wide])
        if (shown := self._shown()) is not None:
            maps[0][~shown] = 0
        return maps

    def _shown(self) -> npt.NDArray[np.bool_] | None:
        """Which pixels of the file show the object; None: all count."""
        foreground, pixels, finest = self._image.foreground, self._image.pixels, self._image.levels[0]
        if foreground is None:
            return None
        assert pixels is not None
        rows, columns = (
            np.arange(side) * seen // side
            for side, seen in zip(pixels.shape[:2], (finest.height, finest.width), strict=True)
        )
        return foreground.at(rows[:, None], columns[None])
