"""Detectors of other libraries on a benchmark's own images: PyOD's, and anomalib's GANomaly.

They run in an environment of their own, .venv-peers (``make peers``), one process a detector, on the CPU and with this
process's OMP_NUM_THREADS: what one of them breaks, or needs of a library, is its own affair. They are given pixels and
no labels.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from anotwin.updates import Update, Watch, silent
from benchmarks.common.rows import Floats, console

HOME = Path(__file__).resolve().parents[2] / ".venv-peers"
RUNNER = Path(__file__).parent / "peers" / "runner.py"
NAMES = (  # those of the runner
    "PyOD KNN",
    "PyOD PCA",
    "PyOD IForest",
    "PyOD AutoEncoder",
    "PyOD VAE",
    "PyOD DeepSVDD",
    "PyOD ALAD",
    "PyOD AnoGAN",
    "GANomaly as shipped",
    "GANomaly in [-1, 1]",
)
LONGER = {"GANomaly in [-1, 1]": 4.0}  # times the minutes: it is to converge, which takes dozens of slow epochs
PATIENCE = 180.0  # seconds for imports, trial fits and scoring, besides twice the minutes of training

Images = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class PeerResult:
    """What one detector made of the test images; with an `error` there are no scores, and times are NaN."""

    name: str
    scores: Floats  # (M,), higher is more abnormal; (0,) with an error
    seconds: float  # to score all M together
    training_seconds: float
    error: str | None = None
    note: str = ""  # what it was trained with, in a line


def peer_results(
    train: Images,
    test: Images,
    seed: int,
    minutes: float,
    watch: Watch = silent,
    names: Sequence[str] | None = None,
) -> Iterator[PeerResult]:
    """Detectors, one after another, each as soon as it is done; nothing but a line where their environment is missing.

    Args:
        train: (N, H, W) uint8, normal images.
        test: (M, H, W) uint8.
        seed: of those detectors that draw anything.
        minutes: of training, for each detector that can be limited (`LONGER` has exceptions); 0.02 is a smoke run.
        watch: is told which detector runs.
        names: those wanted, of `NAMES`; None: all of them.

    Yields:
        One result a detector. One that fails, crashes or does not end has an `error` and does not stop the others.
    """
    wanted = NAMES if names is None else tuple(names)
    if unknown := set(wanted) - set(NAMES):
        raise ValueError(f"names: no detector {sorted(unknown)}, expected some of {NAMES}")
    if not (HOME / ".installed").exists():  # written when all is installed
        console.print("PyOD and GANomaly are left out: 'make peers' installs them into .venv-peers (about 7 GB)")
        return
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "images.npz"
        np.savez(data, train=_checked("train", train), test=_checked("test", test))
        for number, name in enumerate(wanted, start=1):
            most = minutes * LONGER.get(name, 1.0)
            detail = f"{name} of .venv-peers, at most {most:g} min of training"
            watch(Update("note", number, len(wanted), detail))
            yield _run(name, data, len(test), seed, most)


def _checked(name: str, images: Images) -> Images:
    if images.dtype != np.uint8 or images.ndim != 3 or len(images) == 0:
        raise ValueError(f"{name}: expected (N, H, W) uint8 with N > 0, got {images.shape} {images.dtype}")
    return images


def _run(name: str, data: Path, count: int, seed: int, minutes: float) -> PeerResult:
    """One detector in a process of its own; whatever goes wrong there becomes its error."""
    out = data.with_name("scores.json")
    out.unlink(missing_ok=True)  # a crash must not leave the last detector's scores to this one
    python = HOME / "bin" / "python"
    command = [str(python), str(RUNNER), name, "--data", str(data), "--out", str(out)]
    command += ["--seed", str(seed), "--minutes", str(minutes)]
    limit = PATIENCE + 2 * 60 * minutes
    hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": ""}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, env=hidden, check=False)
    except subprocess.TimeoutExpired:
        return _failed(name, f"not done after {limit:.0f} s")
    except OSError as error:
        return _failed(name, f"{python} does not start ({error.strerror}); 'make peers' mends it")
    if done.returncode != 0 or not out.exists():
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return _failed(name, f"its process ended with code {done.returncode}: {last[:300]}")
    return _read(name, json.loads(out.read_text()), count)


def _read(name: str, found: dict[str, Any], count: int) -> PeerResult:
    if "error" in found:
        return _failed(name, str(found["error"]))
    scores = np.asarray(found["scores"], dtype=np.float64)
    if scores.shape != (count,):
        return _failed(name, f"scores of shape {scores.shape}, expected ({count},)")
    if not np.isfinite(scores).all():
        return _failed(name, f"{np.sum(~np.isfinite(scores))} of {count} scores are not finite")
    return PeerResult(name, scores, found["seconds"], found["training_seconds"], None, found["note"])


def _failed(name: str, error: str) -> PeerResult:
    return PeerResult(name, np.empty(0), float("nan"), float("nan"), error)
