"""Parts of bodies and vehicles -> pixels with soft edges, and who hides whom.

A part is a stroke (a straight line of a width that changes from end to end, a disc, a ring) or a convex polygon, in
pixels of the picture; parts that are drawn later lie in front. A sprite is what parts look like together: how much of
each pixel they cover, and the light that comes from them. Nothing is rounded to whole pixels, so that slow movements
are smooth.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Box = tuple[int, int, int, int]  # top, left, bottom, right; the last two are excluded
SOFT = 1.3  # pixels over which an edge fades: as sharp as the lens of such a camera
CAMERA_SINE, CAMERA_COSINE = 0.5, 0.866  # of the camera's angle: it looks down by 30 degrees


class Stroke(NamedTuple):
    """From a to b, with a radius at each end, in pixels; `ring` above 0: the rim of a circle around a."""

    ax: float
    ay: float
    bx: float
    by: float
    ra: float
    rb: float
    ring: float
    opacity: float
    grey: float


class Polygon(NamedTuple):
    """A convex polygon."""

    corners: tuple[tuple[float, float], ...]  # x, y in pixels, in any sense of turning
    grey: float


Part = Stroke | Polygon


class Sprite(NamedTuple):
    """Parts as pixels; may reach beyond the picture."""

    top: int
    left: int
    alpha: Floats  # (h, w) 0 to 1: how much of a pixel is covered
    light: Floats  # (h, w) grey level times alpha


@dataclass(frozen=True, slots=True)
class Pose:
    """Where a body stands and whither it looks: metres of the body -> pixels of the picture."""

    x: float  # column of the ground below it
    y: float  # row
    scale: float  # pixels a metre
    cosine: float  # of its heading: 0 degrees to the right, 90 towards the camera
    sine: float

    def at(self, forward: float, side: float, up: float) -> tuple[float, float]:
        """The pixel (x, y) of a point of the body; `side` is to its right."""
        depth = forward * self.sine + side * self.cosine
        return (
            self.x + self.scale * (forward * self.cosine - side * self.sine),
            self.y + self.scale * (depth * CAMERA_SINE - up * CAMERA_COSINE),
        )

    def stroke(
        self,
        a: tuple[float, float, float],
        b: tuple[float, float, float],
        radii: tuple[float, float],
        grey: float,
        opacity: float = 1.0,
        ring: float = 0.0,
    ) -> Stroke:
        """A stroke between points (forward, side, up) of the body; all in metres."""
        scale = self.scale
        return Stroke(*self.at(*a), *self.at(*b), radii[0] * scale, radii[1] * scale, ring * scale, opacity, grey)

    def polygon(self, corners: Sequence[tuple[float, float, float]], grey: float) -> Polygon:
        """A polygon between points (forward, side, up) of the body."""
        return Polygon(tuple(self.at(*corner) for corner in corners), grey)


def generator(*names: int | float | str) -> np.random.Generator:
    """Random numbers for one purpose, the same on every machine; `anotwin.seeding` without torch.

    >>> [int(generator(seed, "a").integers(1000)) for seed in (1, 1, 2)]
    [792, 792, 673]
    """
    text = "\x1f".join(str(name) for name in names)
    return np.random.default_rng(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "big"))


def rasterise(parts: Sequence[Part]) -> Sprite:
    """The sprite of parts, those that are drawn last in front.

    >>> sprite = rasterise([Stroke(5, 5, 15, 5, 2, 2, 0, 1.0, 80)])
    >>> sprite.top, sprite.left, sprite.alpha.shape, float(sprite.light.max())
    (2, 2, (7, 17), 80.0)
    """
    left, top, right, bottom = _extent(parts)
    x = np.arange(left, right, dtype=np.float32)
    y = np.arange(top, bottom, dtype=np.float32)[:, None]
    strokes = np.array([part for part in parts if isinstance(part, Stroke)], np.float32).reshape(-1, 9)
    if len(strokes) == len(parts):
        through = _through_strokes(strokes, x, y)
    else:
        through = np.empty((len(parts), bottom - top, right - left), np.float32)
        through[[isinstance(part, Stroke) for part in parts]] = _through_strokes(strokes, x, y)
        for place, part in enumerate(parts):
            if isinstance(part, Polygon):
                through[place] = _through_polygon(part, x, y)
    # behind[k] = the light that passes part k and all in front of it; a part is seen by behind[k + 1] - behind[k]
    behind = np.multiply.accumulate(through[::-1], 0)[::-1]
    greys = np.array([part.grey for part in parts], np.float32)
    shares = np.concatenate([-greys[:1], greys[:-1] - greys[1:]])
    light = greys[-1] + (shares @ behind.reshape(len(parts), -1)).reshape(behind.shape[1:])
    light *= behind[0] < 1  # a sum that should be 0 there is not quite
    return Sprite(top, left, 1 - behind[0], light)


def _extent(parts: Sequence[Part]) -> Box:
    xs: list[float] = []
    ys: list[float] = []
    for part in parts:
        if isinstance(part, Stroke):
            for x, y, radius in ((part.ax, part.ay, part.ra), (part.bx, part.by, part.rb)):
                reach = radius + part.ring + SOFT / 2
                xs += (x - reach, x + reach)
                ys += (y - reach, y + reach)
        else:
            for x, y in part.corners:
                xs += (x - SOFT / 2, x + SOFT / 2)
                ys += (y - SOFT / 2, y + SOFT / 2)
    return math.floor(min(xs)), math.floor(min(ys)), math.ceil(max(xs)) + 1, math.ceil(max(ys)) + 1


def _through_strokes(strokes: Floats, x: Floats, y: Floats) -> Floats:
    """(K, h, w) the light that passes each stroke."""
    ax, ay, bx, by, ra, rb, ring, opacity = (strokes[:, column, None, None] for column in range(8))
    dx, dy = bx - ax, by - ay
    px, py = x - ax, y - ay
    squared = np.maximum(dx * dx + dy * dy, 1e-6)
    along = px * (dx / squared) + py * (dy / squared)
    np.maximum(along, 0, out=along)  # np.clip takes twice as long on so few pixels
    np.minimum(along, 1, out=along)
    away = (px - along * dx) ** 2
    away += (py - along * dy) ** 2
    np.sqrt(away, out=away)
    if ring.any():
        away = np.abs(away - ring)
    away -= ra
    along *= rb - ra
    away -= along
    away /= SOFT
    away += 0.5
    np.maximum(away, 0, out=away)
    np.minimum(away, 1, out=away)
    if (opacity < 1).any():
        away = 1 - opacity * (1 - away)
    return np.asarray(away, np.float32)


def _through_polygon(polygon: Polygon, x: Floats, y: Floats) -> Floats:
    """(h, w) the light that passes a polygon: the distance to its nearest edge decides."""
    points = np.array(polygon.corners, np.float32)
    edges = np.roll(points, -1, 0) - points
    turn = np.sign(np.sum(points[:, 0] * np.roll(points[:, 1], -1) - np.roll(points[:, 0], -1) * points[:, 1])) or 1.0
    edges *= turn / np.maximum(np.hypot(edges[:, 0], edges[:, 1]), 1e-6)[:, None]
    inside = [edge[0] * (y - point[1]) - edge[1] * (x - point[0]) for edge, point in zip(edges, points, strict=True)]
    return np.asarray(np.clip(0.5 - np.minimum.reduce(inside) / SOFT, 0, 1), np.float32)


def meeting(sprite: Sprite, top: int, left: int, shape: tuple[int, int]) -> tuple[Any, Any] | None:
    """Where a sprite and an array of `shape` at (top, left) lie over each other: slices of the array, of the sprite."""
    first = max(sprite.top, top), max(sprite.left, left)
    last = (
        min(sprite.top + sprite.alpha.shape[0], top + shape[0]),
        min(sprite.left + sprite.alpha.shape[1], left + shape[1]),
    )
    if first[0] >= last[0] or first[1] >= last[1]:
        return None
    return (
        np.s_[first[0] - top : last[0] - top, first[1] - left : last[1] - left],
        np.s_[first[0] - sprite.top : last[0] - sprite.top, first[1] - sprite.left : last[1] - sprite.left],
    )


def paint(canvas: Floats, sprite: Sprite) -> None:
    """Draw a sprite over `canvas` (H, W), in place."""
    both = meeting(sprite, 0, 0, canvas.shape)
    if both is not None:
        part = canvas[both[0]]
        part -= part * sprite.alpha[both[1]]
        part += sprite.light[both[1]]


def hide(behind: Sprite, front: Sprite) -> None:
    """Take what `front` covers away from the alpha of `behind`, in place."""
    both = meeting(front, behind.top, behind.left, behind.alpha.shape)
    if both is not None:
        part = behind.alpha[both[0]]
        part -= part * front.alpha[both[1]]


def cast(shade: Floats, sprite: Sprite, row: float, lean: tuple[float, float], strength: float) -> None:
    """Darken `shade` (H, W), in place, where a body that stands on `row` keeps the sun from the ground.

    Args:
        shade: 1 where the sun shines, less in shadow; shadows of several bodies do not add up.
        sprite: of the body.
        row: of the ground below it.
        lean: columns to the right and rows down that the shadow runs for each row of the body's height.
        strength: 0 to 1, of the sun's light.
    """
    height, width = sprite.alpha.shape
    across, down = lean
    tall = row - sprite.top
    rows = np.arange(math.floor(row + min(0.0, down * tall)) - 1, math.ceil(row + max(0.0, down * tall)) + 2)
    up = (rows - row) / down  # of the part of the body that throws its shadow on that row
    source = np.rint(row - up).astype(int) - sprite.top
    reach = across * tall
    left = math.floor(sprite.left + min(0.0, reach)) - 1
    columns = np.arange(left, math.ceil(sprite.left + width + max(0.0, reach)) + 2) - sprite.left
    from_columns = columns - np.rint(up * across).astype(int)[:, None]
    known = (source >= 0) & (source < height)
    inside = known[:, None] & (from_columns >= 0) & (from_columns < width)
    alpha = sprite.alpha[np.clip(source, 0, height - 1)[:, None], np.clip(from_columns, 0, width - 1)] * inside
    alpha[1:-1] += alpha[:-2] + alpha[2:]
    alpha[:, 1:-1] += alpha[:, :-2] + alpha[:, 2:]
    shadow = Sprite(int(rows[0]), left, alpha * np.float32(strength / 9), alpha)
    both = meeting(shadow, 0, 0, shade.shape)
    if both is not None:
        np.minimum(shade[both[0]], 1 - shadow.alpha[both[1]], out=shade[both[0]])
