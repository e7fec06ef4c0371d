"""One flipped bit in a file that AnoTwin wrote and reads again.

What survives: the command refuses the file on one line, or ends with the files of one that read the undamaged file. A
result that differs without a word is wrong.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.reliability.commands import Words, at_operation, files_of, killed, run
from benchmarks.reliability.kills import Counted, sets, trained, write_images


def flips(work: Path, most: int, seed: int = 0) -> Iterator[Counted]:
    """Up to `most` bits of each file, one at a time, at random places."""
    data = write_images(work / "data")
    model = trained(data, work / "model")
    yield from _of_model(model, data, work, most, seed)
    yield from _of_training(data, work, most, seed)
    yield from _of_scoring(model, data, work, most, seed)


def _of_model(model: Path, data: Path, work: Path, most: int, seed: int) -> Iterator[Counted]:
    out, other = work / "scores", work / "flipped"

    def score(folder: Path) -> Words:
        shutil.rmtree(out, ignore_errors=True)
        return ["score", folder, data, "--out", out, "--no-pictures"]

    run(score(model))
    expected = (out / "scores.csv").read_bytes()
    for name in ("bundle.json", "weights.safetensors"):
        yield _flipped(
            f"model: {name}",
            lambda: _copied(model, other),
            lambda folder, name=name: folder / name,  # type: ignore[misc]
            score,
            lambda _folder: (out / "scores.csv").read_bytes() == expected,
            most,
            seed,
        )


def _of_training(data: Path, work: Path, most: int, seed: int) -> Iterator[Counted]:
    """A training that ended after its second snapshot, and goes on; of acae, whose steps do not depend on how many."""
    stopped, whole, other = work / "stopped", work / "whole", work / "resumed"
    shutil.rmtree(stopped, ignore_errors=True)
    run(["train", data, "--out", stopped, "--method", "acae", *sets("training.steps=20")])
    run(["train", data, "--out", whole, "--method", "acae", *sets()])
    expected = (whole / "weights.safetensors").read_bytes()

    def resume(folder: Path) -> Words:
        return ["train", data, "--out", folder, "--resume", *sets()]

    (folder,) = (stopped / "runs").iterdir()
    for path in sorted(path for path in folder.iterdir() if path.suffix != ".png"):
        inside = path.relative_to(stopped)
        yield _flipped(
            f"run: {path.name}",
            lambda: _copied(stopped, other),
            lambda copy, inside=inside: copy / inside,  # type: ignore[misc]
            resume,
            lambda copy: (copy / "weights.safetensors").read_bytes() == expected,
            most,
            seed,
        )


def _of_scoring(model: Path, data: Path, work: Path, most: int, seed: int) -> Iterator[Counted]:
    """A scoring that was killed after some of its rows, and goes on."""
    stopped, whole, other = work / "partly", work / "scored", work / "again"

    def score(folder: Path) -> Words:
        return ["score", model, data, "--out", folder]

    run(score(whole))
    expected = dict(files_of(whole))
    shutil.rmtree(stopped, ignore_errors=True)
    run(score(stopped), at_operation(stopped, 20, killed))
    kept = [path for path in stopped.iterdir() if path.is_file() and not path.name.startswith(".tmp")]
    for path in sorted(kept):
        yield _flipped(
            f"score: {path.name}",
            lambda: _copied(stopped, other),
            lambda copy, name=path.name: copy / name,  # type: ignore[misc]
            score,
            lambda copy: dict(files_of(copy)) == expected,
            most,
            seed,
        )


def _flipped(
    kind: str,
    fresh: Callable[[], Path],
    file: Callable[[Path], Path],
    command: Callable[[Path], Words],
    same: Callable[[Path], bool],
    most: int,
    seed: int,
) -> Counted:
    counted, draw = Counted(f"one bit of {kind}"), random.Random(f"{seed} {kind}")
    for _ in range(most):
        folder = fresh()
        path = file(folder)
        data = bytearray(path.read_bytes())
        if not data:
            break
        bit = draw.randrange(8 * len(data))
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        outcome = run(command(folder))
        counted.add(f"bit {bit}", outcome, outcome.refused or (outcome.code == 0 and same(folder)))
    return counted


def _copied(folder: Path, target: Path) -> Path:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(folder, target)
    return target
