"""The loss of the search against closed forms, a numpy brute force and central finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from anotwin.compare.terms import anomaly_score, discrimination_score, reference_score, residual_score
from anotwin.methods.networks import Discriminator, Generator
from anotwin.records import ImageSpec
from anotwin.search.objective import anogan_objective
from anotwin.search.prior import bounded, prior_penalty
from anotwin.settings import NetworkSettings

EVERYONE = torch.arange(3)
few_examples = settings(derandomize=True, deadline=None, max_examples=50)
numbers = st.floats(-1e3, 1e3)
DIM, SIDE, BATCH = 5, 16, 3


def networks(norm: str = "batch", channels: int = 1) -> tuple[Generator, Discriminator]:
    """Real networks in float64 with weights and running statistics far from their start, in evaluation mode."""
    torch.manual_seed(0)
    values = NetworkSettings(latent_dim=DIM, base_channels=3, discriminator_norm=norm)
    spec = ImageSpec(channels, SIDE)
    pair = Generator(spec, values).double(), Discriminator(spec, values).double()
    with torch.no_grad():
        for network in pair:
            for tensor in [*network.parameters(), *network.buffers()]:
                if tensor.is_floating_point():
                    tensor += 0.1 * torch.rand(tensor.shape, dtype=tensor.dtype)
            network.eval().requires_grad_(False)
    return pair


def queries_and_latents(channels: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(1)
    queries = torch.rand(BATCH, channels, SIDE, SIDE, generator=rng, dtype=torch.float64) * 2 - 1
    return queries, torch.randn(BATCH, DIM, generator=rng, dtype=torch.float64)


def test_residual_in_closed_form() -> None:
    queries = torch.tensor([1.0, -0.5]).view(2, 1, 1, 1).expand(2, 3, 4, 4)
    assert residual_score(queries - torch.zeros(2, 3, 4, 4)).tolist() == [48.0, 24.0]


def test_sigmoid_loss_in_closed_form() -> None:
    logits = torch.tensor([0.0, 2.0, -2.0, 800.0, -800.0], dtype=torch.float64)
    expected = [math.log(2), math.log1p(math.exp(-2)), 2 + math.log1p(math.exp(-2)), 0.0, 800.0]
    assert reference_score(logits).tolist() == pytest.approx(expected, rel=1e-12)
    target = torch.ones_like(logits)
    oracle = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    assert torch.allclose(reference_score(logits), oracle)


@few_examples
@given(hnp.arrays(np.float64, (2, 3, 2, 4, 4), elements=numbers))
def test_residual_is_the_brute_force_sum(pair: np.ndarray) -> None:
    queries, images = pair
    expected = [
        math.fsum(abs(x - g) for x, g in zip(q.flat, i.flat, strict=True)) for q, i in zip(queries, images, strict=True)
    ]
    got = residual_score(torch.from_numpy(queries) - torch.from_numpy(images))
    assert got.tolist() == pytest.approx(expected, rel=1e-9, abs=1e-9)


@few_examples
@given(hnp.arrays(np.float64, (2, 3, 7), elements=numbers))
def test_feature_matching_is_the_brute_force_sum(pair: np.ndarray) -> None:
    expected = [math.fsum(abs(x - g) for x, g in zip(*rows, strict=True)) for rows in zip(*pair, strict=True)]
    got = discrimination_score(torch.from_numpy(pair[0]), torch.from_numpy(pair[1]))
    assert got.tolist() == pytest.approx(expected, rel=1e-9, abs=1e-9)


@few_examples
@given(numbers, numbers, st.floats(0, 1))
def test_blend_goes_from_residual_to_discrimination(residual: float, discrimination: float, weight: float) -> None:
    r, d = (torch.tensor([value], dtype=torch.float64) for value in (residual, discrimination))
    expected = residual + weight * (discrimination - residual)
    assert float(anomaly_score(r, d, weight)) == pytest.approx(expected, abs=1e-9)
    assert float(anomaly_score(r, d, 0.0)) == residual
    assert float(anomaly_score(r, d, 1.0)) == discrimination


@pytest.mark.parametrize("mode", ["feature_matching", "sigmoid"])
@pytest.mark.parametrize("weight", [0.0, 0.1, 1.0])
def test_terms_against_numpy(mode: str, weight: float) -> None:
    g, d = networks(channels=3)
    queries, latents = queries_and_latents(channels=3)
    terms = anogan_objective(g, d, queries, weight, mode)(latents, EVERYONE)
    for i in range(BATCH):
        x, image = queries[i].numpy(), g(latents[i : i + 1])[0].numpy()
        f_x, f_g = d(queries[i : i + 1]).features[0].numpy(), d(torch.from_numpy(image)[None]).features[0].numpy()
        residual = np.abs(x - image).sum()
        probability = 1 / (1 + math.exp(-float(d(torch.from_numpy(image)[None]).logits)))
        discrimination = -math.log(probability) if mode == "sigmoid" else np.abs(f_x - f_g).sum()
        assert float(terms.residual[i]) == pytest.approx(residual, rel=1e-9)
        assert float(terms.discrimination[i]) == pytest.approx(discrimination, rel=1e-9)
        assert float(terms.total[i]) == pytest.approx((1 - weight) * residual + weight * discrimination, rel=1e-9)


def test_perfect_counterpart_costs_nothing() -> None:
    g, d = networks()
    _, latents = queries_and_latents()
    terms = anogan_objective(g, d, g(latents))(latents, EVERYONE)
    assert terms.total.tolist() == terms.residual.tolist() == terms.discrimination.tolist() == [0.0] * BATCH


@pytest.mark.parametrize("mode", ["feature_matching", "sigmoid"])
@pytest.mark.parametrize("norm", ["none", "batch", "spectral"])
def test_gradient_by_central_finite_differences(mode: str, norm: str) -> None:
    g, d = networks(norm)
    queries, latents = queries_and_latents()
    objective = anogan_objective(g, d, queries, 0.5, mode)  # an even mix, so that neither term can hide
    moving = latents.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(objective(moving, EVERYONE).total.sum(), moving)
    h = 1e-6
    for i in range(BATCH):
        for k in range(DIM):
            step = torch.zeros_like(latents)
            step[i, k] = h
            numeric = (objective(latents + step, EVERYONE).total[i] - objective(latents - step, EVERYONE).total[i]) / (
                2 * h
            )
            assert float(gradient[i, k]) == pytest.approx(float(numeric), rel=1e-5, abs=1e-6), (i, k)
    assert float(gradient.abs().min()) > 1e-6  # none of them was trivially zero


@pytest.mark.parametrize("mode", ["feature_matching", "sigmoid"])
def test_no_image_sees_another(mode: str) -> None:
    g, d = networks()
    queries, latents = queries_and_latents()

    def loss_and_gradient(queries: torch.Tensor, latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        moving = latents.clone().requires_grad_(True)
        total = anogan_objective(g, d, queries, 0.1, mode)(moving, EVERYONE).total
        return total.detach(), torch.autograd.grad(total.sum(), moving)[0]

    losses, gradients = loss_and_gradient(queries, latents)
    for i in range(BATCH):
        other_queries, other_latents = -queries, latents + 1
        other_queries[i], other_latents[i] = queries[i], latents[i]
        changed_losses, changed_gradients = loss_and_gradient(other_queries, other_latents)
        assert torch.equal(changed_losses[i], losses[i])
        assert torch.equal(changed_gradients[i], gradients[i])
        assert not torch.equal(changed_gradients[i - 1], gradients[i - 1])


def test_query_features_are_computed_once_and_without_gradient() -> None:
    g, d = networks()
    queries, latents = queries_and_latents()
    seen: list[torch.Tensor] = []

    def critic(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(images)
        return d(images)

    objective = anogan_objective(g, critic, queries.requires_grad_(True))
    objective(latents, EVERYONE)
    assert not objective(latents, EVERYONE).discrimination.requires_grad
    assert [images is queries for images in seen] == [True, False, False]


@pytest.mark.parametrize("mode", ["feature_matching", "sigmoid"])
def test_rows_name_the_query(mode: str) -> None:
    """Any rows in any order, some twice, some not at all: each is as it would be with its own query alone."""
    g, d = networks()
    queries, _ = queries_and_latents()
    rows = torch.tensor([2, 0, 0, 2, 1])
    many = torch.randn(5, DIM, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    terms = anogan_objective(g, d, queries, 0.3, mode)(many, rows)
    for place, row in enumerate(rows.tolist()):
        alone = anogan_objective(g, d, queries[row : row + 1], 0.3, mode)(
            many[place : place + 1], torch.zeros(1).long()
        )
        for ours, theirs in zip(terms, alone, strict=True):
            assert float(ours[place]) == pytest.approx(float(theirs), rel=1e-12)


@pytest.mark.parametrize("prior", ["normal", "uniform"])
def test_the_prior_is_a_log_density_and_adds_to_the_total_alone(prior: str) -> None:
    g, d = networks()
    queries, latents = queries_and_latents()
    plain = anogan_objective(g, d, queries)(latents, EVERYONE)
    held = anogan_objective(g, d, queries, prior=prior, prior_weight=2.5)(latents, EVERYONE)
    assert torch.equal(held.residual, plain.residual)
    assert torch.equal(held.discrimination, plain.discrimination)
    if prior == "normal":
        density = torch.distributions.Normal(0.0, 1.0).log_prob(latents).sum(1)
        expected = -density - DIM / 2 * math.log(2 * math.pi)
    else:
        expected = torch.zeros(3, dtype=torch.float64)
    assert torch.allclose(prior_penalty(latents, prior), expected)
    assert torch.allclose(held.total - plain.total, 2.5 * expected)


@few_examples
@given(hnp.arrays(np.float64, (4, 3), elements=st.floats(-1e3, 1e3)), st.floats(0.1, 3.0))
def test_a_bound_is_the_projection(values: np.ndarray, bound: float) -> None:
    latents = torch.from_numpy(values)
    inside = bounded(latents, "normal", bound)
    radius = bound * math.sqrt(3)
    for point, moved in zip(values, inside.numpy(), strict=True):
        length = np.linalg.norm(point)
        expected = point if length <= radius else point / length * radius
        assert np.allclose(moved, expected, atol=1e-9)
    assert torch.allclose(bounded(inside, "normal", bound), inside)
    assert torch.equal(bounded(latents, "uniform", bound), latents.clip(-bound, bound))
    assert bounded(latents, "normal", 0.0) is latents


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_a_bound_makes_no_nan_of_zero_and_hides_none(value: float) -> None:
    moved = bounded(torch.tensor([[value, value], [3.0, 4.0]]), "normal", 1.0)
    assert moved[0].tolist() == [0.0, 0.0] if value == 0 else not moved[0].isfinite().all()
    assert torch.allclose(moved[1].norm(), torch.tensor(math.sqrt(2)))


def test_bf16_networks_sum_in_float32() -> None:
    """The sums of what bf16 networks say, in float64, agree with the objective to float32's rounding."""
    g, d = (network.to(torch.bfloat16) for network in networks())
    queries, latents = queries_and_latents()
    queries, latents = queries.float(), latents.float()

    def generate(z: torch.Tensor) -> torch.Tensor:
        return g(z.bfloat16())

    terms = anogan_objective(generate, lambda x: d(x.bfloat16()), queries)(latents, EVERYONE)
    assert terms.total.dtype == torch.float32
    images = generate(latents).double()
    residual = (queries.double() - images).abs().sum((1, 2, 3))
    features = d(queries.bfloat16()).features.double() - d(images.bfloat16()).features.double()
    assert torch.allclose(terms.residual.double(), residual, rtol=1e-5)
    assert torch.allclose(terms.discrimination.double(), features.abs().sum(1), rtol=1e-5)
