"""In the eyes of the discriminator: the query's features against its counterpart's."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def discrimination_score(query_features: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """D(x), AnoGAN eq. 4 at the counterpart: sum of |f(x) - f(G(z))|, (B, F) twice -> (B,)."""
    return (query_features - features).abs().sum(1)


def mean_square_features(query_features: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """A_D(x) of f-AnoGAN (Schlegl et al. 2019): 1/n_d |f(x) - f(G(E(x)))|^2, (B, F) twice -> (B,) >= 0."""
    return (query_features - features).square().mean(1)


def reference_score(logits: torch.Tensor) -> torch.Tensor:
    """D(x) of the reference GAN_R: eq. 3 (Yeh et al. 2016) at the counterpart, -log D(G(z)), logits (B,) -> (B,) >= 0.

    It asks whether the counterpart passes for real, and never looks at the query.

    >>> round(float(reference_score(torch.zeros(1))), 4)  # log 2: D cannot tell
    0.6931
    """
    return F.softplus(-logits)
