"""Other libraries' detectors on surfaces: processes with a stub for their environment; what is ours in them by hand."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.surfaces import other_libraries as peers
from benchmarks.surfaces.peers import draem, ganomaly, outcome, patchcore, runner

STUB = """
import os, sys, time
import numpy as np

name, options = sys.argv[1], dict(zip(sys.argv[2::2], sys.argv[3::2]))
with np.load(options["--data"]) as arrays:
    assert all(key.startswith(("train", "test")) for key in arrays)  # no labels
    test = [arrays[key] for key in sorted(arrays) if key.startswith("test")]
    level = sum(arrays[key].mean() for key in arrays if key.startswith("train"))
if name == "crashes":
    print("a warning", file=sys.stderr)
    sys.exit("Segmentation fault, say")
if name == "sleeps":
    time.sleep(60)
maps = {f"map{n:06d}": each.reshape(*each.shape[:2], -1).mean(axis=2) for n, each in enumerate(test)}
scores = np.array([each.mean() for each in test]) + level
if name == "is NaN":
    scores[0] = np.nan
if name == "has other maps":
    maps["map000000"] = np.zeros((1, 1))
if name == "has none":
    maps = {}
note = f"seed {options['--seed']}, GPU {os.environ['CUDA_VISIBLE_DEVICES']!r}"
about = {"seconds": 0.5, "training_seconds": float(options["--minutes"]), "note": note}
if name != "is silent":
    np.savez(options["--out"], scores=scores, **about, **maps)
"""
ENDINGS = ("works", "has none", "crashes", "is NaN", "has other maps", "is silent", "sleeps")


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
    monkeypatch.setattr(peers, "PEERS", {name: name for name in ENDINGS})
    return peers


def images() -> list[Any]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, shape).astype(np.uint8) for shape in ((6, 9), (7, 5, 3), (6, 9))]


def test_whatever_a_detector_does_there_is_an_outcome(stubbed: Any) -> None:
    train, test = images()[:1], images()
    assert stubbed.installed()
    found = {name: stubbed.peer_outcome(name, train, test, 7, 0.25) for name in ENDINGS[:-1]}
    works = found["works"]
    np.testing.assert_allclose(works.columns["score"], [each.mean() + train[0].mean() for each in test])
    flat = np.concatenate([each.reshape(*each.shape[:2], -1).mean(axis=2).ravel() for each in test])
    np.testing.assert_allclose(works.columns["heat"], flat)
    assert (works.seconds, works.training, works.note, works.error) == (0.5, 0.25, "seed 7, GPU ''", "")
    assert list(found["has none"].columns) == ["score"]
    assert {name: each.error for name, each in found.items() if each.error} == {
        "crashes": "its process ended with code 1: Segmentation fault, say",
        "is NaN": "scores of shape (3,), expected (3,) finite ones",
        "has other maps": "3 maps that do not have the shapes of the 3 images",
        "is silent": "its process ended with code 0: no message",
    }
    assert stubbed.peer_outcome("sleeps", train, test, 0, 0.0, patience=1.0).error == "not done after 1 s"
    (stubbed.HOME / "bin" / "python").unlink()
    assert "'make peers' mends it" in stubbed.peer_outcome("works", train, test, 0, 0.0).error


def test_the_runner_calls_the_detector_and_writes_what_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(task: outcome.Task) -> outcome.Outcome:
        assert (len(task.train), task.seed, task.minutes) == (2, 3, 0.5)
        maps = [image.reshape(*image.shape[:2], -1)[..., 0].astype(np.float32) for image in task.test]
        return outcome.Outcome(np.arange(3, dtype=np.float32), maps, 1.5, 2.5, "noted")

    monkeypatch.setattr(patchcore, "run", run)
    data, out = tmp_path / "images.npz", tmp_path / "scores.npz"
    peers.write_images(data, images()[:2], images())
    given = ["patchcore", "--data", str(data), "--out", str(out), "--seed", "3", "--minutes", "0.5"]
    assert runner.main(given) == 0
    found = peers._read(out, images())
    assert found.columns["score"].tolist() == [0, 1, 2]
    np.testing.assert_array_equal(found.columns["heat"][: 6 * 9], images()[0].ravel())
    assert (found.training, found.seconds, found.note) == (1.5, 2.5, "noted")
    assert set(peers.PEERS.values()) == set(runner.DETECTORS)


def test_the_coreset_takes_the_farthest_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = torch.from_numpy(np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32))
    monkeypatch.setattr(torch, "randn", lambda *shape, **_: torch.eye(*shape) * shape[1] ** 0.5)  # no projection
    chosen = patchcore.coreset(vectors, 12, torch.Generator().manual_seed(0))
    distances = torch.cdist(vectors, vectors)
    places = [int((vectors == row).all(1).nonzero()) for row in chosen]
    for count in range(1, 12):
        nearest = distances[:, places[:count]].amin(1)
        assert nearest[places[count]] == pytest.approx(float(nearest.max()))
    assert len(set(places)) == 12


def test_the_weight_of_the_paper_by_hand() -> None:
    bank = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 3.0]])
    patch = torch.tensor([0.0, -2.0])
    near, others = 2.0, np.array([2.0, 5**0.5, 5.0])  # distances of the patch to all, as few are in the bank
    expected = (1 - np.exp(near) / np.exp(others).sum()) * near
    assert patchcore.reweighted(patch, bank) == pytest.approx(expected)


def test_images_of_any_size_and_colour_are_stretched() -> None:
    pixels = patchcore.stretched(images(), 8)
    assert pixels.shape == (3, 3, 8, 8)
    assert torch.equal(pixels[0, 0], pixels[0, 2])  # grey
    flat = patchcore.stretched([np.full((5, 9), 255, np.uint8)], 8)
    assert flat.numpy() == pytest.approx(np.ones((1, 3, 8, 8)))
    assert ganomaly.stretched([images()[0]], 8).shape == (1, 8, 8)
    assert ganomaly.stretched([images()[1]], 8).shape == (1, 8, 8, 3)
    assert ganomaly.stretched([np.full((5, 9), 200, np.uint8)], 8).tolist() == [[[200] * 8] * 8]
    assert patchcore._native(torch.ones(2, 3), (5, 9), 16) == pytest.approx(np.ones((5, 9)))


def test_procedural_textures_are_of_many_kinds_and_seeded() -> None:
    rng, again = np.random.default_rng(0), np.random.default_rng(0)
    made = [draem.texture(rng, 32) for _ in range(8)]
    assert all((each == draem.texture(again, 32)).all() for each in made)
    assert all(each.shape == (32, 32, 3) and each.dtype == np.uint8 and each.std() > 3 for each in made)
    assert draem._tensor(np.zeros((2, 4, 4, 3), np.uint8)).shape == draem._tensor(np.zeros((2, 4, 4), np.uint8)).shape
