"""A place: what a fixed camera sees of it, by what light, and where people go.

From above: a building, a hedge, a lawn, the walkway, the near lawn. People keep to the right: those who go to the right
of the picture walk on its near half, the others on the far one. Everything is drawn from the number of the place.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter

from anotwin.domains.video.synthetic.drawing import (
    CAMERA_COSINE,
    SOFT,
    Floats,
    Part,
    Polygon,
    Sprite,
    Stroke,
    cast,
    generator,
    meeting,
    paint,
    rasterise,
)

PATTERNS = 8  # weaves of clothes
_WEAVE = 96  # pixels


@dataclass(frozen=True, eq=False)
class Scene:
    """What of a place never changes. Rows and columns are pixels of the picture."""

    size: tuple[int, int]
    ground: Floats  # (H, W) grey levels without people
    leaves: Floats  # (H, W) by which they change when wind moves the leaves by a pixel
    dimming: Floats  # (H, W) of the lens: 1 in the middle, less in the corners
    standing: tuple[tuple[float, Sprite], ...]  # posts and trees that may hide people: row of their foot, how they look
    far: tuple[float, float]  # rows of those who go to the left
    near: tuple[float, float]  # and of those who go to the right
    lawn: tuple[float, float]  # rows of the lawn behind the walkway
    horizon: tuple[float, float]  # pixels a metre are `horizon[0] + horizon[1] * row`
    sun: tuple[float, float]  # columns to the right, rows down that a shadow runs for a row of height
    sunlight: float  # of all light that falls on the ground
    dark_shirts: float  # share of people in dark
    backpacks: float  # share of people with one
    weaves: Floats  # (PATTERNS, w, w) by which the grey levels of clothes differ from place to place, 1 on average

    def scale(self, row: float) -> float:
        """Pixels a metre of somebody who stands on `row`."""
        return self.horizon[0] + self.horizon[1] * row


@lru_cache(maxsize=4)
def scene(place: int, size: tuple[int, int]) -> Scene:
    """The place of a number, seen by a camera of (rows, columns)."""
    rng = generator("place", place)
    height, unit = size[0], size[0] / 240
    hedge, lawn, walk, end = (
        height * share
        for share in (rng.uniform(0.1, 0.16), rng.uniform(0.24, 0.3), rng.uniform(0.43, 0.49), rng.uniform(0.9, 0.97))
    )
    middle = walk + (end - walk) * rng.uniform(0.44, 0.5)
    ratio = rng.uniform(1.2, 1.45)  # of the scale at the near rim and at the far one
    at_walk = rng.uniform(16.5, 18.0) * unit
    slope = at_walk * (ratio - 1) / (end - walk)
    sun = (rng.choice([-1, 1]) * rng.uniform(0.3, 0.9), rng.choice([-1, 1]) * rng.uniform(0.25, 0.45))
    sunlight = rng.uniform(0.15, 0.4)
    ground, leaves = _ground(size, (hedge, lawn, walk, end), middle, rng)
    horizon = (at_walk - slope * walk, slope)
    standing = _standing(size, (walk, end), horizon, rng)
    shade = np.ones(size, np.float32)
    for row, sprite in standing:
        cast(shade, sprite, row, sun, sunlight)
    y, x = np.ogrid[-1 : 1 : size[0] * 1j, -1 : 1 : size[1] * 1j]
    found = Scene(
        size=size,
        ground=ground * shade,
        leaves=leaves,
        dimming=np.asarray(1 - rng.uniform(0.03, 0.07) * (x**2 + y**2), np.float32),
        standing=standing,
        far=(walk + 3 * unit, middle - 5 * unit),
        near=(middle + 5 * unit, end - 3 * unit),
        lawn=(lawn, walk),
        horizon=horizon,
        sun=(float(sun[0]), float(sun[1])),
        sunlight=float(sunlight),
        dark_shirts=rng.uniform(0.45, 0.65),
        backpacks=rng.uniform(0.35, 0.6),
        weaves=_weaves(rng),
    )
    for field in (found.ground, found.leaves, found.dimming, found.weaves):
        field.setflags(write=False)
    return found


def _texture(size: tuple[int, int], sigmas: tuple[float, ...], rng: np.random.Generator, stretch: float = 1) -> Floats:
    """(H, W) of mean 0 and standard deviation 1: blotches of several sizes, `stretch` times as wide as high."""
    total = np.zeros(size, np.float32)
    for sigma in sigmas:
        layer = gaussian_filter(rng.standard_normal(size, np.float32), (sigma, sigma * stretch))
        total += layer / layer.std()
    return np.asarray(total / total.std(), np.float32)


def _ground(
    size: tuple[int, int], rows: tuple[float, float, float, float], middle: float, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """The ground, and what of it the wind moves."""
    unit = size[0] / 240
    y = np.arange(size[0], dtype=np.float32)[:, None] + 0 * np.arange(size[1], dtype=np.float32)
    upper, lower = (_texture(size, (9 * unit, 2.5 * unit), rng)[:1] for _ in range(2))
    hedge, lawn, walk, end = rows
    wall = rng.uniform(85, 115) + 3 * _texture(size, (1.0, 30 * unit), rng, 2)
    bush = rng.uniform(48, 62) + 8 * _texture(size, (1.2, 3 * unit), rng)
    grass = rng.uniform(72, 92) + 3.5 * _texture(size, (0.8, 3 * unit, 25 * unit), rng, 2)
    concrete = _pavement(size, walk, end, middle, rng)
    ground = wall * 1.0
    for layer, start in ((bush, hedge + 2 * unit * upper), (grass, lawn + 1.2 * unit * lower), (concrete, walk)):
        share = np.clip((y - start) / SOFT + 0.5, 0, 1)
        ground += (layer - ground) * share
    kerb = np.exp(-(((y - walk + unit) / (1.2 * unit)) ** 2))
    ground -= 0.45 * kerb * ground
    ground = _marked(ground, size, hedge, rng)
    ground += (1.6 * grass - 62 - ground) * _near_lawn(size, end, y, rng)
    moving = np.clip((y - hedge) / (6 * unit), 0, 1) * np.clip((lawn - y) / (6 * unit), 0, 1)
    return np.asarray(ground, np.float32), np.asarray(np.gradient(bush, axis=1) * moving, np.float32)


def _pavement(size: tuple[int, int], walk: float, end: float, middle: float, rng: np.random.Generator) -> Floats:
    """Concrete slabs with joints that run across, stains and wear."""
    unit, (height, width) = size[0] / 240, size
    concrete = (
        rng.uniform(150, 175)
        + 2.5 * _texture(size, (9 * unit,), rng, 3)
        + 3 * _texture(size, (0.7, 5 * unit, 30 * unit), rng, 2)
    )
    y, x = np.mgrid[:height, :width].astype(np.float32)
    concrete += (y - walk) / max(end - walk, 1) * rng.uniform(-4, 8)
    slope, step, start = rng.uniform(-0.6, 0.6), rng.uniform(70, 100) * unit, rng.uniform(0, 70) * unit
    away = np.abs((x + slope * (y - middle) - start + step / 2) % step - step / 2)
    across = np.abs(y - middle - 0.01 * x)
    for distance, depth in ((away, 22), (across, 9)):
        concrete -= depth * np.clip(1.2 * unit - distance, 0, 1)
    slabs = rng.normal(0, 2.5, (2, 64))
    concrete += slabs[(y > middle).astype(int), ((x + slope * (y - middle) - start) // step).astype(int) % 64]
    stains = np.clip(_texture(size, (5 * unit,), rng, 2) - 1.8, 0, 1)
    return np.asarray(concrete - 14 * stains, np.float32)


def _near_lawn(size: tuple[int, int], end: float, y: Floats, rng: np.random.Generator) -> Floats:
    """(H, W) share of lawn before the walkway: two beds with a way between them."""
    x, unit = np.arange(size[1], dtype=np.float32), size[0] / 240
    gap, way = size[1] * rng.uniform(0.2, 0.35), size[1] * rng.uniform(0.35, 0.65)
    outside = np.abs(x + rng.uniform(-0.6, 0.6) * (y - end) - way) - gap / 2
    frayed = 0.6 * unit * _texture(size, (1.2 * unit,), rng)  # blades of grass
    return np.asarray(np.clip((np.minimum(y - end, outside) + frayed) / SOFT + 0.5, 0, 1), np.float32)


def _marked(ground: Floats, size: tuple[int, int], hedge: float, rng: np.random.Generator) -> Floats:
    """With parts of the building and bare spots on the lawn: marks that make a place its own."""
    unit = size[0] / 240
    canvas = np.array(ground, np.float32)
    for _ in range(int(rng.integers(2, 5))):
        x, wide, low = rng.uniform(0, size[1]), rng.uniform(6, 40) * unit, hedge - rng.uniform(4, 14) * unit
        grey = float(ground[0].mean()) + rng.uniform(-32, 12)
        paint(canvas, rasterise([Polygon(((x, -4), (x + wide, -4), (x + wide, low), (x, low)), grey)]))
    for _ in range(int(rng.integers(3, 9))):
        x, row = rng.uniform(0, size[1]), rng.uniform(0.32, 0.44) * size[0]
        spot = Stroke(x, row, x + 3 * unit, row, 0.8 * unit, 0.6 * unit, 0, 0.5, rng.uniform(100, 160))
        paint(canvas, rasterise([spot]))
    return canvas


def _standing(
    size: tuple[int, int], rows: tuple[float, float], horizon: tuple[float, float], rng: np.random.Generator
) -> tuple[tuple[float, Sprite], ...]:
    """Lamp posts at the far rim, one that stands before the walkers, and a tree."""
    width = size[1]
    walk, end = rows
    places = [(walk - 2, width * rng.uniform(0.15, 0.4)), (walk - 2, width * rng.uniform(0.65, 0.95))]
    found = [(row, rasterise(_lamp(x, row, horizon[0] + horizon[1] * row, 4.6, rng))) for row, x in places]
    near = end - 0.02 * size[0]
    x = width * rng.uniform(0.3, 0.7)
    found.append((near, rasterise(_lamp(x, near, horizon[0] + horizon[1] * near, 7.0, rng))))
    x = width * (rng.uniform(0.03, 0.15) if rng.random() < 0.5 else rng.uniform(0.85, 0.97))
    found.append((end, _tree(x, end, horizon[0] + horizon[1] * end, rng)))
    return tuple(found)


def _lamp(x: float, row: float, scale: float, tall: float, rng: np.random.Generator) -> list[Part]:
    top, grey, thick = row - tall * scale * CAMERA_COSINE, rng.uniform(28, 50), 0.085 * scale
    foot = Stroke(x - 1.5 * thick, row, x + 1.5 * thick, row, thick, thick, 0, 1.0, grey + 40)
    post = Stroke(x, row, x, top, thick, 0.8 * thick, 0, 1.0, grey)
    arm = 0.35 * scale
    head = Stroke(x - arm, top, x + arm, top, 1.3 * thick, 1.3 * thick, 0, 1.0, grey + 15)
    return [foot, post, head]


def _tree(x: float, row: float, scale: float, rng: np.random.Generator) -> Sprite:
    """A trunk below a crown through which the ground shows here and there."""
    height, width = round(4.2 * scale), round(4.6 * scale)
    middle = row - 6.4 * scale
    trunk = Stroke(x, row, x + rng.uniform(-0.3, 0.3) * scale, middle, 0.17 * scale, 0.1 * scale, 0, 1.0, 42)
    sprite = rasterise([trunk, Stroke(x, middle, x, middle, 0.1, 0.1, 0, 0.0, 42)])
    top, left = round(middle - height / 2), round(x - width / 2)
    first, side = min(top, sprite.top), min(left, sprite.left)
    bottom = max(top + height, sprite.top + sprite.alpha.shape[0])
    right = max(left + width, sprite.left + sprite.alpha.shape[1])
    alpha, light = (np.zeros((bottom - first, right - side), np.float32) for _ in range(2))
    whole = Sprite(first, side, alpha, light)
    for each in (sprite, _crown(top, left, (height, width), scale, rng)):
        both = meeting(each, first, side, alpha.shape)
        if both is not None:
            over = each.alpha[both[1]]
            alpha[both[0]] += (1 - alpha[both[0]]) * over
            light[both[0]] += each.light[both[1]] - light[both[0]] * over
    return whole


def _crown(top: int, left: int, size: tuple[int, int], scale: float, rng: np.random.Generator) -> Sprite:
    y, x = np.ogrid[-1 : 1 : size[0] * 1j, -1 : 1 : size[1] * 1j]
    leaves = _texture(size, (0.05 * scale, 0.25 * scale), rng)
    alpha = np.clip(1.6 * (1.0 - (x**2 + y**2) * 1.3 + 0.3 * leaves), 0, 1)
    grey = np.clip(50 + 9 * leaves - 8 * y, 24, 90)
    return Sprite(top, left, np.asarray(alpha, np.float32), np.asarray(alpha * grey, np.float32))


def _weaves(rng: np.random.Generator) -> Floats:
    """Cloth: blotches, and stripes for some."""
    weaves = np.stack([0.06 * _texture((_WEAVE, _WEAVE), (0.8, 2.5), rng) for _ in range(PATTERNS)])
    stripes = 0.09 * np.sin(np.arange(_WEAVE) * 1.7)[:, None]
    weaves[::4] += stripes
    return np.asarray(1 + weaves, np.float32)
