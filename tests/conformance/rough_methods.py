"""Methods whose weights are anything but fresh, without a training worth the name."""

from __future__ import annotations

from functools import cache
from itertools import product

import torch

from anotwin import Settings
from anotwin.methods.protocol import Method, freeze
from anotwin.methods.registry import create
from anotwin.records import Batch, ImageSpec
from anotwin.seeding import generator

ROUGH = (
    "networks.base_channels=8",
    "networks.latent_dim=16",
    "training.steps=4",
    "search.steps=12",
    "search.learning_rate=0.1",
    "translation.patch=16",  # the largest that fits squares of 16 pixels
)
SPECS = [ImageSpec(channels, size) for size, channels in product((16, 32), (1, 3))]
PARTS = ImageSpec(1, 16, view="retina", parts=True)


@cache
def rough(name: str, spec: ImageSpec, *overrides: str) -> Method:
    """A method after four steps on noise: every weight and statistic is far from its start, nothing is learnt."""
    torch.manual_seed(0)
    method = create(name, spec, Settings().with_overrides([*ROUGH, *overrides]))
    trainer = method.trainer()
    for step in range(4):
        batch = training_batch(noise(spec, 8, seed=step))
        trainer.step(batch, step, generator(0, "rough", step), lambda loss: loss.backward())
    freeze(method.networks)
    return method


def training_batch(images: torch.Tensor) -> Batch:
    """Images to train on; the abnormal ones, which most methods do not look at, are those with a dark bar each."""
    abnormal = images.clone()
    abnormal[..., 4:7, 2:12] = -1
    return Batch(images, abnormal=abnormal)


def noise(spec: ImageSpec, count: int, seed: int = 99) -> torch.Tensor:
    shape = (count, spec.channels, spec.size, spec.size)
    return torch.rand(shape, generator=generator(seed, "noise")) * 2 - 1
