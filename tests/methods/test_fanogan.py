"""f-AnoGAN's encoder step and WGAN-GP step against the same steps written out; which stage a step is; the score."""

from __future__ import annotations

import copy

import pytest
import torch
from training_steps import (
    assert_same_weights,
    backward,
    batch,
    changed,
    parameters_changed,
    state,
    steps,
    untrained,
)

from anotwin.errors import SettingsError
from anotwin.methods.adversary import critic_networks
from anotwin.methods.fanogan import squashed
from anotwin.methods.protocol import Trainer
from anotwin.records import Batch, Status
from anotwin.seeding import draw_latents, generator
from anotwin.settings import Settings

ENCODING = ("training.steps=10", "training.encoder_share=0.5", "networks.latent_dim=6")
FIRST = 5  # the first step of the encoder's


def warmed(*overrides: str) -> Trainer:
    """A trainer at the end of its first stage: the average, the statistics and D are far from their start."""
    trainer = untrained("fanogan", *ENCODING, "training.learning_rate=0.002", *overrides).trainer()
    steps(trainer, batch(), FIRST, same_noise=False)
    return trainer


@pytest.mark.parametrize(
    "total, share, start", [(4000, 0.4, 2400), (10, 0.5, 5), (1, 0.4, 0), (4, 0.4, 2), (3, 0.9, 0)]
)
def test_the_last_steps_are_the_encoders(total: int, share: float, start: int) -> None:
    trainer = untrained("fanogan", f"training.steps={total}", f"training.encoder_share={share}").trainer()
    before = state(trainer.networks)
    if start > 0:
        trainer.step(Batch(batch()), start - 1, generator(0), backward)
        assert "encoder" not in changed(before, state(trainer.networks))
    trainer.step(Batch(batch()), start, generator(0), backward)
    assert "encoder" in changed(before, state(trainer.networks))


@pytest.mark.parametrize("objective", ["izi_f", "izi", "ziz"])
@pytest.mark.parametrize("prior, reach", [("normal", 3), ("uniform", 1)])
@pytest.mark.parametrize("norm", ["batch", "spectral"])
def test_an_encoder_step_is_the_objective_written_out(objective: str, prior: str, reach: float, norm: str) -> None:
    trainer = warmed(
        f"training.encoder_objective={objective}",
        f"networks.latent_prior={prior}",
        f"networks.discriminator_norm={norm}",
    )
    e = copy.deepcopy(trainer.networks["encoder"])
    g, d = (copy.deepcopy(trainer.networks[name]).eval() for name in ("average", "discriminator"))
    backed: list[float] = []

    def remember(loss: torch.Tensor) -> None:
        backed.append(float(loss.detach()))
        loss.backward()

    logged = trainer.step(Batch(batch()), FIRST, generator(9, "noise"), remember)

    adam = torch.optim.Adam(e.parameters(), lr=0.002, betas=(0.5, 0.999))
    if objective == "ziz":
        z = draw_latents(8, 6, prior, generator(9, "noise"))
        loss = ((z - reach * torch.tanh(e(g(z)) / reach)) ** 2).mean()
    else:
        counterparts = g(reach * torch.tanh(e(batch()) / reach))
        loss = ((batch() - counterparts) ** 2).mean()
        if objective == "izi_f":
            loss = loss + ((d(batch()).features - d(counterparts).features) ** 2).mean()
    adam.zero_grad()
    loss.backward()
    adam.step()
    assert backed == pytest.approx([float(loss.detach())], rel=1e-5)
    assert float(logged["loss_e"]) == pytest.approx(float(loss.detach()), rel=1e-5)
    assert not any(value.requires_grad for value in logged.values())
    assert_same_weights(trainer.networks["encoder"], e)


@pytest.mark.parametrize("objective", ["izi_f", "izi", "ziz"])
def test_each_stage_moves_its_own_networks(objective: str) -> None:
    trainer = untrained("fanogan", *ENCODING, f"training.encoder_objective={objective}").trainer()
    before = state(trainer.networks)
    trainer.step(Batch(batch()), FIRST - 1, generator(0), backward)
    assert parameters_changed(trainer.networks, before) == {"generator", "average", "discriminator"}
    before = state(trainer.networks)
    trainer.step(Batch(batch()), FIRST, generator(0), backward)
    assert changed(before, state(trainer.networks)) == {"encoder"}  # not even a running statistic of the others


def test_the_first_stage_is_anogans() -> None:
    """The same weights, images and noise: the same GAN, bit by bit."""
    ours, theirs = (untrained(name, *ENCODING) for name in ("fanogan", "anogan"))
    for network in ("generator", "discriminator"):
        theirs.networks[network].load_state_dict(ours.networks[network].state_dict())
    ends = []
    for method in (ours, theirs):
        trainer = method.trainer()
        steps(trainer, batch(), FIRST, same_noise=False)
        ends.append(state(trainer.networks))
    for network in ("generator", "average", "discriminator"):
        assert all(torch.equal(value, ends[1][network][key]) for key, value in ends[0][network].items())


