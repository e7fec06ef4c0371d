"""Every row of the table: the product's methods through `Detector`, classical ones, other libraries' detectors."""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from anotwin import AnoTwinError, DataError, Detector, Settings
from anotwin.bundle import DOCUMENT
from anotwin.domains.registry import DOMAINS
from anotwin.methods.registry import METHODS
from anotwin.records import Finding
from anotwin.seeding import derive, fingerprint
from anotwin.settings import TrainingSettings
from anotwin.updates import Update, Watch
from benchmarks.common.images import column, watched
from benchmarks.common.kept import Keeper, Outcome
from benchmarks.common.rows import console
from benchmarks.common.script import PAPER, asked
from benchmarks.surfaces import classical
from benchmarks.surfaces.other_libraries import PEERS, failed, installed, peer_outcome
from benchmarks.surfaces.sets import Surfaces

DEFAULT = "default"  # whatever `anotwin train` does for such data
PLAIN = "anogan"  # with the paper's settings, on tiles of 64 x 64
LIGHT = "light"
CLASSICAL = ("PCA", "kNN", "autoencoder", LIGHT)
ROWS = (DEFAULT, PLAIN, *CLASSICAL)  # those that run where no other are named
TERMS = ("residual", "discrimination", "discriminator", "mean_residual")  # of findings, beside their score
TILES = "tiles"  # the view
SMALL = (  # of --quick
    "training.steps=12", "training.batch_size=8", "networks.base_channels=8", "data.image_size=32",
    "data.holdout=0.4", "search.steps=4", "calibration.false_alarm_rate=0.05",
)  # fmt: skip


@dataclass(eq=False)
class Study:
    """What the parts share."""

    arguments: argparse.Namespace
    sets: list[Surfaces]
    keeper: Keeper
    watch: Watch
    detectors: dict[str, Detector] = field(default_factory=dict)

    def settings(self, method: str, surfaces: Surfaces, changed: Sequence[str] = ()) -> Settings:
        """The defaults, the paper's protocol for anogan, and what the options change; `changed` last."""
        tiles = any(domain.view_name == TILES for domain in DOMAINS)
        first = list(surfaces.overrides)
        if surfaces.planted and tiles:  # of files the layout says so
            first.append(f"data.view={TILES}")
        if method == PLAIN:
            first += [*PAPER, "data.image_size=64", *([f"data.view={TILES}"] if tiles else [])]
        if "minutes" in TrainingSettings.model_fields:
            first.append(f"training.minutes={self.arguments.minutes}")
        return Settings().with_overrides([*asked(self.arguments, first, SMALL), *changed])

    def detector(self, method: str, surfaces: Surfaces, changed: Sequence[str] = ()) -> Detector:
        """Trained now or before in this run or, with --models, in another one."""
        settings = self.settings(method, surfaces, changed)
        text = json.dumps([settings.model_dump(mode="json"), self.arguments.device], sort_keys=True)
        name = f"{surfaces.name}-{method}-{hashlib.blake2b(text.encode(), digest_size=4).hexdigest()}"
        if name in self.detectors:
            return self.detectors[name]
        out = self.arguments.models and self.arguments.models / name
        if out and (out / DOCUMENT).is_file():
            self.watch(Update("note", detail=f"{out} is used again"))
            found = Detector.load(out, self.arguments.device)
        else:
            named = None if method == DEFAULT else method
            found = Detector.train(
                surfaces.data, out, method=named, settings=settings, device=self.arguments.device, watch=self.watch
            )
        self.detectors[name] = found
        return found

    def outcome(self, method: str, surfaces: Surfaces, changed: Sequence[str] = ()) -> Outcome:
        """Scores (N,), maps (all pixels of all test images in one row) and, of the product, decisions."""
        own = method not in CLASSICAL and method not in PEERS
        key = {"method": method, "normal": f"-{surfaces.name}", "seed": self.seed, "device": self.arguments.device}
        key |= {"minutes": self.arguments.minutes, "learnt": _digest(surfaces.training)}
        key |= {"scored": _digest(surfaces.images)}
        if own:
            key["settings"] = self.settings(method, surfaces, changed).model_dump(mode="json")
        ids = [item.id for item in surfaces.test.items]
        self.watch(Update("note", detail=f"{surfaces.name}: {method} {' '.join(changed)}"))
        make = self._own if own else self._other
        return self.keeper.once(key, ids, self.watch, lambda: make(method, surfaces, changed))

    @property
    def seed(self) -> int:
        return Settings().with_overrides(asked(self.arguments, (), SMALL)).training.seed

    def _other(self, method: str, surfaces: Surfaces, _: Sequence[str]) -> Outcome:
        train, test, minutes = surfaces.training, surfaces.images, self.arguments.minutes
        if method in PEERS:
            return peer_outcome(method, train, test, self.seed, minutes)
        if method == "autoencoder":
            return classical.autoencoder(train, test, self.seed, minutes, self.arguments.device, self.watch)
        if method == LIGHT:
            return classical.light(train, test, self.watch)
        return classical.patches(method, train, test, self.seed, self.watch)

    def _own(self, method: str, surfaces: Surfaces, changed: Sequence[str]) -> Outcome:
        try:
            began = time.perf_counter()
            detector = self.detector(method, surfaces, changed)
            training = detector.history.get("seconds", time.perf_counter() - began)
            return scored(detector, surfaces, float(training), self.watch)
        except AnoTwinError as error:  # one row less; the others go on
            return failed(str(error))


def scored(detector: Detector, surfaces: Surfaces, training: float, watch: Watch) -> Outcome:
    """What a detector says of the test images."""
    findings: list[Finding] = []
    heats, began, count = [], time.perf_counter(), len(surfaces.test.items)
    for finding in watched(detector.findings(surfaces.test), "scoring", count, watch):
        if finding.error or finding.heatmap is None:
            raise DataError(f"{surfaces.name}: {finding.error or finding.id + ' has no heatmap'}")
        heats.append(finding.heatmap.astype(np.float32).ravel())
        findings.append(_without_pictures(finding))
    seconds = time.perf_counter() - began
    columns = {name: column(findings, name) for name in ("score", "anomalous", *TERMS)}
    promised = detector.calibration.false_alarm_rate if detector.calibration else np.nan
    columns |= {"heat": np.concatenate(heats), "promised": np.array([promised])}
    return Outcome(columns, seconds, training, f"{detector.method.name}, {detector.history.get('steps', '?')} steps")


def _without_pictures(finding: Finding) -> Finding:
    return replace(finding, query=None, counterpart=None, difference=None, heatmap=None, evidence=None)


def _digest(images: Sequence[np.ndarray]) -> str:
    return f"{derive(0, *[fingerprint(image) for image in images]):016x}"


def chosen(arguments: argparse.Namespace) -> list[str]:
    """The rows asked for, those that exist; of the others a line says why they are left out."""
    names = list(arguments.methods or ROWS)
    if arguments.peers:
        names += [name for name in PEERS if name not in names]
    known = [name for name in names if name in (DEFAULT, *CLASSICAL, *PEERS) or name in METHODS]
    for name in names:
        if name not in known:
            console.print(f"{name} is skipped: there is no such method (there are {', '.join(METHODS)})", markup=False)
    if not installed() and set(known) & set(PEERS):
        console.print("PatchCore, GANomaly and DRAEM are left out: 'make peers' installs them (about 7 GB)")
        known = [name for name in known if name not in PEERS]
    return known
