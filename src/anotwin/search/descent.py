"""The search: gradient descent on latents from given starts to the best seen, for many images and restarts at once.

Paper: Schlegl et al. 2017, section 2.2: z_1 is drawn from the prior and moved for Gamma = 500 steps. Deviations: the
result is the best point seen, not the last one; each search ends with a status; an image may have several starts and
returns the best of them; a row whose loss has stopped falling leaves the batch, so that the cost follows the number
still moving.

A row's result does not depend on the other rows: Adam and the objective are computed row by row, and the networks
always get a power of two of rows (a CPU's kernels add in another order for other numbers).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from anotwin.records import Status
from anotwin.search.adam import Adam
from anotwin.search.objective import Objective, Terms

LEAST_ROWS = 2  # through the networks: channels last, the gradient of a single row is added in another order
FLAT = 0.01  # converged: the last tenth of the steps lowered the best loss by less than this share
PAPER = Adam(0.01)  # the paper does not say at which rate


@dataclass(frozen=True)
class Plan:
    """How to search. `patience` = 0: no row leaves early."""

    steps: int = 500
    optimizer: Adam = PAPER
    keep_in: Callable[[torch.Tensor], torch.Tensor] | None = None  # latents (N, Z) -> the nearest that are allowed
    tolerance: float = 0.01  # a row leaves when its best loss fell by less than this share ...
    patience: int = 0  # ... over this many steps; checked at such intervals alone: a check waits for the device
    rows_at_once: int = 64  # through the networks, a power of two: memory does not grow with images x restarts


@dataclass(frozen=True)
class SearchResult:
    """The best of each image's restarts."""

    latents: torch.Tensor  # (B, Z)
    terms: Terms  # (B,) each, at `latents`
    steps: torch.Tensor  # (B,) int64, gradient steps that the winning restart made
    status: tuple[Status, ...]  # (B,), the winning restart's
    trace_latents: torch.Tensor | None  # (T, B, Z) best so far, of all restarts, at the steps asked for
    trace_losses: torch.Tensor | None  # (T, B)


class _Best:
    """The best seen of every row, moving or not."""

    def __init__(self, latents: torch.Tensor, restarts: int) -> None:
        self.latents = latents.clone()  # (N, Z)
        self.terms = Terms(*(torch.full_like(latents[:, 0], torch.inf) for _ in range(3)))
        self.restarts = restarts

    def update(self, alive: torch.Tensor, latents: torch.Tensor, terms: Terms) -> None:
        better = terms.total < self.terms.total[alive]  # False for NaN
        for known, new in zip(self.terms, terms, strict=True):
            known[alive] = torch.where(better, new, known[alive])
        self.latents[alive] = torch.where(better[:, None], latents, self.latents[alive])

    def winners(self) -> torch.Tensor:
        """The row of each image's best restart, (B,); the first among equals."""
        totals = self.terms.total.view(-1, self.restarts)
        return totals.argmin(1) + torch.arange(len(totals), device=totals.device) * self.restarts


