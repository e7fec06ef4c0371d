"""AnoGAN's score by a discriminator that is known in closed form, for both discrimination losses."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from anotwin.methods.networks import Critique
from anotwin.methods.scoring import anogan_comparison, one_pass
from anotwin.records import Status
from anotwin.settings import Settings

QUERIES = torch.tensor([1.0, 0.0, -1.0]).view(3, 1, 1, 1).expand(3, 1, 8, 8)
COUNTERPARTS = torch.tensor([0.5, 0.0, 1.0]).view(3, 1, 1, 1).expand(3, 1, 8, 8)
RESIDUAL = [32.0, 0.0, 128.0]


class Corner(nn.Module):
    """The logit is four times the first pixel, the features are that pixel and its double."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(4.0))

    def forward(self, images: torch.Tensor) -> Critique:
        pixel = images[:, 0, 0, 0]
        return Critique(self.weight * pixel, torch.stack([pixel, 2 * pixel], 1))


@pytest.mark.parametrize("weight", [0.0, 0.1, 0.25, 1.0])
@pytest.mark.parametrize(
    "loss, discrimination",
    [
        ("feature_matching", [1.5, 0.0, 6.0]),
        ("sigmoid", [math.log1p(math.exp(-2)), math.log(2), math.log1p(math.exp(-4))]),  # of the counterpart
    ],
)
def test_closed_forms(weight: float, loss: str, discrimination: list[float]) -> None:
    settings = Settings().with_overrides([f"search.discrimination={loss}", f"search.discrimination_weight={weight}"])
    scores = anogan_comparison(nn.ModuleDict({"discriminator": Corner()}), QUERIES, COUNTERPARTS, settings).scores
    assert scores.residual.tolist() == RESIDUAL
    assert scores.discrimination.tolist() == pytest.approx(discrimination, rel=1e-6)
    expected = [(1 - weight) * r + weight * d for r, d in zip(RESIDUAL, discrimination, strict=True)]
    assert scores.anomaly.tolist() == pytest.approx(expected, rel=1e-6)
    assert scores.discriminator.tolist() == [-4.0, 0.0, 4.0]  # of the query


def test_one_pass_finds_what_has_a_finite_difference() -> None:
    queries = torch.stack([torch.full((1, 8, 8), value) for value in (0.5, torch.nan, torch.inf)])
    found = one_pass(
        queries, lambda images: images.flatten(1)[:, :2], lambda codes: 2 * codes[:, :1, None, None].expand(3, 1, 8, 8)
    )
    assert found.latents is not None
    assert found.latents[0].tolist() == [0.5, 0.5]
    assert (found.images[0] == 1).all()
    assert found.status == (Status.CONVERGED, Status.NOT_FOUND, Status.NOT_FOUND)
    assert found.steps.tolist() == [0, 0, 0]
