"""Heat and scores of a mask, by hand and by numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import logit

from anotwin.compare.side_by_side import HOT, heat_of_mask, hottest, log_odds, stacked


def test_a_stack_is_both_and_their_difference() -> None:
    queries, counterparts = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    found = stacked(queries, counterparts)
    assert found.shape == (2, 9, 4, 4)
    assert torch.equal(found[:, :3], queries)
    assert torch.equal(found[:, 3:6], counterparts)
    assert torch.equal(found[:, 6:], queries - counterparts)


def test_there_is_no_heat_where_nothing_differs_whatever_the_mask_says() -> None:
    differences = torch.zeros(1, 1, 32, 32)
    differences[..., 16:] = 0.5
    heat = heat_of_mask(torch.full((1, 1, 32, 32), 9.0), differences)
    assert float(heat[..., :12].max()) == 0
    assert float(heat[..., 20:].min()) == pytest.approx(1 / (1 + np.exp(-9)), abs=1e-6)


def test_a_difference_below_a_grey_level_counts_in_proportion() -> None:
    heat = heat_of_mask(torch.full((1, 1, 8, 8), 30.0), torch.full((1, 3, 8, 8), 1 / 255))
    assert heat.numpy() == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("side", [4, 16, 33])
def test_the_hottest_are_the_mean_of_the_largest(side: int) -> None:
    heat = torch.rand(3, side, side, generator=torch.Generator().manual_seed(side))
    expected = [np.sort(row.numpy().ravel())[-HOT:].mean() for row in heat]
    assert hottest(heat).numpy() == pytest.approx(np.array(expected), rel=1e-6)


def test_log_odds_are_those_of_scipy_and_finite_at_the_ends() -> None:
    chances = torch.tensor([0.0, 1e-5, 0.3, 0.5, 0.999, 1.0])
    found = log_odds(chances)
    assert found[1:5].numpy() == pytest.approx(logit(chances[1:5].double().numpy()), rel=1e-4, abs=1e-7)
    assert found.isfinite().all()
    assert torch.equal(found, torch.stack([log_odds(chance[None])[0] for chance in chances]))
