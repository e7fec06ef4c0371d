"""The exponential moving average of a network: the product, smoother than any single step."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Move `average` towards `network`: a <- d a + (1 - d) n, parameters and running statistics alike.

    d grows as (1 + step) / (10 + step) up to `decay`, so that the random initial weights are soon forgotten
    (Karras et al. 2018 use a constant; short trainings cannot afford that). `decay` 0 copies.
    """
    d = min(decay, (1 + step) / (10 + step))
    for old, new in zip(average.parameters(), network.parameters(), strict=True):
        old.lerp_(new, 1 - d)
    for kept, seen in zip(average.buffers(), network.buffers(), strict=True):
        if kept.is_floating_point():
            kept.lerp_(seen, 1 - d)
        else:
            kept.copy_(seen)  # num_batches_tracked
