"""How far a descriptor is from its reconstruction by the nearest normal ones, whatever the descriptor is.

A normal image is seldom as near to any one remembered normal as to a weighted mean of several, each of which has some
of its properties; an abnormal one is far from both.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

AT_ONCE = 256  # images whose neighbours are gathered: 256 x 40 x 640 numbers in double precision are 52 MB


class Reconstruction(NamedTuple):
    """How far descriptors are from their reconstructions, and which neighbours these are made of."""

    distance: torch.Tensor  # (B,) >= 0
    nearest: torch.Tensor  # (B, K) int64 rows of the memory, the nearest first


def reconstruction_distance(
    descriptors: torch.Tensor, memory: torch.Tensor, neighbours: int, ridge: float, own: torch.Tensor | None = None
) -> Reconstruction:
    """Squared distance of descriptors (B, F) to weighted sums of their nearest rows of `memory` (M, F).

    The weights w sum to 1 and minimise |v - sum_k w_k m_k|^2 + ridge s |w|^2, with s the mean squared distance to the
    neighbours: local linear embedding's reconstruction (Roweis, Saul 2000, with its regularisation).

    Args:
        descriptors, memory: rows to compare, of one scale.
        neighbours: how many are used, of those that there are.
        ridge: > 0; the larger, the more even the weights.
        own: (B,) row of the memory that is this image itself and is left out; with no other row left, the distance is
            4, the largest of two rows of length 1.

    Computed in double precision and then rounded: a CPU adds in another order for other numbers of rows.

    >>> square = torch.tensor([[1.0, 0.0], [0.0, 1.0], [9.0, 9.0]])
    >>> found = reconstruction_distance(torch.tensor([[0.6, 0.6]]), square, 2, 1e-6)
    >>> found.distance, sorted(found.nearest[0].tolist())  # the middle of the first two: (0.5, 0.5)
    (tensor([0.0200]), [0, 1])
    """
    wanted = min(neighbours, len(memory) - (own is not None))
    if wanted == 0:
        none = descriptors.new_empty(len(descriptors), 0, dtype=torch.int64)
        return Reconstruction(torch.full_like(descriptors[:, 0], 4.0), none)
    memory, distances, nearest = memory.double(), [], []
    owners = [None] * len(descriptors) if own is None else torch.split(own, AT_ONCE)
    for part, rows in zip(torch.split(descriptors.double(), AT_ONCE), owners, strict=False):
        to_memory = torch.cdist(part, memory, compute_mode="use_mm_for_euclid_dist")  # (b, M)
        if rows is not None:
            to_memory.scatter_(1, rows[:, None], torch.inf)
        nearest.append(to_memory.topk(wanted, dim=1, largest=False).indices)
        distances.append(_squared_error(part, memory[nearest[-1]], ridge))  # (b, K, F)
    return Reconstruction(torch.cat(distances).float(), torch.cat(nearest))


def _squared_error(descriptors: torch.Tensor, nearest: torch.Tensor, ridge: float) -> torch.Tensor:
    """|v - sum_k w_k m_k|^2 for descriptors (b, F) and their neighbours (b, K, F): (b,)."""
    differences = nearest - descriptors[:, None]
    products = differences @ differences.transpose(1, 2)  # (b, K, K)
    count = products.shape[1]
    scale = products.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-12)  # 0 if all are copies of the image
    system = products + ridge * scale[:, None, None] * torch.eye(count, dtype=products.dtype, device=products.device)
    factor = torch.linalg.cholesky_ex(system).L  # no error for NaN: the distance is NaN
    weights = torch.cholesky_solve(torch.ones_like(system[..., :1]), factor)
    weights = weights / weights.sum(1, keepdim=True)
    return (weights.transpose(1, 2) @ differences)[:, 0].square().sum(1)
