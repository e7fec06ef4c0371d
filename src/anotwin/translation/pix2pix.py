"""Pix2pix: translation learnt from pairs; B an image, or a map of classes.

Paper: Isola et al., "Image-to-image translation with conditional adversarial networks", 2017 (1611.07004).

    generator G            U-Net with skips, G(a, z): the noise z is dropout in its decoder, at inference too
    discriminator D        PatchGAN on pairs (a, b) side by side
    objective              min_D  -log D(a, b) - log(1 - D(a, G(a, z)))
                           min_G  -log D(a, G(a, z)) + l_1 R,   R = |b - G(a, z)|
    without D              min_G  R alone, to compare with (translation.adversarial = false)
    of classes             G ends in a softmax over the K values that B has; R = cross-entropy; D sees the
                           probabilities, and b as one of K; what is made is the most probable value

Deviations: dropout of whole channels, equal at all places, so that tiles of one image agree; skips are added, and no
layer is at full size (methods/unet.py); group norm in D; what translates is the moving average of G.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from anotwin.methods.adversary import optimise, set_rates
from anotwin.methods.losses import discriminator_loss, generator_loss
from anotwin.methods.protocol import device_of, freeze
from anotwin.methods.unet import UNet
from anotwin.seeding import generator
from anotwin.settings import Settings
from anotwin.training.ema import update_average
from anotwin.training.protocol import Backward
from anotwin.translation.networks import apart, folded_copy, learners, shuffle_as_nearest
from anotwin.translation.protocol import Direction, Examples, TranslationSpec

LEARNING_RATE = 1e-3
DROPPED = 2  # layers of the decoder with dropout, from the smallest on; the paper has it in 3 of 8


class Pix2Pix:
    """See the module. `networks` holds "AtoB" (G)."""

    name: ClassVar[str] = "pix2pix"
    directions: ClassVar[tuple[Direction, ...]] = ("AtoB",)
    aligned: ClassVar[bool] = True
    reach: ClassVar[int] = 103
    stride: ClassVar[int] = 16

    def __init__(self, spec: TranslationSpec, settings: Settings) -> None:
        self.spec, self.settings = spec, settings
        self.values = torch.tensor(spec.b.classes, dtype=torch.float32) * 2 / 255 - 1  # (K,)
        self.outputs = len(self.values) or spec.b.channels
        self.unet = UNet(spec.a.channels, self.outputs, settings.networks.width_for(spec.a.parts))
        shuffle_as_nearest(self.unet.out)
        self.networks = nn.ModuleDict({"AtoB": self.unet})
        freeze(self.networks)

    def trainer(self) -> Pix2PixTrainer:
        return Pix2PixTrainer(self)

    def translate(self, images: torch.Tensor, direction: Direction, seed: int = 0) -> torch.Tensor:  # noqa: ARG002
        device, unet = device_of(self.networks), self.networks["AtoB"]
        kept = [each.to(device) for each in noise(self.unet, self.settings, 1, generator(seed, "dropout"))]
        return apart(lambda part: self._finished(unet(part, kept).maps), images.to(device))

    def _finished(self, maps: torch.Tensor) -> torch.Tensor:
        """Maps (B, outputs, h, w) as images (B, C_B, h, w) in [-1, 1]."""
        if not len(self.values):
            return torch.tanh(maps)
        return self.values.to(maps.device)[maps.argmax(1, keepdim=True)]

    def for_inference(self) -> Pix2Pix:
        return folded_copy(self)


def noise(unet: UNet, settings: Settings, rows: int, rng: torch.Generator) -> list[torch.Tensor]:
    """z: for each layer with dropout the factors (rows, W, 1, 1) of its channels, 0 for those that are dropped."""
    rate, widths = settings.translation.dropout, unet.decoder_widths[:DROPPED]
    return [(torch.rand(rows, width, 1, 1, generator=rng) >= rate) / (1 - rate) for width in widths]


class Compared(NamedTuple):
    """What G made beside what it ought to be."""

    made: torch.Tensor  # (B, C, S, S) as D sees it
    true: torch.Tensor  # (B, C, S, S)
    loss: torch.Tensor  # R


class Pix2PixTrainer:
    """D, then G; the moving average of G is what translates."""

    def __init__(self, method: Pix2Pix) -> None:
        self.method, self.settings = method, method.settings
        found = learners(method, method.spec.a.channels + method.outputs, LEARNING_RATE)
        self.networks, self.optimizers, self.rates = found

    def step(self, batch: Examples, step: int, rng: torch.Generator, backward: Backward) -> dict[str, torch.Tensor]:
        set_rates(self.optimizers, self.rates, step, self.settings.training.steps)
        own, g, a = self.settings.translation, self.networks["generator"], batch.a
        maps = g(a, [each.to(a.device) for each in noise(self.method.unet, self.settings, len(a), rng)]).maps
        fake, true, loss_rec = self._compared(maps, batch.b)
        logged, loss = {"loss_rec": loss_rec}, own.l1_weight * loss_rec

        if own.adversarial:
            d = self.networks["discriminator"]
            # D: min -log D(a, b) - log(1 - D(a, G(a, z)))
            real_logits, fake_logits = (d(torch.cat([a, each], 1)).logits for each in (true, fake.detach()))
            logged["loss_d"] = loss_d = discriminator_loss(real_logits, fake_logits)
            optimise(self.optimizers["discriminator"], loss_d, backward)
            # G: min -log D(a, G(a, z)) + l_1 R
            d.requires_grad_(False)
            logged["loss_g"] = loss_g = generator_loss(d(torch.cat([a, fake], 1)).logits)
            d.requires_grad_(True)
            loss = loss + loss_g
        optimise(self.optimizers["generator"], loss, backward)
        update_average(self.method.networks["AtoB"], g, self.settings.training.ema, step)
        return {name: value.detach() for name, value in logged.items()}

    def _compared(self, maps: torch.Tensor, b: torch.Tensor) -> Compared:
        maps, values = maps.float(), self.method.values.to(b.device)
        if not len(values):
            made = torch.tanh(maps)
            return Compared(made, b, F.l1_loss(made, b))
        classes = (b[:, 0, ..., None] - values).abs().argmin(-1)  # (B, S, S)
        one_of_k = F.one_hot(classes, len(values)).movedim(-1, 1).float()
        return Compared(maps.softmax(1), one_of_k, F.cross_entropy(maps, classes))
