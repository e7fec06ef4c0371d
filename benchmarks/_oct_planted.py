"""Lesions planted into normal scans, for part `planted` of `oct.py`: what settings are chosen by, without a label.

A lesion is drawn into the band of a normal, in micrometres, and what it changes is laid back over the native pixels, so
that a method meets it as it meets any scan: its lines are found again, and it is laid flat again. A copy holds lesions
of one kind; where they are, how large and how many follows from the scan's own pixels and the kind.

A fold's model scores the normals of its fold and their copies, never a copy of a patient whom it learnt from. The AUROC
is the mean of the folds', weighted by their normals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.special import expit

from _common import Cell, Floats, Interval, Row
from _oct_auroc import Result, Study
from _oct_folds import Fold, Verdict, copies_interval
from _oct_scans import Scans
from anotwin.domains.oct.flatten import Flat, FlatSpec, to_flat, unflatten
from anotwin.domains.oct.layers.find import Retina
from anotwin.domains.oct.layers.mask import as_scan, known_pixels
from anotwin.domains.oct.scans import FlatScan
from anotwin.records import Array
from anotwin.seeding import derive

SPEC = FlatSpec()  # that of `flat_scans`
MARGIN = 360.0  # micrometres from the last columns that show the retina
LEAST = 0.01  # of the band's values, about a grey level: what is changed by less is left as it was
FLUID, DRUSE, FOCUS, LOST = -0.75, 0.05, 0.8, -0.15  # values of the band; the vitreous has -0.8, bright layers 0.6
RPE = 18.0  # micrometres from the baseline, the middle of the RPE's bright band, to its edges
VITREOUS_FROM = 24.0  # micrometres above the inner surface, which is a soft edge
ALL_PLANTED = "all planted"

Rng = np.random.Generator


# -- kinds -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Band:
    """A normal laid flat, in micrometres, and where along it the lesion is to be."""

    pixels: Floats  # (h, w) in [-1, 1]
    up: Floats  # (h, 1) of each row, above the baseline
    across: Floats  # (w,) of each column
    inner: Floats  # (w,) of the inner surface, above the baseline
    middle: float  # of the lesion, across

    def thickness(self, across: float) -> float:
        """Of the retina at one place."""
        return float(np.interp(across, self.across, self.inner))


def cysts(band: Band, rng: Rng) -> Floats:
    """Fluid within the retina, as in macular oedema: one to three dark ovals with sharp borders."""
    cover = np.zeros(band.pixels.shape)
    for across in _places(band, rng, 1, 3, 300):
        thick = band.thickness(across)
        wide, high = rng.uniform(48, 168), min(rng.uniform(18, 54), 0.3 * thick)
        cover = np.maximum(cover, _oval(band, across, rng.uniform(0.35, 0.65) * thick, wide, high))
    return _painted(band, cover, FLUID, 0.06, rng)


def drusen(band: Band, rng: Rng) -> Floats:
    """Deposits below the RPE: one to three bumps of it, grey within, that press the outer layers together."""
    places = _places(band, rng, 1, 3, 360)
    bumps = [rng.uniform(24, 72) * np.exp(-np.square((band.across - x) / rng.uniform(60, 190))) for x in places]
    lift = np.max(bumps, axis=0)
    yields = 240.0  # above the baseline: from there on the layers lie as before
    pressed = (band.up - lift) / (1 - lift / yields)
    raised = _warped(band, np.where((band.up > 0) & (band.up < yields), pressed, band.up))
    return _painted(raised, _between(band.up, 0.0, lift - RPE), DRUSE, 0.1, rng)


def subretinal_fluid(band: Band, rng: Rng) -> Floats:
    """The retina lifted off the RPE by a dark lens of fluid."""
    height, half = rng.uniform(24, 120), rng.uniform(240, 960)
    lift = height * np.clip(1 - np.square((band.across - band.middle) / half), 0, 1)
    floor = RPE + SPEC.row
    lifted = _warped(band, np.where(band.up > floor, np.maximum(band.up - lift, floor), band.up))
    return _painted(lifted, _between(band.up, floor, floor + lift), FLUID, 0.06, rng)


def thickening(band: Band, rng: Rng) -> Floats:
    """Diffuse swelling: all layers are thicker in a stretch, none is lost."""
    most, half = rng.uniform(1.1, 1.35), rng.uniform(720, 1800)
    factor = 1 + (most - 1) * np.exp(-np.square((band.across - band.middle) / half))
    return _warped(band, np.where(band.up > 0, band.up / factor, band.up)).pixels


def foci(band: Band, rng: Rng) -> Floats:
    """Hyperreflective foci: three to seven small bright dots, of lipid or of cells of the RPE."""
    cover = np.zeros(band.pixels.shape)
    for across in _places(band, rng, 3, 7, 360):
        up = rng.uniform(30, 0.85 * band.thickness(across))
        cover = np.maximum(cover, _oval(band, across, up, 30, 13))
    return _painted(band, cover, FOCUS, 0.0, rng)


def lost_outer_layers(band: Band, rng: Rng) -> Floats:
    """Atrophy of the photoreceptors: the bright outer bands fade in a stretch."""
    across = np.exp(-np.power((band.across - band.middle) / rng.uniform(120, 480), 4))
    cover = rng.uniform(0.4, 0.9) * np.exp(-np.square((band.up - 24) / 36)) * across
    return _painted(band, cover, LOST, 0.12, rng)


def disordered_inner_layers(band: Band, rng: Rng) -> Floats:
    """Disorganised inner layers: in a stretch none can be told from the next; the scan's own grain stays."""
    across = np.exp(-np.power((band.across - band.middle) / rng.uniform(360, 960), 4))
    inside = _between(band.up, 48.0, band.inner - 24, 24.0)
    fine = gaussian_filter(band.pixels, (6 / SPEC.row, 17 / SPEC.column))
    wide = (36 / SPEC.row, 100 / SPEC.column)
    # within these layers alone: no brightness of the RPE or darkness of the vitreous gets into them
    mixed = gaussian_filter(band.pixels * inside, wide) / np.maximum(gaussian_filter(inside, wide), 1e-6)
    return np.asarray(band.pixels + inside * across * (mixed - fine))


