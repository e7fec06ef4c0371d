"""AnoGAN's R, D and A by a method's discriminator, for both discrimination losses, in closed form."""

from __future__ import annotations

import math

import pytest
import torch

from anotwin.methods.networks import Critique
from anotwin.methods.scoring import anogan_terms
from anotwin.settings import SearchSettings

QUERIES = torch.tensor([1.0, 0.0, -1.0]).view(3, 1, 1, 1).expand(3, 1, 8, 8)
COUNTERPARTS = torch.tensor([0.5, 0.0, 1.0]).view(3, 1, 1, 1).expand(3, 1, 8, 8)
QUERY = Critique(torch.tensor([3.0, 0.0, -5.0]), torch.tensor([[1.0, 2.0], [0.0, 0.0], [-1.0, 1.0]]))
TWIN = Critique(torch.tensor([0.0, 2.0, -2.0]), torch.tensor([[0.0, 4.0], [0.0, 0.0], [1.0, 1.0]]))
RESIDUAL = [32.0, 0.0, 128.0]


@pytest.mark.parametrize("weight", [0.0, 0.1, 0.25, 1.0])
@pytest.mark.parametrize(
    "loss, discrimination",
    [
        ("feature_matching", [3.0, 0.0, 2.0]),
        ("sigmoid", [math.log(2), math.log1p(math.exp(-2)), 2 + math.log1p(math.exp(-2))]),  # of the counterpart
    ],
)
def test_closed_forms(weight: float, loss: str, discrimination: list[float]) -> None:
    search = SearchSettings.model_validate({"discrimination": loss, "discrimination_weight": weight})
    terms = anogan_terms(QUERIES, COUNTERPARTS, QUERY, TWIN, search)
    assert terms.residual.tolist() == RESIDUAL
    assert terms.discrimination.tolist() == pytest.approx(discrimination, rel=1e-6)
    expected = [(1 - weight) * r + weight * d for r, d in zip(RESIDUAL, discrimination, strict=True)]
    assert terms.total.tolist() == pytest.approx(expected, rel=1e-6)
