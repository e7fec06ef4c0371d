"""One training from two domains to a finished translation: gather, hold out, train, choose a snapshot, examine."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from anotwin.errors import TrainingDiverged
from anotwin.files import write_text_atomic
from anotwin.methods.protocol import freeze
from anotwin.report.grid import save_grid
from anotwin.run.device import fabric_for, machine_of
from anotwin.seeding import derive
from anotwin.settings import Settings
from anotwin.training.loop import Progress, train
from anotwin.training.protocol import Backward
from anotwin.training.resume import open_run
from anotwin.training.run_folder import RunFolder
from anotwin.translation.examples import Crops
from anotwin.translation.gather import gather, infer_spec
from anotwin.translation.health import examine
from anotwin.translation.layouts import open_domains
from anotwin.translation.protocol import Examples, TranslationMethod, TranslationTrainer
from anotwin.translation.quality import Judged, judge
from anotwin.translation.registry import begin_training, create, own_settings
from anotwin.updates import Passing, Update, Watch, tell

JUDGED_PIXELS = 2**21  # of B, in all held-out examples that a snapshot is judged by
FEWEST, MOST = 8, 32  # examples
SHOWN = ("psnr", "ssim", "dice", "cycle", "statistics", "spread")  # in the progress line


@dataclass(eq=False)
class Trained:
    """The result of a session: all that a `Translator` is made of."""

    method: TranslationMethod
    fingerprints: dict[str, torch.Tensor]  # "train" and "holdout", of both domains
    layout: dict[str, str | None]
    history: dict[str, Any]


class TranslationSession:
    """Opens and reads the images and creates the method: what cannot work raises here, before any training."""

    def __init__(
        self, data: Any, folder: Path, method: str, layout: str, settings: Settings, device: str, watch: Watch
    ) -> None:
        self.folder, self.watch, self.layout = folder, watch, layout
        self.settings = settings = settings.completed(own_settings(method))
        domains = open_domains(data, "train", layout, settings)
        self.gathered = gather(domains, settings, lambda done, total: watch(Update("preparing", done, total)))
        spec, notes = infer_spec(self.gathered, domains.factor, settings)
        found = (*domains.notes, *self.gathered.notes, *notes)
        self.notes = [str(note) for note in found if not isinstance(note, Passing)]
        tell(watch, [self._counts(), *found])
        self.fabric = fabric_for(device, settings.training.precision)
        self.method = create(method, spec, settings)
        self.trainer = begin_training(self.method)

    def run(self, resume: bool, keep: Callable[[Trained], None]) -> Trained:
        """Train to the end; `keep` saves the method as soon as it is finished, also that of a diverged training.

        Raises SettingsError, and TrainingDiverged after the last good snapshot was kept.
        """
        say = lambda note: tell(self.watch, [note])  # noqa: E731
        run = open_run(self.folder, self.method.name, self._description(), resume, say)
        heldout = self._examples(self.gathered.heldout, "holdout")
        examples = heldout.batch(np.arange(self._judged_count()))
        best = Best(run, self.method, examples)
        diverged, seconds = self._train(run, best)
        steps = run.last_step()
        if diverged is not None and steps == 0:
            raise diverged
        freeze(self.method.networks)
        chosen = best.restore(steps)
        health = examine(examples, judge(self.method, examples), self.method.spec.aligned)
        told = [f"the weights of step {chosen['step']} are the model: the best on held-out images"] if chosen else []
        tell(self.watch, [*told, health.advice])
        trained = Trained(
            self.method,
            {part: torch.from_numpy(self._prints(rows)) for part, rows in self._rows().items()},
            {"name": self.layout},
            {
                "notes": self.notes,
                "seed": self.settings.training.seed,
                "run": run.path.name,
                "steps": steps,
                "seconds": round(seconds, 1),
                "chosen": chosen,
                "judged_on": len(examples),
                "torch": torch.__version__,
                "python": platform.python_version(),
                "health": asdict(health),
            },
        )
        keep(trained)
        if diverged is not None:
            raise diverged
        return trained

    def _train(self, run: RunFolder, best: Best) -> tuple[TrainingDiverged | None, float]:
        """Why the training ended early, if it did, and its seconds."""

        def show(progress: Progress) -> None:
            losses = [f"{key[5:]} {value:.2f}" for key, value in progress.losses.items() if key.startswith("loss_")]
            detail = f"{progress.images_per_second:,.0f} images/s  loss {' '.join(losses)}"
            self.watch(Update("training", progress.step, progress.steps, f"{best.words}  {detail}".lstrip()))

        training = self._examples(self.gathered.train, "train")
        settings = self.settings.training
        trainer = _Judging(self.trainer, best)
        try:
            return None, train(trainer, training, settings, run, self.fabric, show=show, save_grid=best.take)
        except TrainingDiverged as error:
            return error, 0.0

    def _examples(self, rows: tuple[Any, Any], purpose: str) -> Crops:
        seed, own, varied = derive(self.settings.training.seed, purpose), self.settings.translation, purpose == "train"
        poses = varied and own.mirror, varied and own.turn
        return Crops(self.gathered.a, self.gathered.b, rows, self.method.spec, seed, *poses)

    def _judged_count(self) -> int:
        return int(np.clip(JUDGED_PIXELS // self.method.spec.b.size**2, FEWEST, MOST))

    def _rows(self) -> dict[str, tuple[Any, Any]]:
        return {"train": self.gathered.train, "holdout": self.gathered.heldout}

    def _prints(self, rows: tuple[Any, Any]) -> Any:
        both = [prints[own] for prints, own in zip(self.gathered.fingerprints, rows, strict=True)]
        return np.concatenate(both).astype(np.int64)

    def _counts(self) -> str:
        (a, b), (held_a, held_b) = (
            [len(rows) for rows in part] for part in (self.gathered.train, self.gathered.heldout)
        )
        if self.gathered.aligned:
            return f"{a} pairs to train on, {held_a} held out to choose a snapshot by"
        return f"{a} images of A and {b} of B to train on, {held_a} and {held_b} held out to choose a snapshot by"

    def _description(self) -> dict[str, Any]:
        spec = self.method.spec
        return {
            "method": self.method.name,
            "layout": self.layout,
            "translates": True,
            "spec": {"A": spec.a.stored(), "B": spec.b.stored()},
            "settings": self.settings.model_dump(),
            "images": f"{derive(0, *self._prints(self.gathered.train).tolist()):016x}",
            **machine_of(self.fabric, self.settings.training.precision),
        }


class Best:
    """Judges the method at every sample step: quality.jsonl, a grid of pictures, and the best weights so far."""

    def __init__(self, run: RunFolder, method: TranslationMethod, examples: Examples) -> None:
        self.run, self.method, self.examples = run, method, examples
        self.file, self.kept = run.path / "quality.jsonl", RunFolder(run.path / "best")
        self.kept.path.mkdir(exist_ok=True)
        self.rows = self._forget_after(run.last_step())
        self.judged: Judged | None = None

    @property
    def words(self) -> str:
        """The newest row, for a progress line."""
        if not self.rows:
            return ""
        row = self.rows[-1]
        return "  ".join(f"{name} {row[name]:.3g}" for name in SHOWN if name in row) + f" (step {row['step']})"

    def preview(self) -> torch.Tensor:
        """Judge the method as it is, in training; the pictures of it."""
        with evaluating(self.method.networks):
            self.judged = judge(self.method, self.examples)
        return self.judged.pictures

    def take(self, pictures: torch.Tensor, step: int) -> None:
        """Write what `preview` has found after this step."""
        assert self.judged is not None
        save_grid(pictures.numpy(), self.run.path / f"samples-{step:06d}.png", self.judged.columns)
        row: dict[str, Any] = {"step": step} | {
            name: round(value, 6) for name, value in self.judged.values.items() if math.isfinite(value)
        }
        if error_of(row) < min(map(error_of, self.rows), default=math.inf):
            self.kept.save_snapshot(step, {"networks": self.method.networks.state_dict()})
        self.rows.append(row)
        self._write()

    def restore(self, steps: int) -> dict[str, Any]:
        """Load the best weights of the first `steps` into the method; its row, {} if the last weights stay."""
        rows = [row for row in self.rows if row["step"] <= steps]
        best = min(rows, key=lambda row: (error_of(row), row["step"]), default=None)
        found = self.kept.load_snapshot()
        if best is None or found is None or found[0] != best["step"]:
            return {}
        self.method.networks.load_state_dict(found[1]["networks"])
        return best

    def _forget_after(self, step: int) -> list[dict[str, Any]]:
        """The rows until `step`: a resumed run writes later ones again, and their weights."""
        rows = []
        for line in self.file.read_text(encoding="utf-8").splitlines() if self.file.is_file() else []:
            with suppress(ValueError):
                row = json.loads(line)
                rows += [row] if row["step"] <= step else []
        for path in self.kept.snapshots():
            if int(path.stem.rpartition("-")[2]) > step:
                path.unlink(missing_ok=True)
        return rows

    def _write(self) -> None:
        write_text_atomic(self.file, "".join(json.dumps(row) + "\n" for row in self.rows))


def error_of(row: dict[str, Any]) -> float:
    """What a row of quality.jsonl is chosen by; a translation that was not finite is never chosen."""
    return float(row.get("error", math.inf))


class _Judging:
    """A method's trainer, whose preview is what held-out examples become."""

    def __init__(self, trainer: TranslationTrainer, best: Best) -> None:
        self.trainer, self.best = trainer, best
        self.networks, self.optimizers = self.trainer.networks, self.trainer.optimizers

    def step(self, batch: Examples, step: int, rng: torch.Generator, backward: Backward) -> dict[str, torch.Tensor]:
        return self.trainer.step(batch, step, rng, backward)

    def preview(self, _batch: Examples) -> torch.Tensor:
        return self.best.preview()


@contextmanager
def evaluating(networks: nn.ModuleDict) -> Iterator[None]:
    """Evaluation mode for a while; every module is as before afterwards."""
    modes = [(module, module.training) for module in networks.modules()]
    networks.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
