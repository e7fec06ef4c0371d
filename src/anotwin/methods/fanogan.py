"""f-AnoGAN: a GAN of normal images, and an encoder that finds a query's noise in one pass.

Paper: Schlegl, Seeböck, Waldstein, Langs, Schmidt-Erfurth, "f-AnoGAN: Fast unsupervised anomaly detection with
generative adversarial networks", Medical Image Analysis 54, 2019. Written from the paper.

    generator  G      discriminator  D      features  f (an intermediate block of D)      encoder  E, codes  z = E(x)
    KAPPA      kappa  = 1
    izi_f      L(x) = 1/n |x - G(E(x))|^2 + kappa/n_d |f(x) - f(G(E(x)))|^2        section 2.2, the paper's choice
    izi        L(x) = 1/n |x - G(E(x))|^2
    ziz        L(z) = 1/d |z - E(G(z))|^2
    score      A(x) = A_R(x) + kappa A_D(x), the two terms of izi_f for the query     section 2.3

One run trains both stages: the GAN first, then, for the last `training.encoder_share` of the steps, E with all else
frozen. Which stage a step belongs to follows from its number alone, so that a run resumes exactly in either (one that
is given more steps after its end trains the GAN again first, then E).

Deviations:
- the GAN is the DCGAN of `anogan`; training.adversarial = "wgan-gp" is the paper's loss, without its residual blocks;
- G is the moving average of the trained generator, and E is trained against that one, which also scores;
- D uses its running statistics while E is trained, as in scoring: E minimises exactly the score;
- codes are squashed to where the prior has its mass and G was trained: 3 tanh(u / 3) for a normal prior, tanh(u) for a
  uniform one (an option of the authors' code);
- search.warm starts AnoGAN's search at E(x): closer counterparts, which need not separate better;
- E is trained by the same Adam as the GAN, not by RMSProp: one optimiser to tune.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import nn

from anotwin.compare.score import comparison
from anotwin.compare.terms import mean_square_features, mean_square_residual
from anotwin.methods.adversary import adam, critic_networks, optimise
from anotwin.methods.anogan import AnoGANTrainer, sample_prior, search_counterparts
from anotwin.methods.networks import Critique, Discriminator, Encoder, Generator, critique_of
from anotwin.methods.protocol import Method, device_of, folded, freeze
from anotwin.methods.scoring import one_pass
from anotwin.records import Batch, Comparison, Counterpart, ImageSpec
from anotwin.search.objective import Terms
from anotwin.seeding import Prior, draw_latents
from anotwin.settings import Settings
from anotwin.training.protocol import Backward

KAPPA = 1.0  # section 3.3 of the paper


def squashed(codes: torch.Tensor, prior: Prior) -> torch.Tensor:
    """Codes (B, Z), any real numbers, brought to where the prior has its mass; near zero nothing changes.

    >>> [round(code, 4) for code in squashed(torch.tensor([[0.01, 100.0]]), "normal")[0].tolist()]
    [0.01, 3.0]
    """
    reach = 3.0 if prior == "normal" else 1.0
    return reach * torch.tanh(codes / reach)


class FAnoGAN:
    """See the module. `networks` holds "generator", "discriminator" and "encoder"."""

    name: ClassVar[str] = "fanogan"

    def __init__(self, spec: ImageSpec, settings: Settings) -> None:
        self.spec = spec
        self.settings = settings
        self.networks = nn.ModuleDict(
            {
                "discriminator": Discriminator(spec, critic_networks(settings)),
                "encoder": Encoder(spec, settings.networks),
                "generator": Generator(spec, settings.networks),
            }
        )
        freeze(self.networks)

    def trainer(self) -> FAnoGANTrainer:
        return FAnoGANTrainer(self)

    @property
    def searching(self) -> bool:
        return self.settings.search.warm

    def for_inference(self) -> Method:
        """Folded; with a search this method itself, because the search folds networks on its own."""
        return self if self.searching else folded(self)

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """E(x): (B, C, S, S) in [-1, 1] -> codes (B, Z), squashed."""
        return squashed(self.networks["encoder"](images), self.settings.networks.latent_prior)

    def counterpart(self, batch: Batch) -> Counterpart:
        if self.searching:
            return self.search(batch)
        return one_pass(batch.images.to(device_of(self.networks)), self.encode, self.networks["generator"])

    def search(self, batch: Batch, trace_at: Sequence[int] = ()) -> Counterpart:
        """AnoGAN's search and loss, the first of its restarts from E(x); the score is A(x) all the same."""
        with torch.no_grad():
            codes = self.encode(batch.images.to(device_of(self.networks)))
        return search_counterparts(self, batch, trace_at, warm=codes.cpu())

    def compare(self, queries: torch.Tensor, counterpart: Counterpart) -> Comparison:
        queries, images = queries.to(counterpart.images.device), counterpart.images
        logits, features = critique_of(self.networks, torch.cat([queries, images]))
        query, critique = map(Critique, logits.chunk(2), features.chunk(2))
        terms = _terms(queries, images, query, critique)
        return comparison(queries, images, **terms._asdict(), query_logits=query.logits, settings=self.settings.compare)

    def critique(self, images: torch.Tensor) -> Critique:
        return critique_of(self.networks, images)

    def sample(self, count: int, seed: int, first: int = 0) -> torch.Tensor:
        return sample_prior(self, count, seed, first)


