"""Retinal OCT: lines, speed, AUROC under cross-validation by patient, what gives a scan away, lesions found.

    lines      synthetic retinas with known lines: errors of ILM and RPE, flatness of the baseline, error of the inverse
    real       every real scan: segmented or refused; --sheet DIR draws lines and bands of all for a person to judge
    lesions    a model of synthetic healthy eyes: AUROC of its heatmaps' pixels, and the smallest cyst that it finds
    speed      preparation in B-scans a second, stage by stage, and scoring of a 49-slice volume
    confounds  AUROC of white borders, protocol, brightness and noise alone, before preparation and after it
    planted    five folds by patient over the normals alone: AUROC of the unseen ones against copies of them in which
               lesions were planted, a kind a copy; needs no abnormal scan, so that settings may be chosen by it
    auroc      five folds by patient over all normals, every abnormal scan scored by every fold's model: PCA, kNN, a
               convolutional autoencoder, anogan as in the paper, and the default method, on the same flattened retinas

    python benchmarks/oct --part lines real confounds --sheet sheets --json oct.json
    python benchmarks/oct --part planted --methods twin --set training.steps=6000    # is another setting better?
    python benchmarks/oct --part auroc --scores scores --json oct-auroc.json     # hours on two cores

Labels measure and choose nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # `benchmarks` is imported from there

from anotwin import Detector, Finding
from anotwin.commands import showing
from anotwin.domains.oct.flatten import flatten, to_flat, to_scan, unflatten
from anotwin.domains.oct.layers.find import find_retinas
from anotwin.domains.oct.report.bscan import scan_figure
from anotwin.domains.oct.report.sheets import Sheets
from anotwin.domains.oct.scans import FlatScan, flat_scans
from anotwin.domains.oct.source import open_oct
from anotwin.domains.oct.synthetic.retina import Lesion, RetinaScan, retina_volume
from anotwin.evaluate.pixels import pixel_auroc, pixel_heat
from benchmarks.common.images import watched
from benchmarks.common.kept import Keeper
from benchmarks.common.rows import Cell, Floats, Report, Row, console
from benchmarks.common.script import asked, cores, options, print_head, run, timed
from benchmarks.oct.methods import FOLDS, METHODS, Study, auroc_rows, confound_rows
from benchmarks.oct.patients import ALL, Scans, cell, eyes, find_scans, stand_ins
from benchmarks.oct.planted import planted_rows

CASES = {  # lesions, columns; all else (tilt, shadows, ...) follows from the seeds
    "normal": ([], 512),
    "normal, 768 wide": ([], 768),
    "normal, 1536 wide": ([], 1536),
    "cysts": ([Lesion("cyst", 200, at=0.35), Lesion("cyst", 400, 250, at=0.55)], 512),
    "subretinal fluid": ([Lesion("fluid", 1500, 180)], 512),
    "drusen": ([Lesion("druse", 300, 90, at=0.4), Lesion("druse", 200, 60, at=0.6)], 512),
    "RPE detachment": ([Lesion("detachment", 1500, 220)], 512),
    "bright foci": ([Lesion("focus", 60, at=0.3), Lesion("focus", 90, at=0.6)], 512),
}
LESIONS = [Lesion("cyst", 300, 200), Lesion("fluid", 1200, 150), Lesion("druse", 300, 90)]
LESIONS += [Lesion("detachment", 1200, 180), Lesion("focus", 80)]
CYSTS = (20, 40, 60, 80, 120, 160, 240, 320)  # micrometres


def real_rows(study: Study) -> Iterator[Row]:
    """How many scans of each class were segmented; lines and bands of all are drawn into --sheet."""
    labels, segmented = study.scans.labels, np.array([scan.flat is not None for scan in study.found])
    for label in [*dict.fromkeys(labels.tolist()), ALL]:
        mine, rows = (labels == label) | (label == ALL), cell(label, "find_retina")
        quality = [scan.retina.quality for scan, own in zip(study.found, mine, strict=True) if own and scan.retina]
        yield rows.row("scans", int(mine.sum()))
        yield rows.share("segmented", segmented[mine])
        yield rows.row("quality_median", float(np.median(quality)))
    segmented |= [bool(scan.error) for scan in study.found]
    yield cell(ALL, "find_retina").share("segmented_or_refused_with_a_reason", segmented, ">= 1")
    if study.arguments.sheet is not None:
        scans, bands = Sheets(study.arguments.sheet, "scans"), Sheets(study.arguments.sheet, "bands")
        for scan, item in zip(study.found, study.scans.items, strict=True):
            quality_ = f"  {scan.retina.quality:.2f}  {scan.retina.reason}" if scan.retina else ""
            scans.add_scan(scan.pixels, scan.retina, f"{Path(item.id).stem}{quality_}")
            if scan.flat is not None:
                bands.add_band(scan.flat, Path(item.id).stem)
        console.print(f"{len(scans.finish() + bands.finish())} sheets -> {study.arguments.sheet}", markup=False)


def line_rows(study: Study) -> Iterator[Row]:
    """Synthetic retinas, so many of each case, the same eyes in none: errors against the lines that were drawn."""
    errors: list[list[float]] = []
    white, count = [], study.count(40, 1)
    for number, (case, (lesions, width)) in enumerate(CASES.items()):
        source, truths = eyes(range(1000 * number, 1000 * number + count), width, lesions)
        errors += map(errors_of, truths, replace(study, scans=source).found)
        white += [bool(truth.white.any()) for truth in truths]
        yield from _error_rows(cell(case, "find_retina", goals=False), np.array(errors[-count:]))
    yield from _error_rows(cell("white corners", "find_retina", goals=False), np.array(errors)[white])
    yield from _error_rows(cell(ALL, "find_retina", goals=not study.arguments.quick), np.array(errors))


def errors_of(truth: RetinaScan, scan: FlatScan) -> list[float]:
    """How far off ILM, RPE, baseline and inverse are, in pixels of the scan; infinite where it is refused."""
    retina, flat = scan.retina, scan.flat
    if retina is None or flat is None:
        return [np.inf] * 4
    errors = []
    for found, true in ((retina.ilm, truth.ilm), (retina.rpe, truth.rpe)):  # over columns that show the true line
        places = np.rint(true).astype(np.int64)
        inside = (places >= 0) & (places < len(truth.white))
        shown = inside & ~truth.white[np.clip(places, 0, len(truth.white) - 1), np.arange(len(places))]
        errors.append(float(np.abs(found - true)[shown].mean()) if shown.any() else 0.0)
    level, _ = to_flat(truth.baseline, np.arange(len(truth.baseline)), flat)  # if the line found were the true one
    errors.append(float(np.abs(level - np.median(level)).mean() * flat.rows))
    down, across = flat.pixels.shape
    rows, columns = to_scan(np.arange(down)[:, None], np.arange(across), flat)  # the band filled with native places
    native = np.indices((flat.height, len(flat.baseline)))
    i, j = to_flat(native[0], native[1], flat)
    inner = (i >= 0) & (i <= down - 1) & (j >= 0) & (j <= across - 1)  # the outer half pixel lies between no two
    back = unflatten(rows, flat) - native[0], unflatten(np.broadcast_to(columns, rows.shape), flat) - native[1]
    return [*errors, float(np.hypot(*back)[inner].max())]


def _error_rows(rows: Cell, errors: Floats) -> Iterator[Row]:
    used = errors[np.isfinite(errors[:, 0])]
    yield rows.row("scans", len(errors))
    yield rows.row("refused", len(errors) - len(used))
    yield rows.share("both_lines_within_2px", np.all(errors[:, :2] <= 2, axis=1), ">= 0.95")
    if len(used):
        for column, name in enumerate(("ilm_error", "rpe_error", "baseline_crookedness")):
            yield rows.mean(name, used[:, column], "px")
        yield rows.share("baseline_straight_within_1px", errors[:, 2] <= 1, ">= 0.95")
        yield rows.row("inverse_error_most", float(used[:, 3].max()), unit="px", goal="<= 0.5")


def train(study: Study, count: int, *overrides: str) -> Detector:
    """The default method, from `count` synthetic healthy eyes."""
    source, _ = eyes(range(500_000, 500_000 + count), study.arguments.width)  # no other part draws them
    settings = study.settings().with_overrides(overrides)
    return Detector.train(source, settings=settings, device=study.arguments.device, watch=study.watch)


def lesion_rows(study: Study) -> Iterator[Row]:
    """AUROC of heatmaps' pixels, in whole scans and in the retina (the first of a kind in --sheet); cysts by size."""
    detector = study.detector = train(study, study.count(120, 8))
    method, everything, flagged, sheet = detector.method.name, [], {}, study.arguments.sheet
    for lesion in LESIONS:
        pairs = _found(study, detector, lesion)
        if sheet is not None and pairs[0][1].heatmap is not None:
            draw_lesion(*pairs[0], sheet / f"lesions-{lesion.kind}.png")
        yield from _pixel_rows(cell(lesion.kind, method, goals=False), pairs)
        everything += pairs
    yield from _pixel_rows(cell("all lesions", method, goals=not study.arguments.quick), everything)
    for size in (0, *CYSTS):  # the same eyes: flagged without a cyst, and with one of each size
        pairs = _found(study, detector, *([Lesion("cyst", size)] if size else []))
        flags = np.array([bool(finding.anomalous) for _, finding in pairs])
        yield cell(f"cyst of {size} um" if size else "no cyst", method).share("flagged", flags)
        flagged[size] = flags.mean()
    smallest = next((size for size in CYSTS if flagged[size] >= 0.9), float("nan"))
    rows = cell(f"flagged: {flagged[0]:.0%} without a cyst", method)
    yield rows.row("smallest_cyst_found_in_9_of_10", smallest, unit="um")


