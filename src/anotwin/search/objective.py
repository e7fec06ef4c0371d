"""The loss of the search: how far G(z) is from being the query's counterpart.

Paper: Schlegl et al. 2017 (1703.05921), section 2.2; code name = paper symbol:

    residual        R(z) = sum |x - G(z)|                          eq. 2
    discrimination  D(z) = sum |f(x) - f(G(z))|                    eq. 4, feature matching
                 or D(z) = sigmoid cross-entropy of D(G(z)) and 1  eq. 3, Yeh et al. 2016 (the paper's GAN_R)
    total           L(z) = (1 - lambda) R(z) + lambda D(z)         eq. 5

Pixels are in [-1, 1]; sums go over all pixels (and channels) and over all features of f. Everything is a vector over
the batch: the sum of it has a gradient in which no image sees another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F

Generate = Callable[[torch.Tensor], torch.Tensor]  # (B, Z) -> (B, C, S, S)
Critic = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]  # (B, C, S, S) -> logits (B,), features (B, F)


class Terms(NamedTuple):
    """The terms of L(z), one number an image."""

    total: torch.Tensor  # (B,)
    residual: torch.Tensor  # (B,)
    discrimination: torch.Tensor  # (B,)


Objective = Callable[[torch.Tensor], Terms]  # latents (B, Z) -> Terms


def residual_loss(queries: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """R(z), eq. 2: (B, C, S, S) twice -> (B,).

    >>> residual_loss(torch.ones(1, 1, 2, 2), -torch.ones(1, 1, 2, 2)).tolist()
    [8.0]
    """
    return (queries - images).abs().flatten(1).sum(1)


def feature_matching_loss(query_features: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """D(z), eq. 4: (B, F) twice -> (B,)."""
    return (query_features - features).abs().sum(1)


def sigmoid_loss(logits: torch.Tensor) -> torch.Tensor:
    """D(z), eq. 3: cross-entropy of sigmoid(logit) with the target "real", -log D(G(z)): (B,) -> (B,)."""
    return F.softplus(-logits)


def blend(residual: torch.Tensor, discrimination: torch.Tensor, weight: float) -> torch.Tensor:
    """L(z) and A(x), eq. 5 and 6: (1 - lambda) R + lambda D."""
    return (1 - weight) * residual + weight * discrimination


def anogan_objective(
    generate: Generate,
    critic: Critic,
    queries: torch.Tensor,
    weight: float = 0.1,
    discrimination: Literal["feature_matching", "sigmoid"] = "feature_matching",
) -> Objective:
    """L(z) for queries (B, C, S, S); `weight` is lambda in [0, 1]. The queries' features are computed once."""
    with torch.no_grad():
        query_features = critic(queries)[1]

    def objective(latents: torch.Tensor) -> Terms:
        images = generate(latents)  # (B, C, S, S)
        logits, features = critic(images)
        residual = residual_loss(queries, images)
        if discrimination == "sigmoid":
            matching = sigmoid_loss(logits)
        else:
            matching = feature_matching_loss(query_features, features)
        return Terms(blend(residual, matching, weight), residual, matching)

    return objective
