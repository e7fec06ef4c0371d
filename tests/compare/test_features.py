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
from sklearn.neighbors import NearestNeighbors

from anotwin.compare.features import discrimination_score, mean_square_features, nearest_distance, reference_score
from anotwin.compare.relative import unit_features

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


def unit(rows: int, width: int = 24, seed: int = 0) -> torch.Tensor:
    return unit_features(torch.randn(rows, width, generator=torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize("neighbours", [1, 5, 40])
@pytest.mark.parametrize("rows", [1, 7, 1100])  # more than are multiplied at once
def test_nearest_neighbours_are_scikit_learns(rows: int, neighbours: int) -> None:
    features, memory = unit(rows), unit(40, seed=1)
    reference = NearestNeighbors(n_neighbors=neighbours, metric="cosine").fit(memory.numpy().astype(np.float64))
    expected = reference.kneighbors(features.numpy().astype(np.float64))[0].mean(1)
    got = nearest_distance(features, memory, neighbours)
    assert got.dtype == torch.float32
    assert np.allclose(got.numpy(), expected, atol=1e-6)


def test_a_row_of_the_memory_is_nearest_to_itself_unless_it_is_its_own() -> None:
    memory = unit(30)
    assert nearest_distance(memory, memory, 1).max() < 1e-6
    reference = NearestNeighbors(n_neighbors=3, metric="cosine").fit(memory.numpy().astype(np.float64))
    expected = reference.kneighbors()[0].mean(1)  # without arguments: each without itself
    assert np.allclose(nearest_distance(memory, memory, 3, torch.arange(30)).numpy(), expected, atol=1e-6)


def test_copies_of_an_image_are_left_out_for_it_and_for_no_other() -> None:
    features, others = unit(6), unit(6, seed=1)
    memory = torch.cat([features, others, features])  # the middle ones are its own as well
    got = nearest_distance(features, memory, 2, torch.arange(18) % 6)
    for row in range(6):
        kept = [place for place in range(18) if place % 6 != row]
        alone = nearest_distance(features[row : row + 1], memory[kept], 2)
        assert float(got[row]) == pytest.approx(float(alone), abs=1e-7)
    more = nearest_distance(unit(1100), unit(1100), 1, torch.arange(1100))  # rows are counted across parts
    assert more.min() > 1e-3


def test_a_memory_with_fewer_rows_than_neighbours_gives_what_it_has() -> None:
    features = torch.tensor([[1.0, 0.0]])
    memory = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert nearest_distance(features, memory, 9).tolist() == [0.5]
    assert nearest_distance(features, memory[:1], 5, torch.zeros(1, dtype=torch.int64)).tolist() == [2.0]
    assert nearest_distance(features, -memory[:1], 5).tolist() == [2.0]


def test_a_nearest_distance_does_not_depend_on_company() -> None:
    features, memory = unit(64, 256), unit(500, 256, seed=1)
    together = nearest_distance(features, memory, 5)
    assert (together >= 0).all()
    for count in (1, 2, 7, 32):
        parts = [nearest_distance(part, memory, 5) for part in torch.split(features, count)]
        assert torch.equal(torch.cat(parts), together)
