"""Terms of a score, higher: more abnormal. Differences x - G(z) are (B, C, S, S) in [-2, 2], features f are (B, F)."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def softplus(values: torch.Tensor) -> torch.Tensor:
    """log(1 + e^v) of (B,) values, each on its own: a CPU computes the last ones of an array in another way.

    Full blocks of 64 leave no such last ones, and batches may differ in size.
    """
    return F.softplus(F.pad(values, (0, -len(values) % 64)))[: len(values)]


def residual_score(differences: torch.Tensor) -> torch.Tensor:
    """R(x), AnoGAN eq. 7: sum of |x - G(z)| over pixels and channels, (B, C, S, S) -> (B,).

    >>> residual_score(torch.full((1, 1, 2, 2), -0.5)).tolist()
    [2.0]
    """
    return differences.abs().flatten(1).sum(1)


def discrimination_score(query_features: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """D(x), AnoGAN eq. 4 at the counterpart: sum of |f(x) - f(G(z))|, (B, F) twice -> (B,)."""
    return (query_features - features).abs().sum(1)


def reference_score(logits: torch.Tensor) -> torch.Tensor:
    """D(x) of the paper's GAN_R: eq. 3 (Yeh et al. 2016) at the counterpart, -log sigmoid(logit): (B,) -> (B,) >= 0.

    The discriminator's logits of the counterparts: how real these are. The query does not enter.

    >>> round(float(reference_score(torch.zeros(1))), 4)  # log 2: the discriminator is undecided
    0.6931
    """
    return softplus(-logits)


def anomaly_score(residual: torch.Tensor, discrimination: torch.Tensor, weight: float) -> torch.Tensor:
    """A(x) = (1 - lambda) R(x) + lambda D(x), eq. 6, and L(z), eq. 5: (B,) twice -> (B,); `weight` is lambda.

    >>> anomaly_score(torch.tensor([10.0]), torch.tensor([20.0]), 0.1).tolist()
    [11.0]
    """
    return (1 - weight) * residual + weight * discrimination


def mean_residual(differences: torch.Tensor) -> torch.Tensor:
    """Mean |x - G(z)| a pixel with pixels in [0, 1] (hence the half): (B, C, S, S) -> (B,) in [0, 1]."""
    return differences.abs().flatten(1).mean(1) / 2


def mean_square_residual(differences: torch.Tensor) -> torch.Tensor:
    """A_R(x) of f-AnoGAN (Schlegl et al. 2019): 1/n |x - G(E(x))|^2, (B, C, S, S) -> (B,) in [0, 4].

    >>> mean_square_residual(torch.full((1, 1, 2, 2), -0.5)).tolist()
    [0.25]
    """
    return differences.square().flatten(1).mean(1)


def mean_square_features(query_features: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """A_D(x) of f-AnoGAN: 1/n_d |f(x) - f(G(E(x)))|^2, (B, F) twice -> (B,) >= 0."""
    return (query_features - features).square().mean(1)
