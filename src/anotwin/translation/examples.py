"""Endless examples by number: squares cut at random places of random images, each a function of (seed, number) alone.

An image smaller than the square is mirrored at its lower and right border instead of being enlarged: a network that
learnt enlarged pixels would meet none when it translates, and tiles.py mirrors small images in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from anotwin.prepare.resize import model_values
from anotwin.records import Array, ImageSource, ImageSpec
from anotwin.seeding import derive
from anotwin.training.protocol import Rows
from anotwin.translation.protocol import Examples, TranslationSpec

ENDLESS = 2**20  # examples of a training set
Pose = tuple[bool, int]  # mirrored, then turned counter-clockwise by so many quarters


@dataclass(frozen=True)
class Crops:
    """An `ExampleSet`: example n is of image n, counted round and round, so that each is seen equally often."""

    a: ImageSource
    b: ImageSource
    rows: tuple[Rows, Rows]  # of a and of b; where aligned the same place means the same pair
    spec: TranslationSpec
    seed: int
    mirror: bool = False  # left and right exchanged by chance, in a pair in both or in none
    turn: bool = False  # turned by none to three quarter-turns, likewise
    count: int = ENDLESS

    def __len__(self) -> int:
        return self.count

    def batch(self, numbers: Rows) -> Examples:
        """The examples of these numbers (B,) in 0 .. len - 1."""
        made = [self._example(number) for number in numbers.tolist()]
        return Examples(*(torch.stack([pair[side] for pair in made]) for side in (0, 1)))

    def _example(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        random = np.random.default_rng(derive(self.seed, "example", number))
        spec, factor = self.spec, self.spec.factor
        first = number % len(self.rows[0])
        a = self.a.read(int(self.rows[0][first]))
        top, left = _corner(a.shape, spec.a.size, random)
        pose = self._pose(random)
        cut_a = _values(a, top, left, spec.a, a.shape[:2], pose)
        if spec.aligned:
            b = self.b.read(int(self.rows[1][first]))
            shape = factor * a.shape[0], factor * a.shape[1]  # rows that A does not show are left out
            return cut_a, _values(b, factor * top, factor * left, spec.b, shape, pose)
        b = self.b.read(int(self.rows[1][random.integers(len(self.rows[1]))]))
        top, left = _corner(b.shape, spec.b.size, random)
        return cut_a, _values(b, top, left, spec.b, b.shape[:2], self._pose(random))

    def _pose(self, random: np.random.Generator) -> Pose:
        mirrors = self.mirror and bool(random.random() < 0.5)
        return mirrors, int(random.integers(4)) if self.turn else 0


def mirrored(count: int, begin: int, length: int) -> Rows:
    """Which of `count` rows are shown at the places begin .. begin + length - 1: beyond the last they come back.

    >>> mirrored(3, 1, 6).tolist()
    [1, 2, 2, 1, 0, 0]
    """
    places = np.arange(begin, begin + length) % (2 * count)
    return np.where(places < count, places, 2 * count - 1 - places)


def _corner(shape: tuple[int, ...], size: int, random: np.random.Generator) -> tuple[int, int]:
    top, left = (int(random.integers(max(side - size, 0) + 1)) for side in shape[:2])
    return top, left


def _values(pixels: Array, top: int, left: int, spec: ImageSpec, shape: tuple[int, ...], pose: Pose) -> torch.Tensor:
    """A square of an image (H, W) or (H, W, 3), of which `shape` counts, as model values (C, S, S) in [-1, 1]."""
    rows, columns = mirrored(shape[0], top, spec.size), mirrored(shape[1], left, spec.size)
    mirrors, quarters = pose
    square = np.rot90(pixels[np.ix_(rows, columns[::-1] if mirrors else columns)], quarters)
    return model_values(square[None], spec)[0].clamp(-1, 1)
