"""The loss of the search: how far G(z) is from being the query's counterpart.

Paper: Schlegl et al. 2017 (1703.05921), section 2.2; code name = paper symbol:

    residual        L_R(z) = sum |x - G(z)|                          eq. 2
    discrimination  L_D(z) = sum |f(x) - f(G(z))|                    eq. 4, feature matching
                 or L_D(z) = sigmoid cross-entropy of D(G(z)) and 1  eq. 3, Yeh et al. 2016 (the paper's GAN_R)
    total           L(z)   = (1 - lambda) L_R(z) + lambda L_D(z)     eq. 5

Pixels are in [-1, 1]; sums go over all pixels (and channels) and over all features of f. The same function scores the
pair, so that A(x) is L(z) at the counterpart. No row's terms depend on the other rows.

Not in the paper: `prior_weight` times -log p(z) may be added to the total, which is then a posterior's logarithm. The
networks may compute in bf16; all sums are in float32 (in float64 for networks in float64).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch

from anotwin.compare.terms import anomaly_score, discrimination_score, reference_score, residual_score
from anotwin.search.prior import prior_penalty
from anotwin.seeding import Prior

Generate = Callable[[torch.Tensor], torch.Tensor]  # (N, Z) -> (N, C, S, S)
Critic = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]  # (N, C, S, S) -> logits (N,), features (N, F)
Discrimination = Literal["feature_matching", "sigmoid"]


class Terms(NamedTuple):
    """The terms of L(z), one number per row."""

    total: torch.Tensor  # (N,) what is minimised
    residual: torch.Tensor  # (N,)
    discrimination: torch.Tensor  # (N,)


# latents (N, Z) and, for each, the query it belongs to (N,) int64: restarts add rows, converged images remove theirs
Objective = Callable[[torch.Tensor, torch.Tensor], Terms]


def anogan_terms(
    queries: torch.Tensor,
    query_features: torch.Tensor,
    images: torch.Tensor,
    critique: tuple[torch.Tensor, torch.Tensor],
    weight: float,
    discrimination: Discrimination,
) -> Terms:
    """L, L_R and L_D, (N,) each, of queries and images (N, C, S, S); `critique`: logits and features of the images."""
    logits, features = critique
    residual = residual_score(queries - _wide(images))
    if discrimination == "sigmoid":
        matching = reference_score(_wide(logits))
    else:
        matching = discrimination_score(query_features, _wide(features))
    return Terms(anomaly_score(residual, matching, weight), residual, matching)


def anogan_objective(
    generate: Generate,
    critic: Critic,
    queries: torch.Tensor,
    weight: float = 0.1,
    discrimination: Discrimination = "feature_matching",
    *,
    prior: Prior = "normal",
    prior_weight: float = 0.0,
) -> Objective:
    """L(z) for queries (B, C, S, S); `weight` is lambda in [0, 1]. The queries' features are computed once."""
    with torch.no_grad():
        query_features = _wide(critic(queries)[1])  # (B, F)

    def objective(latents: torch.Tensor, rows: torch.Tensor) -> Terms:
        images = generate(latents)  # (N, C, S, S)
        terms = anogan_terms(queries[rows], query_features[rows], images, critic(images), weight, discrimination)
        if not prior_weight:
            return terms
        return terms._replace(total=terms.total + prior_weight * prior_penalty(latents, prior))

    return objective


def _wide(values: torch.Tensor) -> torch.Tensor:
    """bf16 as float32, because its 8 bits cannot add up thousands of values. Anything else stays."""
    return values.float() if values.dtype == torch.bfloat16 else values
