"""Frames: scikit-learn, a root of the ROC and a normal distribution as oracles; pixel level by a sweep."""

from __future__ import annotations

import json
import math
import weakref
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats
from sklearn.metrics import roc_auc_score, roc_curve

from anotwin.errors import DataError, SettingsError
from anotwin.evaluate import metrics
from anotwin.evaluate.frames import (
    PixelLevel,
    clip_aurocs,
    equal_error_rate,
    evaluate_frames,
    highest_covering,
    pixel_level_score,
)

quick = settings(derandomize=True, deadline=None, max_examples=40)


def footage(seed: int, levels: int, clips: int = 6) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Labels, scores and clips of some frames; a clip may have one class only."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, 20, clips)
    shares = rng.choice([0.0, 0.3, 0.5, 1.0], clips)
    shares[0] = 0.5
    labels = np.concatenate([rng.random(n) < share for n, share in zip(lengths, shares, strict=True)])
    labels[:2] = [False, True]
    scores = rng.integers(levels, size=labels.size) / levels + 0.3 * labels
    return labels, scores, [f"clip {clip}" for clip, n in enumerate(lengths) for _ in range(n)]


def crossing(rates: np.ndarray, found: np.ndarray) -> float:
    """Where a polyline from (0, 0) to (1, 1) meets the line from (0, 1) to (1, 0)."""
    places = np.arange(len(rates))
    root = optimize.brentq(lambda t: np.interp(t, places, rates) + np.interp(t, places, found) - 1, 0, places[-1])
    return float(np.interp(root, places, rates))


@quick
@given(seed=st.integers(0, 10**6), levels=st.sampled_from([2, 5, 1000]))
def test_frame_numbers_are_those_of_scikit_learn(seed: int, levels: int) -> None:
    labels, scores, clips = footage(seed, levels)
    found = evaluate_frames(labels, scores, clips, draws=5)
    names = np.array(clips)
    each = {
        clip: roc_auc_score(labels[names == clip], scores[names == clip])
        if 0 < labels[names == clip].mean() < 1
        else None
        for clip in dict.fromkeys(clips)
    }
    both = [value for value in each.values() if value is not None]
    assert found.auroc == pytest.approx(roc_auc_score(labels, scores))
    assert found.macro_auroc == pytest.approx(np.mean(both))
    assert (found.n_macro_clips, found.n_clips) == (len(both), len(each))
    assert found.as_dict()["by_clip"] == {clip: value and pytest.approx(value) for clip, value in each.items()}
    rates, hits, _ = roc_curve(labels, scores, drop_intermediate=False)
    assert found.equal_error_rate == pytest.approx(crossing(rates, hits), abs=1e-9)
    assert equal_error_rate(labels, scores) == pytest.approx(equal_error_rate(~labels, -scores))


def test_equal_error_rate_of_two_normal_distributions() -> None:
    places = (np.arange(4000) + 0.5) / 4000
    for apart in (0.0, 1.0, 2.5):
        scores = np.concatenate([stats.norm.ppf(places), stats.norm.ppf(places) + apart])
        assert equal_error_rate(np.repeat([0, 1], 4000), scores) == pytest.approx(stats.norm.cdf(-apart / 2), abs=1e-3)


def test_intervals_resample_clips_and_not_frames() -> None:
    labels, scores, clips = footage(4, 1000, clips=12)
    one = evaluate_frames(labels, scores, clips, draws=300)
    many = evaluate_frames(np.repeat(labels, 4), np.repeat(scores, 4), [c for c in clips for _ in range(4)], draws=300)
    for name in ("auroc", "auroc_low", "auroc_high", "macro_auroc", "macro_auroc_low", "macro_auroc_high"):
        assert getattr(many, name) == pytest.approx(getattr(one, name), abs=1e-12)
    assert one.auroc_low < one.auroc < one.auroc_high
    assert one.macro_auroc_low < one.macro_auroc < one.macro_auroc_high
    assert (one.auroc_low, one.auroc_high) == metrics.group_bootstrap(metrics.auroc, labels, scores, clips, draws=300)
    order = np.random.default_rng(0).permutation(labels.size)
    mixed = evaluate_frames(labels[order], scores[order], [clips[place] for place in order], draws=300)
    for name in ("auroc", "macro_auroc", "equal_error_rate", "n_clips"):
        assert getattr(mixed, name) == pytest.approx(getattr(one, name))


