"""What a method is: a way to get a counterpart, and the networks that it needs for that.

Two roles, both small. A `Method` scores: its networks are frozen and in evaluation mode, and they are all that a bundle
stores. A `Trainer` makes a method: it holds what only training needs (optimisers, the generator behind the moving
average) and does one optimisation step at a time; the loop in `training.loop` knows nothing of what happens inside.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import nn

from anotwin.records import Batch, Comparison, Counterpart, ImageSpec
from anotwin.search.inference import Quick, search_dtype
from anotwin.settings import Settings

Backward = Callable[[torch.Tensor], None]


class Method(Protocol):
    """A trained (or untrained) method, ready to find counterparts."""

    name: ClassVar[str]
    spec: ImageSpec
    settings: Settings
    networks: nn.ModuleDict  # what the bundle stores, all frozen and in evaluation mode

    def __init__(self, spec: ImageSpec, settings: Settings) -> None: ...

    def trainer(self) -> Trainer:
        """Begin training this method's networks in place."""
        ...

    def counterpart(self, batch: Batch, trace_at: Sequence[int] = ()) -> Counterpart:
        """The normal images that the batch ought to have been; each depends on its own image and the settings alone."""
        ...

    def compare(self, queries: torch.Tensor, counterpart: Counterpart) -> Comparison:
        """Queries (B, C, S, S) in [-1, 1] beside their own counterpart: the method's terms and its score."""
        ...

    def settle(self, images: torch.Tensor) -> None:
        """Learn from training normals (N, C, S, S) what takes finished networks; called once, after training."""
        ...

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """f(x): images (B, C, S, S) in [-1, 1] -> (B, F)."""
        ...

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """The discriminator's verdict: (B, C, S, S) -> (B,), higher: more normal."""
        ...

    def sample(self, count: int, seed: int) -> torch.Tensor:
        """New normal images (count, C, S, S) in [-1, 1]; raises SettingsError where the method cannot."""
        ...


@runtime_checkable
class Quickened(Protocol):
    """What a method of one pass may have besides: a form of it that scores many images in less time."""

    def quickened(self) -> Method:
        """A copy for scoring alone, the same up to the rounding of `search.precision`; this one stays as it is."""
        ...


class Trainer(Protocol):
    """A method in the making. `networks` and `optimizers` together are the whole state of a training."""

    networks: nn.ModuleDict
    optimizers: dict[str, torch.optim.Optimizer]

    def step(
        self, images: torch.Tensor, step: int, rng: torch.Generator, backward: Backward
    ) -> dict[str, torch.Tensor]:
        """One optimisation step on images (B, C, S, S); detached scalars to log and to watch for divergence."""
        ...

    def preview(self, images: torch.Tensor) -> torch.Tensor:
        """Images for the sample grid, (B, C, S, S): drawn from fixed latents, or the reconstructions of `images`."""
        ...


def device_of(networks: nn.ModuleDict) -> torch.device:
    """Where a method's networks live."""
    return next(networks.parameters()).device


def quick(method: Method) -> Method:
    """A copy of a method of one pass whose networks are folded and in the type of `search.precision`.

    Made once for a stream of images, because folding takes as long as a dozen of them.
    """
    dtype = search_dtype(method.settings.search.precision, device_of(method.networks))
    fast = copy.copy(method)
    fast.networks = nn.ModuleDict({name: Quick(network, dtype) for name, network in method.networks.items()})
    freeze(fast.networks)
    return fast


def freeze(networks: nn.ModuleDict) -> None:
    """Evaluation mode and no gradients for weights: a search moves latents, never the networks."""
    networks.eval().requires_grad_(False)