KINDS: Mapping[str, Callable[[Band, Rng], Floats]] = {  # as printed; what each stands for is said there
    "cysts": cysts,
    "drusen": drusen,
    "subretinal fluid": subretinal_fluid,
    "thickening": thickening,
    "foci": foci,
    "lost outer layers": lost_outer_layers,
    "disordered inner layers": disordered_inner_layers,
}


def _places(band: Band, rng: Rng, least: int, most: int, spread: float) -> list[float]:
    """The middle, so that one lesion lies within the band for certain, and others up to `spread` away."""
    others = band.middle + rng.uniform(-spread, spread, int(rng.integers(least, most + 1)) - 1)
    return [band.middle, *others.tolist()]


def _oval(band: Band, across: float, up: float, half_width: float, half_height: float) -> Floats:
    distance = np.square((band.up - up) / half_height) + np.square((band.across - across) / half_width)
    return np.asarray(expit(6 * (1 - distance)))


def _between(up: Floats, low: float, high: Floats, soft: float = SPEC.row) -> Floats:
    """(h, w) 1 between two heights, falling to 0 at both over `soft` micrometres; 0 where `high` is below `low`."""
    return np.clip(np.minimum(up - low, high - up) / soft, 0, 1)


def _painted(band: Band, cover: Floats, value: float, grain: float, rng: Rng) -> Floats:
    """`value` with a grain of that standard deviation, laid over the band by `cover` (h, w) in [0, 1]."""
    speckle = gaussian_filter(rng.standard_normal(cover.shape), 0.5)
    return np.asarray((1 - cover) * band.pixels + cover * (value + grain * speckle / speckle.std()))


def _warped(band: Band, source: Floats) -> Band:
    """Each pixel from the height `source` (h, w) of its column; what is vitreous before and after stays.

    Cubic, which keeps more of the grain than linear.
    """
    rows = (SPEC.above - source) / SPEC.row - 0.5
    columns = np.broadcast_to(np.arange(rows.shape[1]), rows.shape)
    moved = map_coordinates(band.pixels, [rows, columns], order=3, mode="nearest")
    vitreous = np.minimum(band.up, source) > band.inner + VITREOUS_FROM
    return replace(band, pixels=np.where(vitreous, band.pixels, moved))


# -- scans -------------------------------------------------------------------------------------------------------------


def plant(scan: FlatScan, kind: str) -> Array:
    """Native pixels of a copy of a normal with a lesion of `kind`: the same whenever and wherever it is made."""
    assert scan.pixels is not None
    assert scan.flat is not None
    assert scan.retina is not None
    rng = np.random.default_rng(derive(0, "planted", int(scan.fingerprint or 0), kind))
    return carried(scan.pixels, plant_band(scan.flat, scan.retina, kind, rng) - scan.flat.pixels, scan.flat)


def plant_band(flat: Flat, retina: Retina, kind: str, rng: Rng) -> Floats:
    """The band (h, w) in [-1, 1] with a lesion; exactly as it was away from it."""
    band = _measured(flat, retina, rng)
    planted = np.clip(KINDS[kind](band, rng), -1, 1)
    return np.where(np.abs(planted - band.pixels) >= LEAST, planted, band.pixels)


