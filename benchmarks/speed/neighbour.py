"""What one busy neighbour costs, for `speed`: training alone and beside a second process that trains as well.

Each process has as many threads as there are cores. Their waiting is set as the command line sets it (`asleep`), and as
OpenMP has it where nobody sets it (`spinning`); a ratio compares two runs of the same waiting, one after the other.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from anotwin import DataError, Settings
from anotwin.data.arrays import from_arrays
from anotwin.data.synthetic import textured_discs
from anotwin.detector import Update, Watch
from anotwin.methods.registry import create
from anotwin.prepare.cache import prepare_images
from anotwin.records import ImageSpec
from anotwin.run.device import fabric_for
from anotwin.threads import share_the_machine
from anotwin.training.loop import LOG_EVERY, Progress, train
from anotwin.training.run_folder import RunFolder
from benchmarks.common.rows import Cell, Row

ROOT = Path(__file__).resolve().parents[2]
SIZE, IMAGES = 32, 256
FOREVER = 1e9  # seconds
GOAL = "<= 2.5"  # times slower
CHILD = "import sys; from benchmarks.speed.neighbour import train_for; train_for(float(sys.argv[1]), int(sys.argv[2]))"


def neighbour_rows(benchmark: str, channels: int, rounds: int, seconds: float, goals: bool, watch: Watch) -> list[Row]:
    """Images a second alone and beside one busy neighbour, and how many times slower that is."""
    case = f"one busy neighbour, {channels} base channels"
    waiting = {"asleep": _environment(True), "spinning": _environment(False)}
    speeds: dict[tuple[str, int], list[float]] = {(name, count): [] for name in waiting for count in (0, 1)}
    for done in range(rounds):
        for place, (name, neighbours) in enumerate(speeds):
            detail = f"{name}, {neighbours} neighbours"
            watch(Update("neighbours", done * len(speeds) + place, rounds * len(speeds), detail))
            speeds[name, neighbours].append(_measure(waiting[name], neighbours, channels, seconds))
    found = []
    for name in waiting:
        cell = Cell(benchmark, case, name)
        alone, beside = (median(speeds[name, count]) for count in (0, 1))
        goal = GOAL if goals and name == "asleep" else None
        found += [cell.row("images_per_second_alone", alone), cell.row("images_per_second_beside", beside)]
        found.append(cell.row("times_slower", alone / beside, goal=goal))
    return found


def train_for(seconds: float, channels: int) -> None:
    """In a process of its own: train, print "ready" after the first steps, and at the end the images a second."""
    with tempfile.TemporaryDirectory(prefix="anotwin-") as folder:
        settings = Settings().with_overrides([f"networks.base_channels={channels}", f"data.image_size={SIZE}"])
        source, spec = from_arrays(textured_discs(IMAGES, size=SIZE, seed=0)[0]), ImageSpec(channels=1, size=SIZE)
        images = prepare_images(source, range(IMAGES), spec)
        trainer, run = create("anogan", spec, settings).trainer(), RunFolder.create(Path(folder), "anogan", {})
        subset, fabric, steps = images.subset(images.indices), fabric_for("cpu", "32-true"), 0
        speeds: list[float] = []
        end = time.monotonic() + FOREVER
        while time.monotonic() < end or len(speeds) < 2:
            steps += LOG_EVERY
            shown: list[Progress] = []
            chosen = settings.training.model_copy(update={"steps": steps})
            train(trainer, subset, chosen, run, fabric, show=shown.append)
            speeds.append(shown[-1].images_per_second)
            if len(speeds) == 1:
                print("ready", flush=True)
                end = time.monotonic() + seconds
        print(median(speeds[1:]), flush=True)


def _environment(asleep: bool) -> dict[str, str]:
    """This process's, with nothing said about threads, or what the command line says."""
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_", "MKL_"))
    }
    if asleep:
        share_the_machine(clean)
    return clean


def _measure(environment: Mapping[str, str], neighbours: int, channels: int, seconds: float) -> float:
    """Images a second of one training, beside so many others."""
    others = [_start(environment, FOREVER, channels) for _ in range(neighbours)]
    try:
        for other in others:
            _line(other, "ready")
        measured = _start(environment, seconds, channels)
        others.append(measured)
        _line(measured, "ready")
        return float(_line(measured))
    finally:
        for other in others:
            other.kill()
            other.communicate()


def _start(environment: Mapping[str, str], seconds: float, channels: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, str(seconds), str(channels)]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def _line(process: subprocess.Popen[str], expected: str = "") -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if not line or (expected and line != expected):
        raise DataError(f"a training of the part neighbour ended with code {process.wait()}")
    return line
