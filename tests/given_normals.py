"""Images as a training set, for methods that remember normals."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from anotwin.records import Batch
from anotwin.training.protocol import Rows


@dataclass(frozen=True)
class Given:
    """See `anotwin.training.protocol.TrainingSet`."""

    images: torch.Tensor  # (N, C, S, S)
    context: torch.Tensor | None = None  # (N, K, C, S, S)

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, numbers: Rows) -> Batch:
        return Batch(self.images[numbers], context=None if self.context is None else self.context[numbers])