@pytest.mark.parametrize("objective", ["izi_f", "izi", "ziz"])
def test_the_encoder_learns_its_objective(objective: str) -> None:
    trainer = warmed(f"training.encoder_objective={objective}")
    generate = trainer.networks["average"]
    with torch.no_grad():
        for weight in generate.parameters():
            weight *= 8  # five steps make no generator that listens to its noise
        images = generate(torch.randn(8, 6, generator=generator(1)))
    losses = [float(trainer.step(Batch(images), step, generator(0), backward)["loss_e"]) for step in range(FIRST, 65)]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("adversarial", ["gan", "wgan-gp"])
@pytest.mark.parametrize("objective", ["izi_f", "ziz"])
@pytest.mark.parametrize("cut", [3, 5, 7])
def test_a_training_taken_up_from_its_state_ends_the_same(adversarial: str, objective: str, cut: int) -> None:
    """Before, at and after the change of stages; the optimisers and weights are all that a snapshot holds."""
    overrides = (*ENCODING, f"training.adversarial={adversarial}", f"training.encoder_objective={objective}")

    def run(trainer: Trainer, first: int, last: int) -> Trainer:
        for step in range(first, last):
            trainer.step(Batch(batch(seed=step)), step, generator(0, step), backward)
        return trainer

    whole = run(untrained("fanogan", *overrides).trainer(), 0, 10)
    begun, taken_up = (
        run(untrained("fanogan", *overrides).trainer(), 0, cut),
        untrained("fanogan", *overrides).trainer(),
    )
    taken_up.networks.load_state_dict(copy.deepcopy(begun.networks.state_dict()))
    for name, optimizer in taken_up.optimizers.items():
        optimizer.load_state_dict(copy.deepcopy(begun.optimizers[name].state_dict()))
    run(taken_up, cut, 10)
    assert changed(state(whole.networks), state(taken_up.networks)) == set()


@pytest.mark.parametrize("step", [0, 3, 4])
@pytest.mark.parametrize("name", ["anogan", "fanogan"])
def test_a_wasserstein_step_is_the_algorithm_written_out(name: str, step: int) -> None:
    """Gulrajani et al. 2017, algorithm 1: lambda = 10, the generator after every fifth step of the critic."""
    trainer = untrained(name, "training.adversarial=wgan-gp", "training.ema=0").trainer()
    g, d = (copy.deepcopy(trainer.networks[part]) for part in ("generator", "discriminator"))
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in d.modules())
    logged = trainer.step(Batch(batch()), step, generator(9, "noise"), backward)

    rng = generator(9, "noise")
    adams = [torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999)) for net in (g, d)]
    fakes = g(draw_latents(8, 6, "normal", rng)).detach()
    share = torch.rand(8, 1, 1, 1, generator=rng)
    between = ((1 - share) * batch() + share * fakes).requires_grad_(True)
    (slope,) = torch.autograd.grad(d(between).logits.sum(), between, create_graph=True)
    penalty = ((slope.flatten(1).square().sum(1).sqrt() - 1) ** 2).mean()
    loss_d = d(fakes).logits.mean() - d(batch()).logits.mean()
    adams[1].zero_grad()
    (loss_d + 10 * penalty).backward()
    adams[1].step()
    assert float(logged["loss_d"]) == pytest.approx(float(loss_d.detach()), rel=1e-4)
    assert float(logged["gradient_penalty"]) == pytest.approx(float(penalty.detach()), rel=1e-4)
    assert float(logged["logit_gap"]) == pytest.approx(-float(loss_d.detach()), rel=1e-4)
    assert ("loss_g" in logged) == (step == 4)
    if step == 4:
        loss_g = -d(g(draw_latents(8, 6, "normal", rng))).logits.mean()
        adams[0].zero_grad()
        loss_g.backward()
        adams[0].step()
        assert float(logged["loss_g"]) == pytest.approx(float(loss_g.detach()), rel=1e-4)
    assert_same_weights(trainer.networks["generator"], g)
    assert_same_weights(trainer.networks["discriminator"], d)


def test_the_critic_learns_to_tell_with_a_slope_near_one() -> None:
    trainer = untrained("anogan", "training.adversarial=wgan-gp", "training.learning_rate=0.002").trainer()
    for group in trainer.optimizers["generator"].param_groups:
        group["lr"] = 0.0
    rows = steps(trainer, batch(), 80)
    assert rows[-1]["logit_gap"] > rows[0]["logit_gap"] + 1
    assert rows[-1]["gradient_penalty"] < 0.2 < rows[0]["gradient_penalty"]


@pytest.mark.parametrize(
    "adversarial, norm, built",
    [("gan", "batch", "batch"), ("wgan-gp", "batch", "none"), ("wgan-gp", "spectral", "spectral")],
)
def test_a_wasserstein_critic_has_no_batch_norm(adversarial: str, norm: str, built: str) -> None:
    overrides = [f"training.adversarial={adversarial}", f"networks.discriminator_norm={norm}"]
    assert critic_networks(Settings().with_overrides(overrides)).discriminator_norm == built


