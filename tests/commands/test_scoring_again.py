"""A stopped `score` called again, after anything may have happened to its images: the files of a run never stopped."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anotwin import Detector, files
from anotwin.commands import scoring
from anotwin.commands.identity import ImageIdentities
from anotwin.commands.scoring import score_folder
from anotwin.data.arrays import from_arrays
from anotwin.data.folder import open_folder
from anotwin.lock import one_writer
from anotwin.records import Finding
from anotwin.report.feature_points import FeaturePoints
from anotwin.report.table import scan_scores
from anotwin.updates import silent
from quick import good, leftovers, normals, queries, run, sets, stopped_after, write

IMAGES = 6
DONE = 4  # rows that the stopped run has finished: of 000.png to 003.png


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of eight steps: what it finds does not matter here."""
    folder = tmp_path_factory.mktemp("again")
    good("train", write(folder / "data", normals(20)), "--out", folder / "m", *sets("training.steps=8"))
    return folder / "m"


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for the disk, and figures are not drawn: they have tests of their own."""
    monkeypatch.setattr(files, "_sync", lambda _: None)
    monkeypatch.setattr(files, "_sync_folder", lambda _: None)
    monkeypatch.setattr(FeaturePoints, "draw", lambda *_: [])
    monkeypatch.setattr(scoring, "counterpart_figure", lambda shown, path, **_: path.write_text(repr(shown)))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = write(tmp_path / "data", queries(IMAGES))
    for path in folder.iterdir():
        os.utime(path, ns=(10**18, 10**18))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def stop(model: Path, data: Path, out: Path, monkeypatch: pytest.MonkeyPatch, *words: str, count: int = DONE) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Detector, "findings", stopped_after(count))
        assert run("score", model, data, "--out", out, *words).code == 130


def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids that are scored from now on."""
    honest, found = Detector.findings, []

    def findings(self: Detector, source: Any, indices: Any = None, **more: Any) -> Any:
        found.extend(source.items[index].id for index in indices)
        return honest(self, source, indices, **more)

    monkeypatch.setattr(Detector, "findings", findings)
    return found


def replaced(path: Path, pixels: Any) -> None:
    """Other pixels in a file of the same size and time."""
    state = path.stat()
    Image.fromarray(pixels).save(path)
    content = path.read_bytes()
    path.write_bytes(content + bytes(max(state.st_size - len(content), 0)))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def change(path: Path) -> None:
    Image.fromarray(np.full((16, 16), 7, np.uint8)).save(path)


CHANGES: dict[str, Callable[[Path], Any]] = {
    "nothing": lambda _: None,
    "another picture": lambda data: change(data / "001.png"),
    "another picture of the same time": lambda data: replaced(data / "001.png", queries(9, abnormal=False)[8]),
    "no picture": lambda data: (data / "001.png").write_bytes(b"junk"),
    "one is gone": lambda data: (data / "002.png").unlink(),
    "one is gone and one is new": lambda data: (data / "002.png").rename(data / "0021.png"),
    "two change places": lambda data: [
        (data / "000.png").rename(data / "x"),
        (data / "003.png").rename(data / "000.png"),
        (data / "x").rename(data / "003.png"),
    ],
    "all are gone but one": lambda data: [path.unlink() for path in sorted(data.iterdir())[1:]],
    "names that give other pictures": lambda data: shutil.copy(data / "001.png", data / "001.bmp"),
    "touched": lambda data: [os.utime(path) for path in data.iterdir()],
    "other permissions": lambda data: [path.chmod(0o600) for path in data.iterdir()],
}


@pytest.mark.parametrize("words", [(), ("--no-pictures",)])
@pytest.mark.parametrize("what", CHANGES)
def test_the_files_are_those_of_a_run_that_was_never_stopped(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, words: tuple[str, ...]
) -> None:
    out = tmp_path / "out"
    stop(model, data, out, monkeypatch, *words)
    CHANGES[what](data)
    scored = asked(monkeypatch)
    good("score", model, data, "--out", out, *words)
    if what in ("nothing", "touched", "other permissions"):
        assert not {"000.png", "001.png", "002.png"} & set(scored[: IMAGES - DONE])
    good("score", model, data, "--out", tmp_path / "straight", *words)
    assert contents(out) == contents(tmp_path / "straight")
    assert [row["image"] for row in scan_scores(out / "scores.csv")] == sorted(path.name for path in data.iterdir())
    assert leftovers(out) == []


