"""Every method by its name. A new method is one file and one entry here."""

from __future__ import annotations

from typing import Any

import torch

from anotwin.errors import SettingsError, did_you_mean
from anotwin.methods.acae import ACAE
from anotwin.methods.anogan import AnoGAN
from anotwin.methods.cyclegan import CycleGAN
from anotwin.methods.fanogan import FAnoGAN
from anotwin.methods.frames import Frames
from anotwin.methods.pix2pix import Pix2Pix
from anotwin.methods.protocol import Method
from anotwin.methods.srgan import SRGAN
from anotwin.methods.twin import Twin
from anotwin.records import ImageSpec
from anotwin.seeding import drawing_weights
from anotwin.settings import Settings

METHODS: dict[str, type[Method]] = {
    "acae": ACAE,
    "anogan": AnoGAN,
    "cyclegan": CycleGAN,
    "fanogan": FAnoGAN,
    "frames": Frames,
    "pix2pix": Pix2Pix,
    "srgan": SRGAN,
    "twin": Twin,
}
# where the user has set nothing else: sections of the settings, with what a method needs that others do not
OWN: dict[str, dict[str, dict[str, Any]]] = {
    name: {"training": {"steps": 2400, "batch_size": 16}} for name in ("pix2pix", "srgan")
} | {
    "cyclegan": {"training": {"steps": 3000, "batch_size": 4, "ema": 0.99}, "networks": {"base_channels": 24}},
    "frames": {
        "data": {"holdout_most": 5000},  # alarms an hour need footage, and a frame takes 40 ms
        "training": {"steps": 3000, "batch_size": 8},
        "search": {"batch_size": 8},
    },
}


def create(name: str, spec: ImageSpec, settings: Settings) -> Method:
    """An untrained method, its weights drawn from the seed of training; raises SettingsError for an unknown name."""
    if name not in METHODS:
        raise SettingsError(f"no method {name!r}, there are {', '.join(sorted(METHODS))}{did_you_mean(name, METHODS)}")
    with drawing_weights(settings.training.seed, "weights"):
        return METHODS[name](spec, settings)


def own_settings(name: str) -> dict[str, dict[str, Any]]:
    """What a method sets where the user has not, by section."""
    return OWN.get(name, {})


def expected_tensors(
    method: str, spec: ImageSpec, settings: Settings
) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """Names, shapes and types of the tensors that a method has for a spec and settings; allocates nothing."""
    with torch.device("meta"):
        state = create(method, spec, settings).networks.state_dict()
    return {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in state.items()}
