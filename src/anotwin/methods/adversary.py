"""The discriminator's half of a training step, the same for every method that has one."""

from __future__ import annotations

import torch
from torch import nn

from anotwin.methods.losses import discriminator_loss, r1_penalty
from anotwin.methods.protocol import Backward
from anotwin.settings import TrainingSettings


def adam(network: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """Adam as DCGAN uses it, over the parameters of one network (or of a ModuleDict of several)."""
    return torch.optim.Adam(network.parameters(), lr=settings.learning_rate, betas=(settings.beta1, settings.beta2))


def train_discriminator(
    d: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: torch.Tensor,
    fakes: torch.Tensor,
    step: int,
    settings: TrainingSettings,
    backward: Backward,
) -> dict[str, torch.Tensor]:
    """One step of D on real images and fakes, (B, C, S, S) each: min softplus(-D(x)) + softplus(D(fake)).

    Every `r1_every` steps + r1_every gamma/2 |grad_x D(x)|^2: the lazy R1 of StyleGAN2. Returns what is worth logging.
    """
    penalise = settings.r1_gamma > 0 and step % settings.r1_every == 0
    images = images.detach().requires_grad_(penalise)
    real_logits, fake_logits = d(images).logits, d(fakes.detach()).logits
    loss = discriminator_loss(real_logits, fake_logits)
    logged = {"loss_d": loss.detach(), "logit_gap": (real_logits.mean() - fake_logits.mean()).detach()}
    if penalise:
        penalty = r1_penalty(real_logits, images)
        loss = loss + settings.r1_every * settings.r1_gamma / 2 * penalty
        logged["r1"] = penalty.detach()
    optimizer.zero_grad(set_to_none=True)
    backward(loss)
    optimizer.step()
    return logged
