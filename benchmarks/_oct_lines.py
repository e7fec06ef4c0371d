"""Parts `lines` and `real` of `oct.py`: the two lines against known ones, and every real scan segmented or refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from _common import Cell, Floats, Row, console
from _oct_scans import NORMAL, Scans, as_source, prepared
from _oct_sheet import draw_bands, draw_sheets
from anotwin.domains.oct.flatten import Flat, to_flat, to_scan, unflatten
from anotwin.domains.oct.layers.find import Lines
from anotwin.domains.oct.scans import FlatScan
from anotwin.domains.oct.synthetic.retina import Lesion, RetinaScan, retina_scan
from anotwin.updates import Watch

METHOD = "find_retina"
WITHIN, STRAIGHT = 2.0, 1.0  # pixels: mean absolute error of both lines, and of the flattened baseline
SHARE_GOAL, INVERSE_GOAL = ">= 0.95", "<= 0.5"  # of scans; pixels
ALL, WHITE = "all", "white corners"
# What is drawn: lesions and columns. Looks (tilt, curvature, shadows, white corners, noise) follow from the seeds.
CASES: Mapping[str, tuple[tuple[Lesion, ...], int]] = {
    "normal": ((), 512),
    "normal, 768 wide": ((), 768),
    "normal, 1536 wide": ((), 1536),
    "cysts": ((Lesion("cyst", 200, at=0.35), Lesion("cyst", 400, 250, at=0.55)), 512),
    "subretinal fluid": ((Lesion("fluid", 1500, 180),), 512),
    "drusen": ((Lesion("druse", 300, 90, at=0.4), Lesion("druse", 200, 60, at=0.6)), 512),
    "RPE detachment": ((Lesion("detachment", 1500, 220),), 512),
    "bright foci": ((Lesion("focus", 60, at=0.3), Lesion("focus", 90, at=0.6)), 512),
}


@dataclass(frozen=True)
class Errors:
    """Of one scan, in its pixels; infinite where it was refused."""

    case: str
    white: bool  # whether registration left some
    ilm: float = np.inf  # mean absolute errors over the columns that show the true line
    rpe: float = np.inf
    straight: float = np.inf  # mean absolute deviation of the true baseline in the band from a straight line
    inverse: float = np.inf  # the largest way that a pixel has moved after flattening and back

    @property
    def within(self) -> bool:
        return self.ilm <= WITHIN and self.rpe <= WITHIN


def line_rows(name: str, count: int, workers: int, goals: bool, watch: Watch) -> Iterator[Row]:
    """Synthetic retinas, `count` of each case, the same eyes in none: errors against the lines that were drawn."""
    errors: list[Errors] = []
    for number, (case, (lesions, width)) in enumerate(CASES.items()):
        seeds = range(1000 * number, 1000 * number + count)
        truths = [retina_scan(seed, width=width, lesions=lesions) for seed in seeds]
        names = [f"{case} {seed}" for seed in seeds]
        scans = prepared(as_source(truths, names, [NORMAL] * count), workers, watch)
        for scan in scans:
            if scan.error:
                console.print(f"refused: {scan.error}", markup=False)
        found = [errors_of(case, truth, scan) for truth, scan in zip(truths, scans, strict=True)]
        yield from _rows(Cell(name, case, METHOD), found, False)
        errors += found
    yield from _rows(Cell(name, WHITE, METHOD), [each for each in errors if each.white], False)
    yield from _rows(Cell(name, ALL, METHOD), errors, goals)


def errors_of(case: str, truth: RetinaScan, scan: FlatScan) -> Errors:
    """What was found of a synthetic scan, against how it was drawn."""
    white = bool(truth.white.any())
    if scan.retina is None or scan.flat is None:
        return Errors(case, white)
    ilm, rpe = (
        line_error(found, line, truth.white)
        for found, line in ((scan.retina.ilm, truth.ilm), (scan.retina.rpe, truth.rpe))
    )
    return Errors(case, white, ilm, rpe, crookedness(truth.baseline, scan.flat), inverse_error(scan.flat))


def line_error(found: Lines, truth: npt.NDArray[np.floating], white: npt.NDArray[np.bool_]) -> float:
    """Mean absolute error in rows, over all columns in which the scan shows the true line.

    Columns that the segmentation itself calls invalid count as well.

    >>> line_error(np.array([1, 2], np.float32), np.array([1.0, 4.0]), np.zeros((9, 2), bool))
    1.0
    """
    rows = np.rint(truth).astype(np.int64)
    inside = (rows >= 0) & (rows < len(white))
    shown = inside & ~white[np.clip(rows, 0, len(white) - 1), np.arange(len(rows))]
    return float(np.abs(found - truth)[shown].mean()) if shown.any() else 0.0


def crookedness(baseline: npt.NDArray[np.floating], flat: Flat) -> float:
    """Mean absolute deviation of a line of the scan from a level one once it is flattened, in rows of the scan."""
    rows, _ = to_flat(baseline, np.arange(len(baseline)), flat)
    return float(np.abs(rows - np.median(rows)).mean() * flat.rows)


def inverse_error(flat: Flat) -> float:
    """How far a pixel of the scan comes back from where it was, at most, in pixels of the scan.

    The band is filled with the places of the scan that each of its pixels was made of; laid back, each pixel of the
    scan must find its own place there. The half pixel at the rim of the band, which lies between no two, is left out.
    """
    down, across = flat.pixels.shape
    rows, columns = to_scan(np.arange(down)[:, None], np.arange(across), flat)
    columns = np.broadcast_to(columns, rows.shape)
    native = np.indices((flat.height, len(flat.baseline)))
    i, j = to_flat(native[0], native[1], flat)
    inner = (i >= 0) & (i <= down - 1) & (j >= 0) & (j <= across - 1)
    ways = [unflatten(places, flat) - own for places, own in zip((rows, columns), native, strict=True)]
    return float(np.hypot(*ways)[inner].max())


def _rows(cell: Cell, errors: Sequence[Errors], goals: bool) -> Iterator[Row]:
    used = [each for each in errors if np.isfinite(each.ilm)]
    yield cell.row("scans", len(errors))
    yield cell.row("refused", len(errors) - len(used))
    within = np.array([each.within for each in errors])
    yield cell.share("both_lines_within_2px", within, SHARE_GOAL if goals else None)
    if not used:
        return
    yield cell.mean("ilm_error", _column(used, "ilm"), "px")
    yield cell.mean("rpe_error", _column(used, "rpe"), "px")
    yield cell.mean("baseline_crookedness", _column(used, "straight"), "px")
    straight = _column(errors, "straight") <= STRAIGHT
    yield cell.share("baseline_straight_within_1px", straight, SHARE_GOAL if goals else None)
    inverse = float(_column(used, "inverse").max())
    yield cell.row("inverse_error_most", inverse, unit="px", goal=INVERSE_GOAL if goals else None)


def _column(errors: Sequence[Errors], name: str) -> Floats:
    return np.array([getattr(each, name) for each in errors], dtype=np.float64)


# -- real scans --------------------------------------------------------------------------------------------------------


def real_rows(name: str, scans: Scans, found: Sequence[FlatScan], sheet: Path | None) -> Iterator[Row]:
    """How many scans of each class were segmented; the reasons of the others are printed."""
    for scan in found:
        if scan.error:
            console.print(f"refused: {scan.error}", markup=False)
    segmented = np.array([scan.flat is not None for scan in found])
    for label in [*Counter(scans.labels.tolist()), ALL]:
        mine = np.ones(len(found), bool) if label == ALL else scans.labels == label
        cell = Cell(name, label, METHOD)
        yield cell.row("scans", int(mine.sum()))
        yield cell.share("segmented", segmented[mine])
        quality = [scan.retina.quality for scan, own in zip(found, mine, strict=True) if own and scan.retina]
        yield cell.row("quality_median", float(np.median(quality)))
    settled = np.array([scan.flat is not None or bool(scan.error) for scan in found])
    yield Cell(name, ALL, METHOD).share("segmented_or_refused_with_a_reason", settled, ">= 1")
    if sheet is not None:
        _draw(scans, found, sheet)


def _draw(scans: Scans, found: Sequence[FlatScan], folder: Path) -> None:
    names = [Path(item.id).stem for item in scans.items]
    shown = [(scan.pixels, scan.retina, name) for scan, name in zip(found, names, strict=True)]
    there = [(pixels, retina, name) for pixels, retina, name in shown if pixels is not None and retina is not None]
    lines = draw_sheets([each[0] for each in there], [each[1] for each in there], [each[2] for each in there], folder)
    flats = [(scan.flat, name) for scan, name in zip(found, names, strict=True) if scan.flat is not None]
    bands = draw_bands([flat for flat, _ in flats], [name for _, name in flats], folder)
    console.print(f"{len(lines) + len(bands)} sheets of lines and bands -> {folder}", markup=False)
