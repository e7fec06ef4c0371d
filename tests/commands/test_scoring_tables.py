"""What `anotwin score` takes from a table of scores without holding it: against the whole table, sorted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from anotwin.commands.scoring import LISTED, summarise
from anotwin.errors import DataError
from anotwin.records import Finding
from anotwin.report.table import ScoresWriter, extremes, first_of_each


def _table(folder: Path, scores: Sequence[float], threshold: float | None = None) -> Path:
    with ScoresWriter(folder / "scores.csv", "key") as writer:
        for number, score in enumerate(scores):
            failed = math.isnan(score)
            anomalous = None if threshold is None or failed else bool(score > threshold)
            error = f"{number}: broken" if failed else ""
            writer.write([Finding(f"{number:03d}.png", score=score, anomalous=anomalous, error=error)])
        return writer.finish()


@pytest.fixture
def scores() -> list[float]:
    drawn = np.random.default_rng(0).normal(size=60)
    drawn[[4, 9, 33]] = np.nan
    drawn[[7, 8]] = drawn[2]  # equal scores: by name
    return [float(value) for value in drawn]


def _ordered(scores: Sequence[float]) -> list[str]:
    good = [number for number, score in enumerate(scores) if not math.isnan(score)]
    return [f"{number:03d}.png" for number in sorted(good, key=lambda number: (-scores[number], number))]


@pytest.mark.parametrize("count", [1, 2, 7, 8, 56, 57, 58, 100])
def test_extremes_are_both_ends_of_the_sorted_table(tmp_path: Path, scores: list[float], count: int) -> None:
    found = [row["image"] for row in extremes(_table(tmp_path, scores), count)]
    ordered = _ordered(scores)
    high, low = count - count // 2, count // 2
    assert found == (ordered if count >= len(ordered) else ordered[:high] + ordered[len(ordered) - low :])


def test_the_summary_counts_everything_and_names_the_worst(tmp_path: Path, scores: list[float]) -> None:
    summary = summarise(_table(tmp_path, scores, threshold=0.5), calibrated=True)
    assert (summary.images, summary.failed) == (60, 3)
    assert summary.flagged == sum(score > 0.5 for score in scores)
    assert [row["image"] for row in summary.worst] == _ordered(scores)[:LISTED]


def test_failures_come_last_in_the_summary(tmp_path: Path) -> None:
    summary = summarise(_table(tmp_path, [math.nan, 1.0, 2.0]), calibrated=False)
    assert [row["image"] for row in summary.worst] == ["002.png", "001.png", "000.png"]


def test_nothing_scored_is_an_error_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none of 2 images could be scored.*broken"):
        summarise(_table(tmp_path, [math.nan, math.nan]), calibrated=False)


def test_the_first_of_each_verdict(tmp_path: Path, scores: list[float]) -> None:
    rows = first_of_each(_table(tmp_path, scores, threshold=0.5), most=5)
    high = [f"{number:03d}.png" for number, score in enumerate(scores) if score > 0.5][:5]
    low = [f"{number:03d}.png" for number, score in enumerate(scores) if score <= 0.5][:5]
    assert [row["image"] for row in rows] == high + low
    assert [row["anomalous"] for row in rows] == [True] * 5 + [False] * 5
