"""What a method is: a way to get a counterpart, and the networks that it needs for that.

A `Method` scores: its networks are frozen and in evaluation mode, and they are all that a bundle stores. Its `Trainer`
(training/protocol.py) holds what only training needs and does one optimisation step at a time.

What only some methods can do is a protocol of its own (Searches, Samples, RemembersNormals, LooksBack,
LearnsFromAbnormal, Folds): a method has such a capability by having its members, and ``isinstance`` tells.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import nn

from anotwin.methods.networks import Critique
from anotwin.records import Batch, Comparison, Counterpart, ImageSpec
from anotwin.search.inference import FoldedNetwork, search_dtype
from anotwin.settings import Settings
from anotwin.training.protocol import Trainer, TrainingSet

NO_CONTEXT = (
    "method {method} predicts a frame from those before it, which view {view} does not hand to it; it takes clips "
    "(--set data.view=frames), other methods single images"
)
NO_ABNORMAL = (
    "method {method} learns from abnormal images beside normal ones: name a folder of them, --abnormal-images DIR "
    "(data.abnormal_images; in Python abnormal_images=)"
)


class Method(Protocol):
    """A trained (or untrained) method, ready to find counterparts."""

    name: ClassVar[str]
    spec: ImageSpec
    settings: Settings
    networks: nn.ModuleDict  # what the bundle stores, all frozen and in evaluation mode

    def __init__(self, spec: ImageSpec, settings: Settings) -> None: ...

    def trainer(self) -> Trainer:
        """Begin training this method's networks in place."""

    def counterpart(self, batch: Batch) -> Counterpart:
        """The normal images that the batch ought to have been; each depends on its own image and the settings alone."""

    def compare(self, queries: torch.Tensor, counterpart: Counterpart) -> Comparison:
        """Queries (B, C, S, S) in [-1, 1] beside their own counterpart: the method's terms and its score."""

    def critique(self, images: torch.Tensor) -> Critique:
        """The discriminator's logits (B,) and features (B, F) of images (B, C, S, S) in [-1, 1], on any device."""


@runtime_checkable
class Searches(Method, Protocol):
    """A method whose counterpart is searched for, step by step: the search can be shown and cut short."""

    @property
    def searching(self) -> bool:
        """Whether these settings search, or take one pass."""

    def search(self, batch: Batch, trace_at: Sequence[int] = ()) -> Counterpart:
        """`counterpart` with its trace: the best so far after the steps named."""


@runtime_checkable
class Samples(Protocol):
    """A method that can draw new normal images."""

    def sample(self, count: int, seed: int, first: int = 0) -> torch.Tensor:
        """New normal images (count, C, S, S) in [-1, 1], those from number `first` on of the sequence of a seed.

        An image depends on the seed and its number alone, so that many can be drawn in parts.
        """


@runtime_checkable
class RemembersNormals(Protocol):
    """A method whose comparison needs training normals, stored after training."""

    def remember_normals(self, normals: TrainingSet) -> None:
        """Store what the comparison needs of training normals, or of some of them; called once, after training."""


@runtime_checkable
class LooksBack(Protocol):
    """A method that makes counterparts of the frames before a query: its batches have a context, as of clips."""

    looks_back: ClassVar[int]  # frames of the context that it needs, at least


@runtime_checkable
class LearnsFromAbnormal(Protocol):
    """A method that learns from abnormal images beside normal ones: its training batches have `abnormal` squares."""

    fewest_abnormal: ClassVar[int]  # abnormal images that it needs, at least


@runtime_checkable
class Folds(Protocol):
    """A method with a form that scores many images in less time."""

    def for_inference(self) -> Method:
        """A copy for scoring alone, the same up to the rounding of `search.precision`; this one is not changed."""


def device_of(networks: nn.ModuleDict) -> torch.device:
    """Where a method's networks are; the CPU where it has none."""
    return next((each.device for each in networks.parameters()), torch.device("cpu"))


def folded(method: Method) -> Method:
    """A copy of a method of one pass whose networks are folded and in the type of `search.precision`.

    Made once for a stream of images, because folding takes as long as a dozen of them.
    """
    dtype = search_dtype(method.settings.search.precision, device_of(method.networks))
    fast = copy.copy(method)
    fast.networks = nn.ModuleDict({name: FoldedNetwork(network, dtype) for name, network in method.networks.items()})
    freeze(fast.networks)
    return fast


def freeze(networks: nn.ModuleDict) -> None:
    """Evaluation mode and no gradients for weights: a search moves latents, never the networks."""
    networks.eval().requires_grad_(False)
