"""Heat and scores of a mask, by hand and by numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import logit

from anotwin.compare.side_by_side import FLAT, HOT, heat_of_mask, hottest, light, log_odds, stacked


def test_a_stack_is_both_and_their_difference_in_spreads_of_the_query() -> None:
    queries, counterparts = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    found = stacked(queries, counterparts).numpy()
    assert found.shape == (2, 9, 4, 4)
    for stack, query, counterpart in zip(found, queries.double().numpy(), counterparts.double().numpy(), strict=True):
        mean, spread = query.mean(), query.std()
        expected = [(query - mean) / spread, (counterpart - mean) / spread, (query - counterpart) / spread]
        assert stack == pytest.approx(np.concatenate(expected), abs=1e-5)


@pytest.mark.parametrize(("gain", "offset"), [(0.3, -0.6), (1.7, 0.2)])
def test_an_exposure_changes_no_stack(gain: float, offset: float) -> None:
    queries, counterparts = torch.rand(2, 1, 16, 16), torch.rand(2, 1, 16, 16)
    found = stacked(gain * queries + offset, gain * counterparts + offset)
    assert found.numpy() == pytest.approx(stacked(queries, counterparts).numpy(), abs=1e-4)


def test_the_noise_of_a_flat_square_is_not_made_a_texture() -> None:
    flat = 0.2 + 1e-3 * torch.rand(1, 1, 16, 16)
    assert light(flat)[1].item() == pytest.approx(FLAT)
    assert stacked(flat, flat).abs().max() < 0.05


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
