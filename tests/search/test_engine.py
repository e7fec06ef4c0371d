"""The engine on rough networks: one and the same result in any company, exact numbers at its end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from anotwin.methods.networks import Discriminator, Generator
from anotwin.records import Counterpart, ImageSpec
from anotwin.search.engine import find_counterparts, plan_of
from anotwin.seeding import image_latents, search_starts
from anotwin.settings import NetworkSettings, Settings

DIM, BATCH = 12, 11
SPEC = ImageSpec(1, 16)
LEAVING = ("search.steps=14", "search.patience=2", "search.tolerance=0.005", "search.learning_rate=0.1")


@pytest.fixture(params=[1, 2], ids=["1 thread", "2 threads"])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def networks(base: int = 8) -> tuple[Generator, Discriminator]:
    torch.manual_seed(0)
    settings = NetworkSettings(latent_dim=DIM, base_channels=base)
    pair = Generator(SPEC, settings), Discriminator(SPEC, settings)
    with torch.no_grad():
        for network in pair:
            for tensor in network.parameters():
                tensor += 0.15 * torch.randn(tensor.shape)
            network.eval().requires_grad_(False)
    return pair


def queries(count: int = BATCH) -> torch.Tensor:
    coarse = torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(2)) * 2 - 1
    return torch.nn.functional.interpolate(coarse, size=16, mode="bilinear")


def search(chosen: list[int], *overrides: str, prior: str = "normal", trace_at: tuple[int, ...] = ()) -> Counterpart:
    settings = Settings().with_overrides(overrides).search
    prints = [100 + row for row in chosen]
    starts = search_starts(prints, DIM, prior, settings.seed, settings.restarts)
    return find_counterparts(*networks(), queries()[chosen], starts, settings, prior, trace_at)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize(
    "prior, overrides",
    [
        ("normal", ("search.precision=32",)),
        ("normal", ("search.precision=bf16",)),
        ("normal", ("search.precision=32", "search.restarts=3", "search.prior_weight=0.1")),
        ("normal", ("search.precision=32", "search.discrimination=sigmoid", "search.bound=0")),
        ("uniform", ("search.precision=32",)),
    ],
)
def test_company_changes_no_bit(prior: str, overrides: tuple[str, ...]) -> None:
    """Alone, in any batch and order, with rows leaving at different steps; with one thread and with two."""
    overrides = (*LEAVING, *overrides)
    everyone = list(range(BATCH))
    together = search(everyone, *overrides, prior=prior)
    assert len(set(together.steps.tolist())) > 1  # rows left at different steps
    for chosen in ([7], everyone[::-1], [5, 5, 2, 8, 9]):
        apart = search(chosen, *overrides, prior=prior)
        assert apart.latents is not None
        assert together.latents is not None
        assert torch.equal(apart.latents, together.latents[chosen])
        assert apart.steps.tolist() == together.steps[chosen].tolist()
        assert apart.status == tuple(together.status[row] for row in chosen)
        for name, losses in apart.losses.items():
            assert torch.equal(losses, together.losses[name][chosen]), name


@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_numbers_and_pictures_are_those_of_the_networks(precision: str) -> None:
    g, d = networks()
    found = search(list(range(4)), f"search.precision={precision}", trace_at=(30, 0, 10, 99))
    assert found.latents is not None
    assert found.trace is not None
    assert torch.equal(found.images, g(found.latents))
    residual = (queries()[:4] - found.images).abs().sum((1, 2, 3))
    discrimination = (d(queries()[:4]).features - d(found.images).features).abs().sum(1)
    assert torch.allclose(found.losses["residual"], residual)
    assert torch.allclose(found.losses["discrimination"], discrimination)
    assert torch.allclose(found.losses["total"], 0.9 * residual + 0.1 * discrimination)
    assert all(loss.dtype == torch.float32 for loss in found.losses.values())
    assert found.trace.steps == (0, 10, 30)
    assert torch.equal(found.trace.losses[-1], found.losses["total"])
    assert torch.equal(found.trace.images[-1], found.images)
    start = image_latents([100, 101, 102, 103], DIM, "normal", 0)
    assert torch.allclose(
        found.trace.images[0], g(start * (DIM**0.5 / start.norm(dim=1, keepdim=True)).clamp_max(1)), atol=1e-5
    )
    assert (found.trace.losses[-1] < found.trace.losses[0]).all()


def test_the_paper_preset_is_the_papers_loop() -> None:
    """One image, Adam of torch at 0.01 for 500 steps on the networks as they are; no more than rounding apart."""
    g, d = networks()
    x, z = queries()[:1], image_latents([100], DIM, "normal", 0).requires_grad_(True)
    adam, losses = torch.optim.Adam([z], lr=0.01), []
    for _ in range(61):
        images = g(z)
        loss = 0.9 * (x - images).abs().sum() + 0.1 * (d(x).features - d(images).features).abs().sum()
        losses.append(float(loss.detach()))
        adam.zero_grad()
        loss.backward()
        adam.step()
    found = search([0], "search.preset=paper", "search.steps=60")
    assert float(found.losses["total"]) == pytest.approx(min(losses), rel=1e-4)
    assert found.steps.tolist() == [60]


def test_the_default_search_ends_lower_than_the_papers_with_as_many_steps() -> None:
    everyone = list(range(BATCH))
    engine, paper = (search(everyone, f"search.preset={preset}", "search.steps=20") for preset in ("engine", "paper"))
    assert (engine.losses["total"] < paper.losses["total"]).all()


@pytest.mark.parametrize("prior", ["normal", "uniform"])
def test_the_bound_holds_in_the_latents_returned(prior: str) -> None:
    found = search([0, 1, 2], "search.bound=0.4", prior=prior)
    assert found.latents is not None
    if prior == "normal":
        assert (found.latents.norm(dim=1) <= 0.4 * DIM**0.5 * (1 + 1e-5)).all()
    else:
        assert found.latents.abs().max() <= 0.4


def test_more_restarts_are_never_worse_in_32_bits() -> None:
    one, three = (search(list(range(BATCH)), "search.precision=32", f"search.restarts={r}") for r in (1, 3))
    assert (three.losses["total"] <= one.losses["total"] * (1 + 1e-5)).all()
    assert (three.losses["total"] < 0.999 * one.losses["total"]).any()


def test_damaged_networks_find_nothing_and_say_so() -> None:
    g, d = networks()
    with torch.no_grad():
        d.blocks[0][0].weight.fill_(torch.nan)
    starts = search_starts([1, 2], DIM, "normal", 0, 1)
    found = find_counterparts(g, d, queries(2), starts, Settings().search, "normal")
    assert {status.value for status in found.status} == {"no_counterpart"}
    assert all(loss.isinf().all() for loss in found.losses.values())


def test_a_prior_weight_is_lowered_with_the_loss() -> None:
    free, held = (search([0, 1, 2, 3], f"search.prior_weight={weight}", "search.bound=0") for weight in (0, 50))
    assert free.latents is not None
    assert held.latents is not None
    assert (held.latents.norm(dim=1) < 0.7 * free.latents.norm(dim=1)).all()


def test_the_plan_is_what_the_settings_say() -> None:
    settings = Settings().with_overrides(["search.preset=paper"]).search
    plan = plan_of(settings, "normal", torch.device("cpu"))
    assert (plan.steps, plan.optimizer.rate(0), plan.optimizer.rate(499), plan.patience) == (500, 0.01, 0.01, 0)
    assert (plan.optimizer.beta1, plan.optimizer.beta2) == (0.9, 0.999)
    far = torch.full((1, 3), 100.0)
    assert plan.keep_in is not None
    assert torch.equal(plan.keep_in(far), far)


def test_starts_are_the_images_own() -> None:
    starts = search_starts([5, 6, 7], 4, "normal", 1, 3)
    assert starts.shape == (3, 3, 4)
    assert torch.equal(starts[:, 0], image_latents([5, 6, 7], 4, "normal", 1))
    assert torch.equal(starts[[2, 0]], search_starts([7, 5], 4, "normal", 1, 3))
    assert torch.equal(starts[:, :2], search_starts([5, 6, 7], 4, "normal", 1, 2))
    assert len(starts.flatten(0, 1).unique(dim=0)) == 9
    warm = torch.zeros(3, 4)
    guided = search_starts([5, 6, 7], 4, "normal", 1, 3, warm)
    assert torch.equal(guided[:, 0], warm)
    assert torch.equal(guided[:, 1:], starts[:, 1:])
