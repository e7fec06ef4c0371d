"""Squares with several defects, many at once: what a restoring network is trained with."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from anotwin.defects.kinds import Pixels
from anotwin.defects.library import plant
from anotwin.defects.shapes import Rng

SHARES = {"pit": 3, "scratch": 2, "crack": 2, "stain": 3, "patch": 1, "pasted": 1.5, "foreign": 1.5, "worn": 1}
SPOILED = 0.75  # of the squares: the others stay normal, and are to be left as they are
MOST = 3  # defects in a square
LARGEST = 0.45  # diameter, in sides of a square
LONG = "scratch", "crack"  # longer than their diameter: anywhere in the square
SMALLEST = {"patch": 8.0, "pasted": 8.0, "foreign": 8.0, "worn": 8.0}  # diameter from which texture can be told
FAINT, GROSS = 1.8, 9.0  # contrast, in standard deviations of the pixels around; fainter ones teach to see noise
ROOM = 2.2  # side of the window that a defect lies in, in diameters: what is farther away need not be computed


def scenes(normals: Pixels, rng: Rng, shares: Mapping[str, float] = SHARES) -> tuple[Pixels, npt.NDArray[np.bool_]]:
    """Normal squares (B, C, S, S) in [-1, 1] -> the same with defects, and masks (B, S, S) of what changed.

    `shares` says how often each kind is drawn: natural patches are often like what they cover, and then nothing is
    wrong with them, so they are drawn less often than what can be seen.

    >>> normals = np.random.default_rng(0).normal(0, 0.1, (4, 1, 64, 64)).astype(np.float32)
    >>> damaged, masks = scenes(normals, np.random.default_rng(1))
    >>> bool((damaged == normals).all(1)[~masks].all()), masks.shape
    (True, (4, 64, 64))
    """
    damaged = normals.copy()
    kinds, chances = list(shares), np.array(list(shares.values())) / sum(shares.values())
    masks = np.zeros((len(normals), *normals.shape[2:]), bool)
    for square, mask in zip(damaged, masks, strict=True):
        if rng.random() < SPOILED:
            for _ in range(int(rng.integers(1, MOST + 1))):
                _spoil(square, mask, normals[int(rng.integers(len(normals)))], rng, str(rng.choice(kinds, p=chances)))
    return damaged, masks


def _spoil(square: Pixels, mask: npt.NDArray[np.bool_], donor: Pixels, rng: Rng, kind: str) -> None:
    """One more defect in a square (C, S, S) and its mask (S, S), in place."""
    side = square.shape[-1]
    large = LARGEST * side
    diameter = math.exp(rng.uniform(math.log(min(SMALLEST.get(kind, 3.0), large)), math.log(large)))
    room = side if kind in LONG else min(side, max(24, int(ROOM * diameter)))
    row, column = (int(rng.integers(side - room + 1)) for _ in range(2))
    window = square[:, row : row + room, column : column + room]
    spread = max(float(window.std()) / 2, 0.012)
    contrast = float(np.clip(spread * math.exp(rng.uniform(math.log(FAINT), math.log(GROSS))), 0.025, 0.9))
    planted = plant(window, donor, rng, [kind], diameter, contrast)
    window[...] = planted.pixels
    mask[row : row + room, column : column + room] |= planted.mask
