"""Residuals relative to what there is: closed forms, numpy and scipy, ranges, and images with nothing on them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.distance import braycurtis, cosine

from anotwin.compare.relative import (
    FAINT,
    cosine_distance,
    ground,
    relative_features,
    relative_l1,
    relative_l2,
    relative_square,
    shared_features,
    shared_l1,
    shared_l2,
    unit_features,
)

Pixels = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
Features = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

BLACK = torch.tensor(-1.0)
PIXELS = [relative_l1, relative_l2, shared_l1, shared_l2]
FEATURES = [cosine_distance, relative_features, shared_features]
quick = settings(derandomize=True, deadline=None, max_examples=50)
image_pairs = hnp.arrays(np.float64, (2, 3, 2, 4, 4), elements=st.floats(-1, 1))
feature_pairs = hnp.arrays(np.float64, (2, 3, 6), elements=st.floats(-50, 50).filter(lambda x: x == 0 or abs(x) > 1e-3))


def strokes(*columns: int) -> torch.Tensor:
    """A black 8 x 8 image with white columns."""
    image = -torch.ones(1, 1, 8, 8)
    image[..., list(columns)] = 1
    return image


@pytest.mark.parametrize(
    "function, half, twice",
    [
        (relative_l1, 0.5, 1.0),  # one stroke of two is missing; one too many beside one
        (relative_l2, 0.5**0.5, 1.0),
        (shared_l1, 1 / 3, 1 / 3),
        (shared_l2, 1 / (1 + 2**0.5), 1 / (1 + 2**0.5)),
    ],
)
def test_closed_forms(function: Pixels, half: float, twice: float) -> None:
    for bold in (1, 2):  # the same mistake in strokes twice as wide is the same number
        one, two = strokes(*range(bold)), strokes(*range(2 * bold))
        assert function(two, one, BLACK).item() == pytest.approx(half, rel=1e-6)
        assert function(one, two, BLACK).item() == pytest.approx(twice, rel=1e-6)
        assert function(one, one, BLACK).item() == 0
        assert function(two, strokes(), BLACK).item() == pytest.approx(1, rel=1e-6)  # wrong altogether


def test_the_ground_is_what_most_of_the_image_is() -> None:
    picture = torch.cat([strokes(0, 1), -strokes(0, 1)], dim=1)
    assert ground(picture).flatten().tolist() == [-1.0, 1.0]
    for function in PIXELS:  # black on white is worth what white on black is
        ours = function(-strokes(0, 1), -strokes(0), ground(-strokes(0, 1)))
        assert torch.equal(ours, function(strokes(0, 1), strokes(0), BLACK))


@quick
@given(image_pairs)
def test_pixels_against_numpy(pair: np.ndarray) -> None:
    queries, counterparts = pair
    level = np.median(np.sort(queries.reshape(3, 2, 16))[..., :15], axis=2)[..., None, None]  # torch's lower median
    ours = [torch.from_numpy(part) for part in (*pair, level)]
    assert np.array_equal(ground(ours[0]).numpy(), level)
    (error, held, other) = (
        part.reshape(3, -1) for part in (queries - counterparts, queries - level, counterparts - level)
    )
    for norm, floor, own, shared in (
        (1, 32 * 2 * FAINT, relative_l1, shared_l1),
        (2, 32**0.5 * 2 * FAINT, relative_l2, shared_l2),
    ):
        wrong, ink, both = (np.linalg.norm(part, norm, axis=1) for part in (error, held, other))
        assert np.allclose(own(*ours).numpy(), wrong / np.maximum(ink, floor))
        assert np.allclose(shared(*ours).numpy(), wrong / np.maximum(ink + both, floor))
        assert (own(*ours) <= 1 / FAINT + 1e-9).all()
        assert (shared(*ours) <= 1 + 1e-9).all()


def test_shared_l1_is_the_bray_curtis_distance_of_ink() -> None:
    queries, counterparts = torch.rand(2, 4, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = [braycurtis(x.ravel(), y.ravel()) for x, y in zip(queries.numpy(), counterparts.numpy(), strict=True)]
    got = shared_l1(queries * 2 - 1, counterparts * 2 - 1, BLACK)
    assert got.tolist() == pytest.approx(expected, rel=1e-12)


@quick
@given(feature_pairs)
def test_features_against_numpy_and_scipy(pair: np.ndarray) -> None:
    ours = [torch.from_numpy(part) for part in pair]
    gap, own, other = (np.linalg.norm(part, axis=1) for part in (pair[0] - pair[1], *pair))
    assert np.allclose(relative_features(*ours).numpy(), gap / np.maximum(own, 1e-6))
    assert np.allclose(shared_features(*ours).numpy(), gap / np.maximum(own + other, 1e-6))
    assert (shared_features(*ours) <= 1 + 1e-9).all()
    for row, (x, y) in enumerate(zip(*pair, strict=True)):
        if x.any() and y.any():
            assert cosine_distance(*ours)[row].item() == pytest.approx(cosine(x, y), abs=1e-9)
    assert torch.equal(cosine_distance(*ours), cosine_distance(*ours[::-1]))


def test_what_has_no_features_is_a_finite_number() -> None:
    some, none = torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2)
    assert unit_features(some).tolist() == [pytest.approx([0.6, 0.8])]
    assert unit_features(none).tolist() == [[0.0, 0.0]]
    assert [function(none, none).item() for function in FEATURES] == [0, 0, 0]
    assert cosine_distance(some, none).item() == cosine_distance(none, some).item() == pytest.approx(0.5)
    assert shared_features(none, some).item() == relative_features(some, none).item() == pytest.approx(1)
    assert relative_features(none, some).item() == pytest.approx(5e6)


@pytest.mark.parametrize("function", PIXELS)
@pytest.mark.parametrize("level", ["black", "ground"])
def test_flat_images_are_safe_and_noise_on_them_is_small(function: Pixels, level: str) -> None:
    for grey in (-1.0, 0.0, 1.0):
        flat = torch.full((1, 1, 8, 8), grey)
        nothing = BLACK if level == "black" else ground(flat)
        assert function(flat, flat, nothing).item() == 0
        assert function(flat, flat + 2e-4, nothing).item() <= 0.0101  # 1 % of what counts as faint
        assert function(flat, -flat, nothing).isfinite().all()


@pytest.mark.parametrize("function", [*PIXELS, *FEATURES])
def test_gradients_are_finite_where_nothing_differs(function: Callable[..., torch.Tensor]) -> None:
    """A search may lower these: a perfect or an empty counterpart must not break it."""
    for value in (-1.0, 0.0, 0.5):
        shape, level = ((2, 1, 4, 4), (BLACK,)) if function in PIXELS else ((2, 5), ())
        moved = torch.full(shape, value, requires_grad=True)
        function(torch.full(shape, value), moved, *level).sum().backward()
        assert moved.grad is not None
        assert moved.grad.isfinite().all()


@pytest.mark.parametrize("function", [*PIXELS, *FEATURES])
def test_rows_are_as_if_alone(function: Callable[..., torch.Tensor]) -> None:
    rng = torch.Generator().manual_seed(0)
    if function in PIXELS:
        queries, others = torch.rand(2, 8, 3, 16, 16, generator=rng) * 2 - 1
        arguments = (queries, others, ground(queries))
    else:
        arguments = tuple(torch.randn(2, 8, 512, generator=rng))
    together = function(*arguments)
    for row in range(8):
        assert torch.equal(function(*(part[row : row + 1] for part in arguments)), together[row : row + 1])


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


@quick
@given(image_pairs)
def test_relative_square_against_numpy(pair: np.ndarray) -> None:
    queries, counterparts = (part.reshape(3, -1) for part in pair)
    error = np.square(queries - counterparts).mean(1)
    expected = error / np.maximum(queries.var(1), (2 * FAINT) ** 2)
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


def test_a_relative_square_does_not_depend_on_company() -> None:
    queries, others = torch.rand(2, 8, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    together = relative_square(queries, others)
    for row in range(8):
        assert torch.equal(relative_square(queries[row : row + 1], others[row : row + 1]), together[row : row + 1])
