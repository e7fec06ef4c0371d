"""What the tests of single training steps share."""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
from torch import nn

from anotwin.methods.protocol import Method
from anotwin.methods.registry import create
from anotwin.records import Batch, ImageSpec
from anotwin.seeding import generator
from anotwin.settings import Settings
from anotwin.training.protocol import Trainer

SMALL = ("networks.base_channels=4", "networks.latent_dim=6", "training.batch_size=8", "search.steps=3")
State = dict[str, dict[str, torch.Tensor]]


def untrained(name: str, *overrides: str, channels: int = 1, parts: bool = False) -> Method:
    torch.manual_seed(0)
    return create(name, ImageSpec(channels, 16, parts=parts), Settings().with_overrides([*SMALL, *overrides]))


def batch(count: int = 8, channels: int = 1, seed: int = 0) -> torch.Tensor:
    """Smooth random images in [-1, 1]."""
    coarse = torch.rand(count, channels, 4, 4, generator=generator(seed, "test images")) * 2 - 1
    return torch.nn.functional.interpolate(coarse, size=16, mode="bilinear")


def backward(loss: torch.Tensor) -> None:
    loss.backward()


def state(networks: nn.ModuleDict) -> State:
    """Weights and statistics of each network, copied."""
    return {name: copy.deepcopy(dict(network.state_dict())) for name, network in networks.items()}


def changed(before: State, after: State) -> set[str]:
    """The networks of which anything is different."""
    return {name for name, old in before.items() if any(not torch.equal(old[key], after[name][key]) for key in old)}


def parameters_changed(networks: nn.ModuleDict, before: State) -> set[str]:
    """The networks whose weights are different, running statistics aside."""
    return {
        name
        for name, network in networks.items()
        if any(not torch.equal(before[name][key], value) for key, value in network.named_parameters())
    }


def assert_same_weights(ours: nn.Module, theirs: nn.Module) -> None:
    """Equal up to rounding, but for biases in front of a batch norm, which takes them away again: their gradient is
    nothing but rounding, and Adam makes whole steps of it."""
    pairs = pairwise(theirs.named_modules())
    dead = {f"{name}.bias" for (name, _), (_, following) in pairs if isinstance(following, nn.BatchNorm2d)}
    expected = theirs.state_dict()
    for name, value in ours.state_dict().items():
        if name not in dead:
            close = 1e-4 if name.endswith("running_mean") else 2e-6  # the mean takes up such a bias
            assert torch.allclose(value.float(), expected[name].float(), atol=close), name


def stop(trainer: Trainer, name: str) -> None:
    """Let one optimiser stand still."""
    for group in trainer.optimizers[name].param_groups:
        group["lr"] = 0.0


def steps(trainer: Trainer, images: torch.Tensor, count: int, same_noise: bool = True) -> list[dict[str, float]]:
    """Some steps on one batch, with the same noise each time unless told otherwise."""
    rows = []
    for step in range(count):
        logged = trainer.step(Batch(images), step, generator(0, "test step", 0 if same_noise else step), backward)
        rows.append({name: float(value) for name, value in logged.items()})
    return rows
