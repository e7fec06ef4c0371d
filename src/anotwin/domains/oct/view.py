"""What a model looks at in OCT scans: patches of the flattened retina, stitched into maps and pooled into one score.

Patches that reach into an optic disc, the outer columns of a scan or what it does not show are generated, so that the
counterpart is whole, but do not decide: they are in no score and have no heat.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from anotwin.domains.kept import KeptResults
from anotwin.domains.oct.counterpart import whole_counterpart
from anotwin.domains.oct.evidence import Evidence, evidence_of
from anotwin.domains.oct.flatten import BAND, unflatten
from anotwin.domains.oct.layers.find import Retina
from anotwin.domains.oct.scale import FAR, Scale, doubts, measure, ranges, refused, unlike
from anotwin.domains.oct.scans import FlatScan, flat_scans, levels
from anotwin.errors import DataError, SettingsError
from anotwin.prepare.patch_images import PatchImages
from anotwin.prepare.patches import covering_positions, cut, pool, stitch
from anotwin.records import Array, Batch, ImageSource, ImageSpec, Pictures, Scores
from anotwin.seeding import derive
from anotwin.settings import Settings
from anotwin.training.protocol import TrainingImages
from anotwin.updates import Update, Watch, tell

if TYPE_CHECKING:
    from anotwin.domains.protocol import Seen

PATCH = 64  # pixels, as in the AnoGAN paper
OVERLAP = 2  # patches over a pixel, along each side
TOP = 0.15  # of a scan's patches, the highest, are its score: seven of 45 (chosen by planted lesions, docs/research.md)
LEAST = 0.25  # of a scan's columns must be covered by patches that decide

Maps = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class PreparedScan(FlatScan):
    """One scan as the model sees it; see `anotwin.domains.protocol.Prepared`."""

    squares: Batch | None = None  # (P, 1, S, S) patches
    positions: npt.NDArray[np.int64] | None = field(default=None, repr=False)  # (P, 2) of the patches in the band
    deciding: npt.NDArray[np.bool_] | None = field(default=None, repr=False)  # (P,)
    usual: Maps | None = field(default=None, repr=False)  # (h,) heat that is normal at each depth; None: not known
    evidence: Retina | Evidence | None = None  # the lines, of every scan that was read, and what is left out of it

    def pool(self, scores: Scores[Array]) -> Scores[float]:
        """The mean of the highest patches that decide; the residual per pixel is that of all of these."""
        assert self.deciding is not None
        own = scores.map(lambda term: term[self.deciding])
        mean = float(np.mean(own.mean_residual))
        return Scores(**{**vars(own.map(lambda term: pool(term, TOP))), "mean_residual": mean})

    def heat(self, heat: Array) -> Array:
        """That of the band where patches decide."""
        hot = self._heat_over_band(heat)
        return hot[~np.isnan(hot)]

    def results(self) -> KeptResults:
        """Those of some fifty patches."""
        return KeptResults(self.heat, self.native)

    def native(self, counterparts: torch.Tensor, differences: torch.Tensor, heat: torch.Tensor, one: float) -> Pictures:
        """The heat is 0 where no patch decides; for the counterpart beyond the band see `whole_counterpart`."""
        del differences  # those of the whole counterpart are shown
        flat, pixels, retina = self.flat, self.pixels, self.retina
        assert flat is not None
        assert pixels is not None
        assert retina is not None
        assert self.positions is not None
        hot = unflatten(np.nan_to_num(self._heat_over_band(heat.numpy())) / one, flat)
        drawn = stitch(counterparts[:, 0].float().numpy(), self.positions, flat.pixels.shape)
        drawn = np.where(np.isnan(drawn), flat.pixels, drawn)
        change = unflatten(np.where(flat.valid, flat.pixels - drawn, 0), flat)
        whole = whole_counterpart(pixels, retina, flat, change, drawn, hot < 1)
        grey = (pixels if pixels.ndim == 2 else pixels.mean(axis=2)) - whole  # levels by which the scan is brighter
        counterpart = pixels - (grey if pixels.ndim == 2 else grey[:, :, None])
        if pixels.dtype.kind in "iu":
            counterpart = np.rint(np.clip(counterpart, 0, np.iinfo(pixels.dtype).max))
        return Pictures(
            query=pixels,
            counterpart=counterpart.astype(pixels.dtype),
            difference=np.clip(grey / flat.grey / 2, -1, 1).astype(np.float32),  # values of the band: [-2, 2]
            heatmap=hot,
        )

    def depths(self, heat: Array) -> tuple[Array, Array]:
        """Sums of the squared heat of each row of the band, and of how many pixels, (h,) each."""
        hot = self._heat_over_band(heat).astype(np.float64)
        return np.nansum(np.square(hot), axis=1), np.isfinite(hot).sum(axis=1)

    def _heat_over_band(self, heat: Array) -> Maps:
        """(h, w) in units of what is usual at each depth; NaN where no patch decides or the scan shows nothing."""
        assert self.flat is not None
        assert self.positions is not None
        assert self.deciding is not None
        hot = stitch(heat[self.deciding], self.positions[self.deciding], self.flat.pixels.shape)
        known = np.where(self.flat.valid, hot, np.nan)
        return (known if self.usual is None else known / self.usual[:, None]).astype(np.float32)


@dataclass(frozen=True)
class RetinaView:
    """See `anotwin.domains.protocol.View`, and there `Refers`."""

    reference: Mapping[str, Any] = field(default_factory=dict)  # of the training; none: nothing is compared with it
    refer_to: int = 32

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
        scales: list[Scale] = []
        for done, scan in enumerate(flat_scans(source, indices, settings.data.workers), start=1):
            if scan.flat is None or scan.fingerprint is None:
                failures.append((scan.index, scan.error))
            else:
                bands.append(levels(scan.flat.pixels))
                valid.append(scan.flat.valid)
                fingerprints.append(scan.fingerprint)
                kept.append(scan.index)
                scales.append(_scale(scan))
            watch(Update("preparing", done, len(indices)))
        if not kept or 2 * len(failures) > len(indices):
            first = f"; the first: {failures[0][1]}" if failures else ""
            raise DataError(f"{source.root}: {len(failures)} of {len(indices)} scans cannot be used{first}")
        tell(watch, doubts([scale.thickness_um for scale in scales]))
        identity = np.array(fingerprints, np.int64), np.array(kept, np.int64)
        shown = tuple(bands), tuple(valid)
        reference = {"scale": ranges(scales)}
        return PatchImages(*shown, *identity, tuple(failures), spec.size, settings.training.seed, reference)

    def prepare(
        self, source: ImageSource, indices: Sequence[int], spec: ImageSpec, settings: Settings, pixels: bool
    ) -> Iterator[PreparedScan]:
        """The scans, volume by volume; a grid of overlapping patches of each."""
        del pixels  # the lines need them in any case
        usual = np.array(self.reference["heat"], np.float32) if "heat" in self.reference else None
        for scan in flat_scans(source, indices, settings.data.workers):
            yield _prepared(scan, source.items[scan.index].id, spec.size, self.reference.get("scale", {}), usual)

    def window(self, spec: ImageSpec) -> tuple[float, float] | None:
        """None: values are scaled by each scan itself, and so are its pictures."""
        del spec
        return None

    def refer(self, heldout: Seen, training: Seen = ()) -> dict[str, Any]:
        """How much heat is normal at each depth: the root mean square of each row of the band, never 0.

        In the layers of the RPE a normal scan differs from its counterpart four times as much as in the middle of the
        retina: with one scale for both a cyst is cold, and its walls at bright layers alone are hot.
        """
        del training
        total, count = np.zeros(BAND.height), np.zeros(BAND.height)
        for scan, results, _ in heldout:
            squares, pixels = scan.depths(results.heat_of_squares())
            total += squares
            count += pixels
        if not total.any():
            return {}
        rows = np.sqrt(total / np.maximum(count, 1))
        known = np.flatnonzero(rows > 0)
        rows = np.interp(np.arange(len(rows)), known, rows[known])
        return {"heat": [float(f"{value:.5g}") for value in np.maximum(rows, 1e-3 * rows.max())]}

    def against(self, reference: Mapping[str, Any]) -> RetinaView:
        """The same view, which compares scans with those of a training; raises DataError for another view's."""
        heat, scale = reference.get("heat"), reference.get("scale", {})
        rows = heat is None or (len(heat) == BAND.height and all(value > 0 for value in heat))
        if not rows or not all(name in FAR and len(pair) == 2 for name, pair in scale.items()):
            raise DataError("the model's reference of training scans is not one of this view; train it again")
        return RetinaView(reference)


