"""In the eyes of the discriminator: the query's features against its counterpart's."""

from __future__ import annotations

import torch


def discrimination_score(query_features: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """D(x), AnoGAN eq. 4 at the counterpart: sum of |f(x) - f(G(z))|, (B, F) twice -> (B,)."""
    return (query_features - features).abs().sum(1)
