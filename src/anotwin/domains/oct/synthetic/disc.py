"""The optic disc of synthetic retinas: where the layers end, with a rim of nerve fibres and a cup.

Heights are micrometres above the middle of the undisturbed RPE, places millimetres from the middle of the disc.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]

TO_FOVEA = 4.5  # millimetres from the middle of the disc to the fovea
FIBRES, REACH = 170.0, 0.7  # thickness of the nerve fibres at the rim, micrometres, and how far it takes to thin, mm
_TISSUE = ((0, 60, 200, 400, 700, 1200), (150, 120, 84, 60, 40, 18))  # grey levels at depths below the surface
_SHADOWS = 5  # vessels that leave the disc


@dataclass(frozen=True)
class Disc:
    """An optic disc in view. It lies where asked for, the fovea 4.5 millimetres from it."""

    at: float  # its middle: 0 first column, 1 last; may lie outside
    nasal: int = -1  # side of the fovea that it is on: -1 left, 1 right
    diameter_um: float = 1700.0  # of the opening in Bruch's membrane
    cup: float = 0.5  # diameter of the cup, of the disc's
    depth_um: float = 150.0  # of the cup, below the RPE; 0: none


def fibres(distance: Floats, disc: Disc) -> Floats:
    """Micrometres of nerve fibres that the disc adds at a distance (...) from its middle."""
    outside = np.clip(distance - disc.diameter_um / 2000, 0, None)
    return np.asarray(FIBRES * np.exp(-outside / REACH))


def surface(distance: Floats, rim: Floats | float, disc: Disc) -> Floats:
    """Height of the inner surface within the disc: from `rim` at its edge down into the cup."""
    radius = disc.diameter_um / 2000
    cup = radius * disc.cup
    wall = np.clip((distance - cup) / max(radius - cup, 1e-6), 0, 1)
    smooth = wall * wall * (3 - 2 * wall)
    bottom = -disc.depth_um if disc.depth_um else 0.7 * np.asarray(rim)
    return np.asarray(bottom + (rim - bottom) * smooth)


def tissue(depth: Floats, places: Floats, rng: np.random.Generator) -> Floats:
    """Grey levels (H, W) at `depth` micrometres below the surface (negative: vitreous, 0): no layers, dark shadows."""
    levels = np.interp(depth, *_TISSUE)
    middles = rng.uniform(places.min(), places.max() + 1e-9, _SHADOWS)
    dim = np.ones_like(places)
    for middle in middles:
        dim *= 1 - rng.uniform(0.4, 0.8) * np.exp(-(((places - middle) / rng.uniform(0.02, 0.06)) ** 2))
    return np.asarray(levels * (1 - (1 - dim) * np.clip(depth / 80, 0, 1)))
