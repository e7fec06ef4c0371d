"""Part `confounds` of `oct.py`: what can be told from how a scan was taken, before preparation and after it.

White corners, protocol, brightness and noise differ between clinics' normal and abnormal scans, and a detector must not
live on them. Here one is fed with nothing else: it learns mean and standard deviation of each quantity from the normals
of a fold (that of PCA and kNN), and the score of a scan is how many standard deviations it lies off, whichever way; of
all quantities together the root of the mean square. An AUROC whose interval holds 0.5 is chance.

`alike` leaves of all pairs of scans those that were taken alike: an AUROC of these alone owes nothing to how.

What is measured on the whole band after preparation is not free of illness (a thick retina fills more of it with grey),
so the vitreous is measured by itself: it shows how the scan was taken and, but for haze, nothing of the retina.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from _common import Cell, Floats, Row
from _oct_folds import Fold, Verdict
from _oct_scans import NORMAL, Scans
from anotwin.domains.oct.flatten import Flat, to_flat
from anotwin.domains.oct.layers.find import Retina
from anotwin.domains.oct.layers.mask import as_scan, known_pixels
from anotwin.domains.oct.scans import FlatScan
from anotwin.records import Array

BEFORE = ("white share", "width", "brightness", "contrast", "noise floor")
AFTER = ("valid share", "brightness", "contrast", "vitreous brightness", "vitreous noise")
TOGETHER = "all together"
ALIKE = 1.0  # standard deviations of the normals, in each quantity before preparation
MARGIN = 4  # rows of the band above the inner surface that may be blurred by it


def confound_rows(name: str, scans: Scans, found: Sequence[FlatScan], folds: tuple[Fold, ...]) -> Iterator[Row]:
    """AUROC of each quantity and of all together, with intervals over patients."""
    for stage, names, measured in (
        ("before preparation", BEFORE, [before(scan.pixels) for scan in found]),
        ("after preparation", AFTER, [after(scan.flat, scan.retina) for scan in found]),
    ):
        table = np.array([[each[key] for key in names] for each in measured])  # (N, K)
        for verdict, quantity in verdicts(scans, folds, table, names):
            value, interval = verdict.auroc("within")  # all scans of one protocol have no spread to pool by
            yield Cell(name, stage, quantity).row("auroc", value, interval)


def verdicts(
    scans: Scans, folds: tuple[Fold, ...], table: Floats, names: Sequence[str]
) -> Iterator[tuple[Verdict, str]]:
    """One detector a column of `table` (N, K), NaN where refused, and one of all columns."""
    off = np.full((len(folds), *table.shape), np.nan)  # (folds, N, K)
    for fold in folds:
        known = table[list(fold.learnt)]
        spread = np.maximum(known.std(axis=0, ddof=1), 1e-9 * np.abs(known).max(axis=0) + 1e-12)
        off[fold.number] = np.abs(table - known.mean(axis=0)) / spread
        off[fold.number, fold.learnt] = np.nan
    for column, quantity in enumerate(names):
        yield Verdict(scans, folds, off[:, :, column]), quantity
    yield Verdict(scans, folds, np.sqrt(np.square(off).mean(axis=2))), TOGETHER


def alike(scans: Scans) -> npt.NDArray[np.bool_]:
    """(N, N) True for pairs of scans of one width that hardly differ in brightness, contrast, noise and white."""
    table = np.array([[before(pixels)[key] for key in BEFORE] for pixels in scans.pixels])
    spread = np.maximum(table[scans.labels == NORMAL].std(axis=0), 1e-6)
    close = (np.abs(table[:, None] - table[None]) <= ALIKE * spread).all(axis=2)
    width = table[:, BEFORE.index("width")]
    return np.asarray(close & (width[:, None] == width[None]))


def before(pixels: Array | None) -> Mapping[str, float]:
    """Of the original scan, white excepted: grey levels as shares of the type's largest; width as its logarithm."""
    values, reason = (None, "") if pixels is None else as_scan(pixels)
    if values is None or pixels is None or reason:
        return dict.fromkeys(BEFORE, np.nan)
    known = known_pixels(values, pixels.dtype == np.uint8)
    top = float(np.iinfo(pixels.dtype).max) if pixels.dtype.kind == "u" else 1.0
    shown = values[known] / top
    numbers = (1 - known.mean(), np.log2(values.shape[1]), shown.mean(), shown.std(), np.percentile(shown, 5))
    return dict(zip(BEFORE, map(float, numbers), strict=True))


def after(flat: Flat | None, retina: Retina | None) -> Mapping[str, float]:
    """Of the band that a method sees."""
    if flat is None or retina is None:
        return dict.fromkeys(AFTER, np.nan)
    shown = flat.pixels[flat.valid]
    down, across = flat.pixels.shape
    columns = np.clip(((np.arange(across) + 0.5) * flat.columns).astype(np.int64), 0, len(retina.ilm) - 1)
    ilm, _ = to_flat(retina.ilm[columns], columns, flat)
    above = flat.pixels[flat.valid & (np.arange(down)[:, None] < ilm - MARGIN)]
    vitreous = (float(above.mean()), float(above.std())) if above.size else (np.nan, np.nan)
    numbers = (flat.valid.mean(), shown.mean(), shown.std(), *vitreous)
    return dict(zip(AFTER, map(float, numbers), strict=True))
