"""SRGAN: images enlarged 2 or 4 times, with the detail that training images have.

Paper: Ledig et al., "Photo-realistic single image super-resolution using a generative adversarial network", 2017
(1609.04802). A are the reduced images, B the images themselves.

    generator G            SRResNet: residual blocks at the size of A, a pixel shuffle for each doubling
    discriminator D        PatchGAN on images alone; its maps are phi: nothing pretrained is needed. Where the user has
                           VGG's weights (translation.vgg), phi is the paper's phi_{5,4} / 12.75
    first                  min_G  |G(a) - b|^2: SRResNet, where SRGAN begins; all there is without D
                           (translation.adversarial = false)
    then                   min_D  -log D(b) - log(1 - D(G(a)))
                           min_G  l_1 |G(a) - b| + l_phi mean_l |phi_l(G(a)) - phi_l(b)| - l_adv log D(G(a))
                           with VGG |phi(G(a)) - phi(b)|^2 in the middle, as the paper has it

Deviations: G adds to the bicubic enlargement instead of drawing all of it; no batch norm, as in EDSR (Lim et al. 2017,
1707.02921), which is both better and less to compute; |G(a) - b| beside the features, which alone do not keep colours;
8 residual blocks instead of 16; what enlarges is the moving average of G.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from anotwin.methods.adversary import optimise, set_rates
from anotwin.methods.losses import discriminator_loss, feature_loss, generator_loss
from anotwin.methods.protocol import device_of, freeze
from anotwin.methods.srgan import BLOCKS, SRResNet
from anotwin.settings import Settings
from anotwin.training.ema import update_average
from anotwin.training.protocol import Backward
from anotwin.translation.networks import apart, folded_copy, learners, shuffle_as_nearest
from anotwin.translation.protocol import Direction, Examples, TranslationSpec
from anotwin.translation.vgg import load_vgg, vgg_loss

WARM = 0.5  # of the steps, without D
L1, FEATURES, ADVERSARIAL = 1.0, 1.0, 0.01  # ten times as much draws a grid into flat colour
LEARNING_RATE = 1e-3


class Enlarger(nn.Module):
    """G: images (B, C, h, w) -> (B, C, f h, f w), their bicubic enlargement and what an SRResNet adds to it."""

    def __init__(self, channels: int, width: int, factor: int) -> None:
        super().__init__()
        self.resnet = SRResNet(channels, width, factor, BLOCKS, norm=False)
        for layer in (*self.resnet.twice, self.resnet.drawn):
            shuffle_as_nearest(layer)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        # antialias chooses the cubic kernel of a = -0.5, by which A was reduced; an enlargement does not blur by it
        side = [self.resnet.factor * each for each in images.shape[2:]]
        enlarged = F.interpolate(images.float(), side, mode="bicubic", align_corners=False, antialias=True)
        return enlarged + self.resnet.added(images)


class SRGAN:
    """See the module. `networks` holds "AtoB" (G)."""

    name: ClassVar[str] = "srgan"
    directions: ClassVar[tuple[Direction, ...]] = ("AtoB",)
    aligned: ClassVar[bool] = True
    reach: ClassVar[int] = 20
    stride: ClassVar[int] = 1

    def __init__(self, spec: TranslationSpec, settings: Settings) -> None:
        self.spec, self.settings = spec, settings
        width = 2 * settings.networks.width_for(spec.a.parts)
        self.networks = nn.ModuleDict({"AtoB": Enlarger(spec.a.channels, width, spec.factor)})
        freeze(self.networks)

    def trainer(self) -> SRGANTrainer:
        return SRGANTrainer(self)

    def translate(
        self, images: torch.Tensor, direction: Direction, seed: int = 0, at: tuple[int, int] = (0, 0)
    ) -> torch.Tensor:
        del direction, seed, at  # no noise is drawn
        return apart(self.networks["AtoB"], images.to(device_of(self.networks))).clamp(-1, 1)

    def for_inference(self) -> SRGAN:
        return folded_copy(self)


class SRGANTrainer:
    """G alone, then D and G; the moving average of G is what enlarges."""

    def __init__(self, method: SRGAN) -> None:
        self.method, self.settings = method, method.settings
        self.networks, self.optimizers, self.rates = learners(method, method.spec.b.channels, LEARNING_RATE)
        own = method.settings.translation
        self.vgg = load_vgg(own.vgg) if own.vgg and own.adversarial else None  # fixed: no part of a snapshot

    def step(self, batch: Examples, step: int, rng: torch.Generator, backward: Backward) -> dict[str, torch.Tensor]:  # noqa: ARG002
        set_rates(self.optimizers, self.rates, step, self.settings.training.steps)
        g, b = self.networks["generator"], batch.b
        made = g(batch.a)
        begins = math.ceil(WARM * self.settings.training.steps)  # D
        if self.settings.translation.adversarial and step >= begins:
            if step == begins:  # Adam's second moments are of |.|^2, and its first steps would be huge
                self.optimizers["generator"].state.clear()
            logged = self._against(made, b, backward)
        else:
            # G: min |G(a) - b|^2
            logged = {"loss_rec": F.mse_loss(made, b)}
            optimise(self.optimizers["generator"], logged["loss_rec"], backward)
        update_average(self.method.networks["AtoB"], g, self.settings.training.ema, step)
        return {name: value.detach() for name, value in logged.items()}

    def _against(self, made: torch.Tensor, b: torch.Tensor, backward: Backward) -> dict[str, torch.Tensor]:
        d = self.networks["discriminator"]

        # D: min -log D(b) - log(1 - D(G(a)))
        loss_d = discriminator_loss(d(b).logits, d(made.detach()).logits)
        optimise(self.optimizers["discriminator"], loss_d, backward)

        # G: min l_1 |G(a) - b| + l_phi mean_l |phi_l(G(a)) - phi_l(b)| - l_adv log D(G(a))
        d.requires_grad_(False)
        fake, real = d(made), d(b)
        d.requires_grad_(True)
        loss_rec, loss_g = F.l1_loss(made, b), generator_loss(fake.logits)
        loss_phi = feature_loss(fake.maps, real.maps) if self.vgg is None else vgg_loss(self.vgg, made, b)
        optimise(self.optimizers["generator"], L1 * loss_rec + FEATURES * loss_phi + ADVERSARIAL * loss_g, backward)
        return {"loss_rec": loss_rec, "loss_phi": loss_phi, "loss_d": loss_d, "loss_g": loss_g}
