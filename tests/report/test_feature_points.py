"""The points of the map of features: the first of each group by index, in whatever order they come, few at a time."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anotwin.errors import SettingsError
from anotwin.report import feature_points
from anotwin.report.feature_points import AT_ONCE, MAPPED, FeaturePoints

NORMAL, ABNORMAL = "query: normal", "query: abnormal"


class Features:
    """Pixels as features: which squares came, and how many at a time."""

    def __init__(self):
        self.batches = []

    def __call__(self, squares):
        self.batches.append(len(squares))
        return squares.flatten(1)


def square(value):
    return torch.full((1, 2, 2), float(value))


def no_samples(_count):
    raise SettingsError("an autoencoder draws no samples")


@pytest.fixture
def drawn(monkeypatch):
    """What would be drawn, in place of a picture."""
    calls = []
    monkeypatch.setattr(feature_points, "feature_figure", lambda *call: calls.append(call))
    return calls


def values_of(call):
    features, labels, *_ = call
    return [(label, float(point[0])) for label, point in zip(labels, features, strict=True)]


def held(points):
    return sum(len(group.points) + len(group.squares) for group in points._groups.values())


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.permutations(range(12)), st.integers(1, 5), st.integers(1, 4))
def test_the_first_of_each_group_by_index_in_any_order(order, most, at_once):
    calls, features = [], Features()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feature_points, "MAPPED", most)
        patch.setattr(feature_points, "AT_ONCE", at_once)
        patch.setattr(feature_points, "feature_figure", lambda *call: calls.append(call))
        points = FeaturePoints(features)
        for index in order:
            points.add(index, ABNORMAL if index % 3 == 0 else NORMAL, square(index))
            assert held(points) <= 2 * most
        first = {NORMAL: [i for i in range(12) if i % 3][:most], ABNORMAL: list(range(0, 12, 3))[:most]}
        assert [index for index in range(12) if index in points] == sorted(first[NORMAL] + first[ABNORMAL])
        points.draw({"pca": "pca.png"}, no_samples)
    assert max(features.batches) <= at_once
    expected = [(name, float(index)) for name in (NORMAL, ABNORMAL) for index in first[name]]
    assert [values_of(call) for call in calls] == ([expected] if len(expected) >= 3 else [])


def test_a_long_stream_is_computed_in_batches_and_its_rest_is_not(drawn):
    features = Features()
    points = FeaturePoints(features)
    for index in range(MAPPED + 500):
        points.add(index, NORMAL, square(index))
        assert held(points) <= MAPPED
        assert len(points._groups[NORMAL].squares) < AT_ONCE
    assert features.batches == [AT_ONCE] * (MAPPED // AT_ONCE)
    points.draw({"pca": "a.png"}, no_samples)
    assert sum(features.batches) == MAPPED
    assert max(features.batches) <= AT_ONCE
    ((features_drawn, labels, path, how),) = drawn
    assert (path, how, labels) == ("a.png", "pca", [NORMAL] * MAPPED)
    np.testing.assert_array_equal(features_drawn[:, 0], np.arange(MAPPED))


def test_generated_images_stand_before_the_queries_on_every_map(drawn):
    asked = []

    def sample(count):
        asked.append(count)
        return torch.stack([square(-1)] * count)

    points = FeaturePoints(Features())
    for index in (5, 3):
        points.add(index, NORMAL, square(index))
    assert points.draw({"pca": "a.png", "tsne": "b.png"}, sample) == ["a.png", "b.png"]
    assert asked == [32]
    assert [call[2:] for call in drawn] == [("a.png", "pca"), ("b.png", "tsne")]
    for call in drawn:
        assert values_of(call) == [("generated normal", -1.0)] * 32 + [(NORMAL, 3.0), (NORMAL, 5.0)]


def test_fewer_than_three_points_are_no_map(drawn):
    points = FeaturePoints(Features())
    assert points.draw({"pca": "a.png"}, no_samples) == []
    for index in range(2):
        points.add(index, NORMAL, square(index))
    assert points.draw({"pca": "a.png"}, no_samples) == []
    assert drawn == []