def _scale(scan: FlatScan) -> Scale:
    assert scan.pixels is not None
    assert scan.retina is not None
    assert scan.flat is not None
    return measure(scan.pixels, scan.retina, scan.flat, scan.spacing)


def _prepared(scan: FlatScan, name: str, size: int, scales: Mapping[str, Any], usual: Maps | None) -> PreparedScan:
    found = PreparedScan(**vars(scan), evidence=scan.retina)
    if scan.flat is None or scan.fingerprint is None or scan.retina is None:
        return found
    band, valid = scan.flat.pixels, scan.flat.valid
    positions, deciding = covering_positions(valid, scan.flat.deciding, size, size // OVERLAP)
    covered = np.zeros(band.shape[1], bool)
    for column in positions[deciding, 1].tolist():
        covered[column : column + size] = True
    scale = _scale(scan)
    evidence = evidence_of(scan.retina, scan.flat, covered, unlike(scale, scales))
    found = replace(found, evidence=evidence, error=scan.error)
    if error := _too_little(evidence, band.shape, covered, size) or refused(scale, scan.spacing, scales):
        return replace(found, error=f"{name}: {error}")
    shown = levels(band).astype(np.float32) / 127.5 - 1
    patches = torch.from_numpy(cut(shown, positions, size))[:, None]  # (P, 1, S, S)
    fingerprints = tuple(derive(scan.fingerprint, "patch", number) for number in range(len(patches)))
    squares = Batch(patches, fingerprints)
    return replace(found, squares=squares, positions=positions, deciding=deciding, usual=usual)


def _too_little(evidence: Evidence, shape: tuple[int, ...], covered: npt.NDArray[np.bool_], size: int) -> str:
    """Why too little of a scan is left to decide on; "": enough is."""
    why = "".join(f"; {each}" for each in evidence.left_out)
    if not covered.any():
        there = f"{shape[0]} x {shape[1]} pixels"
        return f"its flattened retina, {there}, has no patch of {size} x {size} that shows tissue{why}"
    if covered.mean() < LEAST:
        return f"only {covered.mean():.0%} of its columns can be looked at, expected at least {LEAST:.0%}{why}"
    return ""
