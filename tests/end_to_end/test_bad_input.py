"""Whatever a user, a disk or a stranger gets wrong: one line, the right exit code, nothing half-written."""

import csv
import errno
import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from safetensors.torch import save

from anotwin import Detector, files
from model_folders import edit, entry, forge, raw
from quick import Outcome, good, leftovers, normals, queries, run, same_weights, sets, stopped_after, weights, write

TRAIN = ("train", "{normals}", "--out", "{new}", *sets("training.steps=1"))
SCORE = ("score", "{model}", "{queries}", "--out", "{new}")
CALIBRATE = ("calibrate", "{copy}", "{normals}")
EVALUATE = ("evaluate", "{model}", "{queries}", "--json", "{new}.json", "--out", "{new}")


@pytest.fixture
def places(tmp_path: Path, model: Path, normal_folder: Path, query_folder: Path) -> dict[str, Path]:
    """What the words of a command stand for."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "readme.txt").write_text("no image")
    (tmp_path / "file").write_text("a file")
    return {
        "normals": normal_folder,
        "queries": query_folder,
        "model": model,
        "copy": shutil.copytree(model, tmp_path / "copy"),
        "new": tmp_path / "new",
        "tmp": tmp_path,
    }


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def refused(places: dict[str, Path], words: tuple[str, ...], code: int = 2) -> str:
    """The message of a command that must fail and leave every file as it was."""
    before = contents(places["tmp"])
    outcome = run(*(word.format(**places) for word in words))
    assert outcome.code == code, outcome
    assert contents(places["tmp"]) == before
    return outcome.error


def rows(out: Path) -> dict[str, dict[str, str]]:
    with (out / "scores.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return {row["image"]: row for row in csv.DictReader(file)}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        # where the images should be
        (("train", "{tmp}/nowhere", "--out", "{new}"), "nowhere: no such folder"),
        (("train", "{tmp}/empty", "--out", "{new}"), "empty: no image"),
        (("train", "{tmp}/text", "--out", "{new}"), "text: no image"),
        (("train", "{tmp}/file", "--out", "{new}"), "one file; training needs a folder"),
        (("score", "{model}", "{tmp}/nowhere", "--out", "{new}"), "nowhere: no such folder"),
        (("score", "{model}", "{tmp}/file", "--out", "{new}"), "not an image by its name"),
        (("calibrate", "{copy}", "{tmp}/empty"), "empty: no image"),
        (("evaluate", "{model}", "{tmp}/nowhere", "--json", "{new}.json"), "nowhere: no such folder"),
        # which images
        ((*TRAIN, "--normal", "nope"), "no label 'nope'"),
        ((*TRAIN, "--layout", "mvtec"), "no such folder; the mvtec layout has train/good"),
        ((*TRAIN, "--layout", "idx"), "no train-images-idx3-ubyte"),
        ((*TRAIN, "--layout", "zip"), "layout 'zip': expected auto, folder, mvtec, idx, oct"),
        ((*TRAIN, "--layout", "foldr"), "did you mean 'folder'?"),
        ((*TRAIN, "--set", "data.layout=mvtech"), "did you mean 'mvtec'?"),
        (
            (*TRAIN, "--set", "data.view=retinas"),
            "view 'retinas': expected auto, whole, retina, tiles, frames, moving; did you mean 'retina'?",
        ),
        ((*TRAIN, "--set", "data.view=nowhere"), "view 'nowhere': expected auto, whole, retina"),
        ((*SCORE, "--layout", "zip"), "layout 'zip': expected auto, folder, mvtec, idx, oct"),
        ((*EVALUATE, "--layout", "idxx"), "did you mean 'idx'?"),
        ((*CALIBRATE, "--layout", "zip"), "layout 'zip': expected auto"),
        ((*CALIBRATE, "--set", "data.view=retina"), "data.view"),
        (("prepare", "{normals}", "--out", "{new}", "--layout", "octt"), "did you mean 'oct'?"),
        (("prepare", "{normals}", "--out", "{new}", "--layout", "folder"), "nothing to prepare in the layout folder"),
        (
            ("prepare", "{normals}", "--out", "{new}", "--layout", "auto"),
            "use --layout oct or --view retina if that is",
        ),
        (("prepare", "{normals}", "--out", "{new}", "--part", "all"), "--part all: expected train or test"),
        ((*SCORE, "--lines"), "--option lines: only for models with the view retina (this one has whole)"),
        (("evaluate", "{model}", "{normals}", "--json", "{new}.json"), "needs normal and abnormal images"),
        # settings and options
        ((*TRAIN, "--method", "anogann"), "did you mean 'anogan'?"),
        ((*TRAIN, "--image-size", "48"), "power of two from 16 to 256"),
        ((*TRAIN, "--image-size", "1e3"), "'--image-size'"),
        ((*TRAIN, "--steps", "0"), "training.steps"),
        ((*TRAIN, "--seed", "-1"), "training.seed"),
        ((*TRAIN, "--set", "training.stepz=3"), "did you mean 'training.steps'?"),
        ((*TRAIN, "--set", "nonsense"), "expected section.key=value"),
        ((*TRAIN, "--set", "training.learning_rate=nan"), "learning_rate"),
        ((*TRAIN, "--set", "networks.feature_layer=-9"), "feature_layer"),
        ((*TRAIN, "--set", "search.batch_size=0"), "search.batch_size"),
        ((*TRAIN, "--config", "{tmp}/nowhere.toml"), "nowhere.toml: cannot read settings"),
        ((*TRAIN, "--config", "{tmp}/file"), "not valid TOML"),
        ((*TRAIN, "--config", "{tmp}/empty"), "cannot read settings"),
        ((*TRAIN, "--resume"), "no training run to resume"),
        ((*TRAIN, "--bogus"), "No such option: --bogus"),
        (("train", "{normals}"), "Missing option '--out'"),
        (("trian", "{normals}"), "No such command 'trian'"),
        (("score", "{model}"), "Missing argument 'data'"),
        ((*CALIBRATE, "--false-alarm-rate", "0"), "false-alarm rate 0.0: must lie between 0 and 1"),
        ((*CALIBRATE, "--false-alarm-rate", "2"), "false-alarm rate 2.0: must lie between 0 and 1"),
        ((*CALIBRATE, "--false-alarm-rate", "nan"), "false-alarm rate nan"),
        ((*CALIBRATE, "--false-alarm-rate", "often"), "'--false-alarm-rate'"),
        ((*CALIBRATE, "--false-alarm-rate", "0.01"), "99"),  # so many would be needed
        ((*CALIBRATE, "--set", "networks.latent_dim=9"), "networks.latent_dim"),
        ((*CALIBRATE, "--set", "search.speed=9"), "no setting 'search.speed'"),
        (("sample", "{model}", "--count", "0", "--out", "{new}"), "cannot sample 0 images"),
        (("sample", "{model}", "--count", "-2", "--out", "{new}"), "at least 1"),
        ((*EVALUATE, "--limit", "1"), "at least 2 images"),
        ((*EVALUATE, "--limit", "0"), "at least 2 images"),
        ((*TRAIN, "--device", "tpu"), "expected auto, cpu or cuda"),
        ((*TRAIN, "--device", "cuda:99"), "expected auto, cpu or cuda"),
        ((*SCORE, "--device", "cuda:99"), "expected auto, cpu or cuda"),
        # where to write
        (("train", "{normals}", "--out", "{tmp}/file"), "a part of the path is a file"),
        (("train", "{normals}", "--out", "{tmp}/file/model"), "choose another --out"),
        (("score", "{model}", "{queries}", "--out", "{tmp}/file"), "file"),
        (("sample", "{model}", "--count", "1", "--out", "{tmp}/file"), "file"),
        (("evaluate", "{model}", "{queries}", "--json", "{tmp}/empty"), "is a folder"),
        (("evaluate", "{model}", "{queries}", "--json", "{tmp}/file/n.json"), "file"),
        (("score", "{tmp}/empty", "{queries}", "--out", "{new}"), "has no bundle.json"),
        (("info", "{tmp}/nowhere"), "does not exist"),
        (("info", "{tmp}/file"), "is a file, not a model folder"),
    ],
    ids=lambda value: " ".join(word for word in value if "=" not in word)[:60] if isinstance(value, tuple) else "",
)
def test_refused_with_one_line(places: dict[str, Path], words: tuple[str, ...], said: str) -> None:
    assert said in refused(places, words)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there(places: dict[str, Path]) -> None:
    assert "no CUDA device" in refused(places, (*TRAIN, "--device", "cuda"))
    assert "no CUDA device" in refused(places, (*SCORE, "--device", "cuda"))


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a file system that refuses to write")
@pytest.mark.parametrize("words", [TRAIN, SCORE, ("sample", "{model}", "--count", "1", "--out", "{new}")])
def test_a_place_where_nobody_may_write(places: dict[str, Path], words: tuple[str, ...]) -> None:
    assert "cannot" in refused(places | {"new": Path("/proc/self/anotwin")}, words)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is forbidden to root")
@pytest.mark.parametrize("words", [TRAIN, SCORE])
def test_a_folder_without_permission(places: dict[str, Path], words: tuple[str, ...]) -> None:
    (places["tmp"] / "locked").mkdir(mode=0o500)
    assert "may write to" in refused(places | {"new": places["tmp"] / "locked" / "x"}, words)


@pytest.mark.parametrize("words", [TRAIN, ("score", "{model}", "{tmp}/data", "--out", "{new}")])
def test_results_among_the_images(places: dict[str, Path], words: tuple[str, ...]) -> None:
    data = write(places["tmp"] / "data", queries(3))
    inside = places | {"normals": data, "new": data / "results"}
    assert "lies inside DATA" in refused(inside, words)


# -- images ---------------------------------------------------------------------------


def _damage(folder: Path, kind: str) -> Path:
    """One bad file; its name sorts in the middle."""
    path = folder / "002-bad.png"
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "truncated":
        path.write_bytes((folder / "000.png").read_bytes()[:-40])
    elif kind == "noise":
        path.write_bytes(bytes(range(256)) * 8)
    elif kind == "text":
        path.write_text("not an image")
    else:
        path = path.with_suffix(".tif")
        pixels = np.ones((16, 16), np.float32)
        pixels[3, 4] = {"nan": np.nan, "infinite": np.inf}[kind]
        tifffile.imwrite(path, pixels)
    return path


BAD = ["empty", "truncated", "noise", "text", "nan", "infinite"]


@pytest.fixture(scope="module")
def good_rows(tmp_path_factory: pytest.TempPathFactory, model: Path) -> dict[str, dict[str, str]]:
    """What four good images score without company."""
    folder = tmp_path_factory.mktemp("good")
    good("score", model, write(folder / "data", queries(4)), "--out", folder / "out", "--no-pictures")
    return rows(folder / "out")


@pytest.mark.parametrize("kind", BAD)
def test_one_bad_file_among_many_is_a_row_with_its_error(
    places: dict[str, Path], kind: str, good_rows: dict[str, dict[str, str]]
) -> None:
    data = write(places["tmp"] / "data", queries(4))
    bad = _damage(data, kind)
    outcome = good("score", places["model"], data, "--out", places["new"])
    assert "1 with an error" in outcome.out
    found = rows(places["new"])
    row = found.pop(bad.name)
    assert (row["score"], row["status"], row["anomalous"]) == ("nan", "error", "")
    assert bad.name in row["error"]
    assert "\n" not in row["error"]
    assert found == good_rows  # the others do not notice
    assert leftovers(places["new"]) == []


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_alone_is_an_error(places: dict[str, Path], kind: str) -> None:
    data = write(places["tmp"] / "data", queries(1))
    bad = _damage(data, kind)
    (data / "000.png").unlink()
    outcome = run("score", places["model"], data, "--out", places["new"])
    assert outcome.code == 2
    assert bad.name in outcome.error
    assert leftovers(places["new"]) == []
    _damage(write(data, queries(1)), kind).rename(data / f"other{bad.suffix}")  # two bad ones, and nothing else
    _damage(data, kind)
    (data / "000.png").unlink()
    message = refused(places | {"normals": data}, TRAIN)
    assert bad.name in message or f"other{bad.suffix}" in message


def test_bad_files_among_the_training_images_are_left_out_and_named(places: dict[str, Path]) -> None:
    data = write(places["tmp"] / "data", normals(30))
    for kind in ("truncated", "empty"):
        _damage(data, kind).rename(data / f"{kind}.png")
    outcome = good("train", data, "--out", places["new"], *sets("training.steps=1"))
    assert "2 images left out, the first:" in outcome.err
    assert "empty.png" in outcome.err
    assert "30 normal images" in outcome.err


def test_mostly_bad_training_images_are_refused(places: dict[str, Path]) -> None:
    data = write(places["tmp"] / "data", normals(4))
    for number in range(9):
        (data / f"x{number}.png").write_text("no image")
    assert "cannot be used; the first" in refused(places | {"normals": data}, TRAIN)


def test_mixed_sizes_and_modes_work_with_notes(places: dict[str, Path]) -> None:
    data = write(places["tmp"] / "data", normals(24))
    Image.fromarray(np.kron(normals(1)[0], np.ones((2, 3), np.uint8))).save(data / "large.png")
    Image.fromarray(np.stack([normals(1)[0] // k for k in (1, 2, 3)], axis=2)).save(data / "colour.png")
    Image.fromarray(normals(1)[0]).convert("RGBA").save(data / "alpha.png")
    Image.fromarray(normals(2)[1] > 99).save(data / "binary.png")
    Image.fromarray(normals(3)[2]).convert("P").save(data / "palette.gif")
    outcome = good("train", data, "--out", places["new"], *sets("training.steps=1"))
    assert "sizes from 16x16 to 48x32" in outcome.err
    assert "in colour" in outcome.err
    good("score", places["new"], data, "--out", places["tmp"] / "scores")
    assert {row["error"] for row in rows(places["tmp"] / "scores").values()} == {""}


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (normals(1), "one single image"),
        (np.repeat(normals(1), 8, axis=0), "identical"),
        (np.arange(8, dtype=np.uint8)[:, None, None] * np.ones((8, 16, 16), np.uint8), "flat colour"),
    ],
)
def test_too_little_to_learn_from(places: dict[str, Path], images: Any, said: str) -> None:
    data = write(places["tmp"] / "data", images)
    assert said in refused(places | {"normals": data}, TRAIN)


def test_extreme_images_get_finite_scores(places: dict[str, Path]) -> None:
    data = places["tmp"] / "data"
    flat = [np.full((16, 16), value, np.uint8) for value in (0, 255)]
    write(data, [*flat, np.zeros((1, 1), np.uint8), np.zeros((1, 300), np.uint8), np.eye(300, dtype=np.uint8) * 255])
    tifffile.imwrite(data / "huge.tif", np.full((16, 16), 3e38, np.float32))
    good("score", places["model"], data, "--out", places["new"])
    for name, row in rows(places["new"]).items():
        assert row["error"] or np.isfinite(float(row["score"])), name
        assert bool(row["error"]) == (row["status"] in ("error", "no_counterpart"))
    assert sum(not row["error"] for row in rows(places["new"]).values()) >= 5


def test_names_that_a_terminal_could_obey(places: dict[str, Path]) -> None:
    """Markup, terminal codes, line breaks, emoji names, and bytes that are no text."""
    data = places["tmp"] / "data"
    for number, name in enumerate(("[bold]a[/bold]", ":smile:", "\x1b[31mred", "two\nlines", "\udcff")):
        try:
            Image.fromarray(queries(5)[number]).save(data / f"{name}.png") if data.is_dir() else write(data, queries(1))
        except (OSError, UnicodeError):
            continue
    outcome = good("score", places["model"], data, "--out", places["new"])
    assert "\x1b" not in outcome.out
    assert len(rows(places["new"])) >= 2
    for name in ("[bold]x[/bold]", ":smile:", "\x1b[31mred", "two\nlines", "\udcff"):
        message = refused(places, ("info", str(places["tmp"] / name).replace("{", "{{")))
        assert "does not exist" in message
        assert message.isprintable()
    assert "[bold]x[/bold]" in refused(places, ("info", "{tmp}/[bold]x[/bold]"))


# -- models ---------------------------------------------------------------------------


class Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.mark),)


def _swap(folder: Path, before: bytes, after: bytes) -> None:
    """Change bytes of the weights, with a bundle.json whose hash fits."""
    data = (folder / "weights.safetensors").read_bytes()
    assert before in data
    forge(folder, data.replace(before, after, 1))


def _corrupt(folder: Path) -> None:
    """One weight becomes NaN."""
    tensors = weights(folder)
    next(tensor for tensor in tensors.values() if tensor.is_floating_point()).view(-1)[0] = float("nan")
    forge(folder, save(tensors))


def _set_spec(folder: Path, **values: Any) -> None:
    edit(folder, lambda document: document["spec"].update(values))


def _set_network(folder: Path, **values: Any) -> None:
    edit(folder, lambda document: document["settings"]["networks"].update(values))


def _link_out(folder: Path) -> None:
    shutil.move(folder / "weights.safetensors", folder.parent / "elsewhere.safetensors")
    (folder / "weights.safetensors").symlink_to(folder.parent / "elsewhere.safetensors")


def _half(folder: Path, name: str) -> None:
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])


def _flip(folder: Path) -> None:
    data = bytearray((folder / "weights.safetensors").read_bytes())
    data[-20] ^= 1
    (folder / "weights.safetensors").write_bytes(data)


ATTACKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "half the weights": (lambda folder: _half(folder, "weights.safetensors"), "truncated"),
    "half the json": (lambda folder: _half(folder, "bundle.json"), "truncated or damaged"),
    "no weights": (lambda folder: (folder / "weights.safetensors").unlink(), "weights.safetensors"),
    "no json": (lambda folder: (folder / "bundle.json").unlink(), "bundle.json"),
    "one bit": (_flip, "SHA-256"),
    "another program's": (lambda folder: edit(folder, lambda d: d.update(format="other")), "not a model of AnoTwin"),
    "newer schema": (lambda folder: edit(folder, lambda d: d.update(schema=99)), "newer AnoTwin"),
    "unknown method": (lambda folder: edit(folder, lambda d: d.update(method="gan9")), "no method 'gan9'"),
    "path for a method": (lambda folder: edit(folder, lambda d: d.update(method="../../evil")), "method"),
    "unknown key": (lambda folder: edit(folder, lambda d: d.update(run="rm -r")), "run"),
    "impossible size": (lambda folder: _set_spec(folder, size=2**40), "size"),
    "another size": (lambda folder: _set_spec(folder, size=64), "is missing"),
    "absurd width": (lambda folder: _set_network(folder, base_channels=10**12), "base_channels"),
    "wider than its weights": (lambda folder: _set_network(folder, base_channels=512, latent_dim=4096), "expected"),
    "impossible layer": (lambda folder: _set_network(folder, feature_layer=-9), "feature_layer"),
    "pickle as weights": (lambda folder: forge(folder, pickle.dumps(Bomb(folder / "executed"), 2)), "never unpickles"),
    "absurd shape": (lambda folder: forge(folder, raw({"g.w": entry(shape=[2**62, 2])}, bytes(8))), "impossible shape"),
    "absurd header": (lambda folder: forge(folder, raw({"g.w": entry()}, bytes(8), length=2**63)), "no header"),
    "foreign tensors": (lambda folder: forge(folder, raw({"g.w": entry()}, bytes(8))), "is missing"),
    "renamed tensor": (lambda folder: _swap(folder, b'"generator.', b'"generatoR.'), "is missing"),
    "unknown view": (lambda folder: _set_spec(folder, view="nowhere"), "this AnoTwin has the views whole, retina"),
    "another view": (lambda folder: _set_spec(folder, view="retina"), "expected"),
    "NaN weights": (_corrupt, "NaN"),
    "link out of the folder": (_link_out, "symbolic link"),
}


@pytest.mark.skipif(sys.platform == "win32", reason="links take rights there")
@pytest.mark.parametrize("attack", list(ATTACKS))
def test_a_model_that_cannot_be_trusted(places: dict[str, Path], attack: str) -> None:
    harm, said = ATTACKS[attack]
    harm(places["copy"])
    message = refused(places, ("info", "{copy}"))
    assert said in message
    assert refused(places, ("score", "{copy}", "{queries}", "--out", "{new}")) == message
    assert not places["new"].exists()
    assert not (places["copy"] / "executed").exists()


def test_a_run_of_a_stranger_with_paths_in_it(places: dict[str, Path]) -> None:
    """run.json names a method, which becomes no path and loads nothing."""
    (run_json,) = places["copy"].glob("runs/*/run.json")
    document = json.loads(run_json.read_text())
    del document["sha256"]  # a stranger could write the right one
    run_json.write_text(json.dumps(document | {"method": "../../evil"}))
    assert "no method '../../evil'" in refused(places, ("train", "{normals}", "--out", "{copy}", "--resume"))


# -- the machine ---------------------------------------------------------------------------


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """A disk of so many KiB, where this machine lets us mount one; called again, another size for it."""
    mounted: list[Path] = []

    def mount(kib: int) -> Path:
        folder = tmp_path / "disk"
        folder.mkdir(exist_ok=True)
        how = f"remount,size={kib}k" if mounted else f"size={kib}k"
        command = ["mount", "-t", "tmpfs", "-o", how, "tmpfs", str(folder)]
        if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("cannot mount a tiny disk here")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted[:1]:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("snapshots", [None, 0, 1])
def test_training_onto_a_full_disk(
    places: dict[str, Path], tiny_disk: Callable[[int], Path], snapshots: int | None
) -> None:
    """Full at the start, at the first snapshot, at the second one."""
    one = max(path.stat().st_size for path in places["model"].rglob("snapshot-*.pt")) / 1024  # KiB
    disk = tiny_disk(4 if snapshots is None else 16 + round(1.2 * snapshots * one))
    if snapshots is None:
        (disk / "filler").write_bytes(bytes(4096))
    outcome = run("train", places["normals"], "--out", disk / "model", *sets())
    assert outcome.code in (1, 2)
    assert str(disk / "model") in outcome.error
    assert "free space" in outcome.error
    assert leftovers(disk) == []
    assert not (disk / "model" / "bundle.json").exists()
    assert len(list(disk.rglob("snapshot-*.pt"))) == (snapshots or 0)
    if snapshots is not None:  # the run is there: with more space it goes on, from its snapshot or from the start
        tiny_disk(16384)  # a model of twin has room for 4,096 descriptors
        good("train", places["normals"], "--out", disk / "model", "--resume")
        assert same_weights(disk / "model", places["model"])


def test_scoring_onto_a_full_disk_goes_on_elsewhere(places: dict[str, Path], tiny_disk: Callable[[int], Path]) -> None:
    disk = tiny_disk(24)
    outcome = run("score", places["model"], places["queries"], "--out", disk / "out")
    assert outcome.code in (1, 2)
    assert str(disk / "out") in outcome.error
    assert [name for name in leftovers(disk) if ".tmp" in name] == []
    assert not (disk / "out" / "scores.csv").exists()
    good("score", places["model"], places["queries"], "--out", places["new"])


def test_a_disk_that_fills_up_while_the_model_is_saved(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model that was there stays whole."""
    honest = files._sync

    def full(path: Path) -> None:
        if path.suffix in (".safetensors", ".json") and path.parent == places["copy"]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        honest(path)

    monkeypatch.setattr(files, "_sync", full)
    outcome = run("train", places["normals"], "--out", places["copy"], *sets("training.steps=2"))
    assert outcome.code in (1, 2)
    assert "free space" in outcome.error
    monkeypatch.undo()
    assert same_weights(places["copy"], places["model"])
    good("info", places["copy"])
    assert leftovers(places["copy"]) == []


