"""One training from a source of normals to a finished method: prepare, split, train, remember, examine."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from anotwin.data.split import split_holdout
from anotwin.domains.open import notes_of
from anotwin.domains.protocol import View
from anotwin.domains.registry import domain_for
from anotwin.errors import DataError, TrainingDiverged
from anotwin.methods.protocol import Method, RemembersNormals, freeze
from anotwin.methods.registry import create
from anotwin.records import ImageSource
from anotwin.report.grid import save_grid
from anotwin.run.device import fabric_for
from anotwin.run.health import examine_method
from anotwin.seeding import derive
from anotwin.settings import Settings
from anotwin.training.loop import Progress, train
from anotwin.training.protocol import Rows, TrainingImages, TrainingSet
from anotwin.training.resume import open_run
from anotwin.training.run_folder import RunFolder
from anotwin.updates import Update, Watch, tell


@dataclass(eq=False)
class Trained:
    """What a training session leaves behind: all that a detector is made of but its calibration."""

    method: Method
    fingerprints: dict[str, torch.Tensor]  # "train" and "holdout"
    layout: dict[str, str | None]
    history: dict[str, Any]
    heldout: list[int] = field(default_factory=list)  # in the source


@dataclass(eq=False)
class TrainingSession:
    """A method, its device and the source that it is to learn from; `run` does the rest."""

    source: ImageSource
    indices: list[int]  # the normals in the source
    folder: Path  # of the runs
    settings: Settings
    watch: Watch
    view: View
    method: Method
    fabric: Fabric
    notes: list[str]

    @classmethod
    def begin(
        cls, source: ImageSource, folder: Path, name: str, settings: Settings, device: str, watch: Watch
    ) -> TrainingSession:
        """Look at the source and make the method; what cannot be fails here, before any image is prepared."""
        indices = normals_of(source)
        if len(indices) < 2:
            raise DataError(f"{source.root}: one single image; training needs many normals, at least a few dozen")
        view = domain_for(settings.data.view, settings.data.layout, source.layout).view()
        spec, notes = view.spec(source, indices, settings.data, settings.training.seed)
        fabric = fabric_for(device, settings.training.precision)
        method = create(name, spec, settings)
        return cls(source, indices, folder, settings, watch, view, method, fabric, [*notes_of(source), *notes])

    def run(self, resume: bool, keep: Callable[[Trained], None]) -> Trained:
        """Train to the end; `keep` saves the method as soon as it is finished, also that of a diverged training.

        Raises DataError, SettingsError, and TrainingDiverged after the last good snapshot was kept.
        """
        images = self.view.training(
            self.source,
            self.indices,
            self.method.spec,
            self.settings.data,
            self.settings.training.seed,
            self.folder,
            lambda done, total: self.watch(Update("preparing", done, total)),
        )
        try:
            return self._learn(images, resume, keep)
        finally:
            images.close()

    def _learn(self, images: TrainingImages, resume: bool, keep: Callable[[Trained], None]) -> Trained:
        training, heldout = self._split(images)
        run = open_run(self.folder, self.method.name, self._description(images.fingerprints[training]), resume)
        trained = Trained(
            self.method,
            {
                part: torch.from_numpy(images.fingerprints[rows].astype(np.int64))
                for part, rows in (("train", training), ("holdout", heldout))
            },
            {"name": self.source.layout, "normal": self.settings.data.normal},
            {"notes": self.notes, "seed": self.settings.training.seed, "run": run.path.name},
            [int(images.indices[row]) for row in heldout],
        )
        to_learn, to_judge = images.subset(training), images.subset(heldout)  # what cannot be fails before training
        diverged, seconds = self._train(to_learn, run)
        freeze(self.method.networks)
        steps = run.last_step()
        trained.history |= {"steps": steps, "seconds": round(seconds, 1)}
        trained.history |= {"torch": torch.__version__, "python": platform.python_version()}
        if diverged is None or steps > 0:
            if isinstance(self.method, RemembersNormals):
                most = min(self.method.most_remembered, len(to_learn))
                self.method.remember_normals(to_learn.batch(np.arange(most)).images)
            health = examine_method(self.method, to_judge, to_learn)
            trained.history["health"] = health.as_dict()
            self.watch(Update("note", detail=health.advice))
            keep(trained)
        if diverged is not None:
            raise diverged
        return trained

    def _split(self, images: TrainingImages) -> tuple[Rows, Rows]:
        data, items = self.settings.data, [self.source.items[index] for index in images.indices]
        training, heldout = split_holdout(
            items, data.holdout, data.holdout_most, self.settings.training.seed, list(images.fingerprints)
        )
        counts = f"{len(training)} to train on, {len(heldout)} held out for health and calibration"
        note = f"{len(training) + len(heldout)} normal images: {counts}"
        tell(self.watch, [note, *self.notes, *_failure_note(images.failures)])
        return training, heldout

    def _description(self, fingerprints: Rows) -> dict[str, Any]:
        return {
            "method": self.method.name,
            "spec": self.method.spec.stored(),
            "settings": self.settings.model_dump(),
            "images": f"{derive(0, *fingerprints.tolist()):016x}",
            "torch": torch.__version__,
        }

    def _train(self, images: TrainingSet, run: RunFolder) -> tuple[TrainingDiverged | None, float]:
        """Why the training ended early, if it did, and its seconds."""

        def show(progress: Progress) -> None:
            losses = [f"{key[5:]} {value:.2f}" for key, value in progress.losses.items() if key.startswith("loss_")]
            detail = f"{progress.images_per_second:,.0f} images/s  loss {' '.join(losses)}"
            self.watch(Update("training", progress.step, progress.steps, detail))

        def grid(pictures: torch.Tensor, step: int) -> None:
            save_grid(pictures.numpy(), run.path / f"samples-{step:06d}.png")

        trainer, settings = self.method.trainer(), self.settings.training
        try:
            return None, train(trainer, images, settings, run, self.fabric, show=show, save_grid=grid)
        except TrainingDiverged as error:
            return error, 0.0


def normals_of(source: ImageSource) -> list[int]:
    """All images but those known to be abnormal: a source in memory may hold both."""
    return [index for index, item in enumerate(source.items) if item.normal is not False]


def _failure_note(failures: Sequence[tuple[int, str]]) -> list[str]:
    if not failures:
        return []
    return [f"{len(failures)} image{'s' if len(failures) > 1 else ''} left out, the first: {failures[0][1]}"]
