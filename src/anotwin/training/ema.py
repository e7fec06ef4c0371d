"""The exponential moving average of a network, which is what scores: smoother than any single step."""

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
    moved: list[torch.Tensor] = list(average.parameters())
    targets: list[torch.Tensor] = list(network.parameters())
    for kept, now in zip(average.buffers(), network.buffers(), strict=True):
        if kept.is_floating_point():
            moved.append(kept)
            targets.append(now)
        else:
            kept.copy_(now)  # num_batches_tracked
    torch._foreach_lerp_(moved, targets, 1 - d)  # all tensors in one call: one kernel on a GPU
