"""Where: the residual image, smoothed over the neighbourhood of each pixel."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def heatmap(differences: torch.Tensor, sigma: float = 0.02) -> torch.Tensor:
    """|x - G(z)| averaged over channels, pixels in [0, 1], Gaussian-smoothed: (B, C, S, S) -> (B, S, S) >= 0.

    `sigma` is a share of the side S: a single misplaced edge pixel is no anomaly, a patch of them is.
    """
    heat = differences.abs().mean(1) / 2
    return gaussian(heat, sigma * heat.shape[-1])


def gaussian(maps: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian smoothing of (B, S, S) maps by `sigma` pixels, cut at 4 sigma (at most S), the border repeated."""
    radius = min(int(4 * sigma + 0.5), maps.shape[-1])
    if radius == 0:
        return maps
    offsets = torch.arange(-radius, radius + 1, dtype=maps.dtype, device=maps.device)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).view(1, 1, -1)
    smooth = F.pad(maps[:, None], (radius, radius, radius, radius), mode="replicate")
    smooth = F.conv2d(smooth, kernel[:, :, None, :])  # along rows
    return F.conv2d(smooth, kernel[:, :, :, None])[:, 0]  # along columns
