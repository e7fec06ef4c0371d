"""The engine on random networks: results do not depend on the batch and are exact at the end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from anotwin.methods.networks import Discriminator, Generator
from anotwin.records import Counterpart, ImageSpec
from anotwin.search.engine import find_counterparts, plan_of
from anotwin.seeding import search_starts
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
    fingerprints = [100 + row for row in chosen]
    starts = search_starts(fingerprints, DIM, prior, settings.seed, settings.restarts)
    return find_counterparts(*networks(), queries()[chosen], starts, settings, prior, trace_at)


def losses(found: Counterpart) -> torch.Tensor:
    """Those at the last step of the trace."""
    assert found.trace is not None
    return found.trace.losses[-1]


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
def test_no_result_depends_on_the_batch(prior: str, overrides: tuple[str, ...]) -> None:
    """Alone, in any batch and order, with rows leaving at different steps; with one thread and with two."""
    overrides = (*LEAVING, *overrides)
    everyone = list(range(BATCH))
    together = search(everyone, *overrides, prior=prior, trace_at=(5, 14))
    assert len(set(together.steps.tolist())) > 1  # rows left at different steps
    for chosen in ([7], everyone[::-1], [5, 5, 2, 8, 9]):
        apart = search(chosen, *overrides, prior=prior, trace_at=(5, 14))
        assert apart.latents is not None
        assert together.latents is not None
        assert torch.equal(apart.latents, together.latents[chosen])
        assert apart.steps.tolist() == together.steps[chosen].tolist()
        assert apart.status == tuple(together.status[row] for row in chosen)
        assert torch.equal(apart.images, together.images[chosen])
        assert apart.trace is not None
        assert together.trace is not None
        assert torch.equal(apart.trace.losses, together.trace.losses[:, chosen])


@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_numbers_and_pictures_are_those_of_the_networks(precision: str) -> None:
    g, d = networks()
    found = search(list(range(4)), f"search.precision={precision}", trace_at=(30, 0, 10, 99))
    assert found.latents is not None
    assert found.trace is not None
    assert torch.equal(found.images, g(found.latents))
    residual = (queries()[:4] - found.images).abs().sum((1, 2, 3))
    discrimination = (d(queries()[:4]).features - d(found.images).features).abs().sum(1)
    assert found.trace.steps == (0, 10, 30)
    assert torch.allclose(found.trace.losses[-1], 0.9 * residual + 0.1 * discrimination)
    assert found.images.dtype == found.trace.losses.dtype == torch.float32  # whatever the descent computed in
    assert torch.equal(found.trace.images[-1], found.images)
    start = search_starts([100, 101, 102, 103], DIM, "normal", 0, 1)[:, 0]
    assert torch.allclose(
        found.trace.images[0], g(start * (DIM**0.5 / start.norm(dim=1, keepdim=True)).clamp_max(1)), atol=1e-5
    )
    assert (found.trace.losses[-1] < found.trace.losses[0]).all()


def test_the_paper_preset_is_the_papers_loop() -> None:
    """One image, Adam of torch at 0.01 for 500 steps on the networks as they are; no more than rounding apart."""
    g, d = networks()
    x, z = queries()[:1], search_starts([100], DIM, "normal", 0, 1)[:, 0].requires_grad_(True)
    adam, by_hand = torch.optim.Adam([z], lr=0.01), []
    for _ in range(61):
        images = g(z)
        loss = 0.9 * (x - images).abs().sum() + 0.1 * (d(x).features - d(images).features).abs().sum()
        by_hand.append(float(loss.detach()))
        adam.zero_grad()
        loss.backward()
        adam.step()
    found = search([0], "search.preset=paper", "search.steps=60", trace_at=(60,))
    assert float(losses(found)) == pytest.approx(min(by_hand), rel=1e-4)
    assert found.steps.tolist() == [60]


def test_the_default_search_ends_lower_than_the_papers_with_as_many_steps() -> None:
    everyone = list(range(BATCH))
    engine, paper = (
        losses(search(everyone, f"search.preset={preset}", "search.steps=20", trace_at=(20,)))
        for preset in ("engine", "paper")
    )
    assert (engine < paper).all()


@pytest.mark.parametrize("prior", ["normal", "uniform"])
def test_the_bound_holds_in_the_latents_returned(prior: str) -> None:
    found = search([0, 1, 2], "search.bound=0.4", prior=prior)
    assert found.latents is not None
    if prior == "normal":
        assert (found.latents.norm(dim=1) <= 0.4 * DIM**0.5 * (1 + 1e-5)).all()
    else:
        assert found.latents.abs().max() <= 0.4


def test_more_restarts_are_never_worse_in_32_bits() -> None:
    one, three = (
        losses(search(list(range(BATCH)), "search.precision=32", f"search.restarts={r}", trace_at=(30,)))
        for r in (1, 3)
    )
    assert (three <= one * (1 + 1e-5)).all()
    assert (three < 0.999 * one).any()


def test_damaged_networks_find_nothing_and_say_so() -> None:
    g, d = networks()
    with torch.no_grad():
        d.blocks[0][0].weight.fill_(torch.nan)
    starts = search_starts([1, 2], DIM, "normal", 0, 1)
    found = find_counterparts(g, d, queries(2), starts, Settings().search, "normal")
    assert {status.value for status in found.status} == {"no_counterpart"}
    assert found.latents is not None
    bounded = starts[:, 0] * (DIM**0.5 / starts[:, 0].norm(dim=1, keepdim=True)).clamp_max(1)
    assert torch.allclose(found.latents, bounded, atol=1e-5)  # where the search began


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
