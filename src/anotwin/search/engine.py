"""From queries to counterparts: networks made ready, the paper's loss, the descent, and the exact numbers at its end.

What makes it faster than the paper's search, each measured on held-out normals (docs/research.md): Adam in the
generator's own axes with a large, decaying rate needs 30 steps for what the paper's needs 500; the latents are kept in
the prior's ball, which also makes the way shorter; many images at once through folded networks, in bf16 where the
processor has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import nn

from anotwin.records import Counterpart, Trace
from anotwin.search.adam import Adam
from anotwin.search.descent import Plan, descend, evaluate
from anotwin.search.inference import along, fold_norms, for_search, latent_axes, search_dtype, turn_latents
from anotwin.search.objective import Objective, Terms, anogan_objective
from anotwin.search.prior import bounded
from anotwin.seeding import Prior
from anotwin.settings import SearchSettings

ROWS_AT_ONCE = {"cpu": 64, "cuda": 1024}  # on a CPU 64 are as fast a row as 256
FAST_BETAS = 0.5, 0.9  # of Adam over tens of steps: 0.9 and 0.999 remember too long, and end 15 to 25 % higher


def find_counterparts(
    generator: nn.Module,
    discriminator: nn.Module,
    queries: torch.Tensor,
    starts: torch.Tensor,
    settings: SearchSettings,
    prior: Prior,
    trace_at: Sequence[int] = (),
) -> Counterpart:
    """Search for queries (B, C, S, S) from `starts` (B, R, Z), R restarts each, all on the networks' device.

    `discriminator` gives (logits, features). The descent runs on copies (`search.precision`); images, losses and trace
    are those of the networks themselves, in their precision, at the latents found.
    """
    dtype = search_dtype(settings.precision, queries.device)
    folded = fold_norms(generator)
    axes = latent_axes(folded) if settings.optimizer == "adam-axes" and prior == "normal" else None  # a box has its own
    draw = for_search(folded if axes is None else turn_latents(folded, axes), dtype)
    judge = for_search(discriminator, dtype)
    objective = partial(
        anogan_objective, queries=queries, weight=settings.discrimination_weight,
        discrimination=settings.discrimination, prior=prior, prior_weight=settings.prior_weight,
    )  # fmt: skip
    quick = objective(lambda latents: draw(latents.to(dtype)), lambda images: judge(images.to(dtype)))
    begin = starts if axes is None else along(starts.flatten(0, 1), axes).view_as(starts)
    found = descend(begin, quick, plan_of(settings, prior, queries.device), trace_at)

    exact = partial(_exact, generator, objective(generator, discriminator), axes)
    latents, images, _ = exact(found.latents)
    trace = None
    if found.trace_latents is not None:
        frames = [exact(points) for points in found.trace_latents]
        reached = tuple(sorted({step for step in trace_at if 0 <= step <= settings.steps}))
        trace = Trace(reached, torch.stack([f[2].total for f in frames]), torch.stack([f[1] for f in frames]))
    return Counterpart(images, latents, found.steps, found.status, trace)


def plan_of(settings: SearchSettings, prior: Prior, device: torch.device) -> Plan:
    """What the settings ask the descent to do."""
    rate, steps = settings.learning_rate, settings.steps
    return Plan(
        steps=steps,
        optimizer=Adam(rate) if settings.optimizer == "adam" else Adam(rate, *FAST_BETAS, decay_over=steps),
        keep_in=partial(bounded, prior=prior, bound=settings.bound),
        tolerance=settings.tolerance,
        patience=settings.patience,
        rows_at_once=ROWS_AT_ONCE.get(device.type, ROWS_AT_ONCE["cpu"]),
    )


def _exact(
    generator: nn.Module, objective: Objective, axes: torch.Tensor | None, points: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, Terms]:
    """Latents (B, Z), images and terms at the descent's points (B, Z), by the networks themselves."""
    latents = points if axes is None else along(points, axes.T)
    everyone = torch.arange(len(latents), device=latents.device)
    terms, _ = evaluate(objective, latents, everyone, ROWS_AT_ONCE["cpu"], gradient=False)
    with torch.no_grad():
        images: torch.Tensor = generator(latents)
    return latents, images, terms
