"""Where: the residual image, smoothed over the neighbourhood of each pixel."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F


def heatmap(differences: torch.Tensor, sigma: float = 0.02) -> torch.Tensor:
    """|x - G(z)| averaged over channels, pixels in [0, 1], Gaussian-smoothed: (B, C, S, S) -> (B, S, S) >= 0.

    `sigma` is a share of the side S: a single misplaced edge pixel is no anomaly, a patch of them is.
    """
    heat = differences.abs().mean(1) / 2
    return gaussian(heat, sigma * heat.shape[-1])


def weighted(heat: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """Heat (B, S, S) of parts of an image times log(1 + e^A) of their scores A (B,): >= 0.

    A pixel is as hot as it differs, and as its part is abnormal: speckle differs everywhere, also where all is well.
    `scores` are in standard deviations of normal parts: a normal part keeps 0.7 of its heat, one at 10 has 10 times it.

    >>> weighted(torch.ones(2, 1, 1), torch.tensor([0.0, 10.0])).flatten()
    tensor([ 0.6931, 10.0000])
    """
    return heat * F.softplus(scores)[:, None, None]


def gaussian(maps: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian smoothing of (B, S, S) maps by `sigma` pixels, cut at 4 sigma (at most S), the border repeated.

    Sums of shifted maps, because a convolution adds in another order for one map than for two on some processors, and
    a heatmap must not depend on its batch.
    """
    side = maps.shape[-1]
    radius = min(int(4 * sigma + 0.5), side)
    if radius == 0:
        return maps
    weights = [math.exp(-0.5 * (offset / sigma) ** 2) for offset in range(-radius, radius + 1)]
    shares = [weight / sum(weights) for weight in weights]
    wide = F.pad(maps[:, None], (radius, radius, radius, radius), mode="replicate")[:, 0]
    rows = torch.zeros_like(wide[:, :, :side])
    for i, share in enumerate(shares):
        rows += share * wide[:, :, i : i + side]  # along rows
    smooth = torch.zeros_like(maps)
    for i, share in enumerate(shares):
        smooth += share * rows[:, i : i + side]  # along columns
    return smooth
