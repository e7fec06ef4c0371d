"""What a model looks at in OCT scans: patches of the flattened retina, blended into maps and pooled into one score."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from anotwin.domains.oct.flatten import Flat, FlatSpec, unflatten
from anotwin.domains.oct.layers.find import Retina
from anotwin.domains.oct.scans import FlatScan, flat_scans, levels
from anotwin.domains.protocol import Progress
from anotwin.errors import DataError, SettingsError
from anotwin.prepare.patch_images import PatchImages
from anotwin.prepare.patches import blend, cut, pool, shown_positions
from anotwin.records import Array, Batch, ImageSource, ImageSpec, Pictures, Scores
from anotwin.seeding import derive
from anotwin.settings import DataSettings
from anotwin.training.protocol import Rows, TrainingImages

PATCH = 64  # pixels, as in the AnoGAN paper
OVERLAP = 2  # patches over a pixel, along each side
TOP = 0.15  # of a scan's patches make its score: seven of 45 (chosen by planted lesions, docs/research.md)

Maps = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class PreparedScan:
    """One scan as the model sees it; see `anotwin.domains.protocol.Prepared`."""

    index: int
    error: str = ""
    fingerprint: int | None = None
    squares: Batch | None = None  # (P, 1, S, S) patches
    evidence: Retina | None = field(default=None, repr=False)  # of every scan that was read
    positions: npt.NDArray[np.int64] | None = field(default=None, repr=False)  # (P, 2) of the patches in the band
    flat: Flat | None = field(default=None, repr=False)
    pixels: Array | None = field(default=None, repr=False)  # native

    def pool(self, scores: Scores[Array]) -> Scores[float]:
        """The mean of the highest patches; the residual a pixel is that of all."""
        mean = float(np.mean(scores.mean_residual))
        return Scores(**{**vars(scores.map(lambda term: pool(term, TOP))), "mean_residual": mean})

    def heat(self, heat: Array) -> Array:
        """That of the band where patches lie."""
        hot = self._over_band(heat)
        return hot[~np.isnan(hot)]

    def native(self, counterparts: torch.Tensor, differences: torch.Tensor, heat: torch.Tensor, one: float) -> Pictures:
        """Outside the band, and where no patch lies, the scan is its own counterpart."""
        del differences  # those of the blended counterpart are shown
        flat, pixels = self.flat, self.pixels
        assert flat is not None
        assert pixels is not None
        hot, drawn = self._over_band(heat.numpy()), self._over_band(counterparts[:, 0].float().numpy())
        drawn = np.where(np.isnan(drawn), flat.pixels, drawn)
        difference = np.where(flat.valid, flat.pixels - drawn, 0)  # in values of the band, [-2, 2]
        grey = unflatten(difference, flat) * flat.grey  # grey levels that the scan is brighter than its counterpart
        counterpart = pixels - (grey if pixels.ndim == 2 else grey[:, :, None])
        if pixels.dtype.kind in "iu":
            counterpart = np.rint(np.clip(counterpart, 0, np.iinfo(pixels.dtype).max))
        return Pictures(
            query=pixels,
            counterpart=counterpart.astype(pixels.dtype),
            difference=unflatten(difference / 2, flat),
            heatmap=unflatten(np.where(flat.valid, np.nan_to_num(hot), 0) / one, flat),
        )

    def _over_band(self, maps: Array) -> Maps:
        """Maps of patches as one of the band (h, w), NaN where no patch lies."""
        assert self.flat is not None
        assert self.positions is not None
        height, width = self.flat.pixels.shape
        return blend(maps, self.positions, (height, width)).astype(np.float32)


class RetinaView:
    """See `anotwin.domains.protocol.View`."""

    def spec(
        self, source: ImageSource, indices: Sequence[int] | Rows, settings: DataSettings, seed: int
    ) -> tuple[ImageSpec, tuple[str, ...]]:
        """Grey patches of `data.image_size`; raises SettingsError where they are higher than the band."""
        del source, indices, seed  # the band has one height and one range of values, whatever the scans
        size, height = settings.image_size or PATCH, FlatSpec().height
        if size > height:
            raise SettingsError(
                f"data.image_size={size}: patches are cut from a flattened retina of {height} rows; at most 64"
            )
        if settings.channels == 3:
            raise SettingsError("data.channels=3: OCT scans are grey; leave it out")
        return ImageSpec(1, size, view="retina", parts=True), ()

    def training(
        self,
        source: ImageSource,
        indices: Sequence[int] | Rows,
        spec: ImageSpec,
        settings: DataSettings,
        seed: int,
        folder: Path | None = None,
        progress: Progress | None = None,
    ) -> TrainingImages:
        """The flattened retinas, 51 kB each, of which patches are cut when training asks for them."""
        del folder  # they fit into memory
        bands, valid, prints, kept, failures = [], [], [], [], []
        for done, scan in enumerate(flat_scans(source, indices, settings.workers), start=1):
            if scan.flat is None or scan.fingerprint is None:
                failures.append((scan.index, scan.error))
            else:
                bands.append(levels(scan.flat.pixels))
                valid.append(scan.flat.valid)
                prints.append(scan.fingerprint)
                kept.append(scan.index)
            if progress is not None:
                progress(done, len(indices))
        if not kept or 2 * len(failures) > len(indices):
            first = f"; the first: {failures[0][1]}" if failures else ""
            raise DataError(f"{source.root}: {len(failures)} of {len(indices)} scans cannot be used{first}")
        prints_, indices_ = np.array(prints, np.int64), np.array(kept, np.int64)
        return PatchImages(tuple(bands), tuple(valid), prints_, indices_, tuple(failures), spec.size, seed)

    def prepare(
        self, source: ImageSource, indices: Sequence[int], spec: ImageSpec, batch_size: int, workers: int, pixels: bool
    ) -> Iterator[PreparedScan]:
        """The scans, volume by volume; a grid of overlapping patches of each."""
        del batch_size, pixels  # a volume is read as a whole, and its lines need the pixels in any case
        for scan in flat_scans(source, indices, workers):
            yield _prepared(scan, source.items[scan.index].id, spec.size)

    def window(self, spec: ImageSpec) -> tuple[float, float] | None:
        """None: the model takes the grey values from each scan itself, and so do its pictures."""
        del spec
        return None


def _prepared(scan: FlatScan, name: str, size: int) -> PreparedScan:
    if scan.flat is None or scan.fingerprint is None:
        return PreparedScan(scan.index, scan.error, evidence=scan.retina)
    band = scan.flat.pixels
    positions = shown_positions(scan.flat.valid, size, size // OVERLAP)
    if not len(positions):
        there = f"{band.shape[0]} x {band.shape[1]} pixels"
        error = f"{name}: its flattened retina, {there}, has no patch of {size} x {size} that shows tissue"
        return PreparedScan(scan.index, error, scan.fingerprint, evidence=scan.retina)
    shown = levels(band).astype(np.float32) / 127.5 - 1
    patches = torch.from_numpy(cut(shown, positions, size))[:, None]  # (P, 1, S, S)
    prints = tuple(derive(scan.fingerprint, "patch", number) for number in range(len(patches)))
    squares = Batch(patches, prints)
    return PreparedScan(scan.index, "", scan.fingerprint, squares, scan.retina, positions, scan.flat, scan.pixels)
