"""A method without networks whose every number is known: the counterpart of a pixel is the mean around it."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from anotwin.records import Batch, Comparison, Counterpart, ImageSpec, Scores, Status
from anotwin.settings import Settings


class LocalMean:
    """Heat |x - mean of 9 x 9|, a square's score is its highest heat; `radius` 0: counterparts are copies."""

    name = "local mean"
    networks = torch.nn.ModuleDict()

    def __init__(self, spec: ImageSpec, *overrides: str, radius: int = 4) -> None:
        self.spec, self.radius = spec, radius
        self.settings = Settings().with_overrides(overrides)

    def counterpart(self, batch: Batch) -> Counterpart:
        wide = F.pad(batch.images, (self.radius,) * 4, mode="reflect")
        mean = torch.stack([F.avg_pool2d(image, 2 * self.radius + 1, 1) for image in wide])
        return Counterpart(mean, None, torch.zeros(len(batch)), (Status.CONVERGED,) * len(batch))

    def compare(self, queries: torch.Tensor, counterpart: Counterpart) -> Comparison:
        differences = queries - counterpart.images
        heat = differences.abs().amax(1)
        highest, mean = heat.flatten(1).amax(1), torch.stack([each.abs().mean() / 2 for each in differences])
        return Comparison(Scores(highest, highest, 2 * highest, 3 * highest, -highest, mean), differences, heat)


def tiles(size: int = 32, channels: int = 1, **more: Any) -> ImageSpec:
    return ImageSpec(channels, size, view="tiles", parts=True, **more)