def descend(
    starts: torch.Tensor, objective: Objective, plan: Plan | None = None, trace_at: Sequence[int] = ()
) -> SearchResult:
    """Minimise `objective` from `starts` (B, R, Z), R restarts an image; return the best latents seen of each image.

    The objective is called with latents (N, Z) and, for each, the image 0..B-1 it belongs to (N,). `trace_at` names
    steps (0 = before the first) at which the best so far is kept; after a row has left, its trace is constant. An image
    whose loss was never finite is returned at its start, with infinite losses and the status NOT_FOUND.

    >>> bowl = lambda z, rows: Terms(*(1 + z.square().sum(1),) * 3)
    >>> result = descend(torch.ones(2, 1, 3), bowl, Plan(steps=200, optimizer=Adam(0.1)))
    >>> bool((result.terms.total < 1.001).all()), result.status[0].value
    (True, 'converged')
    """
    plan, restarts = plan or Plan(), starts.shape[1]
    keep_in = plan.keep_in or (lambda latents: latents)
    latents = keep_in(starts.detach().flatten(0, 1))  # (N, Z), N = B R: the rows still moving
    alive = torch.arange(len(latents), device=starts.device)  # which rows they are
    least = least_rows(starts.device, min(len(latents), plan.rows_at_once))
    best, state = _Best(latents, restarts), [*plan.optimizer.start(latents)]
    used = torch.full_like(alive, plan.steps)
    stopped = torch.zeros_like(alive, dtype=torch.bool)  # the rows that have left
    before = late = best.terms.total.clone()  # the best losses at the last check, and at nine tenths of the steps
    trace: list[tuple[torch.Tensor, torch.Tensor]] = []
    wanted = sorted({step for step in trace_at if 0 <= step <= plan.steps})
    for step in range(plan.steps + 1):
        last = step == plan.steps
        terms, gradients = evaluate(objective, latents, alive // restarts, plan.rows_at_once, least, gradient=not last)
        best.update(alive, latents, terms)
        if step == plan.steps - max(plan.steps // 10, 1):
            late = best.terms.total.clone()
        if step in wanted:
            trace.append((best.latents[best.winners()], best.terms.total[best.winners()]))
        if last:
            break
        if plan.patience and step and step % plan.patience == 0:
            now = best.terms.total
            moving = (before - now > plan.tolerance * now.abs())[alive]  # False where nothing finite was ever seen
            before = now.clone()
            if not moving.all():
                stopped[alive[~moving]], used[alive[~moving]] = True, step
                alive, latents, gradients, *state = (each[moving] for each in (alive, latents, gradients, *state))
            if not len(alive):
                break
        latents, moments = plan.optimizer.move(latents, gradients, (*state,), step)
        latents, state = keep_in(latents), [*moments]
    won, totals = best.winners(), best.terms.total
    trace += [(best.latents[won], totals[won])] * (len(wanted) - len(trace))  # all had left before
    return SearchResult(
        latents=best.latents[won],
        terms=Terms(*(term[won] for term in best.terms)),
        steps=used[won].cpu(),
        status=tuple(map(_status, late[won].tolist(), totals[won].tolist(), stopped[won].tolist())),
        trace_latents=torch.stack([point for point, _ in trace]) if trace else None,
        trace_losses=torch.stack([loss for _, loss in trace]) if trace else None,
    )


def least_rows(device: torch.device, count: int) -> int:
    """How many rows a call has at least, of a search that begins with `count`.

    A GPU rounds otherwise for other sizes: there every call has as many as the first, however many rows have left.

    >>> least_rows(torch.device("meta"), 96), least_rows(torch.device("cpu"), 96) == LEAST_ROWS
    (128, True)
    """
    return LEAST_ROWS if device.type == "cpu" else max(_filled_up(count), LEAST_ROWS)


def _filled_up(count: int) -> int:
    """The next power of two."""
    return 1 << (count - 1).bit_length()


def evaluate(
    objective: Objective,
    latents: torch.Tensor,
    rows: torch.Tensor,
    at_once: int,
    least: int = LEAST_ROWS,
    *,
    gradient: bool,
) -> tuple[Terms, torch.Tensor]:
    """Terms (N,) and gradients (N, Z) of latents, `at_once` at a time, filled up to `least` or a power of two."""
    terms, gradients = [], []
    for some, of in zip(torch.split(latents, at_once), torch.split(rows, at_once), strict=True):
        size = len(some)
        missing = max(_filled_up(size), least) - size
        filled = torch.cat([some, some[-1:].expand(missing, -1)]).requires_grad_(gradient)
        with torch.set_grad_enabled(gradient):
            found = objective(filled, torch.cat([of, of[-1:].expand(missing)]))
        terms.append([term.detach()[:size] for term in found])
        if gradient:
            gradients.append(torch.autograd.grad(found.total.sum(), filled)[0][:size])
    joined = Terms(*(torch.cat(parts) for parts in zip(*terms, strict=True)))
    return joined, torch.cat(gradients) if gradient else torch.zeros_like(latents)


def _status(late: float, final: float, stopped: bool) -> Status:
    if not final < float("inf"):
        return Status.NOT_FOUND
    flat = late < float("inf") and late - final <= FLAT * abs(late)  # inf: too few steps to tell
    return Status.CONVERGED if stopped or flat else Status.BUDGET_SPENT
