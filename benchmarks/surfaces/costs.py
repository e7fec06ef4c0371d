"""Parts `speed` and `memory`: large images, scored by the default method."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image

from anotwin import DataError, Detector
from anotwin.report.table import scan_scores
from anotwin.run.device import fabric_for
from benchmarks.common.rows import Row
from benchmarks.speed.limit import in_turns, probes
from benchmarks.speed.memory import MEASURE
from benchmarks.surfaces.measures import cell, has_goals, ours
from benchmarks.surfaces.methods import DEFAULT, Study
from benchmarks.surfaces.sets import Pixels

SPEED_SHAPE, MEMORY_SHAPE = (3000, 4000), (10_000, 10_000)  # (H, W)
QUICK_SHAPE = (150, 200)
ROUNDS = 3
LONGEST, LARGEST = 20, 2048  # seconds, MiB


def large(study: Study, shape: tuple[int, int]) -> Pixels:
    """Normal test images of the first set, side by side."""
    surfaces = study.sets[0]
    normals = [image for image, bad in zip(surfaces.images, surfaces.abnormal, strict=True) if not bad]
    first: Pixels = normals[0]
    high, wide = (-(-side // own) for side, own in zip(shape, first.shape[:2], strict=True))
    return np.tile(first, (high, wide, *[1] * (first.ndim - 2)))[: shape[0], : shape[1]]


def _trained(study: Study) -> Detector:
    """The default method of the first set: the one of the other parts, else trained for 20 steps, enough for time."""
    if study.detectors:
        return next(iter(study.detectors.values()))
    method = ours(study.arguments.methods) or DEFAULT
    return study.detector(method, study.sets[0], [] if study.arguments.models else ["training.steps=20"])


def speed_rows(study: Study) -> Iterator[Row]:
    """Seconds, and how many billion operations of the machine's best convolution take as long: the same run."""
    detector, quick = _trained(study), study.arguments.quick
    shape = QUICK_SHAPE if quick else SPEED_SHAPE
    image, device = large(study, shape), fabric_for(study.arguments.device, "32-true").device

    def seconds() -> float:
        began = time.perf_counter()
        (finding,) = detector.findings([image])
        if finding.error:
            raise DataError(finding.error)
        return time.perf_counter() - began

    contenders = {"ours": seconds, **probes(torch.float32, device, 0.1 if quick else 1.0)}
    found = in_turns(contenders, 1 if quick else ROUNDS)
    rows = cell(f"{shape[1]:,} x {shape[0]:,} pixels", detector.method.name, has_goals(study))
    took, rate = median(found.pop("ours")), max(median(each) for each in found.values())
    yield rows.row("scoring_seconds", took, unit="s", goal=f"<= {LONGEST}")
    yield rows.row("machine_limit", rate, unit="GFLOP/s")
    yield rows.row("scoring_at_the_limit", took * rate, unit="GFLOP")


def memory_rows(study: Study) -> Iterator[Row]:
    """Peak resident memory of ``anotwin score`` on one file."""
    detector, quick = _trained(study), study.arguments.quick
    shape = QUICK_SHAPE if quick else MEMORY_SHAPE
    with tempfile.TemporaryDirectory(prefix="anotwin-") as scratch:
        root = Path(scratch)
        detector.save(root / "model")
        (root / "data").mkdir()
        Image.fromarray(large(study, shape)).save(root / "data" / "large.png", compress_level=1)
        command = [sys.executable, "-m", "anotwin.cli", "score", str(root / "model"), str(root / "data")]
        command += ["--out", str(root / "scores"), "--device", study.arguments.device]
        began = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", MEASURE, *command], capture_output=True, text=True, check=False)
        took = time.perf_counter() - began
        if done.returncode != 0:
            raise DataError(f"anotwin score ended with code {done.returncode}: {done.stderr.strip()[-300:]}")
        refused = [row["error"] for row in scan_scores(root / "scores" / "scores.csv") if row["error"]]
        if refused:
            raise DataError(refused[0])
    rows = cell(f"{shape[1]:,} x {shape[0]:,} pixels, a file", detector.method.name, has_goals(study))
    yield rows.row("peak_memory", int(done.stdout.split()[-1]) / 1024, unit="MiB", goal=f"<= {LARGEST}")
    yield rows.row("seconds", took, unit="s")
