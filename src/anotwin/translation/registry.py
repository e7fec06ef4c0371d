"""Every translation method by its name. A new method is one file, an entry here, and its layout in kinds.py."""

from __future__ import annotations

from typing import Any

import torch

from anotwin.errors import SettingsError, did_you_mean
from anotwin.seeding import drawing_weights
from anotwin.settings import Settings
from anotwin.translation.cyclegan import CycleGAN
from anotwin.translation.pix2pix import Pix2Pix
from anotwin.translation.protocol import TranslationMethod, TranslationSpec, TranslationTrainer
from anotwin.translation.srgan import SRGAN

METHODS: dict[str, type[TranslationMethod]] = {"cyclegan": CycleGAN, "pix2pix": Pix2Pix, "srgan": SRGAN}
# where the user has set nothing else: sections of the settings, with what a method needs that others do not
OWN: dict[str, dict[str, dict[str, Any]]] = {
    "cyclegan": {
        "training": {"steps": 6000, "batch_size": 4, "ema": 0.99},
        "networks": {"base_channels": 24},
    },
    "pix2pix": {
        "training": {"steps": 2000, "batch_size": 4, "ema": 0.99},
        "networks": {"base_channels": 24},
    },
    "srgan": {
        "data": {"image_size": 128},  # a reduced square of 16 pixels would be nothing but border
        "training": {"steps": 4000, "batch_size": 8, "ema": 0.99},
        "networks": {"base_channels": 32},
        "translation": {"mirror": True, "turn": True},  # detail looks alike from every side
    },
}


def create(name: str, spec: TranslationSpec, settings: Settings) -> TranslationMethod:
    """An untrained method, its weights drawn from the seed of training; raises SettingsError for an unknown name."""
    if name not in METHODS:
        known = ", ".join(sorted(METHODS))
        raise SettingsError(f"no translation method {name!r}, there are {known}{did_you_mean(name, METHODS)}")
    with drawing_weights(settings.training.seed, "weights"):
        return METHODS[name](spec, settings)


def begin_training(method: TranslationMethod) -> TranslationTrainer:
    """The method's trainer; what it has besides the method, discriminators, is drawn from the seed of training too."""
    with drawing_weights(method.settings.training.seed, "weights of training"):
        return method.trainer()


def own_settings(name: str) -> dict[str, dict[str, Any]]:
    """What a method sets where the user has not, by section."""
    return OWN.get(name, {})


def expected_tensors(
    method: str, spec: TranslationSpec, settings: Settings
) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """Names, shapes and types of the tensors that a method has for a spec and settings; allocates nothing."""
    with torch.device("meta"):
        state = create(method, spec, settings).networks.state_dict()
    return {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in state.items()}
