"""Normal images with planted defects as a source that any model scores: what is planted follows from its plan alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anotwin.defects.library import Planted, plant
from anotwin.prepare.resize import check_values, with_change
from anotwin.records import Array, ImageItem, ImageSource, ImageSpec
from anotwin.seeding import derive

LEAST_SIDE, SIDES = 64, 6  # of the window that a defect is planted in: pixels, and in diameters of the defect
FAINTEST, STRONGEST = 0.01, 0.9  # shares of the pixel range that a contrast can be
TRIES = 8  # windows tried, until a defect can be seen as it was asked for


@dataclass(frozen=True)
class Plan:
    """One defect to be planted."""

    host: int  # the image, in the source of normals
    kind: str
    diameter: float  # asked for, pixels
    contrast: float  # standard deviations of the pixels around
    number: int  # of defects alike


@dataclass(frozen=True)
class PlantedSource:
    """The images of `source` with one defect each, one a plan; see `anotwin.records.ImageSource`."""

    source: ImageSource
    spec: ImageSpec  # says what the values of pixels mean
    plans: tuple[Plan, ...]
    layout: str = "array"

    @property
    def root(self) -> str:
        return self.source.root

    @property
    def items(self) -> tuple[ImageItem, ...]:
        """One a plan, each in the group of its host."""
        hosts = self.source.items
        return tuple(
            ImageItem(f"{number:05d}-{plan.kind}", plan.kind, False, hosts[plan.host].group or hosts[plan.host].id)
            for number, plan in enumerate(self.plans)
        )

    def read(self, index: int) -> Array:
        """Native pixels with the defect."""
        return self.planted(index)[0]

    def read_mask(self, index: int) -> npt.NDArray[np.bool_]:
        """(H, W) where it is."""
        return self.planted(index)[1]

    def planted(self, index: int) -> tuple[Array, npt.NDArray[np.bool_]]:
        """The pixels and the mask; raises DataError where the host cannot be read."""
        plan = self.plans[index]
        pixels = self.source.read(plan.host)
        black, white = check_values(pixels, self.spec)
        seed = derive(0, "planted", plan.host, plan.kind, f"{plan.diameter:g}", f"{plan.contrast:g}", plan.number)
        rng = np.random.default_rng(seed)
        high, wide = (min(side, max(LEAST_SIDE, round(SIDES * plan.diameter))) for side in pixels.shape[:2])
        for _ in range(TRIES):
            top, left = (int(rng.integers(n - k + 1)) for n, k in zip(pixels.shape[:2], (high, wide), strict=True))
            window = _scaled(pixels[top : top + high, left : left + wide], black, white)
            contrast = float(np.clip(plan.contrast * window.std() / 2, FAINTEST, STRONGEST))
            donor = _window(pixels, (high, wide), rng)
            found = plant(window, _scaled(donor, black, white), rng, [plan.kind], plan.diameter, contrast)
            if (found.diameter, found.contrast) == (plan.diameter, contrast):
                break  # else it could not be seen, and was made larger and stronger
        return _put(pixels, window, found, (top, left), self.spec)


def measured_diameter(mask: npt.NDArray[np.bool_]) -> float:
    """Of the circle that has the area of a mask.

    >>> round(measured_diameter(np.ones((3, 3), bool)), 2)
    3.39
    """
    return 2 * math.sqrt(int(mask.sum()) / math.pi)


def plans_for(
    hosts: Sequence[int],
    kinds: Sequence[str],
    contrasts: Sequence[Sequence[float]],
    diameters: Sequence[float],
    per: int,
) -> tuple[Plan, ...]:
    """`per` defects of each kind, contrast (of each kind its own) and diameter, every one in the next of the hosts."""
    each = [
        (kind, diameter, contrast, number)
        for kind, own in zip(kinds, contrasts, strict=True)
        for contrast in own
        for diameter in diameters
        for number in range(per)
    ]
    return tuple(
        Plan(hosts[place % len(hosts)], kind, diameter, contrast, number)
        for place, (kind, diameter, contrast, number) in enumerate(each)
    )


def _window(pixels: Array, size: tuple[int, int], rng: np.random.Generator) -> Array:
    """A part of the image, somewhere."""
    top, left = (int(rng.integers(n - k + 1)) for n, k in zip(pixels.shape[:2], size, strict=True))
    return pixels[top : top + size[0], left : left + size[1]]


def _scaled(pixels: Array, black: float, white: float) -> npt.NDArray[np.float32]:
    """Native pixels (H, W) or (H, W, 3) as (C, H, W) in [-1, 1], as `plant` takes them."""
    values = (pixels.astype(np.float64) - black) * (2 / (white - black)) - 1
    planes = values[None] if values.ndim == 2 else np.moveaxis(values, 2, 0)
    return np.clip(planes, -1, 1).astype(np.float32)


def _put(
    pixels: Array, window: npt.NDArray[np.float32], found: Planted, at: tuple[int, int], spec: ImageSpec
) -> tuple[Array, npt.NDArray[np.bool_]]:
    rows, columns = (slice(start, start + side) for start, side in zip(at, found.mask.shape, strict=True))
    made, mask = pixels.copy(), np.zeros(pixels.shape[:2], bool)
    made[rows, columns] = with_change(pixels[rows, columns], found.pixels - window, spec)
    mask[rows, columns] = found.mask
    return made, mask