def _found(study: Study, detector: Detector, *lesions: Lesion) -> list[tuple[RetinaScan, Finding]]:
    """The same eyes whatever the lesion, and what the detector finds in them."""
    source, truths = eyes(range(600_000, 600_000 + study.count(20, 1)), study.arguments.width, lesions)
    findings = watched(detector.findings(source), "scoring", len(truths), study.watch)
    return list(zip(truths, findings, strict=True))


def _pixel_rows(rows: Cell, pairs: Sequence[tuple[RetinaScan, Finding]]) -> Iterator[Row]:
    """Of all pixels, and of those from 30 micrometres above the ILM to 100 below the RPE, without white."""
    used = [(truth, finding.heatmap) for truth, finding in pairs if finding.heatmap is not None]
    yield rows.row("refused", len(pairs) - len(used))
    if any(truth.mask.any() for truth, _ in used):
        heat, inside = [pixel_heat(truth.mask, heat) for truth, heat in used], []
        for truth, heatmap in used:
            height, axial = np.arange(len(truth.mask))[:, None], truth.spacing.axial
            own = (height >= truth.ilm - 30 / axial) & (height <= truth.baseline + 100 / axial) & ~truth.white
            inside.append(pixel_heat(truth.mask[own][None], heatmap[own][None]))
        yield rows.row("pixel_auroc", pixel_auroc(heat), goal=">= 0.95")
        yield rows.row("pixel_auroc_in_retina", pixel_auroc(inside))


