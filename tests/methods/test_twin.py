"""Twin: one step against the same step written out; what it remembers and its score, computed by hand; end to end."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.manifold._locally_linear import barycenter_weights
from sklearn.metrics import roc_auc_score
from training_steps import assert_same_weights, backward, batch, changed, parameters_changed, state, steps, untrained

from anotwin import Detector, Settings
from anotwin.compare.edges import EDGES, edge_directions
from anotwin.compare.heatmap import heatmap, heatmap_of_parts
from anotwin.data.synthetic import textured_discs
from anotwin.defects.whole import corrupt, damage, jitter
from anotwin.methods import twin
from anotwin.methods.twin import FEATURE_WEIGHT, MOVING, NEIGHBOURS, RESIDUAL, RIDGE, Twin, between, on_sphere
from anotwin.records import Batch, Comparison, ImageSpec, Status
from anotwin.seeding import generator
from anotwin.training.protocol import Trainer
from given_normals import Given

ROWS = "networks.memory=32"
Z = 6


def learnt(*overrides: str, channels: int = 1, parts: bool = False) -> Twin:
    """After a few steps: weights and statistics are far from their start."""
    method = untrained(
        "twin", ROWS, "training.learning_rate=0.002", "training.ema=0.5", *overrides, channels=channels, parts=parts
    )
    trainer = method.trainer()
    for step in range(6):
        trainer.step(Batch(batch(8, channels, seed=step)), step, generator(0, step), backward)
    method.networks.eval()
    return cast(Twin, method)


def remembering(count: int = 20, channels: int = 1) -> tuple[Twin, torch.Tensor]:
    method, images = learnt(channels=channels), batch(count, channels, seed=50)
    method.remember_normals(Given(images))
    return method, images


def whole(method: Twin, images: torch.Tensor) -> Comparison:
    return method.compare(images, method.counterpart(Batch(images, tuple(range(len(images))))))


def naive_descriptor(method: Twin, image: torch.Tensor) -> np.ndarray:
    """Edges and 0.4 of D's features, of length 1 together."""
    seen = method.discriminator.critique(image[None]).features[0].double().numpy()
    both = np.concatenate([edge_directions(image[None])[0].double().numpy(), FEATURE_WEIGHT * seen])
    return np.asarray(both / np.linalg.norm(both))


def naive_terms(method: Twin, images: torch.Tensor, own: bool = False) -> np.ndarray:
    """log r and log d, (N, 2), image by image; `own`: row i of the memory is of image i."""
    rows, memory = [], method.norms.memory[: int(method.norms.count)].double().numpy()
    for place, image in enumerate(images):
        codes = method.encoder(image[None])
        code = codes / codes.norm() * math.sqrt(Z)
        x, y = image.double().numpy(), method.generator(code)[0].double().numpy()
        left = memory[[row for row in range(len(memory)) if not own or row != place]]
        descriptor = naive_descriptor(method, image)
        nearest = left[np.argsort(((left - descriptor) ** 2).sum(1))[:NEIGHBOURS]]
        weights = barycenter_weights(descriptor[None], nearest, np.arange(len(nearest))[None], reg=RIDGE / len(nearest))
        distance = ((descriptor - weights[0] @ nearest) ** 2).sum()
        rows.append([np.log(((x - y) ** 2).mean() / x.var()), np.log(distance)])
    return np.array(rows, float)


# -- its own pair ----------------------------------------------------------------------------------------------------


def test_the_counterpart_is_drawn_from_the_code_on_the_sphere() -> None:
    method = learnt()
    found = method.counterpart(Batch(batch(3), (1, 2, 3)))
    assert found.latents is not None
    codes = method.networks["encoder"](batch(3))
    assert torch.allclose(found.latents, codes * (math.sqrt(Z) / codes.norm(dim=1, keepdim=True)), atol=1e-6)
    assert torch.allclose(found.latents.norm(dim=1), torch.full((3,), math.sqrt(Z)))
    assert torch.equal(found.images, method.networks["generator"](found.latents))
    assert found.steps.tolist() == [0, 0, 0]
    assert found.status == (Status.CONVERGED,) * 3
    assert found.trace is None


