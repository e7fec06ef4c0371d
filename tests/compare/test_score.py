"""What becomes of a method's terms, in closed form; nothing leans on the rest of the batch."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from anotwin.compare.heatmap import heatmap
from anotwin.compare.score import anomaly_score, comparison, fanogan_score
from anotwin.records import Comparison
from anotwin.settings import CompareSettings

QUERIES = torch.tensor([1.0, 0.0, -1.0]).view(3, 1, 1, 1).expand(3, 1, 8, 8)
COUNTERPARTS = torch.tensor([0.5, 0.0, 1.0]).view(3, 1, 1, 1).expand(3, 1, 8, 8)
TERMS = {
    "residual": torch.tensor([32.0, 0.0, 128.0]),
    "discrimination": torch.tensor([3.0, 0.0, 2.0]),
    "total": torch.tensor([35.0, 7.0, 130.0]),
    "query_logits": torch.tensor([3.0, 0.0, -5.0]),
}


def closed(score: str = "anomaly") -> Comparison:
    settings = CompareSettings.model_validate({"score": score, "heatmap_sigma": 0.05})
    return comparison(QUERIES, COUNTERPARTS, **TERMS, settings=settings)


@pytest.mark.parametrize("weight", [0.0, 0.1, 0.25, 1.0])
def test_the_papers_total(weight: float) -> None:
    residual, discrimination = TERMS["residual"], TERMS["discrimination"]
    expected = [(1 - weight) * r + weight * d for r, d in ((32.0, 3.0), (0.0, 0.0), (128.0, 2.0))]
    assert anomaly_score(residual, discrimination, weight).tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kappa", [0.0, 1.0, 2.5])
def test_f_anogans_total(kappa: float) -> None:
    got = fanogan_score(TERMS["residual"], TERMS["discrimination"], kappa)
    assert got.tolist() == pytest.approx([32.0 + 3 * kappa, 0.0, 128.0 + 2 * kappa], rel=1e-6)


def test_the_terms_are_the_methods_own() -> None:
    found = closed()
    assert found.anomaly is TERMS["total"]  # whatever the method makes of its terms: nothing is added up here
    assert found.residual is TERMS["residual"]
    assert found.discrimination is TERMS["discrimination"]
    assert found.discriminator.tolist() == [-3.0, 0.0, 5.0]  # what the discriminator disbelieves is abnormal


def test_closed_forms_of_the_pixels() -> None:
    found = closed()
    assert found.mean_residual.tolist() == [0.25, 0.0, 1.0]
    assert torch.equal(found.difference, QUERIES - COUNTERPARTS)
    assert torch.equal(found.heatmap, heatmap(QUERIES - COUNTERPARTS, 0.05))


@pytest.mark.parametrize("name", ["anomaly", "residual", "discrimination", "discriminator"])
def test_the_score_that_decides_is_the_one_named(name: str) -> None:
    found = closed(name)
    assert torch.equal(found.score, getattr(found, name))
    others = {"anomaly", "residual", "discrimination", "discriminator"} - {name}
    assert all(not torch.equal(found.score, getattr(found, other)) for other in others)


def test_each_row_is_as_if_alone() -> None:
    rng = torch.Generator().manual_seed(0)
    queries, counterparts = torch.rand(2, 5, 3, 16, 16, generator=rng) * 2 - 1
    terms = dict(zip(TERMS, torch.randn(4, 5, generator=rng), strict=True))

    def rows(chosen: list[int]) -> Comparison:
        chosen_terms = {name: term[chosen] for name, term in terms.items()}
        return comparison(queries[chosen], counterparts[chosen], **chosen_terms, settings=CompareSettings())

    together, shuffled = rows([0, 1, 2, 3, 4]), rows([3, 0, 4, 2, 1])
    for name in (field.name for field in dataclasses.fields(Comparison)):
        whole = getattr(together, name)
        assert torch.equal(getattr(shuffled, name), whole[[3, 0, 4, 2, 1]]), name
        for i in range(5):
            assert torch.equal(getattr(rows([i]), name)[0], whole[i]), name
