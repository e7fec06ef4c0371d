"""Methods without a network, from pixels in [0, 1]: each learns from (M, P) normal images and then scores (N, P)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.ensemble import IsolationForest

from anotwin.compare.edges import edge_directions
from anotwin.compare.neighbours import reconstruction_distance
from anotwin.methods import twin
from anotwin.settings import NetworkSettings
from benchmarks.common.classical import Score, nearest, reconstruction
from benchmarks.common.rows import Floats
from benchmarks.common.script import timed

NEIGHBOURS = 5
COMPONENTS = 60
SHORT = 0.5  # seconds: what takes less is timed three times, and the least counts

Maker = Callable[[Floats, int], Score]  # training pixels (M, P), seed


def forest(training: Floats, seed: int = 0) -> Score:
    """Isolation forest; scikit-learn's score is higher for normal images."""
    trees = IsolationForest(random_state=seed).fit(training)
    return lambda queries: np.asarray(-trees.score_samples(queries))


def edges(training: Floats, seed: int = 0) -> Score:
    """twin's D(x) without a network: distance to the reconstruction from the nearest edge directions in training."""
    del seed  # nothing random
    memory = _edges(training)[: NetworkSettings().memory_for(False)]
    return lambda queries: (
        reconstruction_distance(_edges(queries), memory, twin.NEIGHBOURS, twin.RIDGE).distance.double().numpy()
    )


def _edges(pixels: Floats) -> torch.Tensor:
    """Edge directions (N, 512) of square grey images (N, P), in the size that twin takes."""
    side = math.isqrt(pixels.shape[1])
    images = torch.from_numpy(pixels).float().view(-1, 1, side, side)
    size = 16 * math.ceil(side / 16)
    parts = torch.split(F.interpolate(images, (size, size), mode="bilinear", antialias=True), 1000)
    return torch.cat([edge_directions(part) for part in parts])


CLASSICAL: Mapping[str, Maker] = {
    "kNN": lambda training, _seed: nearest(training, NEIGHBOURS),
    "PCA": lambda training, seed: reconstruction(training, COMPONENTS, seed),
    "isolation forest": forest,
    "edges": edges,
}


def least_time(function: Callable[[], Floats]) -> tuple[Floats, float]:
    """What it returns, and its seconds: the least of three calls where one is short."""
    seconds: list[float] = []
    while len(seconds) < 3 and (not seconds or seconds[0] < SHORT):
        value, spent = timed(function)
        seconds.append(spent)
    return value, min(seconds)
