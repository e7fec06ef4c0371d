"""Kinds of planted defects. Each takes normal pixels and changes a part of them; `plant` (library.py) calls them.

A maker is given the pixels (C, H, W) in [-1, 1], natural pixels of other places (C, H, W), the diameter of the defect
in pixels, its contrast in [0, 1] (share of the pixel range) and a generator; it returns what the pixels become and a
soft mask (H, W): pixels = (1 - mask) * before + mask * after.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, map_coordinates

from anotwin.defects.poisson import blend
from anotwin.defects.shapes import Alpha, Rng, blob, line

Pixels = npt.NDArray[np.float32]
Made = tuple[Pixels, Alpha]
Maker = Callable[[Pixels, Pixels, float, float, Rng], Made]


def pit(pixels: Pixels, donor: Pixels, diameter: float, contrast: float, rng: Rng) -> Made:
    """Small spots, most of them dark, some with an edge that catches the light."""
    del donor
    shape = _size(pixels)
    many = int(rng.integers(1, 4)) if diameter < 12 else 1
    alpha = np.zeros(shape, np.float32)
    for _ in range(many):
        alpha = np.maximum(alpha, blob(shape, diameter / many**0.5, rng, rim=rng.uniform(0.7, 2.5)))
    after = pixels + _shade(pixels, contrast, rng, dark=0.7)
    if rng.random() < 0.3:
        edge = gaussian_filter(alpha, 1.0)
        after = after + 4 * contrast * (np.roll(edge, 1, int(rng.integers(2))) - edge)
    return after, alpha


def scratch(pixels: Pixels, donor: Pixels, diameter: float, contrast: float, rng: Rng) -> Made:
    """Thin, nearly straight lines, dark or bright."""
    del donor
    shape = _size(pixels)
    alpha = np.zeros(shape, np.float32)
    width = rng.uniform(0.8, 3.0)
    length = max(diameter**2 * math.pi / 4 / width, 4)
    for _ in range(int(rng.integers(1, 3))):
        alpha = np.maximum(alpha, line(shape, min(length, 1.5 * max(shape)), width, rng, 0.015))
    return pixels + _shade(pixels, contrast, rng, dark=0.5), alpha


def crack(pixels: Pixels, donor: Pixels, diameter: float, contrast: float, rng: Rng) -> Made:
    """Jagged lines that change their width, most of them dark."""
    del donor
    shape = _size(pixels)
    width = rng.uniform(1.0, 4.0)
    length = min(max(diameter**2 * math.pi / 4 / width, 6), 1.5 * max(shape))
    alpha = line(shape, length, width, rng, rng.uniform(0.12, 0.3))
    rough = gaussian_filter(rng.normal(size=shape), 2.0)
    alpha = alpha * np.clip(1 + rough / rough.std() * 0.35, 0, 1).astype(np.float32)
    return pixels + _shade(pixels, contrast, rng, dark=0.85), np.where(alpha < 0.1, 0, alpha).astype(np.float32)


def stain(pixels: Pixels, donor: Pixels, diameter: float, contrast: float, rng: Rng) -> Made:
    """A region darker, brighter or of another colour, with a soft rim; the texture shows through."""
    del donor
    alpha = blob(_size(pixels), diameter, rng, rim=max(1.5, diameter * rng.uniform(0.05, 0.5)))
    if rng.random() < 0.4:
        cloud = gaussian_filter(rng.normal(size=alpha.shape), max(diameter / 8, 1))
        alpha = alpha * np.clip(0.8 + 0.4 * cloud / max(cloud.std(), 1e-6), 0.15, 1).astype(np.float32)
    shade = _shade(pixels, contrast, rng, dark=0.6)
    after = (1 + pixels) * (1 + shade / 2) - 1 if rng.random() < 0.5 else pixels + shade
    return after.astype(np.float32), alpha


def patch(pixels: Pixels, donor: Pixels, diameter: float, contrast: float, rng: Rng) -> Made:
    """A natural patch of another place, blended in without a border (NSA)."""
    del contrast
    shape = _size(pixels)
    high, wide = (int(np.clip(diameter * f, 5, side)) for f, side in zip(_sides(rng), shape, strict=True))
    row, column = (int(rng.integers(side - own + 1)) for side, own in zip(shape, (high, wide), strict=True))
    there = _natural(donor, high, wide, rng)
    here = pixels[:, row : row + high, column : column + wide]
    after = pixels.copy()
    after[:, row : row + high, column : column + wide] = blend(here, there)
    alpha = np.zeros(shape, np.float32)
    alpha[row + 1 : row + high - 1, column + 1 : column + wide - 1] = 1
    return after, alpha


def pasted(pixels: Pixels, donor: Pixels, diameter: float, contrast: float, rng: Rng) -> Made:
    """Natural pixels of another place or scale, with a border; some turned, mirrored or reversed in brightness."""
    del contrast
    alpha = blob(_size(pixels), diameter, rng, rim=rng.uniform(0.7, 3))
    moved = _natural(donor, *_size(pixels), rng)
    if rng.random() < 0.2:
        moved = 2 * moved.mean((1, 2), keepdims=True) - moved
    if rng.random() < 0.5:  # as bright as its surroundings: texture alone tells
        moved = moved + _mean(pixels, alpha) - _mean(moved, alpha)
    return moved, alpha


def foreign(pixels: Pixels, donor: Pixels, diameter: float, contrast: float, rng: Rng) -> Made:
    """Procedural texture: filtered noise or waves of some direction and scale."""
    del donor
    shape = _size(pixels)
    alpha = blob(shape, diameter, rng, rim=rng.uniform(0.7, 3))
    if rng.random() < 0.5:
        sigma = np.exp(rng.uniform(np.log(0.5), np.log(6), 2))
        wave = gaussian_filter(rng.normal(size=shape), sigma)
    else:
        angle, period = rng.uniform(0, math.pi), math.exp(rng.uniform(math.log(2.5), math.log(24)))
        rows, columns = np.mgrid[: shape[0], : shape[1]]
        wave = np.sin(2 * math.pi * (rows * math.sin(angle) + columns * math.cos(angle)) / period)
        wave = np.sign(wave) if rng.random() < 0.3 else wave
    wave = wave / max(wave.std(), 1e-6) * contrast
    base = _mean(pixels, alpha) if rng.random() < 0.5 else pixels
    return (base + wave + _shade(pixels, contrast / 2, rng, dark=0.5)).astype(np.float32), alpha


def worn(pixels: Pixels, donor: Pixels, diameter: float, contrast: float, rng: Rng) -> Made:
    """The grain of a region made weaker, stronger or smeared in one direction."""
    del donor, contrast
    alpha = blob(_size(pixels), diameter, rng, rim=rng.uniform(1, 4))
    sigma = np.exp(rng.uniform(np.log(0.8), np.log(5)))
    widths = (0, sigma, sigma) if rng.random() < 0.6 else (0, *rng.permutation([sigma, 0.1]))
    smooth = gaussian_filter(pixels, widths)
    gain = rng.choice([0.0, 0.3, 1.8, 2.5])
    return smooth + gain * (pixels - smooth), alpha


def missing(pixels: Pixels, donor: Pixels, diameter: float, contrast: float, rng: Rng) -> Made:
    """A part gone: flat in a tone that the image has, as hard as a broken edge."""
    del donor, contrast
    alpha = blob(_size(pixels), diameter, rng, rim=0.7, irregular=0.5)
    tones = np.quantile(pixels, rng.choice([0.0, 0.02, 0.5, 0.98]), axis=(1, 2)).astype(np.float32)
    grain = rng.normal(0, 0.01, pixels.shape).astype(np.float32)
    return tones[:, None, None] + grain, alpha


def bent(pixels: Pixels, donor: Pixels, diameter: float, contrast: float, rng: Rng) -> Made:
    """A region moved or turned about its middle, smoothly: as if bent."""
    del donor, contrast
    shape = _size(pixels)
    alpha = blob(shape, diameter, rng, rim=max(2.0, diameter / 4), irregular=0.15)
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    weight = alpha / max(alpha.sum(), 1e-6)
    middle = (rows * weight).sum(), (columns * weight).sum()
    bump = gaussian_filter(alpha, max(diameter / 12, 0.7)) * (alpha > 0)
    if rng.random() < 0.5:
        angle, length = rng.uniform(0, 2 * math.pi), max(diameter * rng.uniform(0.15, 0.35), 2)
        rows, columns = rows - bump * length * math.sin(angle), columns - bump * length * math.cos(angle)
    else:
        turn = bump * rng.uniform(0.6, 1.5) * rng.choice([-1, 1])
        down, right = rows - middle[0], columns - middle[1]
        rows = middle[0] + down * np.cos(turn) - right * np.sin(turn)
        columns = middle[1] + right * np.cos(turn) + down * np.sin(turn)
    after = np.stack([map_coordinates(channel, (rows, columns), order=1, mode="reflect") for channel in pixels])
    return after, (alpha > 0).astype(np.float32)


def dent(pixels: Pixels, donor: Pixels, diameter: float, contrast: float, rng: Rng) -> Made:
    """A hollow: bright on one side, dark on the other."""
    del donor
    alpha = blob(_size(pixels), diameter, rng, rim=max(1.5, diameter / 3), irregular=0.2)
    angle = rng.uniform(0, 2 * math.pi)
    down, right = np.gradient(gaussian_filter(alpha, max(diameter / 10, 0.7)))
    slope = (down * math.sin(angle) + right * math.cos(angle)) * (alpha > 0)
    after = pixels + 2 * contrast * slope / max(np.abs(slope).max(), 1e-6)
    return after.astype(np.float32), (alpha > 0).astype(np.float32)


def drop(pixels: Pixels, donor: Pixels, diameter: float, contrast: float, rng: Rng) -> Made:
    """A dried drop: a rim that is dark or bright around a middle that is nearly as before."""
    del donor
    alpha = blob(_size(pixels), diameter, rng, rim=max(1.0, diameter / 6), irregular=0.2)
    ring = 4 * alpha * (1 - alpha) + 0.15 * alpha
    return (pixels + ring * _shade(pixels, 1.3 * contrast, rng, dark=0.6)).astype(np.float32), (alpha > 0).astype(
        np.float32
    )


KINDS: dict[str, Maker] = {
    "pit": pit,
    "scratch": scratch,
    "crack": crack,
    "stain": stain,
    "patch": patch,
    "pasted": pasted,
    "foreign": foreign,
    "worn": worn,
    "missing": missing,
    "bent": bent,
    "dent": dent,
    "drop": drop,
}
HELD_OUT = "missing", "bent", "dent", "drop"  # never trained on: what is chosen and measured with
TRAINED = tuple(kind for kind in KINDS if kind not in HELD_OUT)


def _size(pixels: Pixels) -> tuple[int, int]:
    """(H, W)."""
    return pixels.shape[1], pixels.shape[2]


def _shade(pixels: Pixels, contrast: float, rng: Rng, dark: float) -> Pixels:
    """A change of brightness (C, 1, 1) by `contrast` of the range [-1, 1]; of colour too in every third image."""
    sign = -1 if rng.random() < dark else 1
    tint = np.ones(len(pixels))
    if len(pixels) > 1 and rng.random() < 0.35:
        tint = rng.uniform(-0.5, 1, len(pixels))
    return (2 * contrast * sign * tint)[:, None, None].astype(np.float32)


def _sides(rng: Rng) -> tuple[float, float]:
    stretch = math.exp(rng.uniform(-0.6, 0.6))
    return stretch, 1 / stretch


def _natural(donor: Pixels, high: int, wide: int, rng: Rng) -> Pixels:
    """Natural pixels (C, high, wide): a piece of the donor, turned, scaled 0.6 to 1.6 times, mirrored at its border."""
    scale = math.exp(rng.uniform(-0.5, 0.5))
    angle = rng.choice([0.0, math.pi / 2, math.pi, rng.uniform(0, 2 * math.pi)])
    row, column = rng.uniform(0, donor.shape[1]), rng.uniform(0, donor.shape[2])
    down, right = np.mgrid[:high, :wide].astype(np.float32)
    down, right = (down - high / 2) * scale, (right - wide / 2) * scale
    rows = row + down * math.cos(angle) - right * math.sin(angle)
    columns = column + right * math.cos(angle) + down * math.sin(angle)
    return np.stack([map_coordinates(channel, (rows, columns), order=1, mode="mirror") for channel in donor])


def _mean(pixels: Pixels, alpha: Alpha) -> Pixels:
    """The mean (C, 1, 1) where the mask is."""
    total = max(float(alpha.sum()), 1e-6)
    mean: Pixels = ((pixels * alpha).sum((1, 2)) / total)[:, None, None].astype(np.float32)
    return mean
