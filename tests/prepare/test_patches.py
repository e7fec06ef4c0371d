"""Places, grids, stitching and pooling of patches against brute force, then invariants for any image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from anotwin.errors import DataError, SettingsError
from anotwin.prepare.patches import (
    covering_positions,
    cut,
    grid_positions,
    hann,
    pool,
    stitch,
    valid_share,
)

SETTINGS = settings(derandomize=True, deadline=None, max_examples=80)
RNG = np.random.default_rng(0)
MASKS = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, min_side=4, max_side=9))
SHARES = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])
SCORES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40)


def brute_places(valid, size, share):
    """Every corner, every pixel, one by one."""
    places = []
    for row in range(valid.shape[0] - size + 1):
        for column in range(valid.shape[1] - size + 1):
            inside = sum(bool(valid[row + i, column + j]) for i in range(size) for j in range(size))
            if inside >= share * size * size:
                places.append((row, column))
    return places


@SETTINGS
@given(MASKS, st.integers(1, 4), SHARES)
def test_valid_share_counts_every_pixel(valid, size, share):
    shares = valid_share(valid, size)
    assert shares.shape == (valid.shape[0] - size + 1, valid.shape[1] - size + 1)
    assert np.argwhere(shares >= share).tolist() == [list(place) for place in brute_places(valid, size, share)]


@SETTINGS
@given(hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=14)), st.integers(1, 5), st.data())
def test_patches_decide_within_the_columns_that_do(valid, size, data):
    stride = data.draw(st.integers(1, size))
    decides = data.draw(hnp.arrays(np.bool_, valid.shape[1]))
    positions, deciding = covering_positions(valid, decides, size, stride)
    assert positions.shape == (len(deciding), 2)
    if min(valid.shape) < size:
        assert not len(positions)
        return
    shown, enough = set(brute_places(valid, size, 0.5)), set(brute_places(valid, size, 0.9))
    places = [tuple(place) for place in positions.tolist()]
    assert set(places) <= shown
    within = [all(decides[column : column + size]) for _, column in places]
    assert all(inside and place in enough for place, inside, own in zip(places, within, deciding, strict=True) if own)
    everywhere = covering_positions(np.ones(valid.shape, bool), decides, size, stride)
    covered, decided = np.zeros(valid.shape[1], bool), np.zeros(valid.shape[1], bool)
    for (_, column), own in zip(everywhere[0].tolist(), everywhere[1].tolist(), strict=True):
        covered[column : column + size] = True
        decided[column : column + size] |= own
    assert covered.all()
    runs = ["".join(run) for run in "".join("x" if one else " " for one in decides).split()]
    assert decided.sum() == sum(len(run) for run in runs if len(run) >= size)  # narrower runs hold no patch


@SETTINGS
@given(MASKS, st.integers(1, 4), st.data())
def test_where_all_columns_decide_it_is_the_grid_of_the_whole_image(valid, size, data):
    stride = data.draw(st.integers(1, size))
    positions, deciding = covering_positions(valid, np.ones(valid.shape[1], bool), size, stride)
    shown, enough = set(brute_places(valid, size, 0.5)), set(brute_places(valid, size, 0.9))
    grid = [tuple(place) for place in grid_positions(valid.shape, size, stride).tolist()]
    assert positions.tolist() == [list(place) for place in grid if place in shown]
    assert deciding.tolist() == [place in enough for place in grid if place in shown]


def test_what_no_patch_fits_is_said():
    with pytest.raises(DataError, match="image of 3 x 9 pixels for patches of side 4: use smaller"):
        valid_share(np.ones((3, 9), bool), 4)
    with pytest.raises(DataError, match="image of 9 x 3"):
        grid_positions((9, 3), 4, 2)
    with pytest.raises(SettingsError, match="pixels are left out"):
        grid_positions((9, 9), 4, 5)
    with pytest.raises(SettingsError, match="stride 0"):
        grid_positions((9, 9), 4, 0)
    with pytest.raises(SettingsError, match="side 0"):
        valid_share(np.ones((9, 9), bool), 0)


@SETTINGS
@given(st.integers(1, 12), st.integers(0, 40), st.integers(0, 40), st.data())
def test_the_grid_covers_every_pixel_without_waste(size, more_rows, more_columns, data):
    stride = data.draw(st.integers(1, size))
    shape = size + more_rows, size + more_columns
    positions = grid_positions(shape, size, stride)
    covered = np.zeros(shape, int)
    for row, column in positions:
        covered[row : row + size, column : column + size] += 1
    assert covered.sum() == len(positions) * size**2  # none sticks out
    assert covered.min() >= 1
    for axis in (0, 1):
        lines = np.unique(positions[:, axis])
        assert lines[0] == 0
        assert lines[-1] == shape[axis] - size
        assert np.diff(lines).max(initial=0) <= stride
        assert len(lines) == -(-(shape[axis] - size) // stride) + 1  # the fewest that reach


@pytest.mark.parametrize("shape", [(7, 9), (7, 9, 3)])
def test_cut_is_slicing(shape):
    image = RNG.integers(0, 255, shape).astype(np.uint8)
    positions = np.array([[0, 0], [4, 6], [2, 3], [2, 3]])
    patches = cut(image, positions, 3)
    assert patches.dtype == np.uint8
    assert patches.shape == (4, 3, 3, *shape[2:])
    for patch, (row, column) in zip(patches, positions, strict=True):
        assert (patch == image[row : row + 3, column : column + 3]).all()
    patches[:] = 0  # copies: the image stays
    assert image.any()
    assert cut(image, np.empty((0, 2), np.int64), 3).shape == (0, 3, 3, *shape[2:])


@pytest.mark.parametrize("position", [[-1, 0], [5, 0], [0, 7]])
def test_patches_outside_are_refused(position):
    with pytest.raises(ValueError, match="outside an image"):
        cut(np.zeros((7, 9)), np.array([position]), 3)
    with pytest.raises(ValueError, match="outside an image"):
        stitch(np.zeros((1, 3, 3)), np.array([position]), (7, 9))


def brute_stitch(patches, positions, shape, window):
    """Pixel by pixel: the weighted mean of the patches over it."""
    out = np.full(shape, np.nan)
    for row in range(shape[0]):
        for column in range(shape[1]):
            values, weights = [], []
            for patch, (top, left) in zip(patches, positions, strict=True):
                i, j = row - top, column - left
                if 0 <= i < len(patch) and 0 <= j < len(patch) and not np.isnan(patch[i, j]):
                    values.append(patch[i, j])
                    weights.append(window[i, j])
            if weights:
                out[row, column] = np.average(values, weights=weights)
    return out


@SETTINGS
@given(st.integers(1, 4), st.integers(0, 6), st.booleans(), st.integers(0, 2**32 - 1))
def test_a_stitched_pixel_is_the_weighted_mean_of_the_patches_over_it(size, count, gaps, seed):
    rng = np.random.default_rng(seed)
    shape = 6, 7
    positions = np.stack([rng.integers(0, 7 - size, count), rng.integers(0, 8 - size, count)], axis=1)
    patches = rng.normal(size=(count, size, size))
    if gaps:
        patches[rng.random(patches.shape) < 0.3] = np.nan
    side = np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2
    expected = brute_stitch(patches, positions, shape, np.outer(side, side))
    np.testing.assert_allclose(stitch(patches, positions, shape), expected, atol=1e-12)


@SETTINGS
@given(st.integers(1, 9), st.integers(0, 20), st.integers(0, 20), st.sampled_from([np.float32, np.float64]), st.data())
def test_patches_of_one_map_give_that_map_again(size, more_rows, more_columns, kind, data):
    shape = size + more_rows, size + more_columns
    image = data.draw(hnp.arrays(kind, shape, elements=st.floats(-100, 100, width=32), fill=st.just(0.5)))
    positions = grid_positions(shape, size, data.draw(st.integers(1, size)))
    again = stitch(cut(image, positions, size), positions, shape)
    assert again.dtype == kind
    np.testing.assert_allclose(again, image, rtol=1e-5 if kind == np.float32 else 1e-12, atol=1e-11)
    level = data.draw(st.floats(-1e3, 1e3))
    constant = np.full((len(positions), size, size), level)
    assert (stitch(constant, positions, shape) == level).all()  # to the last bit


def test_a_stitched_map_has_no_seams_and_is_nan_where_no_patch_lies():
    positions = grid_positions((16, 40), 16, 4)
    patches = np.broadcast_to(RNG.normal(size=len(positions))[:, None, None], (len(positions), 16, 16))
    smooth = stitch(patches, positions, (16, 40))
    equal = brute_stitch(patches, positions, (16, 40), np.ones((16, 16)))  # no window: a plain mean
    assert np.abs(np.diff(smooth, axis=1)).max() < 0.5 * np.abs(np.diff(equal, axis=1)).max()
    alone = stitch(np.full((1, 2, 2), 0.1, np.float32), np.array([[1, 1]]), (4, 4))
    assert np.isnan(alone).sum() == 12
    assert (alone[1:3, 1:3] == np.float32(0.1)).all()
    assert np.isnan(stitch(np.zeros((0, 2, 2)), np.empty((0, 2), np.int64), (4, 4))).all()


def test_patches_and_positions_must_belong_together():
    with pytest.raises(ValueError, match=r"expected \(P, s, s\)"):
        stitch(np.zeros((2, 3, 3)), np.zeros((1, 2), int), (5, 5))
    with pytest.raises(ValueError, match="integers"):
        cut(np.zeros((5, 5)), np.zeros((1, 2)), 3)


@pytest.mark.parametrize("size", [1, 2, 5, 64])
def test_the_window_is_smooth_symmetric_and_never_zero(size):
    window = hann(size)
    assert (window > 0).all()
    assert window.max() <= 1
    np.testing.assert_allclose(window, window[::-1, ::-1])
    np.testing.assert_allclose(window, window.T)
    np.testing.assert_allclose(window.mean(), 0.25 if size > 1 else 1.0)  # of sin^2 in both directions


@SETTINGS
@given(SCORES, st.floats(0.01, 1.0), st.randoms(use_true_random=False), st.data())
def test_pooling_is_bounded_blind_to_order_and_monotone(scores, share, random, data):
    got = pool(scores, share)
    assert min(scores) <= got <= max(scores)
    assert pool(random.sample(scores, len(scores)), share) == got
    raised = list(scores)
    raised[data.draw(st.integers(0, len(scores) - 1))] += data.draw(st.floats(0, 1e6))
    assert pool(raised, share) >= got
    assert pool([*scores, float("nan")], share) == got


@SETTINGS
@given(SCORES, st.integers(1, 20))
def test_pooling_is_the_mean_of_the_top_share(scores, top):
    """Each score repeated `top` times: a share of 1 / n takes a whole number of them, and the mean is a slice's."""
    taken = min(top, len(scores))
    expected = np.mean(sorted(scores)[-taken:])
    assert pool(scores, taken / len(scores)) == pytest.approx(expected, rel=1e-9, abs=1e-6)
    assert pool(scores, 1.0) == pytest.approx(np.mean(scores), rel=1e-9, abs=1e-6)


def test_a_small_lesion_raises_the_pooled_score_more_than_one_noisy_patch():
    normal = RNG.normal(1.0, 0.1, 400)
    noisy, lesion = normal.copy(), normal.copy()
    noisy[7] = 3.0
    lesion[:12] = 2.0
    assert pool(lesion) - pool(normal) > 3 * (pool(noisy) - pool(normal))
    assert pool([1.0, 2.0, 3.0, 4.0], 0.375) == pytest.approx((4 + 0.5 * 3) / 1.5)
    assert np.isnan(pool([]))
    assert np.isnan(pool([float("nan")]))
    for share in (0.0, 1.1, float("nan")):
        with pytest.raises(SettingsError, match="share"):
            pool([1.0], share)
    with pytest.raises(ValueError, match=r"shape \(2, 2\)"):
        pool(np.zeros((2, 2)))
