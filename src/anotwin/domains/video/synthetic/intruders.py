"""What does not belong on the walkway: when it comes, which way it takes, how it looks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from anotwin.domains.video.synthetic.drawing import CAMERA_SINE, Part, Pose, generator, rasterise
from anotwin.domains.video.synthetic.figures import RUN, WALK, Look, on_foot
from anotwin.domains.video.synthetic.vehicles import Paint, bag, bicycle, cart, skater
from anotwin.domains.video.synthetic.walkers import WALKING, Body, Footage, draw_look, dressed, walkers_at

# speed as a multiple of the mean walking speed, from and to
SPEEDS: Mapping[str, tuple[float, float]] = {
    "bicycle": (2.0, 3.0),
    "cart": (1.0, 2.0),
    "runner": (2.0, 3.0),
    "bag": (0.0, 0.0),
    "wrong way": (0.95, 1.25),
    "skater": (1.6, 2.4),
}
KINDS = tuple(SPEEDS)
_HALF_LENGTH = {"bicycle": 1.0, "cart": 1.6}  # metres
_LEFT_ALONE = 40  # frames that a bag needs to be put down, to stay and to be taken away
_NORMAL = 0.08  # share of the frames before and after a visit, at least
Point = tuple[float, float]  # column, row


@dataclass(frozen=True)
class Visit:
    """One intruder, from its first to its last frame; before and after it is not there, or out of view."""

    kind: str
    first: int
    end: int  # the frame after the last
    start: Point  # where it is at `first`: the ground below it
    step: Point  # by which it moves each frame
    heading: tuple[float, float]  # cosine, sine
    look: Look
    paint: Paint
    value: float  # lean of a rider, metres of a bag
    metres: float  # that it goes each frame

    def body(self, footage: Footage, frame: int) -> Body:
        """How it looks at a frame from `first` on and before `end`."""
        place, gone = footage.scene, frame - self.first
        x, row = self.start[0] + gone * self.step[0], self.start[1] + gone * self.step[1]
        pose = Pose(x, row, place.scale(row), *self.heading)
        return Body(row, dressed(rasterise(self._parts(pose, gone * self.metres)), place, self.look))

    def _parts(self, pose: Pose, distance: float) -> list[Part]:
        match self.kind:
            case "bicycle":
                return bicycle(pose, self.look, self.paint, self.value, distance)
            case "cart":
                return cart(pose, self.look, self.paint, distance)
            case "runner":
                return on_foot(pose, self.look, RUN, distance)
            case "bag":
                return bag(pose, self.paint, self.value)
            case "skater":
                return skater(pose, self.look, self.paint, distance)
            case _:
                return on_foot(pose, self.look, WALK, distance)


def least_frames(footage: Footage, kind: str) -> int:
    """Frames that a visit needs, with normal ones before and after it, however it is drawn."""
    if kind == "bag":
        return _LEFT_ALONE
    place = footage.scene
    ways = [((0.0, row), (float(footage.size[1]), row)) for row in (place.far[0], place.near[1])]
    if kind == "wrong way":
        ways.append(_crossing(footage, 0.0, 1.0))
    longest = max(_metres(footage, *_outside(footage, kind, way)) for way in ways)
    return math.ceil((longest / (SPEEDS[kind][1] * WALKING) * footage.rate + 4) / (1 - 2 * _NORMAL))


def visit(footage: Footage, kind: str, begin: int, frames: int) -> Visit:
    """The visit of `kind` between the frames `begin` and `begin + frames`, drawn by the seed and `begin`.

    It takes `least_frames` at least.
    """
    rng = generator(footage.seed, "visit", kind, begin)
    place = footage.scene
    look = draw_look(place, rng)
    body = rng.uniform(35, 70) if rng.random() < 0.5 else rng.uniform(165, 215)
    paint = Paint(body, rng.uniform(90, 190), rng.uniform(22, 45))
    if kind == "bag":
        return _left_bag(footage, begin, frames, look, paint, rng)
    way = _outside(footage, kind, _way(footage, kind, rng))
    return _moving(footage, kind, begin, frames, way, look, paint, rng)


def _moving(
    footage: Footage,
    kind: str,
    begin: int,
    frames: int,
    way: tuple[Point, Point],
    look: Look,
    paint: Paint,
    rng: np.random.Generator,
) -> Visit:
    """A visit along a straight way, as fast as it has to be to be over in time."""
    (x, row), (last_x, last_row) = way
    metres, normal = _metres(footage, *way), math.ceil(_NORMAL * frames)
    room = frames - 2 * normal
    speed = rng.uniform(*SPEEDS[kind]) * WALKING / footage.rate  # metres a frame
    speed = max(speed, metres / (room - 1))
    lasting = math.ceil(metres / speed)
    first = begin + normal + int(rng.integers(room - lasting + 1))
    across, along = (last_row - row) / CAMERA_SINE, last_x - x
    length = math.hypot(across, along)
    angle = rng.uniform(-0.1, 0.1) if kind == "cart" else 0.0  # so that its front or its rear is seen
    turned = math.atan2(across, along) + angle
    return Visit(
        kind=kind,
        first=first,
        end=first + lasting,
        start=(x, row),
        step=(along / metres * speed, (last_row - row) / metres * speed),
        heading=(math.cos(turned), math.sin(turned)) if length else (1.0, 0.0),
        look=look,
        paint=paint,
        value=rng.uniform(0.3, 0.75),
        metres=speed,
    )


def _way(footage: Footage, kind: str, rng: np.random.Generator) -> tuple[Point, Point]:
    """Where the way crosses the rims of the picture."""
    place, width = footage.scene, float(footage.size[1])
    if kind == "wrong way" and rng.random() < 0.5:
        way = _crossing(footage, *rng.uniform(0, 1, 2))
        (x, row), (last_x, last_row) = way if rng.random() < 0.5 else way[::-1]
        return ((x, row), (last_x, last_row)) if rng.random() < 0.5 else ((width - x, row), (width - last_x, last_row))
    right = bool(rng.random() < 0.5)
    lane = place.near if right == (kind != "wrong way") else place.far
    row = rng.uniform(lane[0] + 0.15 * (lane[1] - lane[0]), lane[1])
    return ((0.0, row), (width, row)) if right else ((width, row), (0.0, row))


def _crossing(footage: Footage, high: float, wide: float) -> tuple[Point, Point]:
    """From the left rim, on the lawn, over the walkway to the lower rim."""
    place, (height, width) = footage.scene, footage.size
    low, lawn_end = place.lawn
    row = low + (lawn_end - low) * (0.3 + 0.35 * high)
    return (0.0, row), (width * (0.25 + 0.25 * wide), float(height))


def _outside(footage: Footage, kind: str, way: tuple[Point, Point]) -> tuple[Point, Point]:
    """A way with both ends moved out of view."""
    (x, row), (last_x, last_row) = way
    size, half = footage.size, _HALF_LENGTH.get(kind, 0.9)

    def moved(x: float, row: float) -> Point:
        if row >= size[0]:
            return x, row + 1.9 * footage.scene.scale(row)
        reach = footage.reach(half, row)
        return (x - reach if x < size[1] / 2 else x + reach), row

    return moved(x, row), moved(last_x, last_row)


def _metres(footage: Footage, start: Point, end: Point) -> float:
    """On the ground."""
    scale = footage.scene.scale((start[1] + end[1]) / 2)
    return math.hypot(end[0] - start[0], (end[1] - start[1]) / CAMERA_SINE) / scale


def _left_bag(footage: Footage, begin: int, frames: int, look: Look, paint: Paint, rng: np.random.Generator) -> Visit:
    """A bag that a walker puts down in passing, on the side away from the camera, and that a later one takes along."""
    place, width = footage.scene, footage.size[1]
    put, earliest = (begin + int(frames * rng.uniform(*share)) for share in ((0.15, 0.25), (0.75, 0.8)))
    x, row = width * rng.uniform(0.25, 0.75), rng.uniform(place.far[0], place.near[1])  # should nobody pass
    for frame in range(put, put + int(0.15 * frames)):
        passing = [walker.at(frame) for walker in walkers_at(footage, frame)]
        inside = [(a, b) for a, b in passing if 0.15 * width < a < 0.85 * width]
        if inside:
            put, (x, row) = frame, inside[int(rng.integers(len(inside)))]
            break
    row -= 0.05 * place.scale(row)
    near = 0.7 * place.scale(row)  # rows in front of the bag from where somebody still hides it
    for taken in range(earliest, begin + int((1 - _NORMAL) * frames)):
        passing = [walker.at(taken) for walker in walkers_at(footage, taken)]
        if any(abs(a - x) < 2 and 0 < b - row < near for a, b in passing):
            break
    return Visit("bag", put, taken, (x, row), (0.0, 0.0), (1.0, 0.0), look, paint, rng.uniform(0.42, 0.6), 0.0)
