"""AnoGAN: a DCGAN of normal images, and gradient descent on its noise to a query's counterpart.

Paper: Schlegl, Seeböck, Waldstein, Schmidt-Erfurth, Langs, "Unsupervised anomaly detection with generative adversarial
networks to guide marker discovery", IPMI 2017 (1703.05921). Written from the paper.

    generator      G       discriminator  D       features   f (an intermediate block of D)
    latents        z       queries        x       weight     lambda = 0.1
    descend        section 2.2, Gamma = 500 steps; residual R, discrimination D(z), score A: search/objective.py

Deviations, each measured in docs/results.md or a plain repair:
- G is the exponential moving average of the trained generator: smoother samples at no cost;
- R1, spectral norm and no norm at all can be had for D (training.r1_gamma, networks.discriminator_norm);
- the prior on z is a standard normal (networks.latent_prior = "uniform" is the paper's);
- the search returns the best z seen, not the last; a search's start depends on the image alone, not on its batch.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import nn

from anotwin.methods.adversary import adam, train_discriminator
from anotwin.methods.losses import generator_loss
from anotwin.methods.networks import Discriminator, Generator, judge
from anotwin.methods.protocol import Backward, device_of, freeze
from anotwin.records import Batch, Counterpart, ImageSpec, Trace
from anotwin.search.descent import descend
from anotwin.search.objective import anogan_objective
from anotwin.seeding import draw_latents, generator, image_latents
from anotwin.settings import Settings
from anotwin.training.ema import update_average


class AnoGAN:
    """See the module. `networks` holds "generator" and "discriminator"."""

    name: ClassVar[str] = "anogan"

    def __init__(self, spec: ImageSpec, settings: Settings) -> None:
        self.spec = spec
        self.settings = settings
        self.networks = nn.ModuleDict(
            {
                "discriminator": Discriminator(spec, settings.networks),
                "generator": Generator(spec, settings.networks),
            }
        )
        freeze(self.networks)

    def trainer(self) -> AnoGANTrainer:
        return AnoGANTrainer(self)

    def counterpart(self, batch: Batch, trace_at: Sequence[int] = ()) -> Counterpart:
        search, networks = self.settings.search, self.settings.networks
        device = device_of(self.networks)
        generate, critic = self.networks["generator"], self.networks["discriminator"]
        objective = anogan_objective(
            generate, critic, batch.images.to(device), search.discrimination_weight, search.discrimination
        )
        start = image_latents(batch.fingerprints, networks.latent_dim, networks.latent_prior, search.seed)
        found = descend(
            start.to(device), objective, steps=search.steps, learning_rate=search.learning_rate, trace_at=trace_at
        )
        with torch.no_grad():
            images = generate(found.latents)
            trace = None
            if found.trace_latents is not None and found.trace_losses is not None:
                frames = torch.stack([generate(latents) for latents in found.trace_latents])  # (T, B, C, S, S)
                reached = tuple(step for step in sorted(set(trace_at)) if 0 <= step <= search.steps)
                trace = Trace(reached, found.trace_losses, frames)
        return Counterpart(images, found.latents, found.terms._asdict(), found.steps, found.status, trace)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return judge(self.networks, images).features

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        return judge(self.networks, images).logits

    def sample(self, count: int, seed: int) -> torch.Tensor:
        settings = self.settings.networks
        latents = draw_latents(count, settings.latent_dim, settings.latent_prior, generator(seed, "sample"))
        with torch.no_grad():
            parts = [
                self.networks["generator"](part.to(device_of(self.networks))) for part in torch.split(latents, 256)
            ]
        return torch.cat(parts)


class AnoGANTrainer:
    """DCGAN training: D then G, on logits, non-saturating, with lazy R1 and a moving average of G."""

    def __init__(self, method: AnoGAN) -> None:
        settings = method.settings.training
        self.method = method
        self.settings = settings
        average, discriminator = method.networks["generator"], method.networks["discriminator"]
        self.networks = nn.ModuleDict(
            {
                "generator": copy.deepcopy(average).train().requires_grad_(True),
                "average": average,
                "discriminator": discriminator.train().requires_grad_(True),
            }
        )
        self.optimizers = {name: adam(self.networks[name], settings) for name in ("generator", "discriminator")}

    def _latents(self, count: int, rng: torch.Generator) -> torch.Tensor:
        networks = self.method.settings.networks
        return draw_latents(count, networks.latent_dim, networks.latent_prior, rng).to(device_of(self.networks))

    def step(
        self, images: torch.Tensor, step: int, rng: torch.Generator, backward: Backward
    ) -> dict[str, torch.Tensor]:
        settings, g, d = self.settings, self.networks["generator"], self.networks["discriminator"]

        # D: min softplus(-D(x)) + softplus(D(G(z))), lazily + gamma/2 |grad_x D(x)|^2
        with torch.no_grad():
            fakes = g(self._latents(len(images), rng))
        logged = train_discriminator(d, self.optimizers["discriminator"], images, fakes, step, settings, backward)

        # G: min softplus(-D(G(z)))
        d.requires_grad_(False)
        loss_g = generator_loss(d(g(self._latents(len(images), rng))).logits)
        self.optimizers["generator"].zero_grad(set_to_none=True)
        backward(loss_g)
        self.optimizers["generator"].step()
        d.requires_grad_(True)

        update_average(self.networks["average"], g, settings.ema, step)
        return logged | {"loss_g": loss_g.detach()}

    def preview(self, images: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            samples: torch.Tensor = self.networks["average"](self._latents(len(images), generator(0, "preview")))
        return samples
