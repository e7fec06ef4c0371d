"""The network of 2018 as published, with our U-Net: Liu et al., "Future frame prediction for anomaly detection".

    objective        min_G  |c - x|^2 + |  |grad c| - |grad x|  | + 0.05 / 2 (D(c) - 1)^2
                     min_D  (D(x) - 1)^2 / 2 + D(c)^2 / 2
    score            minus the PSNR of the whole frame

1712.09867, eq. 4 to 11. As there: L2 for intensity, nothing weighs by motion, no patch of a frame counts more than
another. Not as there: no loss of optical flow (its FlowNet is pretrained); U-Net, steps and learning rate of `frames`,
whose frames enter it relative to their mean and spread. The published evaluation rescales the PSNR of each test clip by
its own minimum and maximum, which no camera can know: `rescaled`, of scores smoothed in time as those of all rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from anotwin.compare.heatmap import gaussian
from anotwin.compare.score import comparison
from anotwin.evaluate.frames import places_by_group
from anotwin.methods.adversary import adam, optimise, set_rates
from anotwin.methods.frames import LEARNING_RATE, Predictor, context_of
from anotwin.methods.networks import Critique
from anotwin.methods.protocol import Method, device_of, freeze
from anotwin.methods.restoring import folded_unets
from anotwin.methods.scoring import one_pass
from anotwin.methods.spotter import SHORT
from anotwin.methods.unet import PatchDiscriminator
from anotwin.records import Batch, Comparison, Counterpart, ImageSpec
from anotwin.settings import Settings
from anotwin.training.protocol import Backward
from benchmarks.common.rows import Floats

INTENSITY, GRADIENT, ADVERSARIAL = 1.0, 1.0, 0.05
RANGE = 2.0  # of pixels in [-1, 1]
SMOOTH = 0.02  # of the side: heat


class Published:
    """See `anotwin.methods.protocol.Method`."""

    name: ClassVar[str] = "predicted2018"
    looks_back: ClassVar[int] = SHORT

    def __init__(self, spec: ImageSpec, settings: Settings) -> None:
        self.spec, self.settings = spec, settings
        base, channels = settings.networks.base_channels or 16, spec.channels
        self.generator = Predictor(channels, base)
        discriminator = PatchDiscriminator(channels, base, settings.networks.feature_layer)
        self.networks = nn.ModuleDict({"generator": self.generator, "discriminator": discriminator})
        freeze(self.networks)

    def trainer(self) -> PublishedTrainer:
        return PublishedTrainer(self)

    def for_inference(self) -> Method:
        return folded_unets(self)

    def counterpart(self, batch: Batch) -> Counterpart:
        before, generator = context_of(batch).to(device_of(self.networks)), self.networks["generator"]
        images = batch.images.to(before.device)
        predicted = [generator(frames[None]) for frames in before]
        return one_pass(images, lambda _images: before, lambda _codes: torch.cat(predicted))

    def compare(self, queries: Tensor, counterpart: Counterpart) -> Comparison:
        queries = queries.to(counterpart.images.device)
        squares = (queries - counterpart.images).square().mean(1)  # (B, S, S)
        errors = squares.flatten(1).mean(1).clamp(min=1e-8)
        score = -10 * (RANGE**2 / errors).log10()
        nothing = torch.zeros_like(score)
        return comparison(
            queries,
            counterpart.images,
            residual=score,
            discrimination=nothing,
            total=score,
            query_logits=nothing,
            settings=self.settings.compare,
            heat=gaussian(squares, SMOOTH * squares.shape[-1]),
        )

    def critique(self, images: Tensor) -> Critique:
        return Critique(torch.zeros(len(images)), torch.zeros(len(images), 1))


class PublishedTrainer:
    """D, then G."""

    def __init__(self, method: Published) -> None:
        self.settings = settings = method.settings.training
        self.networks = method.networks
        self.networks.train().requires_grad_(True)
        self.rates = {"generator": settings.learning_rate or LEARNING_RATE}
        self.rates["discriminator"] = 0.1 * self.rates["generator"]  # as in the paper
        self.optimizers = {name: adam(self.networks[name], settings, rate) for name, rate in self.rates.items()}

    def step(self, batch: Batch, step: int, rng: torch.Generator, backward: Backward) -> dict[str, Tensor]:
        del rng
        set_rates(self.optimizers, self.rates, step, self.settings.steps)
        x, g, d = batch.images, self.networks["generator"], self.networks["discriminator"]
        c = g(context_of(batch))

        # D: min (D(x) - 1)^2 / 2 + D(c)^2 / 2
        loss_d = (d(x).logits - 1).square().mean() / 2 + d(c.detach()).logits.square().mean() / 2
        optimise(self.optimizers["discriminator"], loss_d, backward)

        # G: min |c - x|^2 + | |grad c| - |grad x| | + 0.05 / 2 (D(c) - 1)^2
        loss_int = (c - x).square().mean()
        loss_gd = torch.stack([(c.diff(dim=a).abs() - x.diff(dim=a).abs()).abs().mean() for a in (2, 3)]).sum()
        d.requires_grad_(False)
        loss_g = (d(c).logits - 1).square().mean() / 2
        d.requires_grad_(True)
        optimise(
            self.optimizers["generator"], INTENSITY * loss_int + GRADIENT * loss_gd + ADVERSARIAL * loss_g, backward
        )
        losses = {"loss_int": loss_int, "loss_gd": loss_gd, "loss_d": loss_d, "loss_g": loss_g}
        return {name: value.detach() for name, value in losses.items()}

    def preview(self, batch: Batch) -> Tensor:
        """Frames and, below, what was predicted in their place."""
        half, generator = batch.rows(slice((len(batch) + 1) // 2)), self.networks["generator"].eval()
        with torch.no_grad():
            counterparts = generator(context_of(half))
        generator.train()
        return torch.cat([half.images, counterparts])[: len(batch)]


def rescaled(scores: Floats, clips: Sequence[str]) -> Floats:
    """Scores (N,) of frames of clips (N,), each clip's brought to [0, 1] by its own minimum and maximum; NaN stays.

    >>> rescaled(np.array([1.0, 3.0, 2.0, 7.0, 7.0]), ["a", "a", "a", "b", "b"]).tolist()
    [0.0, 1.0, 0.5, 0.0, 0.0]
    """
    found = scores.copy()
    for places in places_by_group(clips):
        low, high = np.nanmin(scores[places]), np.nanmax(scores[places])
        found[places] = (scores[places] - low) / max(high - low, 1e-12)
    return found
