"""CycleGAN: translation between two domains of which there are no pairs, both ways.

Paper: Zhu et al., "Unpaired image-to-image translation using cycle-consistent adversarial networks", 2017 (1703.10593).

    generators             G: A -> B and F: B -> A, of residual blocks
    discriminators         D_A, D_B: PatchGAN, trained on images of a pool p of earlier ones
    objective              min_{G, F}  (D_B(G(a)) - 1)^2 + (D_A(F(b)) - 1)^2
                                       + l_cyc (|F(G(a)) - a| + |G(F(b)) - b|)
                                       + l_cyc l_id (|F(a) - a| + |G(b) - b|)     where A and B have as many channels
                           min_{D_A, D_B}  ((D_B(b) - 1)^2 + D_B(p(G(a)))^2) / 2 + the same for A

Deviations: batch norm in G and F and group norm in D instead of instance norm (networks.py says why); what translates
is the moving average of G and F; the rate rises, then falls along a cosine, instead of staying and falling linearly.
"""

from __future__ import annotations

import copy
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from anotwin.methods.adversary import adam, optimise, set_rates
from anotwin.methods.losses import least_squares_generator_loss, least_squares_loss
from anotwin.methods.protocol import device_of, freeze
from anotwin.settings import Settings
from anotwin.training.ema import update_average
from anotwin.training.protocol import Backward
from anotwin.translation.networks import PatchGAN, ResNet, apart, folded_copy
from anotwin.translation.pool import ImagePool
from anotwin.translation.protocol import DIRECTIONS, Direction, Examples, TranslationSpec

LEARNING_RATE = 8e-4


class CycleGAN:
    """See the module. `networks` holds "AtoB" (G) and "BtoA" (F)."""

    name: ClassVar[str] = "cyclegan"
    directions: ClassVar[tuple[Direction, ...]] = DIRECTIONS
    aligned: ClassVar[bool] = False
    reach: ClassVar[int] = 60
    stride: ClassVar[int] = 4

    def __init__(self, spec: TranslationSpec, settings: Settings) -> None:
        self.spec, self.settings = spec, settings
        a, b, base = spec.a.channels, spec.b.channels, settings.networks.width_for(spec.a.parts)
        self.networks = nn.ModuleDict({"AtoB": ResNet(a, b, base), "BtoA": ResNet(b, a, base)})
        freeze(self.networks)

    def trainer(self) -> CycleGANTrainer:
        return CycleGANTrainer(self)

    def translate(
        self, images: torch.Tensor, direction: Direction, seed: int = 0, at: tuple[int, int] = (0, 0)
    ) -> torch.Tensor:
        del seed, at  # no noise is drawn
        return apart(self.networks[direction], images.to(device_of(self.networks)))

    def for_inference(self) -> CycleGAN:
        return folded_copy(self)


class CycleGANTrainer:
    """G and F, then D_A and D_B; the moving averages of G and F are what translates."""

    def __init__(self, method: CycleGAN) -> None:
        self.settings = settings = method.settings
        spec, base, own = method.spec, settings.networks.width_for(method.spec.a.parts), settings.translation
        domains = {"A": spec.a, "B": spec.b}
        discriminators = {name: PatchGAN(each.channels, base, own.patch, each.size) for name, each in domains.items()}
        pools = {name: ImagePool(own.pool, each.channels, each.size) for name, each in domains.items()}
        self.generators, self.averages = copy.deepcopy(method.networks), method.networks
        self.discriminators, self.pools = nn.ModuleDict(discriminators), pools
        learning = {"generators": self.generators, "discriminators": self.discriminators}
        self.networks = nn.ModuleDict({**learning, "pools": nn.ModuleDict(pools)}).train().requires_grad_(True)
        self.networks["averages"] = self.averages
        rate = settings.training.learning_rate or LEARNING_RATE
        self.rates = dict.fromkeys(learning, rate)
        self.optimizers = {name: adam(each, settings.training, rate) for name, each in learning.items()}
        self.identity = own.identity_weight if spec.a.channels == spec.b.channels else 0.0

    def step(self, batch: Examples, step: int, rng: torch.Generator, backward: Backward) -> dict[str, torch.Tensor]:
        set_rates(self.optimizers, self.rates, step, self.settings.training.steps)
        a, b, own = batch.a, batch.b, self.settings.translation
        g, f = self.generators["AtoB"], self.generators["BtoA"]
        d_a, d_b = self.discriminators["A"], self.discriminators["B"]

        # G, F: min (D_B(G(a)) - 1)^2 + (D_A(F(b)) - 1)^2 + l_cyc (|F(G(a)) - a| + |G(F(b)) - b|)
        #           + l_cyc l_id (|F(a) - a| + |G(b) - b|)
        self.discriminators.requires_grad_(False)
        fake_b, fake_a = g(a), f(b)
        loss_g = least_squares_generator_loss(d_b(fake_b).logits) + least_squares_generator_loss(d_a(fake_a).logits)
        loss_cycle = F.l1_loss(f(fake_b), a) + F.l1_loss(g(fake_a), b)
        loss = loss_g + own.cycle_weight * loss_cycle
        if self.identity:
            loss = loss + own.cycle_weight * self.identity * (F.l1_loss(f(a), a) + F.l1_loss(g(b), b))
        optimise(self.optimizers["generators"], loss, backward)
        self.discriminators.requires_grad_(True)

        # D_A, D_B: min ((D_B(b) - 1)^2 + D_B(p(G(a)))^2) / 2 + ((D_A(a) - 1)^2 + D_A(p(F(b)))^2) / 2
        old_a, old_b = self.pools["A"].exchange(fake_a, rng), self.pools["B"].exchange(fake_b, rng)
        loss_d = least_squares_loss(d_a(a).logits, d_a(old_a).logits)
        loss_d = loss_d + least_squares_loss(d_b(b).logits, d_b(old_b).logits)
        optimise(self.optimizers["discriminators"], loss_d, backward)

        for way in DIRECTIONS:
            update_average(self.averages[way], self.generators[way], self.settings.training.ema, step)
        return {"loss_g": loss_g.detach(), "loss_cycle": loss_cycle.detach(), "loss_d": loss_d.detach()}
