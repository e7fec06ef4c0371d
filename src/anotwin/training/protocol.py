"""What the training loop needs of a method in training, and of the images that it learns from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, Self, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from anotwin.records import Batch

Backward = Callable[[torch.Tensor], None]
Rows = npt.NDArray[np.int64]


class OnDevice(Protocol):
    """Whatever a step learns from."""

    def to(self, device: torch.device) -> Self:
        """The same on `device`."""


Made = TypeVar("Made", covariant=True)
Learnt = TypeVar("Learnt", contravariant=True)


class Learner(Protocol[Learnt]):
    """Something in training. `networks` and `optimizers` together are the whole state of a training."""

    networks: nn.ModuleDict
    optimizers: dict[str, torch.optim.Optimizer]

    def step(self, batch: Learnt, step: int, rng: torch.Generator, backward: Backward) -> dict[str, torch.Tensor]:
        """One optimisation step; detached scalars to log and to watch for divergence."""

    def preview(self, batch: Learnt) -> torch.Tensor:
        """Images for the sample grid, (n, C, s, s)."""


class Numbered(Protocol[Made]):
    """What can be learnt from, by number."""

    def __len__(self) -> int: ...

    def batch(self, numbers: Rows) -> Made:
        """Those of these numbers (B,) in 0 .. len - 1."""


class Trainer(Learner[Batch], Protocol):
    """A method in training, on squares (B, C, S, S).

    Its preview is drawn from fixed latents, or the reconstructions of a batch.
    """


class TrainingSet(Numbered[Batch], Protocol):
    """Squares to learn from, or held out, by number: (B, C, S, S) float32 in [-1, 1]."""


class TrainingImages(Protocol):
    """The training images of a source, prepared once; every row is an image, whose squares are one or many."""

    @property
    def fingerprints(self) -> Rows: ...  # (N,) of the native images

    @property
    def indices(self) -> Rows: ...  # (N,) in the source

    @property
    def failures(self) -> tuple[tuple[int, str], ...]: ...  # (index in the source, one line): not among the images

    def subset(self, rows: Rows) -> TrainingSet:
        """The squares of the images `rows` alone."""

    def close(self) -> None:
        """Delete what lies on disk; the images cannot be used afterwards."""


@runtime_checkable
class ShowsWhole(Protocol):
    """Training images whose squares are parts of them, and which can be compared as a whole nevertheless."""

    def whole(self, rows: Rows) -> torch.Tensor:
        """The images `rows`, each as one square: (n, C, S, S)."""