def test_a_row_whose_pictures_are_gone_is_scored_again(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    stop(model, data, out, monkeypatch)
    (out / "heatmaps" / "000.png").unlink()
    (out / "counterparts" / "001.png").write_bytes(b"")  # a power cut
    scored = asked(monkeypatch)
    good("score", model, data, "--out", out)
    assert {"000.png", "001.png"} <= set(scored)
    good("score", model, data, "--out", tmp_path / "straight")
    assert contents(out) == contents(tmp_path / "straight")


def test_other_settings_of_the_machine_are_another_run(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop(model, data, tmp_path / "out", monkeypatch)
    monkeypatch.setattr("anotwin.commands.scoring.__version__", "9.9")
    scored = asked(monkeypatch)
    good("score", model, data, "--out", tmp_path / "out")
    assert set(scored) == {f"{number:03d}.png" for number in range(IMAGES)}


def test_the_folder_may_be_named_otherwise(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop(model, data, tmp_path / "out", monkeypatch)
    moved = data.rename(tmp_path / "moved")
    monkeypatch.chdir(moved)
    scored = asked(monkeypatch)
    good("score", model, ".", "--out", tmp_path / "out")
    assert set(scored[: IMAGES - DONE]) == {"004.png", "005.png"}


def test_pictures_of_an_earlier_run_go_and_other_files_stay(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another DATA, after a finished run and a stopped one; what a user put there is not ours."""
    out, other = tmp_path / "out", write(tmp_path / "other" / "deep", queries(2), stem="z")
    good("score", model, data, "--out", out)
    stop(model, write(tmp_path / "third", queries(3), stem="t"), out, monkeypatch, count=2)
    mine = [out / "heatmaps" / "mine.png", out / "counterparts" / "notes" / "a.txt", out / "counterparts" / "005.png"]
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"mine")  # the last one over a picture of ours, after the run
    (out / "groups.csv").write_text("of an earlier run")
    os.utime(out / "groups.csv", ns=(10**18, 10**18))
    good("score", model, other.parent, "--out", out)
    for path in mine:
        assert path.read_bytes() == b"mine"
        path.unlink()
    mine[1].parent.rmdir()
    good("score", model, other.parent, "--out", tmp_path / "straight")
    assert contents(out) == contents(tmp_path / "straight")


def test_pictures_that_this_run_does_not_write_are_not_left_from_another(
    model: Path, data: Path, tmp_path: Path
) -> None:
    """The same images by another model without pictures; and one that cannot be read any more."""
    out = tmp_path / "out"
    good("score", model, data, "--out", out)
    (data / "000.png").write_bytes(b"junk")
    good("score", model, data, "--out", out)
    assert not (out / "counterparts" / "000.png").exists()
    assert (out / "counterparts" / "001.png").exists()
    good("score", model, data, "--out", out, "--no-pictures")
    assert not (out / "counterparts").exists()
    assert not (out / "heatmaps").exists()


def test_a_flipped_bit_in_what_is_kept_is_never_believed(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the rows and beside them, at every 41st byte; each time the table of a run that was never stopped."""
    good("score", model, data, "--out", tmp_path / "straight", "--no-pictures")
    expected = (tmp_path / "straight" / "scores.csv").read_bytes()
    stop(model, data, tmp_path / "stopped", monkeypatch, "--no-pictures")
    detector = Detector.load(model, "cpu")
    for name in ("scores.csv.partial", "scores.csv.partial.json"):
        for place in range(0, (tmp_path / "stopped" / name).stat().st_size, 41):
            out = shutil.copytree(tmp_path / "stopped", tmp_path / "out")
            content = bytearray((out / name).read_bytes())
            content[place] ^= 1 << place % 8
            (out / name).write_bytes(content)
            score_folder(detector, data, out, "auto", False, silent)
            assert (out / "scores.csv").read_bytes() == expected, (name, place)
            shutil.rmtree(out)


def test_a_second_score_into_the_same_folder_is_refused(model: Path, data: Path, tmp_path: Path) -> None:
    """And a calibration of a model that is being written, and an evaluation, and samples."""
    refused: list[str] = []
    busy = tmp_path / "busy"
    commands = [
        (busy, ("score", model, data, "--out", busy)),
        (model, ("calibrate", model, data, "--false-alarm-rate", 0.4)),
        (model, ("train", data, "--out", model, *sets())),
        (model, ("train", data, "--out", model, "--resume")),
    ]
    import threading

    for folder, words in commands:
        with one_writer(folder):
            before = contents(folder)
            thread = threading.Thread(target=lambda words=words: refused.append(run(*words).error))
            thread.start()
            thread.join()
            assert contents(folder) == before
    assert len(refused) == len(commands)
    assert all("another AnoTwin is writing there" in message for message in refused)


@pytest.mark.parametrize("known", [True, False])
def test_identities(tmp_path: Path, known: bool) -> None:
    """By size and times where there is a file, else by the pixels; an image without pixels only by its file."""
    folder = write(tmp_path / "data", queries(3))
    for path in folder.iterdir():
        os.utime(path, ns=(10**18, 10**18))
    source = open_folder(folder, "test") if known else from_arrays(queries(3))
    monkey = pytest.MonkeyPatch()
    monkey.setattr("anotwin.commands.identity.TICK", -(10**18))  # as if all had been written long ago
    try:
        identities = ImageIdentities(source, tmp_path, {})
        name = source.items[1].id
        from anotwin.seeding import fingerprint

        stored = identities.of(Finding(name, fingerprint=fingerprint(source.read(1))))
        assert identities.same(name, stored)
        assert not identities.same("no such", stored)
        assert not identities.same(name, [stored[0], stored[1], 0])
        assert identities.same(name, [0, stored[1], stored[2]])
        assert not identities.same(name, [0, 5, stored[2]])
        assert identities.same(name, [stored[0], None, stored[2]]) == known
        assert not identities.same(name, [0, None, stored[2]])
        assert not identities.same(name, None)
    finally:
        monkey.undo()
