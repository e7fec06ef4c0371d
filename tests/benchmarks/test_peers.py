"""Other libraries' detectors: every way a process can end, with a stub for their environment; the rest by hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestNeighbors

from anotwin.updates import Update
from benchmarks.oneclass import other_libraries as peers
from benchmarks.oneclass.peers import ganomaly, outcome, pyod_detectors, runner

STUB = """
import json, os, sys, time
from pathlib import Path
import numpy as np

name, options = sys.argv[1], dict(zip(sys.argv[2::2], sys.argv[3::2]))
with np.load(options["--data"]) as arrays:
    assert sorted(arrays) == ["test", "train"], sorted(arrays)  # no labels
    scores = arrays["test"].mean(axis=(1, 2)) + arrays["train"].mean()
if name == "crashes":
    print("a warning", file=sys.stderr)
    sys.exit("Segmentation fault, say")
if name == "sleeps":
    time.sleep(60)
found = {"scores": scores.tolist(), "seconds": 0.5, "training_seconds": float(options["--minutes"])}
found["note"] = f"seed {options['--seed']}, GPU {os.environ['CUDA_VISIBLE_DEVICES']!r}"
if name == "fails":
    found = {"error": "ValueError: no"}
if name == "is NaN":
    found["scores"][1] = float("nan")
if name == "is short":
    found["scores"].pop()
if name != "is silent":
    Path(options["--out"]).write_text(json.dumps(found))
"""


@pytest.fixture
def stubbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`other_libraries` with an environment whose Python is this one and whose runner is `STUB`."""
    python = tmp_path / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (tmp_path / "env" / ".installed").touch()
    (tmp_path / "stub.py").write_text(STUB)
    monkeypatch.setattr(peers, "HOME", tmp_path / "env")
    monkeypatch.setattr(peers, "RUNNER", tmp_path / "stub.py")
    return peers


def images(count: int, level: int = 0) -> npt.NDArray[np.uint8]:
    return np.arange(count * 12, dtype=np.uint8).reshape(count, 3, 4) + np.uint8(level)


# -- the processes ---------------------------------------------------------------------------------------------------


