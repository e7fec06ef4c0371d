"""The search on problems with known minima, against a hand-written Adam, row by row, with rows leaving."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anotwin.records import Status
from anotwin.search.adam import Adam
from anotwin.search.descent import Plan, SearchResult, evaluate, least_rows
from anotwin.search.descent import descend as descend_all
from anotwin.search.objective import Objective, Terms

few_examples = settings(derandomize=True, deadline=None, max_examples=25)
CENTRE = torch.tensor([0.5, -1.0, 2.0])


def as_objective(total: Callable[[torch.Tensor], torch.Tensor]) -> Objective:
    return lambda z, _rows: Terms(total(z), 2 * total(z), 3 * total(z))  # terms that can be told apart


def descend(
    start: torch.Tensor,
    objective: Objective,
    *,
    steps: int = 500,
    learning_rate: float = 0.03,
    trace_at: Sequence[int] = (),
) -> SearchResult:
    """The paper's search from one start (B, Z) an image."""
    return descend_all(start[:, None], objective, Plan(steps, Adam(learning_rate)), trace_at)


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
    def poisoned(z: torch.Tensor, rows: torch.Tensor) -> Terms:
        return Terms(*((ripples(z) + 1) * torch.where(rows == place, poison, 1.0),) * 3)

    clean = descend(starts(), lambda z, _rows: Terms(*(ripples(z) + 1,) * 3), steps=40)
    result = descend(starts(), poisoned, steps=40)
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

        result = descend(torch.zeros(1, 1), lambda z, _rows, f=clockwork: Terms(*(f(z),) * 3), steps=100)
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


@few_examples
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


# -- many starts, rows that leave -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_best_of_restarts_is_the_best_of_searches_alone(name: str) -> None:
    begin = torch.stack([starts(3, seed) for seed in range(5)], 1)  # (3, 5, 3)
    objective, plan = as_objective(PROBLEMS[name]), Plan(40, Adam(0.1))
    together = descend_all(begin, objective, plan, trace_at=[0, 7, 40])
    alone = [descend_all(begin[:, r : r + 1], objective, plan, trace_at=[0, 7, 40]) for r in range(5)]
    totals = torch.stack([result.terms.total for result in alone])  # (5, 3)
    for image in range(3):
        winner = alone[int(totals[:, image].argmin())]
        assert torch.equal(together.latents[image], winner.latents[image])
        assert [float(term[image]) for term in together.terms] == [float(term[image]) for term in winner.terms]
        assert together.status[image] is winner.status[image]
    assert together.trace_losses is not None
    traces = torch.stack([result.trace_losses for result in alone])  # type: ignore[arg-type]
    assert torch.equal(together.trace_losses, traces.amin(0))


def test_every_row_is_told_which_image_it_belongs_to() -> None:
    centres = torch.tensor([[1.0, 2.0], [-3.0, 0.5], [0.0, -1.0]])

    def objective(z: torch.Tensor, rows: torch.Tensor) -> Terms:
        assert rows.dtype == torch.int64
        return Terms(*((z - centres[rows]).abs().sum(1),) * 3)

    result = descend_all(torch.zeros(3, 2, 2), objective, Plan(300, Adam(0.1), tolerance=0.01, patience=20))
    assert (result.latents - centres).abs().max() < 0.1


