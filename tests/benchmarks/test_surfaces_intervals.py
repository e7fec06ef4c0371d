"""benchmarks/surfaces: intervals against evaluate/metrics.py and by drawing images again, one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from anotwin.evaluate.metrics import auroc, group_bootstrap
from anotwin.evaluate.pixels import aupro, pixel_auroc, pixel_heat
from benchmarks.surfaces.intervals import Resamples

GROUPS = [f"g{n // 3}" for n in range(60)]


@pytest.fixture
def labels() -> Any:
    """20 groups of three images; of some both kinds."""
    return np.arange(60) % 5 >= 3


def test_values_and_intervals_are_those_of_the_group_bootstrap(labels: Any) -> None:
    scores = np.random.default_rng(0).normal(size=60).round(1) + labels  # rounded: with ties
    found = Resamples.draw(labels, GROUPS).auroc(scores)
    assert found.value == pytest.approx(roc_auc_score(labels, scores))
    assert found.interval == pytest.approx(group_bootstrap(auroc, labels, scores, GROUPS))
    other = Resamples.draw(labels, GROUPS, draws=300, seed=5).auroc(scores)
    assert other.interval == pytest.approx(group_bootstrap(auroc, labels, scores, GROUPS, draws=300, seed=5))


def test_some_images_alone(labels: Any) -> None:
    scores = np.random.default_rng(0).normal(size=60) + labels
    some = ~labels | (np.arange(60) % 5 == 3)
    found = Resamples.draw(labels, GROUPS).auroc(scores, some)
    assert found.value == pytest.approx(roc_auc_score(labels[some], scores[some]))
    changed = np.where(some, scores, -9.0)  # what is left out has no say
    assert Resamples.draw(labels, GROUPS).auroc(changed, some).interval == found.interval
    one = ~labels | (np.arange(60) == 3)  # one abnormal image: some draws are without it
    low, high = Resamples.draw(labels, GROUPS).auroc(scores, one).interval
    assert 0 <= low <= high <= 1


def test_a_difference_on_the_same_draws_is_narrower_than_both(labels: Any) -> None:
    rng = np.random.default_rng(1)
    scores, resamples = rng.normal(size=60) + labels, Resamples.draw(labels, GROUPS)
    own = resamples.auroc(scores)
    assert (own - own).interval == (0, 0)
    near = resamples.auroc(scores + 0.1 * rng.normal(size=60))
    low, high = (own - near).interval
    assert high - low < 0.5 * (own.interval[1] - own.interval[0])
    assert (own - near).value == pytest.approx(own.value - near.value)


@pytest.mark.parametrize("levels", [3, None])
def test_pixels_of_a_resample_are_those_of_its_images(labels: Any, levels: int | None) -> None:
    """Each draw is made once more by repeating images; three levels of heat: ties everywhere."""
    rng = np.random.default_rng(2)
    masks, heats = [], []
    for bad in labels:
        mask = np.zeros((12, 14), bool)
        if bad:
            mask[2:5, 3:9] = mask[8:10, 10:12] = True
        heat = rng.normal(size=mask.shape) + 1.2 * mask
        masks.append(mask)
        heats.append((heat if levels is None else np.digitize(heat, [0, 1])).astype(np.float32))
    resamples = Resamples.draw(labels, GROUPS, draws=12)
    whole, regions = resamples.pixels(masks, heats)
    split = [pixel_heat(mask, heat) for mask, heat in zip(masks, heats, strict=True)]
    assert whole.value == pixel_auroc(split)
    assert regions.value == aupro(split)
    flat = [np.concatenate([each.ravel() for each in kind]) for kind in (masks, heats)]
    assert whole.value == pytest.approx(roc_auc_score(*flat))
    for draw, times in enumerate(resamples.times):
        drawn = [split[n] for n in range(60) for _ in range(int(times[resamples.of[n]]))]
        assert whole.drawn[draw] == pytest.approx(pixel_auroc(drawn), abs=1e-3)
        assert regions.drawn[draw] == pytest.approx(aupro(drawn), abs=2e-3)


def test_maps_without_a_defect_have_no_value() -> None:
    none = np.zeros(4, bool)
    heats = [np.ones((3, 3), np.float32)] * 4
    whole, regions = Resamples.draw(none, list("abcd"), draws=5).pixels([np.zeros((3, 3), bool)] * 4, heats)
    assert np.isnan([whole.value, regions.value, *whole.interval, *regions.interval]).all()
