"""What the parts share: options, clips, and every row's model, trained once or taken from an earlier run."""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anotwin import Detector, Settings
from anotwin.bundle import DOCUMENT
from anotwin.errors import SettingsError
from anotwin.methods import registry
from anotwin.methods.frames import Frames
from anotwin.methods.registry import METHODS
from anotwin.updates import Update, Watch
from benchmarks.common.script import asked
from benchmarks.video.baselines import DifferenceHighest, DifferenceMean
from benchmarks.video.clips import ClipSet
from benchmarks.video.moving_patches import NearestPatches, PrincipalPatches
from benchmarks.video.published import Published

DEFAULT = Frames.name
UNTRAINED = (DifferenceMean, DifferenceHighest, NearestPatches, PrincipalPatches)
MOVING = ("twin", "pix2pix")  # of single images: they look at patches of what moves
ROWS = (DEFAULT, *(kind.name for kind in UNTRAINED), Published.name, *MOVING)
WHOLE_SECONDS = "whole_seconds"  # in a model's history: from the files to the calibrated model
SMALL = (  # of --quick
    "training.steps=8", "training.batch_size=4", "networks.base_channels=4", "networks.memory=64", "data.holdout=0.3",
    "search.steps=4", "data.image_size=64",
)  # fmt: skip
SMALL_PATCHES = "data.image_size=32"  # of what moves in frames of 256 pixels


@contextmanager
def registered() -> Iterator[None]:
    """The registry with the rows that are no methods of the product, for as long as it takes."""
    others: dict[str, Any] = {kind.name: kind for kind in (*UNTRAINED, Published)}
    METHODS.update(others)
    registry.OWN[Published.name] = registry.own_settings(DEFAULT)
    try:
        yield
    finally:
        for name in others:
            del METHODS[name]
        del registry.OWN[Published.name]


@dataclass(eq=False)
class Study:
    """One run of the benchmark."""

    arguments: argparse.Namespace
    scratch: Path  # a folder that goes when the run ends
    watch: Watch
    detectors: dict[str, Detector] = field(default_factory=dict)

    @property
    def has_goals(self) -> bool:
        """Goals are of defaults."""
        return not self.arguments.quick and not self.arguments.set and self.arguments.steps is None

    def settings(self, method: str, changed: Sequence[str] = ()) -> Settings:
        """The defaults, and what the options change; `changed` last."""
        moving = not hasattr(METHODS[method], "looks_back")
        given = asked(self.arguments, ["data.view=moving"] if moving else [], SMALL)
        if moving and self.arguments.quick:
            given.append(SMALL_PATCHES)
        if any(method == kind.name for kind in UNTRAINED):  # there is nothing to train
            given += ["training.steps=1", "training.batch_size=2"]
        return Settings().with_overrides([*given, *changed])

    def detector(self, method: str, clips: ClipSet, changed: Sequence[str] = ()) -> Detector:
        """Trained on the training clips now or before in this run or, with --models, in another one.

        ``history["whole_seconds"]`` is what training took, from the files to the calibrated model.
        """
        settings, given = self.settings(method, changed), self.arguments
        text = json.dumps([settings.model_dump(mode="json"), given.device], sort_keys=True)
        name = f"{clips.name}-{method}-{hashlib.blake2b(text.encode(), digest_size=4).hexdigest()}"
        if name in self.detectors:
            return self.detectors[name]
        out = given.models and given.models / name
        if method == DEFAULT and given.model and not changed:
            found = calibrated(Detector.load(given.model, given.device), given.model)
        elif out and (out / DOCUMENT).is_file():
            self.watch(Update("note", detail=f"{out} is used again"))
            found = calibrated(Detector.load(out, given.device), out)
        else:
            self.watch(Update("note", detail=f"{clips.name}: training {method}"))
            began = time.perf_counter()
            found = Detector.train(
                clips.folder(self.scratch), out, method=method, settings=settings, device=given.device, watch=self.watch
            )
            found.history[WHOLE_SECONDS] = round(time.perf_counter() - began, 1)
            if out:
                found.save(out)
        self.detectors[name] = found
        return found


def calibrated(detector: Detector, where: Path) -> Detector:
    """The same; raises SettingsError for a model that raises no alarms."""
    if detector.calibration is None or detector.calibration.alarms is None:
        raise SettingsError(f"{where}: not calibrated on clips: call anotwin calibrate {where} CLIPS first")
    return detector
