"""The discriminator's half of a training step, the same for every method that has one."""

from __future__ import annotations

import math

import torch
from torch import nn

from anotwin.methods.losses import discriminator_loss, generator_loss, gradient_penalty, r1_penalty
from anotwin.settings import NetworkSettings, Settings, TrainingSettings
from anotwin.training.protocol import Backward

DCGAN_RATE = 2e-4  # Radford et al. 2016
CRITIC_STEPS = 5  # of D for each of G: only near its optimum does the critic's loss estimate a distance
PENALTY_WEIGHT = 10.0  # lambda; both as in Gulrajani et al. 2017, algorithm 1, and in f-AnoGAN
WARM = 0.03  # of the steps: until the rate is full
LAST = 0.01  # of the full rate, at the end


def adam(network: nn.Module, settings: TrainingSettings, learning_rate: float = DCGAN_RATE) -> torch.optim.Optimizer:
    """Adam as DCGAN uses it, over the parameters of one network (or of a ModuleDict of several).

    `learning_rate` is the method's own, used where `training.learning_rate` is None.
    """
    betas = (settings.beta1, settings.beta2)
    return torch.optim.Adam(network.parameters(), lr=settings.learning_rate or learning_rate, betas=betas, fused=True)


def set_rates(optimizers: dict[str, torch.optim.Optimizer], rates: dict[str, float], step: int, steps: int) -> None:
    """Linearly up to the full rate, then down along a cosine."""
    share = step / steps
    factor = min(1.0, (share + 1 / steps) / WARM) * (LAST + (1 - LAST) * (1 + math.cos(math.pi * share)) / 2)
    for name, optimizer in optimizers.items():
        for group in optimizer.param_groups:
            group["lr"] = rates[name] * factor


def optimise(optimizer: torch.optim.Optimizer, loss: torch.Tensor, backward: Backward) -> None:
    """One step of an optimizer by the gradient of `loss` alone."""
    optimizer.zero_grad(set_to_none=True)
    backward(loss)
    optimizer.step()


def critic_networks(settings: Settings) -> NetworkSettings:
    """The settings of a discriminator: under WGAN-GP without batch norm, because its penalty is image by image."""
    networks = settings.networks
    if settings.training.adversarial == "wgan-gp" and networks.discriminator_norm == "batch":
        return networks.model_copy(update={"discriminator_norm": "none"})
    return networks


def train_discriminator(
    d: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: torch.Tensor,
    fakes: torch.Tensor,
    step: int,
    settings: TrainingSettings,
    backward: Backward,
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """One step of D on real images and fakes, (B, C, S, S) each: min softplus(-D(x)) + softplus(D(fake)).

    Every `r1_every` steps + r1_every gamma/2 |grad_x D(x)|^2: the lazy R1 of StyleGAN2.

    Returns scalars to log, and the loss of the network that made the fakes, softplus(-D(fake)) with D as it was before
    its step, to call `backward` on: D is computed once for both sides, which saves a twelfth of a DCGAN's step.
    """
    penalise = settings.r1_gamma > 0 and step % settings.r1_every == 0
    images = images.detach().requires_grad_(penalise)
    leaf = fakes.detach().requires_grad_(True)
    real_logits, fake_logits = d(images).logits, d(leaf).logits
    loss_g = generator_loss(fake_logits)
    (slope,) = torch.autograd.grad(loss_g, leaf, retain_graph=True)  # (B, C, S, S), before D's weights change
    loss = discriminator_loss(real_logits, fake_logits)
    logged = {"loss_d": loss.detach(), "logit_gap": (real_logits.mean() - fake_logits.mean()).detach()}
    if penalise:
        penalty = r1_penalty(real_logits, images)
        loss = loss + settings.r1_every * settings.r1_gamma / 2 * penalty
        logged["r1"] = penalty.detach()
    optimise(optimizer, loss, backward)
    return logged, loss_g.detach() + ((fakes - leaf.detach()) * slope).sum()  # adds 0, with the slope as gradient


def train_critic(
    d: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: torch.Tensor,
    fakes: torch.Tensor,
    rng: torch.Generator,
    backward: Backward,
) -> dict[str, torch.Tensor]:
    """One step of a WGAN-GP critic, images and fakes (B, C, S, S): min D(fake) - D(x) + lambda (|grad D(y)| - 1)^2.

    y lies at a random place (`rng`) between an image and a fake.
    """
    share = torch.rand(len(images), 1, 1, 1, generator=rng).to(images.device)
    between = torch.lerp(images, fakes.detach(), share).requires_grad_(True)
    real_scores, fake_scores = d(images).logits, d(fakes.detach()).logits
    penalty = gradient_penalty(d(between).logits, between)
    loss = fake_scores.mean() - real_scores.mean()  # minus the estimated Wasserstein distance
    optimise(optimizer, loss + PENALTY_WEIGHT * penalty, backward)
    return {"loss_d": loss.detach(), "logit_gap": -loss.detach(), "gradient_penalty": penalty.detach()}
