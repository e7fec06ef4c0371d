"""The adversarial losses in closed form, against torch's own, and R1 by analytic gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from anotwin.methods.losses import discriminator_loss, generator_loss, gradient_penalty, r1_penalty

few_examples = settings(derandomize=True, deadline=None, max_examples=50)
logits = hnp.arrays(np.float64, 5, elements=st.floats(-50, 50))


def test_a_discriminator_that_cannot_tell() -> None:
    zeros = torch.zeros(3)
    assert float(discriminator_loss(zeros, zeros)) == pytest.approx(2 * math.log(2), rel=1e-6)
    assert float(generator_loss(zeros)) == pytest.approx(math.log(2), rel=1e-6)


@few_examples
@given(logits, logits)
def test_losses_are_cross_entropies(real: np.ndarray, fake: np.ndarray) -> None:
    x, g = torch.from_numpy(real), torch.from_numpy(fake)
    entropy = F.binary_cross_entropy_with_logits
    expected = entropy(x, torch.ones_like(x)) + entropy(g, torch.zeros_like(g))
    assert float(discriminator_loss(x, g)) == pytest.approx(float(expected), rel=1e-9, abs=1e-12)
    assert float(generator_loss(g)) == pytest.approx(float(entropy(g, torch.ones_like(g))), rel=1e-9, abs=1e-12)


def test_losses_stay_finite_and_point_the_right_way() -> None:
    sure = torch.tensor([1e4])
    assert float(discriminator_loss(sure, -sure)) == 0
    assert float(discriminator_loss(-sure, sure)) == 2e4
    assert float(generator_loss(-sure)) == 1e4  # no vanishing gradient where D is sure: the non-saturating form
    fake = torch.tensor([-20.0], requires_grad=True)
    generator_loss(fake).backward()
    assert float(fake.grad) == pytest.approx(-1)


@pytest.mark.parametrize("slope", [0.0, 0.5, 1.0, 3.0])
def test_gradient_penalty_of_a_linear_critic(slope: float) -> None:
    weight = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0))
    weight = slope * weight / weight.norm()
    images = torch.randn(6, 3, 4, 4, requires_grad=True)
    penalty = gradient_penalty((images * weight).sum((1, 2, 3)) + 5, images)
    assert float(penalty.detach()) == pytest.approx((slope - 1) ** 2, abs=1e-6)  # least at 1, whatever the direction


def test_gradient_penalty_can_be_trained_through_image_by_image() -> None:
    rng = torch.Generator().manual_seed(0)
    matrix = torch.randn(16, 16, generator=rng, dtype=torch.float64).requires_grad_(True)
    images = torch.randn(5, 1, 4, 4, generator=rng, dtype=torch.float64).requires_grad_(True)
    flat = images.flatten(1)
    penalty = gradient_penalty(0.5 * (flat @ matrix * flat).sum(1), images)
    slopes = (flat @ (matrix + matrix.T) / 2).square().sum(1).sqrt()
    expected = ((slopes - 1) ** 2).mean()
    assert float(penalty.detach()) == pytest.approx(float(expected.detach()), rel=1e-12)
    ours, theirs = (torch.autograd.grad(value, matrix, retain_graph=True)[0] for value in (penalty, expected))
    assert torch.allclose(ours, theirs)


def test_r1_of_a_linear_critic_is_its_squared_weight() -> None:
    weight = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0))
    images = torch.randn(6, 3, 4, 4, requires_grad=True)
    penalty = r1_penalty((images * weight).sum((1, 2, 3)) + 5, images)
    assert float(penalty.detach()) == pytest.approx(float(weight.square().sum()), rel=1e-5)


def test_r1_of_a_quadratic_critic_is_the_mean_of_its_squared_gradients() -> None:
    rng = torch.Generator().manual_seed(0)
    matrix = torch.randn(16, 16, generator=rng, dtype=torch.float64).requires_grad_(True)
    images = torch.randn(5, 1, 4, 4, generator=rng, dtype=torch.float64).requires_grad_(True)
    flat = images.flatten(1)
    penalty = r1_penalty(0.5 * (flat @ matrix * flat).sum(1), images)
    symmetric = (matrix + matrix.T) / 2
    expected = (flat @ symmetric).square().sum(1).mean()
    assert float(penalty.detach()) == pytest.approx(float(expected.detach()), rel=1e-12)
    ours, theirs = (torch.autograd.grad(value, matrix, retain_graph=True)[0] for value in (penalty, expected))
    assert torch.allclose(ours, theirs)  # it can be trained through