def test_on_the_sphere_codes_keep_their_direction() -> None:
    codes = torch.randn(5, Z, generator=generator(0)) * torch.tensor([1e-3, 0.1, 1, 10, 1e3])[:, None]
    placed = on_sphere(codes)
    assert torch.allclose(placed.norm(dim=1), torch.full((5,), math.sqrt(Z)))
    assert torch.allclose(F.cosine_similarity(codes, placed), torch.ones(5))
    assert torch.equal(on_sphere(torch.zeros(1, Z)), torch.zeros(1, Z))  # a damaged encoder gives no NaN


def test_between_codes_is_near_the_way_from_one_to_another() -> None:
    codes = on_sphere(torch.randn(500, Z, generator=generator(0)))
    placed = between(codes, generator(1))
    assert torch.allclose(placed, between_by_hand(codes, generator(1)), atol=1e-5)
    assert torch.equal(placed, between(codes, generator(1)))
    assert torch.allclose(placed.norm(dim=1), torch.full((500,), math.sqrt(Z)))
    alone = between(codes[:1].repeat(500, 1), generator(1))  # from itself to itself: noise alone
    angle = torch.acos(F.cosine_similarity(alone, codes[:1].expand(500, Z)).clamp(-1, 1))
    assert 0.05 < float(angle.max()) <= math.asin(twin.CODE_NOISE) + 1e-3


def test_a_query_that_breaks_the_networks_is_not_found() -> None:
    images = batch(3)
    images[1] = torch.nan
    found = learnt().counterpart(Batch(images, (1, 2, 3)))
    assert found.status == (Status.CONVERGED, Status.NOT_FOUND, Status.CONVERGED)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_score_by_hand(channels: int) -> None:
    method, _ = remembering(channels=channels)
    queries = batch(5, channels, seed=99)
    got = whole(method, queries)
    raw = naive_terms(method, queries)
    terms = (raw - method.norms.centre.numpy()) / method.norms.spread.numpy()
    assert np.allclose(got.scores.residual.numpy(), np.exp(raw[:, 0]), rtol=1e-4)
    assert np.allclose(got.scores.discrimination.numpy(), terms[:, 1], atol=1e-3)
    assert np.allclose(got.scores.anomaly.numpy(), terms[:, 1] + RESIDUAL * terms[:, 0], atol=1e-3)
    assert torch.equal(got.scores.score, got.scores.anomaly)
    assert torch.equal(got.scores.discriminator, -method.critique(queries).logits)
    assert torch.equal(method.critique(queries).features, method.discriminator.critique(queries).features)


def test_terms_of_parts_are_relative_to_their_neighbours() -> None:
    """As above, but expected is what the neighbours' terms are on average, not the mean of all."""
    method, images = learnt("networks.memory=64", parts=True), batch(60, seed=50)
    method.remember_normals(Given(images))
    norms, queries = method.norms, batch(5, seed=99)
    memory = norms.memory[:60].double().numpy()
    usual = naive_terms(method, images, own=True)

    def unexpected(raw: np.ndarray, seen: torch.Tensor, own: bool) -> np.ndarray:
        gaps = []
        for place, image in enumerate(seen):
            far = ((memory - naive_descriptor(method, image)) ** 2).sum(1)
            order = [row for row in np.argsort(far) if not own or row != place][:NEIGHBOURS]
            gaps.append(raw[place] - usual[order].mean(0))
        return np.array(gaps)

    spread = unexpected(usual, images, own=True).std(0)
    assert np.allclose(norms.spread.numpy(), spread, rtol=2e-2)
    terms = unexpected(naive_terms(method, queries), queries, own=False) / spread
    got = whole(method, queries)
    assert np.allclose(got.scores.discrimination.numpy(), terms[:, 1], atol=2e-2)
    total = terms[:, 1] + RESIDUAL * terms[:, 0]
    assert np.allclose(got.scores.anomaly.numpy(), total, atol=2e-2)
    expected = heatmap_of_parts(got.difference, got.scores.anomaly, 0.03)
    assert torch.allclose(got.heatmap, expected, rtol=1e-5)
    whole_images = remembering()[0]
    seen = whole(whole_images, queries)
    assert torch.equal(seen.heatmap, heatmap(seen.difference, whole_images.settings.compare.heatmap_sigma))


