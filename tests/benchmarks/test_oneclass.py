"""The one-class benchmark: classical methods and intervals by hand, kept scores, goals, and whole small runs."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from anotwin import DataError
from anotwin.detector import Detector
from anotwin.evaluate import metrics
from anotwin.settings import Settings
from anotwin.updates import Update, silent
from benchmarks.common import classical as shared
from benchmarks.common import kept
from benchmarks.common import script as common_script
from benchmarks.common.images import Images, bundled
from benchmarks.common.rows import Report, Row
from benchmarks.common.script import QUICK
from benchmarks.oneclass import __main__ as oneclass
from benchmarks.oneclass import cases, classical, means

SHORT = ["--quick", "--set", "training.steps=5", "--set", "search.steps=3", "--limit", "120"]
CLASSICAL = ["kNN", "PCA", "isolation forest", "edges"]
EVERYTHING = [*CLASSICAL, "twin", "fanogan", "anogan", "P_D", "GAN_R", "aCAE"]
TIMES = ("ms_per_image", "time_per_image", "training_seconds")


@pytest.fixture
def case() -> Any:
    """Threes of scikit-learn are normal."""
    quick = Settings().with_overrides(QUICK)
    return cases.open_case(bundled(), "3", 1, quick, 100, "cpu", 0.0)


def rows_in(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(path.read_text())
    assert all(row["value"] is not None and np.isfinite(row["value"]) for row in rows)
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows if row["low"] is not None)
    return rows


def timeless(path: Path) -> list[dict[str, Any]]:
    return [row for row in rows_in(path) if row["metric"] not in TIMES]


# -- classical methods -----------------------------------------------------------------------------------------------


def test_classical_methods_by_brute_force() -> None:
    rng = np.random.default_rng(0)
    training, queries = rng.random((40, 6)), rng.random((7, 6))
    distances = np.sort(np.linalg.norm(queries[:, None] - training[None], axis=2), axis=1)
    np.testing.assert_allclose(shared.nearest(training, 5)(queries), distances[:, :5].mean(axis=1))
    centred = training - training.mean(axis=0)
    basis = np.linalg.svd(centred)[2][:3]  # half of six components
    rest = (queries - training.mean(axis=0)) @ (np.eye(6) - basis.T @ basis)
    np.testing.assert_allclose(shared.reconstruction(training, 60)(queries), np.square(rest).sum(axis=1))
    far = classical.forest(training, seed=0)
    assert far(np.full((1, 6), 5.0))[0] > far(training).max()


@pytest.mark.parametrize(("ends", "expected"), [([0.4, 0.2, 0.3], 0.2), ([0.6], 0.6)])
def test_short_scoring_is_timed_three_times_and_the_least_counts(
    monkeypatch: pytest.MonkeyPatch, ends: list[float], expected: float
) -> None:
    clock = iter([time for end in ends for time in (0.0, end)])
    monkeypatch.setattr(common_script.time, "perf_counter", lambda: next(clock))
    value, seconds = classical.least_time(lambda: np.ones(2))
    assert (value.tolist(), seconds, list(clock)) == ([1.0, 1.0], expected, [])


# -- means over digits -----------------------------------------------------------------------------------------------


def scored(normal: str, labels: list[str], scores: Any, **changes: Any) -> Any:
    values = {
        "normal": normal,
        "seed": 0,
        "method": "twin",
        "fingerprints": np.arange(len(labels)) * 7 + 3,
        "labels": tuple(labels),
        "truth": np.array(labels) != normal,
        "scores": np.asarray(scores, dtype=np.float64),
    }
    return means.Scored(**values | changes)


def drawn(normal: str, seed: int, ties: bool = False) -> Any:
    """Images of three classes, and scores that are higher for abnormal ones."""
    labels = ["0", "1", "2"] * 60
    scores = np.random.default_rng(seed).normal(size=180) + (np.array(labels) != normal)
    return scored(normal, labels, np.round(scores) if ties else scores)


@pytest.mark.parametrize("ties", [False, True])
def test_a_weighted_auroc_is_that_of_scikit_learn(ties: bool) -> None:
    cell = drawn("0", seed=0, ties=ties)
    everyone = np.sort(np.concatenate([cell.fingerprints, [1, 5000]]))  # two images are not in this test
    ranked = means._Ranked.of(cell, everyone)
    weights = np.random.default_rng(1).integers(0, 4, len(everyone))
    own = weights[np.isin(everyone, cell.fingerprints)]
    assert ranked.auroc(weights) == pytest.approx(roc_auc_score(cell.truth, cell.scores, sample_weight=own))


def test_the_interval_of_one_digit_is_that_of_the_usual_bootstrap() -> None:
    cell = drawn("0", seed=0)
    low, high = means.mean_interval([cell])
    usual = metrics.bootstrap(metrics.auroc, cell.truth, cell.scores, seed=1)
    assert (low, high) == pytest.approx(usual, abs=0.1 * (usual[1] - usual[0]))


def test_digits_share_their_resamples() -> None:
    """Twice the same digit is no more certain than once; drawn apart it would seem so by a factor of 1.4."""
    cell = drawn("0", seed=0)
    assert means.mean_interval([cell, cell]) == pytest.approx(means.mean_interval([cell]))
    other = drawn("0", seed=1)  # other errors on the same images: these do average out
    widths = [np.ptp(means.mean_interval(cells)) for cells in ([cell], [other], [cell, other])]
    assert widths[2] < 0.85 * min(widths[:2])


def test_every_resample_has_normal_and_abnormal_images_of_every_digit() -> None:
    """One of 40 zeros is in both tests: drawn among all zeros it would be missing every third time."""
    labels = ["0"] * 40 + ["1"] * 2
    one = scored("1", labels, [1] * 40 + [0] * 2)
    few = scored("0", ["0", "1", "1"], [0, 1, 1], fingerprints=one.fingerprints[[0, 40, 41]])
    assert means.mean_interval([one, few]) == (1.0, 1.0)


def test_means_over_digits() -> None:
    labels = ["0", "0", "1", "1"]
    cells = [scored("0", labels, [0, 2, 1, 3]), scored("1", labels, [3, 2, 1, 0])]
    lonely = scored("0", labels, [0, 1, 2, 3], method="lacks a digit")
    rows = [Row("b", f"normal={i}, seed=0", "twin", "ms_per_image", value, unit="ms") for i, value in enumerate((1, 4))]
    found = means.summary("b", [*cells, lonely], rows, {"twin": ">= 0.9"})
    assert [(each.case, each.method, each.metric, each.value, each.unit, each.goal) for each in found] == [
        ("mean of 2 digits, seed=0", "twin", "auroc", 0.875, "", ">= 0.9"),  # 0.75 and 1
        ("mean of 2 digits, seed=0", "twin", "ms_per_image", 2.5, "ms", None),
    ]
    assert found[0].low <= 0.875 <= found[0].high
    assert found[0].reached() is False


# -- goals and options -----------------------------------------------------------------------------------------------


def test_the_goal_is_of_ten_digits_of_mnist_and_the_whole_test_set() -> None:
    mnist = Images("MNIST", Path("anywhere"))
    goals = oneclass.mean_goals(mnist, None)
    assert goals == {"twin": ">= 0.985"}
    assert oneclass.mean_goals(mnist, 5000) == oneclass.mean_goals(bundled(), None) == {}
    for count, expected in ((9, [None, None]), (10, [">= 0.985", None])):
        digits = [str(digit) for digit in range(count)]
        report = Report(None)
        cells = [scored(digit, digits, range(count), method=m) for m in ("twin", "kNN") for digit in digits]
        oneclass.together(cells, goals, report)
        assert [row.goal for row in report.rows if row.metric == "auroc"] == expected


def test_which_cases_and_methods() -> None:
    def chosen(*given: str) -> tuple[Any, Any]:
        arguments: argparse.Namespace = oneclass.parser().parse_args(given)
        return oneclass.cases_of(arguments), oneclass.methods_of(arguments)

    ten = [(str(digit), 0) for digit in range(10)]
    assert chosen() == (ten, [*CLASSICAL, "twin"])
    assert chosen("--quick") == ([("0", 0), ("8", 0)], EVERYTHING)
    assert chosen("--methods", "all") == (ten, EVERYTHING)
    assert chosen("--methods", "twin", "kNN")[1] == ["kNN", "twin"]  # kNN, the unit of time, before the others
    cases = chosen("--more-seeds", "1", "0")[0]
    assert cases == [*ten, ("2", 1), ("5", 1), ("8", 1)]  # each once
    assert chosen("--normal", "3", "--more-seeds", "4", "--more-normal", "3")[0] == [("3", 0), ("3", 4)]
    with pytest.raises(SystemExit):
        chosen("--methods", "twins")


# -- kept scores -----------------------------------------------------------------------------------------------------


def test_kept_scores_come_back_as_they_were(tmp_path: Path) -> None:
    key = {"method": "GAN R/1", "normal": "3", "seed": 2, "settings": {"a": [1, None]}}
    columns = {"score": np.array([0.1, -2.5]), "anomalous": np.array([0.0, 1.0])}
    keeper = kept.Keeper(tmp_path / "new")
    assert keeper.load(key, silent) is None
    keeper.save(key, kept.Outcome(columns, 0.25, 3.5, "a note"), ["one", "two"])
    again = kept.Keeper(tmp_path / "new").load(key, silent)
    assert {name: values.tolist() for name, values in again.columns.items()} == {
        "score": [0.1, -2.5],
        "anomalous": [0.0, 1.0],
    }
    assert (again.seconds, again.training, again.note, again.error) == (0.25, 3.5, "a note", "")
    for change in ({"seed": 1}, {"settings": {"a": [2, None]}}, {"method": "GAN"}):
        assert keeper.load(key | change, silent) is None
    with np.load(keeper.path(key)) as arrays:
        assert sorted(arrays) == ["about", "column.anomalous", "column.score", "ids"]  # no labels
        assert arrays["ids"].tolist() == ["one", "two"]
    nowhere = kept.Keeper()
    nowhere.save(key, again, ["one", "two"])
    assert nowhere.load(key, silent) is None


def test_scores_that_are_damaged_or_of_another_cell_are_refused(tmp_path: Path) -> None:
    keeper = kept.Keeper(tmp_path)
    key, other = ({"method": "kNN", "normal": "3", "seed": seed} for seed in (0, 1))
    keeper.save(key, kept.Outcome({"score": np.ones(2)}, 1.0, 1.0), ["a", "b"])
    whole = keeper.path(key).read_bytes()
    shutil.copy(keeper.path(key), keeper.path(other))
    with pytest.raises(DataError, match=r"seed1.*the scores of another cell.*remove it"):
        keeper.load(other, silent)
    for damaged in (b"", whole[:100], b"no archive"):
        keeper.path(key).write_bytes(damaged)
        with pytest.raises(DataError, match=r"kNN-normal3-seed0-\w+\.npz: cannot be used"):
            keeper.load(key, silent)


def test_scores_of_other_code_are_used_and_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    key = {"method": "kNN", "normal": "3", "seed": 0}
    kept.Keeper(tmp_path).save(key, kept.Outcome({"score": np.ones(2)}, 1.0, 1.0), ["a", "b"])
    before = kept.made()
    told: list[Update] = []
    same = kept.Keeper(tmp_path)
    same.load(key, told.append)
    monkeypatch.setattr(kept, "made", lambda: "another")
    other = kept.Keeper(tmp_path)
    other.load(key, told.append)
    assert [f"(made by {before})" in update.detail for update in told] == [False, True]
    for keeper, expected in ((same, False), (other, True), (kept.Keeper(tmp_path), None)):
        keeper.close()
        out = capsys.readouterr().out
        assert (("1 of them made by other code" in out) if out else None) is expected


def test_a_key_holds_all_that_scores_depend_on(case: Any) -> None:
    def changed(other: Any) -> set[str]:
        return {name for name in ("kNN", "twin", "PyOD KNN") if other.key(name) != case.key(name)}

    everyone = {"kNN", "twin", "PyOD KNN"}
    assert changed(replace(case)) == set()
    assert changed(replace(case, settings=case.settings.with_overrides(["search.steps=1"]))) == {"twin"}
    assert changed(replace(case, device="cuda")) == {"twin"}
    assert changed(replace(case, peer_minutes=2.0)) == {"PyOD KNN"}
    assert changed(replace(case, seed=2)) == everyone
    assert changed(replace(case, learnt=case.learnt[1:])) == everyone
    assert changed(replace(case, indices=case.indices[1:])) == everyone


# -- cases -----------------------------------------------------------------------------------------------------------


def test_hold_out_and_test_images_are_not_learnt_from(case: Any) -> None:
    count = len(case.source.items)
    assert set(case.learnt) < set(range(count))
    assert count - len(case.learnt) == round(0.2 * count)
    assert not set(cases._fingerprints(case.source, range(count))) & set(case.fingerprints)
    assert {item.label for item in case.source.items} == {"3"}
    assert [label != "3" for label in case.labels] == case.truth.tolist()


class Unlabelled:
    """A source without its labels."""

    def __init__(self, source: Any) -> None:
        self.source, self.layout, self.root = source, source.layout, source.root
        self.items = tuple(replace(item, label=None, normal=None) for item in source.items)
        self.read, self.read_mask = source.read, source.read_mask


def test_scores_need_no_label(case: Any) -> None:
    names = ["kNN", "isolation forest", "fanogan"]
    short = case.settings.with_overrides(["training.steps=4"])
    known = replace(case, settings=short)
    blind = replace(known, source=Unlabelled(case.source), test=Unlabelled(case.test))
    found = [dict(cases.outcomes(each, names, kept.Keeper(), silent)) for each in (known, blind)]
    for name in names:
        np.testing.assert_array_equal(found[0][name].columns["score"], found[1][name].columns["score"])


def test_peers_are_kept_one_by_one_and_their_failures_are_lines(
    case: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[float, list[str]]] = []
    dies = ["works too"]  # the names at which the run is killed

    def fake(
        train: Any, test: Any, seed: int, minutes: float, watch: Any, names: list[str]
    ) -> Iterator[SimpleNamespace]:
        assert (train.shape, test.shape) == ((len(case.learnt), 8, 8), (len(case.indices), 8, 8))
        assert (train.dtype, test.dtype, seed) == (np.uint8, np.uint8, 1)
        watch(Update("note", detail="a peer"))
        calls.append((minutes, names))
        for name in names:
            if name in dies:
                raise KeyboardInterrupt
            scores, error = (np.empty(0), "no memory") if name == "fails" else (test.mean(axis=(1, 2)), None)
            yield SimpleNamespace(
                name=name, scores=scores, seconds=0.5, training_seconds=9.0, error=error, note="its defaults"
            )

    monkeypatch.setattr(cases, "PEERS", ("works", "fails", "works too"))
    monkeypatch.setattr(cases, "peer_results", fake)
    report, keeper = Report(None), kept.Keeper(tmp_path)
    assert oneclass.measure(case, [], keeper, report, None) == []  # not asked for
    asked = replace(case, peer_minutes=2.0)
    with pytest.raises(KeyboardInterrupt):
        oneclass.measure(asked, [], keeper, report, None)
    dies.clear()
    for _ in range(2):
        found = oneclass.measure(asked, [], keeper, report, None)
        assert [each.method for each in found] == ["works", "works too"]
        assert all(each.auroc == metrics.auroc(case.truth, each.scores) for each in found)
    # after the kill only the one that was running; then none, for a failure is an outcome too
    assert calls == [(2.0, ["works", "fails", "works too"]), (2.0, ["works too"])]
    keeper.path(asked.key("fails")).unlink()
    oneclass.measure(asked, [], keeper, report, None)
    assert calls[2:] == [(2.0, ["fails"])]
    assert {row.method for row in report.rows} == {"works", "works too"}


# -- whole runs ------------------------------------------------------------------------------------------------------


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The methods of `Detector.train`'s calls from here on."""
    calls: list[str] = []
    train: Callable[..., Detector] = Detector.train

    def counting(data: Any, **options: Any) -> Detector:
        calls.append(options["method"])
        return train(data, **options)

    monkeypatch.setattr(Detector, "train", counting)
    return calls


