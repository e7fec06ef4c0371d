"""What the counterpart is worth: `pix2pix` trained without one, for part `ablation`.

The comparing network K learns the same masks of the same planted defects for as many steps, but sees the query beside
itself in the place of its counterpart: K(y, y) and not K(y, c). Nothing else changes. (Where a network that was trained
with counterparts is denied them only when it scores, the loss would be the surprise: benchmarks/counterparts has it.)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import torch

from anotwin.compare.side_by_side import heat_of_mask, hottest, log_odds, stacked
from anotwin.methods import registry
from anotwin.methods.adversary import optimise, set_rates
from anotwin.methods.comparer import comparer_loss
from anotwin.methods.pix2pix import Pix2Pix, Pix2PixTrainer
from anotwin.methods.planted import planted_squares
from anotwin.methods.protocol import device_of
from anotwin.methods.restoring import in_eights
from anotwin.records import Batch, Comparison, Counterpart, Scores, Status
from anotwin.training.protocol import Backward

ALONE = "pix2pix_alone"


class Alone(Pix2Pix):
    """Counterparts are the queries; the score is K's."""

    name: ClassVar[str] = ALONE

    def trainer(self) -> Pix2PixTrainer:
        return AloneTrainer(self)

    def counterpart(self, batch: Batch) -> Counterpart:
        images = batch.images.to(device_of(self.networks))
        steps = torch.zeros(len(images), dtype=torch.int64)
        return Counterpart(images, None, steps, (Status.CONVERGED,) * len(images))

    def compare(self, queries: torch.Tensor, counterpart: Counterpart) -> Comparison:
        queries = queries.to(counterpart.images.device)
        mask, decision = in_eights(self.networks["comparer"], stacked(queries, queries))
        heat = heat_of_mask(mask, torch.ones_like(queries))  # as if query and counterpart differed everywhere
        found, nothing = log_odds(hottest(heat)), torch.zeros_like(decision)
        scores = Scores(found + decision, found + decision, nothing, found, nothing, nothing)
        return Comparison(scores, torch.zeros_like(queries), heat)


class AloneTrainer(Pix2PixTrainer):
    """K alone."""

    def step(self, batch: Batch, step: int, rng: torch.Generator, backward: Backward) -> dict[str, torch.Tensor]:
        set_rates(self.optimizers, self.rates, step, self.settings.steps)
        _, y, m = planted_squares(batch.images, rng)

        # K: min S(K(y, y), m) + CE(a, max m)
        loss_k = comparer_loss(self.networks["comparer"], y, y, m)
        optimise(self.optimizers["comparer"], loss_k, backward)
        return {"loss_k": loss_k.detach()}


@contextmanager
def registered() -> Iterator[None]:
    """The registry with this method in it, for as long as it takes; it trains for as many steps as pix2pix."""
    registry.METHODS[ALONE], registry.OWN[ALONE] = Alone, registry.OWN[Pix2Pix.name]
    try:
        yield
    finally:
        del registry.METHODS[ALONE], registry.OWN[ALONE]
