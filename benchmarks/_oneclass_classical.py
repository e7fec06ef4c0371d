"""Methods without a network, from pixels in [0, 1]: each learns from (M, P) normal images and then scores (N, P)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import NearestNeighbors

from _common import Floats
from anotwin.compare.blend import blend_distance
from anotwin.compare.edges import edge_directions
from anotwin.methods import twin
from anotwin.settings import NetworkSettings

NEIGHBOURS = 5
COMPONENTS = 60
SHORT = 0.5  # seconds: what takes less is timed three times, and the least counts

Score = Callable[[Floats], Floats]  # pixels (N, P) -> scores (N,), higher for abnormal images
Maker = Callable[[Floats, int], Score]  # training pixels (M, P), seed


def nearest(training: Floats, seed: int = 0) -> Score:
    """Mean distance to the 5 nearest training images."""
    del seed  # nothing random
    neighbours = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(training)
    return lambda queries: np.asarray(neighbours.kneighbors(queries)[0].mean(axis=1))


def reconstruction(training: Floats, seed: int = 0) -> Score:
    """Squared error of what the first principal components leave; half of all components where those are fewer."""
    pca = PCA(min(COMPONENTS, min(training.shape) // 2), random_state=seed).fit(training)

    def scores(queries: Floats) -> Floats:
        return np.asarray(np.square(queries - pca.inverse_transform(pca.transform(queries))).sum(axis=1))

    return scores


def forest(training: Floats, seed: int = 0) -> Score:
    """Isolation forest; scikit-learn's score is higher for normal images."""
    trees = IsolationForest(random_state=seed).fit(training)
    return lambda queries: np.asarray(-trees.score_samples(queries))


def edges(training: Floats, seed: int = 0) -> Score:
    """Distance to the blend of the nearest training images by where edges run: twin's D(x) without a network."""
    del seed  # nothing random
    memory = _edges(training)[: NetworkSettings().rows_for("whole")]
    return lambda queries: (
        blend_distance(_edges(queries), memory, twin.NEIGHBOURS, twin.RIDGE).distance.double().numpy()
    )


def _edges(pixels: Floats) -> torch.Tensor:
    """Edge directions (N, 512) of square grey images (N, P), in the size in which twin sees them."""
    side = math.isqrt(pixels.shape[1])
    images = torch.from_numpy(pixels).float().view(-1, 1, side, side)
    size = 16 * math.ceil(side / 16)
    parts = torch.split(F.interpolate(images, (size, size), mode="bilinear", antialias=True), 1000)
    return torch.cat([edge_directions(part) for part in parts])


CLASSICAL: Mapping[str, Maker] = {
    "kNN": nearest,
    "PCA": reconstruction,
    "isolation forest": forest,
    "edges": edges,
}


def timed(function: Callable[[], Floats]) -> tuple[Floats, float]:
    """What it returns, and its seconds: the least of three calls where one is short."""
    seconds: list[float] = []
    while len(seconds) < 3 and (not seconds or seconds[0] < SHORT):
        began = time.perf_counter()
        value = function()
        seconds.append(time.perf_counter() - began)
    return value, min(seconds)
