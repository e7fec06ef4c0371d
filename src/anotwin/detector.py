"""`Detector`: train, calibrate, score, save, load: what the command line and notebooks call.

>>> from anotwin import Detector, Settings
>>> from anotwin.data.synthetic import textured_discs
>>> normals, _ = textured_discs(60, size=16, seed=0)
>>> small = Settings().with_overrides(
...     ["training.steps=20", "networks.base_channels=4", "calibration.false_alarm_rate=0.2"])
>>> detector = Detector.train(normals, settings=small)
>>> queries, _ = textured_discs(2, size=16, seed=1, abnormal=True)
>>> [(finding.id, finding.counterpart.shape, finding.status) for finding in detector.score(queries)]
[('image-00000', (16, 16), 'converged'), ('image-00001', (16, 16), 'converged')]
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import torch

from anotwin.bundle import Bundle, describe, load_bundle, save_bundle, save_calibration
from anotwin.calibrate.threshold import calibrate, normals_needed, smallest_rate
from anotwin.data.folder import Part
from anotwin.domains.open import notes_of, open_source
from anotwin.domains.protocol import Domain
from anotwin.domains.registry import domain_of_view
from anotwin.errors import DataError, SettingsError
from anotwin.files import check_apart, check_writable
from anotwin.methods.protocol import Method, Samples, device_of, freeze
from anotwin.methods.registry import DEFAULT_METHOD, METHODS, create, expected_tensors
from anotwin.records import Calibration, Finding, ImageSource, ImageSpec, Trace
from anotwin.run.device import fabric_for
from anotwin.run.local import NormalScores, normal_scores, score_stream, trace_search
from anotwin.run.session import Trained, TrainingSession, normals_of
from anotwin.settings import Settings
from anotwin.training.run_folder import RunFolder
from anotwin.updates import Update as Update
from anotwin.updates import Watch as Watch
from anotwin.updates import silent, tell


class Detector:
    """A trained method with its calibration.

    Attributes: `method` with its networks, `calibration` (None: not calibrated), `layout` (name and normal label that
    training used), `history` (JSON: steps, seconds, versions, health, notes), `fingerprints` ("train" and "holdout":
    hashes of the images).
    """

    def __init__(
        self,
        method: Method,
        *,
        calibration: Calibration | None = None,
        fingerprints: dict[str, torch.Tensor] | None = None,
        layout: dict[str, str | None] | None = None,
        history: dict[str, Any] | None = None,
    ) -> None:
        self.method = method
        self.calibration = calibration
        self.fingerprints = fingerprints or {}
        self.layout = layout or {}
        self.history = history or {}

    @property
    def spec(self) -> ImageSpec:
        """What the model takes."""
        return self.method.spec

    @property
    def settings(self) -> Settings:
        """The settings of all stages."""
        return self.method.settings

    @property
    def threshold(self) -> float | None:
        """An image is anomalous above this score; None before calibration."""
        return self.calibration.threshold if self.calibration else None

    @property
    def domain(self) -> Domain:
        """The domain whose images this model scores."""
        return domain_of_view(self.spec.view)

    @property
    def trained_on(self) -> frozenset[int]:
        """Fingerprints of the training images."""
        return frozenset(self.fingerprints["train"].tolist()) if "train" in self.fingerprints else frozenset()

    # -- learning -----------------------------------------------------------------------------------------------------

    @classmethod
    def train(
        cls,
        data: Any,
        out: str | Path | None = None,
        *,
        method: str | None = None,
        settings: Settings | None = None,
        resume: bool = False,
        device: str = "auto",
        watch: Watch = silent,
    ) -> Self:
        """Learn normal from `data`, calibrate on the normals held out, and save to `out` if given.

        `data` is a folder in one of the layouts, or images: (N, H, W), (N, H, W, 3) arrays, (N, C, H, W) tensors, or
        a list of arrays. The share `settings.data.holdout` of the normals is not trained on: it measures the health of
        the model and calibrates it. `resume` continues the last run below `out`, with that run's settings unless others
        are given. Raises DataError, SettingsError, or TrainingDiverged (then `out` holds the last good snapshot).
        """
        if resume:
            if out is None:
                raise SettingsError("resume needs the folder of the run: give out=")
            begun = str(RunFolder.latest(Path(out)).description().get("method"))
            if method not in (None, begun):
                raise SettingsError(f"{out}: its last run is {begun}, not {method}; start a new run without --resume")
            method, settings = begun, settings or cls.settings_of_run(out)
        method, settings = method or DEFAULT_METHOD, settings or Settings()
        source = open_source(data, "train", settings.data.layout, settings.data.normal)
        with tempfile.TemporaryDirectory(prefix="anotwin-") as scratch:
            folder = Path(out) if out is not None else Path(scratch)
            check_apart(folder, data)
            session = TrainingSession(source, folder, method, settings, device, watch)
            check_writable(folder)  # makes it: after what cannot be trained, before any image is prepared
            keep = (lambda done: cls._of(done).save(folder)) if out is not None else (lambda _: None)
            trained = session.run(resume, keep)
            detector = cls._of(trained)
            normals = detector._score_normals(source, trained.heldout, watch)
            detector._set_thresholds(normals, detector._reachable_rate(len(normals.scores), watch), watch)
            if out is not None:
                detector.save(folder)
        return detector

    @classmethod
    def _of(cls, trained: Trained) -> Self:
        return cls(trained.method, fingerprints=trained.fingerprints, layout=trained.layout, history=trained.history)

    # -- deciding -----------------------------------------------------------------------------------------------------

    def calibrate(
        self, data: Any, false_alarm_rate: float | None = None, *, watch: Watch = silent, layout: str = "auto"
    ) -> Calibration:
        """Set the threshold from normals: a folder of them, or the training data (only the held-out ones are used).

        Images that the model was trained on are recognised by content and left out, wherever they lie. Raises DataError
        where too few are left for the rate, saying how many are needed and which rate these allow.
        """
        rate = self.settings.calibration.false_alarm_rate if false_alarm_rate is None else false_alarm_rate
        if not 0 < rate < 1:
            raise SettingsError(f"false-alarm rate {rate}: must lie between 0 and 1, for example 0.01")
        source = self.open(data, layout, "train")
        tell(watch, notes_of(source))
        return self._set_thresholds(self._score_normals(source, normals_of(source), watch), rate, watch)

    def _score_normals(self, source: ImageSource, indices: Sequence[int], watch: Watch) -> NormalScores:
        def progress(done: int) -> None:
            watch(Update("calibrating", done, len(indices)))

        normals = normal_scores(self.method, source, indices, self.trained_on, progress)
        tell(watch, [f"left out: {failure}" for failure in normals.failures[:3]])
        return normals

    def _set_thresholds(self, normals: NormalScores, rate: float, watch: Watch) -> Calibration:
        self.calibration = calibrate(
            normals.scores, normals.residuals, normals.discriminations, normals.heatmap_scale, rate
        )
        left_out = f", {normals.excluded} left out because the model was trained on them" if normals.excluded else ""
        watch(Update("note", detail=f"calibrated on {len(normals.scores)} normals{left_out}"))
        return self.calibration

    def _reachable_rate(self, count: int, watch: Watch) -> float:
        """The false-alarm rate of the settings or, where `count` normals are too few for it, the lowest they allow."""
        rate, lowest = self.settings.calibration.false_alarm_rate, smallest_rate(count)
        if lowest <= rate:
            return rate
        note = (
            f"{count} held-out normals are too few for a false-alarm rate of {rate:g} ({normals_needed(rate)} are "
            f"needed): calibrated at {lowest:.2%}, the lowest they allow"
        )
        watch(Update("note", detail=note))
        self.history["notes"] = [*self.history.get("notes", []), note]
        return lowest

    # -- scoring ------------------------------------------------------------------------------------------------------

    def open(self, data: Any, layout: str = "auto", part: Part = "test") -> ImageSource:
        """The images of `data`, a part of a layout, any folder, or images in memory.

        The normal label is that of the training data, or none where the data have no such label.
        """
        normal = self.layout.get("normal")
        layout = self.domain.own_layout if layout == "auto" else layout
        try:
            return open_source(data, part, layout, normal)
        except DataError:
            if normal is None:
                raise
            source = open_source(data, part, layout)
            if part == "train" and any(item.label is not None and not item.normal for item in source.items):
                raise  # other labels than in training: which of them are normal is not known
            return source

    def findings(
        self,
        data: Any,
        indices: Sequence[int] | None = None,
        *,
        pictures: bool | Callable[[Finding], bool] = True,
        layout: str = "auto",
    ) -> Iterator[Finding]:
        """Score as a stream, in the order of the source; memory does not grow with the number of images.

        `pictures`: for every image, for none, or where a function of the finding without pictures is true.
        """
        source = self.open(data, layout)
        return score_stream(self.method, source, self.calibration, indices, pictures=pictures)

    def score(self, data: Any, *, pictures: bool = True) -> list[Finding]:
        """Score everything in `data` (a folder or images); a list, for what fits in memory. See `findings`."""
        return list(self.findings(data, pictures=pictures))

    def trace(self, data: Any, indices: Sequence[int], steps: Sequence[int]) -> Trace | None:
        """The search for the counterparts of a few images: the best until each of `steps`; None without a search."""
        return trace_search(self.method, self.open(data), indices, steps)

    def sample(self, count: int, seed: int = 0) -> torch.Tensor:
        """New normal images (count, C, S, S) in [-1, 1], for augmentation or to see what was learnt.

        Raises SettingsError for a method that draws none.
        """
        if count < 1:
            raise SettingsError(f"cannot sample {count} images: at least 1")
        if not isinstance(self.method, Samples):
            able = " or ".join(name for name, kind in METHODS.items() if hasattr(kind, "sample"))
            raise SettingsError(f"method {self.method.name} cannot sample, it has no prior; train with --method {able}")
        return self.method.sample(count, seed).float().cpu()

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """The discriminator's features (B, F) of squares (B, C, S, S) in [-1, 1], on the CPU."""
        return self.method.critique(images).features.float().cpu()

    # -- keeping ------------------------------------------------------------------------------------------------------

    def save(self, folder: str | Path) -> None:
        """Write the bundle: bundle.json and weights.safetensors, atomically."""
        save_bundle(self.bundle(), Path(folder))

    def save_calibration(self, folder: str | Path) -> None:
        """Write the calibration, and the settings that it holds for, into an existing bundle."""
        if self.calibration is None:
            raise SettingsError("not calibrated: call calibrate first")
        save_calibration(Path(folder), self.calibration, self.settings)

    def bundle(self) -> Bundle:
        """Everything that a bundle holds."""
        tensors = {
            name: tensor.detach().cpu().contiguous() for name, tensor in self.method.networks.state_dict().items()
        }
        return Bundle(
            method=self.method.name,
            spec=self.spec,
            settings=self.settings,
            tensors=tensors,
            calibration=self.calibration,
            fingerprints=self.fingerprints,
            layout=self.layout,
            history=self.history,
        )

    @classmethod
    def load(cls, folder: str | Path, device: str = "auto") -> Self:
        """A detector from its bundle; executes nothing from it. Raises BundleError saying what is wrong with it."""
        bundle = load_bundle(Path(folder), expected_tensors)
        target = fabric_for(device, "32-true").device
        return cls(
            _restored(bundle.method, bundle.spec, bundle.settings, bundle.tensors, target),
            calibration=bundle.calibration,
            fingerprints=bundle.fingerprints,
            layout=bundle.layout,
            history=bundle.history,
        )

    def with_settings(self, settings: Settings) -> Self:
        """The same networks with other settings of search, compare or calibration; uncalibrated: its scores change.

        Raises SettingsError if other sections differ, which takes another training.
        """
        for section in ("data", "networks", "training"):
            for key, value in getattr(settings, section):
                if value != getattr(getattr(self.settings, section), key):
                    raise SettingsError(
                        f"{section}.{key}: a trained model can change search, compare and calibration only; train again"
                    )
        networks = self.method.networks
        method = _restored(self.method.name, self.spec, settings, networks.state_dict(), device_of(networks))
        return type(self)(method, fingerprints=self.fingerprints, layout=self.layout, history=self.history)

    def describe(self) -> dict[str, Any]:
        """What `anotwin info` shows, as JSON values."""
        return describe(self.bundle())

    @staticmethod
    def settings_of_run(folder: str | Path) -> Settings:
        """The settings of the last training run below a model folder: what --resume starts from."""
        run = RunFolder.latest(Path(folder))
        return Settings.parse(run.description().get("settings", {}), where=str(run.path / "run.json"))


def _restored(
    name: str, spec: ImageSpec, settings: Settings, tensors: dict[str, torch.Tensor], device: torch.device
) -> Method:
    method = create(name, spec, settings)
    method.networks.load_state_dict(tensors)
    freeze(method.networks)
    method.networks.to(device)
    return method
