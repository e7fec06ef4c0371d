"""Where the anomaly is: the residual image, smoothed over the neighbourhood of each pixel."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from anotwin.compare.terms import softplus


def heatmap(differences: torch.Tensor, sigma: float = 0.02) -> torch.Tensor:
    """|x - G(z)| averaged over channels, pixels in [0, 1], Gaussian-smoothed: (B, C, S, S) -> (B, S, S) >= 0.

    `sigma` is a share of the side S: a single misplaced edge pixel is no anomaly, a patch of them is.
    """
    heat = differences.abs().mean(1) / 2
    return gaussian(heat, sigma * heat.shape[-1])


def heatmap_of_parts(differences: torch.Tensor, scores: torch.Tensor, sigma: float = 0.03) -> torch.Tensor:
    """Heat of parts of images that are full of speckle: (B, C, S, S) and their scores (B,) -> (B, S, S) >= 0.

    Signed differences are smoothed, so that speckle cancels and a lesion does not, then their absolute values, over the
    seams where the sign changes. Times the root of log(1 + e^A), with A in standard deviations of normal parts: a
    normal part keeps 0.8 of its heat, one at 9 has three times it.

    >>> speckle = torch.tensor([1.0, -1.0]).repeat(1, 1, 32, 16)
    >>> bool(heatmap_of_parts(speckle, torch.zeros(1))[0, 16, 16] < 0.01), float(heatmap(speckle)[0, 16, 16])
    (True, 0.5)
    """
    wide = sigma * differences.shape[-1]
    heat = gaussian(gaussian(differences.mean(1) / 2, wide).abs(), wide)
    factors = softplus(scores).sqrt()
    return heat * factors[:, None, None]


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
