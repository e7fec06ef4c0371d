"""Trainings of a second and commands in this process, for tests that need the whole of AnoTwin."""

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from anotwin import Detector
from anotwin.cli import _run
from anotwin.data.synthetic import textured_discs
from anotwin.settings import Settings

SMALL = (
    "networks.base_channels=4",
    "networks.latent_dim=8",
    "training.steps=30",
    "training.batch_size=8",
    "training.snapshot_every=10",
    "search.steps=4",
    "calibration.false_alarm_rate=0.2",
)
NORMALS, QUERIES, SIDE = 60, 4, 16


def settings(*overrides: str) -> Settings:
    return Settings().with_overrides([*SMALL, *overrides])


def sets(*overrides: str) -> list[str]:
    """The same for the command line."""
    return [word for assignment in (*SMALL, *overrides) for word in ("--set", assignment)]


def normals(count: int = NORMALS, seed: int = 0) -> np.ndarray[Any, Any]:
    return textured_discs(count, SIDE, seed)[0]


def queries(count: int = QUERIES, abnormal: bool = True) -> np.ndarray[Any, Any]:
    return textured_discs(count, SIDE, seed=7, abnormal=abnormal)[0]


def write(folder: Path, images: Iterable[Any], stem: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{stem}{number:03d}.png")
    return folder


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line behind "error:"; fails unless there is exactly one and nothing looks like a traceback."""
        assert "Traceback" not in self.err + self.out
        (line,) = [line for line in self.err.splitlines() if line.startswith("error:")]
        assert self.err.rstrip("\n").endswith(line)  # the last word on stderr, on one line
        assert len(line) < 900
        return line.removeprefix("error:").strip()


def run(*words: Any) -> Outcome:
    """A command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = _run([str(word) for word in words])
    return Outcome(code, out.getvalue(), err.getvalue())


def good(*words: Any) -> Outcome:
    """A command that must succeed."""
    outcome = run(*words)
    assert outcome.code == 0, outcome.err
    assert "error:" not in outcome.err
    return outcome


def launch(*words: Any) -> "subprocess.Popen[str]":
    """A command in a process of its own, computing on as many threads as this one, to the same last bit."""
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads()), "OMP_WAIT_POLICY": "PASSIVE"}
    return subprocess.Popen(
        [sys.executable, "-m", "anotwin.cli", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def weights(model: Path) -> dict[str, torch.Tensor]:
    return load_file(model / "weights.safetensors")


def same_weights(one: Path, other: Path) -> bool:
    a, b = weights(one), weights(other)
    return set(a) == set(b) and all(torch.equal(a[name], b[name]) for name in a)


def leftovers(folder: Path) -> list[str]:
    """Files that only half-done work leaves."""
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if ".tmp" in path.name or ".next" in path.name or ".partial" in path.name
    )


def stopped_after(count: int) -> Callable[..., Iterator[Any]]:
    """`Detector.findings` that is stopped by Ctrl-C after so many."""
    honest = Detector.findings

    def findings(self: Detector, *args: Any, **more: Any) -> Iterator[Any]:
        for number, finding in enumerate(honest(self, *args, **more)):
            if number == count:
                raise KeyboardInterrupt
            yield finding

    return findings
