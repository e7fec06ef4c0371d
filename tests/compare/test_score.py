"""R, D, A and P_D of a batch in closed form; nothing leans on the rest of the batch."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from anotwin.compare.heatmap import heatmap
from anotwin.compare.score import compare
from anotwin.records import Comparison
from anotwin.settings import CompareSettings

QUERIES = torch.tensor([1.0, 0.0, -1.0]).view(3, 1, 1, 1).expand(3, 1, 8, 8)
COUNTERPARTS = torch.tensor([0.5, 0.0, 1.0]).view(3, 1, 1, 1).expand(3, 1, 8, 8)
QUERY_FEATURES = torch.tensor([[1.0, 2.0], [0.0, 0.0], [-1.0, 1.0]])
FEATURES = torch.tensor([[0.0, 4.0], [0.0, 0.0], [1.0, 1.0]])
LOGITS = torch.tensor([3.0, 0.0, -5.0])
RESIDUAL, DISCRIMINATION = [32.0, 0.0, 128.0], [3.0, 0.0, 2.0]


def closed(weight: float = 0.25, score: str = "anomaly", **more: torch.Tensor) -> Comparison:
    settings = CompareSettings.model_validate({"score": score, "heatmap_sigma": 0.05})
    return compare(QUERIES, COUNTERPARTS, QUERY_FEATURES, FEATURES, LOGITS, weight, settings, **more)


@pytest.mark.parametrize("weight", [0.0, 0.1, 0.25, 1.0])
def test_closed_forms(weight: float) -> None:
    comparison = closed(weight)
    assert comparison.residual.tolist() == RESIDUAL
    assert comparison.discrimination.tolist() == DISCRIMINATION
    expected = [(1 - weight) * r + weight * d for r, d in zip(RESIDUAL, DISCRIMINATION, strict=True)]
    assert comparison.anomaly.tolist() == pytest.approx(expected, rel=1e-6)
    assert comparison.discriminator.tolist() == [-3.0, 0.0, 5.0]  # what the discriminator disbelieves is abnormal
    assert comparison.mean_residual.tolist() == [0.25, 0.0, 1.0]
    assert torch.equal(comparison.difference, QUERIES - COUNTERPARTS)
    assert torch.equal(comparison.heatmap, heatmap(QUERIES - COUNTERPARTS, 0.05))


@pytest.mark.parametrize("name", ["anomaly", "residual", "discrimination", "discriminator"])
def test_the_score_that_decides_is_the_one_named(name: str) -> None:
    comparison = closed(score=name)
    assert torch.equal(comparison.score, getattr(comparison, name))
    others = {"anomaly", "residual", "discrimination", "discriminator"} - {name}
    assert all(not torch.equal(comparison.score, getattr(comparison, other)) for other in others)


def test_reference_discrimination_judges_the_counterpart() -> None:
    comparison = closed(0.5, counterpart_logits=torch.tensor([0.0, 2.0, -2.0]))
    expected = [math.log(2), math.log1p(math.exp(-2)), 2 + math.log1p(math.exp(-2))]
    assert comparison.discrimination.tolist() == pytest.approx(expected, rel=1e-6)
    mix = [(r + d) / 2 for r, d in zip(RESIDUAL, expected, strict=True)]
    assert comparison.anomaly.tolist() == pytest.approx(mix, rel=1e-6)


def test_each_row_is_as_if_alone() -> None:
    rng = torch.Generator().manual_seed(0)
    queries, counterparts = torch.rand(2, 5, 3, 16, 16, generator=rng) * 2 - 1
    query_features, features = torch.randn(2, 5, 40, generator=rng)
    logits = torch.randn(5, generator=rng)

    def rows(chosen: list[int]) -> Comparison:
        return compare(
            *(part[chosen] for part in (queries, counterparts, query_features, features, logits)),
            0.1,
            CompareSettings(),
        )

    together, shuffled = rows([0, 1, 2, 3, 4]), rows([3, 0, 4, 2, 1])
    for name in (field.name for field in dataclasses.fields(Comparison)):
        whole = getattr(together, name)
        assert torch.equal(getattr(shuffled, name), whole[[3, 0, 4, 2, 1]]), name
        for i in range(5):
            assert torch.equal(getattr(rows([i]), name)[0], whole[i]), name