class FAnoGANTrainer:
    """AnoGAN's training for the first steps, then the encoder's."""

    def __init__(self, method: FAnoGAN) -> None:
        self.method = method
        self.settings = settings = method.settings.training
        self.gan = AnoGANTrainer(method)
        encoder = method.networks["encoder"].train().requires_grad_(True)
        self.networks = nn.ModuleDict({**self.gan.networks, "encoder": encoder})
        self.optimizers = {**self.gan.optimizers, "encoder": adam(encoder, settings)}
        self.start = int(settings.steps * (1 - settings.encoder_share))  # the first step that trains the encoder

    def step(self, batch: Batch, step: int, rng: torch.Generator, backward: Backward) -> dict[str, torch.Tensor]:
        if step < self.start:
            return self.gan.step(batch, step, rng, backward)

        # E: min izi_f, izi or ziz; G and D frozen and in the mode in which they will score
        self.networks["discriminator"].eval().requires_grad_(False)
        logged = self._objective(batch.images, rng)
        optimise(self.optimizers["encoder"], logged["loss_e"], backward)
        return {name: value.detach() for name, value in logged.items()}

    def _objective(self, images: torch.Tensor, rng: torch.Generator) -> dict[str, torch.Tensor]:
        generate, d = self.networks["average"], self.networks["discriminator"]
        networks, objective = self.method.settings.networks, self.settings.encoder_objective
        if objective == "ziz":
            latents = draw_latents(len(images), networks.latent_dim, networks.latent_prior, rng).to(images.device)
            codes = self.method.encode(generate(latents))
            return {"loss_e": (latents - codes).square().mean()}
        counterparts = generate(self.method.encode(images))
        if objective == "izi":
            return {"loss_e": mean_square_residual(images - counterparts).mean()}
        terms = _terms(images, counterparts, d(images), d(counterparts))
        return {
            "loss_e": terms.total.mean(),
            "residual": terms.residual.mean(),
            "features": terms.discrimination.mean(),
        }

    def preview(self, batch: Batch) -> torch.Tensor:
        return self.gan.preview(batch)


def _terms(queries: torch.Tensor, counterparts: torch.Tensor, query: Critique, counterpart: Critique) -> Terms:
    """izi_f and A(x), (B,) each: what E is trained to make small is what a query is scored by."""
    residual = mean_square_residual(queries - counterparts)
    features = mean_square_features(query.features, counterpart.features)
    return Terms(residual + KAPPA * features, residual, features)
