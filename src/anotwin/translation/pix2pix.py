"""Pix2pix: translation learnt from pairs; B an image, or a map of classes.

Paper: Isola et al., "Image-to-image translation with conditional adversarial networks", 2017 (1611.07004).

    generator G            U-Net with skips, G(a, z) = tanh(m + s n): the noise z is dropout in its decoder, at
                           inference too, and grain n, white at every pixel; s >= 0 is learnt like the mean m
    discriminator D        PatchGAN on pairs (a, b) side by side
    objective              min_D  -log D(a, b) - log(1 - D(a, G(a, z)))
                           min_G  -log D(a, G(a, z)) + l_1 R,   R = 0.9 |b - tanh m| + 0.1 |b - G|
    without D              min_G  R alone, to compare with (translation.adversarial = false): no grain
    of classes             G ends in a softmax over the K values that B has; R = cross-entropy; D sees the
                           probabilities, and b as one of K; what is made is the most probable value: no grain

Deviations: the grain. Dropout knows no place, and without noise by place a network makes speckle of its own grid.
|b - G| asks for none, so that only a tenth of R sees it: D decides how much, and where b is sure there is none. Dropout
of whole channels, equal at all places, and grain by its place in the image, so that tiles of one image agree; skips are
added, no layer is at full size, and the last shuffle leaves no grid (methods/unet.py); group norm in D; what translates
is the moving average of G.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from anotwin.methods.adversary import optimise, set_rates
from anotwin.methods.losses import discriminator_loss, generator_loss
from anotwin.methods.protocol import device_of, freeze
from anotwin.methods.unet import UNet, without_grid
from anotwin.seeding import generator
from anotwin.settings import Settings
from anotwin.training.ema import update_average
from anotwin.training.protocol import Backward
from anotwin.translation.networks import apart, folded_copy, learners, shuffle_as_nearest
from anotwin.translation.protocol import Direction, Examples, TranslationSpec

LEARNING_RATE = 1e-3
LITTLE = 2.0  # training begins with s = log(1 + exp(-2)) = 0.13
SEES = 0.1  # of R is of the image with its grain, where there is any
BLOCK = 256  # pixels a side: grain is drawn in such blocks
DROPPED = 2  # layers of the decoder with dropout, from the smallest on; the paper has it in 3 of 8


class Painter(nn.Module):
    """Images (B, inputs, h, w), sides multiples of 16 -> maps (B, outputs, h, w), unbounded and without a grid."""

    def __init__(self, inputs: int, outputs: int, base: int) -> None:
        super().__init__()
        self.unet = UNet(inputs, outputs, base)
        shuffle_as_nearest(self.unet.out)

    def forward(self, images: torch.Tensor, kept: Sequence[torch.Tensor] = ()) -> torch.Tensor:
        """`kept`: what dropout leaves, as `UNet` takes it."""
        return without_grid(self.unet(images, kept).maps.float())


class Pix2Pix:
    """See the module. `networks` holds "AtoB" (G before tanh)."""

    name: ClassVar[str] = "pix2pix"
    directions: ClassVar[tuple[Direction, ...]] = ("AtoB",)
    aligned: ClassVar[bool] = True
    reach: ClassVar[int] = 104
    stride: ClassVar[int] = 16

    def __init__(self, spec: TranslationSpec, settings: Settings) -> None:
        self.spec, self.settings = spec, settings
        self.values = torch.tensor(spec.b.classes, dtype=torch.float32) * 2 / 255 - 1  # (K,)
        self.outputs = len(self.values) or spec.b.channels
        self.grainy = settings.translation.adversarial and not len(self.values)
        base = settings.networks.width_for(spec.a.parts)
        painter = Painter(spec.a.channels, self.outputs * (1 + self.grainy), base)
        self.unet = painter.unet
        self.networks = nn.ModuleDict({"AtoB": painter})
        freeze(self.networks)

    def trainer(self) -> Pix2PixTrainer:
        return Pix2PixTrainer(self)

    def translate(
        self, images: torch.Tensor, direction: Direction, seed: int = 0, at: tuple[int, int] = (0, 0)
    ) -> torch.Tensor:
        del direction
        device, painter = device_of(self.networks), self.networks["AtoB"]
        kept = [each.to(device) for each in noise(self.unet, self.settings, 1, generator(seed, "dropout"))]
        n = grain(seed, self.outputs, at, images.shape[2:]).to(device) if self.grainy else None
        return apart(lambda part: self._finished(self.made(painter(part, kept), n).maps), images.to(device))

    def made(self, maps: torch.Tensor, n: torch.Tensor | None) -> Made:
        """What the painter returns, (B, outputs or twice as many, h, w), and grain (1 or B, outputs, h, w) or None."""
        if n is None:
            return Made(maps, maps)
        m, s = maps[:, : self.outputs], F.softplus(maps[:, self.outputs :] - LITTLE)
        return Made(m + s * n, m)

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


def grain(seed: int, channels: int, at: tuple[int, int], size: Sequence[int]) -> torch.Tensor:
    """n: normal noise (1, C, h, w) of `size` (h, w) from row and column `at` of an image on, the same in any tile.

    >>> whole, part = grain(0, 1, (0, 0), (600, 40)), grain(0, 1, (250, 16), (32, 16))
    >>> torch.equal(part, whole[..., 250:282, 16:32])
    True
    """
    ends = [first + length for first, length in zip(at, size, strict=True)]
    rows, columns = (range(first // BLOCK, -(-end // BLOCK)) for first, end in zip(at, ends, strict=True))
    blocks = [[_block(seed, channels, row, column) for column in columns] for row in rows]
    top, left = at[0] - rows.start * BLOCK, at[1] - columns.start * BLOCK
    return torch.cat([torch.cat(row, 3) for row in blocks], 2)[..., top : top + size[0], left : left + size[1]]


@lru_cache(maxsize=48)  # two rows of tiles of an image of 4,000 pixels
def _block(seed: int, channels: int, row: int, column: int) -> torch.Tensor:
    return torch.randn(1, channels, BLOCK, BLOCK, generator=generator(seed, "grain", row, column))


class Made(NamedTuple):
    """What G made, before tanh or the softmax."""

    maps: torch.Tensor  # (B, outputs, h, w) m + s n
    mean: torch.Tensor  # m


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
        kept = [each.to(a.device) for each in noise(self.method.unet, self.settings, len(a), rng)]
        shape = len(a), self.method.outputs, *a.shape[2:]
        n = torch.randn(shape, generator=rng).to(a.device) if self.method.grainy else None
        fake, true, loss_rec = self._compared(self.method.made(g(a, kept), n), batch.b)
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

    def _compared(self, made: Made, b: torch.Tensor) -> Compared:
        values = self.method.values.to(b.device)
        if not len(values):
            fake, mean = torch.tanh(made.maps), torch.tanh(made.mean)
            return Compared(fake, b, (1 - SEES) * F.l1_loss(mean, b) + SEES * F.l1_loss(fake, b))
        classes = (b[:, 0, ..., None] - values).abs().argmin(-1)  # (B, S, S)
        one_of_k = F.one_hot(classes, len(values)).movedim(-1, 1).float()
        return Compared(made.maps.softmax(1), one_of_k, F.cross_entropy(made.maps, classes))
