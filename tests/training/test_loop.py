"""The loop with a trainer whose every step is known in advance."""

import math
import os
import signal
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from lightning_fabric import Fabric
from torch import nn

from anotwin.errors import SettingsError, TrainingDiverged
from anotwin.records import Batch
from anotwin.settings import TrainingSettings
from anotwin.training.loop import LOG_EVERY, PREVIEW, Progress, batch_numbers, train
from anotwin.training.run_folder import RunFolder

IMAGES = torch.arange(10.0).reshape(10, 1, 1, 1)


class Images:
    def __len__(self) -> int:
        return len(IMAGES)

    def batch(self, numbers: np.ndarray) -> Batch:
        return Batch(IMAGES[torch.as_tensor(numbers)])


class Counting:
    """Its weight follows from all batches and random draws so far; at step `bad_at` something is not finite."""

    def __init__(self, bad_at: int | None = None, bad: str = "loss") -> None:
        self.networks = nn.ModuleDict({"net": nn.Linear(1, 1, bias=False)})
        nn.init.zeros_(self.networks["net"].weight)
        self.optimizers = {"net": torch.optim.Adam(self.networks.parameters(), lr=0.1)}
        self.seen: list[int] = []
        self.bad_at, self.bad = bad_at, bad

    def step(self, batch: Batch, step: int, rng: torch.Generator, backward: object) -> dict[str, torch.Tensor]:
        self.seen.append(step)
        weight = self.networks["net"].weight
        loss = ((weight - batch.images.mean() - torch.randn((), generator=rng)) ** 2).sum()
        self.optimizers["net"].zero_grad()
        backward(loss)  # type: ignore[operator]
        self.optimizers["net"].step()
        if step + 1 == self.bad_at and self.bad == "weights":
            with torch.no_grad():
                weight.fill_(math.nan)
        if step + 1 == self.bad_at and self.bad == "loss":
            return {"loss": loss.detach() * math.nan, "other": loss.detach()}
        return {"loss": loss.detach(), "other": loss.detach()}

    def preview(self, batch: Batch) -> torch.Tensor:
        return batch.images * 2

    @property
    def weight(self) -> float:
        return float(self.networks["net"].weight.detach())


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path, "counting", {})


def _train(trainer: Counting, run: RunFolder, steps: int, **more: object) -> float:
    values = {"steps": steps, "batch_size": 4, "snapshot_every": 10, "sample_every": 25, "seed": 3}
    shown = {name: more.pop(name) for name in ("show", "save_grid") if name in more}
    fabric = Fabric(accelerator="cpu", devices=1)
    chosen = TrainingSettings(**(values | more))  # type: ignore[arg-type]
    return train(trainer, Images(), chosen, run, fabric, **shown)  # type: ignore[arg-type]


