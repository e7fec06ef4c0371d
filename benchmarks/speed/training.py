"""Training of `speed`: our loop in float32 and bf16 beside the tutorial's, in images a second."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from anotwin import Settings
from anotwin.detector import Update, Watch
from anotwin.methods.registry import create
from anotwin.prepare.cache import prepare_images
from anotwin.records import ImageSpec
from anotwin.run.device import fabric_for
from anotwin.training.loop import LOG_EVERY, Progress, train
from anotwin.training.protocol import TrainingSet
from anotwin.training.run_folder import RunFolder
from benchmarks.common.images import Images
from benchmarks.common.rows import Cell, Row
from benchmarks.speed.limit import GIGA, flops, in_turns, middle, probes, seconds
from benchmarks.speed.plain import PlainTraining

PRECISIONS = {"float32": "32-true", "bf16": "bf16-mixed"}
GOALS = {"float32": ">= 1.5", "bf16": ">= 2.5"}
DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}


def training_rows(
    benchmark: str,
    images: Images,
    arguments: argparse.Namespace,
    settings: Settings,
    folder: Path,
    device: torch.device,
    goals: bool,
    watch: Watch,
) -> list[Row]:
    """The tutorial's loop and ours, `LOG_EVERY` steps a turn; the first turn of each warms up."""
    source = images.training(arguments.normal)
    spec = ImageSpec(channels=1, size=32)
    everything = np.arange(len(source.items))
    prepared = prepare_images(source, everything.tolist(), spec).subset(everything)
    pixels = np.stack([source.read(index) for index in everything.tolist()])
    batch_size = settings.training.batch_size
    plain = PlainTraining(pixels, spec, settings.networks, batch_size, str(device))
    ours = {name: OurTraining(name, prepared, spec, settings, folder, arguments.device) for name in PRECISIONS}
    turns: dict[str, Callable[[], float]] = {
        "plain training": lambda: LOG_EVERY * batch_size / seconds(lambda: _repeat(plain.step), device)
    }
    turns |= {name: one.turn for name, one in ours.items()}
    scale = 8 if arguments.quick else 1
    for name, dtype in DTYPES.items():
        turns |= {f"limit in {name}, {kind}": probe for kind, probe in probes(dtype, device, 1 / scale).items()}
    for done, name in enumerate(list(turns)):
        turns[name] = _told(turns[name], name, done, len(turns), watch)
    speed = middle(in_turns(turns, arguments.rounds))
    work = {name: one.flops() / batch_size for name, one in ours.items()}
    work["plain training"] = flops(plain.step) / batch_size
    return rows(benchmark, settings, speed, work, goals)


class OurTraining:
    """`training.loop.train` continued from turn to turn; its own log says how fast it was."""

    def __init__(
        self, name: str, images: TrainingSet, spec: ImageSpec, settings: Settings, folder: Path, device: str
    ) -> None:
        self.settings = settings.training
        self.fabric = fabric_for(device, PRECISIONS[name])
        self.trainer = create("anogan", spec, settings).trainer()
        self.images = images
        self.run = RunFolder.create(folder / name, "anogan", {})
        self.steps = 0

    def turn(self) -> float:
        """Images a second over the next `LOG_EVERY` steps."""
        self.steps += LOG_EVERY
        settings = self.settings.model_copy(update={"steps": self.steps})
        shown: list[Progress] = []
        train(self.trainer, self.images, settings, self.run, self.fabric, show=shown.append)
        return shown[-1].images_per_second

    def flops(self) -> int:
        """Of a step; whatever it trains after that is thrown away."""
        batch = self.images.batch(np.arange(min(self.settings.batch_size, len(self.images)))).to(self.fabric.device)
        with self.fabric.autocast():
            rng = torch.Generator().manual_seed(0)
            return flops(lambda: self.trainer.step(batch, 1, rng, self.fabric.backward))


def _repeat(step: Callable[[], object]) -> None:
    for _ in range(LOG_EVERY):
        step()


def _told(turn: Callable[[], float], name: str, done: int, total: int, watch: Watch) -> Callable[[], float]:
    def told() -> float:
        watch(Update("turns", done, total, name))
        return turn()

    return told


def rows(benchmark: str, settings: Settings, speed: dict[str, float], work: dict[str, float], goals: bool) -> list[Row]:
    """Speeds, their ratios to the tutorial's, and the shares of the machine's limits; `work`: FLOPs an image."""
    case = f"training, {settings.networks.width_for(False)} base channels"
    cells = {name: Cell(benchmark, case, name) for name in speed}
    plain = "plain training"
    found = [cells[name].row("images_per_second", speed[name]) for name in (plain, *PRECISIONS)]
    for name in PRECISIONS:
        goal = GOALS[name] if goals else None
        found.append(cells[name].row("speed_up", speed[name] / speed[plain], goal=goal))
    found += [cells[name].row("rate", speed[name], unit="GFLOP/s") for name in speed if name.startswith("limit")]
    found += [cells[name].row("work", work[name] / GIGA, unit="GFLOP an image") for name in work]
    for name in (plain, *PRECISIONS):
        kind = "float32" if name == plain else name
        limit = max(value for probe, value in speed.items() if probe.startswith(f"limit in {kind},"))
        reached = work[name] * speed[name] / GIGA
        found += [cells[name].row("rate", reached, unit="GFLOP/s"), cells[name].row("share_of_limit", reached / limit)]
    return found
