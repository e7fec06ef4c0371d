"""The discrimination score, the reference score and nearest neighbours against closed forms, numpy and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import log_expit

from anotwin.compare.features import discrimination_score, mean_square_features, reference_score

quick = settings(derandomize=True, deadline=None, max_examples=50)


def test_closed_form() -> None:
    features = torch.tensor([[1.0, -2.0, 3.0], [0.0, 0.0, 0.0]])
    assert discrimination_score(features, torch.zeros(2, 3)).tolist() == [6.0, 0.0]
    assert discrimination_score(features, features).tolist() == [0.0, 0.0]
    assert mean_square_features(features, torch.zeros(2, 3)).tolist() == [pytest.approx(14 / 3), 0.0]
    assert mean_square_features(features, features).tolist() == [0.0, 0.0]


@quick
@given(hnp.arrays(np.float64, (2, 3, 5), elements=st.floats(-1e3, 1e3)))
def test_is_the_city_block_distance(pair: np.ndarray) -> None:
    expected = [math.fsum(map(abs, row)) for row in pair[0] - pair[1]]
    got = discrimination_score(*map(torch.from_numpy, pair))
    assert got.tolist() == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert torch.equal(got, discrimination_score(*map(torch.from_numpy, pair[::-1])))


@quick
@given(hnp.arrays(np.float64, 4, elements=st.floats(-700, 700)))
def test_reference_score_is_minus_the_log_probability_of_real(logits: np.ndarray) -> None:
    got = reference_score(torch.from_numpy(logits)).numpy()
    assert np.allclose(got, -log_expit(logits), rtol=1e-9, atol=1e-12)
    assert (got >= 0).all()
