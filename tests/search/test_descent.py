"""The search on problems with known minima, against a hand-written Adam, and image by image."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anotwin.records import Status
from anotwin.search.descent import descend
from anotwin.search.objective import Objective, Terms

quick = settings(derandomize=True, deadline=None, max_examples=25)
CENTRE = torch.tensor([0.5, -1.0, 2.0])


def as_objective(total: Callable[[torch.Tensor], torch.Tensor]) -> Objective:
    return lambda z: Terms(total(z), 2 * total(z), 3 * total(z))  # terms that can be told apart


def bowl(z: torch.Tensor) -> torch.Tensor:
    return (z - CENTRE).square().sum(1)


def cone(z: torch.Tensor) -> torch.Tensor:
    return (z - CENTRE).abs().sum(1)


def valley(z: torch.Tensor) -> torch.Tensor:
    """Rosenbrock in 3 dimensions with a valley 10 times as steep as it is long, minimum 0 at (1, 1, 1)."""
    return (10 * (z[:, 1:] - z[:, :-1] ** 2) ** 2 + (1 - z[:, :-1]) ** 2).sum(1)


def ripples(z: torch.Tensor) -> torch.Tensor:
    """Many minima: Adam's path goes up and down."""
    return (z.square() + 3 * torch.sin(8 * z)).sum(1) + 20


PROBLEMS = {"bowl": bowl, "cone": cone, "valley": valley, "ripples": ripples}


def starts(count: int = 4, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    "problem, minimum, steps, rate, far",
    [(bowl, CENTRE, 400, 0.1, 1e-3), (cone, CENTRE, 600, 0.02, 0.02), (valley, torch.ones(3), 2500, 0.03, 0.02)],
)
def test_finds_known_minima(
    problem: Callable[[torch.Tensor], torch.Tensor], minimum: torch.Tensor, steps: int, rate: float, far: float
) -> None:
    result = descend(starts(), as_objective(problem), steps=steps, learning_rate=rate)
    assert (result.latents - minimum).abs().max() < far
    assert (problem(starts()) > 100 * result.terms.total).all()


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("rate", [0.01, 0.5])
def test_best_never_rises_and_is_the_loss_at_the_latents(name: str, rate: float) -> None:
    problem = PROBLEMS[name]
    result = descend(starts(), as_objective(problem), steps=60, learning_rate=rate, trace_at=range(61))
    assert result.trace_losses is not None
    assert result.trace_latents is not None
    assert result.trace_losses.shape == (61, 4)
    assert result.trace_latents.shape == (61, 4, 3)
    assert (result.trace_losses.diff(dim=0) <= 0).all()
    for losses, latents in zip(result.trace_losses, result.trace_latents, strict=True):
        assert torch.equal(losses, problem(latents))
    assert torch.equal(result.trace_latents[0], starts())
    assert torch.equal(result.trace_latents[-1], result.latents)
    total, residual, discrimination = result.terms
    assert torch.equal(total, problem(result.latents))
    assert torch.equal(residual, 2 * total)
    assert torch.equal(discrimination, 3 * total)
    assert not result.latents.requires_grad


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("rate", [0.02, 0.3])
def test_is_the_textbook_loop(name: str, rate: float) -> None:
    """One image, Adam written out (Kingma & Ba 2015, algorithm 1) and torch's own, the best point kept."""
    problem, steps = PROBLEMS[name], 50
    z = starts(1).requires_grad_(True)
    adam = torch.optim.Adam([z], lr=rate)
    points = [z.detach().clone()]
    for _ in range(steps):
        adam.zero_grad()
        problem(z).sum().backward()
        adam.step()
        points.append(z.detach().clone())
    losses = [float(problem(point)) for point in points]
    best = points[losses.index(min(losses))]
    result = descend(starts(1), as_objective(problem), steps=steps, learning_rate=rate)
    assert torch.equal(result.latents, best)
    assert float(result.terms.total) == min(losses)

    z, m, v = starts(1).double(), torch.zeros(1, 3).double(), torch.zeros(1, 3).double()
    written = [z]
    for t in range(1, 6):
        moving = z.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(problem(moving).sum(), moving)
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        z = z - rate * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
        written.append(z)
    for point, ours in zip(written, points[:6], strict=True):
        assert torch.allclose(point.float(), ours, atol=1e-5)


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
@pytest.mark.parametrize("place", [0, 2])
def test_a_poisoned_image_leaves_its_neighbours_alone(poison: float, place: int) -> None:
    def poisoned(z: torch.Tensor) -> torch.Tensor:
        factor = torch.ones(len(z))
        factor[place] = poison
        return (ripples(z) + 1) * factor

    clean = descend(starts(), as_objective(lambda z: (ripples(z) + 1) * torch.ones(len(z))), steps=40)
    result = descend(starts(), as_objective(poisoned), steps=40)
    others = [i for i in range(4) if i != place]
    assert torch.equal(result.latents[others], clean.latents[others])
    for ours, theirs in zip(result.terms, clean.terms, strict=True):
        assert torch.equal(ours[others], theirs[others])
    assert [result.status[i] for i in others] == [clean.status[i] for i in others]
    assert result.status[place] is Status.NOT_FOUND
    assert torch.equal(result.latents[place], starts()[place])
    assert [float(term[place]) for term in result.terms] == [float("inf")] * 3


