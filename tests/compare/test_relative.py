"""Differences relative to what there is: closed forms, numpy and scipy, and images with nothing on them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.distance import cosine

from anotwin.compare.relative import MIN_CONTRAST, cosine_distance, relative_square, unit_features

few_examples = settings(derandomize=True, deadline=None, max_examples=50)
image_pairs = hnp.arrays(np.float64, (2, 3, 2, 4, 4), elements=st.floats(-1, 1))
feature_pairs = hnp.arrays(np.float64, (2, 3, 6), elements=st.floats(-50, 50).filter(lambda x: x == 0 or abs(x) > 1e-3))


def strokes(*columns: int) -> torch.Tensor:
    """A black 8 x 8 image with white columns."""
    image = -torch.ones(1, 1, 8, 8)
    image[..., list(columns)] = 1
    return image


@few_examples
@given(feature_pairs)
def test_the_cosine_distance_is_scipys(pair: np.ndarray) -> None:
    ours = [torch.from_numpy(part) for part in pair]
    for row, (x, y) in enumerate(zip(*pair, strict=True)):
        if x.any() and y.any():
            assert cosine_distance(*ours)[row].item() == pytest.approx(cosine(x, y), abs=1e-9)
    assert torch.equal(cosine_distance(*ours), cosine_distance(*ours[::-1]))


def test_what_has_no_features_is_a_finite_number() -> None:
    some, none = torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2)
    assert unit_features(some).tolist() == [pytest.approx([0.6, 0.8])]
    assert unit_features(none).tolist() == [[0.0, 0.0]]
    assert cosine_distance(none, none).item() == 0
    assert cosine_distance(some, none).item() == cosine_distance(none, some).item() == pytest.approx(0.5)


@pytest.mark.parametrize("value", [-1.0, 0.0, 0.5])
def test_the_gradient_of_the_cosine_distance_is_finite_where_nothing_differs(value: float) -> None:
    moved = torch.full((2, 5), value, requires_grad=True)
    cosine_distance(torch.full((2, 5), value), moved).sum().backward()
    assert moved.grad is not None
    assert moved.grad.isfinite().all()


def test_a_cosine_distance_does_not_depend_on_the_batch() -> None:
    arguments = torch.randn(2, 8, 512, generator=torch.Generator().manual_seed(0))
    together = cosine_distance(*arguments)
    for row in range(8):
        assert torch.equal(cosine_distance(*arguments[:, row : row + 1]), together[row : row + 1])


def test_relative_square_in_closed_form() -> None:
    """1: no better than a flat grey; the same mistake in twice the ink is half as bad."""
    two, four = strokes(0, 1), strokes(0, 1, 4, 5)  # variance 4 p (1 - p) with a share p of white
    flat = two.mean().expand_as(two)
    assert relative_square(two, two).tolist() == [0.0]
    assert relative_square(two, flat).item() == pytest.approx(1, rel=1e-6)
    assert relative_square(two, strokes(0)).item() == pytest.approx((4 / 8) / (4 * 2 / 8 * 6 / 8), rel=1e-6)
    assert relative_square(four, strokes(0, 1, 4)).item() == pytest.approx((4 / 8) / (4 / 4), rel=1e-6)
    for gain, shift in ((0.5, 0.0), (0.5, 0.4), (-1.0, 0.0)):  # the contrast and the ground do not count
        assert relative_square(gain * two + shift, gain * strokes(0) + shift).item() == pytest.approx(2 / 3, rel=1e-5)


@few_examples
@given(image_pairs)
def test_relative_square_against_numpy(pair: np.ndarray) -> None:
    queries, counterparts = (part.reshape(3, -1) for part in pair)
    error = np.square(queries - counterparts).mean(1)
    expected = error / np.maximum(queries.var(1), (2 * MIN_CONTRAST) ** 2)
    assert np.allclose(relative_square(*map(torch.from_numpy, pair)).numpy(), expected)


def test_the_gradient_of_relative_square_is_that_of_finite_differences() -> None:
    rng = torch.Generator().manual_seed(0)
    pair = (torch.rand(2, 2, 1, 4, 4, generator=rng, dtype=torch.float64) * 2 - 1).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda pair: relative_square(*pair), pair)


@pytest.mark.parametrize("grey", [-1.0, 0.0, 1.0])
def test_relative_square_of_flat_images_is_finite_and_so_is_its_gradient(grey: float) -> None:
    flat = torch.full((2, 1, 8, 8), grey)
    assert relative_square(flat, flat).tolist() == [0.0, 0.0]
    assert (relative_square(flat, flat + 2e-4) <= 1.01e-4).all()  # (1 % of what counts as faint) squared
    assert relative_square(flat, -flat).isfinite().all()
    for moved in (flat.clone().requires_grad_(True), strokes(1).repeat(2, 1, 1, 1).requires_grad_(True)):
        relative_square(flat, moved).sum().backward()
        assert moved.grad is not None
        assert moved.grad.isfinite().all()


def test_a_relative_square_does_not_depend_on_the_batch() -> None:
    queries, others = torch.rand(2, 8, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    together = relative_square(queries, others)
    for row in range(8):
        assert torch.equal(relative_square(queries[row : row + 1], others[row : row + 1]), together[row : row + 1])