def test_the_macro_interval_is_that_of_a_mean() -> None:
    rng = np.random.default_rng(2)
    labels = np.tile(np.arange(40) % 2 == 1, 60)
    clips = np.repeat(np.arange(60), 40).tolist()
    scores = rng.normal(size=2400) + labels * np.repeat(rng.uniform(0, 2, 60), 40)
    found = evaluate_frames(labels, scores, clips, draws=4000)
    error = np.std(list(clip_aurocs(labels, scores, clips).values())) / math.sqrt(60)
    assert found.macro_auroc_high - found.macro_auroc == pytest.approx(1.96 * error, rel=0.1)
    assert found.macro_auroc - found.macro_auroc_low == pytest.approx(1.96 * error, rel=0.1)


def test_frames_without_a_score_and_classes_that_are_missing() -> None:
    labels, scores, clips = footage(7, 1000)
    lacking = np.concatenate([scores, [math.nan, math.nan]])
    found = evaluate_frames(
        np.concatenate([labels, [True, False]]), lacking, [*clips, "clip 0", "of no score"], draws=9
    )
    without = evaluate_frames(labels, scores, clips, draws=9).as_dict()
    assert found.as_dict() == without | {"n_failed": 2}
    normal = evaluate_frames([0, 0, 0], [1.0, 2.0, 3.0], "aab")
    nothing = evaluate_frames([], [], [])
    for each in (normal, nothing, PixelLevel().evaluate()):
        text = json.loads(json.dumps(each.as_dict(), allow_nan=False))
        assert (text["auroc"], text["auroc_low"], text["macro_auroc_high"], text["equal_error_rate"]) == (None,) * 4
        assert text["n_macro_clips"] == 0
    assert (normal.n_normal, normal.n_abnormal, normal.n_clips, nothing.n_clips) == (3, 0, 2, 0)


@quick
@given(
    values=st.lists(st.integers(0, 9), min_size=1, max_size=40),
    share=st.sampled_from([Fraction(1, 10), Fraction(2, 5), Fraction(1, 2), Fraction(1)]),
)
def test_highest_covering_by_trying_each_value(values: list[int], share: Fraction) -> None:
    tried = [v for v in values if Fraction(sum(other >= v for other in values), len(values)) >= share]
    assert highest_covering(np.array(values, float), float(share)) == max(tried)


def images(seed: int, levels: int) -> list[tuple[np.ndarray, np.ndarray | None]]:
    rng = np.random.default_rng(seed)
    frames: list[tuple[np.ndarray, np.ndarray | None]] = []
    for number in range(int(rng.integers(2, 12))):
        heat = (rng.integers(levels, size=(5, 6)) / levels).astype(np.float32)
        mask = rng.random((5, 6)) < rng.choice([0.1, 0.4])
        mask[2, 3] = True
        kind = number if number < 2 else int(rng.integers(3))
        frames.append((heat + 0.2 * mask, mask) if kind == 1 else (heat, None if kind else np.zeros((5, 6), bool)))
    return frames