def test_ctrl_c_while_scoring_keeps_what_is_done(places: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Detector, "findings", stopped_after(3))
    outcome = run("score", places["model"], places["queries"], "--out", places["new"])
    assert outcome.code == 130
    assert outcome.error == "stopped; what was finished is kept"
    assert (places["new"] / "scores.csv.partial").read_text().count("\n") == 4
    assert not (places["new"] / "scores.csv").exists()
    assert [name for name in leftovers(places["new"]) if ".tmp" in name] == []
    monkeypatch.undo()
    good("score", places["model"], places["queries"], "--out", places["new"])
    assert len(rows(places["new"])) == 8
    assert leftovers(places["new"]) == []


@pytest.mark.parametrize("words", [EVALUATE, CALIBRATE])
def test_ctrl_c_elsewhere_changes_nothing(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    def stop(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("anotwin.detector.score_stream", stop)
    monkeypatch.setattr("anotwin.detector.normal_scores", stop)
    assert refused(places, words, code=130) == "stopped; what was finished is kept"


@pytest.mark.parametrize(
    ("trouble", "code", "said"),
    [
        (MemoryError(), 1, "out of memory; lower"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), 1, "out of memory"),
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried\nto allocate"), 1, "out of memory"),
        (OSError(errno.EIO, "Input/output error", "/some/file"), 1, "/some/file: Input/output error"),
    ],
)
def test_trouble_of_the_machine(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch, trouble: Exception, code: int, said: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise trouble

    monkeypatch.setattr(Detector, "load", fail)
    assert said in refused(places, ("info", "{model}"), code=code)


def test_a_bug_of_ours_is_not_dressed_up_as_a_mistake_of_theirs(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Detector, "load", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        run("info", places["model"])


def test_evaluate_counts_files_that_fail(places: dict[str, Path]) -> None:
    data = shutil.copytree(places["queries"], places["tmp"] / "data")
    (data / "bad" / "broken.png").write_bytes(b"broken")
    outcome: Outcome = good("evaluate", places["model"], data, "--json", places["tmp"] / "n.json")
    numbers = json.loads((places["tmp"] / "n.json").read_text())
    assert (numbers["n_normal"], numbers["n_abnormal"], numbers["n_failed"]) == (4, 4, 1)
    assert "1 failed" in outcome.out


def test_the_shared_model_is_as_it_was(model: Path) -> None:
    """All these commands had it at hand; none may have written to it."""
    document = json.loads((model / "bundle.json").read_text())
    data = (model / "weights.safetensors").read_bytes()
    assert hashlib.sha256(data).hexdigest() == document["weights_sha256"]
    assert sorted(path.name for path in model.iterdir()) == ["bundle.json", "runs", "weights.safetensors"]


@pytest.mark.parametrize("words", [("--view", "nowhere"), ("--method", "twim"), ("--set", "data.layout=zip")])
def test_a_training_that_cannot_begin_leaves_no_folder(
    tmp_path: Path, normal_folder: Path, words: tuple[str, str]
) -> None:
    assert run("train", normal_folder, "--out", tmp_path / "model", *words).error
    assert not (tmp_path / "model").exists()