@given(count=st.integers(1, 40), size=st.integers(1, 17), seed=st.integers(0, 5), epochs=st.integers(1, 4))
@hypothesis_settings(derandomize=True, deadline=None, max_examples=60)
def test_every_image_exactly_once_an_epoch(count: int, size: int, seed: int, epochs: int) -> None:
    steps = -(-epochs * count // size)
    row = np.concatenate([batch_numbers(count, size, step, seed) for step in range(steps)])
    assert len(row) == steps * size
    for epoch in range(epochs):
        assert sorted(row[epoch * count : (epoch + 1) * count]) == list(range(count))


@given(step=st.integers(0, 10**9), seed=st.integers(0, 2**31))
@hypothesis_settings(derandomize=True, deadline=None, max_examples=40)
def test_a_step_depends_on_nothing_before_it(step: int, seed: int) -> None:
    alone = batch_numbers(7, 5, step, seed)
    batch_numbers(7, 5, step + 1, seed)
    assert alone.tolist() == batch_numbers(7, 5, step, seed).tolist()


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    orders = [tuple(batch_numbers(50, 50, step, seed)) for step in range(4) for seed in range(4)]
    assert len(set(orders)) == 16
    assert tuple(range(50)) not in orders


def test_a_batch_larger_than_the_set_takes_all_equally_often() -> None:
    assert set(Counter(batch_numbers(3, 12, 5, 0).tolist()).values()) == {4}


def test_statistics_progress_and_grids_come_at_their_steps(run: RunFolder) -> None:
    shown: list[Progress] = []
    grids: list[tuple[int, torch.Tensor]] = []
    seconds = _train(
        Counting(), run, 57, show=shown.append, save_grid=lambda images, step: grids.append((step, images))
    )
    rows = run.stats()
    assert [row["step"] for row in rows] == [LOG_EVERY, 2 * LOG_EVERY, 57]
    assert all(set(row) == {"step", "seconds", "images_per_second", "loss", "other"} for row in rows)
    assert sorted(row["seconds"] for row in rows) == [row["seconds"] for row in rows]
    assert 0 < rows[-1]["seconds"] <= seconds + 1e-6
    assert [(one.step, one.steps) for one in shown] == [(20, 57), (40, 57), (57, 57)]
    assert [step for step, _ in grids] == [25, 50, 57]
    assert all(images.shape == (PREVIEW, 1, 1, 1) and images.max() == 18 for _, images in grids)
    assert [path.name for path in run.snapshots()] == ["snapshot-000050.pt", "snapshot-000057.pt"]


def test_stopped_and_resumed_is_as_if_never_stopped(tmp_path: Path) -> None:
    whole, parts = RunFolder.create(tmp_path / "a", "x", {}), RunFolder.create(tmp_path / "b", "x", {})
    straight = Counting()
    _train(straight, whole, 45)
    first, second, third = Counting(), Counting(), Counting()
    _train(first, parts, 13)
    _train(second, parts, 30)
    _train(third, parts, 45)
    assert first.seen + second.seen + third.seen == straight.seen == list(range(45))
    assert third.weight == straight.weight != second.weight
    assert [row["step"] for row in parts.stats()] == [13, 20, 30, 40, 45]
    assert parts.stats()[-1]["loss"] == whole.stats()[-1]["loss"]


def test_statistics_that_a_kill_left_behind_the_snapshot_are_written_anew(run: RunFolder) -> None:
    _train(Counting(), run, 10)
    spent = run.stats()[-1]["seconds"] + 1000
    (run.path / "stats.jsonl").write_text(
        f'{{"step": 10, "seconds": {spent}}}\n{{"step": 20, "seconds": {spent + 5}, "loss": -1}}\n{{"step": 40, "se'
    )
    seconds = _train(Counting(), run, 40)
    rows = run.stats()
    assert [row["step"] for row in rows] == [10, 20, 40]
    assert rows[1]["loss"] >= 0
    assert spent < rows[1]["seconds"] < spent + 5  # the clock goes on, from the snapshot
    assert seconds > spent


def test_a_finished_run_does_nothing_more(run: RunFolder) -> None:
    _train(Counting(), run, 12)
    again = Counting()
    _train(again, run, 12)
    assert again.seen == []


def test_a_snapshot_of_another_network_is_refused(run: RunFolder) -> None:
    run.save_snapshot(5, {"networks": {"other.weight": torch.zeros(3)}, "optimizers": {}})
    with pytest.raises(SettingsError, match=r"snapshot-000005.*start a new run"):
        _train(Counting(), run, 10)


@pytest.mark.parametrize("bad", ["loss", "weights"])
def test_divergence_restores_the_last_good_snapshot(run: RunFolder, tmp_path: Path, bad: str) -> None:
    reference = Counting()
    _train(reference, RunFolder.create(tmp_path / "other", "x", {}), 20)
    trainer = Counting(bad_at=30, bad=bad)
    with pytest.raises(TrainingDiverged, match=r"step 30.*snapshot of step 20.*learning_rate"):
        _train(trainer, run, 50)
    assert trainer.weight == reference.weight
    assert run.last_step() == 20
    assert all(math.isfinite(row["loss"]) for row in run.stats())


def test_divergence_before_any_snapshot_says_so(run: RunFolder) -> None:
    with pytest.raises(TrainingDiverged, match="no snapshot"):
        _train(Counting(bad_at=7), run, 7)
    assert run.snapshots() == []


class Interrupted(Counting):
    def step(self, *args: object) -> dict[str, torch.Tensor]:  # type: ignore[override]
        if len(self.seen) == 16:
            os.kill(os.getpid(), signal.SIGINT)
        return super().step(*args)  # type: ignore[arg-type]


def test_ctrl_c_finishes_the_step_and_writes_it(run: RunFolder) -> None:
    before = signal.getsignal(signal.SIGINT)
    trainer = Interrupted()
    with pytest.raises(KeyboardInterrupt, match=r"step 17 of 40.*--resume"):
        _train(trainer, run, 40)
    assert signal.getsignal(signal.SIGINT) is before
    loaded = run.load_snapshot()
    assert loaded is not None
    assert loaded[0] == 17 == len(trainer.seen)
    assert float(loaded[1]["networks"]["net.weight"]) == trainer.weight
    assert run.stats()[-1]["step"] == 17


def test_ctrl_c_after_a_step_was_logged_loses_nothing(run: RunFolder) -> None:
    """The signal comes between the end of a step and its snapshot: one step more, and that one is written."""
    trainer = Counting()

    def show(progress: Progress) -> None:
        if progress.step == 20:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="step 21 of 40"):
        _train(trainer, run, 40, snapshot_every=1000, show=show)
    assert run.last_step() == 21 == len(trainer.seen)


def test_ctrl_c_in_the_last_step_is_no_interruption(run: RunFolder) -> None:
    _train(Interrupted(), run, 17)
    assert run.last_step() == 17


def test_training_in_a_thread_leaves_signals_alone(run: RunFolder) -> None:
    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=_train, args=(Counting(), run, 12))
    thread.start()
    thread.join()
    assert run.last_step() == 12
    assert signal.getsignal(signal.SIGINT) is before
