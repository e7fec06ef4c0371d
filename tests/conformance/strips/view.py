"""Squares side by side along a strip; the strip's score is that of its most abnormal square."""

from dataclasses import dataclass

import numpy as np
import torch

from anotwin.data.pixels import one_line
from anotwin.domains.kept import KeptResults
from anotwin.errors import DataError
from anotwin.prepare.patch_images import PatchImages
from anotwin.records import Batch, ImageSpec, Pictures, Scores
from anotwin.seeding import derive, fingerprint


@dataclass(frozen=True, eq=False)
class Strip:
    """A strip (S, n S) and its n squares."""

    index: int
    error: str = ""
    fingerprint: int | None = None
    squares: Batch | None = None
    evidence: str = ""  # how many squares it has
    pixels: np.ndarray | None = None

    def pool(self, scores):
        return Scores(**{term: float(values.max()) for term, values in vars(scores).items()})

    def results(self):
        return KeptResults(self.heat, self.native)

    def heat(self, heat):
        return heat

    def native(self, counterparts, differences, heat, one):
        drawn = np.rint((along(counterparts[:, 0]) + 1) * 127.5).astype(np.uint8)
        return Pictures(self.pixels, drawn, along(differences[:, 0]) / 2, along(heat) / one)


def along(squares):
    """(n, S, S) side by side: (S, n S)."""
    return np.concatenate([square.float().numpy() for square in squares], axis=1)


class SquaresView:
    def spec(self, source, indices, settings):
        return ImageSpec(1, settings.data.image_size or 16, view="squares", parts=True), (
            "strips are cut into squares",
        )

    def training(self, source, indices, spec, settings, folder, watch):
        read = [_read(source, index, spec.size) for index in indices]
        good = [strip for strip in read if strip.pixels is not None]
        if 2 * len(good) < len(read) or not good:
            raise DataError(f"{source.root}: {len(read) - len(good)} of {len(read)} strips cannot be used")
        return PatchImages(
            tuple(strip.pixels for strip in good),
            tuple(np.ones(strip.pixels.shape, bool) for strip in good),
            np.array([strip.fingerprint for strip in good], np.int64),
            np.array([strip.index for strip in good], np.int64),
            tuple((strip.index, strip.error) for strip in read if strip.error),
            spec.size,
            settings.training.seed,
        )

    def prepare(self, source, indices, spec, settings, pixels):
        return (_read(source, index, spec.size) for index in indices)

    def window(self, spec):
        return 0.0, 255.0


def _read(source, index, size):
    name = source.items[index].id
    try:
        pixels = source.read(index)
    except DataError as error:
        return Strip(index, one_line(error))
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[0] != size or pixels.shape[1] % size:
        return Strip(index, f"{name}: {pixels.shape} {pixels.dtype}, expected uint8 strips of {size} rows")
    cut = pixels.reshape(size, -1, size).transpose(1, 0, 2)[:, None]  # (n, 1, S, S)
    own = fingerprint(pixels)
    squares = torch.from_numpy(np.ascontiguousarray(cut, dtype=np.float32) / 127.5 - 1)
    batch = Batch(squares, tuple(derive(own, "square", number) for number in range(len(squares))))
    return Strip(index, "", own, batch, f"{len(squares)} squares", pixels)
