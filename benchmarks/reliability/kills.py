"""Commands that are killed, or whose disk is full, at one file operation after the other, and called again.

What survives: the command called again ends with the files of one that was never disturbed, to the bit; in between, a
model folder holds the old model, the new one, or none and says so on one line.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from anotwin.data.synthetic import textured_discs
from benchmarks.reliability.commands import (
    Outcome,
    Words,
    at_operation,
    count_operations,
    disk_full,
    files_of,
    killed,
    run,
)

SMALL = (
    "networks.base_channels=4",
    "networks.latent_dim=8",
    "networks.memory=64",
    "training.steps=30",
    "training.batch_size=8",
    "training.snapshot_every=10",
    "training.sample_every=10",
    "search.steps=4",
    "calibration.false_alarm_rate=0.2",
    "data.image_size=16",
)


@dataclass
class Counted:
    """Of one kind of fault: how many were tried and how each ended."""

    kind: str
    tried: int = 0
    survived: int = 0
    tracebacks: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)  # a result that differs without a word

    def add(self, where: str, outcome: Outcome, right: bool) -> None:
        """`right`: the outcome is one that a user can accept."""
        self.tried += 1
        if outcome.traceback:
            self.tracebacks.append(f"{where}: {outcome.said.strip().splitlines()[-1]}")
        elif right:
            self.survived += 1
        else:
            self.wrong.append(f"{where}: exit {outcome.code}: {outcome.said.strip()[-300:]}")


def sets(*more: str) -> list[str]:
    """Settings of a training of a second."""
    return [word for assignment in (*SMALL, *more) for word in ("--set", assignment)]


def write_images(root: Path) -> Path:
    """40 normals to train on; to score 6 normals and 6 abnormal ones with masks."""
    _save(root / "train/good", textured_discs(40, 16, seed=0)[0])
    _save(root / "test/good", textured_discs(6, 16, seed=1)[0])
    abnormal, masks = textured_discs(6, 16, seed=2, abnormal=True)
    _save(root / "test/defect", abnormal)
    _save(root / "ground_truth/defect", masks.astype(np.uint8) * 255, "_mask")
    return root


def _save(folder: Path, images: np.ndarray, suffix: str = "") -> None:
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:03d}{suffix}.png")


def trained(data: Path, out: Path) -> Path:
    """A small model."""
    outcome = run(["train", data, "--out", out, *sets()])
    if outcome.code:
        raise SystemExit(outcome.said)
    return out


def kills(work: Path, most: int, seed: int = 0) -> Iterator[Counted]:
    """Each command killed at up to `most` file operations, on a full disk from them on, and at random moments."""
    data = write_images(work / "data")
    model = trained(data, work / "model")
    for name, (fresh, words, again) in _commands(data, model, work).items():
        for kind, act in (("killed at a file operation", killed), ("full disk", disk_full)):
            counted = Counted(f"{name}: {kind}")
            expected, total = _undisturbed(fresh, words, work / "out")
            for number in _spread(total, most):
                out = fresh()
                run(words(out), at_operation(out, number, act))
                _try_again(counted, f"operation {number} of {total}", out, again, expected)
            yield counted
        counted = Counted(f"{name}: killed at a random moment")
        began = time.monotonic()
        run(words(fresh()))
        longest, draw = time.monotonic() - began, random.Random(seed)
        for _ in range(most):
            out, after = fresh(), draw.uniform(0, longest)
            run(words(out), kill_after=after)
            _try_again(counted, f"after {after:.3f} s", out, again, expected)
        yield counted


Fresh = Callable[[], Path]
Command = Callable[[Path], Words]


def _commands(data: Path, model: Path, work: Path) -> dict[str, tuple[Fresh, Command, Command]]:
    """name -> what makes the folder that it writes into, the command, and the command that goes on after a fault."""
    out = work / "out"

    def empty() -> Path:
        shutil.rmtree(out, ignore_errors=True)
        return out

    def copied() -> Path:
        shutil.copytree(model, empty(), ignore=shutil.ignore_patterns("runs"))
        return out

    def train(into: Path) -> Words:
        return ["train", data, "--out", into, *sets()]

    def resume(into: Path) -> Words:
        begun = any(into.glob("runs/*/run.json"))
        return ["train", data, "--out", into, *(["--resume"] if begun else []), *sets()]

    def score(into: Path) -> Words:
        return ["score", model, data, "--out", into]

    def calibrate(into: Path) -> Words:
        return ["calibrate", into, data, "--false-alarm-rate", "0.25"]

    def evaluate(into: Path) -> Words:
        return ["evaluate", model, data, "--json", into / "numbers.json"]

    return {
        "train": (empty, train, resume),
        "score": (empty, score, score),
        "calibrate": (copied, calibrate, calibrate),
        "evaluate": (empty, evaluate, evaluate),
    }


def _undisturbed(fresh: Fresh, words: Command, out: Path) -> tuple[dict[str, bytes], int]:
    total = count_operations(words(fresh()), out)
    return dict(files_of(out)), total


def _try_again(counted: Counted, where: str, out: Path, again: Command, expected: dict[str, bytes]) -> None:
    between = run(["info", out]) if (out / "bundle.json").exists() else None
    outcome = run(again(out))
    if between is not None and between.code and not between.refused:
        outcome = between
    found = files_of(out) if out.exists() else {}
    differing = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    right = outcome.code == 0 and not differing
    counted.add(f"{where} ({', '.join(differing[:4]) or 'same files'})", outcome, right)


def _spread(total: int, most: int) -> list[int]:
    """Up to `most` of 0 .. total - 1, evenly spaced."""
    return sorted({int(place) for place in np.linspace(0, total - 1, min(total, most))})
