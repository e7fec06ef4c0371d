"""Intervals where images come in groups: a naive cluster bootstrap, simulated coverage, and units by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from anotwin.calibrate.decision import calibrate
from anotwin.domains.protocol import Unit
from anotwin.evaluate.metrics import (
    auroc,
    average_precision,
    detection_rate,
    f1_at,
    group_bootstrap,
    group_proportion_interval,
    proportion_interval,
)
from anotwin.evaluate.run import evaluate_findings
from anotwin.evaluate.units import unit_numbers
from anotwin.records import Finding, ImageItem, UnitScores


def clusters(count: int, size: int, icc: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores and groups: of each group all images are normal, all abnormal, or both kinds are there."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(count), size)
    labels = np.where(groups % 3 == 2, np.arange(count * size) % 2, groups % 3) > 0
    noise = math.sqrt(icc) * rng.normal(size=count)[groups] + math.sqrt(1 - icc) * rng.normal(size=count * size)
    return labels, np.round(noise + labels, 1), groups


@pytest.mark.parametrize("metric", [auroc, average_precision, f1_at, detection_rate])
def test_groups_are_resampled_as_a_naive_bootstrap_does(metric: Callable[[object, object], float]) -> None:
    labels, scores, groups = clusters(12, 5, 0.8, seed=1)
    values = scores > 0.5 if metric in (f1_at, detection_rate) else scores
    strata = [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]]
    streams = [np.random.default_rng([3, 2, kind]) for kind in (1, 2, 3)]
    drawn = [rng.integers(4, size=(200, 4)) for rng in streams]
    estimates = []
    for draw in range(200):
        chosen = [own[place] for own, places in zip(strata, drawn, strict=True) for place in places[draw]]
        pick = np.concatenate([np.flatnonzero(groups == group) for group in chosen])
        estimates.append(metric(labels[pick], values[pick]))
    found = group_bootstrap(metric, labels, values, [f"patient {group}" for group in groups], draws=200, seed=3)
    assert found == pytest.approx(tuple(np.quantile(estimates, [0.025, 0.975])), abs=1e-12)


def findings(labels: np.ndarray, scores: np.ndarray, groups: list[str | None], threshold: float) -> list[Finding]:
    return [
        Finding(f"{k}.png", None, not label, score, anomalous=bool(score > threshold), mean_residual=0.1, group=group)
        for k, (label, score, group) in enumerate(zip(labels, scores.tolist(), groups, strict=True))
    ]


def test_intervals_of_groups_are_wider_and_said_and_single_images_keep_theirs() -> None:
    labels, scores, numbers = clusters(30, 8, 0.9, seed=2)
    rows = findings(labels, scores, [f"part {k}" for k in numbers], 0.8)
    by_group = evaluate_findings(rows, draws=300).as_dict()
    alone = [replace(row, group=f"own {k}") if k % 2 else replace(row, group=None) for k, row in enumerate(rows)]
    by_image = evaluate_findings(alone, draws=300).as_dict()
    nothing = evaluate_findings([replace(row, group=None) for row in rows], draws=300).as_dict()
    assert by_image == nothing
    assert (by_group["intervals_by"], by_group["n_groups"]) == ("group", 30)
    assert (by_image["intervals_by"], by_image["n_groups"]) == ("image", 240)
    for name in ("auroc", "average_precision", "f1", "detection_rate", "false_alarm_rate"):
        low, high = by_group[f"{name}_low"], by_group[f"{name}_high"]
        assert by_group[name] == by_image[name]
        assert low <= by_group[name] <= high
        assert high - low > 1.5 * (by_image[f"{name}_high"] - by_image[f"{name}_low"])


@pytest.mark.parametrize(
    ("count", "size", "icc"), [(10, 5, 1.0), (20, 25, 0.8), (40, 5, 0.5), (30, 1, 0.0), (15, 9, 0.0)]
)
def test_intervals_of_rates_cover(count: int, size: int, icc: float) -> None:
    rng, covered, draws = np.random.default_rng([count, size]), 0, 300
    for _ in range(draws):
        noise = math.sqrt(icc) * rng.normal(size=(count, 1)) + math.sqrt(1 - icc) * rng.normal(size=(count, size))
        low, high = group_proportion_interval((noise > 1.2816).ravel(), np.repeat(range(count), size).tolist())
        covered += low <= 0.1 <= high
    assert covered >= draws * 0.95 - 3 * math.sqrt(0.05 * 0.95 * draws)


def test_intervals_of_rates_at_the_ends() -> None:
    flags = np.arange(40) % 7 == 0
    assert group_proportion_interval(flags, range(40)) == proportion_interval(int(flags.sum()), 40)
    pairs = np.repeat(range(20), 2).tolist()
    assert group_proportion_interval([False] * 40, pairs) == pytest.approx(proportion_interval(0, 20))
    assert group_proportion_interval([True] * 40, pairs) == pytest.approx(proportion_interval(20, 20))
    whole = np.repeat(np.arange(20) < 4, 2)  # groups that are flagged as one: as 20 images, or fewer
    low, high = group_proportion_interval(whole, pairs)
    assert low < proportion_interval(4, 20)[0] < 0.2 < proportion_interval(4, 20)[1] < high
    assert all(map(math.isnan, group_proportion_interval([], [])))
    low, high = group_proportion_interval([True, False, False], ["one"] * 3)  # a single group tells nothing of others
    assert low < 0.02
    assert high > 0.98


def items(*rows: tuple[bool | None, str]) -> list[ImageItem]:
    return [ImageItem(f"{k}.png", normal=normal, group=group) for k, (normal, group) in enumerate(rows)]


def test_units_by_hand() -> None:
    named = items((True, "a"), (True, "a"), (False, "b"), (False, "b"), (True, "c"), (False, "c"), (True, "d"))
    scores = dict(enumerate([1.0, 8.6, 2.0, 9.0, 1.0, 9.0, math.nan]))
    units = [Unit("a", (0, 1), 8.6), Unit("b", (2, 3), 9.0), Unit("c", (4, 5), 9.0), Unit("d", (6,), math.nan)]
    held = [0, 1, 2, 3, 4, 5, 6, 7, 8]
    doubled = [k for k in held for _ in "ab"]
    known = calibrate(
        doubled, doubled, doubled, 0.5, 0.2, doubled, [UnitScores("group", tuple(map(float, held)), tuple(held))]
    )
    found = unit_numbers({"group": units}, named, scores, known)
    assert found["group"] == {
        "n_normal": 1,
        "n_abnormal": 1,
        "n_mixed": 1,
        "auroc": 1.0,
        "detection_rate": 1.0,
        "detection_rate_low": pytest.approx(0.025),
        "detection_rate_high": 1.0,
        "false_alarm_rate": 1.0,
        "false_alarm_rate_low": pytest.approx(0.025),
        "false_alarm_rate_high": 1.0,
    }
    undecided = unit_numbers({"group": units}, named, scores, None)["group"]
    assert (undecided["auroc"], undecided["detection_rate"], undecided["false_alarm_rate_low"]) == (1.0, None, None)
    assert unit_numbers({"group": [Unit("a", (0,), 1.0)]}, named, scores, known) == {}  # says nothing new
