"""A batch through a method, each row as if it were alone.

A score depends on (bundle, image, seed) alone. Two things see to that beyond seeding and frozen networks: batches are
filled up to a power of two, because a CPU's kernels may add in another order for odd batch sizes (with two threads a
batch of 37 and a batch of 1 differed in the last bits, and 500 steps of descent turn last bits into digits), and the
rows that fill it up are thrown away.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from anotwin.methods.protocol import Method
from anotwin.records import Batch, Comparison, Counterpart, Trace


def score_batch(method: Method, batch: Batch, trace_at: Sequence[int] = ()) -> tuple[Counterpart, Comparison]:
    """Counterparts of a batch (B, C, S, S) and how it compares with them, each row as if it were alone."""
    size = len(batch.fingerprints)
    full = _fill(batch)
    counterpart = method.counterpart(full, trace_at)
    comparison = method.compare(full.images, counterpart)
    return _cut_counterpart(counterpart, size), _cut_comparison(comparison, size)


def _fill(batch: Batch) -> Batch:
    """The batch filled up to the next power of two by repeating its last row."""
    size = len(batch.fingerprints)
    missing = (1 << (size - 1).bit_length()) - size
    if missing == 0:
        return batch
    images = torch.cat([batch.images, batch.images[-1:].expand(missing, -1, -1, -1)])
    return Batch(images, batch.fingerprints + batch.fingerprints[-1:] * missing)


def _cut_counterpart(counterpart: Counterpart, size: int) -> Counterpart:
    trace = counterpart.trace
    return Counterpart(
        counterpart.images[:size],
        None if counterpart.latents is None else counterpart.latents[:size],
        {name: loss[:size] for name, loss in counterpart.losses.items()},
        counterpart.steps[:size],
        counterpart.status[:size],
        None if trace is None else Trace(trace.steps, trace.losses[:, :size], trace.images[:, :size]),
    )


def _cut_comparison(comparison: Comparison, size: int) -> Comparison:
    return Comparison(**{name: value[:size] for name, value in vars(comparison).items()})