def _measured(flat: Flat, retina: Retina, rng: Rng) -> Band:
    down, across = flat.pixels.shape
    up = _height(np.arange(down, dtype=np.float64))
    columns = np.clip(((np.arange(across) + 0.5) * flat.columns).astype(np.int64), 0, len(retina.ilm) - 1)
    ilm = to_flat(retina.ilm[columns], columns, flat)[0].astype(np.float64)
    places = (np.arange(across, dtype=np.float64) + 0.5) * SPEC.column
    seen = flat.valid[(up > 0) & (up < 150)].mean(axis=0)
    shown = np.flatnonzero(seen == seen.max())
    margin = min(round(MARGIN / SPEC.column), len(shown) // 4)
    middle = float(places[rng.choice(shown[margin : len(shown) - margin])])
    return Band(flat.pixels.astype(np.float64), up[:, None], places, _height(ilm), middle)


def _height(rows: Floats) -> Floats:
    """Of rows of the band, above the baseline."""
    return np.asarray(SPEC.above - (rows + 0.5) * SPEC.row)


def carried(pixels: Array, change: npt.NDArray[Any], flat: Flat) -> Array:
    """Native pixels with a change of the band (h, w) laid over them; white borders stay white."""
    values, reason = as_scan(pixels)
    assert values is not None, reason  # or there would be no band
    known = known_pixels(values, pixels.dtype == np.uint8)
    native = np.where(known, unflatten(change, flat) * flat.grey, 0)
    moved = pixels + native.reshape(native.shape + (1,) * (pixels.ndim - 2))
    if pixels.dtype.kind == "u":
        moved = np.clip(np.rint(moved), 0, np.iinfo(pixels.dtype).max)
    return np.asarray(moved.astype(pixels.dtype))


def with_planted(normals: Scans, found: Sequence[FlatScan]) -> Scans:
    """Normals, and of each whose retina was found a copy of every kind: same patient, labelled by the kind.

    A copy is a volume of its own, or its lines would be held against those of the slice that it was made from.
    """
    pixels, items, infos = list(normals.pixels), list(normals.items), list(normals.infos)
    for index, scan in enumerate(found):
        for kind in KINDS if scan.flat is not None else ():
            item, info = normals.items[index], normals.infos[index]
            pixels.append(plant(scan, kind))
            items.append(replace(item, id=f"{item.id} with {kind}", label=kind, normal=False))
            infos.append(replace(info, volume=f"{item.id} with {kind}", slice=0, slices=1))
    count = len(items)
    root = f"{len(normals.items)} normals of {normals.root} and {count - len(normals.items)} planted copies"
    return Scans(root, tuple(pixels), tuple(items), tuple(infos), (None,) * count)


# -- scores ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class PlantedStudy(Study):
    """Of `with_planted` scans."""

    def scored(self, fold: Fold) -> list[int]:
        """The calibration set, the normals of the fold, and their copies alone."""
        own = np.isin(self.scans.patients, self.scans.patients[list(fold.unseen)])
        return sorted({*fold.calibration, *np.flatnonzero(own).tolist()})


def planted_auroc(verdict: Verdict, kinds: Sequence[str]) -> tuple[float, Interval]:
    """The folds' AUROC of their normals against these kinds, weighted by their normals; 95 % over patients."""
    scans = verdict.scans
    copies = np.flatnonzero(np.isin(scans.labels, list(kinds)))
    normals, wins = verdict.wins("within", copies)
    fold_of = {patient: fold.number for fold in verdict.folds for patient in scans.patients[list(fold.unseen)].tolist()}
    folds = np.array([fold_of[patient] for patient in scans.patients.tolist()])
    groups = np.char.add(np.char.add(folds.astype(str), "/"), scans.patients)
    together = (folds[normals][:, None] == folds[copies]).astype(np.float64)
    counted = together / np.maximum(together.sum(axis=1, keepdims=True), 1)  # each normal once, however many copies
    value = float((wins * counted).sum() / counted.sum())
    return value, copies_interval(wins, groups[normals], groups[copies], counted)


def planted_rows(name: str, result: Result) -> Iterator[Row]:
    """AUROC of one method: each kind, and their mean."""
    for case, kinds in [*((kind, [kind]) for kind in KINDS), (ALL_PLANTED, list(KINDS))]:
        value, interval = planted_auroc(result.verdicts["score"], kinds)
        yield Cell(name, case, result.method).row("auroc_planted", value, interval)
