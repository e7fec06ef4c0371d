"""The loss of the search: how far G(z) is from being the query's counterpart.

Paper: Schlegl et al. 2017 (1703.05921), section 2.2; code name = paper symbol:

    residual        R(z) = sum |x - G(z)|                          eq. 2
    discrimination  D(z) = sum |f(x) - f(G(z))|                    eq. 4, feature matching
                 or D(z) = sigmoid cross-entropy of D(G(z)) and 1  eq. 3, Yeh et al. 2016 (the paper's GAN_R)
    total           L(z) = (1 - lambda) R(z) + lambda D(z)         eq. 5

Pixels are in [-1, 1]; sums go over all pixels (and channels) and over all features of f. The terms are the functions of
`anotwin.compare`, so that A(x) is L(z) at the counterpart. Everything is a vector over the batch: the sum of it has a
gradient in which no image sees another.

Not in the paper: `prior_weight` (-log p(z)) may be added to the total, which is then a posterior's logarithm; R and D
stay as they are. The networks may compute in bf16; all sums are in float32 (in float64 for networks in float64).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch

from anotwin.compare.features import discrimination_score, reference_score
from anotwin.compare.residual import difference, residual_score
from anotwin.compare.score import anomaly_score
from anotwin.search.prior import prior_penalty
from anotwin.seeding import Prior

Generate = Callable[[torch.Tensor], torch.Tensor]  # (N, Z) -> (N, C, S, S)
Critic = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]  # (N, C, S, S) -> logits (N,), features (N, F)


class Terms(NamedTuple):
    """The terms of L(z), one number a row."""

    total: torch.Tensor  # (N,) what is lowered
    residual: torch.Tensor  # (N,)
    discrimination: torch.Tensor  # (N,)


# latents (N, Z) and, for each, the query it belongs to (N,) int64: restarts add rows, converged images take theirs away
Objective = Callable[[torch.Tensor, torch.Tensor], Terms]


def anogan_objective(
    generate: Generate,
    critic: Critic,
    queries: torch.Tensor,
    weight: float = 0.1,
    discrimination: Literal["feature_matching", "sigmoid"] = "feature_matching",
    *,
    prior: Prior = "normal",
    prior_weight: float = 0.0,
) -> Objective:
    """L(z) for queries (B, C, S, S); `weight` is lambda in [0, 1]. The queries' features are computed once."""
    with torch.no_grad():
        query_features = _wide(critic(queries)[1])  # (B, F)

    def objective(latents: torch.Tensor, rows: torch.Tensor) -> Terms:
        images = generate(latents)  # (N, C, S, S)
        logits, features = critic(images)
        residual = residual_score(difference(queries[rows], _wide(images)))
        if discrimination == "sigmoid":
            matching = reference_score(_wide(logits))
        else:
            matching = discrimination_score(query_features[rows], _wide(features))
        total = anomaly_score(residual, matching, weight)
        if prior_weight:
            total = total + prior_weight * prior_penalty(latents, prior)
        return Terms(total, residual, matching)

    return objective


def _wide(values: torch.Tensor) -> torch.Tensor:
    """bf16 as float32: a sum of thousands in 8 bits is no sum. Anything else stays."""
    return values.float() if values.dtype == torch.bfloat16 else values