def draw_lesion(truth: RetinaScan, finding: Finding, path: Path) -> None:
    """The scan with its lines, its heat, and the flattened retina above its counterpart."""
    bands, retina, spacing = {}, finding.evidence, truth.spacing
    for name, pixels in (("flattened retina", finding.query), ("its counterpart", finding.counterpart)):
        assert pixels is not None
        bands[name] = flatten(pixels, retina, spacing=spacing).pixels
    title = f"{finding.id}   score {finding.score:.3g}   {'anomalous' if finding.anomalous else 'normal'}"
    scan_figure(truth.pixels, finding.heatmap, path, title, retina=retina, spacing=spacing, bands=bands)


def speed_rows(study: Study) -> Iterator[Row]:
    """B-scans prepared, by all cores together and stage by stage; a volume of 49 slices scored."""
    detector, goals = study.detector or train(study, 8, "training.steps=20"), not study.arguments.quick
    processes, count, slices, width = cores(), study.count(60, 4), 49 if goals else 3, study.arguments.width
    source, rows = eyes(range(count), width)[0], cell(f"496 x {width}", "preparation", goals=goals)
    ends = [time.perf_counter() for _ in flat_scans(source, range(count), processes)]
    started = min(processes, count - 1)  # starting the processes is no part of it
    rate = (count - started) / (ends[-1] - ends[started - 1])
    yield rows.row(f"b_scans_per_second_{processes}_processes", rate, goal=">= 20")
    found = [timed(partial(find_retinas, [pixels])) for pixels in source.images[:20]]
    flat = [timed(partial(flatten, p, r)) for p, ((r,), _) in zip(source.images, found, strict=False) if not r.reason]
    for stage, times in (("find_retina", [s for _, s in found]), ("flatten", [s for _, s in flat])):
        yield rows.row(f"{stage}_ms", 1000 * float(np.median(times)), unit="ms")
    with tempfile.TemporaryDirectory() as folder:
        pages = [Image.fromarray(scan.pixels) for scan in retina_volume(0, slices, width=width)]
        pages[0].save(f"{folder}/volume.tif", save_all=True, append_images=pages[1:])
        _, seconds = timed(lambda: sum(1 for _ in detector.findings(open_oct(folder, "test"))))
    rows = cell(f"volume of {slices} slices", detector.method.name, goals=goals)
    yield rows.row("scoring_seconds", seconds, unit="s", goal="<= 30")


