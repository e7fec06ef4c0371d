"""What a model looks at in OCT scans: patches of the flattened retina, stitched into maps and pooled into one score."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from anotwin.domains.oct.flatten import BAND, unflatten
from anotwin.domains.oct.layers.find import Retina
from anotwin.domains.oct.scans import FlatScan, flat_scans, levels
from anotwin.errors import DataError, SettingsError
from anotwin.prepare.patch_images import PatchImages
from anotwin.prepare.patches import cut, pool, shown_positions, stitch
from anotwin.records import Array, Batch, ImageSource, ImageSpec, Pictures, Scores
from anotwin.seeding import derive
from anotwin.settings import Settings
from anotwin.training.protocol import TrainingImages
from anotwin.updates import Update, Watch

PATCH = 64  # pixels, as in the AnoGAN paper
OVERLAP = 2  # patches over a pixel, along each side
TOP = 0.15  # of a scan's patches, the highest, are its score: seven of 45 (chosen by planted lesions, docs/research.md)

Maps = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class PreparedScan(FlatScan):
    """One scan as the model sees it; see `anotwin.domains.protocol.Prepared`."""

    squares: Batch | None = None  # (P, 1, S, S) patches
    positions: npt.NDArray[np.int64] | None = field(default=None, repr=False)  # (P, 2) of the patches in the band

    @property
    def evidence(self) -> Retina | None:
        """The lines, of every scan that was read."""
        return self.retina

    def pool(self, scores: Scores[Array]) -> Scores[float]:
        """The mean of the highest patches; the residual per pixel is that of all."""
        mean = float(np.mean(scores.mean_residual))
        return Scores(**{**vars(scores.map(lambda term: pool(term, TOP))), "mean_residual": mean})

    def heat(self, heat: Array) -> Array:
        """That of the band where patches lie."""
        hot = self._over_band(heat)
        return hot[~np.isnan(hot)]

    def native(self, counterparts: torch.Tensor, differences: torch.Tensor, heat: torch.Tensor, one: float) -> Pictures:
        """Outside the band, and where no patch lies, the counterpart is the scan itself."""
        del differences  # those of the stitched counterpart are shown
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
        return stitch(maps, self.positions, (height, width)).astype(np.float32)


class RetinaView:
    """See `anotwin.domains.protocol.View`."""

    def spec(
        self, source: ImageSource, indices: Sequence[int], settings: Settings
    ) -> tuple[ImageSpec, tuple[str, ...]]:
        """Grey patches of `data.image_size`; raises SettingsError where they are higher than the band."""
        del source, indices  # the band has one height and one range of values, whatever the scans
        size, height = settings.data.image_size or PATCH, BAND.height
        if size > height:
            raise SettingsError(
                f"data.image_size={size}: patches are cut from a flattened retina of {height} rows; at most 64"
            )
        if settings.data.channels == 3:
            raise SettingsError("data.channels=3: OCT scans are grey; leave it out")
        return ImageSpec(1, size, view="retina", parts=True), ()

    def training(
        self, source: ImageSource, indices: Sequence[int], spec: ImageSpec, settings: Settings, out: Path, watch: Watch
    ) -> TrainingImages:
        """The flattened retinas, 51 kB each, of which patches are cut when training asks for them."""
        del out  # they fit into memory
        bands, valid, fingerprints, kept, failures = [], [], [], [], []
        for done, scan in enumerate(flat_scans(source, indices, settings.data.workers), start=1):
            if scan.flat is None or scan.fingerprint is None:
                failures.append((scan.index, scan.error))
            else:
                bands.append(levels(scan.flat.pixels))
                valid.append(scan.flat.valid)
                fingerprints.append(scan.fingerprint)
                kept.append(scan.index)
            watch(Update("preparing", done, len(indices)))
        if not kept or 2 * len(failures) > len(indices):
            first = f"; the first: {failures[0][1]}" if failures else ""
            raise DataError(f"{source.root}: {len(failures)} of {len(indices)} scans cannot be used{first}")
        identity = np.array(fingerprints, np.int64), np.array(kept, np.int64)
        return PatchImages(tuple(bands), tuple(valid), *identity, tuple(failures), spec.size, settings.training.seed)

    def prepare(
        self, source: ImageSource, indices: Sequence[int], spec: ImageSpec, settings: Settings, pixels: bool
    ) -> Iterator[PreparedScan]:
        """The scans, volume by volume; a grid of overlapping patches of each."""
        del pixels  # the lines need them in any case
        for scan in flat_scans(source, indices, settings.data.workers):
            yield _prepared(scan, source.items[scan.index].id, spec.size)

    def window(self, spec: ImageSpec) -> tuple[float, float] | None:
        """None: values are scaled by each scan itself, and so are its pictures."""
        del spec
        return None


def _prepared(scan: FlatScan, name: str, size: int) -> PreparedScan:
    found = PreparedScan(**vars(scan))
    if scan.flat is None or scan.fingerprint is None:
        return found
    band = scan.flat.pixels
    positions = shown_positions(scan.flat.valid, size, size // OVERLAP)
    if not len(positions):
        there = f"{band.shape[0]} x {band.shape[1]} pixels"
        error = f"{name}: its flattened retina, {there}, has no patch of {size} x {size} that shows tissue"
        return replace(found, error=error)
    shown = levels(band).astype(np.float32) / 127.5 - 1
    patches = torch.from_numpy(cut(shown, positions, size))[:, None]  # (P, 1, S, S)
    fingerprints = tuple(derive(scan.fingerprint, "patch", number) for number in range(len(patches)))
    return replace(found, squares=Batch(patches, fingerprints), positions=positions)
