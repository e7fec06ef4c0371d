"""One aCAE step against the same step written out; it learns to reconstruct; its counterpart is one pass."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from training_steps import assert_same_weights, batch, changed, parameters_changed, state, steps, stop, untrained

from anotwin.records import Batch, Status
from anotwin.seeding import generator

ONE, ZERO = torch.ones(8), torch.zeros(8)


@pytest.mark.parametrize("norm, gamma", [("batch", 0.0), ("none", 2.0)])
@pytest.mark.parametrize("step", [0, 3])
def test_a_step_is_the_algorithm_written_out(norm: str, gamma: float, step: int) -> None:
    """Pathak et al. 2016, section 3.2: 0.999 reconstruction + 0.001 adversarial, then the discriminator."""
    trainer = untrained(
        "acae", f"networks.discriminator_norm={norm}", f"training.r1_gamma={gamma}", "training.r1_every=4"
    ).trainer()
    e, g, d = (copy.deepcopy(trainer.networks[name]) for name in ("encoder", "decoder", "discriminator"))
    backed: list[float] = []

    def remember(loss: torch.Tensor) -> None:
        backed.append(float(loss.detach()))
        loss.backward()

    logged = trainer.step(Batch(batch()), step, generator(0), remember)

    coder = torch.optim.Adam([*e.parameters(), *g.parameters()], lr=2e-4, betas=(0.5, 0.999))
    critic = torch.optim.Adam(d.parameters(), lr=2e-4, betas=(0.5, 0.999))
    entropy = F.binary_cross_entropy_with_logits
    images = batch().requires_grad_(True)
    fakes = g(e(batch()))
    loss_rec, loss_adv = F.mse_loss(fakes, batch()), entropy(copy.deepcopy(d)(fakes).logits, ONE)
    total_coder = 0.999 * loss_rec + 0.001 * loss_adv
    coder.zero_grad()
    total_coder.backward()
    coder.step()
    real_logits = d(images).logits
    loss_d = total_d = entropy(real_logits, ONE) + entropy(d(fakes.detach()).logits, ZERO)
    if gamma and step % 4 == 0:
        (gradient,) = torch.autograd.grad(real_logits.sum(), images, create_graph=True)
        total_d = loss_d + 4 * gamma / 2 * gradient.square().sum((1, 2, 3)).mean()
    critic.zero_grad()
    total_d.backward()
    critic.step()

    assert backed == pytest.approx([float(total_d.detach()), float(total_coder.detach())], rel=1e-5)
    expected = {"loss_rec": loss_rec, "loss_g": loss_adv, "loss_d": loss_d}
    assert {name: float(logged[name]) for name in expected} == pytest.approx(
        {name: float(value.detach()) for name, value in expected.items()}, rel=1e-5
    )
    for name, theirs in (("encoder", e), ("decoder", g), ("discriminator", d)):
        assert_same_weights(trainer.networks[name], theirs)


def test_reconstruction_falls() -> None:
    trainer = untrained("acae", "training.learning_rate=0.002").trainer()
    rows = steps(trainer, batch(), 60)
    assert rows[-1]["loss_rec"] < 0.4 * rows[0]["loss_rec"]


def test_discriminator_learns_against_a_fixed_coder() -> None:
    trainer = untrained("acae", "training.learning_rate=0.002").trainer()
    stop(trainer, "coder")
    rows = steps(trainer, batch(), 12)
    assert rows[-1]["loss_d"] < rows[0]["loss_d"] - 0.1
    assert rows[-1]["loss_rec"] == pytest.approx(rows[0]["loss_rec"], rel=1e-5)


@pytest.mark.parametrize(
    "stopped, moved",
    [
        ((), {"encoder", "decoder", "discriminator"}),
        (("coder",), {"discriminator"}),
        (("discriminator",), {"encoder", "decoder"}),
    ],
)
def test_a_step_moves_the_weights_it_should(stopped: tuple[str, ...], moved: set[str]) -> None:
    trainer = untrained("acae").trainer()
    for name in stopped:
        stop(trainer, name)
    before = state(trainer.networks)
    steps(trainer, batch(), 1)
    assert parameters_changed(trainer.networks, before) == moved


def test_preview_reconstructs_and_changes_nothing() -> None:
    trainer = untrained("acae").trainer()
    steps(trainer, batch(), 2)
    before = state(trainer.networks)
    shown = trainer.preview(Batch(batch(5)))
    assert shown.shape == (5, 1, 16, 16)
    assert not torch.equal(shown, trainer.preview(Batch(-batch(5))))
    assert changed(before, state(trainer.networks)) == set()
    assert all(module.training for module in trainer.networks.modules())


def test_counterpart_is_one_pass() -> None:
    method = untrained("acae", "search.discrimination_weight=0.3")
    found = method.counterpart(Batch(batch(3), (1, 2, 3)))
    e, g, d = (method.networks[name] for name in ("encoder", "decoder", "discriminator"))
    images = g(e(batch(3)))
    assert torch.equal(found.images, images)
    assert found.latents is not None
    assert torch.equal(found.latents, e(batch(3)))
    residual = (batch(3) - images).abs().sum((1, 2, 3))
    discrimination = (d(batch(3)).features - d(images).features).abs().sum(1)
    comparison = method.compare(batch(3), found)
    assert torch.allclose(comparison.scores.discrimination, discrimination)
    assert torch.allclose(comparison.scores.score, 0.7 * residual + 0.3 * discrimination)
    assert found.steps.tolist() == [0, 0, 0]
    assert found.status == (Status.CONVERGED,) * 3
    assert found.trace is None


def test_a_query_that_breaks_the_networks_is_not_found() -> None:
    method = untrained("acae")
    images = batch(3)
    images[1] = torch.nan
    found = method.counterpart(Batch(images, (1, 2, 3)))
    assert found.status == (Status.CONVERGED, Status.NOT_FOUND, Status.CONVERGED)


@pytest.mark.parametrize("weight", [0.0, 0.1, 0.7])
def test_the_score_is_the_papers(weight: float) -> None:
    """A(x) = (1 - lambda) R(x) + lambda D(x), from the method's own networks and pictures."""
    method, queries = untrained("acae", f"search.discrimination_weight={weight}"), batch(3)
    counterpart = method.counterpart(Batch(queries, (1, 2, 3)))
    comparison = method.compare(queries, counterpart)
    residual = (queries - counterpart.images).abs().sum((1, 2, 3))
    discrimination = (method.critique(queries).features - method.critique(counterpart.images).features).abs().sum(1)
    assert torch.allclose(comparison.scores.residual, residual)
    assert torch.allclose(comparison.scores.discrimination, discrimination)
    assert torch.allclose(comparison.scores.score, (1 - weight) * residual + weight * discrimination)
    assert torch.equal(comparison.scores.discriminator, -method.critique(queries).logits)
