"""Twin: an encoder and a generator that restore, and a discriminator that has learnt what damage looks like.

AnoTwin's own method and the default of `train`; each piece has its source, and docs/research.md what it brought.

    encoder        E       code z = E(x), on the sphere |z| = sqrt(Z);  z~: between the codes of two normals, with noise
    generator      G       counterpart x' = G(E(x)), one pass
    discriminator  D       its logit;  f_l: the activations of block l;  f: those of one block averaged over places
    classifier     K       on the body of D: which kind of damage, 0 for none
    damage         t_k     k = 1..8: defects/whole.py;  corruption s: there as well
    edges          e(x)    where edges run: compare/edges.py
    descriptor     v(x)    e(x) and FEATURE_WEIGHT f(x) side by side
    memory         M       v of training normals

    D      min max(0, 1 - D(x)) + max(0, 1 + D(G(z~))) + 1/2 CE(K(x), 0) + 1/2 CE(K(t_k(x)), k)
    E, G   min |x - x'|^2 / |x - mean x|^2 + mean_l (1 - cos(f_l(x), f_l(x'))) + 1 - cos(z~, E(G(z~)))
               - 0.1 (D(G(z~)) + D(x')),    where x' is G(E(s(x))) for every other x

    residual       r(x) = |x - x'|^2 / |x - mean x|^2, relative: little contrast leaves little room for differences
    distance       d(x) = squared distance of v(x) to its reconstruction by its 40 nearest in M: compare/neighbours.py
    anomaly score  A(x) = n(log d(x)) + 1/4 n(log r(x))
                   n: standardised on training normals; of parts of images, on those 40 nearest to x instead of all

- Codes between two normals' codes have to be drawn as normal images (OCGAN, Perera et al. 2019, 1903.08550, asks it of
  all codes in a box; between codes: Berthelot et al. 2019, 1807.07543), and E learns to ignore local damage (as in
  DRAEM): so the counterpart of an anomaly is normal. A prior over the whole sphere left holes (docs/research.md).
- A discriminator that only tells real from generated need not know a six from a nine; one that names the damage must
  (rotations: SS-GAN, Chen et al. 2019, 1811.11212). Nearest normals in such features: as in PatchCore (2106.08265).
- Normal parts of images (patches of a retina) vary by place: in the noise of the vitreous any two are far apart, along
  the RPE none are. So a part is scored by how much farther from normal it is than its neighbours (as in LOF, Breunig et
  al. 2000), and its heat grows with its score; whole images all show the same thing, and are compared with all.
- D's features find best what is like the damage that it was shown, edges find other anomalies: together they miss least
  (docs/research.md, where planted letters and planted damage chose between them).
- The hinge (Lim, Ye 2017, 1705.02894) bounds D's slope, and with it the weight of its logit.
- Rates follow from training.steps: a run given more steps after its end differs from one that had them at once.
- D always has batch norm; networks.feature_layer chooses the block of f; networks.latent_prior has no effect.
"""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from anotwin.compare.edges import EDGES, edge_directions
from anotwin.compare.heatmap import heatmap_of_parts
from anotwin.compare.neighbours import Reconstruction, reconstruction_distance
from anotwin.compare.relative import cosine_distance, relative_square
from anotwin.compare.score import comparison
from anotwin.defects.whole import corrupt, damage, jitter
from anotwin.methods.adversary import adam, optimise
from anotwin.methods.anogan import generate_images
from anotwin.methods.losses import hinge_loss
from anotwin.methods.networks import Critique, DamageDiscriminator, Encoder, Generator, critique_of
from anotwin.methods.protocol import device_of, freeze
from anotwin.methods.scoring import one_pass
from anotwin.records import Batch, Comparison, Counterpart, ImageSpec
from anotwin.search.objective import Terms
from anotwin.seeding import generator
from anotwin.settings import Settings
from anotwin.training.ema import update_average
from anotwin.training.protocol import Backward, TrainingSet

