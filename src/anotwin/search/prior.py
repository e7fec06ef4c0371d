"""Keeping the search where the generator was trained: the prior's penalty on latents, and bounds.

Latents from a standard normal in Z dimensions lie at |z| = sqrt(Z), give or take one. An unbounded search leaves that
shell (|z| = 1.2 sqrt(Z) after 60 fast steps), and outside of it the generator can draw what no normal image shows.
"""

from __future__ import annotations

import math

import torch

from anotwin.seeding import Prior


def prior_penalty(latents: torch.Tensor, prior: Prior) -> torch.Tensor:
    """-log p(z) up to a constant, latents (N, Z) -> (N,): |z|^2 / 2 for the normal prior, 0 for the flat uniform one.

    >>> prior_penalty(torch.tensor([[3.0, 4.0]]), "normal").tolist()
    [12.5]
    """
    if prior == "uniform":
        return torch.zeros_like(latents[:, 0])
    return latents.square().sum(1) / 2


def bounded(latents: torch.Tensor, prior: Prior, bound: float) -> torch.Tensor:
    """The nearest latents (N, Z) within the bound; `bound` = 0: none.

    Normal prior: the ball |z| <= bound sqrt(Z). Uniform prior: the box |z_i| <= bound.

    >>> bounded(torch.tensor([[3.0, 4.0]]), "normal", 2**0.5).tolist()  # the ball of radius 2
    [[1.2000000476837158, 1.600000023841858]]
    """
    if bound == 0:
        return latents
    if prior == "uniform":
        return latents.clamp(-bound, bound)
    radius = bound * math.sqrt(latents.shape[1])
    lengths = latents.square().sum(1, keepdim=True).sqrt()
    return torch.where(lengths > radius, latents * (radius / lengths), latents)
