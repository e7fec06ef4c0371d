"""What scoring costs as the images grow in number, for `speed`: a process of its own for each folder of files."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

from PIL import Image

from anotwin import DataError, Detector, Settings
from anotwin.data.synthetic import textured_discs
from anotwin.detector import Update, Watch
from anotwin.report.table import scan_scores
from benchmarks.common.rows import Cell, Row

SIZE = 32
DIFFERENT = 200  # pictures; a folder repeats them under new names
LARGEST = 1536  # MiB
# A process's peak counts what its parent occupied when it started: between this one and the command a small one stands.
MEASURE = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(peak // 1024 if sys.platform == "darwin" else peak)  # macOS counts bytes
sys.exit(code)
"""
SMALL = ("networks.base_channels=8", "training.steps=60", "training.batch_size=32", "calibration.false_alarm_rate=0.05")


@dataclass(frozen=True)
class Cost:
    """One run of ``anotwin score``."""

    images: int
    seconds: float  # wall time, start and figures included
    peak: float  # MiB, the largest resident set


def memory_rows(
    benchmark: str, method: str, counts: Sequence[int], folder: Path, goals: bool, device: str, watch: Watch
) -> list[Row]:
    """Peak memory and time of scoring `counts` images, ascending, from PNG files with a small model of `method`."""
    if sys.platform == "win32":
        raise DataError("--part memory: Windows does not tell the peak memory of a process; use Linux or macOS")
    normals, _ = textured_discs(300, size=SIZE, seed=0)
    settings = Settings().with_overrides([*SMALL, f"data.image_size={SIZE}"])
    Detector.train(normals, folder / "model", method=method, settings=settings, device=device, watch=watch)
    costs = [measure(folder, count, device, watch) for count in counts]
    return rows(benchmark, method, costs, goals)


def measure(folder: Path, count: int, device: str, watch: Watch) -> Cost:
    """Write `count` images and score them in a new process."""
    data, out = folder / f"{count} images", folder / f"{count} scores"
    write_images(data, count, watch)
    command = [sys.executable, "-m", "anotwin.cli", "score", str(folder / "model"), str(data), "--out", str(out)]
    began = time.perf_counter()
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, *command, "--no-pictures", "--device", device], capture_output=True, text=True
    )
    seconds = time.perf_counter() - began
    if run.returncode != 0:
        raise DataError(f"anotwin score ended with code {run.returncode}: {run.stderr.strip()[-300:]}")
    scored = sum(1 for row in scan_scores(out / "scores.csv") if not row["error"])
    if scored != count:
        raise DataError(f"{out / 'scores.csv'}: {scored} images scored, expected {count}")
    return Cost(count, seconds, int(run.stdout.split()[-1]) / 1024)


def write_images(folder: Path, count: int, watch: Watch) -> None:
    """A folder of `count` PNG files, among which `DIFFERENT` pictures come again and again."""
    folder.mkdir(parents=True)
    pictures, _ = textured_discs(min(count, DIFFERENT), size=SIZE, seed=1)
    contents = []
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{number:06d}.png")
        contents.append((folder / f"{number:06d}.png").read_bytes())
    for number in range(len(pictures), count):
        (folder / f"{number:06d}.png").write_bytes(contents[number % len(contents)])
        if number % 1000 == 999:
            watch(Update(f"writing {count:,}", number + 1, count))


def rows(benchmark: str, method: str, costs: Sequence[Cost], goals: bool) -> list[Row]:
    """Each run's numbers, the growth of memory, and what an image more costs where there are many of them already."""
    found = []
    for cost in costs:
        cell = Cell(benchmark, f"scoring {cost.images:,} images", method)
        found.append(cell.row("peak_memory", cost.peak, unit="MiB", goal=f"<= {LARGEST}" if goals else None))
        found.append(cell.row("seconds", cost.seconds, unit="s"))
    cell = Cell(benchmark, f"scoring {costs[0].images:,} to {costs[-1].images:,} images", method)
    growth = max(cost.peak for cost in costs) / min(cost.peak for cost in costs) - 1
    found.append(cell.row("memory_growth", growth, goal="<= 0.1" if goals else None))
    each = [(then.seconds - now.seconds) / (then.images - now.images) for now, then in pairwise(costs)]
    if each:
        found.append(cell.row("seconds_per_image", median(each), unit="s"))
    if len(each) > 1:  # below 1.2: the machine's unrest, not a growth
        found.append(cell.row("cost_growth", each[-1] / each[0], goal="<= 1.2" if goals else None))
    return found
