"""Gradient descent over latents: a pure function from where to start and what to lower to the best that was seen.

Paper: Schlegl et al. 2017, section 2.2: z_1 is drawn from the prior and moved for Gamma = 500 steps. Two deviations:
the result is the best point seen, not the last one (Adam's steps do not fall monotonically), and each search ends
with a named status. The optimiser is Adam, in which every coordinate moves by its own history alone, so that batching
images changes nothing about any of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from anotwin.records import Status
from anotwin.search.objective import Objective, Terms

SETTLED = 0.01  # converged: the last tenth of the steps lowered the best loss by less than this share


@dataclass(frozen=True)
class SearchResult:
    """The best of each search."""

    latents: torch.Tensor  # (B, Z)
    terms: Terms  # (B,) each, at `latents`
    steps: torch.Tensor  # (B,) int64, gradient steps made
    status: tuple[Status, ...]  # (B,)
    trace_latents: torch.Tensor | None  # (T, B, Z) best so far at the steps asked for
    trace_losses: torch.Tensor | None  # (T, B)


def descend(
    start: torch.Tensor,
    objective: Objective,
    *,
    steps: int = 500,
    learning_rate: float = 0.03,
    trace_at: Sequence[int] = (),
) -> SearchResult:
    """Lower `objective` from `start` (B, Z) by `steps` steps of Adam; return the best latents seen.

    `trace_at` names steps (0 = before the first) at which the best so far is kept. An image whose loss was never finite
    comes back at its start, with infinite losses and the status NOT_FOUND; it does not disturb its neighbours.

    >>> bowl = lambda z: Terms(*(1 + z.square().sum(1),) * 3)
    >>> result = descend(torch.ones(2, 3), bowl, steps=200, learning_rate=0.1)
    >>> bool((result.terms.total < 1.001).all()), result.status[0].value
    (True, 'converged')
    """
    latents = start.detach().clone().requires_grad_(True)
    adam = torch.optim.Adam([latents], lr=learning_rate)
    best_latents = latents.detach().clone()
    best = Terms(*(torch.full(start.shape[:1], torch.inf, device=start.device) for _ in range(3)))
    late = best.total  # the best loss at nine tenths of the way
    wanted = set(trace_at)
    trace: list[tuple[torch.Tensor, torch.Tensor]] = []
    for step in range(steps + 1):
        last = step == steps
        with torch.set_grad_enabled(not last):
            terms = objective(latents)
        better = terms.total.detach() < best.total  # False for NaN
        best = Terms(*(torch.where(better, new.detach(), old) for new, old in zip(terms, best, strict=True)))
        best_latents = torch.where(better[:, None], latents.detach(), best_latents)
        if step == steps - max(steps // 10, 1):
            late = best.total
        if step in wanted:
            trace.append((best_latents, best.total))
        if not last:
            (latents.grad,) = torch.autograd.grad(terms.total.sum(), latents)
            adam.step()
    status = tuple(_status(then, now) for then, now in zip(late.tolist(), best.total.tolist(), strict=True))
    return SearchResult(
        latents=best_latents,
        terms=best,
        steps=torch.full(start.shape[:1], steps, dtype=torch.int64),
        status=status,
        trace_latents=torch.stack([point for point, _ in trace]) if trace else None,
        trace_losses=torch.stack([loss for _, loss in trace]) if trace else None,
    )


def _status(late: float, final: float) -> Status:
    if not final < float("inf"):
        return Status.NOT_FOUND
    settled = late < float("inf") and late - final <= SETTLED * abs(late)  # inf: too few steps to tell
    return Status.CONVERGED if settled else Status.BUDGET_SPENT
