"""One AnoGAN step against the same step written out with torch's own losses; the moving average; the counterpart."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from training_steps import (
    assert_same_weights,
    backward,
    batch,
    changed,
    parameters_changed,
    state,
    steps,
    stop,
    untrained,
)

from anotwin.records import Batch
from anotwin.seeding import draw_latents, generator, search_starts
from anotwin.training.ema import update_average

ONE, ZERO = torch.ones(8), torch.zeros(8)


@pytest.mark.parametrize("norm, gamma", [("batch", 0.0), ("none", 2.0), ("spectral", 0.5)])
@pytest.mark.parametrize("step", [0, 3, 4])
@pytest.mark.parametrize("prior", ["normal", "uniform"])
def test_a_step_is_the_algorithm_written_out(norm: str, gamma: float, step: int, prior: str) -> None:
    """Both losses of Goodfellow et al. 2014 on one set of fakes, then both moves; R1 every 4 steps, 4-fold."""
    method = untrained(
        "anogan",
        f"networks.discriminator_norm={norm}",
        f"networks.latent_prior={prior}",
        f"training.r1_gamma={gamma}",
        "training.r1_every=4",
        "training.ema=0.5",
    )
    trainer = method.trainer()
    g, d = copy.deepcopy(trainer.networks["generator"]), copy.deepcopy(trainer.networks["discriminator"])
    average = copy.deepcopy(trainer.networks["average"].state_dict())
    backed: list[float] = []

    def remember(loss: torch.Tensor) -> None:
        backed.append(float(loss.detach()))
        loss.backward()

    logged = trainer.step(Batch(batch()), step, generator(9, "noise"), remember)

    rng = generator(9, "noise")
    adams = {n: torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999)) for n, net in (("g", g), ("d", d))}
    entropy = F.binary_cross_entropy_with_logits
    images = batch().requires_grad_(True)
    fakes = g(draw_latents(8, 6, prior, rng))
    real_logits, fake_logits = d(images).logits, d(fakes).logits
    loss_d, loss_g = entropy(real_logits, ONE) + entropy(fake_logits, ZERO), entropy(fake_logits, ONE)
    total = loss_d
    penalty = torch.zeros(())
    if gamma and step % 4 == 0:
        (gradient,) = torch.autograd.grad(real_logits.sum(), images, create_graph=True)
        penalty = gradient.square().sum((1, 2, 3)).mean()
        total = loss_d + 4 * gamma / 2 * penalty
    moves = {
        name: torch.autograd.grad(loss, list(net.parameters()), retain_graph=True)
        for name, net, loss in (("d", d, total), ("g", g, loss_g))
    }
    for name, net in (("d", d), ("g", g)):
        for weight, gradient in zip(net.parameters(), moves[name], strict=True):
            weight.grad = gradient
        adams[name].step()

    total, loss_d, loss_g, penalty, gap = (
        float(value.detach()) for value in (total, loss_d, loss_g, penalty, (real_logits - fake_logits).mean())
    )
    assert backed == pytest.approx([total, loss_g], rel=1e-5)
    assert float(logged["loss_d"]) == pytest.approx(loss_d, rel=1e-5)
    assert float(logged["loss_g"]) == pytest.approx(loss_g, rel=1e-5)
    assert float(logged["logit_gap"]) == pytest.approx(gap, rel=1e-3, abs=1e-6)
    assert ("r1" in logged) == (gamma > 0 and step % 4 == 0)
    assert float(logged.get("r1", 0)) == pytest.approx(penalty, rel=1e-4)
    assert not any(value.requires_grad for value in logged.values())
    assert_same_weights(trainer.networks["generator"], g)
    assert_same_weights(trainer.networks["discriminator"], d)
    share = min(0.5, (1 + step) / (10 + step))
    for name, value in trainer.networks["average"].state_dict().items():
        if value.is_floating_point():
            expected = share * average[name] + (1 - share) * trainer.networks["generator"].state_dict()[name]
            assert torch.allclose(value, expected, atol=1e-6), name


@pytest.mark.parametrize("norm", ["none", "batch", "spectral"])
def test_each_network_learns_against_a_fixed_other(norm: str) -> None:
    overrides = (f"networks.discriminator_norm={norm}", "training.learning_rate=0.002")
    trainer = untrained("anogan", *overrides).trainer()
    steps(trainer, batch(), 3)  # away from the start, where D's verdict is a constant
    stop(trainer, "discriminator")
    rows = steps(trainer, batch(), 12)
    assert rows[-1]["loss_g"] < rows[0]["loss_g"] - 0.01

    trainer = untrained("anogan", *overrides).trainer()
    stop(trainer, "generator")
    rows = steps(trainer, batch(), 24)
    assert rows[-1]["loss_d"] < rows[0]["loss_d"] - 0.1
    assert rows[-1]["logit_gap"] > rows[0]["logit_gap"] + 0.1


@pytest.mark.parametrize(
    "stopped, moved",
    [((), {"generator", "average", "discriminator"}), (("generator",), {"discriminator"}),
     (("discriminator",), {"generator", "average"})],
)  # fmt: skip
def test_a_step_moves_the_weights_it_should(stopped: tuple[str, ...], moved: set[str]) -> None:
    trainer = untrained("anogan").trainer()
    for name in stopped:
        stop(trainer, name)
    before = state(trainer.networks)
    steps(trainer, batch(), 1)
    assert parameters_changed(trainer.networks, before) == moved


def test_a_step_leaves_no_trace_but_in_its_networks() -> None:
    trainer = untrained("anogan", "training.r1_gamma=1").trainer()
    images, expected = batch(), batch()
    steps(trainer, images, 2)
    assert torch.equal(images, expected)
    assert not images.requires_grad
    wants = {name: {p.requires_grad for p in net.parameters()} for name, net in trainer.networks.items()}
    assert wants == {"generator": {True}, "average": {False}, "discriminator": {True}}
    training = {name: {m.training for m in net.modules()} for name, net in trainer.networks.items()}
    assert training == {"generator": {True}, "average": {False}, "discriminator": {True}}


def test_generator_learns_nothing_from_the_discriminators_turn() -> None:
    """The gradient that moves G is that of its own loss alone."""
    trainer = untrained("anogan").trainer()
    turns: list[set[str]] = []

    def gradients() -> dict[str, list[list[float]]]:
        return {
            name: [[] if weight.grad is None else weight.grad.flatten().tolist() for weight in net.parameters()]
            for name, net in trainer.networks.items()
        }

    def watch(loss: torch.Tensor) -> None:
        before = gradients()
        backward(loss)
        after = gradients()
        turns.append({name for name in after if before[name] != after[name]})

    trainer.step(Batch(batch()), 0, generator(0), watch)
    assert turns == [{"discriminator"}, {"generator"}]


def test_trainer_moves_the_methods_own_networks() -> None:
    method = untrained("anogan")
    trainer = method.trainer()
    assert trainer.networks["average"] is method.networks["generator"]
    assert trainer.networks["discriminator"] is method.networks["discriminator"]
    assert trainer.networks["generator"] is not method.networks["generator"]
    assert set(method.networks) == {"generator", "discriminator"}  # what a bundle stores


@pytest.mark.parametrize("decay, step, share", [(0.0, 0, 0.0), (0.999, 0, 0.1), (0.999, 90, 0.91), (0.5, 90, 0.5)])
def test_average_in_closed_form(decay: float, step: int, share: float) -> None:
    torch.manual_seed(0)
    old, new = (torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3)) for _ in range(2))
    new(torch.randn(5, 2))  # statistics move on
    before, target = copy.deepcopy(old.state_dict()), copy.deepcopy(new.state_dict())
    update_average(old, new, decay, step)
    for name, value in old.state_dict().items():
        if value.is_floating_point():
            assert torch.allclose(value, share * before[name] + (1 - share) * target[name], atol=1e-6), name
        else:
            assert torch.equal(value, target[name])
    assert all(torch.equal(target[name], value) for name, value in new.state_dict().items())


def test_preview_shows_the_average_of_fixed_latents() -> None:
    trainer = untrained("anogan").trainer()
    before = state(trainer.networks)
    first, second = trainer.preview(Batch(batch(5))), trainer.preview(Batch(-batch(5)))
    assert torch.equal(first, second)
    assert first.shape == (5, 1, 16, 16)
    assert changed(before, state(trainer.networks)) == set()
    steps(trainer, batch(), 3)
    assert not torch.equal(trainer.preview(Batch(batch(5))), first)


@pytest.mark.parametrize("mode", ["feature_matching", "sigmoid"])
def test_counterpart_is_the_generators_image_at_the_best_latents(mode: str) -> None:
    method = untrained("anogan", f"search.discrimination={mode}", "search.discrimination_weight=0.3")
    queries, fingerprints = batch(3), (5, 6, 7)
    found = method.search(Batch(queries, fingerprints), trace_at=(3,))  # type: ignore[attr-defined]
    g, d = method.networks["generator"], method.networks["discriminator"]
    assert found.latents is not None
    assert torch.equal(found.images, g(found.latents))
    residual = (queries - found.images).abs().sum((1, 2, 3))
    if mode == "sigmoid":
        discrimination = -torch.sigmoid(d(found.images).logits).log()
    else:
        discrimination = (d(queries).features - d(found.images).features).abs().sum(1)
    assert found.trace is not None
    assert torch.allclose(found.trace.losses[-1], 0.7 * residual + 0.3 * discrimination)
    assert found.steps.tolist() == [3, 3, 3]
    assert found.images.dtype == found.trace.losses.dtype == torch.float32  # whatever the descent computed in
    without = method.counterpart(Batch(queries, fingerprints))
    assert without.trace is None
    assert torch.equal(without.images, found.images)


def test_search_starts_where_the_image_says_and_lowers_the_loss() -> None:
    changed = ("search.preset=paper", "search.steps=30", "search.learning_rate=0.1", "search.seed=4")
    method = untrained("anogan", *changed)
    found = method.search(Batch(batch(3), (5, 6, 7)), trace_at=(30, 0, 10, 99))  # type: ignore[attr-defined]
    assert found.trace is not None
    assert found.trace.steps == (0, 10, 30)  # a step that the search never made has no picture
    assert found.trace.losses.shape == (3, 3)
    assert found.trace.images.shape == (3, 3, 1, 16, 16)
    start = search_starts((5, 6, 7), 6, "normal", 4, 1)[:, 0]
    assert torch.equal(found.trace.images[0], method.networks["generator"](start))
    assert torch.equal(found.trace.images[-1], found.images)
    assert (found.trace.losses[-1] < found.trace.losses[0]).all()


def test_sampling_is_a_function_of_the_seed() -> None:
    method = untrained("anogan")
    one = method.sample(300, seed=1)
    assert one.shape == (300, 1, 16, 16)
    assert torch.equal(one, method.sample(300, seed=1))
    assert not torch.equal(one, method.sample(300, seed=2))
    assert one.abs().max() <= 1


@pytest.mark.parametrize("name", ["anogan", "fanogan"])
@pytest.mark.parametrize("prior", ["normal", "uniform"])
def test_a_sample_does_not_depend_on_how_many_are_drawn(name: str, prior: str) -> None:
    """Z = 100: torch draws normals 16 at a time, and the last of 500 are others than those of 800."""
    method = untrained(name, "networks.latent_dim=100", f"networks.latent_prior={prior}")
    together = method.sample(21, seed=1)
    for count in (1, 2, 3, 5, 8, 13):
        assert torch.equal(method.sample(count, seed=1), together[:count])
    assert torch.equal(method.sample(6, seed=1, first=15), together[15:])
    assert len(together.unique(dim=0)) == 21


def test_the_critique_is_the_discriminators() -> None:
    method = untrained("anogan", channels=3)
    expected = method.networks["discriminator"](batch(4, 3))
    assert torch.equal(method.critique(batch(4, 3)).logits, expected.logits)
    assert torch.equal(method.critique(batch(4, 3)).features, expected.features)
    assert not method.critique(batch(4, 3)).logits.requires_grad


@pytest.mark.parametrize("weight", [0.0, 0.1, 0.7])
def test_the_score_is_the_papers(weight: float) -> None:
    """A(x) = (1 - lambda) R(x) + lambda D(x), from the method's own networks and pictures."""
    method, queries = untrained("anogan", f"search.discrimination_weight={weight}"), batch(3)
    counterpart = method.counterpart(Batch(queries, (1, 2, 3)))
    comparison = method.compare(queries, counterpart)
    residual = (queries - counterpart.images).abs().sum((1, 2, 3))
    discrimination = (method.critique(queries).features - method.critique(counterpart.images).features).abs().sum(1)
    assert torch.allclose(comparison.scores.residual, residual)
    assert torch.allclose(comparison.scores.discrimination, discrimination)
    assert torch.allclose(comparison.scores.score, (1 - weight) * residual + weight * discrimination)
    assert torch.equal(comparison.scores.discriminator, -method.critique(queries).logits)
