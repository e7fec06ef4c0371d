"""Methods without a network that several benchmarks have: each learns from (M, P) normal vectors and scores (N, P)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from benchmarks.common.rows import Floats

Score = Callable[[Floats], Floats]  # vectors (N, P) -> scores (N,), higher for abnormal ones


def nearest(training: Floats, neighbours: int, algorithm: Literal["auto", "brute"] = "auto") -> Score:
    """Mean distance to the nearest training vectors."""
    known = NearestNeighbors(n_neighbors=neighbours, algorithm=algorithm).fit(training)
    return lambda queries: np.asarray(known.kneighbors(queries)[0].mean(axis=1))


def reconstruction(training: Floats, components: int, seed: int = 0) -> Score:
    """Squared error of what the first principal components leave; half of all components where those are fewer."""
    pca = PCA(min(components, min(training.shape) // 2), random_state=seed).fit(training)
    return lambda x: np.asarray(np.square(x - pca.inverse_transform(pca.transform(x))).sum(axis=1))