ADVERSARIAL = 0.1  # weight of D's logits beside restoring; at 1 the counterparts no longer resemble their queries
CODE_NOISE = 0.3  # on codes between two normals, as a share of a code's length
DROPPED = 0.3  # of D's last activations while K is trained, against memorising the training images
FEATURE_WEIGHT = 0.4  # length of f(x) in v(x), where e(x) has length 1
NEIGHBOURS = 40
RIDGE = 0.3
RESIDUAL = 0.25  # weight of the residual in A(x)
SPECKLE = 1.5  # times compare.heatmap_sigma: a width that averages out the speckle of parts
LEARNING_RATE = 5e-4
MOVING = ("encoder", "generator", "discriminator")  # the networks that have a moving average
AT_ONCE = 256  # images through the networks in `remember_normals`


def on_sphere(codes: torch.Tensor) -> torch.Tensor:
    """Codes (B, Z) scaled to |z| = sqrt(Z), the length of a draw from a standard normal give or take one."""
    unit: torch.Tensor = F.normalize(codes.float(), dim=1)
    return unit * math.sqrt(codes.shape[1])


def between(codes: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Codes (B, Z) of images that could be: each at a random place between a given code and another, with noise."""
    others = codes[torch.randperm(len(codes), generator=rng).to(codes.device)]
    share = torch.rand(len(codes), 1, generator=rng).to(codes.device)
    noise = on_sphere(torch.randn(codes.shape, generator=rng)).to(codes.device)
    return on_sphere(on_sphere(torch.lerp(codes, others, share)) + CODE_NOISE * noise)


class Norms(nn.Module):
    """What the finished networks compute of training normals: their descriptors, codes and terms."""

    count: torch.Tensor  # () int64: rows of the three below that are in use; the others are zeros
    memory: torch.Tensor  # (M, EDGES + F) v(x), float16: rounding changes a distance by about 1 %
    codes: torch.Tensor  # (M, Z) on the sphere
    usual: torch.Tensor  # (M, 2) log r and log d of each
    centre: torch.Tensor  # (2,) their mean
    spread: torch.Tensor  # (2,) standard deviation of each from what is expected of it

    def __init__(self, rows: int, features: int, latents: int) -> None:
        super().__init__()
        self.register_buffer("count", torch.ones((), dtype=torch.int64))
        self.register_buffer("memory", torch.zeros(rows, EDGES + features, dtype=torch.float16))
        self.register_buffer("codes", torch.zeros(rows, latents))
        self.register_buffer("usual", torch.zeros(rows, 2))
        self.register_buffer("centre", torch.zeros(2))
        self.register_buffer("spread", torch.ones(2))


class Twin:
    """See the module. `networks` holds "encoder", "generator", "discriminator" and "norms"."""

    name: ClassVar[str] = "twin"

    def __init__(self, spec: ImageSpec, settings: Settings) -> None:
        self.spec = spec
        self.settings = settings
        self.discriminator = DamageDiscriminator(spec, settings.networks, 1 + len(settings.training.damage))
        self.encoder = Encoder(spec, settings.networks)
        self.generator = Generator(spec, settings.networks)
        networks = settings.networks
        self.norms = Norms(networks.memory_for(spec.parts), self.discriminator.feature_width, networks.latent_dim)
        names = "discriminator", "encoder", "generator", "norms"
        self.networks = nn.ModuleDict({name: getattr(self, name) for name in names})
        freeze(self.networks)

    def trainer(self) -> TwinTrainer:
        return TwinTrainer(self)

    def counterpart(self, batch: Batch) -> Counterpart:
        return one_pass(batch.images.to(device_of(self.networks)), self.encode, self.generator)

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """E(x): (B, C, S, S) in [-1, 1] -> codes (B, Z) on the sphere."""
        return on_sphere(self.encoder(images))

    def compare(self, queries: torch.Tensor, counterpart: Counterpart) -> Comparison:
        queries, images, norms = queries.to(counterpart.images.device), counterpart.images, self.norms
        logits, features = self.critique(queries)
        memory = norms.memory[: int(norms.count)]
        nearest = reconstruction_distance(_descriptor(queries, features), memory, NEIGHBOURS, RIDGE)
        residual = relative_square(queries, images)
        terms = (_log_terms(residual, nearest.distance) - self._expected(nearest)) / norms.spread  # (B, 2)
        total = Terms(terms[:, 1] + RESIDUAL * terms[:, 0], residual, terms[:, 1])
        found = comparison(queries, images, **total._asdict(), query_logits=logits, settings=self.settings.compare)
        if not self.spec.parts:
            return found
        sigma = SPECKLE * self.settings.compare.heatmap_sigma
        return replace(found, heatmap=heatmap_of_parts(found.difference, found.scores.anomaly, sigma))

    def remember_normals(self, normals: TrainingSet) -> None:
        """Store normals, as many as fit, and the spread of their terms, each without itself in the memory."""
        norms, device = self.norms, device_of(self.networks)
        images = normals.batch(np.arange(min(len(norms.memory), len(normals)))).images.to(device)
        parts, codes, residuals = [], [], []
        for part in torch.split(images, AT_ONCE):
            with torch.no_grad():
                parts.append(_descriptor(part, self.discriminator(part).features))
                codes.append(self.encode(part))
                residuals.append(relative_square(part, self.generator(codes[-1])))
        rows = torch.arange(len(images), device=device)
        descriptors = torch.cat(parts)
        norms.count.fill_(len(images))
        norms.memory.zero_()[rows] = descriptors.to(norms.memory.dtype)
        norms.codes.zero_()[rows] = torch.cat(codes)
        nearest = reconstruction_distance(descriptors, norms.memory[rows], NEIGHBOURS, RIDGE, own=rows)
        terms = _log_terms(torch.cat(residuals), nearest.distance)
        norms.usual.zero_()[rows] = terms
        norms.centre.copy_(terms.mean(0))
        norms.spread.copy_((terms - self._expected(nearest)).std(0, correction=0).clamp_min(1e-3))

    def _expected(self, found: Reconstruction) -> torch.Tensor:
        """The mean log r and log d of normals: of all of them, (2,), or of each part's neighbours, (B, 2)."""
        norms = self.norms
        known = self.spec.parts and found.nearest.shape[1]  # a single normal has no neighbour
        return norms.usual[found.nearest].mean(1) if known else norms.centre

    def critique(self, images: torch.Tensor) -> Critique:
        return critique_of(self.networks, images)

    def sample(self, count: int, seed: int, first: int = 0) -> torch.Tensor:
        rngs = [generator(seed, "sample", number) for number in range(first, first + count)]  # one each, see Samples
        known = self.norms.codes[: int(self.norms.count)]
        codes = [between(known[torch.randint(len(known), (2,), generator=rng)], rng)[0] for rng in rngs]
        return generate_images(self.generator, torch.stack(codes))


def _descriptor(images: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """v(x): edges and D's features (B, F) of images (B, C, S, S), side by side: (B, EDGES + F) of length 1."""
    both = torch.cat([edge_directions(images), FEATURE_WEIGHT * features], 1)
    return both / math.sqrt(1 + FEATURE_WEIGHT**2)


def _log_terms(residual: torch.Tensor, distance: torch.Tensor) -> torch.Tensor:
    """log r and log d, (B, 2): logarithms make equal ratios equal differences."""
    return torch.stack([residual.clamp_min(1e-6).log(), distance.clamp_min(1e-6).log()], 1)


class TwinTrainer:
    """D and K, then E and G; the moving averages of all three are what scores."""

    def __init__(self, method: Twin) -> None:
        self.method = method
        self.settings = settings = method.settings.training
        self.encoder = copy.deepcopy(method.encoder)
        self.generator = copy.deepcopy(method.generator)
        self.discriminator = copy.deepcopy(method.discriminator)
        moving = nn.ModuleDict({name: getattr(self, name) for name in MOVING}).train().requires_grad_(True)
        averages = {f"average_{name}": method.networks[name] for name in MOVING}
        self.networks = nn.ModuleDict({**moving, **averages})
        coder = nn.ModuleDict({"encoder": self.encoder, "generator": self.generator})
        self.optimizers = {
            "coder": adam(coder, settings, LEARNING_RATE),
            "discriminator": adam(self.discriminator, settings, LEARNING_RATE),
        }

    def step(self, batch: Batch, step: int, rng: torch.Generator, backward: Backward) -> dict[str, torch.Tensor]:
        self._set_rates(step)
        normals = jitter(batch.images, rng)
        logged = self._train_discriminator(batch.images, normals, rng, backward)
        logged |= self._train_coder(normals, rng, backward)
        for name in MOVING:
            update_average(self.networks[f"average_{name}"], self.networks[name], self.settings.ema, step)
        return logged

    def _train_discriminator(
        self, images: torch.Tensor, normals: torch.Tensor, rng: torch.Generator, backward: Backward
    ) -> dict[str, torch.Tensor]:
        g, d = self.generator, self.discriminator

        # D: min max(0, 1 - D(x)) + max(0, 1 + D(G(z~))) + 1/2 CE(K(x), 0) + 1/2 CE(K(t_k(x)), k)
        damaged, kinds = damage(images, rng, self.settings.damage)
        with torch.no_grad():
            fakes = g(between(on_sphere(self.encoder(normals)), rng))
        # all three in one batch: the statistics of separate ones would tell D which is which, in training alone
        everything = torch.cat([normals, damaged, fakes])
        critique = d.critique(everything, self._kept(len(everything), rng))
        (real, _, fake), (right, wrong, _) = critique.logits.chunk(3), critique.kinds.chunk(3)
        loss_d = hinge_loss(real, fake)
        loss_k = (F.cross_entropy(right, torch.zeros_like(kinds)) + F.cross_entropy(wrong, kinds)) / 2
        optimise(self.optimizers["discriminator"], loss_d + loss_k, backward)
        gap = real.mean() - fake.mean()
        return {"loss_d": loss_d.detach(), "loss_k": loss_k.detach(), "logit_gap": gap.detach()}

    def _train_coder(self, normals: torch.Tensor, rng: torch.Generator, backward: Backward) -> dict[str, torch.Tensor]:
        e, g, d = self.encoder, self.generator, self.discriminator

        # E, G: min |x - x'|^2 / |x - mean|^2 + mean_l (1 - cos(f_l(x), f_l(x'))), x' = G(E(s(x))) with s on every other
        d.requires_grad_(False)
        half = len(normals) // 2
        with torch.no_grad():
            codes = between(on_sphere(e(normals)), rng)
        drawn = g(codes)
        counterparts = g(on_sphere(e(torch.cat([corrupt(normals[:half], rng), normals[half:]]))))
        critique = d.critique(torch.cat([normals, counterparts, drawn]))  # in one batch, as when D was trained
        loss_rec = relative_square(normals, counterparts).mean()
        features = [maps.flatten(1).chunk(3)[:2] for maps in critique.maps]
        loss_f = torch.stack([cosine_distance(ours.detach(), theirs).mean() for ours, theirs in features]).mean()
        # + 1 - cos(z~, E(G(z~))) - 0.1 (D(G(z~)) + D(x'))
        loss_z = cosine_distance(codes, e(drawn.detach())).mean()
        _, restored, fake = critique.logits.chunk(3)
        loss_g = -(fake.mean() + restored.mean())
        optimise(self.optimizers["coder"], loss_rec + loss_f + loss_z + ADVERSARIAL * loss_g, backward)
        d.requires_grad_(True)
        losses = {"loss_rec": loss_rec, "loss_f": loss_f, "loss_z": loss_z, "loss_g": loss_g}
        return {name: loss.detach() for name, loss in losses.items()}

    def _kept(self, count: int, rng: torch.Generator) -> torch.Tensor:
        """Dropout by `rng`: 0 for D's last activations (B, W, 4, 4) that are dropped, more than 1 for those kept."""
        shape = (count, self.discriminator.last_width, 4, 4)
        kept = (torch.rand(shape, generator=rng) >= DROPPED) / (1 - DROPPED)
        return kept.to(device_of(self.networks))

    def _set_rates(self, step: int) -> None:
        """Full for the first half, then linearly down to 2 %, so that the averages converge."""
        base = self.settings.learning_rate or LEARNING_RATE
        rate = base * max(0.02, min(1.0, 2 * (1 - step / self.settings.steps)))
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = rate

    def preview(self, batch: Batch) -> torch.Tensor:
        """Images drawn between codes of one half of the batch and, below, counterparts of the other half."""
        images, method = batch.images, self.method
        half = len(images) // 2
        with torch.no_grad():
            drawn = method.generator(between(method.encode(images[half:]), generator(0, "preview")))
            counterparts = method.generator(method.encode(images[:half]))
        return torch.cat([drawn, counterparts])
