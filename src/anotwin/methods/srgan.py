"""srgan: the counterpart is the super-resolved version of the reduced query; its detail is invented from normals.

Paper: Ledig et al., "Photo-realistic single image super-resolution using a generative adversarial network", 2017
(1609.04802). What a reduction by 4 does not keep, small defects among it, is drawn as it is in normal images.

    generator G            SRResNet: residual blocks at the reduced size, twice `doubled`; c = G(reduced y)
    discriminator D        of patches, on images alone; phi, its maps, stand in for VGG's: nothing pretrained
    comparing network K    as in `pix2pix`: (k, a) = K(y, c, y - c)
    objective              min_D  max(0, 1 - D(x)) + max(0, 1 + D(c))
                           min_G  l_1 (|c - x| + 1/2 |c - x| in m) / 4s + l_phi mean_l |phi_l(c) - phi_l(x)|
                                  - l_adv D(c)
                           min_K  S(k, m) + CE(a, max m), c without gradient; y is x with planted defects, s its spread
    score of a square      as in `pix2pix`

Deviations: the target of a reduced y is the normal x, so that what is large enough to survive the reduction is
repainted too; hinge loss; |c - x| beside the features, which alone do not keep brightness; bilinear enlargement plus
what the network adds to it, so that training begins at a plain reduction; 8 residual blocks instead of 16.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from anotwin.methods.adversary import adam, optimise, set_rates
from anotwin.methods.comparer import Comparer, comparer_loss
from anotwin.methods.losses import feature_loss, hinge_loss
from anotwin.methods.networks import Critique
from anotwin.methods.planted import planted_squares, restoring_loss
from anotwin.methods.protocol import Method, device_of, freeze
from anotwin.methods.restoring import compared, folded_unets, in_eights, patch_critique
from anotwin.methods.scoring import one_pass
from anotwin.methods.unet import PatchDiscriminator, doubled, residual_block
from anotwin.records import Batch, Comparison, Counterpart, ImageSpec
from anotwin.settings import Settings
from anotwin.training.protocol import Backward

FACTOR = 4
BLOCKS = 8
L1, FEATURES, ADVERSARIAL = 4.0, 1.0, 0.02
LEARNING_RATE = 2e-3


class SRResNet(nn.Module):
    """Reduced images (B, C, s, s) -> images (B, C, f s, f s), f = `factor`, 2 or 4."""

    def __init__(
        self, channels: int, width: int, factor: int = FACTOR, blocks: int = BLOCKS, norm: bool = True
    ) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(channels, width, 3, 1, 1), nn.ReLU())
        self.blocks = nn.ModuleList(residual_block(width, norm) for _ in range(blocks))
        self.twice = nn.ModuleList([nn.Conv2d(width, 2 * width, 3, 1, 1)] if factor == 4 else [])
        self.drawn = nn.Conv2d(width // 2 if factor == 4 else width, 4 * channels, 3, 1, 1)
        self.factor = factor

    def added(self, reduced: torch.Tensor) -> torch.Tensor:
        """What the network adds to enlarged images, (B, C, f s, f s)."""
        hidden = first = self.first(reduced)
        for block in self.blocks:
            hidden = hidden + block(hidden)
        hidden = hidden + first
        for layer in self.twice:
            hidden = F.relu(doubled(layer(hidden)))
        return doubled(self.drawn(hidden).float())

    def forward(self, reduced: torch.Tensor) -> torch.Tensor:
        enlarged = F.interpolate(reduced, scale_factor=self.factor, mode="bilinear", align_corners=False)
        return (enlarged + self.added(reduced)).clamp(-1, 1)


def reduced(images: torch.Tensor) -> torch.Tensor:
    """(B, C, S, S) -> (B, C, S / 4, S / 4), by means of 4 x 4 pixels."""
    return F.avg_pool2d(images, FACTOR)


class SRGAN:
    """See the module. `networks` holds "generator" (G), "comparer" (K) and "discriminator" (D)."""

    name: ClassVar[str] = "srgan"

    def __init__(self, spec: ImageSpec, settings: Settings) -> None:
        self.spec = spec
        self.settings = settings
        base, channels = settings.networks.width_for(spec.parts), spec.channels
        self.networks = nn.ModuleDict(
            {
                "generator": SRResNet(channels, 2 * base),
                "comparer": Comparer(channels, base),
                "discriminator": PatchDiscriminator(channels, base, settings.networks.feature_layer),
            }
        )
        freeze(self.networks)

    def trainer(self) -> SRGANTrainer:
        return SRGANTrainer(self)

    def for_inference(self) -> Method:
        return folded_unets(self)

    def counterpart(self, batch: Batch) -> Counterpart:
        images = batch.images.to(device_of(self.networks))
        return one_pass(images, reduced, partial(in_eights, self.networks["generator"]))

    def compare(self, queries: torch.Tensor, counterpart: Counterpart) -> Comparison:
        logits = self.critique(queries).logits
        return compared(self.networks, queries, counterpart.images, self.settings, logits)

    def critique(self, images: torch.Tensor) -> Critique:
        return patch_critique(self.networks, images)


class SRGANTrainer:
    """D, then G, then K, on squares that are damaged anew in every step."""

    def __init__(self, method: SRGAN) -> None:
        self.settings = settings = method.settings.training
        self.networks = method.networks.train().requires_grad_(True)
        rate = settings.learning_rate or LEARNING_RATE
        self.rates = {"generator": rate, "comparer": rate, "discriminator": 0.2 * rate}
        self.optimizers = {name: adam(self.networks[name], settings, own) for name, own in self.rates.items()}

    def step(self, batch: Batch, step: int, rng: torch.Generator, backward: Backward) -> dict[str, torch.Tensor]:
        set_rates(self.optimizers, self.rates, step, self.settings.steps)
        x, y, m = squares = planted_squares(batch.images, rng)
        g, d = self.networks["generator"], self.networks["discriminator"]
        c = g(reduced(y))

        # D: min max(0, 1 - D(x)) + max(0, 1 + D(c))
        loss_d = hinge_loss(d(x).logits, d(c.detach()).logits)
        optimise(self.optimizers["discriminator"], loss_d, backward)

        # G: min l_1 |c - x| + l_phi mean_l |phi_l(c) - phi_l(x)| - l_adv D(c)
        d.requires_grad_(False)
        fake, real = d(c), d(x)
        d.requires_grad_(True)
        loss_rec, loss_g = restoring_loss(c, squares), -fake.logits.mean()
        loss_phi = feature_loss(fake.maps, real.maps)
        optimise(self.optimizers["generator"], L1 * loss_rec + FEATURES * loss_phi + ADVERSARIAL * loss_g, backward)

        # K: min S(k, m) + CE(a, max m)
        loss_k = comparer_loss(self.networks["comparer"], y, c, m)
        optimise(self.optimizers["comparer"], loss_k, backward)
        losses = {"loss_rec": loss_rec, "loss_phi": loss_phi, "loss_k": loss_k, "loss_d": loss_d, "loss_g": loss_g}
        return {name: loss.detach() for name, loss in losses.items()}

    def preview(self, batch: Batch) -> torch.Tensor:
        """Normal squares of one half of the batch and, below, the counterparts of the same."""
        images, g = batch.images[: (len(batch) + 1) // 2], self.networks["generator"].eval()
        with torch.no_grad():
            counterparts = g(reduced(images))
        g.train()
        return torch.cat([images, counterparts])[: len(batch)]
