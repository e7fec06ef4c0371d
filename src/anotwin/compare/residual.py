"""Pixel by pixel: the query minus its counterpart. Tensors in, tensors out; pixels are in [-1, 1]."""

from __future__ import annotations

import torch


def difference(queries: torch.Tensor, counterparts: torch.Tensor) -> torch.Tensor:
    """Signed residual x - G(z) (B, C, S, S) in [-2, 2]: positive where the query is brighter than it ought to be."""
    return queries - counterparts


def residual_score(differences: torch.Tensor) -> torch.Tensor:
    """R(x), AnoGAN eq. 7: sum of |x - G(z)| over pixels and channels, (B, C, S, S) -> (B,).

    >>> residual_score(torch.full((1, 1, 2, 2), -0.5)).tolist()
    [2.0]
    """
    return differences.abs().flatten(1).sum(1)


def mean_residual(differences: torch.Tensor) -> torch.Tensor:
    """Mean |x - G(z)| a pixel with pixels in [0, 1] (hence the half): (B, C, S, S) -> (B,) in [0, 1]."""
    return differences.abs().flatten(1).mean(1) / 2


def mean_square_residual(differences: torch.Tensor) -> torch.Tensor:
    """A_R(x) of f-AnoGAN (Schlegl et al. 2019): 1/n |x - G(E(x))|^2, (B, C, S, S) -> (B,) in [0, 4].

    >>> mean_square_residual(torch.full((1, 1, 2, 2), -0.5)).tolist()
    [0.25]
    """
    return differences.square().flatten(1).mean(1)
