"""Adam over latents with moments for each row: a row can leave the batch and take them along.

Paper: Kingma, Ba, "Adam: a method for stochastic optimization", 2015 (1412.6980), algorithm 1, in the order of
operations of `torch.optim.Adam`: the same bits. L-BFGS and Gauss-Newton were no better (docs/research.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

State = tuple[torch.Tensor, ...]  # (N, ...) each: the moments


@dataclass(frozen=True)
class Adam:
    """The rate of step t of T is `learning_rate`, or with `decay_over` = T it falls to zero along half a cosine."""

    learning_rate: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.999
    decay_over: int = 0  # steps; 0: a constant rate
    epsilon: float = 1e-8

    def start(self, latents: torch.Tensor) -> State:
        """The moments m and v of latents (N, Z) that have not moved."""
        return torch.zeros_like(latents), torch.zeros_like(latents)

    def move(
        self, latents: torch.Tensor, gradients: torch.Tensor, state: State, step: int
    ) -> tuple[torch.Tensor, State]:
        """From latents and their gradients, (N, Z) each, to the next latents; `step` counts from 0."""
        first, second = state
        first = first.lerp(gradients, 1 - self.beta1)
        second = (second * self.beta2).addcmul(gradients, gradients, value=1 - self.beta2)
        size = self.rate(step) / (1 - self.beta1 ** (step + 1))
        scale = (second.sqrt() / math.sqrt(1 - self.beta2 ** (step + 1))).add(self.epsilon)
        return latents.addcdiv(first, scale, value=-size), (first, second)

    def rate(self, step: int) -> float:
        """The learning rate of a step.

        >>> [round(Adam(1.0, decay_over=4).rate(step), 3) for step in range(4)]
        [1.0, 0.854, 0.5, 0.146]
        """
        if not self.decay_over:
            return self.learning_rate
        return self.learning_rate * (1 + math.cos(math.pi * min(step / self.decay_over, 1))) / 2
