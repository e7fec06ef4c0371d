"""Relative differences: divided by the contrast of the query, or between unit vectors.

A thin digit can differ from its counterpart in few pixels only, and a bold one differs in many even when it is normal.
Dividing by the query's contrast makes the two comparable. Higher is more abnormal; black, flat or feature-less images
give finite numbers, because divisors have a lower limit.
"""

from __future__ import annotations

import math

import torch

MIN_CONTRAST = 0.01  # of the pixel range: a contrast (r.m.s.) below it counts as this much
MIN_LENGTH = 1e-6  # a feature vector shorter than this counts as this long


def relative_square(queries: torch.Tensor, counterparts: torch.Tensor) -> torch.Tensor:
    """|x - y|^2 / |x - mean x|^2: (B, C, S, S) twice -> (B,) >= 0; 1: no better than a flat grey. Differentiable.

    >>> relative_square(torch.tensor([[[[-1.0, 1.0]]]]), torch.tensor([[[[0.0, 1.0]]]])).tolist()
    [0.5]
    """
    flat = (queries - queries.mean((1, 2, 3), keepdim=True)).flatten(1)
    contrast = (_length(flat) / math.sqrt(flat.shape[1])).clamp_min(2 * MIN_CONTRAST)  # root mean square
    return (queries - counterparts).square().flatten(1).mean(1) / contrast.square()


def unit_features(features: torch.Tensor) -> torch.Tensor:
    """f / |f|, the direction of features (B, F); zeros stay zeros."""
    return features / _length(features).clamp_min(MIN_LENGTH)[:, None]


def cosine_distance(query_features: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """1 - cos(f(x), f(y)): (B, F) twice -> (B,) in [0, 2]; exactly 0 for equals, 1/2 where one of the two is zero.

    Computed as half the squared distance of the unit vectors, which keeps its digits where the two are nearly parallel.

    >>> cosine_distance(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 5.0]])).tolist()
    [1.0]
    """
    return (unit_features(query_features) - unit_features(features)).square().sum(1) / 2


def _length(vectors: torch.Tensor) -> torch.Tensor:
    length: torch.Tensor = torch.linalg.vector_norm(vectors, dim=1)
    return length  # its gradient at zero is zero, that of sqrt(sum) is NaN
