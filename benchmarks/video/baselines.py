"""Methods without a network, as methods of the product for as long as a benchmark runs.

So they are trained on the same clips, smoothed in time by the same weights, calibrated on the same held-out clips and
measured by the same functions as `frames`: a difference between two rows is one of the evidence alone.

    frame x, frames before it     (C, S, S), (K, C, S, S)
    evidence                      heat (S, S) >= 0 of one frame
    score                         A = log of the highest heat or, of `difference_mean`, of the mean heat
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anotwin.compare.score import comparison
from anotwin.methods.frames import context_of
from anotwin.methods.networks import Critique
from anotwin.methods.protocol import device_of, freeze
from anotwin.records import Batch, Comparison, Counterpart, ImageSpec, Status
from anotwin.settings import Settings
from anotwin.training.protocol import Backward, TrainingSet

BODY = 16  # of the side: energy is averaged over so much, about a walker
LEAST = 1e-3  # heat, before its logarithm


class Evidence(nn.Module):
    """What a frame shows without a network."""

    def __init__(self, spec: ImageSpec) -> None:
        super().__init__()
        self.spec = spec
        self.anchor = nn.Parameter(torch.zeros(1))  # says on which device it is

    def remember(self, normals: TrainingSet) -> None:
        """Learn from training frames; what only looks at a frame learns nothing."""

    def forward(self, frame: Tensor, before: Tensor) -> Tensor:
        """Heat (S, S) >= 0 of a frame (C, S, S), by those before it (K, C, S, S)."""
        raise NotImplementedError


class Difference(Evidence):
    """The energy of the difference from the frame before: |x - x before|, pixels in [0, 1], averaged over a body."""

    def forward(self, frame: Tensor, before: Tensor) -> Tensor:
        apart = (frame - before[-1]).abs().mean(0) / 2
        side = 2 * (apart.shape[-1] // (2 * BODY)) + 1
        return F.avg_pool2d(apart[None, None], side, 1, side // 2, count_include_pad=False)[0, 0]


class Baseline:
    """See `anotwin.methods.protocol.Method`; the counterpart is the frame before, `latents` are the heat (B, S, S)."""

    name: ClassVar[str]
    looks_back: ClassVar[int] = 1
    kind: ClassVar[type[Evidence]]
    mean: ClassVar[bool] = False  # the mean heat is the score, instead of the highest

    def __init__(self, spec: ImageSpec, settings: Settings) -> None:
        self.spec, self.settings = spec, settings
        self.evidence = self.kind(spec)
        self.networks = nn.ModuleDict({"evidence": self.evidence})
        freeze(self.networks)

    def trainer(self) -> NothingToTrain:
        return NothingToTrain(self.networks)

    def remember_normals(self, normals: TrainingSet) -> None:
        self.evidence.remember(normals)

    def counterpart(self, batch: Batch) -> Counterpart:
        before = context_of(batch).to(device_of(self.networks))
        images, evidence = batch.images.to(before.device), self.networks["evidence"]
        with torch.no_grad():
            heat = torch.stack([evidence(frame, frames) for frame, frames in zip(images, before, strict=True)])
        steps = torch.zeros(len(images), dtype=torch.int64)
        return Counterpart(before[:, -1], heat, steps, (Status.CONVERGED,) * len(images))

    def compare(self, queries: Tensor, counterpart: Counterpart) -> Comparison:
        queries, heat = queries.to(counterpart.images.device), counterpart.latents
        assert heat is not None
        of_frame = heat.flatten(1).mean(1) if self.mean else heat.flatten(1).amax(1)
        score = of_frame.clamp(min=LEAST).log()
        return comparison(
            queries,
            counterpart.images,
            residual=score,
            discrimination=torch.zeros_like(score),
            total=score,
            query_logits=torch.zeros_like(score),
            settings=self.settings.compare,
            heat=heat,
        )

    def critique(self, images: Tensor) -> Critique:
        return Critique(torch.zeros(len(images)), torch.zeros(len(images), 1))


class DifferenceMean(Baseline):
    """How much changes in the picture as a whole."""

    name, kind, mean = "difference_mean", Difference, True


class DifferenceHighest(Baseline):
    """How much changes where most does."""

    name, kind = "difference_highest", Difference


class NothingToTrain:
    """See `anotwin.training.protocol.Trainer`."""

    def __init__(self, networks: nn.ModuleDict) -> None:
        self.networks = networks
        self.optimizers: dict[str, torch.optim.Optimizer] = {}

    def step(self, batch: Batch, step: int, rng: torch.Generator, backward: Backward) -> dict[str, Tensor]:
        del batch, step, rng, backward
        return {}

    def preview(self, batch: Batch) -> Tensor:
        return batch.images
