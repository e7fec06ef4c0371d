"""A batch through a method, so that no row's result depends on the others.

A score depends on (bundle, image, seed) alone. Beyond seeding and frozen networks, that takes batches filled up to a
power of two: a CPU's kernels add in another order for odd batch sizes (with two threads a batch of 37 and a batch of 1
differed in the last bits, and 500 steps of descent amplify them to visible digits). A GPU's do for other sizes at all:
there each batch is filled up to `search.batch_size`, and convolutions add in one order, in whole float32 instead of
TF32's eleven bits, so that a model scores as it does on a CPU but for rounding. The added rows are dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch

from anotwin.methods.protocol import Method, Searches, device_of
from anotwin.records import Batch, Comparison, Counterpart, Trace

Result = tuple[Counterpart, Comparison]  # of a batch (B, ...), or of some of its rows


def _repeatable(method: Method) -> AbstractContextManager[None]:
    """On a GPU, convolutions in one order and in whole float32."""
    if device_of(method.networks).type == "cpu":
        return nullcontext()
    flags = torch.backends.cudnn.flags
    return flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)


def score_batch(method: Method, batch: Batch) -> Result:
    """Counterparts of a batch (B, C, S, S) and how it compares with them; no row depends on the others."""
    full = _filled(batch, method)
    with _repeatable(method):
        counterpart = method.counterpart(full)
        comparison = method.compare(full.images, counterpart)
    return result_rows((counterpart, comparison), slice(len(batch)))


def trace_batch(method: Searches, batch: Batch, trace_at: Sequence[int]) -> Trace | None:
    """The search for a batch once more, with its trace at the steps named."""
    size = len(batch)
    with _repeatable(method):
        trace = method.search(_filled(batch, method), trace_at).trace
    return None if trace is None else Trace(trace.steps, trace.losses[:, :size], trace.images[:, :size])


def result_rows(result: Result, rows: slice) -> Result:
    """Some rows of a result, without its trace."""
    counterpart, comparison = result
    latents = None if counterpart.latents is None else counterpart.latents[rows]
    scores = comparison.scores.map(lambda term: term[rows])
    return (
        Counterpart(counterpart.images[rows], latents, counterpart.steps[rows], counterpart.status[rows]),
        Comparison(scores, comparison.difference[rows], comparison.heatmap[rows]),
    )


def _filled(batch: Batch, method: Method) -> Batch:
    """The batch filled up, by repeating its last row, to the next power of two or, on a GPU, to the size of all."""
    size, on_cpu = len(batch), device_of(method.networks).type == "cpu"
    missing = (1 << (size - 1).bit_length() if on_cpu else max(size, method.settings.search.batch_size)) - size
    if missing == 0:
        return batch
    rows = torch.cat([torch.arange(size), torch.full((missing,), size - 1)])
    context = None if batch.context is None else batch.context[rows]
    return Batch(batch.images[rows], batch.fingerprints + batch.fingerprints[-1:] * missing, context)