SMALL = ("training.steps=12", "data.image_size=32", "data.holdout=0.4", "search.steps=4")  # of --quick
OF_SCANS = {"real": real_rows, "confounds": confound_rows, "planted": planted_rows, "auroc": auroc_rows}
PARTS = {"lines": line_rows, "lesions": lesion_rows, "speed": speed_rows} | OF_SCANS  # in the order in which they run


def benchmark(arguments: argparse.Namespace) -> None:
    """The parts asked for: rows are saved as they come, and those of a part shown together."""
    parts, scans = [part for part in PARTS if part in arguments.part], Scans((), ())
    if OF_SCANS.keys() & parts:
        real = None if arguments.quick else find_scans(arguments)
        scans = real or (stand_ins(10, 1) if arguments.quick else stand_ins(40, 10))
        arguments.goals = real is not None and arguments.limit is None and arguments.folds == FOLDS
    kinds = [(label, scans.patients[scans.labels == label]) for label in np.unique(scans.labels)]
    facts = {
        "data": scans.root + "".join(f", {len(each)} {label} of {len(set(each))} patients" for label, each in kinds),
        "folds": f"{arguments.folds} by patient over the normals; intervals: bootstrap over patients",
        "methods": f"{', '.join(arguments.methods)}; search of anogan {arguments.paper_steps} steps",
        "settings": ", ".join(asked(arguments)) or "the defaults of anotwin train --layout oct",
    }
    print_head("Retinal OCT", facts)
    keeper, report = Keeper(arguments.scores), Report(arguments.json)
    with showing.bars() as watch:
        study = Study(arguments, scans, keeper, watch)
        for part in parts:
            report.stream(part, PARTS[part](study))
    keeper.close()
    report.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse and run; the exit code."""
    parser = options(str(__doc__), "OCT scans of Kermany et al. 2018", "a few synthetic retinas")
    add = parser.add_argument
    add("--part", nargs="+", choices=PARTS, default=list(PARTS), help="what to measure; all")
    add("--sheet", type=Path, metavar="DIR", help="part real: sheets with all scans' lines; lesions: one of a kind")
    add("--count", type=int, metavar="N", help="synthetic scans of a kind, and of the training of lesions")
    add("--methods", nargs="+", choices=METHODS, default=METHODS, help="parts planted, auroc: of %(choices)s; all")
    add("--folds", type=int, default=FOLDS, help="the goals are about 5")
    add("--limit", type=int, help="only so many scans of a class, drawn with a fixed seed")
    add("--paper-steps", type=int, default=500, metavar="N", help="search steps of anogan; the paper: 500")
    add("--scores", type=Path, metavar="DIR", help="keeps our methods' scores, or uses them again")
    add("--workers", type=int, default=0, help="processes that prepare scans; speed always takes all cores")
    given = parser.parse_args(arguments)
    given.width = 256 if given.quick else 512  # columns of synthetic scans
    given.methods = [name for name in METHODS if name in given.methods]
    if given.quick:
        given.folds, given.paper_steps, given.set = min(given.folds, 2), 4, [*SMALL, *(given.set or ())]
    return run(benchmark, given)


if __name__ == "__main__":
    sys.exit(main())
