"""AnoGAN: a DCGAN of normal images, and gradient descent on its noise to a query's counterpart.

Paper: Schlegl, Seeböck, Waldstein, Schmidt-Erfurth, Langs, "Unsupervised anomaly detection with generative adversarial
networks to guide marker discovery", IPMI 2017 (1703.05921). Written from the paper.

    generator      G       discriminator  D, its logit     features   f (an intermediate block of D)
    latents        z       queries        x                weight     lambda = 0.1
    search         section 2.2, Gamma = 500 steps of the loss L(z): search/objective.py;  score A(x) = L(z) at the end

Deviations, each measured in docs/results.md or a correction:
- G is the exponential moving average of the trained generator: smoother samples at no cost;
- G and D step at once, each against the other as it was before, on the same fakes: a step costs a sixth less;
- D may have R1, spectral norm or no norm at all (training.r1_gamma, networks.discriminator_norm);
- training.adversarial = "wgan-gp" trains the pair as f-AnoGAN does (Gulrajani et al. 2017), for comparison;
- the prior on z is a standard normal (networks.latent_prior = "uniform" is the paper's);
- the search returns the best z seen, not the last; its start depends on the image alone, not on its batch;
- the search is search/engine.py's by default; search.preset = "paper" is the paper's: plain Adam from a random z.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import nn

from anotwin.methods.adversary import CRITIC_STEPS, adam, critic_networks, optimise, train_critic, train_discriminator
from anotwin.methods.networks import Critique, Discriminator, Generator, critique_of
from anotwin.methods.protocol import Method, device_of, freeze
from anotwin.methods.scoring import anogan_comparison
from anotwin.records import Batch, Comparison, Counterpart, ImageSpec
from anotwin.search.engine import find_counterparts
from anotwin.seeding import draw_latents, generator, search_starts
from anotwin.settings import Settings
from anotwin.training.ema import update_average
from anotwin.training.protocol import Backward


class AnoGAN:
    """See the module. `networks` holds "generator" and "discriminator"."""

    name: ClassVar[str] = "anogan"
    searching: ClassVar[bool] = True

    def __init__(self, spec: ImageSpec, settings: Settings) -> None:
        self.spec = spec
        self.settings = settings
        self.networks = nn.ModuleDict(
            {
                "discriminator": Discriminator(spec, critic_networks(settings)),
                "generator": Generator(spec, settings.networks),
            }
        )
        freeze(self.networks)

    def trainer(self) -> AnoGANTrainer:
        return AnoGANTrainer(self)

    def counterpart(self, batch: Batch) -> Counterpart:
        return self.search(batch)

    def search(self, batch: Batch, trace_at: Sequence[int] = ()) -> Counterpart:
        return search_counterparts(self, batch, trace_at)

    def compare(self, queries: torch.Tensor, counterpart: Counterpart) -> Comparison:
        return anogan_comparison(self.networks, queries, counterpart.images, self.settings)

    def critique(self, images: torch.Tensor) -> Critique:
        return critique_of(self.networks, images)

    def sample(self, count: int, seed: int, first: int = 0) -> torch.Tensor:
        return sample_prior(self, count, seed, first)


def search_counterparts(
    method: Method, batch: Batch, trace_at: Sequence[int], warm: torch.Tensor | None = None
) -> Counterpart:
    """The search of any method with a "generator" and a "discriminator"; `warm` (B, Z) are starts, on the CPU."""
    search, networks, device = method.settings.search, method.settings.networks, device_of(method.networks)
    prior, dim = networks.latent_prior, networks.latent_dim
    starts = search_starts(batch.fingerprints, dim, prior, search.seed, search.restarts, warm)
    generate, critic = method.networks["generator"], method.networks["discriminator"]
    return find_counterparts(generate, critic, batch.images.to(device), starts.to(device), search, prior, trace_at)


def sample_prior(method: Method, count: int, seed: int, first: int) -> torch.Tensor:
    """Images (count, C, S, S) of the "generator" for latents from its prior, each of its own random generator."""
    dim, prior = method.settings.networks.latent_dim, method.settings.networks.latent_prior
    numbers = range(first, first + count)
    latents = torch.cat([draw_latents(1, dim, prior, generator(seed, "sample", number)) for number in numbers])
    return generate_images(method.networks["generator"], latents)


def generate_images(generate: nn.Module, latents: torch.Tensor) -> torch.Tensor:
    """G(z) for many latents (N, Z): images (N, C, S, S), on the generator's device.

    No image depends on how many there are: batches are filled up to a power of two, as run/batch.py does it.
    """
    device, images = next(generate.parameters()).device, []
    for part in torch.split(latents, 256):
        missing = (1 << (len(part) - 1).bit_length()) - len(part)
        filled = torch.cat([part, part[-1:].expand(missing, -1)])
        with torch.no_grad():
            images.append(generate(filled.to(device))[: len(part)])
    return torch.cat(images)


class AnoGANTrainer:
    """DCGAN training of any method's "generator" and "discriminator", with lazy R1 and a moving average of G."""

    def __init__(self, method: Method) -> None:
        self.method = method
        self.settings = settings = method.settings.training
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

    def step(self, batch: Batch, step: int, rng: torch.Generator, backward: Backward) -> dict[str, torch.Tensor]:
        images, g, d = batch.images, self.networks["generator"], self.networks["discriminator"]
        if self.settings.adversarial == "wgan-gp":
            return self._wasserstein_step(images, step, rng, backward)

        # D: min softplus(-D(x)) + softplus(D(G(z))), lazily + gamma/2 |grad_x D(x)|^2
        fakes, adam_d = g(self._latents(len(images), rng)), self.optimizers["discriminator"]
        logged, loss_g = train_discriminator(d, adam_d, images, fakes, step, self.settings, backward)

        # G: min softplus(-D(G(z))), of the same z and D as it was before its step
        return logged | self._train_generator(loss_g, step, backward)

    def _wasserstein_step(
        self, images: torch.Tensor, step: int, rng: torch.Generator, backward: Backward
    ) -> dict[str, torch.Tensor]:
        g, d = self.networks["generator"], self.networks["discriminator"]

        # D: min D(G(z)) - D(x) + lambda (|grad_y D(y)| - 1)^2
        with torch.no_grad():
            fakes = g(self._latents(len(images), rng))
        logged = train_critic(d, self.optimizers["discriminator"], images, fakes, rng, backward)

        # G, after every fifth: min -D(G(z))
        if (step + 1) % CRITIC_STEPS:
            return logged
        d.requires_grad_(False)
        loss_g = -d(g(self._latents(len(images), rng))).logits.mean()
        logged |= self._train_generator(loss_g, step // CRITIC_STEPS, backward)
        d.requires_grad_(True)
        return logged

    def _train_generator(self, loss_g: torch.Tensor, step: int, backward: Backward) -> dict[str, torch.Tensor]:
        """One step of G, its `step`-th for the moving average."""
        optimise(self.optimizers["generator"], loss_g, backward)
        update_average(self.networks["average"], self.networks["generator"], self.settings.ema, step)
        return {"loss_g": loss_g.detach()}

    def preview(self, batch: Batch) -> torch.Tensor:
        with torch.no_grad():
            samples: torch.Tensor = self.networks["average"](self._latents(len(batch), generator(0, "preview")))
        return samples
