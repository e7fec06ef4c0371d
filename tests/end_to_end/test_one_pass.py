"""Each image is read and scored once; a run that was stopped and continued ends with the files of one that was not."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from anotwin import Detector
from anotwin.data.folder import FileSource
from quick import good, leftovers, queries, run, stopped_after, write

STOPPED_AFTER = 6  # rows


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More images than a figure shows, normal and abnormal ones mixed, and a file that is no image."""
    folder = tmp_path_factory.mktemp("data") / "images"
    write(folder, queries(9), stem="a")
    write(folder, queries(9, abnormal=False), stem="b")
    (folder / "a004-bad.png").write_bytes(b"no image")
    return folder


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each image was read."""
    counts: Counter[str] = Counter()
    honest = FileSource.read

    def read(self: FileSource, index: int) -> Any:
        counts[self.items[index].id] += 1
        return honest(self, index)

    monkeypatch.setattr(FileSource, "read", read)
    return counts


def names(data: Path) -> set[str]:
    return {path.name for path in data.iterdir()}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("trained", ["model", "searching_model"])
@pytest.mark.parametrize("words", [[], ["--no-pictures"]])
def test_score_reads_each_image_once(
    request: pytest.FixtureRequest, tmp_path: Path, data: Path, reads: Counter[str], trained: str, words: list[str]
) -> None:
    model = request.getfixturevalue(trained)
    reads.clear()  # training reads too
    good("score", model, data, "--out", tmp_path, *words)
    assert reads == dict.fromkeys(names(data), 1)
    assert {"figure.png", "features.png", "scores.csv"} <= set(contents(tmp_path))
    assert ("search.png" in contents(tmp_path)) == (trained == "searching_model")


def test_the_figures_are_the_same_without_pictures(tmp_path: Path, searching_model: Path, data: Path) -> None:
    good("score", searching_model, data, "--out", tmp_path / "all")
    good("score", searching_model, data, "--out", tmp_path / "bare", "--no-pictures")
    everything, bare = contents(tmp_path / "all"), contents(tmp_path / "bare")
    assert set(bare) == {"scores.csv", "figure.png", "features.png", "search.png"}
    assert bare.items() <= everything.items()
    assert len([name for name in everything if name.startswith("counterparts/")]) == 18


@pytest.mark.parametrize("words", [[], ["--no-pictures"]])
def test_a_stopped_run_continues_to_the_same_files(
    tmp_path: Path,
    searching_model: Path,
    data: Path,
    reads: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
) -> None:
    good("score", searching_model, data, "--out", tmp_path / "straight", *words)
    with monkeypatch.context() as stop:
        stop.setattr(Detector, "findings", stopped_after(STOPPED_AFTER))
        assert run("score", searching_model, data, "--out", tmp_path / "out", *words).code == 130
    kept = {line.split(",")[0] for line in (tmp_path / "out" / "scores.csv.partial").read_text().splitlines()[1:]}
    assert len(kept) == STOPPED_AFTER
    reads.clear()
    good("score", searching_model, data, "--out", tmp_path / "out", *words)
    assert contents(tmp_path / "out") == contents(tmp_path / "straight")
    assert leftovers(tmp_path / "out") == []
    assert {name: reads[name] for name in names(data) - kept} == dict.fromkeys(names(data) - kept, 1)
    assert max(reads[name] for name in kept) <= 2  # once for figure.png and once for features.png
    assert reads["a004-bad.png"] == 0  # no picture shows it


def test_evaluate_reads_each_image_once(tmp_path: Path, model: Path, query_folder: Path, reads: Counter[str]) -> None:
    reads.clear()
    good("evaluate", model, query_folder, "--json", tmp_path / "numbers.json")
    assert reads == {f"{label}/{number:03d}.png": 1 for label in ("good", "bad") for number in range(4)}
