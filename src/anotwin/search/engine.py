"""The search for counterparts: folded networks, the paper's loss, the descent, and exact images at its end.

Faster than the paper's search by, each measured on held-out normals (docs/research.md): Adam along the generator's own
axes with a large, decaying rate (30 steps do what the paper's 500 do); latents kept in the prior's ball, where fewer
steps are enough; many images at once through folded networks, in bf16 where the processor has it.
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
from anotwin.search.objective import anogan_objective
from anotwin.search.prior import bounded
from anotwin.seeding import Prior
from anotwin.settings import SearchSettings

ROWS_AT_ONCE = {"cpu": 64, "cuda": 1024}  # on a CPU 64 are as fast a row as 256
FAST_BETAS = 0.5, 0.9  # of Adam over tens of steps: 0.9 and 0.999 average over too many, and end 15 to 25 % higher


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

    `discriminator` returns (logits, features). The descent runs on copies (`search.precision`); images and trace are
    computed by the networks themselves, in their precision, at the latents found.
    """
    dtype = search_dtype(settings.precision, queries.device)
    folded = fold_norms(generator)
    axes = latent_axes(folded) if settings.optimizer == "adam-axes" and prior == "normal" else None  # None: z's own
    generate = for_search(folded if axes is None else turn_latents(folded, axes), dtype)
    critic = for_search(discriminator, dtype)
    objective = partial(
        anogan_objective, queries=queries, weight=settings.discrimination_weight,
        discrimination=settings.discrimination, prior=prior, prior_weight=settings.prior_weight,
    )  # fmt: skip
    fast = objective(lambda latents: generate(latents.to(dtype)), lambda images: critic(images.to(dtype)))
    begin = starts if axes is None else along(starts.flatten(0, 1), axes).view_as(starts)
    found = descend(begin, fast, plan_of(settings, prior, queries.device), trace_at)

    latents, trace = _along_z(found.latents, axes), None
    if found.trace_latents is not None:
        reached = tuple(sorted({step for step in trace_at if 0 <= step <= settings.steps}))
        frames = [_along_z(points, axes) for points in found.trace_latents]
        exact, rows = objective(generator, discriminator), torch.arange(len(queries), device=queries.device)
        losses = [evaluate(exact, frame, rows, ROWS_AT_ONCE["cpu"], gradient=False)[0].total for frame in frames]
        trace = Trace(reached, torch.stack(losses), torch.stack([_images(generator, frame) for frame in frames]))
    return Counterpart(_images(generator, latents), latents, found.steps, found.status, trace)


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


def _along_z(points: torch.Tensor, axes: torch.Tensor | None) -> torch.Tensor:
    """Latents (B, Z) from the coordinates that the descent moved in."""
    return points if axes is None else along(points, axes.T)


def _images(generator: nn.Module, latents: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return generator(latents)  # type: ignore[no-any-return]
