"""Twin: an encoder and a generator that restore, and a discriminator that has learnt what damage looks like.

AnoTwin's own method and the default of `train`; each piece has its source, and docs/research.md what it brought.

    encoder        E       codes     z = E(x), on the sphere |z| = sqrt(Z)
    generator      G       twin      x' = G(E(x)), the counterpart, one pass;  between: z~, on the way from one normal's
                                     code to another's, and a little astray
    discriminator  D       features  f_l (block l of D), f (f_l averaged over places); K(x): which damage, 0 for none
    edges          e(x)    where edges run: compare/edges.py        damage    t_k, k = 1..8: methods/damage.py
    sight          v(x)    e(x) and 0.4 f(x) side by side           spoil     s: there as well
    memory         M       v of training normals

    D      min max(0, 1 - D(x)) + max(0, 1 + D(G(z~))) + 1/2 CE(K(x), 0) + 1/2 CE(K(t_k(x)), k)
    E, G   min |x - x'|^2 / |x - mean x|^2 + mean_l (1 - cos(f_l(x), f_l(x'))) + 1 - cos(z~, E(G(z~)))
               - 0.1 (D(G(z~)) + D(x')),    x' = G(E(s(x))) for every other x
    R(x)   = |x - x'|^2 / |x - mean x|^2            relative: an image with little ink has little to be wrong about
    D(x)   = n(log d(x)),  d(x) = squared distance of v(x) to the blend of its 40 nearest in M: compare/blend.py,
    A(x)   = D(x) + 1/4 n(log R(x))
             n = standardised on training normals; of parts of images, on those 40 nearest to x instead of all

- What lies between two normals has to be drawn as a normal (OCGAN, Perera et al. 2019, 1903.08550, asks it of all codes
  in a box; between codes: Berthelot et al. 2019, 1807.07543), and E sees through local damage (as in DRAEM): the twin
  of an anomaly is drawn as a normal too. A prior over the whole sphere left holes (docs/research.md).
- A discriminator that only tells real from generated has no reason to know a six from a nine; one that names the damage
  has (rotations: SS-GAN, Chen et al. 2019, 1811.11212). Nearest normals in such features: as in PatchCore (2106.08265).
- Parts of images (patches of a retina) differ in how much normal ones differ: in the noise of the vitreous any two are
  far apart, along the RPE none are. A part is therefore as abnormal as it is farther from normal than its neighbours
  are (as in LOF, Breunig et al. 2000), and its pixels are hot as far as it is abnormal; whole images all show the same
  thing, and are measured by all.
- D knows best what is like the damage that it was shown, edges say what else is no normal: together they miss least
  (docs/research.md, where planted letters and planted damage chose between them).
- The hinge (Lim, Ye 2017, 1705.02894) keeps D's slope, and with it the weight of its verdict, in bounds.
- Rates follow from training.steps: a run that is given more steps after its end is not the longer run, step for step.
- D has batch norm whatever networks.discriminator_norm says, and networks.feature_layer says of which block f is;
  networks.latent_prior has no part in it.
"""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from anotwin.compare.blend import Blend, blend_distance
from anotwin.compare.edges import EDGES, edge_directions
from anotwin.compare.heatmap import heatmap_of_parts
from anotwin.compare.relative import cosine_distance, relative_square
from anotwin.compare.score import comparison
from anotwin.methods.adversary import adam
from anotwin.methods.anogan import paint
from anotwin.methods.damage import damage, jitter, spoil
from anotwin.methods.losses import hinge_loss
from anotwin.methods.networks import Encoder, Generator, Inspection, Inspector
from anotwin.methods.protocol import device_of, freeze
from anotwin.methods.scoring import one_pass
from anotwin.records import Batch, Comparison, Counterpart, ImageSpec
from anotwin.seeding import generator
from anotwin.settings import Settings
from anotwin.training.ema import update_average
from anotwin.training.protocol import Backward

ADVERSARIAL = 0.1  # weight of D's verdict beside restoring; at 1 the twins are no longer those of their queries
ASTRAY = 0.3  # noise on codes between two normals, as a share of a code's length
DROPPED = 0.3  # of D's last activations while K is trained, or it learns the training images by heart
SEEN = 0.4  # length of f(x) beside e(x) in v(x)
NEIGHBOURS = 40
RIDGE = 0.3
RESIDUAL = 0.25  # weight of the residual in A(x)
SPECKLE = 1.5  # times compare.heatmap_sigma: what smooths the grain of parts away
LEARNING_RATE = 5e-4
MOVING = ("encoder", "generator", "discriminator")
AT_ONCE = 256  # images through the networks while settling


