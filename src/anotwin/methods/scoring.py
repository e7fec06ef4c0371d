"""AnoGAN's R, D and A for every method whose networks hold a "discriminator"; counterparts that took one pass."""

from __future__ import annotations

import torch
from torch import nn

from anotwin.compare.features import discrimination_score, reference_score
from anotwin.compare.residual import difference, residual_score
from anotwin.compare.score import anomaly_score, comparison
from anotwin.methods.networks import Critique, judge
from anotwin.records import Comparison, Counterpart, Status
from anotwin.search.objective import Terms
from anotwin.settings import SearchSettings, Settings


def anogan_terms(
    queries: torch.Tensor, counterparts: torch.Tensor, query: Critique, twin: Critique, search: SearchSettings
) -> Terms:
    """L, R and D of the search at its end, (B,) each: the score is the loss that was searched with, A(x) = L(z*)."""
    residual = residual_score(difference(queries, counterparts))
    if search.discrimination == "sigmoid":
        discrimination = reference_score(twin.logits)
    else:
        discrimination = discrimination_score(query.features, twin.features)
    return Terms(anomaly_score(residual, discrimination, search.discrimination_weight), residual, discrimination)


def anogan_comparison(
    networks: nn.ModuleDict, queries: torch.Tensor, counterparts: torch.Tensor, settings: Settings
) -> Comparison:
    """Queries (B, C, S, S) beside their counterparts by AnoGAN's score; the queries may be on another device."""
    queries = queries.to(counterparts.device)
    query, twin = judge(networks, queries), judge(networks, counterparts)
    terms = anogan_terms(queries, counterparts, query, twin, settings.search)
    return comparison(queries, counterparts, **terms._asdict(), query_logits=query.logits, settings=settings.compare)


def one_pass(images: torch.Tensor, codes: torch.Tensor, residual: torch.Tensor) -> Counterpart:
    """Counterparts (B, C, S, S) of codes (B, Z), found where the `residual` (B,) of the pair is a number."""
    status = tuple(Status.CONVERGED if ok else Status.NOT_FOUND for ok in residual.isfinite().tolist())
    return Counterpart(images, codes, torch.zeros(len(images), dtype=torch.int64), status)