def test_quick_run_and_going_on_from_its_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = counted(monkeypatch)
    monkeypatch.setattr(cases, "peer_results", None)  # quick: no peers, whatever is asked for
    keep = [*SHORT, "--scores", str(tmp_path / "scores"), "--peer-minutes", "1"]
    first, again, more = (tmp_path / f"{name}.json" for name in ("first", "again", "more"))
    assert oneclass.main([*keep, "--json", str(first)]) == 0
    assert trained == ["twin", "fanogan", "anogan", "acae"] * 2  # AnoGAN's networks are those of P_D and GAN_R
    rows = rows_in(first)
    for where in ("normal=0, seed=0", "normal=8, seed=0", "mean of 2 digits, seed=0"):
        assert [row["method"] for row in rows if row["case"] == where and row["metric"] == "auroc"] == EVERYTHING
    own = ["auroc", "average_precision", "auroc_R", "auroc_D", "auroc_P_D", "detection_rate", "false_alarm_rate"]
    assert [row["metric"] for row in rows if row["case"] == "normal=0, seed=0" and row["method"] == "twin"] == [
        *own,
        "time_per_image",
        "ms_per_image",
        "training_seconds",
    ]
    value = {(row["case"], row["method"], row["metric"]): row["value"] for row in rows}
    assert value["normal=0, seed=0", "kNN", "time_per_image"] == 1
    for method in CLASSICAL:
        assert value["normal=0, seed=0", method, "auroc"] > 0.9
    scores = [np.load(path)["column.score"] for path in (tmp_path / "scores").glob("*-normal8-*.npz")]
    assert len(scores) == len(EVERYTHING)  # and all differ: not one search, or one formula, under several names
    assert all(not np.array_equal(one, other) for i, one in enumerate(scores) for other in scores[:i])
    assert value["normal=8, seed=0", "P_D", "auroc"] == value["normal=8, seed=0", "anogan", "auroc_P_D"]
    assert all(row["goal"] is None for row in rows)  # the goals are MNIST's
    assert "earlier runs" not in capsys.readouterr().out

    trained.clear()
    assert oneclass.main([*keep, "--json", str(again)]) == 0
    assert (trained, rows_in(again)) == ([], rows)
    assert f"{2 * len(EVERYTHING)} scores of earlier runs were used again" in capsys.readouterr().out

    next((tmp_path / "scores").glob("GAN_R-normal8-*.npz")).unlink()  # as after a kill
    assert oneclass.main([*keep, "--json", str(again)]) == 0
    assert trained == ["anogan"]
    assert timeless(again) == timeless(first)

    seeds = ["--normal", "8", "--methods", "kNN", "fanogan", "--seeds", "0", "1", "--json", str(more)]
    trained.clear()
    assert oneclass.main([*keep, *seeds]) == 0
    assert trained == ["fanogan"]  # of seed 1
    value = {(row["case"], row["method"], row["metric"]): row["value"] for row in rows_in(more)}
    pair = [value[f"normal=8, seed={seed}", "fanogan", "auroc"] for seed in (0, 1)]
    for name, expected in (("mean", np.mean(pair)), ("min", min(pair)), ("max", max(pair))):
        assert value[f"normal=8, {name} of 2 seeds", "fanogan", "auroc"] == pytest.approx(expected)
    assert pair[0] != pair[1]


def test_a_stopped_run_keeps_its_rows_and_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_given: Any, **_options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Detector, "train", stop)
    path = tmp_path / "rows.json"
    assert oneclass.main([*SHORT, "--scores", str(tmp_path / "scores"), "--json", str(path)]) == 130
    assert [row["method"] for row in rows_in(path) if row["metric"] == "auroc"] == CLASSICAL
    assert len(list((tmp_path / "scores").glob("*.npz"))) == len(CLASSICAL)
    assert "kept" in capsys.readouterr().err
