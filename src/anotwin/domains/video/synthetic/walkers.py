"""Those who belong on the walkway: who comes when, alone or in groups, on the side where they should walk.

Arrivals are a Poisson process, drawn slot by slot of 20 seconds, so that who is there at a time is known without
what was before: footage of any length takes no memory, and nothing that intrudes changes who comes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np

from anotwin.domains.video.synthetic.drawing import CAMERA_COSINE, Pose, Sprite, generator, rasterise
from anotwin.domains.video.synthetic.figures import STATURE, WALK, Look, on_foot
from anotwin.domains.video.synthetic.scene import PATTERNS, Scene, scene

WALKING = 1.35  # metres a second, on average
_SLOWEST, _FASTEST = 1.05, 1.65
_SLOT = 20.0  # seconds
_GROUPS = (0.68, 0.24, 0.08)  # share of groups of one, two, three
_GROUP_MEAN = sum(share * count for count, share in enumerate(_GROUPS, 1))

Direction = Literal[-1, 1]  # to the left, to the right of the picture
_DIRECTIONS: tuple[Direction, ...] = (-1, 1)


@dataclass(frozen=True)
class Footage:
    """What is filmed: where, how, by which seed."""

    seed: int
    place: int
    size: tuple[int, int]
    rate: float  # frames a second
    density: float  # people in view, on average

    @property
    def scene(self) -> Scene:
        return scene(self.place, self.size)

    def reach(self, metres: float, row: float) -> float:
        """Columns beyond the picture from where neither a body of that half length nor its shadow is seen."""
        return (metres + STATURE * 1.1 * CAMERA_COSINE * abs(self.scene.sun[0])) * self.scene.scale(row) + 2


class Body(NamedTuple):
    """Somebody or something at one moment."""

    row: float  # of the ground below: whoever has the higher one is in front
    sprite: Sprite


@dataclass(frozen=True)
class Walker:
    """Somebody who walks through the picture."""

    look: Look
    direction: Direction
    start: float  # frame at which the way begins, outside of the picture
    end: float  # and ends
    x: float  # column where it begins
    row: float  # of the feet, on average
    speed: float  # columns a frame
    step: float  # metres gone before, so that not all are in step
    sway: float  # rows by which the way bends
    turn: float  # its phase

    def at(self, frame: float) -> tuple[float, float]:
        """Column and row of the ground below."""
        gone = self.speed * (frame - self.start)
        return self.x + self.direction * gone, self.row + self.sway * math.sin(0.02 * gone + self.turn)

    def body(self, place: Scene, frame: float) -> Body:
        x, row = self.at(frame)
        scale = place.scale(row)
        pose = Pose(x, row, scale, float(self.direction), 0.0)
        metres = self.step + self.speed * (frame - self.start) / scale * STATURE / self.look.stature
        return Body(row, dressed(rasterise(on_foot(pose, self.look, WALK, metres)), place, self.look))


def dressed(sprite: Sprite, place: Scene, look: Look) -> Sprite:
    """With the weave of the clothes."""
    height, width = sprite.alpha.shape
    weave = place.weaves[look.pattern]
    if height > weave.shape[0] or width > weave.shape[1]:  # a body that fills the picture
        weave = np.resize(weave, (height, width))
    return sprite._replace(light=sprite.light * weave[:height, :width])


def draw_look(place: Scene, rng: np.random.Generator) -> Look:
    """A person of a place."""
    kind = rng.random()
    dark, grey, bright = rng.uniform(32, 75), rng.uniform(75, 128), rng.uniform(165, 222)
    light = 0.55 * (1 - place.dark_shirts)
    shirt = bright if kind < light else grey if kind < 1 - place.dark_shirts else dark
    trousers = rng.uniform(30, 72) if rng.random() < 0.75 else rng.uniform(95, 140)
    return Look(
        shirt=shirt,
        trousers=trousers,
        skin=rng.uniform(85, 132),
        hair=rng.uniform(26, 62),
        shoes=rng.uniform(28, 55) if rng.random() < 0.75 else rng.uniform(150, 210),
        backpack=rng.uniform(26, 80) if rng.random() < place.backpacks else None,
        handbag=rng.uniform(30, 170) if rng.random() < 0.15 else None,
        coat=rng.uniform(0.15, 0.5) if rng.random() < 0.18 else 0.0,
        girth=float(np.clip(rng.normal(1.0, 0.1), 0.82, 1.3)),
        stature=float(np.clip(rng.normal(STATURE, 0.09), 1.5, 1.92)),
        pattern=int(rng.integers(PATTERNS)),
    )


def walkers_at(footage: Footage, frame: float) -> list[Walker]:
    """Everybody in view, and who is about to be, those who came first first."""
    place, frames = footage.scene, _SLOT * footage.rate
    slowest = place.scale(place.far[0]) * _SLOWEST / footage.rate
    longest = (footage.size[1] + 2 * footage.reach(0.8, place.near[1])) / slowest
    slots = range(math.floor((frame - longest) / frames), math.floor(frame / frames) + 1)
    return [
        walker
        for slot in slots
        for direction in _DIRECTIONS
        for walker in _arrivals(footage, direction, slot)
        if walker.start <= frame < walker.end
    ]


@lru_cache(maxsize=64)
def _arrivals(footage: Footage, direction: Direction, slot: int) -> tuple[Walker, ...]:
    """Who sets out in a slot."""
    rng = generator(footage.seed, "walkers", direction, slot)
    place, frames = footage.scene, _SLOT * footage.rate
    lane = place.near if direction > 0 else place.far
    usual = place.scale(sum(lane) / 2) * WALKING / footage.rate  # columns a frame
    each_frame = footage.density / 2 / _GROUP_MEAN * usual / footage.size[1]
    found = []
    for _ in range(rng.poisson(each_frame * frames)):
        start = (slot + rng.random()) * frames
        row = rng.uniform(*lane)
        pace = float(np.clip(rng.normal(WALKING, 0.13), _SLOWEST, _FASTEST))
        count = int(rng.choice(len(_GROUPS), p=_GROUPS)) + 1
        for member in range(count):
            found.append(_walker(footage, direction, start, row, lane, pace, member, rng))
    return tuple(found)


def _walker(
    footage: Footage,
    direction: Direction,
    start: float,
    row: float,
    lane: tuple[float, float],
    pace: float,
    member: int,
    rng: np.random.Generator,
) -> Walker:
    """A member of a group: beside and a little before or behind the first."""
    place = footage.scene
    sign = 1 if row < sum(lane) / 2 else -1
    own = float(np.clip(row + sign * member * rng.uniform(0.25, 0.45) * place.scale(row), *lane))
    speed = pace * place.scale(row) / footage.rate
    late = member * rng.uniform(-0.2, 0.5) * place.scale(row) / speed
    reach = footage.reach(0.8, lane[1])
    begin = start + max(late, 0.0)
    return Walker(
        look=draw_look(place, rng),
        direction=direction,
        start=begin,
        end=begin + (footage.size[1] + 2 * reach) / speed,
        x=-reach if direction > 0 else footage.size[1] - 1 + reach,
        row=own,
        speed=speed,
        step=rng.uniform(0, WALK.stride),
        sway=rng.uniform(0, 0.1) * place.scale(row),
        turn=rng.uniform(0, 2 * math.pi),
    )