def test_a_part_as_far_from_normals_as_its_neighbours_is_not_abnormal() -> None:
    """Noise, where no two parts are alike, beside parts that are all but the same: each has a measure of its own."""
    still = batch(1, seed=3) + 0.02 * torch.randn(41, 1, 16, 16, generator=generator(0))
    noise = torch.rand(41, 1, 16, 16, generator=generator(1)) * 2 - 1
    method = learnt("networks.memory=128", parts=True)
    method.remember_normals(Given(torch.cat([still[:40], noise[:40]])))
    even, noisy = whole(method, torch.cat([still[40:], noise[40:]])).scores.discrimination.tolist()
    assert max(abs(even), abs(noisy)) < 3
    everywhere = learnt("networks.memory=128")
    everywhere.remember_normals(Given(torch.cat([still[:40], noise[:40]])))
    even, noisy = whole(everywhere, torch.cat([still[40:], noise[40:]])).scores.discrimination.tolist()
    assert noisy > even + 1


def test_the_memory_is_larger_for_parts_unless_it_is_set() -> None:
    networks, given = Settings().networks, Settings().with_overrides(["networks.memory=100"]).networks
    assert networks.memory_for(parts=True) > networks.memory_for(parts=False)
    assert given.memory_for(parts=True) == given.memory_for(parts=False) == 100


def test_each_term_raises_the_score() -> None:
    """Higher is more abnormal: what differs more, or is farther from all that is remembered."""
    method, images = remembering()
    counterpart = method.counterpart(Batch(images, tuple(range(20))))
    before = method.compare(images, counterpart)
    worse = method.compare(images, counterpart.__class__(-images, *list(vars(counterpart).values())[1:]))
    assert (worse.scores.anomaly > before.scores.anomaly).all()
    assert torch.equal(worse.scores.discrimination, before.scores.discrimination)
    method.norms.memory.copy_(-method.norms.memory)
    assert (method.compare(images, counterpart).scores.discrimination > before.scores.discrimination).all()
    assert (method.compare(images, counterpart).scores.anomaly > before.scores.anomaly).all()


# -- what it remembers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [9, 20, 32, 50])  # fewer images than rows of the memory, as many, more
def test_what_is_remembered_by_hand(count: int) -> None:
    method, images = remembering(count)
    norms, used = method.norms, images[:32]
    known = len(used)
    assert int(norms.count) == known
    assert norms.memory.shape == (32, EDGES + method.discriminator.feature_width)
    descriptors = np.stack([naive_descriptor(method, image) for image in used])
    assert np.allclose(norms.memory[:known].numpy(), descriptors, atol=5e-4)
    assert torch.allclose(norms.codes[:known], unit(method.encoder(used)), atol=1e-4)
    assert norms.memory[known:].count_nonzero() == norms.codes[known:].count_nonzero() == 0
    terms = naive_terms(method, used, own=True)
    assert np.allclose(norms.usual[:known].numpy(), terms, atol=2e-3)
    assert norms.usual[known:].count_nonzero() == 0
    assert np.allclose(norms.centre.numpy(), terms.mean(0), atol=2e-3)
    assert np.allclose(norms.spread.numpy(), terms.std(0), atol=2e-3)


def test_remembering_again_replaces_what_was_there() -> None:
    method, _ = remembering(30)
    fewer = batch(5, seed=51)
    method.remember_normals(Given(fewer))
    again = learnt()
    again.remember_normals(Given(fewer))
    for name, value in again.norms.state_dict().items():
        assert torch.equal(method.norms.state_dict()[name], value), name


