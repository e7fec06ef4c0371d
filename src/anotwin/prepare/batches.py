"""Batches of squares, put together."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from anotwin.records import Batch


def join_batches(batches: Sequence[Batch]) -> Batch:
    """One batch of several; a single one as it is, for contexts of frames are large."""
    if len(batches) == 1:
        return batches[0]
    contexts = [batch.context for batch in batches if batch.context is not None]
    fingerprints = tuple(fingerprint for batch in batches for fingerprint in batch.fingerprints)
    return Batch(
        torch.cat([batch.images for batch in batches]), fingerprints, torch.cat(contexts) if contexts else None
    )