def test_whatever_a_detector_does_there_is_a_result_and_the_next_one_runs(
    stubbed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("works", "fails", "crashes", "is NaN", "is short", "is silent", "works too")
    monkeypatch.setattr(stubbed, "NAMES", names)
    monkeypatch.setattr(stubbed, "LONGER", {"works too": 3.0})
    told: list[Update] = []
    train, test = images(2, level=100), images(5)
    found = {result.name: result for result in stubbed.peer_results(train, test, 7, 0.25, told.append)}
    assert tuple(found) == names
    assert [update.detail.partition(" of")[0] for update in told] == list(names)
    for name, minutes in (("works", 0.25), ("works too", 0.75)):
        result = found[name]
        np.testing.assert_allclose(result.scores, test.mean(axis=(1, 2)) + train.mean())
        assert (result.seconds, result.training_seconds, result.error) == (0.5, minutes, None)
        assert result.note == "seed 7, GPU ''"
    errors = {name: found[name].error for name in names[1:-1]}
    assert errors == {
        "fails": "ValueError: no",
        "crashes": "its process ended with code 1: Segmentation fault, say",
        "is NaN": "1 of 5 scores are not finite",
        "is short": "scores of shape (4,), expected (5,)",
        "is silent": "its process ended with code 0: no message",
    }
    assert all(len(found[name].scores) == 0 and np.isnan(found[name].seconds) for name in errors)


def test_only_those_wanted_run(stubbed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stubbed, "NAMES", ("one", "two", "crashes"))
    told: list[Update] = []
    found = list(stubbed.peer_results(images(2), images(2), 0, 0.0, told.append, ["two", "one"]))
    assert [result.name for result in found] == ["two", "one"]
    assert [(update.done, update.total) for update in told] == [(1, 2), (2, 2)]
    assert list(stubbed.peer_results(images(2), images(2), 0, 0.0, names=[])) == []
    with pytest.raises(ValueError, match=r"no detector \['three'\], expected some of \('one', 'two', 'crashes'\)"):
        list(stubbed.peer_results(images(2), images(2), 0, 0.0, names=["one", "three"]))


def test_a_detector_without_an_end_is_ended(stubbed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stubbed, "NAMES", ("sleeps",))
    monkeypatch.setattr(stubbed, "PATIENCE", 1.0)
    (result,) = stubbed.peer_results(images(2), images(2), 0, 0.0)
    assert result.error == "not done after 1 s"


def test_an_environment_that_does_not_start_is_an_error_a_row(stubbed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stubbed, "NAMES", ("works",))
    (stubbed.HOME / "bin" / "python").unlink()
    (result,) = stubbed.peer_results(images(2), images(2), 0, 1.0)
    assert "does not start (No such file or directory); 'make peers' mends it" in result.error


def test_without_the_environment_a_line_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(peers, "HOME", tmp_path)
    assert list(peers.peer_results(images(2), images(2), 0, 1.0)) == []
    out = capsys.readouterr().out
    assert "make peers" in out
    assert out.count("\n") == 1


@pytest.mark.parametrize("wrong", [images(2).astype(np.float32), images(2)[0], images(0)])
def test_images_of_another_kind_are_refused(stubbed: Any, wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"test: expected \(N, H, W\) uint8"):
        list(stubbed.peer_results(images(2), wrong, 0, 1.0))


# -- the runner ------------------------------------------------------------------------------------------------------


def test_both_sides_know_the_same_detectors() -> None:
    assert tuple(runner.DETECTORS) == peers.NAMES


def test_the_runner_writes_scores_or_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ready(train: Any, seed: int, minutes: float) -> Any:
        if seed == 1:
            raise RuntimeError("cannot\n  be")
        note = f"{len(train)} images, {minutes} min"
        return lambda: outcome.Fitted(lambda test: test.max(axis=(1, 2)), note)

    monkeypatch.setattr(runner, "DETECTORS", {"any": ready})
    np.savez(tmp_path / "images.npz", train=images(3), test=images(4))
    arguments = ["any", "--data", str(tmp_path / "images.npz"), "--out", str(tmp_path / "out.json")]
    assert runner.main([*arguments, "--quick"]) == 0
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["scores"] == [11.0, 23.0, 35.0, 47.0]
    assert found["note"] == "3 images, 0.02 min"
    assert runner.main([*arguments, "--seed", "1"]) == 0
    assert json.loads((tmp_path / "out.json").read_text()) == {"error": "RuntimeError: cannot be"}


def test_short_scoring_is_timed_three_times_and_the_least_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    measure, fitted = outcome.measure, outcome.Fitted(lambda test: test[:, 0, 0], "note")
    clock = iter([0.0, 9.0, 10.0, 10.4, 20.0, 20.2, 30.0, 30.3])  # training 9 s; scoring 0.4, 0.2 and 0.3 s
    monkeypatch.setattr(outcome.time, "perf_counter", lambda: next(clock))
    found = measure(lambda: fitted, images(2))
    assert (found.training_seconds, found.scores) == (9.0, [0.0, 12.0])
    assert found.seconds == pytest.approx(0.2)
    clock = iter([0.0, 1.0, 10.0, 10.5])  # long enough: once
    assert measure(lambda: fitted, images(2)).seconds == 0.5


# -- PyOD ------------------------------------------------------------------------------------------------------------


class FakeDetector:
    """As PyOD's: an epoch on n images takes n * 0.1 s of `clock`, the rest of a fit n * 0.2 s."""

    clock = 0.0
    made: list[dict[str, Any]] = []  # noqa: RUF012  # of the class: what the module under test made

    def __init__(self, width: int = 3, epochs: int = 40, state: int | None = None) -> None:
        self.epochs = epochs
        self.made.append({"width": width, "epochs": epochs, "state": state})

    def fit(self, data: npt.NDArray[np.float64]) -> None:
        FakeDetector.clock += len(data) * (0.2 + 0.1 * self.epochs)
        self.made[-1]["data"] = data

    def decision_function(self, data: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray(data.max(axis=1))


@pytest.mark.parametrize(
    ("seconds", "epochs", "count", "note"),
    [
        (1e6, 40, 100, "its defaults"),
        (100 * (0.2 + 0.1 * 18.5), 18, 100, "its defaults, but for want of time 18 of 40 epochs"),
        (80.5 * (0.2 + 0.1 * 10), 10, 80, "its defaults, but for want of time 10 of 40 epochs on 80 of 100 images"),
        (1.0, 10, 64, "its defaults, but for want of time 10 of 40 epochs on 64 of 100 images"),
    ],
)
def test_pyod_trains_for_as_long_as_time_allows(
    monkeypatch: pytest.MonkeyPatch, seconds: float, epochs: int, count: int, note: str
) -> None:
    fake = ModuleType("fake_pyod")
    fake.Fake = FakeDetector  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fake_pyod", fake)
    monkeypatch.setattr(pyod_detectors.time, "perf_counter", lambda: FakeDetector.clock)
    FakeDetector.made.clear()
    recipe = pyod_detectors.Recipe("fake_pyod", "Fake", epochs="epochs", seed="state", features="width")
    train = np.random.default_rng(0).integers(0, 256, (100, 3, 4), dtype=np.uint8)
    fitted = pyod_detectors.ready(recipe, train, 5, seconds / 60)()
    last = FakeDetector.made[-1]
    assert (last["width"], last["epochs"], last["state"]) == (12, epochs, 5)
    drawn = {row.tobytes() for row in (last["data"] * 255).round().astype(np.uint8)}
    assert len(last["data"]) == len(drawn) == count  # each image once
    assert drawn <= {image.tobytes() for image in train}
    np.testing.assert_allclose(fitted.score(images(2)), [11 / 255, 23 / 255])  # PyOD's own direction is ours
    assert fitted.note == note


def test_a_detector_without_epochs_keeps_all_its_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = ModuleType("fake_pyod")
    fake.Fake = FakeDetector  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fake_pyod", fake)
    FakeDetector.made.clear()
    recipe = pyod_detectors.Recipe("fake_pyod", "Fake", seed=None)
    assert pyod_detectors.ready(recipe, images(3), 5, 0.0)().note == "its defaults"
    assert [(each["width"], each["epochs"], each["state"]) for each in FakeDetector.made] == [(3, 40, None)]


def test_noise_in_the_trials_does_not_break_the_plan() -> None:
    effort, within = pyod_detectors.Effort, pyod_detectors.effort_within
    falling = (1.9, 1.6)  # seconds: more epochs in less time, so an epoch seems to cost nothing
    assert within(10.0, falling, effort(30, 64), 64) == effort(30, 64)
    assert within(1.0, falling, effort(30, 640), 64) == effort(10, 64)
    assert within(1.0, falling, effort(5, 20), 20) == effort(5, 20)


# -- GANomaly --------------------------------------------------------------------------------------------------------


def test_convergence_is_ten_epochs_without_a_gain_of_a_hundredth() -> None:
    converged = ganomaly.converged
    assert not converged([5.0] * 10)
    assert converged([5.0] * 11)
    assert converged([9.0, 5.0] + [4.96] * 10)
    assert not converged([9.0, 5.0] + [4.96] * 9 + [4.94])
    assert converged([5.0] + [6.0] * 10)


@pytest.mark.parametrize(("height", "width", "expected"), [(8, 8, 32), (28, 28, 32), (32, 20, 32), (33, 8, 64)])
def test_ganomaly_sees_a_power_of_two(height: int, width: int, expected: int) -> None:
    assert ganomaly.side(height, width) == expected


def test_ganomaly_sees_grey_in_three_channels() -> None:
    found = ganomaly.colours(images(2)).numpy()
    assert found.shape == (2, 3, 3, 4)
    for channel in range(3):
        np.testing.assert_allclose(found[:, channel], images(2) / 255, rtol=1e-6)


# -- the real environment --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_real_detectors_on_small_digits() -> None:
    if not (peers.HOME / ".installed").exists():
        pytest.skip("no .venv-peers: make peers")
    digits = load_digits()
    pixels = np.round(digits.images * (255 / 16)).astype(np.uint8)
    zeros = pixels[digits.target == 0]
    train, normal, abnormal = zeros[:140], zeros[140:], pixels[digits.target == 1][:40]
    test = np.concatenate([normal, abnormal])
    found = {result.name: result for result in peers.peer_results(train, test, 0, 0.02)}
    assert tuple(found) == peers.NAMES
    assert {name: result.error for name, result in found.items() if result.error} == {}
    assert all(result.seconds > 0 and result.training_seconds > 0 and result.note for result in found.values())
    neighbours = NearestNeighbors(n_neighbors=5).fit(train.reshape(len(train), -1) / 255)
    fifth = neighbours.kneighbors(test.reshape(len(test), -1) / 255)[0][:, -1]
    np.testing.assert_allclose(found["PyOD KNN"].scores, fifth)
    for name in ("PyOD KNN", "PyOD IForest", "PyOD DeepSVDD"):  # the ranking has the right sign
        scores = found[name].scores
        assert np.median(scores[: len(normal)]) < np.median(scores[len(normal) :])
    kinds = [found[name].scores for name in peers.NAMES]
    assert all(not np.array_equal(a, b) for i, a in enumerate(kinds) for b in kinds[:i])
