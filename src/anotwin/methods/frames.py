"""frames: the next frame of a clip, predicted from those before it, is the counterpart of the frame that came.

Paper: Liu et al., "Future frame prediction for anomaly detection - a new baseline", 2018 (1712.09867).

    frames before the query     (B, T, C, S, S): some seconds back, then SHORT next to it, then the one just before it
    query x                     (B, C, S, S)
    generator G                 U-Net of the SHORT frames in spreads s of these: counterpart c = mean + s G(...)
    discriminator D             PatchGAN on frames, logits of patches
    flow f                      (B, 2, S / 2, S / 2) of x from the frame just before it, pixels a frame, by a library
    motion network M            U-Net of x alone: the flow m that normal frames have where they look like this
    ways networks W, W'         U-Nets of silhouettes o and places: the flow u that is usual there, and its spread b;
                                objectives of M and W: methods/flows.py
    spotting network P          x beside the frames before: mask p of intruders (methods/spotter.py), half as wide
    objective                   min_D  max(0, 1 - D(x)) + max(0, 1 + D(c))
                                min_G  l_int w |c - x| / s + l_gd |grad c - grad x| / s - l_adv D(c)
                                w = 1 + 4 min(1, |x - frame before| / s): what moves counts
                                min_P  cross-entropy + focal + Dice of p and the mask of planted intruders
    evidence e_j, j = 1..J      error |x - c|; way o |f - u| / b; motion |f - m|; what has stood there for seconds;
                                what is spotted, log(1 + exp p). Smoothed
    score of a frame            r_j = -log(share of training frames that show as much as e_j) (`compare.places`)
                                heat = (sum_j r_j^2)^(1/2); A = max heat; R = max r_1; D = max of the others

Deviations: no flow network in G's loss. w, as masked autoencoders weigh by motion (Ristea et al. 2023, 2306.12041).
Hinge loss. M and W are networks of their own, at half the size: who walks the wrong way is predicted as well as
everybody else, but walks where nobody of that look does (M), or where nobody does (W). The score is the highest place,
by what is usual there, instead of the PSNR of the frame rescaled by the minimum and maximum of its test clip.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from anotwin.compare.motion import reduced, smoothed, standing
from anotwin.compare.places import CELL, Usual, highest_of_cells, rarity, usual_of_cells
from anotwin.compare.score import comparison
from anotwin.compare.side_by_side import light
from anotwin.errors import SettingsError
from anotwin.methods.adversary import adam, optimise, set_rates
from anotwin.methods.flows import (
    COARSE,
    MOTION,
    Motion,
    Ways,
    clips_of,
    deviation,
    differs,
    half_of,
    mirrored,
    motion_loss,
    silhouettes_of,
    ways_loss,
)
from anotwin.methods.losses import hinge_loss
from anotwin.methods.networks import Critique
from anotwin.methods.protocol import NO_CONTEXT, Method, device_of, freeze
from anotwin.methods.restoring import folded_unets
from anotwin.methods.scoring import one_pass
from anotwin.methods.spotter import SHORT, Spotter, forwards, planted_intruders, spotter_loss
from anotwin.methods.unet import PatchDiscriminator, UNet
from anotwin.records import Batch, Comparison, Counterpart, ImageSpec
from anotwin.settings import Settings
from anotwin.training.protocol import Backward, TrainingSet

INTENSITY, GRADIENT, ADVERSARIAL = 1.0, 1.0, 0.02
LEARNING_RATE = 3e-3
SMOOTH = 0.02  # of the side: a step of a walker is no intruder
RIM = 0.03  # of the side: who comes in there cannot be predicted, and the flow knows nothing of him
EVIDENCE = ("error", "way", "motion", "standing", "spotted")
WAYS = "ways", "other_ways"  # W and W'
REMEMBERED = 2048  # training frames that tell what is usual


class Norms(nn.Module):
    """What training normals show at each place."""

    level: torch.Tensor  # (J, S / 8, S / 8) > 0, `Usual.level`
    tail: torch.Tensor  # (J,) > 0, `Usual.tail`

    def __init__(self, spec: ImageSpec) -> None:
        super().__init__()
        cells = spec.size // (COARSE * CELL)
        self.register_buffer("level", torch.ones(len(EVIDENCE), cells, cells))
        self.register_buffer("tail", torch.ones(len(EVIDENCE)))


class Frames:
    """See the module. `networks` holds "generator" (G), "motion" (M), "ways" (W), "other_ways" (W'), "spotter" (P),
    "discriminator" (D), "norms"."""

    name: ClassVar[str] = "frames"
    looks_back: ClassVar[int] = SHORT + 2

    def __init__(self, spec: ImageSpec, settings: Settings) -> None:
        self.spec = spec
        self.settings = settings
        base, channels = settings.networks.base_channels or 16, spec.channels
        self.norms, self.generator, self.motion = Norms(spec), Predictor(channels, base), Motion(channels, base // 2)
        self.ways = Ways(base // 4), Ways(base // 4)
        self.spotter = Spotter(channels, spec.size, max(1, base // 2))
        self.networks = nn.ModuleDict(
            {
                "generator": self.generator,
                "motion": self.motion,
                **dict(zip(WAYS, self.ways, strict=True)),
                "spotter": self.spotter,
                "discriminator": PatchDiscriminator(channels, base, settings.networks.feature_layer),
                "norms": self.norms,
            }
        )
        freeze(self.networks)

    def trainer(self) -> FramesTrainer:
        return FramesTrainer(self)

    def for_inference(self) -> Method:
        return folded_unets(self)

    def counterpart(self, batch: Batch) -> Counterpart:
        """The predicted frames; `latents` are the evidence (B, J - 1, S / 2, S / 2) that needs no counterpart."""
        before = context_of(batch).to(device_of(self.networks))
        images = batch.images.to(before.device)
        learnt_by = [None] * len(images) if batch.when is None else half_of(batch.when).tolist()
        seen = [
            self._seen(image[None], frames[None], half)
            for image, frames, half in zip(images, before, learnt_by, strict=True)
        ]
        predicted = [self.networks["generator"](frames[None]) for frames in before]
        return one_pass(images, lambda _images: torch.cat(seen), lambda _codes: torch.cat(predicted))

    def _seen(self, image: torch.Tensor, before: torch.Tensor, learnt_by: int | None) -> torch.Tensor:
        """What is to be seen without a counterpart in one frame (1, C, S, S): (1, J - 1, S / 2, S / 2) >= 0.

        `learnt_by`: 0 or 1 of a frame that W or W' has learnt from: the other one is asked.
        """
        flow, ground = clips_of(image, before).flow, reduced(self.spotter.background, COARSE)
        small = reduced(seconds_back(image, before), COARSE)
        silhouettes = silhouettes_of(small, ground)
        asked = WAYS if learnt_by is None else WAYS[1 - learnt_by : 2 - learnt_by]
        ways = [deviation(self.networks[name](silhouettes), flow, silhouettes) for name in asked]
        way = torch.stack(ways).amin(0)
        unusual = (flow - self.networks["motion"](image)).square().sum(1, keepdim=True).sqrt()
        moving = _within(torch.cat([way, unusual], 1)) * differs(image, before)
        still = standing(small, ground)
        spotted = reduced(F.softplus(self.networks["spotter"](in_order(image, before))), COARSE) * forwards(before)
        return _smooth(torch.cat([moving, still[:, None], spotted], 1))

    def compare(self, queries: torch.Tensor, counterpart: Counterpart) -> Comparison:
        queries, seen = queries.to(counterpart.images.device), counterpart.latents
        assert seen is not None
        evidence = torch.cat([_error(queries, counterpart.images), seen], 1)
        usual = Usual(self.norms.level, self.norms.tail)
        # each frame by itself: vectorised kernels round otherwise at the end of an array
        rare = torch.cat([rarity(each[None], usual) for each in evidence])
        heat, highest = rare.square().sum(1).sqrt(), rare.flatten(2).amax(2)  # (B, S / 2, S / 2), (B, J)
        return comparison(
            queries,
            counterpart.images,
            residual=highest[:, 0],
            discrimination=highest[:, 1:].amax(1),
            total=heat.flatten(1).amax(1),
            query_logits=self.critique(queries).logits,
            settings=self.settings.compare,
            heat=F.interpolate(heat[:, None], queries.shape[-2:], mode="bilinear", align_corners=False)[:, 0],
        )

    def critique(self, images: torch.Tensor) -> Critique:
        images = images.to(device_of(self.networks))
        with torch.no_grad():
            found = [self.networks["discriminator"](image[None]) for image in images]
        logits, features = (
            torch.cat(each) for each in zip(*((one.logits, one.features) for one in found), strict=True)
        )
        return Critique(logits.mean((1, 2, 3)), features.mean((2, 3)))

    def remember_normals(self, normals: TrainingSet) -> None:
        """What is usual at each place, from training frames evenly spaced, and the background: their median."""
        device = device_of(self.networks)
        numbers = np.unique(np.linspace(0, len(normals) - 1, min(REMEMBERED, len(normals))).astype(np.int64))
        some = normals.batch(numbers[:: -(-len(numbers) // 64)]).images
        self.spotter.background.copy_(some.median(0).values.to(device))
        cells, new = [], []
        for part in np.array_split(numbers, -(-len(numbers) // 8)):
            batch = normals.batch(part).to(device)
            found = self.counterpart(batch)
            assert found.latents is not None
            cells.append(highest_of_cells(torch.cat([_error(batch.images, found.images), found.latents], 1)))
            new.append(differs(batch.images, context_of(batch)).flatten() > 0)
        highest, moves = torch.cat(cells).cpu(), torch.cat(new).cpu()
        usual = usual_of_cells(highest[moves] if moves.any() else highest)  # repeated frames show no motion
        self.norms.level.copy_(usual.level)
        self.norms.tail.copy_(usual.tail)


class Predictor(nn.Module):
    """G: frames (B, T, C, S, S) before another -> the other (B, C, S, S) in [-1, 1]."""

    def __init__(self, channels: int, base: int) -> None:
        super().__init__()
        self.unet: nn.Module = UNet(SHORT * channels, channels, base)

    def forward(self, before: torch.Tensor) -> torch.Tensor:
        last = next_to(before)
        stack = last.flatten(1, 2)  # (B, SHORT C, S, S)
        mean, spread = light(stack)
        change = self.unet((stack - mean) / spread).maps.float()
        predicted: torch.Tensor = last.mean(1) + spread * change
        return predicted.clamp(-1, 1)


def next_to(before: torch.Tensor) -> torch.Tensor:
    """Of the frames before queries (B, T, C, S, S) those that follow each other up to it: (B, SHORT, C, S, S).

    Those in front of them are some seconds back; the one after them is the frame before as it came.
    """
    return before[:, -SHORT - 1 : -1]


def in_order(images: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """v: frames some seconds back and next to images (B, C, S, S), and these: (B, T, C, S, S)."""
    return torch.cat([before[:, :-1], images[:, None]], 1)


def seconds_back(images: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """Frames some seconds back, and images (B, C, S, S): (B, T - SHORT, C, S, S)."""
    return torch.cat([before[:, : -SHORT - 1], images[:, None]], 1)


def context_of(batch: Batch) -> torch.Tensor:
    """The frames before (B, T, C, S, S); raises SettingsError for images that have none."""
    if batch.context is None:
        raise SettingsError(NO_CONTEXT.format(method=Frames.name, view="of single images"))
    return batch.context


def _error(images: torch.Tensor, counterparts: torch.Tensor) -> torch.Tensor:
    """|x - c| of (B, C, S, S) twice, pixels in [0, 1]: (B, 1, S / 2, S / 2), smoothed."""
    return _smooth(_within(reduced((images - counterparts).abs().mean(1, keepdim=True) / 2, COARSE)))


def _smooth(maps: torch.Tensor) -> torch.Tensor:
    return smoothed(maps, SMOOTH * maps.shape[-1])


def _within(maps: torch.Tensor) -> torch.Tensor:
    """Nothing at the rim."""
    rim, (height, width) = round(RIM * maps.shape[-1]), maps.shape[-2:]
    inside = maps[..., rim : height - rim, rim : width - rim]
    return F.pad(inside, [rim] * 4)


class FramesTrainer:
    """D, then G, M, W and P."""

    def __init__(self, method: Frames) -> None:
        self.settings = settings = method.settings.training
        self.motion, self.ways, self.spotter = method.motion, method.ways, method.spotter
        self.networks = nn.ModuleDict(
            {name: method.networks[name] for name in ("generator", "motion", *WAYS, "spotter", "discriminator")}
        )
        self.networks.train().requires_grad_(True)
        self.rates = dict.fromkeys(("generator", "motion", *WAYS, "spotter"), settings.learning_rate or LEARNING_RATE)
        self.rates["discriminator"] = 0.1 * self.rates["generator"]
        self.optimizers = {name: adam(self.networks[name], settings, rate) for name, rate in self.rates.items()}

    def step(self, batch: Batch, step: int, rng: torch.Generator, backward: Backward) -> dict[str, torch.Tensor]:
        set_rates(self.optimizers, self.rates, step, self.settings.steps)
        clips, spotter = clips_of(batch.images, context_of(batch)), self.spotter
        mirror = mirrored(clips, rng)
        x, before = mirror.images, mirror.before
        g, d = self.networks["generator"], self.networks["discriminator"]
        spread = light(next_to(before).flatten(1, 2))[1]
        c = g(before)

        # D: min max(0, 1 - D(x)) + max(0, 1 + D(c))
        loss_d = hinge_loss(d(x).logits, d(c.detach()).logits)
        optimise(self.optimizers["discriminator"], loss_d, backward)

        # G: min l_int w |c - x| / s + l_gd |grad c - grad x| / s - l_adv D(c)
        w = 1 + MOTION * ((x - before[:, -1]).abs() / spread).clamp(max=1)
        loss_int = (w * (c - x).abs() / spread).mean()
        loss_gd = sum((((c - x).diff(dim=axis)).abs() / spread).mean() for axis in (2, 3))
        d.requires_grad_(False)
        loss_g = -d(c).logits.mean()
        d.requires_grad_(True)
        loss = INTENSITY * loss_int + GRADIENT * loss_gd + ADVERSARIAL * loss_g
        optimise(self.optimizers["generator"], loss, backward)

        # M: min v |m - f|
        loss_m = motion_loss(self.motion, mirror, rng)
        optimise(self.optimizers["motion"], loss_m, backward)

        # W, W': min o (|f - u| / b + log b), never mirrored: a way is another one in a mirror
        spotter.follow(clips.images, step)
        small = reduced(seconds_back(clips.images, clips.before), COARSE)
        o = silhouettes_of(small, reduced(spotter.background, COARSE)) * differs(clips.images, clips.before)
        loss_w = self._learn_ways(o, clips.flow, batch.when, rng, backward)

        # P: min S(p, where intruders were planted)
        order, kept = in_order(clips.images, clips.before), forwards(clips.before)
        planted = planted_intruders(order[kept] if kept.any() else order, spotter.background, rng)
        loss_p = spotter_loss(spotter, planted)
        optimise(self.optimizers["spotter"], loss_p, backward)
        losses = {"loss_int": loss_int, "loss_gd": loss_gd, "loss_d": loss_d, "loss_g": loss_g}
        losses |= {"loss_m": loss_m, "loss_w": loss_w, "loss_p": loss_p}
        return {name: value.detach() for name, value in losses.items()}

    def _learn_ways(
        self,
        o: torch.Tensor,
        flow: torch.Tensor,
        when: torch.Tensor | None,
        rng: torch.Generator,
        backward: Backward,
    ) -> torch.Tensor:
        """W and W' each from its half of the footage, or from all where frames have no time; their losses, added."""
        losses = [o.new_zeros(())]
        for number, (name, network) in enumerate(zip(WAYS, self.ways, strict=True)):
            own = torch.ones(len(o), dtype=torch.bool, device=o.device) if when is None else half_of(when) == number
            if own.sum() > 1:  # batch norm needs two
                losses.append(ways_loss(network, o[own], flow[own], rng))
                optimise(self.optimizers[name], losses[-1], backward)
        return torch.stack([loss.detach() for loss in losses]).sum()

    def preview(self, batch: Batch) -> torch.Tensor:
        """Frames of one half of the batch and, below, what was predicted in their place."""
        half, generator = batch.rows(slice((len(batch) + 1) // 2)), self.networks["generator"].eval()
        with torch.no_grad():
            counterparts = generator(context_of(half))
        generator.train()
        return torch.cat([half.images, counterparts])[: len(batch)]
