"""How abnormal: a method's terms for a batch and its counterparts, made into a score, differences and heatmaps."""

from __future__ import annotations

import torch

from anotwin.compare.heatmap import heatmap
from anotwin.compare.terms import mean_residual
from anotwin.records import Comparison, Scores
from anotwin.settings import CompareSettings


def comparison(
    queries: torch.Tensor,
    counterparts: torch.Tensor,
    *,
    residual: torch.Tensor,
    discrimination: torch.Tensor,
    total: torch.Tensor,
    query_logits: torch.Tensor,
    settings: CompareSettings,
    heat: torch.Tensor | None = None,
) -> Comparison:
    """Queries beside their counterparts, both (B, C, S, S) in [-1, 1]; what a method computed of them is (B,) each.

    `residual` and `discrimination` are the method's two terms, `total` what it makes of them, all higher when more
    abnormal; `query_logits` are the discriminator's, higher when more normal. `heat` (B, S, S): the method's own; None:
    the smoothed differences. Nothing depends on the rest of the batch.
    """
    differences = queries - counterparts
    scores = {
        "anomaly": total,
        "residual": residual,
        "discrimination": discrimination,
        "discriminator": -query_logits,
    }
    return Comparison(
        Scores(score=scores[settings.score], **scores, mean_residual=mean_residual(differences)),
        difference=differences,
        heatmap=heatmap(differences, settings.heatmap_sigma) if heat is None else heat,
    )
