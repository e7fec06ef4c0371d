"""Part `planted`: lesions planted into normal scans, what settings are chosen by without a label.

A lesion is drawn into the band of a normal, and what it changes is laid over the native pixels: a copy is prepared as
any scan. It holds lesions of one kind; where, how large and how many follows from the scan's own pixels and the kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.special import expit

from anotwin.domains.oct.flatten import BAND, Flat, unflatten
from anotwin.domains.oct.layers.find import Retina
from anotwin.domains.oct.layers.mask import as_scan, known_pixels
from anotwin.domains.oct.scans import FlatScan
from anotwin.records import Array
from anotwin.seeding import derive, fingerprint
from benchmarks.common.rows import Floats, Row
from benchmarks.oct.methods import Study, inner_surface
from benchmarks.oct.patients import NORMAL, Scans, cell

FLUID, DRUSE, FOCUS, LOST = -0.75, 0.05, 0.8, -0.15  # values of the band; the vitreous has -0.8, bright layers 0.6
RPE = 18.0  # micrometres from the baseline, the middle of the RPE's bright band, to its edges
KINDS = ("cysts", "drusen", "subretinal fluid", "thickening", "foci", "lost outer layers", "disordered inner layers")


@dataclass(frozen=True, eq=False)
class Band:
    """A flattened normal, in micrometres, and where along it the lesion is to be; a method for each of `KINDS`."""

    pixels: Floats  # (h, w) in [-1, 1]
    up: Array  # (h, 1) of each row, above the baseline
    across: Array  # (w,) of each column
    inner: Array  # (w,) of the inner surface, above the baseline
    middle: float  # of the lesion, across
    rng: np.random.Generator

    def cysts(self) -> Floats:
        """Fluid within the retina, as in macular oedema: one to three dark ovals with sharp borders."""
        places, draw = self._places(1, 3, 300), self.rng.uniform
        thicknesses = np.interp(places, self.across, self.inner)
        ovals = [(draw(48, 168), min(draw(18, 54), 0.3 * t), draw(0.35, 0.65) * t) for t in thicknesses]
        return self._filled(self._ovals(places, ovals), FLUID, 0.06)

    def drusen(self) -> Floats:
        """Deposits below the RPE: one to three bumps of it, grey within, that press the outer layers together."""
        draw = self.rng.uniform
        bumps = [draw(24, 72) * np.exp(-np.square((self.across - x) / draw(60, 190))) for x in self._places(1, 3, 360)]
        lift, top = np.max(bumps, axis=0), 240.0  # micrometres above the baseline from where on layers lie as before
        pressed = np.where((self.up > 0) & (self.up < top), (self.up - lift) / (1 - lift / top), self.up)
        return self._warped(pressed)._filled(self._between(0.0, lift - RPE), DRUSE, 0.1)

    def subretinal_fluid(self) -> Floats:
        """The retina lifted off the RPE by a dark lens of fluid."""
        height, floor = self.rng.uniform(24, 120), RPE + BAND.row
        lift = height * np.clip(1 - np.square(self._away(240, 960)), 0, 1)
        lifted = self._warped(np.where(self.up > floor, np.maximum(self.up - lift, floor), self.up))
        return lifted._filled(self._between(floor, floor + lift), FLUID, 0.06)

    def thickening(self) -> Floats:
        """Diffuse swelling: all layers are thicker in a stretch, none is lost."""
        factor = 1 + (self.rng.uniform(1.1, 1.35) - 1) * np.exp(-np.square(self._away(720, 1800)))
        return self._warped(np.where(self.up > 0, self.up / factor, self.up)).pixels

    def foci(self) -> Floats:
        """Hyperreflective foci: three to seven small bright dots, of lipid or of cells of the RPE."""
        places = self._places(3, 7, 360)
        heights = [self.rng.uniform(30, 0.85 * thick) for thick in np.interp(places, self.across, self.inner)]
        return self._filled(self._ovals(places, [(30, 13, up) for up in heights]), FOCUS, 0.0)

    def lost_outer_layers(self) -> Floats:
        """Atrophy of the photoreceptors: the bright outer bands fade in a stretch."""
        across = np.exp(-np.power(self._away(120, 480), 4))
        cover = self.rng.uniform(0.4, 0.9) * np.exp(-np.square((self.up - 24) / 36)) * across
        return self._filled(cover, LOST, 0.12)

    def disordered_inner_layers(self) -> Floats:
        """Disorganised inner layers: in a stretch none can be told from the next; the scan's own grain stays."""
        across, fine = np.exp(-np.power(self._away(360, 960), 4)), (6 / BAND.row, 17 / BAND.column)
        inside, wide = self._between(48.0, self.inner - 24, 24.0), (36 / BAND.row, 100 / BAND.column)
        # within these layers alone: no brightness of the RPE or darkness of the vitreous gets into them
        mixed = gaussian_filter(self.pixels * inside, wide) / np.maximum(gaussian_filter(inside, wide), 1e-6)
        return np.asarray(self.pixels + inside * across * (mixed - gaussian_filter(self.pixels, fine)))

    def _away(self, least: float, most: float) -> Floats:
        """(w,) from the middle of the lesion, in half widths, of which one between `least` and `most` is drawn."""
        return (self.across - self.middle) / self.rng.uniform(least, most)

    def _places(self, least: int, most: int, spread: float) -> list[float]:
        """The middle, so that one lesion lies within the band for certain, and others up to `spread` away."""
        others = self.middle + self.rng.uniform(-spread, spread, int(self.rng.integers(least, most + 1)) - 1)
        return [self.middle, *others.tolist()]

    def _between(self, low: float, high: Floats, soft: float = BAND.row) -> Floats:
        """(h, w) 1 between two heights, falling to 0 at both over `soft` micrometres; 0 where `high` is below `low`."""
        return np.clip(np.minimum(self.up - low, high - self.up) / soft, 0, 1)

    def _ovals(self, places: Sequence[float], shapes: Sequence[tuple[float, float, float]]) -> Floats:
        """(h, w) 1 in ovals of half width, half height and height, falling to 0 at their rims."""
        cover = np.zeros(self.pixels.shape)
        for place, (half_width, half_height, up) in zip(places, shapes, strict=True):
            distance = np.square((self.up - up) / half_height) + np.square((self.across - place) / half_width)
            cover = np.maximum(cover, expit(6 * (1 - distance)))
        return cover

    def _filled(self, cover: Floats, value: float, grain: float) -> Floats:
        """The band with `value`, and a grain of that standard deviation, where `cover` (h, w) in [0, 1] says."""
        speckle = gaussian_filter(self.rng.standard_normal(cover.shape), 0.5)
        return np.asarray((1 - cover) * self.pixels + cover * (value + grain * speckle / speckle.std()))

    def _warped(self, source: Floats) -> Band:
        """Each pixel from the height `source` (h, w) of its column; what is vitreous before and after stays."""
        rows = (BAND.above - source) / BAND.row - 0.5
        columns = np.broadcast_to(np.arange(rows.shape[1]), rows.shape)
        moved = map_coordinates(self.pixels, [rows, columns], order=3, mode="nearest")  # cubic keeps more of the grain
        vitreous = np.minimum(self.up, source) > self.inner + 24  # the surface is a soft edge
        return replace(self, pixels=np.where(vitreous, self.pixels, moved))


