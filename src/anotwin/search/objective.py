"""The loss of the search: how far G(z) is from being the query's counterpart.

Paper: Schlegl et al. 2017 (1703.05921), section 2.2; code name = paper symbol:

    residual        R(z) = sum |x - G(z)|                          eq. 2
    discrimination  D(z) = sum |f(x) - f(G(z))|                    eq. 4, feature matching
                 or D(z) = sigmoid cross-entropy of D(G(z)) and 1  eq. 3, Yeh et al. 2016 (the paper's GAN_R)
    total           L(z) = (1 - lambda) R(z) + lambda D(z)         eq. 5

Pixels are in [-1, 1]; sums go over all pixels (and channels) and over all features of f. The terms are the functions of
`anotwin.compare`, so that A(x) is L(z) at the counterpart. Everything is a vector over the batch: the sum of it has a
gradient in which no image sees another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch

from anotwin.compare.features import discrimination_score, reference_score
from anotwin.compare.residual import difference, residual_score
from anotwin.compare.score import anomaly_score

Generate = Callable[[torch.Tensor], torch.Tensor]  # (B, Z) -> (B, C, S, S)
Critic = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]  # (B, C, S, S) -> logits (B,), features (B, F)


class Terms(NamedTuple):
    """The terms of L(z), one number an image."""

    total: torch.Tensor  # (B,)
    residual: torch.Tensor  # (B,)
    discrimination: torch.Tensor  # (B,)


Objective = Callable[[torch.Tensor], Terms]  # latents (B, Z) -> Terms


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
        residual = residual_score(difference(queries, images))
        if discrimination == "sigmoid":
            matching = reference_score(logits)
        else:
            matching = discrimination_score(query_features, features)
        return Terms(anomaly_score(residual, matching, weight), residual, matching)

    return objective
