"""Where a planted defect lies: soft masks of blobs and lines, (H, W) float32 in [0, 1]."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Alpha = npt.NDArray[np.float32]
Rng = np.random.Generator
NOTHING = 0.1  # below this an alpha is 0: a mask ends where its defect does


def blob(shape: tuple[int, int], diameter: float, rng: Rng, rim: float = 1.0, irregular: float = 0.35) -> Alpha:
    """An irregular, stretched and turned round spot somewhere in the image.

    Args:
        shape: (H, W) of the image.
        diameter: of the circle that has its area, in pixels.
        rng: of its place and form.
        rim: width of its border in pixels.
        irregular: size of the waves of its outline, in radii.
    """
    down, right, _ = _place(shape, diameter, rng)
    turn, stretch = rng.uniform(0, math.pi), math.exp(rng.uniform(-0.7, 0.7))
    cos, sin = math.cos(turn), math.sin(turn)
    along, across = (down * cos + right * sin) * stretch**0.5, (right * cos - down * sin) / stretch**0.5
    angle = np.arctan2(along, across)
    waves = sum((rng.normal() / order) * np.cos(order * angle + rng.uniform(0, 2 * math.pi)) for order in range(2, 7))
    radius = diameter / 2 * np.exp(irregular * waves)
    return _cut((radius - np.hypot(along, across)) / max(rim, 0.5) + 0.5)


def line(shape: tuple[int, int], length: float, width: float, rng: Rng, wander: float) -> Alpha:
    """A line that wanders: smooth where `wander` (radians a pixel) is small, jagged where it is large."""
    down, right, _ = _place(shape, length / 2, rng)
    step = 2.0 if wander > 0.1 else 5.0
    turns = np.cumsum(rng.normal(0, wander * step, max(int(length / step), 1)))
    angles = rng.uniform(0, 2 * math.pi) + turns
    points = np.cumsum(np.stack([np.sin(angles), np.cos(angles)], 1) * step, axis=0)
    points = np.concatenate([np.zeros((1, 2)), points]) - points.mean(0)
    near = np.full(shape, np.inf, np.float32)
    reach = width / 2 + 1.5
    rows, columns = down[:, 0], right[0]
    for (r0, c0), (r1, c1) in pairwise(points):
        top, bottom = np.searchsorted(rows, [min(r0, r1) - reach, max(r0, r1) + reach])
        left, end = np.searchsorted(columns, [min(c0, c1) - reach, max(c0, c1) + reach])
        if top == bottom or left == end:
            continue
        r, c = rows[top:bottom, None] - r0, columns[None, left:end] - c0
        share = np.clip((r * (r1 - r0) + c * (c1 - c0)) / step**2, 0, 1)
        distance = np.hypot(r - share * (r1 - r0), c - share * (c1 - c0))
        part = near[top:bottom, left:end]
        np.minimum(part, distance, out=part)
    return _cut(width / 2 + 0.5 - near)


def _place(shape: tuple[int, int], margin: float, rng: Rng) -> tuple[Alpha, Alpha, tuple[float, float]]:
    """Rows and columns (H, 1), (1, W) from a random centre, which lies in the image, if it can by `margin` / 2."""
    row, column = (rng.uniform(min(margin / 2, side / 2 - 0.5), max(side - 1 - margin / 2, side / 2)) for side in shape)
    down = (np.arange(shape[0]) - row)[:, None].astype(np.float32)
    return down, (np.arange(shape[1]) - column)[None].astype(np.float32), (row, column)


def _cut(alpha: npt.NDArray[np.floating]) -> Alpha:
    alpha = np.clip(alpha, 0, 1).astype(np.float32)
    return np.where(alpha < NOTHING, np.float32(0), alpha)
