"""`Translator`: train, translate, save, load: what the command line and notebooks call to translate images.

>>> import numpy as np
>>> from anotwin import Settings, Translator
>>> from anotwin.data.synthetic import textured_discs
>>> sharp, _ = textured_discs(12, size=32, seed=0)
>>> small = Settings().with_overrides([
...     "training.steps=2", "training.batch_size=2", "networks.base_channels=2", "translation.factor=2"])
>>> translator = Translator.train(sharp, method="srgan", settings=small, device="cpu")
>>> translator.translate(np.zeros((20, 30), np.uint8)).shape
(40, 60)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import torch

from anotwin.bundle import Bundle, describe, load_translation, save_bundle
from anotwin.data.arrays import from_arrays
from anotwin.errors import SettingsError
from anotwin.methods.protocol import freeze
from anotwin.records import Array, ImageSpec
from anotwin.run.device import fabric_for
from anotwin.run.model_folder import claimed, model_folder
from anotwin.settings import Settings
from anotwin.training.run_folder import RunFolder
from anotwin.translation.kinds import chosen_layout
from anotwin.translation.protocol import Direction, TranslationMethod, TranslationSpec
from anotwin.translation.registry import METHODS, create, expected_tensors
from anotwin.translation.session import Trained, TranslationSession
from anotwin.translation.tiles import translate_native
from anotwin.updates import Watch, silent


class Translator:
    """A trained translation.

    Attributes: `method` with its networks, `layout` (the name that training used), `history` (JSON: steps, seconds,
    versions, the snapshot chosen and its quality, health, notes), `fingerprints` ("train" and "holdout": hashes of the
    images of both domains).
    """

    def __init__(
        self,
        method: TranslationMethod,
        *,
        fingerprints: dict[str, torch.Tensor] | None = None,
        layout: dict[str, str | None] | None = None,
        history: dict[str, Any] | None = None,
    ) -> None:
        self.method = method
        self.fingerprints = fingerprints or {}
        self.layout = layout or {}
        self.history = history or {}
        self._fast: TranslationMethod | None = None

    @property
    def spec(self) -> TranslationSpec:
        """What the model takes and gives."""
        return self.method.spec

    @property
    def settings(self) -> Settings:
        """The settings of all stages."""
        return self.method.settings

    @classmethod
    def train(
        cls,
        data: Any,
        out: str | Path | None = None,
        *,
        method: str | None = None,
        layout: str | None = None,
        settings: Settings | None = None,
        resume: bool = False,
        device: str = "auto",
        watch: Watch = silent,
    ) -> Self:
        """Learn to translate from `data` and save to `out` if given.

        `data` is a folder in the layout of the method (`anotwin.translation.layouts`), or images in memory: a tuple
        (A, B), each as `Detector.train` takes them, or for srgan the sharp images B alone. The share
        `settings.data.holdout` is not trained on: which snapshot becomes the model is chosen by it. `resume` continues
        the last run below `out`, with its settings unless others are given. Raises DataError, SettingsError, or
        TrainingDiverged (then `out` holds the last good snapshot).
        """
        if resume:
            if out is None:
                raise SettingsError("resume needs the folder of the run: give out=")
            method, layout, settings = _begun(Path(out), method, layout, settings)
        layout, settings = chosen_layout(method, layout), settings or Settings()
        assert method is not None
        settings = settings.with_overrides([f"data.layout={layout}"])
        with model_folder(out, data) as folder:
            session = TranslationSession(data, folder, method, layout, settings, device, watch)
            with claimed(folder, resume, watch):
                keep = (lambda done: cls._of(done).save(folder)) if out is not None else (lambda _: None)
                return cls._of(session.run(resume, keep))

    @classmethod
    def _of(cls, trained: Trained) -> Self:
        return cls(trained.method, fingerprints=trained.fingerprints, layout=trained.layout, history=trained.history)

    def translate(self, image: Any, direction: Direction = "AtoB", seed: int = 0) -> Array:
        """A native image (H, W) or (H, W, 3) of any size as one of the other domain, `spec.factor` times as large.

        uint8, uint16 or float32, as an array, tensor (C, H, W), Pillow image or path; type and colours of the result:
        see `anotwin.translation.tiles.translate_native`. The seed matters where a method draws noise (pix2pix). Raises
        DataError for pixels that are not finite or whose unit is unknown, SettingsError for a direction that the method
        has not learnt.
        """
        self.check_direction(direction)
        if self._fast is None:
            self._fast = self.method.for_inference()
        pixels = from_arrays([image]).of_model(self.spec.a.pixel_type).read(0)
        return translate_native(self._fast, pixels, direction, seed)

    def check_direction(self, direction: str) -> Direction:
        """The direction of this name; raises SettingsError for one that the method has not learnt."""
        found = next((each for each in self.method.directions if each == direction), None)
        if found is None:
            able = f"{self.method.name} has learnt {' and '.join(self.method.directions)}"
            swap = "; train with --set translation.swap=true to exchange A and B" if self.spec.factor == 1 else ""
            raise SettingsError(f"direction {direction!r}: {able}{swap}")
        return found

    def save(self, folder: str | Path) -> None:
        """Write the bundle: bundle.json and weights.safetensors, atomically."""
        save_bundle(self.bundle(), Path(folder))

    def bundle(self) -> Bundle:
        """Everything that a bundle holds."""
        state = self.method.networks.state_dict()
        return Bundle(
            method=self.method.name,
            spec=self.spec.a,
            target=self.spec.b,
            settings=self.settings,
            tensors={name: tensor.detach().cpu().contiguous() for name, tensor in state.items()},
            fingerprints=self.fingerprints,
            layout=self.layout,
            history=self.history,
        )

    @classmethod
    def load(cls, folder: str | Path, device: str = "auto") -> Self:
        """A translator from its bundle; executes nothing from it. Raises BundleError saying what is wrong with it."""
        bundle = load_translation(
            Path(folder), lambda name, a, b, settings: expected_tensors(name, _spec(name, a, b), settings)
        )
        assert bundle.target is not None
        method = create(bundle.method, _spec(bundle.method, bundle.spec, bundle.target), bundle.settings)
        method.networks.load_state_dict(bundle.tensors)
        freeze(method.networks)
        method.networks.to(fabric_for(device, "32-true").device)
        return cls(method, fingerprints=bundle.fingerprints, layout=bundle.layout, history=bundle.history)

    def describe(self) -> dict[str, Any]:
        """What `anotwin info` shows, as JSON values."""
        found = describe(self.bundle())
        del found["calibration"]
        return found | {"directions": list(self.method.directions), "factor": self.spec.factor}


def _spec(method: str, a: ImageSpec, b: ImageSpec) -> TranslationSpec:
    """Raises SettingsError for an unknown method, and for domains that no method has."""
    if method not in METHODS:
        raise SettingsError(f"no translation method {method!r}, there are {', '.join(sorted(METHODS))}")
    if b.size not in (a.size, 2 * a.size, 4 * a.size):
        raise SettingsError(f"squares of {a.size} pixels that become {b.size}: expected as large, or 2 or 4 times")
    return TranslationSpec(a, b, METHODS[method].aligned)


def _begun(out: Path, method: str | None, layout: str | None, settings: Settings | None) -> tuple[str, str, Settings]:
    """Method, layout and settings of the last run below `out`; raises SettingsError where others are asked for."""
    run = RunFolder.latest(out)
    before = run.description()
    if not before.get("translates"):
        raise SettingsError(
            f"{out}: its last run is no translation ({before.get('method')}); start one without --resume"
        )
    for name, asked in (("method", method), ("layout", layout)):
        if asked not in (None, "auto", before.get(name)):
            raise SettingsError(f"{out}: its last run is {before.get(name)}, not {asked}; start one without --resume")
    known = settings or Settings.parse(before.get("settings", {}), where=str(run.path / "run.json"))
    return str(before["method"]), str(before["layout"]), known
