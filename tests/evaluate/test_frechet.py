"""The Frechet distance against closed forms, scipy's matrix square root and many samples; what few images do to it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from anotwin.errors import DataError, SettingsError
from anotwin.evaluate.frechet import Features, frechet, frechet_distance, frechet_lead, frechet_of_halves

Floats = npt.NDArray[np.float64]


def drawn(seed: int, count: int = 200, width: int = 5) -> Floats:
    """Correlated features far from zero, of several scales."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(width, width)) * np.geomspace(0.1, 10, width)
    return rng.normal(size=(count, width)) @ mixed + 100 * rng.normal(size=width)


def alone(values: Floats) -> Features:
    return Features(values, range(len(values)))


@pytest.mark.parametrize(("counts", "width"), [((200, 150), 5), ((200, 200), 1), ((400, 60), 20)])
def test_as_with_the_square_root_of_scipy(counts: tuple[int, int], width: int) -> None:
    one, other = drawn(1, counts[0], width), drawn(2, counts[1], width)
    spreads = [np.atleast_2d(np.cov(each, rowvar=False)) for each in (one, other)]
    shared = np.trace(np.real(sqrtm(spreads[0] @ spreads[1])))
    expected = np.square(one.mean(0) - other.mean(0)).sum() + np.trace(sum(spreads)) - 2 * shared
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-7)


def test_as_in_closed_form_of_gaussians() -> None:
    """(m_a - m_b)^2 + (s_a - s_b)^2 along each axis where axes are independent."""
    rng = np.random.default_rng(0)
    means, scales = np.array([[0.0, 3.0, -1.0], [1.0, 3.0, 2.0]]), np.array([[1.0, 2.0, 0.5], [3.0, 2.0, 0.1]])
    one, other = (m + s * rng.normal(size=(200_000, 3)) for m, s in zip(means, scales, strict=True))
    expected = np.square(means[0] - means[1]).sum() + np.square(scales[0] - scales[1]).sum()
    assert frechet_distance(one, other) == pytest.approx(expected, rel=0.02)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(-50, 50), st.floats(0.1, 10))
def test_symmetric_unmoved_by_shift_and_rotation_and_squared_in_scale(seed: int, shift: float, scale: float) -> None:
    one, other = drawn(seed), drawn(seed + 1)
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(5, 5)))[0]
    plain = frechet_distance(one, other)
    assert frechet_distance(other, one) == pytest.approx(plain, rel=1e-6)
    assert frechet_distance((one + shift) @ turn, (other + shift) @ turn) == pytest.approx(plain, rel=1e-6)
    assert frechet_distance(scale * one, scale * other) == pytest.approx(scale**2 * plain, rel=1e-6)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-6 * np.trace(np.cov(one, rowvar=False)))


def test_fewer_rows_than_features_are_allowed() -> None:
    one, other = drawn(3, 6, 10), drawn(4, 4, 10)
    assert np.isfinite(frechet_distance(one, other))
    assert frechet_distance(one, other) > 0


def test_groups_change_nothing_but_the_interval() -> None:
    one, other = drawn(1), drawn(2)
    plain = frechet_distance(one, other)
    found = frechet(alone(one), alone(other), draws=50)
    assert found.value == pytest.approx(plain)
    by_tens = frechet(Features(one, [n // 20 for n in range(200)]), alone(other + 0), draws=50)
    assert by_tens.value == pytest.approx(plain)
    single = frechet(Features(one, ["a"] * 200), Features(other, ["a"] * 200), draws=50)
    assert single.value == pytest.approx(plain)
    assert np.isnan([single.low, single.high]).all()


def test_the_interval_is_as_wide_as_values_of_fresh_samples_are_spread() -> None:
    """An oracle by brute force: the middle 95 % of what 300 pairs of fresh samples give."""
    rng = np.random.default_rng(0)
    pairs = [(rng.normal(size=(80, 3)), 1 + 1.5 * rng.normal(size=(80, 3))) for _ in range(300)]
    low, high = np.quantile([frechet_distance(*pair) for pair in pairs], [0.025, 0.975])
    widths = []
    for one, other in pairs[:12]:
        found = frechet(alone(one), Features(other, range(100, 180)), draws=200)
        assert found.low <= found.value <= found.high
        widths.append(found.high - found.low)
    assert np.mean(widths) == pytest.approx(high - low, rel=0.25)


def test_copies_of_images_do_not_narrow_the_interval() -> None:
    one, other = drawn(1, 40), drawn(2, 40)
    ids = list(range(40))
    plain = frechet(Features(one, ids), Features(other, ids))
    copied = frechet(
        Features(np.repeat(one, 5, 0), np.repeat(ids, 5)), Features(np.repeat(other, 5, 0), np.repeat(ids, 5))
    )
    assert copied.high - copied.low == pytest.approx(plain.high - plain.low, rel=0.1)


def test_the_lead_is_the_difference_and_sure_where_it_is_large() -> None:
    real = Features(drawn(1), range(200))
    near, far = Features(real.values + 0.1, real.groups), Features(real.values + 30, real.groups)
    lead = frechet_lead(real, near, far, draws=60)
    expected = frechet_distance(real.values, far.values) - frechet_distance(real.values, near.values)
    assert lead.value == pytest.approx(expected)
    assert lead.low > 0
    assert frechet_lead(real, far, near, draws=60).value == pytest.approx(-expected)
    same = frechet_lead(real, far, far, draws=60)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_halves_of_one_distribution_are_further_apart_the_fewer_they_are() -> None:
    few, many = (frechet_of_halves(alone(drawn(1, count))) for count in (40, 4000))
    assert many < few / 20
    assert many == frechet_of_halves(alone(drawn(1, 4000)))  # seeded
    assert np.isnan(frechet_of_halves(Features(drawn(1, 30), [0] * 30)))


def test_bad_features_are_refused() -> None:
    good = drawn(1, 10)
    with pytest.raises(SettingsError, match=r"\(10, 4\): expected \(N, D\) each, of one D"):
        frechet_distance(good, good[:, :4])
    with pytest.raises(DataError, match="1 rows of features; expected at least 2"):
        frechet_distance(good, good[:1])
    with pytest.raises(DataError, match="not finite"):
        frechet_distance(good, np.where(good > 0, np.nan, good))
    with pytest.raises(SettingsError, match="as many groups as rows"):
        frechet(Features(good, [1]), alone(good))
