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


def nearest_distance(
    features: torch.Tensor, memory: torch.Tensor, neighbours: int, own: torch.Tensor | None = None
) -> torch.Tensor:
    """Mean cosine distance of features (B, F) to the nearest rows of `memory` (M, F), all of length 1: (B,) in [0, 2].

    `own` (M,) says of which row of `features` each row of the memory is a copy: to it, it counts as far as can be, 2.
    Products are made in double precision and then rounded: a CPU adds in another order for other numbers of rows.

    >>> nearest_distance(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]]), 1).tolist()
    [0.0]
    """
    wanted, parts = min(neighbours, len(memory)), []
    rows = torch.arange(len(features), device=features.device)
    for part, row in zip(torch.split(features, 512), torch.split(rows, 512), strict=True):
        distances = 1 - part.double() @ memory.double().T  # (b, M)
        if own is not None:
            distances = torch.where(own == row[:, None], 2.0, distances)
        parts.append(distances.topk(wanted, dim=1, largest=False).values.mean(1))
    return torch.cat(parts).float().clamp_min(0)
