"""ROC, histograms, search, feature map and grid: the numbers behind them by closed form, the files by opening them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from anotwin.errors import DataError
from anotwin.report.canvas import VERMILLION
from anotwin.report.curves import histogram_figure, roc_figure, score_bins
from anotwin.report.feature_map import embed, feature_figure, sample
from anotwin.report.grid import image_grid, save_grid
from anotwin.report.steps import _spread, search_figure

QUICK = settings(derandomize=True, deadline=None, max_examples=80)


def pixels_of(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def spots(picture, colour):
    target = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return np.nonzero(np.abs(picture - target).max(axis=2) < 8)


def test_operating_point_stands_where_the_threshold_puts_it(tmp_path):
    labels, scores = [False] * 4 + [True] * 4, [0, 1, 2, 3, 2, 4, 5, 6]
    roc_figure(labels, scores, 2, 0.9, (0.7, 1.0), tmp_path / "roc.png")  # finds 3 of 4, 1 false alarm of 4
    picture = pixels_of(tmp_path / "roc.png")
    rows, columns = spots(picture, VERMILLION)
    above = rows < picture.shape[0] * 0.6  # the other spot is in the legend
    height, width = picture.shape[:2]
    # the square of the axes: 0.8 of 3.6 inches, centred in its box
    side = 0.8 * 3.6 / 3.5 * height / 1.005
    assert (columns[above].mean() / width - 0.16) / 0.8 == pytest.approx(0.25, abs=0.02)
    bottom = height * (1 - 0.14) - (0.82 * height - side * 1.005) / 2
    assert (bottom - rows[above].mean()) / side == pytest.approx(0.75, abs=0.03)
    roc_figure(labels, scores, None, 0.9, None, tmp_path / "bare.png")
    assert not spots(pixels_of(tmp_path / "bare.png"), VERMILLION)[0].size


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([True, True], [1.0, 2.0], "both kinds"),
        ([True, False], [1.0], "for each score"),
        ([True, False], [1.0, np.nan], "1 of 2 scores are not finite"),
    ],
)
def test_no_roc_from_half_the_data(tmp_path, labels, scores, message):
    with pytest.raises(DataError, match=message):
        roc_figure(labels, scores, 0.0, 0.5, None, tmp_path / "roc.png")


@QUICK
@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60),
    st.none() | st.floats(-1e6, 1e6),
    st.booleans(),
)
def test_bins_ascend_and_hold_every_score_unless_they_say_so(scores, threshold, positive):
    values = np.abs(scores) + 1e-3 if positive else np.array(scores)
    edges, logarithmic, folded = score_bins(values, threshold)
    assert (np.diff(edges) > 0).all()
    assert 12 <= len(edges) - 1 <= 60
    assert logarithmic <= (edges[0] > 0)
    if not folded:
        assert edges[0] <= values.min()
        assert values.max() <= edges[-1]
    if threshold is not None:
        assert edges[0] <= threshold <= edges[-1]


def test_long_tails_are_readable():
    rng = np.random.default_rng(0)
    tail = np.concatenate([rng.normal(100, 10, 300), [5000.0]])
    edges, logarithmic, _ = score_bins(tail, 130.0)
    assert logarithmic
    assert ((edges > 70) & (edges < 130)).sum() >= 3
    edges, logarithmic, folded = score_bins(np.concatenate([rng.normal(0, 1, 300), [1e6, -1e6]]), 2.0)
    assert folded
    assert not logarithmic
    assert -20 < edges[0] < edges[-1] < 20


@pytest.mark.parametrize("abnormal", [[], [7.0], [1e5, 3.0, 40.0]])
def test_histograms_are_drawn(tmp_path, abnormal):
    path = tmp_path / "new" / "h.png"
    histogram_figure([1.0, 2.0, 2.0], abnormal, 2.5, path, "residual R(x) $_")
    assert bool(spots(pixels_of(path), VERMILLION)[0].size) == bool(abnormal)
    with pytest.raises(DataError, match="no scores"):
        histogram_figure([], [], None, path)


@QUICK
@given(st.lists(st.integers(0, 5000), min_size=1, max_size=40, unique=True), st.integers(2, 12))
def test_steps_shown_keep_both_ends(steps, most):
    steps = np.sort(steps)
    shown = _spread(steps, most)
    assert shown[0] == 0
    assert shown[-1] == len(steps) - 1
    assert len(shown) <= max(most, 1)
    assert (np.diff(shown) > 0).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_search_figure_has_a_row_an_image(tmp_path, channels):
    rng = np.random.default_rng(0)
    trace, queries = rng.uniform(-1, 1, (4, 3, channels, 16, 16)), rng.uniform(-1, 1, (3, channels, 16, 16))
    search_figure(trace, queries, [0, 1, 10, 100], rng.random((4, 3)), tmp_path / "three.png")
    search_figure(trace[:, :1], queries[:1], [0, 1, 10, 100], rng.random((4, 1)), tmp_path / "one.png")
    search_figure(trace[:1], queries, [0], rng.random((1, 3)), tmp_path / "start.png")
    three, one = pixels_of(tmp_path / "three.png"), pixels_of(tmp_path / "one.png")
    assert three.shape[1] == one.shape[1]
    assert three.shape[0] - one.shape[0] == pytest.approx(2 * 0.9 * 200, abs=2)
    with pytest.raises(DataError, match="do not belong together"):
        search_figure(trace, queries[:2], [0, 1, 10, 100], rng.random((4, 3)), tmp_path / "x.png")


@QUICK
@given(st.lists(st.integers(0, 4), min_size=1, max_size=80), st.integers(1, 60))
def test_sample_is_fair_to_small_groups(member, most):
    member = np.unique(member, return_inverse=True)[1]
    chosen = sample(member, most)
    assert len(chosen) == min(most, len(member))
    assert (np.diff(chosen) > 0).all()
    assert (chosen == sample(member, most)).all()
    kept, sizes = np.bincount(member[chosen], minlength=member.max() + 1), np.bincount(member)
    short = kept < sizes
    assert not short.any() or kept[short].max() - kept[short].min() <= 1
    assert not short.any() or kept.max() <= kept[short].min() + 1


def test_pca_map_against_the_singular_values():
    values = np.random.default_rng(0).normal(size=(40, 6)) * [9, 4, 1, 1, 1, 1]
    points, (first, second) = embed(values, "pca")
    left, singular, _ = np.linalg.svd(values - values.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(np.abs(points), np.abs(left[:, :2] * singular[:2]), atol=1e-8)
    shares = singular**2 / (singular**2).sum()
    assert f"({shares[0]:.0%} of variance)" in first
    assert f"({shares[1]:.0%} of variance)" in second


@pytest.mark.parametrize("shape", [(3, 1), (5, 200), (12, 4)])
@pytest.mark.parametrize("how", ["pca", "tsne"])
def test_feature_figure_of_odd_shapes(tmp_path, shape, how):
    rng = np.random.default_rng(0)
    groups = (["_normal $x", "图"] * shape[0])[: shape[0]]
    feature_figure(rng.normal(size=shape), groups, tmp_path / "f.png", how)
    assert pixels_of(tmp_path / "f.png").min() < 100


def test_feature_figure_of_equal_features_many_groups_and_none(tmp_path):
    feature_figure(np.ones((4, 3)), ["a", "a", "b", "b"], tmp_path / "flat.png", "tsne")
    feature_figure(np.eye(20), [f"group {i}" for i in range(20)], tmp_path / "many.png")
    for features, groups in ((np.ones((2, 2)), ["a", "b"]), (np.full((3, 2), np.nan), ["a"] * 3), (np.eye(3), ["a"])):
        with pytest.raises(DataError, match="at least 3"):
            feature_figure(features, groups, tmp_path / "x.png")


@pytest.mark.parametrize("channels", [1, 3])
def test_grid_places_every_image(tmp_path, channels):
    levels = np.linspace(-1, 1, 7)
    images = np.broadcast_to(levels[:, None, None, None], (7, channels, 8, 8))
    save_grid(images, tmp_path / "g.png")  # 7 images: 3 columns
    with Image.open(tmp_path / "g.png") as picture:
        pixels = np.asarray(picture)
    assert pixels.shape == ((28, 28) if channels == 1 else (28, 28, 3))
    for index, level in enumerate(levels):
        top, left = index // 3 * 10, index % 3 * 10
        assert np.abs(pixels[top : top + 8, left : left + 8] - (level + 1) * 127.5).max() <= 0.5
    assert (pixels[8:10] == 255).all()
    assert (pixels[20:, 10:] == 255).all()


def test_grid_survives_what_is_not_a_number_and_refuses_what_is_no_image():
    grid = image_grid(np.array([np.nan, np.inf, -np.inf, 5.0]).reshape(4, 1, 1, 1))
    assert grid[::3, ::3].tolist() == [[0, 255], [0, 255]]
    for shape in ((0, 1, 4, 4), (2, 2, 4, 4), (4, 4)):
        with pytest.raises(DataError, match="expected"):
            image_grid(np.zeros(shape))
