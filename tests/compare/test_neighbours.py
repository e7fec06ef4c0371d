"""Distances to the blend of the nearest: against scikit-learn's weights, closed forms and single rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.manifold._locally_linear import barycenter_weights
from sklearn.neighbors import NearestNeighbors

from anotwin.compare.neighbours import reconstruction_distance


def rows(count: int, width: int = 24, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("neighbours, ridge", [(2, 0.3), (5, 0.01), (12, 0.3), (30, 1.0)])
@pytest.mark.parametrize("count", [1, 7, 600])  # more than are gathered at once
def test_weights_are_those_of_local_linear_embedding(count: int, neighbours: int, ridge: float) -> None:
    features, memory = rows(count), rows(40, seed=1)
    wide, known = features.double().numpy(), memory.double().numpy()
    nearest = NearestNeighbors(n_neighbors=neighbours).fit(known).kneighbors(wide, return_distance=False)
    # scikit-learn's regularisation is a share of the trace, ours of its mean
    weights = barycenter_weights(wide, known, nearest, reg=ridge / neighbours)
    expected = ((wide - np.einsum("bk,bkf->bf", weights, known[nearest])) ** 2).sum(1)
    got = reconstruction_distance(features, memory, neighbours, ridge).distance
    assert got.dtype == torch.float32
    assert np.allclose(got.numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("count", [5, 600])
def test_the_neighbours_are_named_nearest_first(count: int) -> None:
    features, memory = rows(count), rows(40, seed=1)
    expected = NearestNeighbors(n_neighbors=7).fit(memory.double().numpy()).kneighbors(features.double().numpy())[1]
    assert np.array_equal(reconstruction_distance(features, memory, 7, 0.3).nearest.numpy(), expected)
    own = torch.arange(40)
    among = reconstruction_distance(memory, memory, 7, 0.3, own=own).nearest
    assert among.shape == (40, 7)
    assert not (among == own[:, None]).any()
    assert reconstruction_distance(memory[:1], memory[:1], 7, 0.3, own=own[:1]).nearest.shape == (1, 0)


def test_one_neighbour_is_the_plain_nearest_distance() -> None:
    features, memory = rows(20), rows(30, seed=1)
    expected = torch.cdist(features.double(), memory.double()).min(1).values.square()
    assert torch.allclose(reconstruction_distance(features, memory, 1, 0.3).distance.double(), expected, rtol=1e-5)


def test_what_lies_between_two_is_nearer_to_both_together_than_to_each() -> None:
    memory = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    between, beside = torch.tensor([[0.5, 0.0]]), torch.tensor([[0.5, 0.2]])
    assert float(reconstruction_distance(between, memory, 2, 0.3).distance) == pytest.approx(0, abs=1e-12)
    assert float(reconstruction_distance(between, memory, 1, 0.3).distance) == pytest.approx(0.25)
    assert float(reconstruction_distance(beside, memory, 2, 0.3).distance) == pytest.approx(0.04)


def test_a_large_ridge_gives_the_plain_mean_and_a_small_one_the_foot_of_the_perpendicular() -> None:
    memory, feature = torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.tensor([[0.1, 0.3]])
    assert float(reconstruction_distance(feature, memory, 2, 1e6).distance) == pytest.approx(0.4**2 + 0.3**2, rel=1e-4)
    assert float(reconstruction_distance(feature, memory, 2, 1e-9).distance) == pytest.approx(0.3**2, rel=1e-4)


def test_a_row_is_left_out_for_itself_and_for_no_other() -> None:
    memory = rows(30)
    own = torch.arange(30)
    got = reconstruction_distance(memory, memory, 6, 0.3, own=own).distance
    for row in range(30):
        alone = reconstruction_distance(memory[row : row + 1], memory[own != row], 6, 0.3).distance
        assert float(got[row]) == pytest.approx(float(alone), rel=1e-5)
    assert reconstruction_distance(memory, memory, 6, 0.3).distance.max() < got.min()
    many = rows(600)  # rows are counted across parts
    assert reconstruction_distance(many, many, 1, 0.3, own=torch.arange(600)).distance.min() > 1e-3


def test_a_small_memory_gives_what_it_has() -> None:
    feature = torch.tensor([[1.0, 0.0]])
    memory = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    assert (
        reconstruction_distance(feature, memory, 40, 0.3).distance.tolist()
        == reconstruction_distance(feature, memory, 2, 0.3).distance.tolist()
    )
    assert reconstruction_distance(feature, memory[:1], 40, 0.3).distance.tolist() == [1.0]
    assert reconstruction_distance(
        feature, memory[:1], 40, 0.3, own=torch.zeros(1, dtype=torch.int64)
    ).distance.tolist() == [4.0]


def test_copies_and_broken_rows_give_numbers_or_nan_and_no_error() -> None:
    memory = rows(1).repeat(8, 1)
    assert reconstruction_distance(memory[:1], memory, 5, 0.3).distance.tolist() == [0.0]
    assert reconstruction_distance(memory[:1] + 1, memory, 5, 0.3).distance.isfinite().all()
    queries = rows(3)
    queries[1] = torch.nan
    assert reconstruction_distance(queries, rows(9, seed=1), 5, 0.3).distance.isnan().tolist() == [False, True, False]


def test_no_row_depends_on_the_others() -> None:
    features, memory = rows(300, 640), rows(500, 640, seed=1)
    together = reconstruction_distance(features, memory, 40, 0.3).distance
    for count in (1, 2, 7, 32):
        parts = [reconstruction_distance(part, memory, 40, 0.3).distance for part in torch.split(features[:64], count)]
        assert torch.equal(torch.cat(parts), together[:64])


def test_half_precision_memory_is_near_enough() -> None:
    features, memory = rows(50, 640) / 640**0.5, rows(300, 640, seed=1) / 640**0.5
    exact, rounded = (reconstruction_distance(features, kept, 40, 0.3).distance for kept in (memory, memory.half()))
    assert torch.allclose(exact, rounded, rtol=1e-3)
