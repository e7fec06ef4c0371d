"""Part `lesions` of `oct.py`: planted lesions found in their own pixels, and the smallest cyst that is found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from _common import Cell, Row, console
from _oct_scans import NORMAL, as_source
from anotwin import Detector, Finding, Settings
from anotwin.domains.oct.flatten import flatten
from anotwin.domains.oct.report.bscan import scan_figure
from anotwin.domains.oct.synthetic.retina import Lesion, RetinaScan, retina_scan
from anotwin.evaluate import metrics
from anotwin.records import Array
from anotwin.updates import Update, Watch

PIXEL_GOAL = ">= 0.95"  # AUROC over all pixels of the scans
CYSTS = (20, 40, 60, 80, 120, 160, 240, 320)  # micrometres
FOUND = 0.9  # share of cysts of one size from which that size is said to be found
TRAINING_SEEDS, TEST_SEEDS = 500_000, 600_000  # eyes that no other part draws
BELOW, ABOVE = 100.0, 30.0  # micrometres around the lines that are still retina
KINDS: Mapping[str, tuple[Lesion, ...]] = {
    "cyst": (Lesion("cyst", 300, 200),),
    "fluid": (Lesion("fluid", 1200, 150),),
    "druse": (Lesion("druse", 300, 90),),
    "detachment": (Lesion("detachment", 1200, 180),),
    "focus": (Lesion("focus", 80),),
}

Mask = npt.NDArray[np.bool_]


def train_on_synthetic(count: int, width: int, settings: Settings, device: str, watch: Watch) -> Detector:
    """The default method, from `count` healthy eyes."""
    seeds = range(TRAINING_SEEDS, TRAINING_SEEDS + count)
    scans = [retina_scan(seed, width=width) for seed in seeds]
    source = as_source(scans, [f"eye-{seed}" for seed in seeds], [NORMAL] * count)
    return Detector.train(source, settings=settings, device=device, watch=watch)


def lesion_rows(
    name: str, detector: Detector, count: int, width: int, goals: bool, watch: Watch, sheet: Path | None = None
) -> Iterator[Row]:
    """`count` eyes a kind of lesion: pixel AUROC, over whole scans and within the retina; then the curve of cysts.

    The first eye of each kind is drawn into `sheet`.
    """
    truths: list[RetinaScan] = []
    findings: list[Finding] = []
    for kind, lesions in KINDS.items():
        scans = _draw(count, width, lesions)
        found = _found(detector, scans, kind, watch)
        if sheet is not None and found[0].heatmap is not None:
            draw_lesion(found[0], scans[0], sheet / f"lesions-{kind}.png")
        yield from _pixel_rows(Cell(name, kind, detector.method.name), scans, found, False)
        truths += scans
        findings += found
    yield from _pixel_rows(Cell(name, "all lesions", detector.method.name), truths, findings, goals)
    yield from _curve(name, detector, count, width, watch)


def draw_lesion(finding: Finding, truth: RetinaScan, path: Path) -> None:
    """The scan with its lines, its heat, and the flattened retina above its counterpart."""
    assert finding.query is not None
    assert finding.counterpart is not None
    assert finding.evidence is not None
    pictures = {"retina laid flat": finding.query, "its counterpart": finding.counterpart}
    bands: dict[str, Array] = {
        name: flatten(pixels, finding.evidence, spacing=truth.spacing).pixels for name, pixels in pictures.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    title = f"{finding.id}   score {finding.score:.3g}   {'anomalous' if finding.anomalous else 'normal'}"
    scan_figure(
        finding.query, finding.heatmap, path, title, retina=finding.evidence, spacing=truth.spacing, bands=bands
    )


def _draw(count: int, width: int, lesions: Sequence[Lesion]) -> list[RetinaScan]:
    """The same eyes whatever the lesions."""
    return [retina_scan(TEST_SEEDS + number, width=width, lesions=lesions) for number in range(count)]


def _found(detector: Detector, scans: Sequence[RetinaScan], kind: str, watch: Watch) -> list[Finding]:
    source = as_source(scans, [f"{kind}-{number}" for number in range(len(scans))], [kind] * len(scans))
    findings: list[Finding] = []
    for finding in detector.findings(source):
        if finding.error:
            console.print(f"refused: {finding.error}", markup=False)
        findings.append(finding)
        watch(Update("scoring", len(findings), len(scans)))
    return findings


def _pixel_rows(cell: Cell, truths: Sequence[RetinaScan], findings: Sequence[Finding], goals: bool) -> Iterator[Row]:
    used = [(truth, each.heatmap) for truth, each in zip(truths, findings, strict=True) if each.heatmap is not None]
    yield cell.row("refused", len(findings) - len(used))
    if not any(truth.mask.any() for truth, _ in used):
        return
    masks, heat = [truth.mask for truth, _ in used], [heat for _, heat in used]
    yield cell.row("pixel_auroc", metrics.pixel_auroc(masks, heat), goal=PIXEL_GOAL if goals else None)
    retinas = [retina_pixels(truth) for truth, _ in used]
    inside = [(mask[own][None], each[own][None]) for mask, each, own in zip(masks, heat, retinas, strict=True)]
    yield cell.row("pixel_auroc_in_retina", metrics.pixel_auroc([m for m, _ in inside], [h for _, h in inside]))


def retina_pixels(truth: RetinaScan) -> Mask:
    """(H, W) True from a little above the ILM to a little below the RPE, without white: no easy background."""
    rows = np.arange(len(truth.mask))[:, None]
    above, below = ABOVE / truth.spacing.axial, BELOW / truth.spacing.axial
    inside: Mask = (rows >= truth.ilm - above) & (rows <= truth.baseline + below) & ~truth.white
    return inside


def _curve(name: str, detector: Detector, count: int, width: int, watch: Watch) -> Iterator[Row]:
    """Of the same eyes: the share flagged without a cyst and with one of each size, at the calibrated threshold."""
    smallest = float("nan")
    for size in (0, *CYSTS):
        lesions = (Lesion("cyst", size),) if size else ()
        flagged = np.array(
            [bool(each.anomalous) for each in _found(detector, _draw(count, width, lesions), "c", watch)]
        )
        row = Cell(name, f"cyst of {size} um" if size else "no cyst", detector.method.name).share("flagged", flagged)
        if not size:
            no_cyst = row.value
        elif row.value >= FOUND and np.isnan(smallest):
            smallest = size
        yield row
    cell = Cell(name, f"flagged: {no_cyst:.0%} without a cyst", detector.method.name)
    yield cell.row("smallest_cyst_found_in_9_of_10", smallest, unit="um")
