"""AnoGAN's score for every method whose networks hold a "discriminator"; counterparts that took one pass."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from anotwin.compare.score import comparison
from anotwin.methods.networks import critique_of
from anotwin.records import Comparison, Counterpart, Status
from anotwin.search.objective import anogan_terms
from anotwin.settings import Settings

Transform = Callable[[torch.Tensor], torch.Tensor]


def anogan_comparison(
    networks: nn.ModuleDict, queries: torch.Tensor, counterparts: torch.Tensor, settings: Settings
) -> Comparison:
    """Queries (B, C, S, S) beside their counterparts: the score is the loss that was searched with, A(x) = L(z*).

    The queries may be on another device.
    """
    queries, search = queries.to(counterparts.device), settings.search
    query, critique = critique_of(networks, queries), critique_of(networks, counterparts)
    weight, discrimination = search.discrimination_weight, search.discrimination
    terms = anogan_terms(queries, query.features, counterparts, critique, weight, discrimination)
    return comparison(queries, counterparts, **terms._asdict(), query_logits=query.logits, settings=settings.compare)


def one_pass(queries: torch.Tensor, encode: Transform, decode: Transform) -> Counterpart:
    """decode(encode(x)) of queries (B, C, S, S) on the networks' device, found where the difference is finite."""
    with torch.no_grad():
        codes = encode(queries)
        images = decode(codes)
    finite = (queries - images).flatten(1).isfinite().all(1)
    status = tuple(Status.CONVERGED if ok else Status.NOT_FOUND for ok in finite.tolist())
    return Counterpart(images, codes, torch.zeros(len(images), dtype=torch.int64), status)