def test_a_loss_that_turns_nan_keeps_the_best_before() -> None:
    def cliff(z: torch.Tensor) -> torch.Tensor:
        return torch.where(z < -0.5, torch.nan, z).sum(1) + 1

    result = descend(torch.zeros(2, 1), as_objective(cliff), steps=50, learning_rate=0.1)
    assert (result.latents >= -0.5).all()
    assert (result.latents < -0.3).all()
    assert torch.equal(result.terms.total, cliff(result.latents))
    assert set(result.status) <= {Status.CONVERGED, Status.BUDGET_SPENT}


def test_no_steps_is_the_start() -> None:
    result = descend(starts(), as_objective(bowl), steps=0, trace_at=[0])
    assert torch.equal(result.latents, starts())
    assert torch.equal(result.terms.total, bowl(starts()))
    assert result.steps.tolist() == [0] * 4
    assert result.status == (Status.BUDGET_SPENT,) * 4  # nothing is known of where the loss was going
    assert result.trace_latents is not None
    assert torch.equal(result.trace_latents, starts()[None])


def test_status_says_whether_the_loss_still_fell() -> None:
    def slope(z: torch.Tensor) -> torch.Tensor:
        return (z + 100).abs().sum(1)

    def flat(z: torch.Tensor) -> torch.Tensor:
        return 0 * z.sum(1) + 7

    falling = descend(torch.zeros(1, 1), as_objective(slope), steps=200, learning_rate=0.3)
    assert falling.status == (Status.BUDGET_SPENT,)
    assert descend(torch.zeros(1, 1), as_objective(flat), steps=200).status == (Status.CONVERGED,)
    there = descend(torch.full((1, 1), -100.0), as_objective(slope), steps=200)
    assert there.status == (Status.CONVERGED,)  # a loss of 0 cannot fall
    assert float(there.terms.total) == 0
    assert falling.steps.tolist() == [200]
    assert falling.steps.dtype == torch.int64


def test_status_boundary_is_one_percent_of_the_last_tenth() -> None:
    """A loss that falls by a known number a step, whatever the latents do."""
    for fall, expected in ((0.00099, Status.CONVERGED), (0.00101, Status.BUDGET_SPENT)):
        calls = iter(range(101))

        def clockwork(z: torch.Tensor, calls: object = calls, fall: float = fall) -> torch.Tensor:
            return 0 * z.sum(1) + 1 - fall * max(next(calls) - 90, 0)  # type: ignore[call-overload]

        result = descend(torch.zeros(1, 1), lambda z, f=clockwork: Terms(*(f(z),) * 3), steps=100)
        assert result.status == (expected,)


def test_trace_only_where_asked() -> None:
    everything = descend(starts(), as_objective(bowl), steps=20, trace_at=range(21))
    some = descend(starts(), as_objective(bowl), steps=20, trace_at=[20, 0, 7, 7])
    assert some.trace_losses is not None
    assert everything.trace_losses is not None
    assert torch.equal(some.trace_losses, everything.trace_losses[[0, 7, 20]])
    plain = descend(starts(), as_objective(bowl), steps=20)
    assert plain.trace_losses is None
    assert plain.trace_latents is None
    assert torch.equal(plain.latents, some.latents)


def test_start_is_not_touched() -> None:
    start = starts()
    descend(start, as_objective(bowl), steps=5)
    assert torch.equal(start, starts())
    assert not start.requires_grad


@quick
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(1, 6),
    steps=st.integers(0, 30),
    rate=st.floats(1e-3, 1.0),
    name=st.sampled_from(sorted(PROBLEMS)),
)
def test_batch_is_alone_is_shuffled(seed: int, count: int, steps: int, rate: float, name: str) -> None:
    objective, start = as_objective(PROBLEMS[name]), starts(count, seed)
    together = descend(start, objective, steps=steps, learning_rate=rate)
    for i in range(count):
        alone = descend(start[i : i + 1], objective, steps=steps, learning_rate=rate)
        assert torch.equal(alone.latents[0], together.latents[i])
        assert torch.equal(alone.terms.total[0], together.terms.total[i])
        assert alone.status[0] is together.status[i]
    flipped = descend(start.flip(0), objective, steps=steps, learning_rate=rate)
    assert torch.equal(flipped.latents.flip(0), together.latents)
