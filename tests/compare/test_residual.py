"""Differences and residual scores against closed forms and numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from anotwin.compare.residual import difference, mean_residual, mean_square_residual, residual_score

quick = settings(derandomize=True, deadline=None, max_examples=50)
pairs = hnp.arrays(np.float64, st.sampled_from([(2, 1, 1, 4, 4), (2, 3, 3, 2, 2)]), elements=st.floats(-1, 1))


def test_brighter_than_it_ought_to_be_is_positive() -> None:
    black, white = -torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2)
    assert difference(white, black).unique().tolist() == [2.0]
    assert difference(black, white).unique().tolist() == [-2.0]


@pytest.mark.parametrize("sign", [1, -1])
def test_closed_forms(sign: int) -> None:
    differences = sign * torch.tensor([2.0, 0.5]).view(2, 1, 1, 1).expand(2, 3, 4, 4)
    assert residual_score(differences).tolist() == [96.0, 24.0]
    assert mean_square_residual(differences).tolist() == [4.0, 0.25]
    assert mean_residual(differences).tolist() == [1.0, 0.25]  # 1: black against white


@quick
@given(pairs)
def test_against_numpy(pair: np.ndarray) -> None:
    differences = difference(*map(torch.from_numpy, pair))
    expected = pair[0] - pair[1]
    assert np.array_equal(differences.numpy(), expected)
    assert np.allclose(residual_score(differences).numpy(), np.abs(expected).sum((1, 2, 3)))
    assert np.allclose(
        mean_residual(differences).numpy(), np.abs((pair[0] + 1) / 2 - (pair[1] + 1) / 2).mean((1, 2, 3))
    )
    assert np.allclose(mean_square_residual(differences).numpy(), (expected**2).mean((1, 2, 3)))
    assert torch.equal(difference(*map(torch.from_numpy, pair[::-1])), -differences)
