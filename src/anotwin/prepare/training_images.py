"""What training eats of a source: whole images, or patches of retinas laid flat."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from anotwin.data.open import notes_of
from anotwin.errors import SettingsError
from anotwin.prepare.cache import PreparedImages, prepare_images
from anotwin.prepare.flatten import FlatSpec
from anotwin.prepare.inspect import infer_spec
from anotwin.prepare.patch_images import PatchImages, prepare_patches
from anotwin.prepare.scans import Indices
from anotwin.records import ImageSource, ImageSpec
from anotwin.settings import DataSettings

PATCH = 64  # pixels, as in the AnoGAN paper

TrainingImages = PreparedImages | PatchImages


def spec_for(
    source: ImageSource, indices: Indices, settings: DataSettings, seed: int = 0
) -> tuple[ImageSpec, tuple[str, ...]]:
    """The `ImageSpec` for the training images of a source, and notes for the user; see `infer_spec`.

    OCT scans, by the layout of source or settings, become patches of their flattened retinas. Raises SettingsError for
    patches that are higher than the band, and what `infer_spec` raises.
    """
    if "oct" not in (source.layout, settings.layout):
        return infer_spec(source, indices, settings, seed)
    size, height = settings.image_size or PATCH, FlatSpec().height
    if size > height:
        raise SettingsError(
            f"data.image_size={size}: patches are cut from a flattened retina of {height} rows; at most 64"
        )
    if settings.channels == 3:
        raise SettingsError("data.channels=3: OCT scans are grey; leave it out")
    return ImageSpec(1, size, view="retina"), notes_of(source)


def prepare_training(
    source: ImageSource,
    indices: Indices,
    spec: ImageSpec,
    settings: DataSettings,
    seed: int,
    folder: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TrainingImages:
    """The training images of a source, prepared once; see `prepare_images` and `prepare_patches`."""
    if spec.view == "retina":
        return prepare_patches(source, indices, spec.size, seed, settings.workers, progress)
    return prepare_images(source, indices, spec, settings.memory_mb, folder, settings.workers, progress)
