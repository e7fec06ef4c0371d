"""Numbers and paths that nobody expects: one line and exit code 2, at once, and nothing else is touched."""

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from anotwin import Detector, cli
from anotwin.errors import SettingsError
from nasty import harmless
from quick import good, run, sets

HUGE = "9" * 4000


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder, which must stay empty."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    yield folder
    assert list(folder.iterdir()) == []


def refused(*words: object) -> str:
    outcome = run(*words)
    assert outcome.code == 2, outcome
    assert harmless(outcome.error)
    return outcome.error


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("path", ["", " ", "a\0b", "a" * 5000, "/".join(["a" * 200] * 30)])
def test_paths_that_are_none(path: str, tmp_path: Path, model: Path, query_folder: Path) -> None:
    for words in (
        ("info", path),
        ("score", path, query_folder, "--out", tmp_path / "o"),
        ("score", model, path, "--out", tmp_path / "o"),
        ("score", model, query_folder, "--out", path),
        ("train", path, "--out", tmp_path / "o"),
        ("train", query_folder, "--out", path),
        ("train", query_folder, "--out", tmp_path / "o", "--config", path),
        ("calibrate", model, path),
        ("evaluate", model, query_folder, "--json", path),
        ("evaluate", model, query_folder, "--json", tmp_path / "n.json", "--out", path),
        ("sample", model, "--count", 1, "--out", path),
        ("prepare", path, "--out", tmp_path / "o"),
        ("prepare", query_folder, "--out", path),
        ("demo", "--out", path),
        ("demo", "--data", path),
    ):
        assert "Invalid value for" in refused(*words)
    assert not (tmp_path / "o").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_a_pipe_is_neither_read_nor_replaced(tmp_path: Path, model: Path, query_folder: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for words in (
        ("score", model, pipe, "--out", tmp_path / "o"),
        ("score", pipe, query_folder, "--out", tmp_path / "o"),
        ("score", model, query_folder, "--out", pipe),
        ("evaluate", model, query_folder, "--json", pipe),
        ("train", pipe, "--out", tmp_path / "o"),
        ("sample", model, "--count", 1, "--out", pipe),
    ):
        assert str(pipe) in refused(*words)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize("count", [10**12, 10**15, 10**300, HUGE])
def test_more_samples_than_a_disk_holds(tmp_path: Path, model: Path, count: object) -> None:
    message = refused("sample", model, "--count", count, "--out", tmp_path / "o")
    assert "GB" in message
    assert "choose another --out" in message
    assert list((tmp_path / "o").iterdir()) == []


def test_more_samples_than_a_memory_holds(model: Path) -> None:
    for count in (10**12, 10**30):
        with pytest.raises(SettingsError, match=r"memory; use `first`"):
            Detector.load(model, "cpu").sample(count)


def test_samples_are_drawn_in_parts(tmp_path: Path, searching_model: Path) -> None:
    detector = Detector.load(searching_model, "cpu")
    assert torch.equal(detector.sample(300, 1)[290:], detector.sample(10, 1, first=290))
    good("sample", searching_model, "--count", 70, "--out", tmp_path / "many")
    good("sample", searching_model, "--count", 5, "--out", tmp_path / "few")
    for number in range(5):
        name = f"sample-{number:05d}.png"
        assert (tmp_path / "many" / name).read_bytes() == (tmp_path / "few" / name).read_bytes()
    good("sample", searching_model, "--count", 3, "--out", tmp_path / "many")  # none of the 70 stays behind
    assert len(list((tmp_path / "many").glob("sample-*"))) == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--budget-ms", "inf"), "must be above 0 and finite"),
        (("--budget-ms", "nan"), "must be above 0"),
        (("--budget-ms", "-1"), "must be above 0"),
        (("--set", "search.learning_rate=1e308"), "search.learning_rate"),
        (("--set", f"search.steps={HUGE}"), "search.steps"),
        (("--set", f"search.steps={10**30}"), "search.steps"),
        (("--false-alarm-rate", "nan"), "false-alarm rate"),
    ],
)
def test_numbers_for_a_search(
    tmp_path: Path, searching_model: Path, normal_folder: Path, words: tuple[str, str], said: str
) -> None:
    copy = shutil.copytree(searching_model, tmp_path / "m")
    assert said in refused("calibrate", copy, normal_folder, *words)
    assert (copy / "bundle.json").read_bytes() == (searching_model / "bundle.json").read_bytes()


@pytest.mark.parametrize(
    "words", [("--steps", HUGE), ("--seed", HUGE), ("--image-size", HUGE), ("--steps", "-1"), ("--seed", "-1")]
)
def test_numbers_for_a_training(tmp_path: Path, normal_folder: Path, words: tuple[str, str]) -> None:
    refused("train", normal_folder, "--out", tmp_path / "m", *words)
    assert not (tmp_path / "m").exists()


def test_a_large_seed_is_a_seed(tmp_path: Path, normal_folder: Path) -> None:
    good("train", normal_folder, "--out", tmp_path / "m", *sets("training.steps=1"), "--seed", 2**70)
    good("sample", tmp_path / "m", "--count", 1, "--out", tmp_path / "o", "--seed", 2**70)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_ctrl_c_before_a_command_begins(stop: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(**_: object) -> None:
        raise stop

    monkeypatch.setattr(cli, "app", interrupted)
    assert run("info", "x").code == (130 if stop is KeyboardInterrupt else 0)


def test_a_path_that_is_not_given_has_its_default(tmp_path, monkeypatch) -> None:
    """`make demo` gives no --out."""
    monkeypatch.chdir(tmp_path)
    outcome = run("demo", "--data", tmp_path / "nowhere")
    assert outcome.code == 2
    assert "nowhere" in outcome.error
