"""A batch through a method, so that no row depends on the others.

A score depends on (bundle, image, seed) alone. Two things see to that beyond seeding and frozen networks: batches are
filled up to a power of two, because a CPU's kernels may add in another order for odd batch sizes (with two threads a
batch of 37 and a batch of 1 differed in the last bits, and 500 steps of descent turn last bits into digits), and the
rows that fill it up are thrown away.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from anotwin.methods.protocol import Method, Searches
from anotwin.records import Batch, Comparison, Counterpart, Trace


def score_batch(method: Method, batch: Batch) -> tuple[Counterpart, Comparison]:
    """Counterparts of a batch (B, C, S, S) and how it compares with them; no row depends on the others."""
    size, full = len(batch), _filled(batch)
    counterpart = method.counterpart(full)
    comparison = method.compare(full.images, counterpart)
    return _first_counterparts(counterpart, size), _first_comparisons(comparison, size)


def trace_batch(method: Searches, batch: Batch, trace_at: Sequence[int]) -> Trace | None:
    """The search for a batch once more, with its trace at the steps named."""
    size = len(batch)
    trace = method.search(_filled(batch), trace_at).trace
    return None if trace is None else Trace(trace.steps, trace.losses[:, :size], trace.images[:, :size])


def _filled(batch: Batch) -> Batch:
    """The batch filled up to the next power of two by repeating its last row."""
    size = len(batch)
    missing = (1 << (size - 1).bit_length()) - size
    if missing == 0:
        return batch
    rows = torch.cat([torch.arange(size), torch.full((missing,), size - 1)])
    context = None if batch.context is None else batch.context[rows]
    return Batch(batch.images[rows], batch.fingerprints + batch.fingerprints[-1:] * missing, context)


def _first_counterparts(found: Counterpart, size: int) -> Counterpart:
    latents = None if found.latents is None else found.latents[:size]
    return Counterpart(found.images[:size], latents, found.steps[:size], found.status[:size])


def _first_comparisons(found: Comparison, size: int) -> Comparison:
    return Comparison(found.scores.map(lambda term: term[:size]), found.difference[:size], found.heatmap[:size])
