"""The one training loop: the order of the images, the clock, the log, the snapshots; losses are the trainer's.

Everything random in step k is a function of (seed, k), so a run that was killed and resumed ends with the weights of
one that was not, bit for bit on a CPU (with the same number of threads).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from lightning_fabric import Fabric

from anotwin.errors import SettingsError, TrainingDiverged
from anotwin.seeding import derive, generator
from anotwin.settings import TrainingSettings
from anotwin.stopping import finish_first
from anotwin.training.protocol import Learner, Numbered, OnDevice
from anotwin.training.run_folder import RunFolder

LOG_EVERY = 20  # steps: a line in stats.jsonl, and the only moments at which the loop waits for a GPU
PREVIEW = 64  # images in a sample grid
B = TypeVar("B", bound=OnDevice)


@dataclass(frozen=True)
class Progress:
    """What a progress bar shows."""

    step: int
    steps: int
    losses: dict[str, float]
    images_per_second: float


def train(
    trainer: Learner[B],
    images: Numbered[B],
    settings: TrainingSettings,
    run: RunFolder,
    fabric: Fabric,
    *,
    show: Callable[[Progress], None] = lambda _: None,
    save_grid: Callable[[torch.Tensor, int], None] = lambda _images, _step: None,
) -> float:
    """Train on `images` until `settings.steps`, from the run's last snapshot if it has one.

    Returns the seconds spent in all. Raises TrainingDiverged after restoring the last good snapshot into the networks,
    and KeyboardInterrupt, at Ctrl-C, SIGTERM or SIGHUP, after finishing the step and writing its snapshot.
    """
    trainer.networks.to(fabric.device)
    trainer.networks.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # convolutions' fastest
    step = last_log = restore(trainer, run)
    spent = run.forget_after(step)
    began = last_time = time.perf_counter()
    with finish_first() as interrupted:
        while step < settings.steps:
            batch = images.batch(batch_numbers(len(images), settings.batch_size, step, settings.seed))
            rng = generator(settings.seed, "step", step)
            with fabric.autocast():
                losses = trainer.step(batch.to(fabric.device), step, rng, fabric.backward)
            step += 1
            last = step == settings.steps or interrupted.is_set()  # asked once, or no snapshot is written
            log, snapshot = step % LOG_EVERY == 0 or last, step % settings.snapshot_every == 0 or last

            if log or snapshot:
                values = {name: float(value) for name, value in losses.items()}
                stop_if_diverged(values, step, trainer, run, weights=snapshot)
            if log:
                now = time.perf_counter()
                speed = (step - last_log) * settings.batch_size / (now - last_time)
                last_log, last_time = step, now
                row = {"step": step, "seconds": spent + now - began, "images_per_second": speed} | values
                run.log({key: round(value, 6) for key, value in row.items()})
                show(Progress(step, settings.steps, values, speed))
            if step % settings.sample_every == 0 or last:
                shown = images.batch(batch_numbers(len(images), PREVIEW, 0, settings.seed))
                save_grid(trainer.preview(shown.to(fabric.device)).float().cpu(), step)
            if snapshot:
                run.save_snapshot(step, state_of(trainer))
            if last and step < settings.steps:
                interrupted.stop(f"training stopped at step {step} of {settings.steps}; continue with --resume")
    return spent + time.perf_counter() - began


def batch_numbers(count: int, batch_size: int, step: int, seed: int) -> npt.NDArray[np.int64]:
    """Which of `count` images step `step` takes: every image once an epoch, each epoch in an order of its own.

    Epochs follow each other without a gap; step k takes places k B to (k + 1) B - 1 of the sequence.
    """
    places = np.arange(step * batch_size, (step + 1) * batch_size)
    epochs, within = np.divmod(places, count)
    chosen = np.empty(batch_size, dtype=np.int64)
    for epoch in np.unique(epochs):
        order = _epoch_order(count, int(epoch), seed)
        chosen[epochs == epoch] = order[within[epochs == epoch]]
    return chosen


@lru_cache(maxsize=2)  # a batch lies in one epoch or on the border of two
def _epoch_order(count: int, epoch: int, seed: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng(derive(seed, "epoch", epoch)).permutation(count)


def state_of(trainer: Learner[B]) -> dict[str, Any]:
    """Everything that training changes."""
    optimizers = {name: optimizer.state_dict() for name, optimizer in trainer.optimizers.items()}
    return {"networks": trainer.networks.state_dict(), "optimizers": optimizers}


def restore(trainer: Learner[B], run: RunFolder) -> int:
    """Load the run's newest snapshot into the trainer; the step it was taken after (0: there is none)."""
    snapshot = run.load_snapshot()
    if snapshot is None:
        return 0
    step, state = snapshot
    try:
        trainer.networks.load_state_dict(state["networks"])
        for name, optimizer in trainer.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
    except (RuntimeError, KeyError, TypeError, ValueError, AttributeError):
        why = "not a snapshot of this method and these settings; start a new run without --resume"
        raise SettingsError(f"{run.snapshot_path(step)}: {why}") from None
    return step


def stop_if_diverged(
    values: dict[str, float], step: int, trainer: Learner[B], run: RunFolder, weights: bool = False
) -> None:
    """Raise TrainingDiverged, with the last good snapshot restored, if a logged value is not finite.

    `weights`: the weights are checked too, which a finite loss can make infinite.
    """
    bad = [f"{name} = {value}" for name, value in values.items() if not math.isfinite(value)]
    if weights and not bad:
        state = trainer.networks.state_dict()
        bad = [f"{name} is not finite" for name, tensor in state.items() if not bool(tensor.isfinite().all())][:1]
    if not bad:
        return
    good = restore(trainer, run)
    kept = f"the snapshot of step {good} is kept as the model" if good else "no snapshot had been taken yet"
    advice = "lower training.learning_rate, or raise training.r1_gamma"
    raise TrainingDiverged(f"training diverged at step {step}: {', '.join(bad)}; {kept}; {advice}")
