"""pix2pix: a restoring network that repaints what is not normal and leaves the rest as it is. The default for tiles.

Paper: Isola et al., "Image-to-image translation with conditional adversarial networks", 2017 (1611.07004). Its pairs
are made from normals here: y is a normal image x with planted defects (`anotwin.defects`), x is the target.

    generator G            U-Net of (y - mean y) / s, s the spread of y: a gate g in (0, 1) and a repaint r
    counterpart            c = (1 - h) y + h (smooth y + s r),  h = min(1, 1.1 g), g the highest of 3 x 3 pixels
    discriminator D        PatchGAN on pairs (y, c), logits of patches
    comparing network K    (k, a) = K(y, c, y - c), see comparer.py: logits of the mask m, and of whether it is empty
    objective              min_D  max(0, 1 - D(y, x)) + max(0, 1 + D(y, c))
                           min_G  l_1 (|c - x| + 1/2 |c - x| in m) / 4s - l_adv D(y, c) + S(logit g, m)
                           min_K  S(k, m) + CE(a, max m), c without gradient;  S = cross-entropy + focal + Dice
    score of a square      heat = sigmoid((k + logit g) / 2) where c differs from y; D = log odds of the mean of its
                           100 hottest pixels; A = D + a; R = mean of the 100 largest |y - c| / 2

Deviations: mean and spread, so that an exposure changes nothing; the gate, so that grain is copied where nothing is
wrong instead of being blurred by |c - x|; hinge loss instead of cross-entropy in D; no noise by dropout (a counterpart
depends on its image alone).
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from anotwin.compare.side_by_side import light
from anotwin.methods.adversary import adam, optimise, set_rates
from anotwin.methods.comparer import Comparer, comparer_loss
from anotwin.methods.losses import hinge_loss
from anotwin.methods.networks import Critique
from anotwin.methods.planted import mask_loss, planted_squares, restoring_loss
from anotwin.methods.protocol import Method, device_of, freeze
from anotwin.methods.restoring import compared, folded_unets, in_eights, patch_critique
from anotwin.methods.scoring import one_pass
from anotwin.methods.unet import PatchDiscriminator, UNet
from anotwin.records import Batch, Comparison, Counterpart, ImageSpec
from anotwin.seeding import generator
from anotwin.settings import Settings
from anotwin.training.protocol import Backward

L1, ADVERSARIAL = 4.0, 0.02
LEARNING_RATE = 3e-3
AROUND = 8  # pixels: what is repainted begins at the mean of its surroundings
SHUT = -2.0  # logit of g in the beginning: a copy
RIM = 1  # pixels around what is wrong are repainted too: rims are soft
FULL = 1.1  # times g, up to 1: nothing is left of a defect that the gate is nearly sure of


class Pix2Pix:
    """See the module. `networks` holds "restorer" (G), "comparer" (K) and "discriminator" (D)."""

    name: ClassVar[str] = "pix2pix"

    def __init__(self, spec: ImageSpec, settings: Settings) -> None:
        self.spec = spec
        self.settings = settings
        base, channels = settings.networks.width_for(spec.parts), spec.channels
        self.networks = nn.ModuleDict(
            {
                "restorer": Restorer(channels, 3 * base // 2),
                "comparer": Comparer(channels, base),
                "discriminator": PatchDiscriminator(2 * channels, base, settings.networks.feature_layer),
            }
        )
        freeze(self.networks)

    def trainer(self) -> Pix2PixTrainer:
        return Pix2PixTrainer(self)

    def for_inference(self) -> Method:
        return folded_unets(self)

    def counterpart(self, batch: Batch) -> Counterpart:
        images = batch.images.to(device_of(self.networks))
        painted = in_eights(self.networks["restorer"], images)
        return one_pass(images, lambda _images: painted.gate, lambda _gate: painted.counterparts)

    def compare(self, queries: torch.Tensor, counterpart: Counterpart) -> Comparison:
        logits = self.critique(queries).logits
        return compared(self.networks, queries, counterpart.images, self.settings, logits, counterpart.latents)

    def critique(self, images: torch.Tensor) -> Critique:
        """Of each image as if it were its own counterpart."""
        return patch_critique(self.networks, torch.cat([images, images], 1))


class Painted(NamedTuple):
    """What a `Restorer` makes of images."""

    counterparts: torch.Tensor  # c (B, C, S, S) in [-1, 1]
    gate: torch.Tensor  # (B, 1, S, S), logits of g


class Restorer(nn.Module):
    """G: images (B, C, S, S) -> `Painted`."""

    def __init__(self, channels: int, base: int) -> None:
        super().__init__()
        self.unet = UNet(channels, 1 + channels, base)
        nn.init.constant_(self.unet.out.bias[:4], SHUT)  # type: ignore[index]  # four places of g a pixel shuffle

    def forward(self, images: torch.Tensor) -> Painted:
        mean, spread = light(images)
        maps = self.unet((images - mean) / spread).maps.float()
        around = F.interpolate(F.avg_pool2d(images, AROUND), scale_factor=AROUND, mode="bilinear", align_corners=False)
        painted, gate = (around + spread * maps[:, 1:]).clamp(-1, 1), maps[:, :1]
        wide = F.max_pool2d(gate, 2 * RIM + 1, 1, RIM)
        return Painted(torch.lerp(images, painted, (FULL * torch.sigmoid(wide)).clamp(max=1)), gate)


class Pix2PixTrainer:
    """D, then G and K, on squares that are damaged anew in every step."""

    def __init__(self, method: Pix2Pix) -> None:
        self.settings = settings = method.settings.training
        self.networks = method.networks.train().requires_grad_(True)
        self.rates = dict.fromkeys(("restorer", "comparer"), settings.learning_rate or LEARNING_RATE)
        self.rates["discriminator"] = 0.1 * self.rates["restorer"]
        self.optimizers = {name: adam(self.networks[name], settings, rate) for name, rate in self.rates.items()}

    def step(self, batch: Batch, step: int, rng: torch.Generator, backward: Backward) -> dict[str, torch.Tensor]:
        set_rates(self.optimizers, self.rates, step, self.settings.steps)
        squares = planted_squares(batch.images, rng)
        x, y, m = squares
        (c, gate), d = self.networks["restorer"](y), self.networks["discriminator"]

        # D: min max(0, 1 - D(y, x)) + max(0, 1 + D(y, c))
        loss_d = hinge_loss(d(torch.cat([y, x], 1)).logits, d(torch.cat([y, c.detach()], 1)).logits)
        optimise(self.optimizers["discriminator"], loss_d, backward)

        # G: min l_1 (|c - x| + 1/2 |c - x| in m) - l_adv D(y, c) + S(logit g, m)
        d.requires_grad_(False)
        loss_g = -d(torch.cat([y, c], 1)).logits.mean()
        d.requires_grad_(True)
        loss_rec, loss_gate = restoring_loss(c, squares), mask_loss(gate, m)
        optimise(self.optimizers["restorer"], L1 * loss_rec + ADVERSARIAL * loss_g + loss_gate, backward)

        # K: min S(k, m) + CE(a, max m)
        loss_k = comparer_loss(self.networks["comparer"], y, c, m)
        optimise(self.optimizers["comparer"], loss_k, backward)
        losses = {"loss_rec": loss_rec, "loss_gate": loss_gate, "loss_k": loss_k, "loss_d": loss_d, "loss_g": loss_g}
        return {name: loss.detach() for name, loss in losses.items()}

    def preview(self, batch: Batch) -> torch.Tensor:
        """Damaged squares of one half of the batch and, below, the counterparts of the same."""
        damaged = planted_squares(batch.images[: (len(batch) + 1) // 2], generator(0, "preview")).damaged
        restorer = self.networks["restorer"].eval()
        with torch.no_grad():
            counterparts = restorer(damaged).counterparts
        restorer.train()
        return torch.cat([damaged, counterparts])[: len(batch)]
