"""The terms of a score against closed forms, numpy, scipy and torch's cross-entropy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import log_expit

from anotwin.compare.terms import (
    anomaly_score,
    discrimination_score,
    mean_residual,
    mean_square_features,
    mean_square_residual,
    reference_score,
    residual_score,
)

fifty = settings(derandomize=True, deadline=None, max_examples=50)
pairs = hnp.arrays(np.float64, st.sampled_from([(2, 1, 1, 4, 4), (2, 3, 3, 2, 2)]), elements=st.floats(-1, 1))


@pytest.mark.parametrize("sign", [1, -1])
def test_closed_forms_of_pixels(sign: int) -> None:
    differences = sign * torch.tensor([2.0, 0.5]).view(2, 1, 1, 1).expand(2, 3, 4, 4)
    assert residual_score(differences).tolist() == [96.0, 24.0]
    assert mean_square_residual(differences).tolist() == [4.0, 0.25]
    assert mean_residual(differences).tolist() == [1.0, 0.25]  # 1: black against white


@fifty
@given(pairs)
def test_terms_of_pixels_against_numpy(pair: np.ndarray) -> None:
    expected = pair[0] - pair[1]
    differences = torch.from_numpy(expected)
    assert np.allclose(residual_score(differences).numpy(), np.abs(expected).sum((1, 2, 3)))
    in_unit_range = np.abs((pair[0] + 1) / 2 - (pair[1] + 1) / 2)
    assert np.allclose(mean_residual(differences).numpy(), in_unit_range.mean((1, 2, 3)))
    assert np.allclose(mean_square_residual(differences).numpy(), (expected**2).mean((1, 2, 3)))


def test_closed_forms_of_features() -> None:
    features = torch.tensor([[1.0, -2.0, 3.0], [0.0, 0.0, 0.0]])
    assert discrimination_score(features, torch.zeros(2, 3)).tolist() == [6.0, 0.0]
    assert discrimination_score(features, features).tolist() == [0.0, 0.0]
    assert mean_square_features(features, torch.zeros(2, 3)).tolist() == [pytest.approx(14 / 3), 0.0]
    assert mean_square_features(features, features).tolist() == [0.0, 0.0]


@fifty
@given(hnp.arrays(np.float64, (2, 3, 5), elements=st.floats(-1e3, 1e3)))
def test_the_discrimination_score_is_the_city_block_distance(pair: np.ndarray) -> None:
    expected = [math.fsum(map(abs, row)) for row in pair[0] - pair[1]]
    got = discrimination_score(*map(torch.from_numpy, pair))
    assert got.tolist() == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert torch.equal(got, discrimination_score(*map(torch.from_numpy, pair[::-1])))


@fifty
@given(hnp.arrays(np.float64, 4, elements=st.floats(-700, 700)))
def test_the_reference_score_is_minus_the_log_probability_of_real(logits: np.ndarray) -> None:
    got = reference_score(torch.from_numpy(logits)).numpy()
    assert np.allclose(got, -log_expit(logits), rtol=1e-9, atol=1e-12)
    assert (got >= 0).all()


@pytest.mark.parametrize("size", [1, 2, 3, 8, 16, 31, 32, 64])
def test_the_reference_score_does_not_depend_on_the_batch(size: int) -> None:
    logits = 5 * torch.randn(128, generator=torch.Generator().manual_seed(0))
    together = reference_score(logits)
    assert torch.equal(torch.cat([reference_score(part) for part in logits.split(size)]), together)
    assert reference_score(logits[:0]).shape == (0,)


@pytest.mark.parametrize("weight", [0.0, 0.1, 0.25, 1.0])
def test_the_papers_total(weight: float) -> None:
    residual, discrimination = torch.tensor([32.0, 0.0, 128.0]), torch.tensor([3.0, 0.0, 2.0])
    expected = [(1 - weight) * r + weight * d for r, d in ((32.0, 3.0), (0.0, 0.0), (128.0, 2.0))]
    assert anomaly_score(residual, discrimination, weight).tolist() == pytest.approx(expected, rel=1e-6)
