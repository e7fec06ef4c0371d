"""The benchmarks: goals, intervals, summaries and planted defects by hand, and a smoke run of every script."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.metrics import average_precision_score, roc_auc_score

from anotwin import DataError, SettingsError
from anotwin.detector import Detector
from anotwin.methods.registry import create
from anotwin.records import ImageSpec
from anotwin.seeding import fingerprint
from anotwin.settings import Settings
from benchmarks.anogan_mnist import __main__ as anogan_mnist
from benchmarks.common.images import bundled, draw
from benchmarks.common.rows import Cell, Report, Row, over_seeds
from benchmarks.stabilisers import __main__ as stabilisers

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
KEYS = ["benchmark", "case", "method", "metric", "value", "low", "high", "unit", "goal"]


def rows_in(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(path.read_text())
    assert all(list(row) == KEYS for row in rows)
    assert all(row["value"] is not None and np.isfinite(row["value"]) for row in rows)
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows if row["low"] is not None)
    return rows


# -- by hand ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "low", "high", "goal", "expected"),
    [
        (0.985, None, None, ">= 0.985", True),
        (0.9849, 0.97, 0.99, ">= 0.985", False),
        (0.025, None, None, "<= 0.025", True),
        (0.0251, None, None, "<= 0.025", False),
        (0.02, 0.01, 0.03, "0.01 in interval", True),
        (0.02, 0.011, 0.03, "0.01 in interval", False),
        (0.01, None, None, "0.01 in interval", False),
        (float("nan"), None, None, ">= 0", False),
        (0.5, 0.4, 0.6, None, None),
    ],
)
def test_goals(value: float, low: float, high: float, goal: str, expected: bool) -> None:
    assert Row("b", "c", "m", "x", value, low, high, "", goal).reached() is expected


def test_a_goal_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(ValueError, match=r"> 0\.9"):
        Row("b", "c", "m", "x", 1.0, goal="> 0.9").reached()


def test_metrics_are_those_of_scikit_learn_with_intervals() -> None:
    rng = np.random.default_rng(0)
    abnormal = rng.random(200) < 0.6
    scores = rng.normal(size=200) + abnormal
    cell = Cell("b", "c", "m")
    area, precision = cell.auroc("auroc", abnormal, scores), cell.average_precision(abnormal, scores)
    assert area.value == pytest.approx(roc_auc_score(abnormal, scores))
    assert precision.value == pytest.approx(average_precision_score(abnormal, scores))
    assert area.low < area.value < area.high
    assert precision.low < precision.value < precision.high


def test_the_interval_of_a_mean_is_about_two_standard_errors_wide_each_way() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, size=2000)
    row = Cell("b", "c", "m").mean("x", values)
    error = values.std() / np.sqrt(len(values))
    assert row.value == pytest.approx(values.mean())
    assert (row.low, row.high) == pytest.approx((row.value - 1.96 * error, row.value + 1.96 * error), abs=0.3 * error)


def test_no_alarm_at_all_still_has_an_interval() -> None:
    row = Cell("b", "c", "m").share("false_alarm_rate", np.zeros(100, bool), "0.01 in interval")
    assert (row.value, row.low) == (0.0, 0.0)
    assert row.high == pytest.approx(1 - 0.025 ** (1 / 100))  # closed form of Clopper and Pearson at 0 of n
    assert row.reached() is True


def test_summary_over_seeds() -> None:
    runs = [[Row("b", f"c, seed={s}", "m", "auroc", value, 0.1, 0.9, "u")] for s, value in enumerate((0.5, 0.9, 0.7))]
    summary = over_seeds(runs, "c")
    assert [row.case for row in summary] == [f"c, {name} of 3 seeds" for name in ("mean", "min", "max")]
    assert [row.value for row in summary] == pytest.approx([0.7, 0.5, 0.9])
    assert all((row.low, row.high, row.unit) == (None, None, "u") for row in summary)


def test_a_report_is_on_disk_after_every_addition(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(tmp_path / "new" / "rows.json")
    for count, value in enumerate((0.99, 0.9), start=1):
        report.add([Row("b", "c", "m", "auroc", value, goal=">= 0.985")])
        assert len(json.loads(report.path.read_text())) == count
    report.add([Row("b", "c", "m", "undefined", float("nan"))])
    assert json.loads(report.path.read_text())[-1]["value"] is None
    report.close()
    out = capsys.readouterr().out
    assert "goals: 1 of 2 reached" in out
    assert "missed: c, m, auroc 0.9, goal >= 0.985" in out


def test_training_and_test_digits_share_no_image() -> None:
    images = bundled()
    training, test = images.training("3"), images.test("3")
    assert {item.label for item in training.items} == {"3"}
    assert {item.label for item in test.items} == {str(digit) for digit in range(10)}
    assert len(training.items) + len(test.items) == len(load_digits().images)
    contents = [{fingerprint(source.read(i)) for i in range(len(source.items))} for source in (training, test)]
    assert not contents[0] & contents[1]
    with pytest.raises(DataError, match="no such digit"):
        images.training("x")


def test_drawing_is_repeatable_and_refuses_a_draw_without_both_kinds() -> None:
    source = bundled().test("0")
    assert draw(source, None) == list(range(len(source.items)))
    drawn = draw(source, 100)
    assert drawn == draw(source, 100) == sorted(set(drawn))
    assert set(drawn) < set(draw(source, 200))
    for limit in (-1, 0, 1):
        with pytest.raises(SettingsError, match=f"--limit {limit}:"):
            draw(source, limit)


def test_pasted_patches_come_from_another_image_and_stay_a_square() -> None:
    paste = stabilisers.paste_patches
    levels = np.arange(10, 90, 10, dtype=np.uint8)
    images = np.repeat(levels, 28 * 28).reshape(8, 28, 28)
    pasted = paste(images)
    for number, (before, after) in enumerate(zip(images, pasted, strict=True)):
        changed = before != after
        rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
        side = len(rows)
        assert 7 <= side <= 9
        assert side == len(columns)
        assert changed.sum() == side**2
        assert after[changed].max() == after[changed].min() != levels[number]
        assert after[changed][0] in levels
    np.testing.assert_array_equal(paste(images), pasted)
    assert (paste(images, seed=1) != pasted).any()
    with pytest.raises(DataError, match="at least 2"):
        paste(images[:1])


@pytest.mark.parametrize("script", [anogan_mnist, stabilisers])
def test_the_papers_protocol_does_not_follow_the_defaults_of_train(script: Any) -> None:
    """docs/results.md was measured with it."""
    settings = script.settings_of(script.parser().parse_args([]))
    paper = Settings().with_overrides(["search.preset=paper"])
    assert settings.search == paper.search
    assert (settings.search.optimizer, settings.search.steps, settings.search.learning_rate) == ("adam", 500, 0.01)
    assert (settings.training.steps, settings.training.precision) == (4000, "32-true")
    assert script.METHOD == "anogan"


def test_a_model_trained_otherwise_is_refused() -> None:
    refuse = anogan_mnist.refuse_other
    kept = Settings()
    refuse(Path("m"), kept, kept.with_overrides(["search.steps=1", "data.workers=2"]))
    with pytest.raises(SettingsError, match=rf"trained with training\.steps={kept.training.steps}, asked for 10"):
        refuse(Path("m"), kept, kept.with_overrides(["training.steps=10"]))


def test_without_mnist_it_says_in_a_line_how_to_get_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANOTWIN_DATA", raising=False)
    assert anogan_mnist.main([]) == 0
    out = capsys.readouterr().out
    assert out.startswith("MNIST not found: put train-images-idx3-ubyte.gz")
    assert out.count("\n") == 1
    assert anogan_mnist.main(["--data", "nowhere"]) == 2
    assert capsys.readouterr().err.startswith("error: --data nowhere: no train-images-idx3-ubyte")


def test_ci_runs_every_benchmark() -> None:
    makefile = (BENCHMARKS.parent / "Makefile").read_text(encoding="utf-8")
    called = re.findall(r"python benchmarks/(\w+) --quick", makefile)
    assert sorted(called) == sorted(path.parent.name for path in BENCHMARKS.glob("*/__main__.py"))


# -- whole scripts ---------------------------------------------------------------------------------------------------


def test_anogan_quick_and_its_model_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    short = ["--quick", "--device", "cpu", "--limit", "60", "--set", "training.steps=5", "--set", "search.steps=3"]
    keep = [*short, "--model", str(tmp_path / "model")]
    assert anogan_mnist.main([*keep, "--json", str(tmp_path / "first.json")]) == 0
    assert "machine   " in capsys.readouterr().out
    first = rows_in(tmp_path / "first.json")
    names = ["auroc", "average_precision", "detection_rate", "false_alarm_rate", "mean_residual_normal"]
    names += ["mean_residual_abnormal", *(f"mean_residual_{digit}" for digit in range(1, 10))]
    names += ["auroc_R", "auroc_D", "auroc_P_D", "seconds_per_image", "training_seconds"]
    assert [row["metric"] for row in first] == names
    assert all(row["goal"] is None for row in first)  # the goals are MNIST's

    assert json.loads((tmp_path / "model" / "bundle.json").read_text())["method"] == "anogan"

    monkeypatch.setattr(Detector, "train", None)  # a second training would fail
    assert anogan_mnist.main([*keep, "--json", str(tmp_path / "again.json")]) == 0
    again = {row["metric"]: row["value"] for row in rows_in(tmp_path / "again.json")}
    timeless = [row for row in first if row["metric"] != "seconds_per_image"]
    assert {row["metric"]: row["value"] for row in timeless}.items() <= again.items()
    assert anogan_mnist.main([*keep, "--seed", "1"]) == 2
    assert "trained with training.seed=0, asked for 1" in capsys.readouterr().err
    other = tmp_path / "other"
    Detector(create("acae", ImageSpec(1, 16), Settings().with_overrides(["networks.base_channels=4"]))).save(other)
    assert anogan_mnist.main([*short, "--model", str(other)]) == 2
    assert "holds a model of acae, not anogan" in capsys.readouterr().err


def test_stabilisers_quick(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    few = ["--variants", "bn", "spectral", "--search-rates", "0.01", "0.1", "--widths", "4"]
    assert stabilisers.main(["--quick", *few, "--json", str(path)]) == 0
    rows = rows_in(path)
    residual = {row["method"]: row["value"] for row in rows if row["metric"] == "heldout_residual"}
    assert list(residual) == ["bn, search rate 0.01", "bn, search rate 0.1", "spectral"]
    assert residual["bn, search rate 0.1"] < residual["bn, search rate 0.01"]  # 20 steps: the longer ones come further
    metrics = {row["metric"] for row in rows}
    assert {"loss_d", "loss_g", "diversity", "coverage", "search_loss", "auroc_blob", "auroc_patch"} <= metrics


def test_search_rates_need_the_default_variant(capsys: pytest.CaptureFixture[str]) -> None:
    assert stabilisers.main(["--quick", "--variants", "spectral", "--search-rates", "0.1"]) == 2
    assert "add it to --variants" in capsys.readouterr().err
