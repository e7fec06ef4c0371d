"""Scores, differences and heatmaps from a method's terms, in closed form."""

from __future__ import annotations

import pytest
import torch

from anotwin.compare.heatmap import heatmap
from anotwin.compare.score import comparison
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


def test_the_terms_are_the_methods_own() -> None:
    found = closed()
    assert found.scores.anomaly is TERMS["total"]  # whatever the method makes of its terms: nothing is added up here
    assert found.scores.residual is TERMS["residual"]
    assert found.scores.discrimination is TERMS["discrimination"]
    assert found.scores.discriminator.tolist() == [-3.0, 0.0, 5.0]  # what the discriminator disbelieves is abnormal


def test_closed_forms_of_the_pixels() -> None:
    found = closed()
    assert found.scores.mean_residual.tolist() == [0.25, 0.0, 1.0]
    assert torch.equal(found.difference, QUERIES - COUNTERPARTS)
    assert torch.equal(found.heatmap, heatmap(QUERIES - COUNTERPARTS, 0.05))


@pytest.mark.parametrize("name", ["anomaly", "residual", "discrimination", "discriminator"])
def test_the_score_that_decides_is_the_one_named(name: str) -> None:
    found = closed(name)
    assert torch.equal(found.scores.score, getattr(found.scores, name))
    others = {"anomaly", "residual", "discrimination", "discriminator"} - {name}
    assert all(not torch.equal(found.scores.score, getattr(found.scores, other)) for other in others)


def test_no_row_depends_on_the_others() -> None:
    rng = torch.Generator().manual_seed(0)
    queries, counterparts = torch.rand(2, 5, 3, 16, 16, generator=rng) * 2 - 1
    terms = dict(zip(TERMS, torch.randn(4, 5, generator=rng), strict=True))

    def rows(chosen: list[int]) -> dict[str, torch.Tensor]:
        chosen_terms = {name: term[chosen] for name, term in terms.items()}
        found = comparison(queries[chosen], counterparts[chosen], **chosen_terms, settings=CompareSettings())
        return vars(found.scores) | {"difference": found.difference, "heatmap": found.heatmap}

    together, shuffled = rows([0, 1, 2, 3, 4]), rows([3, 0, 4, 2, 1])
    for name, whole in together.items():
        assert torch.equal(shuffled[name], whole[[3, 0, 4, 2, 1]]), name
        for i in range(5):
            assert torch.equal(rows([i])[name][0], whole[i]), name
