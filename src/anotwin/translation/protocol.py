"""What a translation method is: networks that turn images of domain A into images of domain B, and perhaps back.

    A                images (B, C_A, S, S) in [-1, 1]
    B                images (B, C_B, f S, f S) in [-1, 1], f the factor: 1, or 2 and 4 for super-resolution
    Direction        "AtoB", or "BtoA" for a method that learns both

A `TranslationMethod` translates: its networks are frozen and in evaluation mode, and they are all that a bundle stores.
Its trainer (training/protocol.py) learns from `Examples`; what training alone needs (discriminators, image pool) is in
the trainer's networks or buffers, so that a snapshot holds the whole state.

A trainer draws no previews: the session does, by `translate` on held-out examples, the same for every method.
Where the grey values of B are classes (``translation.target = "labels"``) `spec.b.classes` lists those that occur in
the training images, ascending; an example's b holds them as 2 v / 255 - 1, as any 8-bit value, and so does a
translation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, get_args

import torch
from torch import nn

from anotwin.records import ImageSpec
from anotwin.settings import Settings
from anotwin.training.protocol import Backward, Numbered

Direction = Literal["AtoB", "BtoA"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)


@dataclass(frozen=True)
class TranslationSpec:
    """What a translation method takes and gives."""

    a: ImageSpec  # `size`: side of the squares that it is trained on; images of any size are translated
    b: ImageSpec  # `size`: that of A times the factor
    aligned: bool  # example n of A and of B show the same thing

    @property
    def factor(self) -> int:
        """Side of an image of B over that of A."""
        return self.b.size // self.a.size


@dataclass(frozen=True)
class Examples:
    """Squares of both domains to learn from; `a[n]` and `b[n]` belong together where the spec says `aligned`."""

    a: torch.Tensor  # (B, C_A, S, S) float32 in [-1, 1]
    b: torch.Tensor  # (B, C_B, f S, f S)

    def __len__(self) -> int:
        return int(self.a.shape[0])

    def rows(self, rows: slice) -> Examples:
        """Some of the squares."""
        return Examples(self.a[rows], self.b[rows])

    def to(self, device: torch.device) -> Examples:
        """The same examples on `device`."""
        return Examples(self.a.to(device), self.b.to(device))


class ExampleSet(Numbered[Examples], Protocol):
    """Examples by number; one is a pure function of its number, so that a resumed training sees the same."""


class TranslationTrainer(Protocol):
    """A translation method in training; as `anotwin.training.protocol.Trainer`, of `Examples`."""

    networks: nn.ModuleDict  # with everything that a resumed training needs, an image pool too (as buffers)
    optimizers: dict[str, torch.optim.Optimizer]

    def step(self, batch: Examples, step: int, rng: torch.Generator, backward: Backward) -> dict[str, torch.Tensor]:
        """One optimisation step; detached scalars to log and to watch for divergence."""
        ...


class TranslationMethod(Protocol):
    """A trained (or untrained) translation method."""

    name: ClassVar[str]
    directions: ClassVar[tuple[Direction, ...]]
    aligned: ClassVar[bool]  # whether it learns from pairs
    reach: ClassVar[int]  # pixels of the input to each side that a pixel of the output depends on, at most
    stride: ClassVar[int]  # the input's sides must be multiples of this
    spec: TranslationSpec
    settings: Settings
    networks: nn.ModuleDict  # what the bundle stores, all frozen and in evaluation mode

    def __init__(self, spec: TranslationSpec, settings: Settings) -> None: ...

    def trainer(self) -> TranslationTrainer:
        """Begin training this method's networks in place."""
        ...

    def translate(
        self, images: torch.Tensor, direction: Direction, seed: int = 0, at: tuple[int, int] = (0, 0)
    ) -> torch.Tensor:
        """Images (B, C, h, w) in [-1, 1] of any size that `stride` divides -> those of the other domain, no gradient.

        Each depends on itself, `seed` and `at` alone. These matter where the method draws noise at inference: `at` is
        the row and column of the first pixel in the image that these are a tile of, so that tiles agree.
        """
        ...

    def for_inference(self) -> TranslationMethod:
        """A copy for translating alone, with folded norms, in less time; this one is not changed."""
        ...