def on_sphere(codes: torch.Tensor) -> torch.Tensor:
    """Codes (B, Z) scaled to |z| = sqrt(Z), the length of a draw from a standard normal give or take one."""
    unit: torch.Tensor = F.normalize(codes.float(), dim=1)
    return unit * math.sqrt(codes.shape[1])


def between(codes: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Codes (B, Z) of images that could be: each somewhere between a given code and another one of them, and astray."""
    others = codes[torch.randperm(len(codes), generator=rng).to(codes.device)]
    share = torch.rand(len(codes), 1, generator=rng).to(codes.device)
    noise = on_sphere(torch.randn(codes.shape, generator=rng)).to(codes.device)
    return on_sphere(on_sphere(torch.lerp(codes, others, share)) + ASTRAY * noise)


class Norms(nn.Module):
    """What training normals are to the finished networks: their looks, their codes, the spread of their terms."""

    count: torch.Tensor  # () int64: so many rows of the three below are in use, the others are zeros
    memory: torch.Tensor  # (M, EDGES + F) v(x), float16: rounding is some hundredth of a distance
    codes: torch.Tensor  # (M, Z) on the sphere
    usual: torch.Tensor  # (M, 2) log R and log d of each
    centre: torch.Tensor  # (2,) their mean
    spread: torch.Tensor  # (2,) and how far single ones are from what is expected of them

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
        self.discriminator = Inspector(spec, settings.networks, 1 + len(settings.training.damage))
        self.encoder = Encoder(spec, settings.networks)
        self.generator = Generator(spec, settings.networks)
        networks = settings.networks
        self.norms = Norms(networks.memory_for(spec.parts), self.discriminator.feature_width, networks.latent_dim)
        names = ("discriminator", "encoder", "generator", "norms")
        self.networks = nn.ModuleDict({name: getattr(self, name) for name in names})
        freeze(self.networks)

    def trainer(self) -> TwinTrainer:
        return TwinTrainer(self)

    def counterpart(self, batch: Batch) -> Counterpart:
        queries = batch.images.to(device_of(self.networks))
        with torch.no_grad():
            codes = on_sphere(self.encoder(queries))
            images = self.generator(codes)
        return one_pass(images, codes, relative_square(queries, images))

    def compare(self, queries: torch.Tensor, counterpart: Counterpart) -> Comparison:
        queries, norms = queries.to(counterpart.images.device), self.norms
        view = self._view(queries)
        memory = norms.memory[: int(norms.count)]
        blend = blend_distance(_sight(queries, view.features), memory, NEIGHBOURS, RIDGE)
        residual = relative_square(queries, counterpart.images)
        terms = (_terms(residual, blend.distance) - self._expected(blend)) / norms.spread  # (B, 2)
        found = comparison(
            queries,
            counterpart.images,
            residual=residual,
            discrimination=terms[:, 1],
            total=terms[:, 1] + RESIDUAL * terms[:, 0],
            query_logits=view.logits,
            settings=self.settings.compare,
        )
        if not self.spec.parts:
            return found
        sigma = SPECKLE * self.settings.compare.heatmap_sigma
        return replace(found, heatmap=heatmap_of_parts(found.difference, found.scores.anomaly, sigma))

    @property
    def most_remembered(self) -> int:
        return len(self.norms.memory)

    def remember_normals(self, images: torch.Tensor) -> None:
        """Remember training normals (N, C, S, S) and how their terms are spread, each without itself in the memory."""
        norms, device = self.norms, device_of(self.networks)
        images = images[: len(norms.memory)].to(device)
        sights, codes, residuals = [], [], []
        for part in torch.split(images, AT_ONCE):
            with torch.no_grad():
                sights.append(_sight(part, self.discriminator.inspect(part).features))
                codes.append(on_sphere(self.encoder(part)))
                residuals.append(relative_square(part, self.generator(codes[-1])))
        rows = torch.arange(len(images), device=device)
        norms.count.fill_(len(images))
        norms.memory.zero_()[rows] = torch.cat(sights).to(norms.memory.dtype)
        norms.codes.zero_()[rows] = torch.cat(codes)
        blend = blend_distance(torch.cat(sights), norms.memory[rows], NEIGHBOURS, RIDGE, own=rows)
        seen = _terms(torch.cat(residuals), blend.distance)
        norms.usual.zero_()[rows] = seen
        norms.centre.copy_(seen.mean(0))
        norms.spread.copy_((seen - self._expected(blend)).std(0, correction=0).clamp_min(1e-3))

    def _expected(self, blend: Blend) -> torch.Tensor:
        """What log R and log d are for normals: on the whole, (2,), or for such parts as these, (B, 2)."""
        norms = self.norms
        known = self.spec.parts and blend.nearest.shape[1]  # a single normal has no neighbour
        return norms.usual[blend.nearest].mean(1) if known else norms.centre

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return self._view(images).features

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        return self._view(images).logits

    def _view(self, images: torch.Tensor) -> Inspection:
        with torch.no_grad():
            return self.discriminator.inspect(images.to(device_of(self.networks)))

    def sample(self, count: int, seed: int) -> torch.Tensor:
        rngs = [generator(seed, "sample", number) for number in range(count)]  # one each: more leave the first the same
        known = self.norms.codes[: int(self.norms.count)]
        pairs = [known[torch.randint(len(known), (2,), generator=rng)] for rng in rngs]
        return paint(
            self.generator, torch.stack([between(pair, rng)[0] for pair, rng in zip(pairs, rngs, strict=True)])
        )


def _sight(images: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """v(x): edges and D's features (B, F) of images (B, C, S, S), side by side: (B, EDGES + F) of length 1."""
    both = torch.cat([edge_directions(images), SEEN * features], 1)
    return both / math.sqrt(1 + SEEN**2)


def _terms(residual: torch.Tensor, distance: torch.Tensor) -> torch.Tensor:
    """log R and log d, (B, 2); logarithms, since what counts is how many times as far."""
    return torch.stack([residual.clamp_min(1e-6).log(), distance.clamp_min(1e-6).log()], 1)


def _apart(features: torch.Tensor, twins: torch.Tensor) -> torch.Tensor:
    return cosine_distance(features.detach(), twins).mean()


class TwinTrainer:
    """D and K, then E and G; what scores are the moving averages of all three."""

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
        # all three in one batch: in batches of their own, batch norm would tell D which is which, and only there
        everything = torch.cat([normals, damaged, fakes])
        view = d.inspect(everything, self._kept(len(everything), rng))
        (real, _, fake), (right, wrong, _) = view.logits.chunk(3), view.kinds.chunk(3)
        loss_d = hinge_loss(real, fake)
        loss_k = (F.cross_entropy(right, torch.zeros_like(kinds)) + F.cross_entropy(wrong, kinds)) / 2
        self.optimizers["discriminator"].zero_grad(set_to_none=True)
        backward(loss_d + loss_k)
        self.optimizers["discriminator"].step()
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
        twins = g(on_sphere(e(torch.cat([spoil(normals[:half], rng), normals[half:]]))))
        view = d.inspect(torch.cat([normals, twins, drawn]))  # in the company in which D has learnt to judge
        loss_rec = relative_square(normals, twins).mean()
        loss_f = torch.stack([_apart(*maps.flatten(1).chunk(3)[:2]) for maps in view.maps]).mean()
        # + 1 - cos(z~, E(G(z~))) - 0.1 (D(G(z~)) + D(x'))
        loss_z = cosine_distance(codes, e(drawn.detach())).mean()
        _, restored, fake = view.logits.chunk(3)
        loss_g = -(fake.mean() + restored.mean())
        self.optimizers["coder"].zero_grad(set_to_none=True)
        backward(loss_rec + loss_f + loss_z + ADVERSARIAL * loss_g)
        self.optimizers["coder"].step()
        d.requires_grad_(True)
        losses = {"loss_rec": loss_rec, "loss_f": loss_f, "loss_z": loss_z, "loss_g": loss_g}
        return {name: loss.detach() for name, loss in losses.items()}

    def _kept(self, count: int, rng: torch.Generator) -> torch.Tensor:
        """Dropout by `rng`: 0 for D's last activations (B, W, 4, 4) that are dropped, more than 1 for those kept."""
        shape = (count, self.discriminator.last_width, 4, 4)
        kept = (torch.rand(shape, generator=rng) >= DROPPED) / (1 - DROPPED)
        return kept.to(device_of(self.networks))

    def _set_rates(self, step: int) -> None:
        """Full for the first half, then down to 2 % along a line: the averages settle."""
        base = self.settings.learning_rate or LEARNING_RATE
        rate = base * max(0.02, min(1.0, 2 * (1 - step / self.settings.steps)))
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = rate

    def preview(self, batch: Batch) -> torch.Tensor:
        """Draws between codes of one half of the images and, below, twins of the other half."""
        images, method = batch.images, self.method
        half = len(images) // 2
        with torch.no_grad():
            drawn = method.generator(between(on_sphere(method.encoder(images[half:])), generator(0, "preview")))
            twins = method.generator(on_sphere(method.encoder(images[:half])))
        return torch.cat([drawn, twins])
