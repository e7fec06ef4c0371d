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

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import torch

from anotwin.bundle import Bundle, describe, load_bundle, save_bundle, save_calibration
from anotwin.calibrate.threshold import normals_needed, smallest_rate
from anotwin.data.arrays import ArraySource
from anotwin.data.folder import Part
from anotwin.data.grouping import NONE
from anotwin.domains.open import LINES, Group, notes_of, open_source, table_of
from anotwin.domains.protocol import Domain
from anotwin.domains.registry import domain_of_view
from anotwin.errors import DataError, SettingsError
from anotwin.methods.protocol import Method, Samples, device_of, freeze
from anotwin.methods.registry import METHODS, create, expected_tensors
from anotwin.records import Batch, Calibration, Finding, ImageSource, ImageSpec, Trace
from anotwin.run.device import fabric_for
from anotwin.run.duplicates import with_duplicates
from anotwin.run.leaks import ABNORMAL, of_trained_groups, prints_of
from anotwin.run.local import NormalScores, normal_scores, reference_of, score_stream, trace_search
from anotwin.run.model_folder import claimed, model_folder
from anotwin.run.session import Trained, TrainingSession, normals_of
from anotwin.settings import Settings
from anotwin.training.run_folder import RunFolder
from anotwin.updates import Update as Update
from anotwin.updates import Watch as Watch
from anotwin.updates import silent, tell