def test_remembering_draws_nothing_and_changes_no_weight() -> None:
    method, images = learnt(), batch(20, seed=50)
    before, chance = state(method.networks), torch.get_rng_state()
    method.remember_normals(Given(images))
    assert torch.equal(torch.get_rng_state(), chance)
    assert "norms" in changed(before, state(method.networks))
    assert parameters_changed(method.networks, before) == set()
    assert not any(module.training for module in method.networks.modules())
    once = {name: value.clone() for name, value in method.norms.state_dict().items()}
    method.remember_normals(Given(images))
    assert all(torch.equal(once[name], value) for name, value in method.norms.state_dict().items())


def test_a_single_normal_and_equal_normals_are_remembered_and_score() -> None:
    for images in (batch(1), batch(1).repeat(12, 1, 1, 1), torch.full((12, 1, 16, 16), -1.0)):
        method = learnt()
        method.remember_normals(Given(images))
        assert all(value.isfinite().all() for value in method.norms.state_dict().values())
        assert (method.norms.spread > 0).all()
        assert whole(method, batch(4)).scores.score.isfinite().all()
        assert whole(method, images).scores.score.isfinite().all()


@pytest.mark.parametrize("count", [60, 400])
def test_unseen_normals_score_as_the_training_images_did(count: int) -> None:
    """Because an image is no neighbour of its own."""
    method = learnt("networks.memory=256")
    method.remember_normals(Given(batch(count, seed=50)))
    got = whole(method, batch(200, seed=51))
    for values in (
        got.scores.discrimination,
        (got.scores.anomaly - got.scores.discrimination) / RESIDUAL,
    ):  # D and n(log r)
        assert abs(float(values.mean())) < 0.4
        assert 0.6 < float(values.std()) < 1.6


def test_a_bundle_keeps_the_memory(tmp_path: Path) -> None:
    method, images = remembering()
    Detector(method).save(tmp_path / "model")
    loaded = cast(Twin, Detector.load(tmp_path / "model", device="cpu").method)
    assert set(loaded.networks) == {"encoder", "generator", "discriminator", "norms"}
    for name, value in method.norms.state_dict().items():
        assert torch.equal(loaded.norms.state_dict()[name], value)
    assert torch.equal(loaded.norms.memory, loaded.networks["norms"].memory)
    assert torch.equal(whole(loaded, images).scores.score, whole(method, images).scores.score)


# -- training --------------------------------------------------------------------------------------------------------


def unit(codes: torch.Tensor) -> torch.Tensor:
    return math.sqrt(Z) * codes / codes.norm(dim=1, keepdim=True)


