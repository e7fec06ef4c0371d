"""PyOD's detectors on flattened pixels in [0, 1], each with its own defaults.

PyOD's ``decision_function`` is higher for abnormal samples in all of them. Only epochs, and where that does not do
images, may be fewer: PyOD takes no time limit, so short fits on a few images say how many fit into the minutes given.
ALAD and AnoGAN are scored as PyOD scores them: ALAD's dropout stays on, and AnoGAN, which searches for training images
only, compares every query with one and the same generated image.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from inspect import signature
from typing import Any

import numpy as np

from benchmarks.oneclass.peers.outcome import Array, Fitted

TRIAL_IMAGES = 64  # two batches of PyOD's default size
TRIAL_EPOCHS = (1, 4)
LEAST_EPOCHS = 10


@dataclass(frozen=True)
class Recipe:
    """Where a detector lives and which of its arguments are ours; all others keep their defaults."""

    module: str
    name: str
    epochs: str | None = None  # its argument for the epochs, if an epoch is a pass over the training images
    seed: str | None = "random_state"
    features: str | None = None  # its argument for the number of features


RECIPES = {
    "KNN": Recipe("pyod.models.knn", "KNN", seed=None),
    "PCA": Recipe("pyod.models.pca", "PCA"),
    "IForest": Recipe("pyod.models.iforest", "IForest"),
    "AutoEncoder": Recipe("pyod.models.auto_encoder", "AutoEncoder", epochs="epoch_num"),
    "VAE": Recipe("pyod.models.vae", "VAE", epochs="epoch_num"),
    "DeepSVDD": Recipe("pyod.models.deep_svdd", "DeepSVDD", epochs="epochs", features="n_features"),
    "ALAD": Recipe("pyod.models.alad", "ALAD", seed=None),  # its 200 "epochs" are 200 batches: seconds
    "AnoGAN": Recipe("pyod.models.anogan", "AnoGAN", epochs="epochs", seed=None),
}


def vectors(images: Array) -> Array:
    """(N, H, W) uint8 -> (N, H * W) in [0, 1]."""
    return images.reshape(len(images), -1).astype(np.float64) / 255


@dataclass(frozen=True)
class Effort:
    """How much of what PyOD would do by default is done."""

    epochs: int
    images: int


def ready(recipe: Recipe, train: Array, seed: int, minutes: float) -> Callable[[], Fitted]:
    """The call that trains; what is not training (imports, trial fits) is done before it."""
    data = vectors(train)
    default = _defaults(recipe)
    epochs, note = default, "its defaults"
    if default is not None:
        effort = _affordable(recipe, data, seed, minutes, default)
        epochs, note = effort.epochs, _note(effort, default, len(data))
        data = data[np.sort(np.random.default_rng(seed).permutation(len(data))[: effort.images])]

    def fit() -> Fitted:
        detector = _detector(recipe, data.shape[1], seed, epochs)
        detector.fit(data)
        return Fitted(lambda images: np.asarray(detector.decision_function(vectors(images))), note)

    return fit


def _note(effort: Effort, epochs: int, images: int) -> str:
    less = [f"{effort.epochs} of {epochs} epochs"] if effort.epochs < epochs else []
    less += [f"{effort.images} of {images} images"] if effort.images < images else []
    return f"its defaults, but for want of time {' on '.join(less)}" if less else "its defaults"


def _affordable(recipe: Recipe, data: Array, seed: int, minutes: float, default: int) -> Effort:
    few = data[:TRIAL_IMAGES]

    def trial(epochs: int) -> float:
        detector = _detector(recipe, few.shape[1], seed, epochs)
        began = time.perf_counter()
        detector.fit(few)
        return time.perf_counter() - began

    trial(1)  # the first call of anything is slow
    low, high = TRIAL_EPOCHS
    return effort_within(60 * minutes, (trial(low), trial(high)), Effort(default, len(data)), len(few))


def effort_within(budget: float, trials: tuple[float, float], default: Effort, sample: int) -> Effort:
    """The epochs that fit into `budget` seconds, and fewer images where not even `LEAST_EPOCHS` do.

    `trials` are the seconds of a fit on `sample` images, for each number of `TRIAL_EPOCHS`; they grow with the images.
    A fit costs something besides its epochs, which counts too: PyOD scores all training images at its end, and AnoGAN
    searches for each of them.
    """
    low, high = TRIAL_EPOCHS
    epoch = max((trials[1] - trials[0]) / (high - low), 1e-6)  # noise on a loaded machine may turn the sign
    rest = max(trials[0] - low * epoch, 0.0)
    least = min(LEAST_EPOCHS, default.epochs)
    images = int(np.clip(budget * sample / (rest + least * epoch), min(sample, default.images), default.images))
    epochs = int(np.clip((budget * sample / images - rest) / epoch, least, default.epochs))
    return Effort(epochs, images)


def _defaults(recipe: Recipe) -> int | None:
    """PyOD's own number of epochs, None where there is nothing to limit; imports the detector in any case."""
    made = signature(_class(recipe))
    return None if recipe.epochs is None else int(made.parameters[recipe.epochs].default)


def _detector(recipe: Recipe, features: int, seed: int, epochs: int | None) -> Any:
    own = {recipe.epochs: epochs, recipe.seed: seed, recipe.features: features}
    return _class(recipe)(**{name: value for name, value in own.items() if name is not None})


def _class(recipe: Recipe) -> Any:
    return getattr(import_module(recipe.module), recipe.name)