class Detector:
    """A trained method with its calibration.

    Attributes: `method` with its networks, `calibration` (None: not calibrated), `layout` (name and normal label that
    training used), `history` (JSON: steps, seconds, versions, health, notes), `fingerprints` ("train", "holdout" and
    "abnormal": hashes of the images).
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
        """Fingerprints of the training images, abnormal ones too."""
        return prints_of(self.fingerprints, "train", ABNORMAL)

    # -- learning -----------------------------------------------------------------------------------------------------

    @classmethod
    def train(
        cls,
        data: Any,
        out: str | Path | None = None,
        *,
        method: str | None = None,
        settings: Settings | None = None,
        group: Group = None,
        abnormal_images: Any = None,
        resume: bool = False,
        device: str = "auto",
        watch: Watch = silent,
    ) -> Self:
        """Learn normal from `data`, calibrate on the normals held out, and save to `out` if given.

        `data` is a folder in one of the layouts, or images: (N, H, W), (N, H, W, 3) arrays, (N, C, H, W) tensors, or
        a list of arrays, tensors, Pillow images or paths; `group` says which belong together, as `data.group` does or,
        of images in memory, by the name of each one's group. `abnormal_images`, a folder or images likewise, are what
        cyclegan learns from beside normal ones, without annotation. The share `settings.data.holdout` is not trained
        on: it measures the health of the model and calibrates it. `resume` continues the last run below `out`, with
        that run's settings unless others are given. Raises DataError, SettingsError, or TrainingDiverged (then `out`
        holds the last good snapshot).
        """
        if resume:
            if out is None:
                raise SettingsError("resume needs the folder of the run: give out=")
            begun = str(RunFolder.latest(Path(out)).description().get("method"))
            if method not in (None, begun):
                raise SettingsError(f"{out}: its last run is {begun}, not {method}; start a new run without --resume")
            method, settings = begun, settings or cls.settings_of_run(out)
        settings = settings or Settings()
        if isinstance(group, str):
            settings, group = settings.with_overrides([f"data.group={json.dumps(group)}"]), None
        kinds, groups = settings.data, settings.data.group if group is None else group
        source = open_source(data, "train", kinds.layout, kinds.normal, abnormal=kinds.abnormal, group=groups)
        with model_folder(out, data) as folder:
            session = TrainingSession(source, folder, method, settings, device, watch, abnormal_images)
            with claimed(folder, resume, watch):
                keep = (lambda done: cls._of(done).save(folder)) if out is not None else (lambda _: None)
                trained = session.run(resume, keep)
                detector = cls._of(trained)
                parts = trained.heldout, trained.training
                found = reference_of(
                    detector.method, session.source, *parts, lambda *counts: watch(Update("comparing", *counts))
                )
                tell(watch, found.pop("notes", []))
                if found:
                    detector.history["reference"] = {**detector.history.get("reference", {}), **found}
                normals = detector._score_normals(session.source, trained.heldout, watch)
                detector._set_thresholds(normals, detector._reachable_rate(normals, watch), watch)
                if out is not None:
                    detector.save(folder)
        return detector

    @classmethod
    def _of(cls, trained: Trained) -> Self:
        return cls(trained.method, fingerprints=trained.fingerprints, layout=trained.layout, history=trained.history)

    # -- deciding -----------------------------------------------------------------------------------------------------

    def calibrate(
        self,
        data: Any,
        false_alarm_rate: float | None = None,
        *,
        watch: Watch = silent,
        layout: str = "auto",
        normal: str | None = None,
        abnormal: str | None = None,
        group: Group = None,
    ) -> Calibration:
        """Set the threshold from normals: a folder of them, or the training data (only the held-out ones are used).

        Images that the model was trained on are recognised by content and left out, wherever they lie. Raises DataError
        where too few are left for the rate, saying how many are needed and which rate these allow. Images of groups
        (`ImageItem.group`) are counted by group. Clips are calibrated for `calibration.alarms_per_hour`, unless a rate
        is given.
        """
        rate = self.settings.calibration.false_alarm_rate if false_alarm_rate is None else false_alarm_rate
        if not 0 < rate < 1:
            raise SettingsError(f"false-alarm rate {rate}: must lie between 0 and 1, for example 0.01")
        source = self.open(data, layout, "train", normal=normal, abnormal=abnormal, group=group)
        tell(watch, table_of(source), most=LINES)
        tell(watch, notes_of(source))
        indices = normals_of(source)
        known = frozenset(of_trained_groups(source, indices, self.fingerprints))
        tell(watch, [f"{len(known)} images left out: of groups that the model was trained on"] if known else [])
        if (group or self.settings.data.group) != NONE:
            source, notes = with_duplicates(source, indices, self.method, watch)
            tell(watch, notes)
        indices = [index for index in indices if index not in known]
        normals = self._score_normals(source, indices, watch)
        if normals.alarms is not None and false_alarm_rate is not None:
            normals = replace(normals, alarms=None)  # a rate of frames was asked for
        rate = rate if normals.alarms is None else self._reachable_rate(normals, watch)
        return self._set_thresholds(normals, rate, watch)

    def _score_normals(self, source: ImageSource, indices: Sequence[int], watch: Watch) -> NormalScores:
        def progress(done: int) -> None:
            watch(Update("calibrating", done, len(indices)))

        reference = self.history.get("reference")
        normals = normal_scores(self.method, source, indices, self.trained_on, progress, reference)
        tell(watch, [f"left out: {failure}" for failure in normals.failures[:3]])
        return normals

    def _set_thresholds(self, normals: NormalScores, rate: float, watch: Watch) -> Calibration:
        self.calibration = normals.calibration(rate)
        left_out = f", {normals.excluded} left out because the model was trained on them" if normals.excluded else ""
        notes = [f"calibrated on {normals.counted()}{left_out}"]
        kept = {each.kind for each in self.calibration.units}
        for each in normals.units if self.calibration.groups else ():
            if each.kind not in kept:
                few = f"{len(set(each.groups))} of {normals_needed(rate)} that the rate needs"
                notes.append(f"no decision on a {each.kind}: calibrated on {few}")
        tell(watch, notes)
        return self.calibration

    def _reachable_rate(self, normals: NormalScores, watch: Watch) -> float:
        """The false-alarm rate of the settings or, where there are too few normals for it, the lowest they allow."""
        rate, lowest = self.settings.calibration.false_alarm_rate, smallest_rate(normals.group_count)
        if lowest <= rate or normals.alarms is not None:  # alarms have a promise of their own
            return max(lowest, rate)
        unit = "" if normals.group_count == len(normals.groups) else " groups"
        note = (
            f"{normals.counted('held-out ')} are too few for a false-alarm rate of {rate:g} "
            f"({normals_needed(rate)}{unit} are needed): calibrated at {lowest:.2%}, the lowest they allow"
        )
        watch(Update("note", detail=note))
        self.history["notes"] = [*self.history.get("notes", []), note]
        return lowest

    # -- scoring ------------------------------------------------------------------------------------------------------

    def open(
        self,
        data: Any,
        layout: str = "auto",
        part: Part = "test",
        *,
        normal: str | None = None,
        abnormal: str | None = None,
        group: Group = None,
    ) -> ImageSource:
        """The images of `data`, a part of a layout, any folder, or images in memory.

        The patterns for normal and abnormal are those given or, where `data` have such labels, those of training; so is
        what says which images are of one group. It must do so to calibrate, and is said not to where it does not.
        """
        must = group is not None or part == "train"
        group = self.settings.data.group if group is None else group
        given = normal is not None or abnormal is not None
        if not given:
            normal, abnormal = self.layout.get("normal"), self.layout.get("abnormal")
        layout = self.domain.own_layout if layout == "auto" else layout
        try:
            source = open_source(data, part, layout, normal, abnormal=abnormal, group=group, must=must)
            return source.of_model(self.spec.pixel_type) if isinstance(source, ArraySource) else source
        except DataError:
            if given or (normal is None and abnormal is None) or not isinstance(data, (str, Path)):
                raise
            source = open_source(data, part, layout, group=group, must=must)
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
        reference = self.history.get("reference")
        return score_stream(self.method, source, self.calibration, indices, pictures=pictures, reference=reference)

    def score(self, data: Any, *, pictures: bool = True) -> list[Finding]:
        """Score everything in `data` (a folder or images); a list, for what fits in memory. See `findings`."""
        return list(self.findings(data, pictures=pictures))

    def trace(self, data: Any, indices: Sequence[int], steps: Sequence[int]) -> Trace | None:
        """The search for the counterparts of a few images: the best until each of `steps`; None without a search.

        `data` may be a `Batch` of the model's squares too.
        """
        source = data if isinstance(data, Batch) else self.open(data)
        return trace_search(self.method, source, indices, steps)

    def sample(self, count: int, seed: int = 0, first: int = 0) -> torch.Tensor:
        """New normal images (count, C, S, S) in [-1, 1], for augmentation or to see what was learnt.

        A seed has an endless sequence of them, of which these are the images from number `first` on. Raises
        SettingsError for a method that draws none, and for more images than fit into memory.
        """
        if count < 1:
            raise SettingsError(f"cannot sample {count} images: at least 1")
        if not isinstance(self.method, Samples):
            able = " or ".join(name for name, kind in METHODS.items() if hasattr(kind, "sample"))
            raise SettingsError(f"method {self.method.name} cannot sample, it has no prior; train with --method {able}")
        spec, part = self.spec, 256
        try:  # before the first is drawn
            images = torch.empty(count, spec.channels, spec.size, spec.size)
        except (RuntimeError, OverflowError, TypeError):
            much = f"{min(count * spec.channels * spec.size**2 * 4, 10**30) / 2**30:,.0f} GiB of memory"
            raise SettingsError(f"cannot sample {count} images at once, they take {much}; use `first`") from None
        for begin in range(0, count, part):
            drawn = self.method.sample(min(part, count - begin), seed, first + begin)
            images[begin : begin + part] = drawn.float().cpu()
        return images

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
        save_calibration(Path(folder), self.calibration, self.settings, self.bundle().tensors)

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
    if device.type == "cuda":  # as training leaves them: other kernels would score with other last bits
        method.networks.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return method
