"""Images as a training set, for methods that remember normals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
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
        if self.context is None:
            return Batch(self.images[numbers])
        when = torch.from_numpy(np.asarray(numbers, np.float32) / np.float32(len(self)))
        return Batch(self.images[numbers], context=self.context[numbers], when=when)
