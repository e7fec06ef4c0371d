"""How much: a method's terms for a batch and its counterparts, made into a score, differences and heatmaps."""

from __future__ import annotations

import torch

from anotwin.compare.heatmap import heatmap
from anotwin.compare.residual import difference, mean_residual
from anotwin.records import Comparison, Scores
from anotwin.settings import CompareSettings


def anomaly_score(residual: torch.Tensor, discrimination: torch.Tensor, weight: float) -> torch.Tensor:
    """A(x) = (1 - lambda) R(x) + lambda D(x), eq. 6, and L(z), eq. 5: (B,) twice -> (B,); `weight` is lambda.

    >>> anomaly_score(torch.tensor([10.0]), torch.tensor([20.0]), 0.1).tolist()
    [11.0]
    """
    return (1 - weight) * residual + weight * discrimination


def fanogan_score(residual: torch.Tensor, features: torch.Tensor, kappa: float = 1.0) -> torch.Tensor:
    """A(x) = A_R(x) + kappa A_D(x) of f-AnoGAN (Schlegl et al. 2019), mean squares: (B,) twice -> (B,).

    >>> fanogan_score(torch.tensor([0.5]), torch.tensor([2.0])).tolist()
    [2.5]
    """
    return residual + kappa * features


def comparison(
    queries: torch.Tensor,
    counterparts: torch.Tensor,
    *,
    residual: torch.Tensor,
    discrimination: torch.Tensor,
    total: torch.Tensor,
    query_logits: torch.Tensor,
    settings: CompareSettings,
) -> Comparison:
    """Queries beside their counterparts, both (B, C, S, S) in [-1, 1]; what a method found out about them is (B,) each.

    `residual` and `discrimination` are the method's two terms, `total` what it makes of them, all higher when more
    abnormal; `query_logits` are the discriminator's, higher when more normal. Nothing depends on the rest of the batch.
    """
    differences = difference(queries, counterparts)
    scores = {
        "anomaly": total,
        "residual": residual,
        "discrimination": discrimination,
        "discriminator": -query_logits,
    }
    return Comparison(
        Scores(score=scores[settings.score], **scores, mean_residual=mean_residual(differences)),
        difference=differences,
        heatmap=heatmap(differences, settings.heatmap_sigma),
    )