@quick
@given(seed=st.integers(0, 10**6), levels=st.sampled_from([2, 6, 1000]))
def test_the_pixel_level_criterion_is_that_of_a_sweep_of_thresholds(seed: int, levels: int) -> None:
    frames = images(seed, levels)
    thresholds = np.unique(np.concatenate([heat.ravel() for heat, _ in frames]))[::-1]
    curve = []
    for threshold in [*thresholds, -1.0]:
        alarms, hits = [], []
        for heat, mask in frames:
            above = heat > threshold
            if mask is None or not mask.any():
                alarms.append(above.any())
            else:
                hits.append(5 * np.count_nonzero(above & mask) >= 2 * np.count_nonzero(mask))
        curve.append((np.mean(alarms), np.mean(hits)))
    area = sum((x1 - x0) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in pairwise(curve))
    criterion = PixelLevel()
    for number, (heat, mask) in enumerate(frames):
        criterion.add(f"clip {number % 3}", heat, mask)
    found = criterion.evaluate(draws=5)
    assert found.auroc == pytest.approx(area, abs=1e-9)
    assert found.equal_error_rate == pytest.approx(crossing(*np.array(curve).T), abs=1e-9)
    assert (curve[0], curve[-1]) == ((0, 0), (1, 1))
    assert found.n_normal + found.n_abnormal == len(frames)


def test_the_number_of_a_frame_is_where_it_stops_to_be_flagged() -> None:
    heat = np.arange(15, dtype=np.float32).reshape(3, 5)
    mask = heat >= 5  # ten pixels: the fourth highest is 11
    assert pixel_level_score(heat, mask) == 11
    assert pixel_level_score(heat, mask, covered=1.0) == 5
    assert pixel_level_score(heat, mask, covered=0.01) == 14
    assert pixel_level_score(heat, ~mask) == 3  # heat elsewhere does not count: two of five pixels
    assert pixel_level_score(heat, None) == pixel_level_score(heat, np.zeros((3, 5))) == 14
    assert pixel_level_score(heat, (mask * 255).astype(np.uint8)) == 11


def test_a_stream_keeps_no_heat_and_counts_what_failed() -> None:
    criterion = PixelLevel()
    heat = np.ones((4, 4))
    alive = weakref.ref(heat)
    criterion.add("a", heat, None)
    del heat
    assert alive() is None
    criterion.add("a", None, np.ones((4, 4)))
    criterion.add("b", np.full((4, 4), 2.0), np.ones((4, 4)))
    np.testing.assert_array_equal(criterion.numbers, [1, math.nan, 2])
    found = criterion.evaluate()
    assert (found.n_normal, found.n_abnormal, found.n_failed, found.n_clips, found.auroc) == (1, 1, 1, 2, 1)


def test_an_hour_of_footage_is_evaluated_at_once() -> None:
    rng = np.random.default_rng(0)
    labels, clips = rng.random(36_000) < 0.2, (np.arange(36_000) // 1_200).tolist()
    scores = rng.normal(size=36_000) + labels
    found = evaluate_frames(labels, scores, clips, draws=200)
    assert found.auroc == pytest.approx(stats.norm.cdf(1 / math.sqrt(2)), abs=0.01)
    assert (found.n_clips, found.n_macro_clips) == (30, 30)


def test_bad_input_is_named() -> None:
    with pytest.raises(SettingsError, match=r"labels \(2,\), scores \(3,\) and clips \(3,\)"):
        evaluate_frames([0, 1], [1.0, 2.0, 3.0], "abc")
    with pytest.raises(SettingsError, match="labels must be true or false"):
        evaluate_frames([0, 2], [1.0, 2.0], "ab")
    heat = np.ones((3, 4))
    with pytest.raises(SettingsError, match=r"x: heat \(3, 4\) and mask \(4, 3\)"):
        pixel_level_score(heat, np.ones((4, 3)), where="x")
    with pytest.raises(SettingsError, match="must be"):
        pixel_level_score(np.ones((0, 4)), None)
    with pytest.raises(SettingsError, match="share"):
        pixel_level_score(heat, None, covered=0.0)
    heat[1, 1] = math.nan
    with pytest.raises(DataError, match="x: 1 of 12 pixels"):
        pixel_level_score(heat, np.eye(3, 4), where="x")
