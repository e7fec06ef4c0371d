"""How far an image is from what its nearest normals make together, in whatever features.

A normal image is seldom as near to any one of the remembered normals as to a blend of several: there is none that has
this slant and that width. A blend of an abnormal image's neighbours is still a normal image, or none.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

AT_ONCE = 256  # images whose neighbours are gathered: 256 x 40 x 640 numbers in double precision are 52 MB


class Blend(NamedTuple):
    """How far images are from the blends of their neighbours, and which these are."""

    distance: torch.Tensor  # (B,) >= 0
    nearest: torch.Tensor  # (B, K) int64 rows of the memory, K of them blended; the nearest first


def blend_distance(
    features: torch.Tensor,
    memory: torch.Tensor,
    neighbours: int,
    ridge: float,
    own: torch.Tensor | None = None,
) -> Blend:
    """Squared distance of features (B, F) to the blend of their nearest rows of `memory` (M, F), and which these are.

    The weights w of the blend sum to 1 and minimise |f - sum_k w_k m_k|^2 + ridge s |w|^2, with s the mean squared
    distance to the neighbours: local linear embedding's reconstruction (Roweis, Saul 2000, with its regularisation).
    One neighbour gives the squared distance to it.

    Args:
        features, memory: rows to compare, of one scale.
        neighbours: how many are blended, of those that there are.
        ridge: > 0; the larger, the more even the weights.
        own: (B,) row of the memory that is this image itself and is left out; with no other row left, 4, the farthest
            that two rows of length 1 can be, and no neighbour.

    All is computed in double precision and then rounded: a CPU adds in another order for other numbers of rows.

    >>> square = torch.tensor([[1.0, 0.0], [0.0, 1.0], [9.0, 9.0]])
    >>> found = blend_distance(torch.tensor([[0.6, 0.6]]), square, 2, 1e-6)
    >>> found.distance, sorted(found.nearest[0].tolist())  # the middle of the first two: (0.5, 0.5)
    (tensor([0.0200]), [0, 1])
    """
    wanted = min(neighbours, len(memory) - (own is not None))
    if wanted == 0:
        return Blend(torch.full_like(features[:, 0], 4.0), features.new_empty(len(features), 0, dtype=torch.int64))
    memory, parts, rows_of = memory.double(), [], []
    owners = [None] * len(features) if own is None else torch.split(own, AT_ONCE)
    for part, rows in zip(torch.split(features.double(), AT_ONCE), owners, strict=False):
        distances = torch.cdist(part, memory, compute_mode="use_mm_for_euclid_dist")  # (b, M)
        if rows is not None:
            distances.scatter_(1, rows[:, None], torch.inf)
        nearest = distances.topk(wanted, dim=1, largest=False).indices
        parts.append(_remainder(part, memory[nearest], ridge))  # (b, K, F)
        rows_of.append(nearest)
    return Blend(torch.cat(parts).float(), torch.cat(rows_of))


def _remainder(features: torch.Tensor, nearest: torch.Tensor, ridge: float) -> torch.Tensor:
    """|f - sum_k w_k m_k|^2 for features (b, F) and their neighbours (b, K, F): (b,)."""
    apart = nearest - features[:, None]
    products = apart @ apart.transpose(1, 2)  # (b, K, K)
    count = products.shape[1]
    scale = products.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-12)  # copies of the image itself: nothing is left
    system = products + ridge * scale[:, None, None] * torch.eye(count, dtype=products.dtype, device=products.device)
    factor = torch.linalg.cholesky_ex(system).L  # no error for NaN, which then goes through
    weights = torch.cholesky_solve(torch.ones_like(system[..., :1]), factor)
    weights = weights / weights.sum(1, keepdim=True)
    return (weights.transpose(1, 2) @ apart)[:, 0].square().sum(1)
