"""What the parts share: options, where data are, and every row's model, trained once or taken from an earlier run."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from anotwin import Settings
from anotwin.bundle import DOCUMENT
from anotwin.data.pixels import read_pixels
from anotwin.evaluate.metrics import number_groups
from anotwin.evaluate.paired import Estimate
from anotwin.report.overlay import save_png
from anotwin.seeding import derive, fingerprint
from anotwin.translation.kinds import LAYOUT_OF
from anotwin.translation.protocol import Direction
from anotwin.translator import Translator
from anotwin.updates import Update, Watch
from benchmarks.common.rows import Cell, Interval, Row, console
from benchmarks.common.script import asked
from benchmarks.translation.judges import Judge, Pixels, Sample, kept_judge, of_crops, train_judge
from benchmarks.translation.sheets import save_sheet

WHOLE_SECONDS, OF_PROCESSOR = "whole_seconds", "processor_seconds"  # in a model's history: of training, from the files
SMALL = (  # of --quick
    "training.steps=4", "training.batch_size=4", "networks.base_channels=4", "data.image_size=64",
    "translation.patch=16",
)  # fmt: skip
QUICK_JUDGE = 6  # steps
SHADE = 0.3  # by how much the brightness and contrast of patches vary

cell = partial(Cell, "translation")  # case, method


@dataclass(eq=False)
class Study:
    """One run of the benchmark."""

    arguments: argparse.Namespace
    scratch: Path  # a folder that goes when the run ends
    watch: Watch
    translators: dict[str, Translator] = field(default_factory=dict)

    @property
    def quick(self) -> bool:
        return bool(self.arguments.quick)

    @property
    def seed(self) -> int:
        return int(self.arguments.seed)

    @property
    def has_goals(self) -> bool:
        """Goals are of the settings that a part names."""
        return not self.quick and not self.arguments.set and self.arguments.steps is None

    def cell(self, case: str, method: str) -> Cell:
        """Where rows belong."""
        return cell(case, method, self.has_goals)

    def count(self, whole: int, quick: int) -> int:
        """How many images to measure on."""
        return quick if self.quick else whole

    def sheet(self, part: str, titles: Sequence[str], rows: Sequence[Sequence[Pixels]], side: int = 160) -> None:
        """A contact sheet beside the file of --json."""
        path = self.arguments.json
        save_sheet(path and path.with_name(f"{path.stem}-{part}.png"), titles, rows, side)

    def judge(self, name: str, sample: Sample, learnt: int, channels: int, classes: int, steps: int) -> Judge:
        """A judge of this name, trained on what has the fingerprint `learnt` now or, with --models, in another run."""
        steps = QUICK_JUDGE if self.quick else steps
        make = partial(train_judge, name, channels, classes, sample, steps, self.watch, self.seed)
        return kept_judge(self.arguments.models, [name, learnt, steps, self.seed], channels, classes, make)

    def origin_network(
        self, name: str, images: Sequence[Pixels], origins: Sequence[str], side: int, steps: int
    ) -> Judge:
        """A judge that tells which of the origins (N,) of these training images a patch of this side is of."""
        known, channels, numbers = digest(images), 1 if images[0].ndim == 2 else 3, number_groups(origins)
        sample = of_crops(images, numbers.tolist(), side, SHADE)
        return self.judge(name, sample, known, channels, int(numbers.max()) + 1, steps)

    def settings(self, changed: Sequence[str]) -> Settings:
        """What a row names, then the options."""
        seeded = [*changed, f"training.seed={self.seed}"]
        return Settings().with_overrides(asked(self.arguments, seeded, SMALL))

    def translator(self, row: str, method: str, data: Path, changed: Sequence[str]) -> Translator:
        """Trained on a folder now or, with --models, in another run; `row` is the name of it.

        ``history["whole_seconds"]`` is what training took, from the files to the model, and ``"processor_seconds"`` the
        time of the processor in it, all threads together, which other work on the machine hardly changes.
        """
        settings, given = self.settings(changed), self.arguments
        text = json.dumps([settings.model_dump(mode="json"), given.device, method], sort_keys=True)
        name = re.sub(r"\W+", "-", f"{row} {hashlib.blake2b(text.encode(), digest_size=4).hexdigest()}")
        if name in self.translators:
            return self.translators[name]
        out = given.models and given.models / name
        if out and (out / DOCUMENT).is_file():
            self.watch(Update("note", detail=f"{out} is used again"))
            found = Translator.load(out, given.device)
        else:
            self.watch(Update("note", detail=f"training {row}"))
            began, busy = time.perf_counter(), time.process_time()
            found = Translator.train(
                data, out, method=method, layout=LAYOUT_OF[method], settings=settings, device=given.device,
                watch=self.watch,
            )  # fmt: skip
            found.history[WHOLE_SECONDS] = round(time.perf_counter() - began, 1)
            found.history[OF_PROCESSOR] = round(time.process_time() - busy, 1)
            if out:
                found.save(out)
        self.translators[name] = found
        return found

    def translated(self, translator: Translator, images: Sequence[Pixels], direction: Direction) -> list[Pixels]:
        """Every image as an image of the other domain, uint8."""
        found = []
        for done, image in enumerate(images, start=1):
            found.append(np.asarray(translator.translate(image, direction), np.uint8))
            self.watch(Update("translating", done, len(images)))
        return found


def find_folder(data: Path | None, *below: str) -> Path | None:
    """A folder below --data, ANOTWIN_DATA or ../shared/data; None where it is in none of them."""
    places = [data] if data else [Path(place) for place in (os.environ.get("ANOTWIN_DATA"), "../shared/data") if place]
    return next((root for place in places if (root := place.joinpath(*below)).is_dir()), None)


def digest(images: Sequence[Pixels]) -> int:
    """Of the content of all of them."""
    return derive(0, *[fingerprint(np.asarray(image)) for image in images])


def skipped(part: str, how: str) -> Iterator[Row]:
    """No rows, and a printed line that says how to get the data."""
    console.print(f"{part} is skipped: {how}", markup=False)
    yield from ()


def write_images(folder: Path, images: Sequence[Pixels], prefix: str = "") -> Path:
    """PNG files 00000.png ... in order."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        save_png(np.ascontiguousarray(image), folder / f"{prefix}{number:05d}.png")
    return folder


def read_images(folder: Path) -> dict[str, Pixels]:
    """All images of a folder by the stem of their names, in the order of these."""
    paths = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return {path.stem: np.asarray(read_pixels(path), np.uint8) for path in paths}


def interval(found: Estimate) -> Interval | None:
    """None where there are too few groups for one."""
    return None if np.isnan(found.low) else (found.low, found.high)


def training_row(rows: Cell, translator: Translator, goal: str | None = None) -> Iterator[Row]:
    """How long training took, where this is known."""
    if WHOLE_SECONDS in translator.history:
        yield rows.row("training_seconds", float(translator.history[WHOLE_SECONDS]), unit="s")
        yield rows.row("processor_seconds", float(translator.history[OF_PROCESSOR]), unit="s", goal=goal)


Part = Callable[[Study], Iterator[Row]]
