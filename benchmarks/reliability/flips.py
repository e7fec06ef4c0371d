"""One flipped bit in a file that AnoTwin wrote and reads again.

What survives: the command refuses the file on one line, or ends with the files of one that read the undamaged file. A
result that differs without a word is wrong.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.reliability.commands import Words, at_operation, files_of, killed, run
from benchmarks.reliability.kills import Counted, sets, trained, write_images


def flips(work: Path, most: int, seed: int = 0) -> Iterator[Counted]:
    """Up to `most` bits of each file, one at a time, at random places."""
    data = write_images(work / "data")
    model = trained(data, work / "model")
    for case in (*_of_model(model, data, work), *_of_training(data, work), *_of_scoring(model, data, work)):
        yield _flipped(case, work / "flipped", most, seed)


@dataclass(frozen=True)
class _Case:
    """A file that is read again."""

    kind: str
    folder: Path  # of which each flip gets a copy
    file: Path  # below the folder
    command: Callable[[Path], Words]  # that reads it, for a copy of the folder
    same: Callable[[Path], bool]  # whether the command ended with the files of one that read the undamaged file


def _of_model(model: Path, data: Path, work: Path) -> Iterator[_Case]:
    out = work / "scores"

    def score(folder: Path) -> Words:
        shutil.rmtree(out, ignore_errors=True)
        return ["score", folder, data, "--out", out, "--no-pictures"]

    run(score(model))
    expected = (out / "scores.csv").read_bytes()
    for name in ("bundle.json", "weights.safetensors"):
        yield _Case(f"model: {name}", model, Path(name), score, lambda _: (out / "scores.csv").read_bytes() == expected)


def _of_training(data: Path, work: Path) -> Iterator[_Case]:
    """A training that ended after its second snapshot, and goes on; of acae, whose steps do not depend on how many."""
    stopped, whole = work / "stopped", work / "whole"
    run(["train", data, "--out", stopped, "--method", "acae", *sets("training.steps=20")])
    run(["train", data, "--out", whole, "--method", "acae", *sets()])
    expected = (whole / "weights.safetensors").read_bytes()

    def resume(folder: Path) -> Words:
        return ["train", data, "--out", folder, "--resume", *sets()]

    (folder,) = (stopped / "runs").iterdir()
    for path in sorted(path for path in folder.iterdir() if path.suffix != ".png"):
        yield _Case(
            f"run: {path.name}",
            stopped,
            path.relative_to(stopped),
            resume,
            lambda copy: (copy / "weights.safetensors").read_bytes() == expected,
        )


def _of_scoring(model: Path, data: Path, work: Path) -> Iterator[_Case]:
    """A scoring that was killed after some of its rows, and goes on."""
    stopped, whole = work / "partly", work / "scored"

    def score(folder: Path) -> Words:
        return ["score", model, data, "--out", folder]

    run(score(whole))
    expected = dict(files_of(whole))
    run(score(stopped), at_operation(stopped, 20, killed))
    kept = [path for path in stopped.iterdir() if path.is_file() and not path.name.startswith(".tmp")]
    for path in sorted(kept):
        yield _Case(
            f"score: {path.name}", stopped, Path(path.name), score, lambda copy: dict(files_of(copy)) == expected
        )


def _flipped(case: _Case, copy: Path, most: int, seed: int) -> Counted:
    counted, draw = Counted(f"one bit of {case.kind}"), random.Random(f"{seed} {case.kind}")
    content = (case.folder / case.file).read_bytes()
    for _ in range(most if content else 0):
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(case.folder, copy)
        data = bytearray(content)
        bit = draw.randrange(8 * len(data))
        data[bit // 8] ^= 1 << bit % 8
        (copy / case.file).write_bytes(data)
        outcome = run(case.command(copy))
        counted.add(f"bit {bit}", outcome, outcome.refused or (outcome.code == 0 and case.same(copy)))
    return counted
