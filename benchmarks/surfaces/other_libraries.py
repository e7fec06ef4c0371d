"""Detectors of other libraries on a set of surfaces: PatchCore on ImageNet features, anomalib's GANomaly and DRAEM.

They run in .venv-peers (``make peers``), one process a detector, on the CPU and with this process's OMP_NUM_THREADS.
They are given pixels and no labels, and return scores and maps, which are measured like everything else.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.common.kept import Outcome
from benchmarks.surfaces.sets import Pixels

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".venv-peers"
RUNNER = Path(__file__).parent / "peers" / "runner.py"
PEERS = {  # as printed: as the runner calls them
    "PatchCore-pretrained": "patchcore",
    "GANomaly": "ganomaly",
    "DRAEM": "draem",
}
PRETRAINED = ("PatchCore-pretrained",)  # on ImageNet: no row learnt from scratch
PATIENCE = 5400.0  # seconds for what no minutes limit: PatchCore's coreset, and scoring of large images on few cores


def installed() -> bool:
    """Whether their environment is there and complete."""
    return (HOME / ".installed").exists()


def write_images(path: Path, train: Sequence[Pixels], test: Sequence[Pixels]) -> None:
    """Images of any sizes in one file, by their order."""
    named = {f"train{n:06d}": image for n, image in enumerate(train)}
    np.savez(path, **named, **{f"test{n:06d}": image for n, image in enumerate(test)})  # type: ignore[arg-type]


def peer_outcome(
    name: str, train: Sequence[Pixels], test: Sequence[Pixels], seed: int, minutes: float, patience: float = PATIENCE
) -> Outcome:
    """One detector in a process of its own; whatever goes wrong there becomes the outcome's error."""
    with tempfile.TemporaryDirectory(prefix="anotwin-") as folder:
        data, out = Path(folder) / "images.npz", Path(folder) / "scores.npz"
        write_images(data, train, test)
        python, limit = HOME / "bin" / "python", patience + 2 * 60 * minutes
        command = [str(python), str(RUNNER), PEERS[name], "--data", str(data), "--out", str(out)]
        command += ["--seed", str(seed), "--minutes", str(minutes)]
        hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": ""}
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=limit, env=hidden, check=False)
        except subprocess.TimeoutExpired:
            return failed(f"not done after {limit:.0f} s")
        except OSError as error:
            return failed(f"{python} does not start ({error.strerror}); 'make peers' mends it")
        if done.returncode != 0 or not out.exists():
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            return failed(f"its process ended with code {done.returncode}: {last[:300]}")
        return _read(out, test)


def failed(error: str) -> Outcome:
    """What is kept of a detector that has no scores."""
    return Outcome({}, float("nan"), float("nan"), error=error)


def _read(path: Path, test: Sequence[Pixels]) -> Outcome:
    with np.load(path, allow_pickle=False) as arrays:
        scores = arrays["scores"].astype(np.float64)
        heats = [arrays[name] for name in sorted(arrays) if name.startswith("map")]
        seconds, training = float(arrays["seconds"]), float(arrays["training_seconds"])
        note = str(arrays["note"])
    if scores.shape != (len(test),) or not np.isfinite(scores).all():
        return failed(f"scores of shape {scores.shape}, expected ({len(test)},) finite ones")
    if not heats:
        return Outcome({"score": scores}, seconds, training, note)
    shapes = [heat.shape for heat in heats], [image.shape[:2] for image in test]
    if shapes[0] != shapes[1]:
        return failed(f"{len(heats)} maps that do not have the shapes of the {len(test)} images")
    return Outcome({"score": scores, "heat": np.concatenate([heat.ravel() for heat in heats])}, seconds, training, note)
