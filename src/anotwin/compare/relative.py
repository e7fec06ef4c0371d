"""Residuals measured by what there is: an image with little ink has little to be wrong about.

A thin digit can differ from its counterpart in few pixels only, and a bold one differs in many even when it is normal.
Dividing by what the query (or both images) hold makes the two comparable. All functions are vectors over the batch,
higher is more abnormal, and black, flat or feature-less images give finite numbers: what counts as next to nothing is
taken as that much.

What an image holds is its distance from its ground, the grey that stands for nothing: -1 where the background is
black, or `ground(queries)`, the query's own median, where it may be anything.
"""

from __future__ import annotations

import math

import torch

FAINT = 0.01  # of the pixel range: a mean (or r.m.s.) distance from the ground below it counts as this much
SILENT = 1e-6  # a feature vector shorter than this counts as this long


def ground(images: torch.Tensor) -> torch.Tensor:
    """The median of each image and channel (B, C, S, S) -> (B, C, 1, 1): the background of what is drawn on one."""
    return images.flatten(2).median(2).values[:, :, None, None]


def relative_l1(queries: torch.Tensor, counterparts: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
    """sum |x - y| / sum |x - level|: (B, C, S, S) twice -> (B,) in [0, 100], at most 1 / FAINT.

    `level` is the ground, (B, C, 1, 1) or a scalar tensor. 1: as wrong as an empty counterpart.

    >>> black, white = -torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2)
    >>> relative_l1(white, black, torch.tensor(-1.0)).tolist()
    [1.0]
    """
    return _mean(queries - counterparts) / _mean(queries - level).clamp_min(2 * FAINT)


def relative_l2(queries: torch.Tensor, counterparts: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
    """|x - y| / |x - level| in the Euclidean norm: (B, C, S, S) twice -> (B,) in [0, 100]; `level` as above."""
    return _rms(queries - counterparts) / _rms(queries - level).clamp_min(2 * FAINT)


def relative_square(queries: torch.Tensor, counterparts: torch.Tensor) -> torch.Tensor:
    """|x - y|^2 / |x - mean x|^2: (B, C, S, S) twice -> (B,) >= 0; 1: no better than a flat grey. Differentiable.

    >>> relative_square(torch.tensor([[[[-1.0, 1.0]]]]), torch.tensor([[[[0.0, 1.0]]]])).tolist()
    [0.5]
    """
    contrast = _rms(queries - queries.mean((1, 2, 3), keepdim=True)).clamp_min(2 * FAINT)
    return (queries - counterparts).square().flatten(1).mean(1) / contrast.square()


def shared_l1(queries: torch.Tensor, counterparts: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
    """sum |x - y| / (sum |x - level| + sum |y - level|), the Bray-Curtis distance of ink: -> (B,) in [0, 1].

    Symmetric in x and y for the same `level`. 1: no ink of the one lies on ink of the other.
    """
    ink = _mean(queries - level) + _mean(counterparts - level)
    return _mean(queries - counterparts) / ink.clamp_min(2 * FAINT)


def shared_l2(queries: torch.Tensor, counterparts: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
    """|x - y| / (|x - level| + |y - level|) in the Euclidean norm: (B, C, S, S) twice -> (B,) in [0, 1]; symmetric."""
    ink = _rms(queries - level) + _rms(counterparts - level)
    return _rms(queries - counterparts) / ink.clamp_min(2 * FAINT)


def unit_features(features: torch.Tensor) -> torch.Tensor:
    """f / |f|, the direction of features (B, F); zeros stay zeros."""
    return features / _length(features).clamp_min(SILENT)[:, None]


def cosine_distance(query_features: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """1 - cos(f(x), f(y)): (B, F) twice -> (B,) in [0, 2]; exactly 0 for equals, 1/2 where one of the two is zero.

    Computed as half the squared distance of the unit vectors, which keeps its digits where the two are nearly parallel.

    >>> cosine_distance(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 5.0]])).tolist()
    [1.0]
    """
    return (unit_features(query_features) - unit_features(features)).square().sum(1) / 2


def relative_features(query_features: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """|f(x) - f(y)| / |f(x)| in the Euclidean norm: (B, F) twice -> (B,) >= 0."""
    error = _length(query_features - features)
    return error / _length(query_features).clamp_min(SILENT)


def shared_features(query_features: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """|f(x) - f(y)| / (|f(x)| + |f(y)|) in the Euclidean norm: (B, F) twice -> (B,) in [0, 1]; symmetric."""
    both = _length(query_features) + _length(features)
    return _length(query_features - features) / both.clamp_min(SILENT)


def _mean(differences: torch.Tensor) -> torch.Tensor:
    return differences.abs().flatten(1).mean(1)


def _rms(differences: torch.Tensor) -> torch.Tensor:
    flat = differences.flatten(1)
    return _length(flat) / math.sqrt(flat.shape[1])


def _length(vectors: torch.Tensor) -> torch.Tensor:
    length: torch.Tensor = torch.linalg.vector_norm(vectors, dim=1)
    return length  # its gradient at zero is zero, that of sqrt(sum) is NaN
