"""Whole images, each resized to the square of the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from anotwin.domains.kept import KeptResults
from anotwin.errors import DataError
from anotwin.prepare.cache import prepare_images
from anotwin.prepare.image_spec import infer_spec
from anotwin.prepare.resize import difference_to_native, image_to_native, map_to_native
from anotwin.prepare.stream import PreparedBatch, stream
from anotwin.records import Array, Batch, Geometry, ImageSource, ImageSpec, Pictures, Scores
from anotwin.seeding import fingerprint
from anotwin.settings import Settings
from anotwin.training.protocol import TrainingImages
from anotwin.updates import Update, Watch


@dataclass(frozen=True, eq=False)
class WholeImage:
    """One image as the model sees it; see `anotwin.domains.protocol.Prepared`."""

    index: int
    error: str = ""
    fingerprint: int | None = None
    squares: Batch | None = None  # (1, C, S, S)
    geometry: Geometry | None = field(default=None, repr=False)
    pixels: Array | None = field(default=None, repr=False)  # native; None of a large image: it is read again
    source: ImageSource | None = field(default=None, repr=False)
    spec: ImageSpec | None = field(default=None, repr=False)

    @property
    def evidence(self) -> torch.Tensor | None:
        """The square (C, S, S)."""
        return None if self.squares is None else self.squares.images[0]

    def pool(self, scores: Scores[Array]) -> Scores[float]:
        """There is one square."""
        return scores.map(lambda term: float(term[0]))

    def heat(self, heat: Array) -> Array:
        """All of the square's."""
        return heat

    def results(self) -> KeptResults:
        """They are of one square."""
        return KeptResults(self.heat, self.native)

    def native(self, counterparts: torch.Tensor, differences: torch.Tensor, heat: torch.Tensor, one: float) -> Pictures:
        """Resized to the image; raises DataError where its file is another by now."""
        assert self.geometry is not None
        assert self.spec is not None
        pixels = self._again() if self.pixels is None else self.pixels
        return Pictures(
            query=pixels,
            counterpart=image_to_native(counterparts[0], self.geometry, self.spec, pixels),
            difference=difference_to_native(differences[0].mean(0) / 2, self.geometry),  # pixels in [0, 1]
            heatmap=map_to_native(heat[0] / one, self.geometry),
        )

    def _again(self) -> Array:
        assert self.source is not None
        pixels = self.source.read(self.index)
        if fingerprint(pixels) != self.fingerprint:
            raise DataError(f"{self.source.items[self.index].id}: changed while it was scored; score it again")
        return pixels


class WholeView:
    """See `anotwin.domains.protocol.View`."""

    def spec(
        self, source: ImageSource, indices: Sequence[int], settings: Settings
    ) -> tuple[ImageSpec, tuple[str, ...]]:
        """What fits a sample of the images."""
        return infer_spec(source, indices, settings.data, settings.training.seed)

    def training(
        self, source: ImageSource, indices: Sequence[int], spec: ImageSpec, settings: Settings, out: Path, watch: Watch
    ) -> TrainingImages:
        """All images, read and resized once."""
        memory, workers = settings.data.memory_mb, settings.data.workers
        return prepare_images(
            source, indices, spec, memory, out, workers, lambda done, total: watch(Update("preparing", done, total))
        )

    def prepare(
        self, source: ImageSource, indices: Sequence[int], spec: ImageSpec, settings: Settings, pixels: bool
    ) -> Iterator[WholeImage]:
        """As many images as are scored at once are read and resized together."""
        taken = 0
        for batch in stream(source, indices, spec, settings.search.batch_size, settings.data.workers, pixels):
            found = {image.index: image for image in _images(batch, spec, source)}
            count = len(batch.indices) + len(batch.failures)
            yield from (found[index] for index in indices[taken : taken + count])
            taken += count

    def window(self, spec: ImageSpec) -> tuple[float, float] | None:
        """The range that the model was trained with."""
        return spec.black, spec.white


def _images(batch: PreparedBatch, spec: ImageSpec, source: ImageSource) -> Iterator[WholeImage]:
    for index, error in batch.failures:
        yield WholeImage(index, error)
    pixels = batch.pixels or (None,) * len(batch.indices)
    for row, (index, identity, native) in enumerate(zip(batch.indices, batch.fingerprints, pixels, strict=True)):
        squares = Batch(batch.images[row : row + 1], (identity,))
        yield WholeImage(index, "", identity, squares, batch.geometries[row], native, source, spec)