def by_hand(problem: Callable[[torch.Tensor], torch.Tensor], start: torch.Tensor, plan: Plan) -> tuple[float, int, str]:
    """One row with an early stop, written out with torch's Adam: best loss, steps made, status."""
    z = start.clone().requires_grad_(True)
    adam = torch.optim.Adam([z], lr=plan.optimizer.learning_rate)
    bests = [float(problem(z).detach())]
    looked = [float("inf")]
    for step in range(plan.steps):
        if step and step % plan.patience == 0:
            if not looked[-1] - bests[-1] > plan.tolerance * abs(bests[-1]):
                return bests[-1], step, "converged"
            looked.append(bests[-1])
        adam.zero_grad()
        problem(z).sum().backward()
        adam.step()
        bests.append(min(bests[-1], float(problem(z).detach())))
    flat = bests[plan.steps - plan.steps // 10] - bests[-1] <= 0.01 * abs(bests[plan.steps - plan.steps // 10])
    return bests[-1], plan.steps, "converged" if flat else "budget_spent"


@pytest.mark.parametrize("name", PROBLEMS)
def test_each_row_stops_by_itself_as_written_out(name: str) -> None:
    begin, plan = starts(7, seed=3) * 2, Plan(200, Adam(0.05), tolerance=0.02, patience=10)
    result = descend_all(begin[:, None], as_objective(PROBLEMS[name]), plan)
    for i in range(7):
        best, steps, status = by_hand(PROBLEMS[name], begin[i : i + 1], plan)
        assert float(result.terms.total[i]) == best
        assert int(result.steps[i]) == steps
        assert result.status[i].value == status
    assert len(set(result.steps.tolist())) > 1  # not all at once: rows left while others moved on


def test_rows_that_have_left_cost_nothing_and_keep_a_flat_trace() -> None:
    seen: list[list[int]] = []

    def objective(z: torch.Tensor, rows: torch.Tensor) -> Terms:
        seen.append(sorted(set(rows.tolist())))
        return Terms(*(torch.where(rows == 0, 0 * z.sum(1) + 5, (z + 50).abs().sum(1)),) * 3)

    result = descend_all(torch.zeros(3, 1, 2), objective, Plan(50, Adam(0.3), tolerance=0.01, patience=4), range(51))
    assert result.steps.tolist() == [8, 50, 50]  # at the first look inf has fallen to 5
    assert seen[:9] == [[0, 1, 2]] * 9
    assert seen[9:] == [[1, 2]] * 42
    assert result.status[0] is Status.CONVERGED
    assert result.trace_losses is not None
    assert result.trace_losses.shape == (51, 3)
    assert (result.trace_losses[:, 0] == 5).all()
    assert (result.trace_losses[:, 1].diff() < 0).all()


def test_a_trace_goes_on_when_all_have_left() -> None:
    flat = as_objective(lambda z: 0 * z.sum(1) + 7)
    result = descend_all(torch.zeros(2, 1, 1), flat, Plan(40, tolerance=0.01, patience=5), [0, 3, 30, 40, 41])
    assert result.steps.tolist() == [10, 10]
    assert result.trace_losses is not None
    assert result.trace_losses.tolist() == [[7, 7]] * 4


def test_nothing_finite_leaves_at_the_first_look() -> None:
    result = descend_all(torch.zeros(2, 2, 1), as_objective(lambda z: z.sum(1) * torch.nan), Plan(40, patience=5))
    assert result.steps.tolist() == [5, 5]
    assert result.status == (Status.NOT_FOUND,) * 2


def test_latents_stay_where_they_are_kept() -> None:
    plan = Plan(60, Adam(0.2), keep_in=lambda z: z.clamp(-0.7, 0.7))
    result = descend_all(starts(4)[:, None] * 3, as_objective(bowl), plan, trace_at=range(61))
    assert result.trace_latents is not None
    assert result.trace_latents.abs().max() <= 0.7
    assert torch.allclose(result.latents, CENTRE.clamp(-0.7, 0.7), atol=5e-3)  # the nearest point of the box


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 11])
@pytest.mark.parametrize("at_once", [1, 4, 8])
def test_networks_see_powers_of_two_of_rows(count: int, at_once: int) -> None:
    sizes: list[int] = []

    def objective(z: torch.Tensor, rows: torch.Tensor) -> Terms:
        assert len(z) == len(rows)
        sizes.append(len(z))
        return Terms(*((rows + 1) * bowl(z),) * 3)

    z, rows = starts(count), torch.arange(count).flip(0)
    terms, gradients = evaluate(objective, z, rows, at_once, gradient=True)
    assert all(2 <= size <= max(at_once, 2) and size & (size - 1) == 0 for size in sizes)
    assert torch.equal(terms.total, (rows + 1) * bowl(z))
    assert torch.allclose(gradients, 2 * (rows + 1)[:, None] * (z - CENTRE))


@few_examples
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(1, 7),
    restarts=st.integers(1, 3),
    patience=st.integers(0, 9),
    name=st.sampled_from(sorted(PROBLEMS)),
)
def test_no_row_depends_on_the_others_when_rows_leave(
    seed: int, count: int, restarts: int, patience: int, name: str
) -> None:
    begin = starts(count * restarts, seed).view(count, restarts, 3)
    plan = Plan(30, Adam(0.2, 0.5, 0.9, decay_over=30), tolerance=0.05, patience=patience, rows_at_once=4)
    together = descend_all(begin, as_objective(PROBLEMS[name]), plan)
    order = list(range(count))[::-1]
    for chosen in (*([i] for i in range(count)), order):
        apart = descend_all(begin[chosen], as_objective(PROBLEMS[name]), plan)
        assert torch.equal(apart.latents, together.latents[chosen])
        assert torch.equal(apart.terms.total, together.terms.total[chosen])
        assert apart.steps.tolist() == together.steps[chosen].tolist()
        assert apart.status == tuple(together.status[i] for i in chosen)


def test_a_decaying_rate_against_torchs_schedule() -> None:
    z = starts(1).requires_grad_(True)
    adam = torch.optim.Adam([z], lr=0.3, betas=(0.5, 0.9))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, T_max=20)
    losses = [float(valley(z).detach())]
    for _ in range(20):
        adam.zero_grad()
        valley(z).sum().backward()
        adam.step()
        schedule.step()
        losses.append(float(valley(z).detach()))
    result = descend_all(starts(1)[:, None], as_objective(valley), Plan(20, Adam(0.3, 0.5, 0.9, decay_over=20)))
    assert float(result.terms.total) == pytest.approx(min(losses), rel=1e-4)


@pytest.mark.parametrize("rows", [1, 5, 96, 128, 700])
def test_on_a_gpu_calls_keep_their_size_while_rows_leave(rows: int) -> None:
    """Told what a GPU is told; the rows left are 1 to all of them."""
    at_once, sizes = 256, set()

    def objective(latents: torch.Tensor, _rows: torch.Tensor) -> Terms:
        sizes.add(len(latents))
        return Terms(*(latents.square().sum(1),) * 3)

    least = least_rows(torch.device("meta"), min(rows, at_once))
    for left in {rows, max(rows // 2, 1), 1}:
        latents = torch.ones(left, 3)
        terms, _ = evaluate(objective, latents, torch.arange(left), at_once, least, gradient=True)
        assert terms.total.tolist() == [3.0] * left
    assert len(sizes) == 1
