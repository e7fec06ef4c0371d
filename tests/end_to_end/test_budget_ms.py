"""--budget-ms: steps measured once, named in a note, stored by calibrate, never used with the threshold of others."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from anotwin import Detector, SettingsError
from anotwin.commands.budget import within_budget
from anotwin.methods.registry import create
from anotwin.records import ImageSpec
from anotwin.updates import silent
from quick import good, run, settings


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "scores.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def allows(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Tell the measurement what to find: tests have no clock."""

    def say(steps: int) -> None:
        monkeypatch.setattr("anotwin.commands.budget.steps_within", lambda *_: (steps, 1.5))

    return say


def test_score_within_a_budget_is_score_with_these_steps(
    tmp_path: Path, searching_model: Path, query_folder: Path, allows: Callable[[int], None]
) -> None:
    allows(2)
    outcome = good("score", searching_model, query_folder, "--out", tmp_path / "budget", "--budget-ms", 3)
    assert "2 steps of search for every image of this run (1.5 ms per image and step, 64 images at once)" in outcome.err
    assert "calibrate with the same --budget-ms" in outcome.err
    other = shutil.copytree(searching_model, tmp_path / "m")
    detector = Detector.load(other)
    detector.with_settings(detector.method.settings.with_overrides(["search.steps=2"])).save(other)
    good("score", other, query_folder, "--out", tmp_path / "steps")
    assert (tmp_path / "budget" / "scores.csv").read_bytes() == (tmp_path / "steps" / "scores.csv").read_bytes()
    assert {(row["p_value"], row["anomalous"]) for row in rows(tmp_path / "budget")} == {("", "")}


def test_calibrate_stores_the_steps_with_their_threshold(
    tmp_path: Path, searching_model: Path, normal_folder: Path, query_folder: Path, allows: Callable[[int], None]
) -> None:
    allows(3)
    copy = shutil.copytree(searching_model, tmp_path / "m")
    good("calibrate", copy, normal_folder, "--budget-ms", 5, "--false-alarm-rate", 0.2)
    assert Detector.load(copy).method.settings.search.steps == 3
    outcome = good("score", copy, query_folder, "--out", tmp_path / "same", "--budget-ms", 5)
    assert "is not used" not in outcome.err
    assert {row["anomalous"] for row in rows(tmp_path / "same")} <= {"true", "false"}
    good("score", copy, query_folder, "--out", tmp_path / "plain")
    assert (tmp_path / "same" / "scores.csv").read_bytes() == (tmp_path / "plain" / "scores.csv").read_bytes()


def test_evaluate_takes_a_budget_too(tmp_path: Path, searching_model: Path, query_folder: Path) -> None:
    """For once with the real clock: any machine makes a step in a minute."""
    numbers = tmp_path / "numbers.json"
    outcome = good("evaluate", searching_model, query_folder, "--json", numbers, "--budget-ms", 4)
    assert re.search(r"--budget-ms 4: \d+ steps of search", outcome.err)
    assert json.loads(numbers.read_text())["n_normal"] > 0


def test_a_budget_for_nothing_is_refused(tmp_path: Path, searching_model: Path, query_folder: Path) -> None:
    words = "score", searching_model, query_folder, "--out", tmp_path / "o", "--budget-ms"
    outcome = run(*words, "1e-6")
    assert outcome.code == 2
    assert "one step of the search takes" in outcome.error
    assert "must be above 0" in run(*words, 0).error


@pytest.mark.parametrize("name", ["acae", "fanogan", "twin"])
def test_a_method_that_does_not_search_has_no_budget(name: str) -> None:
    detector = Detector(create(name, ImageSpec(1, 16), settings()))
    assert within_budget(detector, None, silent) is detector
    with pytest.raises(SettingsError, match=f"method {name} does not search"):
        within_budget(detector, 10.0, silent)