def test_a_method_with_a_loss_of_its_own_refuses_another() -> None:
    with pytest.raises(SettingsError, match=r"training.adversarial=wgan-gp.*acae.*expected gan"):
        untrained("acae", "training.adversarial=wgan-gp")


@pytest.mark.parametrize("prior, reach", [("normal", 3.0), ("uniform", 1.0)])
def test_codes_stay_where_the_prior_is(prior: str, reach: float) -> None:
    codes = torch.linspace(-50, 50, 1001, dtype=torch.float64)[None]
    inside = squashed(codes, prior)  # type: ignore[arg-type]
    assert inside.abs().max() <= reach
    assert (inside.diff() >= 0).all()
    small = codes[codes.abs() < 0.2 * reach]
    assert torch.allclose(squashed(small, prior), small, rtol=0.02)  # type: ignore[arg-type]


def test_counterpart_is_one_pass_through_encoder_and_generator() -> None:
    method = untrained("fanogan")
    found = method.counterpart(Batch(batch(3), (1, 2, 3)))
    e, g = method.networks["encoder"], method.networks["generator"]
    codes = 3 * torch.tanh(e(batch(3)) / 3)
    assert found.latents is not None
    assert torch.allclose(found.latents, codes)
    assert torch.equal(found.images, g(found.latents))
    assert found.steps.tolist() == [0, 0, 0]
    assert found.status == (Status.CONVERGED,) * 3
    assert found.trace is None


def test_the_score_is_the_papers() -> None:
    """A(x) = 1/n |x - G(E(x))|^2 + kappa/n_d |f(x) - f(G(E(x)))|^2 with kappa = 1, which is izi_f."""
    method, queries = untrained("fanogan", channels=3), batch(3, 3)
    counterpart = method.counterpart(Batch(queries, (1, 2, 3)))
    comparison = method.compare(queries, counterpart)
    residual = ((queries - counterpart.images) ** 2).mean((1, 2, 3))
    features = ((method.critique(queries).features - method.critique(counterpart.images).features) ** 2).mean(1)
    assert torch.allclose(comparison.scores.residual, residual)
    assert torch.allclose(comparison.scores.discrimination, features)
    assert torch.allclose(comparison.scores.score, residual + features)
    assert torch.equal(comparison.scores.discriminator, -method.critique(queries).logits)


def test_a_query_that_breaks_the_networks_is_not_found() -> None:
    images = batch(3)
    images[1] = torch.nan
    found = untrained("fanogan").counterpart(Batch(images, (1, 2, 3)))
    assert found.status == (Status.CONVERGED, Status.NOT_FOUND, Status.CONVERGED)


def test_samples_and_previews_are_the_generators() -> None:
    method = untrained("fanogan")
    samples = method.sample(5, seed=1)
    assert samples.shape == (5, 1, 16, 16)
    assert torch.equal(samples, method.sample(5, seed=1))
    trainer = warmed()
    shown = trainer.preview(Batch(batch(5)))
    assert torch.equal(shown, trainer.preview(Batch(-batch(5))))
    assert shown.shape == (5, 1, 16, 16)


def test_a_bundle_stores_what_scoring_needs() -> None:
    method = untrained("fanogan")
    trainer = method.trainer()
    assert set(method.networks) == {"generator", "discriminator", "encoder"}
    assert set(trainer.networks) == {"generator", "average", "discriminator", "encoder"}
    assert set(trainer.optimizers) == {"generator", "discriminator", "encoder"}
    for ours, theirs in (("generator", "average"), ("discriminator", "discriminator"), ("encoder", "encoder")):
        assert method.networks[ours] is trainer.networks[theirs]


def test_with_a_search_it_is_not_folded() -> None:
    method = untrained("fanogan", "search.warm=true")
    assert method.for_inference() is method  # type: ignore[attr-defined]


def test_a_warm_search_begins_at_the_encoders_guess_and_only_gets_closer() -> None:
    cold, images = untrained("fanogan"), batch(4)
    guess = cold.counterpart(Batch(images, (1, 2, 3, 4)))
    still = untrained("fanogan", "search.warm=true", "search.steps=0", "search.bound=0")
    unmoved = still.counterpart(Batch(images, (1, 2, 3, 4)))
    assert unmoved.latents is not None
    assert guess.latents is not None
    assert torch.allclose(unmoved.latents, guess.latents, atol=1e-5)
    moved = untrained("fanogan", "search.warm=true", "search.steps=8", "search.bound=0", "search.precision=32")
    found = moved.search(Batch(images, (1, 2, 3, 4)), trace_at=(0, 8))  # type: ignore[attr-defined]
    assert found.trace is not None
    at_start, at_end = found.trace.losses
    assert (at_end <= at_start + 1e-3).all()
    assert (at_end < at_start).any()
