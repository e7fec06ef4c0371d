"""The same place of other parts: where parts lie alike, a query is compared with pictures of the training images.

What a network has learnt of screws from some thousand tiles is not what a hundred screws show: a thread that is worn
off on one side is left as it is, since a worn thread and a plain neck look alike. The same place of the others does not
show it. So pictures of training images are kept as they lie on each other (`prepare.registration`), and of each place
of a query the nearest of what they show counts (`compare.same_place`), in units of how far they are from each other
there: evidence beside that of the tiles. The score is the higher of both, each in units of what it usually is; heat and
counterpart go over those of the tiles where they are hotter. What is kept: `golden_reference.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter, map_coordinates

from anotwin.compare.same_place import counterpart_there, distance_there, in_own_light, slow
from anotwin.prepare.blend import over
from anotwin.prepare.foreground import Foreground
from anotwin.prepare.pyramid import Level
from anotwin.prepare.registration import Pose, cells_of, lay, middles, refined
from anotwin.prepare.resize import model_values
from anotwin.records import ImageSpec

WIDE = 320  # pixels of the longer side of a picture, or those of the image: what is smaller than 3 of them is not seen
SMOOTH = 2.0  # pixels: by what is left it is seen to a part of a pixel how a picture lies
ROUNDS = 8  # of giving a change its slow part back
FARTHEST = 10  # pixels of a picture: their mean is the score
HIGHEST = 6e4  # heat: maps of large images are kept in half precision
STEPS = 32  # of a stored picture, in its spread: from -4 to 4
Floats = npt.NDArray[np.float32]
Steps = npt.NDArray[np.int8]
Bools = npt.NDArray[np.bool_]
Units = Mapping[str, tuple[float, float]]  # median and spread of `OWN` and of each term of the tiles
OWN = "golden"


@dataclass(frozen=True, eq=False)
class Wide:
    """The picture of an image that is compared."""

    pixels: Steps  # (C, h, w), in its own light, in steps of `STEPS`
    spread: float  # of the image, of pixels from -1 to 1
    counts: Bools  # (h, w): what shows the object
    covers: tuple[float, float] = (1.0, 1.0)  # times height and width of the image: the last row of a level may be half


def wide_picture(levels: Sequence[Level], spec: ImageSpec, foreground: Foreground | None = None) -> Wide:
    """The image at `WIDE` pixels along its longer side, or at its own resolution if that has fewer."""
    number = [k for k, each in enumerate(levels) if k == 0 or max(each.height, each.width) >= WIDE][-1]
    level, times = levels[number], 2**number
    values = model_values(level.pixels[None, : level.height, : level.width], spec)
    factor = min(1.0, WIDE / max(level.height, level.width))
    shape = [max(1, round(factor * side)) for side in (level.height, level.width)]
    picture = F.interpolate(values, shape, mode="bilinear", antialias=True, align_corners=False)[0].numpy()
    counts = np.ones(picture.shape[1:], bool)
    if foreground is not None:
        sides = zip(picture.shape[1:], (levels[0].height, levels[0].width), strict=True)
        rows, columns = ((2 * np.arange(side) + 1) * whole // (2 * side) for side, whole in sides)
        counts = foreground.at(rows[:, None], columns[None])
    spread = float((picture - picture.mean((1, 2), keepdims=True)).std())
    covers = level.height * times / levels[0].height, level.width * times / levels[0].width
    return Wide(in_steps(in_own_light(picture)), spread, counts, covers)


def in_steps(pictures: Floats) -> Steps:
    """As pictures are stored."""
    return np.clip(np.rint(pictures * STEPS), -127, 127).astype(np.int8)


def _numbers(pictures: Steps) -> Floats:
    return pictures.astype(np.float32) / np.float32(STEPS)


class Others(Sequence[Floats]):
    """Stored pictures (N, C, h, w) as numbers, one at a time: all of them take four times as much memory."""

    def __init__(self, pictures: Steps) -> None:
        self._pictures = pictures

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, number: Any) -> Any:
        return _numbers(self._pictures[number])


@dataclass(frozen=True, eq=False)
class Golden:
    """What training images show at each place of the template."""

    pictures: Steps  # (N, C, h, w)
    usual: Floats  # (h, w) > 0: how far they are from each other
    turn: bool  # whether parts are turned
    of: tuple[int, ...] = ()  # (N,) the fingerprints of the images that they show
    heat: float = 1.0  # > 0: the highest that a normal image reaches
    tiles: float = 1.0  # > 0: likewise of the heat of its tiles
    units: Units = field(default_factory=dict)  # of normal images

    def beside(self, wide: Wide, pose: Pose, own: int | None = None, without: Units | None = None) -> Beside:
        """An image beside them, or beside the others of them.

        `own`: its fingerprint. `without`: the units for a normal that they were made of.
        """
        return Beside(self, wide, exactly(wide, pose, self.template, self.turn), own, without or self.units)

    def sees(self, sides: tuple[int, ...]) -> bool:
        """Whether pictures show as much as a level of these sides: of its tiles heat spreads farther than a defect."""
        return max(sides) <= int(max(self.usual.shape))

    @cached_property
    def template(self) -> Floats:
        """Their mean, by which it is seen how others lie."""
        return mean_of(self.pictures)


@dataclass(frozen=True, eq=False)
class Beside:
    """An image beside the training images, each at the same place."""

    golden: Golden
    wide: Wide
    pose: Pose
    own: int | None
    units: Units

    def pooled(self, scores: Mapping[str, float]) -> dict[str, float]:
        """Each term of the tiles, or what is found here if that is higher, in units of what each usually is."""
        own = _in_units(self.farthest, self.units[OWN])
        return {term: max(own, value) for term, value in alone(scores, self.units).items()}

    @property
    def farthest(self) -> float:
        """The logarithm of how far those places are that are farthest from the others."""
        far = self.far.ravel()
        return float(np.log(max(float(np.partition(far, -min(FARTHEST, far.size))[-FARTHEST:].mean()), 1e-6)))

    def over(self, maps: Floats, first: int, shape: tuple[int, int]) -> Floats:
        """Heat and changes of the tiles (1 + C, n, w), or heat alone, and what is found here over them.

        Each heat is measured by the highest of normal images: of these next to nothing is changed.

        Args:
            maps: the rows from `first` on of an image of this `shape` (h, w).
        """
        rows, columns = (
            (np.arange(first, first + maps.shape[1]) + 0.5) / shape[0],
            (np.arange(shape[1]) + 0.5) / shape[1],
        )
        points = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)
        places = self.pose.on_template(points, self._shape)
        inside, cells = ((places >= 0) & (places <= 1)).all(1), (places * self._shape - 0.5).T
        planes = [self.heat / self.golden.heat, *(self.change if len(maps) > 1 else ())]
        found = [(inside * map_coordinates(each, cells, order=1, mode="nearest")) for each in planes]
        unit = np.ones((len(maps), 1, 1), np.float32)
        unit[0] = self.golden.tiles
        above = np.stack(found).reshape(maps.shape).astype(np.float32)
        laid_over: Floats = np.minimum(over(maps / unit, above) * unit, HIGHEST)
        return laid_over

    @cached_property
    def far(self) -> Floats:
        """(h, w) of the template: how far from the nearest of what others show there, in units of what is usual."""
        return self._distance(self._laid)

    @cached_property
    def heat(self) -> Floats:
        """(h, w) of the template: by how much a place is farther than is usual there.

        What is wrong moves the light around it too, and with it the light that was taken from the picture: that part of
        it is given back before what lies around it is told.
        """
        heat, light = _above(self.far), self._light
        return heat if light is None else _above(self._distance(self._laid - light))

    @cached_property
    def change(self) -> Floats:
        """(C, h, w) of the template: counterpart less query, of pixels from -1 to 1."""
        light = self._light
        found: Floats = (self._seen if light is None else self._seen + light) * np.float32(self.wide.spread)
        return found

    @cached_property
    def _light(self) -> Floats | None:
        """What is missing of a change e: e less its slow part is to be seen, and where it is hot it is solved for e."""
        hot = np.clip(_above(self.far) / self.golden.heat - 1, 0, 1)
        if not hot.any():
            return None
        light = slow(self._seen * hot)
        for _ in range(ROUNDS):
            light = slow((self._seen + light) * hot)
        return light

    @cached_property
    def _seen(self) -> Floats:
        return counterpart_there(self._laid, self._others) - self._laid

    def _distance(self, picture: Floats) -> Floats:
        """In units of what is usual, and nothing beside the picture or the object."""
        found: Floats = distance_there(picture, self._others) / self.golden.usual * self._counts
        return found

    @cached_property
    def _counts(self) -> Bools:
        return shown(self.wide, self.pose, self._shape)

    @cached_property
    def _others(self) -> Others:
        of, pictures = self.golden.of, self.golden.pictures
        return Others(pictures[np.array(of) != self.own] if self.own in of else pictures)

    @cached_property
    def _laid(self) -> Floats:
        return laid(self.wide, self.pose, self._shape)

    @property
    def _shape(self) -> tuple[int, int]:
        height, width = self.golden.usual.shape
        return height, width


def alone(scores: Mapping[str, float], units: Units) -> dict[str, float]:
    """Each term of the tiles of an image that is beside no other, in the same units."""
    return {term: _in_units(value, units[term]) for term, value in scores.items()}


def _above(far: Floats) -> Floats:
    """By how much it is more than usual."""
    found: Floats = np.maximum(far - 1, 0)
    return found


def _in_units(value: float, units: tuple[float, float]) -> float:
    median, spread = units
    return (value - median) / spread


def laid(wide: Wide, pose: Pose, shape: tuple[int, int]) -> Floats:
    """A picture as it lies on the template, (C, h, w), its border repeated."""
    steps: Floats = np.stack([lay(each, pose, shape) for each in wide.pixels])
    return steps / np.float32(STEPS)


def shown(wide: Wide, pose: Pose, shape: tuple[int, int]) -> Bools:
    """Which places (h, w) of the template lie inside a picture and show the object."""
    places = pose.on_picture(middles(shape), shape)
    rows, columns = cells_of(places, wide.counts.shape).T
    inside: Bools = ((places >= 0) & (places <= 1)).all(1) & wide.counts[rows, columns]
    return inside.reshape(shape)


def exactly(wide: Wide, pose: Pose, template: Floats, turn: bool) -> Pose:
    """How a picture lies on a template, to a part of a pixel; `pose`: nearly."""
    return refined(pose, _smooth(_numbers(wide.pixels)), template, turn)


def mean_of(pictures: Steps) -> Floats:
    """The mean of pictures (N, C, h, w) as a template of `exactly`."""
    return _smooth(pictures.mean(0, dtype=np.float32) / np.float32(STEPS))


def _smooth(picture: Floats) -> Floats:
    """A picture (C, h, w) by which it is seen how it lies: (h / 2, w / 2) or a little less."""
    grey = torch.from_numpy(gaussian_filter(picture.mean(0), SMOOTH))[None, None]
    half = [max(1, side // 2) for side in picture.shape[1:]]
    small: Floats = F.interpolate(grey, half, mode="bilinear", align_corners=False)[0, 0].numpy()
    return small
