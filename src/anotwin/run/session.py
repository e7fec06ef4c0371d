"""One training from a source of normals to a finished method: prepare, split, train, remember, examine."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anotwin.data.grouping import NONE
from anotwin.data.split import split_holdout, split_notes
from anotwin.domains.open import LINES, notes_of, table_of
from anotwin.domains.registry import domain_seeing
from anotwin.errors import DataError, SettingsError, TrainingDiverged
from anotwin.files import check_apart
from anotwin.methods.protocol import NO_CONTEXT, LearnsFromAbnormal, LooksBack, Method, RemembersNormals, freeze
from anotwin.methods.registry import create, own_settings
from anotwin.records import ImageSource
from anotwin.report.grid import save_grid
from anotwin.run.abnormal import Abnormal, check_wanted, open_abnormal, prepare_abnormal
from anotwin.run.device import fabric_for, machine_of
from anotwin.run.duplicates import find_duplicates, regrouped
from anotwin.run.health import examine_method
from anotwin.run.leaks import group_marks
from anotwin.seeding import derive
from anotwin.settings import Settings
from anotwin.training.loop import Progress, train
from anotwin.training.protocol import Rows, TrainingImages, TrainingSet
from anotwin.training.resume import open_run
from anotwin.training.run_folder import RunFolder
from anotwin.updates import Passing, Update, Watch, tell


@dataclass(eq=False)
class Trained:
    """The result of a training session: all that a detector is made of but its calibration."""

    method: Method
    fingerprints: dict[str, torch.Tensor]  # "train", "holdout" and others, see bundle.py
    layout: dict[str, str | None]  # its name and normal label
    history: dict[str, Any]
    training: list[int]  # indices in the source
    heldout: list[int]


class TrainingSession:
    """Samples the source and creates the method: what cannot work raises here, before any image is prepared."""

    def __init__(
        self,
        source: ImageSource,
        folder: Path,
        method: str | None,
        settings: Settings,
        device: str,
        watch: Watch,
        abnormal_images: Any = None,
    ) -> None:
        self.source, self.folder, self.watch = source, folder, watch
        tell(watch, table_of(source), most=LINES)
        self.indices = normals_of(source)
        if len(self.indices) < 2:
            raise DataError(f"{source.root}: one single image; training needs many normals, at least a few dozen")
        domain = domain_seeing(source, self.indices, settings)
        method, self.view = method or domain.method, domain.view()
        if isinstance(abnormal_images, str | Path):  # kept in run.json, for a resumed run
            place = json.dumps(str(abnormal_images), ensure_ascii=False)
            settings, abnormal_images = settings.with_overrides([f"data.abnormal_images={place}"]), None
        self.settings = settings = settings.completed(own_settings(method))
        spec, notes = self.view.spec(source, self.indices, settings)
        self.passing = [note for note in notes_of(source) if isinstance(note, Passing)]
        self.notes = [*(note for note in notes_of(source) if not isinstance(note, Passing)), *notes]
        self.fabric = fabric_for(device, settings.training.precision)
        self.method = create(method, spec, settings)
        if isinstance(self.method, LooksBack) and self.method.looks_back > domain.looks_back:
            raise SettingsError(NO_CONTEXT.format(method=method, view=spec.view))
        given = settings.data.abnormal_images if abnormal_images is None else abnormal_images
        check_apart(folder, given)
        check_wanted(self.method, given)
        self.abnormal = None if given is None else open_abnormal(given, domain, spec, settings)

    def run(self, resume: bool, keep: Callable[[Trained], None]) -> Trained:
        """Train to the end; `keep` saves the method as soon as it is finished, also that of a diverged training.

        Raises DataError, SettingsError, and TrainingDiverged after the last good snapshot was kept.
        """
        spec = self.method.spec
        images = self.view.training(self.source, self.indices, spec, self.settings, self.folder, self.watch)
        with closing(images):
            if self.abnormal is None:
                return self._learn(images, None, resume, keep)
            abnormal = self._prepare_abnormal(self.abnormal, images)
            with closing(abnormal.images):
                return self._learn(images, abnormal, resume, keep)

    def _prepare_abnormal(self, source: ImageSource, normals: TrainingImages) -> Abnormal:
        def prepare(source: ImageSource, indices: Sequence[int]) -> TrainingImages:
            return self.view.training(source, indices, self.method.spec, self.settings, self.folder, self.watch)

        fewest = self.method.fewest_abnormal if isinstance(self.method, LearnsFromAbnormal) else 1
        found = prepare_abnormal(source, (self.source, normals), prepare, fewest)
        self.notes += found.notes
        tell(self.watch, found.notes)
        return found

    def _learn(
        self, images: TrainingImages, abnormal: Abnormal | None, resume: bool, keep: Callable[[Trained], None]
    ) -> Trained:
        method, (training, heldout) = self.method, self._split(images)
        known = [images.fingerprints[training], *([abnormal.fingerprints] if abnormal else [])]
        description = self._description(np.concatenate(known))
        run = open_run(self.folder, method.name, description, resume, lambda note: tell(self.watch, [note]))
        training_set, heldout_set = images.subset(training), images.subset(heldout)  # raises before training
        learnt = training_set if abnormal is None else abnormal.beside(training_set, self.settings.training.seed)
        diverged, seconds = self._train(learnt, run)
        steps = run.last_step()
        if diverged is not None and steps == 0:
            raise diverged
        freeze(method.networks)
        if isinstance(method, RemembersNormals):
            method.remember_normals(training_set)
        health = examine_method(method, heldout_set, training_set)
        self.watch(Update("note", detail=health.advice))
        trained = Trained(
            method,
            {
                part: torch.from_numpy(images.fingerprints[rows].astype(np.int64))
                for part, rows in (("train", training), ("holdout", heldout))
            }
            | group_marks(self.named, images.indices[training], images.fingerprints[training])
            | (abnormal.marks(images.fingerprints[training]) if abnormal else {}),
            self._layout(),
            {
                "notes": self.notes,
                "seed": self.settings.training.seed,
                "run": run.path.name,
                "steps": steps,
                "seconds": round(seconds, 1),
                "torch": torch.__version__,
                "python": platform.python_version(),
                "health": asdict(health),
                **_reference(images),
            },
            *[[int(images.indices[row]) for row in rows] for rows in (training, heldout)],
        )
        keep(trained)
        if diverged is not None:
            raise diverged
        return trained

    def _split(self, images: TrainingImages) -> tuple[Rows, Rows]:
        data, seed = self.settings.data, self.settings.training.seed
        named = [self.source.items[index] for index in images.indices]
        self.named = self.source  # with the groups that have names
        found = find_duplicates(images, named, parts=self.method.spec.parts, join=data.group != NONE)
        self.source = regrouped(self.source, images.indices, found.items)
        training, heldout = split_holdout(found.items, data.holdout, data.holdout_most, seed, list(images.fingerprints))
        self.notes += [*split_notes(found.items, training, heldout), *found.notes(training, heldout)]
        counts = f"{len(training)} to train on, {len(heldout)} held out for health and calibration"
        told = [f"{len(training) + len(heldout)} normal images: {counts}", *self.passing]
        notes, failed = [*told, *self.notes], images.failures
        if failed:
            notes.append(f"{len(failed)} image{'s' if len(failed) > 1 else ''} left out, the first: {failed[0][1]}")
        tell(self.watch, notes)
        return training, heldout

    def _layout(self) -> dict[str, str | None]:
        data = self.settings.data
        told = {"name": self.source.layout, "normal": data.normal}
        return told | {"abnormal": data.abnormal} if data.abnormal else told

    def _description(self, fingerprints: Rows) -> dict[str, Any]:
        return {
            "method": self.method.name,
            "spec": self.method.spec.stored(),
            "settings": self.settings.model_dump(),
            "images": f"{derive(0, *fingerprints.tolist()):016x}",
            **machine_of(self.fabric, self.settings.training.precision),
        }

    def _train(self, images: TrainingSet, run: RunFolder) -> tuple[TrainingDiverged | None, float]:
        """Why the training ended early, if it did, and its seconds."""

        def show(progress: Progress) -> None:
            losses = [f"{key[5:]} {value:.2f}" for key, value in progress.losses.items() if key.startswith("loss_")]
            detail = f"{progress.images_per_second:,.0f} images/s  loss {' '.join(losses)}"
            self.watch(Update("training", progress.step, progress.steps, detail))

        def grid(pictures: torch.Tensor, step: int) -> None:
            save_grid(pictures.numpy(), run.path / f"samples-{step:06d}.png")

        self.method.networks.to(self.fabric.device)  # also what the trainer leaves alone: the norms, other networks
        trainer, settings = self.method.trainer(), self.settings.training
        try:
            return None, train(trainer, images, settings, run, self.fabric, show=show, save_grid=grid)
        except TrainingDiverged as error:
            return error, 0.0


def _reference(images: TrainingImages) -> dict[str, Any]:
    """What the view keeps of the training images to compare with (`anotwin.domains.protocol.Refers`), if it does."""
    reference = dict(getattr(images, "reference", {}))
    return {"reference": reference} if reference else {}


def normals_of(source: ImageSource) -> list[int]:
    """All images but those known to be abnormal: a source in memory may hold both."""
    return [index for index, item in enumerate(source.items) if item.normal is not False]
