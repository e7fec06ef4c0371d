"""How much: R, D, A and P_D of the AnoGAN paper for a batch and its counterparts."""

from __future__ import annotations

import torch

from anotwin.compare.features import discrimination_score, reference_score
from anotwin.compare.heatmap import heatmap
from anotwin.compare.residual import difference, mean_residual, residual_score
from anotwin.records import Comparison
from anotwin.settings import CompareSettings


def anomaly_score(residual: torch.Tensor, discrimination: torch.Tensor, weight: float) -> torch.Tensor:
    """A(x) = (1 - lambda) R(x) + lambda D(x), eq. 6, and L(z), eq. 5: (B,) twice -> (B,); `weight` is lambda.

    >>> anomaly_score(torch.tensor([10.0]), torch.tensor([20.0]), 0.1).tolist()
    [11.0]
    """
    return (1 - weight) * residual + weight * discrimination


def compare(
    queries: torch.Tensor,
    counterparts: torch.Tensor,
    query_features: torch.Tensor,
    features: torch.Tensor,
    query_logits: torch.Tensor,
    weight: float,
    settings: CompareSettings,
    *,
    counterpart_logits: torch.Tensor | None = None,
) -> Comparison:
    """Compare queries with their counterparts, both (B, C, S, S) in [-1, 1]; features (B, F), logits (B,).

    `weight` is lambda of A(x) = (1 - lambda) R(x) + lambda D(x), eq. 6. Nothing depends on the rest of the batch.
    `counterpart_logits` (B,), if given, make D(x) the sigmoid loss of eq. 3 in place of feature matching: GAN_R.
    """
    differences = difference(queries, counterparts)
    residual = residual_score(differences)
    if counterpart_logits is None:
        discrimination = discrimination_score(query_features, features)
    else:
        discrimination = reference_score(counterpart_logits)
    scores = {
        "anomaly": anomaly_score(residual, discrimination, weight),
        "residual": residual,
        "discrimination": discrimination,
        "discriminator": -query_logits,
    }
    return Comparison(
        score=scores[settings.score],
        **scores,
        mean_residual=mean_residual(differences),
        difference=differences,
        heatmap=heatmap(differences, settings.heatmap_sigma),
    )