def between_by_hand(codes: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """A point of the way from each code to another, and noise of a share of its length; no gradients."""
    others = codes[torch.randperm(len(codes), generator=rng)]
    share = torch.rand(len(codes), 1, generator=rng)
    noise = torch.randn(codes.shape, generator=rng)
    return unit(unit((1 - share) * codes + share * others) + twin.CODE_NOISE * unit(noise)).detach()


def discriminator_losses(
    e: torch.nn.Module, g: torch.nn.Module, d: twin.DamageDiscriminator, normals: torch.Tensor, rng: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """The hinge of D, and cross entropies of K with dropout, on normals, their damaged likes and what lies between."""
    damaged, kinds = damage(batch(), rng)
    z = between_by_hand(unit(e(normals)), rng)
    mask = (torch.rand(24, d.last_width, 4, 4, generator=rng) >= twin.DROPPED) / (1 - twin.DROPPED)
    critique = d.critique(torch.cat([normals, damaged, g(z).detach()]), mask)
    loss_d = (1 - critique.logits[:8]).clamp_min(0).mean() + (1 + critique.logits[16:]).clamp_min(0).mean()
    chances = F.log_softmax(critique.kinds, 1)
    return loss_d, -(chances[:8, 0].mean() + chances[8:16].gather(1, kinds[:, None]).mean()) / 2


def coder_losses(
    e: torch.nn.Module, g: torch.nn.Module, d: twin.DamageDiscriminator, normals: torch.Tensor, rng: torch.Generator
) -> dict[str, torch.Tensor]:
    """Restoring in pixels, in every block of D, the codes of what lies between, and D's verdict."""
    z = between_by_hand(unit(e(normals)), rng)
    drawn = g(z)
    corrupted = torch.cat([corrupt(normals[:4], rng), normals[4:]])
    counterparts = g(unit(e(corrupted)))
    critique = d.critique(torch.cat([normals, counterparts, drawn]))
    cosines = [1 - F.cosine_similarity(m[:8].detach().flatten(1), m[8:16].flatten(1)).mean() for m in critique.maps]
    return {
        "loss_rec": (((normals - counterparts) ** 2).mean((1, 2, 3)) / normals.var((1, 2, 3), correction=0)).mean(),
        "loss_f": sum(cosines, torch.zeros(())) / len(cosines),
        "loss_z": 1 - F.cosine_similarity(z, e(drawn.detach())).mean(),
        "loss_g": -critique.logits[8:16].mean() - critique.logits[16:].mean(),
    }


def test_a_step_is_the_algorithm_written_out() -> None:
    trainer = untrained("twin", ROWS).trainer()
    steps(trainer, batch(), 2, same_noise=False)
    e, g, d = (copy.deepcopy(trainer.networks[name]) for name in MOVING)
    adams = [torch.optim.Adam([*e.parameters(), *g.parameters()]), torch.optim.Adam(d.parameters())]
    for adam, name in zip(adams, ("coder", "discriminator"), strict=True):
        adam.load_state_dict(copy.deepcopy(trainer.optimizers[name].state_dict()))
    backed: list[float] = []

    def remember(loss: torch.Tensor) -> None:
        backed.append(float(loss.detach()))
        loss.backward()

    logged = trainer.step(Batch(batch()), 2, generator(9, "noise"), remember)

    rng = generator(9, "noise")
    normals = jitter(batch(), rng)
    loss_d, loss_k = discriminator_losses(e, g, d, normals, rng)
    adams[1].zero_grad()
    (loss_d + loss_k).backward()
    adams[1].step()
    losses = coder_losses(e, g, d, normals, rng)
    total = losses["loss_rec"] + losses["loss_f"] + losses["loss_z"] + twin.ADVERSARIAL * losses["loss_g"]
    adams[0].zero_grad()
    total.backward()
    adams[0].step()

    assert backed == pytest.approx([float((loss_d + loss_k).detach()), float(total.detach())], rel=1e-4)
    losses |= {"loss_d": loss_d, "loss_k": loss_k}
    expected = {name: float(value.detach()) for name, value in losses.items()}
    assert {name: float(logged[name]) for name in expected} == pytest.approx(expected, rel=1e-4)
    assert not any(value.requires_grad for value in logged.values())
    for name, theirs in zip(MOVING, (e, g, d), strict=True):
        assert_same_weights(trainer.networks[name], theirs)


def test_k_knows_the_damage_that_it_is_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    monkeypatch.setattr(twin, "damage", lambda *given: seen.append(given[2]) or damage(*given))
    method = cast(Twin, untrained("twin", ROWS, 'training.damage=["turned", "erased"]'))
    steps(method.trainer(), batch(), 1)
    assert seen == [["turned", "erased"]]
    assert method.discriminator.critique(batch(2)).kinds.shape == (2, 3)


@pytest.mark.parametrize("step", [0, 5])
def test_what_scores_are_moving_averages_of_all_three(step: int) -> None:
    trainer = untrained("twin", ROWS, "training.ema=0.3").trainer()
    before = state(trainer.networks)
    trainer.step(Batch(batch()), step, generator(0), backward)
    kept = min(0.3, (1 + step) / (10 + step))
    for name in MOVING:
        assert trainer.networks[f"average_{name}"] is not trainer.networks[name]
        new, old = trainer.networks[name].state_dict(), before[f"average_{name}"]
        for key, value in trainer.networks[f"average_{name}"].state_dict().items():
            if value.is_floating_point():
                assert torch.allclose(value, kept * old[key] + (1 - kept) * new[key], atol=1e-6), key
    moved = changed(before, state(trainer.networks))
    assert moved == {*MOVING, *(f"average_{name}" for name in MOVING)}


@pytest.mark.parametrize(
    "stopped, moved", [("coder", {"discriminator"}), ("discriminator", {"encoder", "generator"}), ("", set(MOVING))]
)
def test_each_side_moves_its_own_weights(stopped: str, moved: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = untrained("twin", ROWS).trainer()
    if stopped:
        monkeypatch.setattr(trainer.optimizers[stopped], "step", lambda: None)
    before = state(trainer.networks)
    steps(trainer, batch(), 1)
    assert parameters_changed(trainer.networks, before) & set(MOVING) == moved
    assert all(module.training for name in MOVING for module in trainer.networks[name].modules())
    assert all(weight.requires_grad for name in MOVING for weight in trainer.networks[name].parameters())


def test_training_remembers_nothing_yet() -> None:
    method = cast(Twin, untrained("twin", ROWS))
    steps(method.trainer(), batch(), 2)
    assert method.norms.memory.count_nonzero() == 0
    assert method.norms.spread.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("asked, base", [(None, twin.LEARNING_RATE), (0.003, 0.003)])
def test_the_learning_rate_falls_in_the_second_half(asked: float | None, base: float) -> None:
    wish = [f"training.learning_rate={asked}"] if asked else []
    trainer = untrained("twin", ROWS, "training.steps=100", *wish).trainer()
    rates = []
    for step in (0, 20, 50, 60, 75, 90, 99):
        trainer.step(Batch(batch()), step, generator(0), backward)
        every = {group["lr"] for optimizer in trainer.optimizers.values() for group in optimizer.param_groups}
        assert len(every) == 1
        rates.append(every.pop() / base)
    assert rates == pytest.approx([1, 1, 1, 0.8, 0.5, 0.2, 0.02])


def test_a_step_is_its_generators_alone() -> None:
    ends = []
    for seed in (0, 1):
        trainer = untrained("twin", ROWS).trainer()
        torch.manual_seed(seed)
        chance = torch.get_rng_state()
        trainer.step(Batch(batch()), 0, generator(0), backward)
        assert torch.equal(torch.get_rng_state(), chance)
        ends.append(state(trainer.networks))
    assert changed(*ends) == set()
    other = untrained("twin", ROWS).trainer()
    other.step(Batch(batch()), 0, generator(1), backward)
    assert set(MOVING) <= changed(ends[0], state(other.networks))


@pytest.mark.parametrize("cut", [1, 3, 5])
def test_a_training_taken_up_from_its_state_ends_the_same(cut: int) -> None:
    """The optimisers and the networks are all that a snapshot holds."""

    def trained(trainer: Trainer, first: int, last: int) -> Trainer:
        for step in range(first, last):
            trainer.step(Batch(batch(seed=step)), step, generator(0, step), backward)
        return trainer

    def fresh() -> Trainer:
        return untrained("twin", ROWS, "training.steps=7").trainer()

    straight, begun, taken_up = trained(fresh(), 0, 7), trained(fresh(), 0, cut), fresh()
    taken_up.networks.load_state_dict(copy.deepcopy(begun.networks.state_dict()))
    for name, optimizer in taken_up.optimizers.items():
        optimizer.load_state_dict(copy.deepcopy(begun.optimizers[name].state_dict()))
    trained(taken_up, cut, 7)
    assert changed(state(straight.networks), state(taken_up.networks)) == set()


def test_it_learns_to_restore_and_to_name_damage() -> None:
    trainer = untrained("twin", ROWS, "training.learning_rate=0.003", "training.steps=1000").trainer()
    rows = steps(trainer, batch(16), 50)
    assert rows[-1]["loss_rec"] < 0.5 * rows[0]["loss_rec"]
    assert rows[-1]["loss_k"] < 0.7 * rows[0]["loss_k"]
    assert rows[-1]["loss_z"] < rows[0]["loss_z"]


@pytest.mark.parametrize("count", [2, 5])
def test_a_preview_is_half_drawn_and_half_counterparts(count: int) -> None:
    method = learnt()
    trainer = method.trainer()
    before = state(trainer.networks)
    shown = trainer.preview(Batch(batch(count)))
    half = count // 2
    assert shown.shape == (count, 1, 16, 16)
    counterparts = method.counterpart(Batch(batch(count)[:half], tuple(range(half)))).images
    assert torch.allclose(shown[count - half :], counterparts, atol=1e-6)
    codes = between(on_sphere(method.encoder(batch(count)[half:])), generator(0, "preview"))
    assert torch.allclose(shown[: count - half], method.generator(codes), atol=1e-6)
    assert changed(before, state(trainer.networks)) == set()


def test_samples_lie_between_the_codes_remembered() -> None:
    method, _ = remembering()
    samples = method.sample(5, seed=1)
    for number, sample in enumerate(samples):
        rng = generator(1, "sample", number)
        pair = method.norms.codes[torch.randint(0, 20, (2,), generator=rng)]  # of those that there are
        assert torch.allclose(sample, method.networks["generator"](between_by_hand(pair, rng))[0], atol=1e-5)
    assert torch.equal(samples[:2], method.sample(2, seed=1))  # the first do not depend on the count
    assert torch.equal(samples[2:], method.sample(3, seed=1, first=2))
    assert torch.equal(samples, method.sample(5, seed=1))
    assert not torch.equal(samples, method.sample(5, seed=2))


# -- end to end ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def detector() -> Detector:
    """Trained for seconds on 150 grey discs of 16 pixels."""
    wishes = [
        "networks.base_channels=8", "networks.latent_dim=16", "networks.memory=256", "training.steps=150",
        "training.batch_size=32", "training.learning_rate=0.001", "training.ema=0.98",
        "calibration.false_alarm_rate=0.1",
    ]  # fmt: skip
    normals, _ = textured_discs(150, size=16, seed=0)
    return Detector.train(normals, method="twin", settings=Settings().with_overrides(wishes), device="cpu")


def test_planted_defects_score_above_normals(detector: Detector) -> None:
    images = [textured_discs(60, size=16, seed=1, abnormal=abnormal)[0] for abnormal in (False, True)]
    findings = detector.score(np.concatenate(images), pictures=False)
    labels = [0] * 60 + [1] * 60
    assert roc_auc_score(labels, [finding.score for finding in findings]) > 0.8
    assert roc_auc_score(labels, [finding.residual for finding in findings]) > 0.7
    normals = np.array([finding.score for finding in findings[:60]])
    assert abs(normals.mean()) < 1.5  # standardised, give or take what a short training overfits
    assert normals.std() < 4


def test_a_training_remembers_its_training_images_alone(detector: Detector) -> None:
    method, (normals, _) = cast(Twin, detector.method), textured_discs(150, size=16, seed=0)
    assert method.spec == ImageSpec(1, 16)
    fingerprints = [finding.fingerprint for finding in detector.score(normals, pictures=False)]
    images = torch.from_numpy(normals).float()[:, None] / 127.5 - 1
    descriptors = torch.from_numpy(np.stack([naive_descriptor(method, image) for image in images]))
    gaps = torch.cdist(descriptors, method.norms.memory.double()).min(1).values
    known = set(detector.fingerprints["train"].tolist())
    trained = torch.tensor([fingerprint in known for fingerprint in fingerprints])
    assert trained.sum() == int(method.norms.count) == 120
    assert gaps[trained].max() < 5e-4  # the memory is of half precision
    assert gaps[~trained].min() > 5e-3
