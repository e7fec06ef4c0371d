"""The adversarial losses, on logits. Each returns a scalar, the mean over the batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F


def discriminator_loss(real_logits: torch.Tensor, fake_logits: torch.Tensor) -> torch.Tensor:
    """-log D(x) - log(1 - D(G(z))) with D = sigmoid(logit) (Goodfellow et al. 2014, eq. 1); logits (B,).

    >>> round(float(discriminator_loss(torch.zeros(2), torch.zeros(2))), 4)  # 2 log 2: D is undecided
    1.3863
    """
    return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()


def hinge_loss(real_logits: torch.Tensor, fake_logits: torch.Tensor) -> torch.Tensor:
    """max(0, 1 - D(x)) + max(0, 1 + D(G(z))) (Lim, Ye 2017, 1705.02894, eq. 13); logits (B,). G's part is -D(G(z)).

    >>> float(hinge_loss(torch.tensor([2.0]), torch.tensor([-0.5])))  # beyond 1 nothing is gained
    0.5
    """
    return F.relu(1 - real_logits).mean() + F.relu(1 + fake_logits).mean()


def generator_loss(fake_logits: torch.Tensor) -> torch.Tensor:
    """-log D(G(z)), the non-saturating form (Goodfellow et al. 2014, section 3); logits (B,)."""
    return F.softplus(-fake_logits).mean()


def least_squares_loss(real_logits: torch.Tensor, fake_logits: torch.Tensor) -> torch.Tensor:
    """(D(x) - 1)^2 + D(G(z))^2, halved (Mao et al. 2017, 1611.04076, eq. 9), of logits of any shape.

    >>> float(least_squares_loss(torch.tensor([3.0]), torch.tensor([1.0])))
    2.5
    """
    return ((real_logits - 1).square().mean() + fake_logits.square().mean()) / 2


def least_squares_generator_loss(fake_logits: torch.Tensor) -> torch.Tensor:
    """(D(G(z)) - 1)^2, G's part of the same, of logits of any shape."""
    return (fake_logits - 1).square().mean()


def feature_loss(fake_maps: Sequence[torch.Tensor], real_maps: Sequence[torch.Tensor]) -> torch.Tensor:
    """mean_l |phi_l(G(z)) - phi_l(x)|, the maps of a discriminator's blocks in place of VGG's; none through the real.

    >>> float(feature_loss([torch.zeros(2, 4), torch.zeros(1)], [torch.ones(2, 4), torch.zeros(1)]))
    0.5
    """
    gaps = [(ours - theirs.detach()).abs().mean() for ours, theirs in zip(fake_maps, real_maps, strict=True)]
    return torch.stack(gaps).mean()


def gradient_penalty(scores: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """(|grad_x D(x)| - 1)^2 at images between real and generated ones (Gulrajani et al. 2017, eq. 3, without lambda).

    `scores` (B,) are D's of `images` (B, C, S, S), which must require grad.
    """
    (gradient,) = torch.autograd.grad(scores.sum(), images, create_graph=True)
    slope: torch.Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    return (slope - 1).square().mean()


def r1_penalty(real_logits: torch.Tensor, real_images: torch.Tensor) -> torch.Tensor:
    """|grad_x D(x)|^2 on real images (Mescheder et al. 2018, eq. 9, without its gamma/2); images must require grad."""
    (gradient,) = torch.autograd.grad(real_logits.sum(), real_images, create_graph=True)
    return gradient.square().flatten(1).sum(1).mean()