def plant_band(flat: Flat, retina: Retina, kind: str, rng: np.random.Generator) -> Floats:
    """The band (h, w) in [-1, 1] with a lesion; exactly as it was away from it."""
    pixels = flat.pixels.astype(np.float64)
    up = BAND.above - (np.arange(len(pixels)) + 0.5) * BAND.row
    inner = BAND.above - (inner_surface(flat, retina) + 0.5) * BAND.row
    across = (np.arange(pixels.shape[1]) + 0.5) * BAND.column
    seen = flat.valid[(up > 0) & (up < 150)].mean(axis=0)
    shown = np.flatnonzero(seen == seen.max())
    margin = min(round(360 / BAND.column), len(shown) // 4)  # micrometres
    middle = float(across[rng.choice(shown[margin : len(shown) - margin])])
    band = Band(pixels, up[:, None], across, inner, middle, rng)
    planted = np.clip(getattr(band, kind.replace(" ", "_"))(), -1, 1)
    return np.where(np.abs(planted - pixels) >= 0.01, planted, pixels)  # less is not a grey level


def carried(pixels: Array, change: Array, flat: Flat) -> Array:
    """Native pixels with a change of the band (h, w) laid over them; white borders stay white."""
    values, reason = as_scan(pixels)
    assert values is not None, reason  # or there would be no band
    native = np.where(known_pixels(values, pixels.dtype == np.uint8), unflatten(change, flat) * flat.grey, 0)
    moved = pixels + native.reshape(native.shape + (1,) * (pixels.ndim - 2))
    if pixels.dtype.kind == "u":
        moved = np.clip(np.rint(moved), 0, np.iinfo(pixels.dtype).max)
    return np.asarray(moved.astype(pixels.dtype))


def with_planted(normals: Scans, found: Sequence[FlatScan]) -> Scans:
    """Normals, and of each whose retina was found a copy of every kind: same patient, labelled by the kind."""
    images, items = list(normals.images), list(normals.items)
    for pixels, item, scan in zip(normals.images, normals.items, found, strict=True):
        if scan.flat is None or scan.retina is None:
            continue
        for kind in KINDS:
            rng = np.random.default_rng(derive(0, "planted", fingerprint(pixels), kind))
            change = plant_band(scan.flat, scan.retina, kind, rng) - scan.flat.pixels
            images.append(carried(pixels, change, scan.flat))
            items.append(replace(item, id=f"{item.id} with {kind}", label=kind, normal=False))
    return replace(normals, images=tuple(images), items=tuple(items), copies=True)


def planted_rows(study: Study) -> Iterator[Row]:
    """AUROC of every method: each kind of lesion, and their mean."""
    chosen = np.flatnonzero(study.scans.labels == NORMAL).tolist()
    chosen = chosen[:6] if study.arguments.quick else chosen  # each comes back eight times
    normals = replace(study, scans=study.scans.take(chosen))
    study = replace(study, scans=with_planted(normals.scans, normals.found))
    refused = sum(scan.flat is None for scan in study.found[len(chosen) :])
    yield cell("all planted", "find_retina").row("refused", refused)
    for method in study.arguments.methods:
        scores = study.scores(method)[0]["score"]
        for case, kinds in {**{kind: [kind] for kind in KINDS}, "all planted": KINDS}.items():
            yield cell(case, method).row("auroc_planted", *scores.auroc("within", kinds))
