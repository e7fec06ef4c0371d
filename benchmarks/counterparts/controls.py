"""Counterparts without a method: copy, median filter, mean of the training images, the nearest, PCA, inpainting.

Those that learn see whole images, at their own size where all are squares of one size, else stretched to 128 x 128. A
score is the mean difference to the counterpart: what a residual alone says. Inpainting alone is told where the defect
is, and detects nothing: what is left to gain by knowing where.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import binary_dilation, median_filter
from skimage.restoration import inpaint_biharmonic
from sklearn.decomposition import PCA

from anotwin.evaluate.counterparts import difference
from anotwin.evaluate.planted import PlantedSource
from anotwin.evaluate.planted_pairs import in_unit
from anotwin.prepare.image_spec import infer_spec
from anotwin.prepare.resize import image_to_native, to_model
from anotwin.records import Array, Finding, ImageSource, ImageSpec
from anotwin.settings import Settings
from benchmarks.common.rows import Floats
from benchmarks.counterparts.cases import LesionPairs

SIDE = 128
COMPONENTS = 40
Restore = Callable[[Array], Array]  # native pixels -> native pixels


@dataclass(frozen=True, eq=False)
class Control:
    """Scores as a `Detector` does, for `measure_pairs`."""

    spec: ImageSpec
    restore: Restore

    def findings(self, source: ImageSource, indices: Sequence[int]) -> Iterator[Finding]:
        """One an index, with pictures."""
        for index in indices:
            query = source.read(index)
            found = self.restore(query)
            score = difference(in_unit(query, query, self.spec), in_unit(found, query, self.spec))
            yield Finding(source.items[index].id, score=score, status="converged", query=query, counterpart=found)


@dataclass(frozen=True, eq=False)
class ToldWhere:
    """Biharmonic inpainting by scikit-image of what differs, and of the pixels next to it; of others a copy."""

    spec: ImageSpec

    def findings(self, source: ImageSource, indices: Sequence[int]) -> Iterator[Finding]:
        """One an index, with pictures; all with one score."""
        for index in indices:
            query = source.read(index)
            mask = source.read_mask(index) if isinstance(source, PlantedSource | LesionPairs) else None
            found = query if mask is None else _inpainted(query, mask)
            yield Finding(source.items[index].id, score=0.0, status="converged", query=query, counterpart=found)


def _inpainted(pixels: Array, mask: npt.NDArray[np.bool_]) -> Array:
    scale = float(np.iinfo(pixels.dtype).max) if pixels.dtype.kind in "iu" else 1.0
    channel = None if pixels.ndim == 2 else 2
    found = inpaint_biharmonic(pixels / scale, binary_dilation(mask), split_into_regions=True, channel_axis=channel)
    restored: Array = (np.rint(found * scale) if pixels.dtype.kind in "iu" else found).astype(pixels.dtype)
    return restored


def spec_for(train: ImageSource) -> ImageSpec:
    """What the pixels of a set mean, and the size at which whole images are compared."""
    spec, _ = infer_spec(train, range(len(train.items)), Settings().data)
    shapes = {train.read(index).shape[:2] for index in range(len(train.items))}
    high, wide = next(iter(shapes))
    return replace(spec, size=high if len(shapes) == 1 and high == wide else SIDE)


def controls(train: ImageSource) -> dict[str, Control | ToldWhere]:
    """Every one, by its name."""
    spec = spec_for(train)
    squares = torch.stack([to_model(train.read(index), spec)[0] for index in range(len(train.items))])
    known: Floats = squares.flatten(1).double().numpy()
    learnt = {
        "mean": lambda _: known.mean(axis=0),
        "nearest": lambda query: known[np.square(known - query).sum(axis=1).argmin()],
        "PCA": _projection(known),
    }
    plain: dict[str, Restore] = {"copy": lambda pixels: pixels, "median 5x5": _median}
    restores = plain | {name: _through_squares(make, spec) for name, make in learnt.items()}
    found = {name: Control(spec, restore) for name, restore in restores.items()}
    return {**found, "inpainted, told where": ToldWhere(spec)}


def _median(pixels: Array) -> Array:
    return np.asarray(median_filter(pixels, size=(5, 5, 1)[: pixels.ndim]))


def _projection(known: Floats) -> Callable[[Floats], Floats]:
    pca = PCA(min(COMPONENTS, min(known.shape) // 2), random_state=0).fit(known)
    return lambda query: np.asarray(pca.inverse_transform(pca.transform(query[None]))[0])


def _through_squares(make: Callable[[Floats], Floats], spec: ImageSpec) -> Restore:
    """What is made of the square of an image, in the pixels of the image."""

    def restore(pixels: Array) -> Array:
        square, geometry = to_model(pixels, spec)
        made = np.clip(make(square.flatten().double().numpy()), -1, 1)
        return image_to_native(torch.from_numpy(made).float().view_as(square), geometry, spec, pixels)

    return restore
