"""`anotwin score`: scores.csv, counterparts/, heatmaps/, figure.png and what the domain writes; `anotwin sample`."""

from __future__ import annotations

import hashlib
import heapq
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from anotwin.detector import Detector
from anotwin.domains.open import notes_of
from anotwin.domains.protocol import Job, ScoreOutputs, Written
from anotwin.domains.registry import DOMAINS
from anotwin.errors import DataError, SettingsError, did_you_mean
from anotwin.files import check_apart
from anotwin.prepare.resize import image_to_native
from anotwin.records import Finding, Geometry, ImageSource, PixelType
from anotwin.report.choose import Extremes
from anotwin.report.figure import counterpart_figure
from anotwin.report.files import picture_names
from anotwin.report.grid import save_grid
from anotwin.report.overlay import Window, save_pictures, save_png
from anotwin.report.table import Row, ScoresWriter, badness, extremes, scan_scores
from anotwin.updates import Update, Watch, tell

LISTED = 12  # images in the terminal
SHOWN = 8  # images in figure.png
PIXEL_TYPES: dict[PixelType, type[np.generic]] = {"uint8": np.uint8, "uint16": np.uint16, "float32": np.float32}


@dataclass(frozen=True)
class Summary:
    """The result of a scoring run. Its rows stay on disk, so that memory does not grow with the number of images."""

    images: int
    flagged: int
    failed: int  # images with an error
    worst: list[Row]  # the most anomalous; images that could not be scored come last
    calibrated: bool
    written: Sequence[Written] = ()  # scores.csv first


def score_folder(
    detector: Detector,
    data: Path,
    out: Path,
    layout: str,
    pictures: bool,
    watch: Watch,
    options: frozenset[str] = frozenset(),
) -> Summary:
    """Score DATA into `out`; rows that a stopped run had finished are kept if model, data and layout are the same.

    Every image is scored once: its row, its pictures, the figure and the domain's outputs come from one stream. Images
    whose rows were kept are scored again only where a picture of them is needed.

    `options` are the domain's own. Raises DataError if no image could be scored, SettingsError for an option that the
    domain does not have.
    """
    for unknown in sorted(options - detector.domain.options.keys()):
        views = [domain.view_name for domain in DOMAINS if unknown in domain.options]
        known = {name for domain in DOMAINS for name in domain.options}
        told = f"only for models with the view {' or '.join(views)} (this one has {detector.spec.view}); leave it out"
        raise SettingsError(
            f"--option {unknown}: {told if views else f'there are {sorted(known)}{did_you_mean(unknown, known)}'}"
        )
    source = detector.open(data, layout)
    tell(watch, notes_of(source))
    check_apart(out, data)
    job = Job(source, out, detector, pictures, options, watch)
    outputs, figure = detector.domain.scoring(job), Extremes(SHOWN, SHOWN // 2)
    with ScoresWriter(out / "scores.csv", key=_key(detector, source, pictures)) as writer:
        _score(job, detector, writer, outputs, figure)
        table = writer.finish()
    summary = summarise(table, detector.calibration is not None)
    shown = _shown(job, table, figure)
    counterpart_figure(shown, out / "figure.png", window=display_range(detector))
    written = [Written(table, "scores"), Written(out / "figure.png", "images beside their counterparts")]
    if pictures:
        written += [Written(out / f"{kind}s", f"the {kind} of every image") for kind in ("counterpart", "heatmap")]
    return replace(summary, written=(*written, *outputs.finish(shown, table)))


def _score(job: Job, detector: Detector, writer: ScoresWriter, outputs: ScoreOutputs, figure: Extremes) -> None:
    """Score the images that have no row yet."""
    items, window = job.source.items, display_range(detector)
    names = picture_names([item.id for item in items]) if job.pictures else {}
    wanted = outputs.unfinished(writer.done)

    def needs_pictures(finding: Finding) -> bool:
        return job.pictures or figure.wants(finding) or outputs.wants(finding)

    findings = detector.findings(job.source, wanted, pictures=needs_pictures)
    for done, (index, finding) in enumerate(zip(wanted, findings, strict=True), start=len(items) - len(wanted) + 1):
        if job.pictures:  # before the row: where there is a row there are pictures
            save_pictures(finding, job.out, names[finding.id], window)
        figure.add(finding)
        outputs.take(index, finding)
        writer.write([finding])
        job.watch(Update("scoring", done, len(items)))


def _shown(job: Job, table: Path, figure: Extremes) -> list[Finding]:
    """The findings of figure.png, the most anomalous first."""
    names, found = [row["image"] for row in extremes(table, SHOWN)], figure.kept
    found |= {finding.id: finding for finding in job.again(set(names) - found.keys())}
    return [found[name] for name in names if not found[name].error]


def summarise(table: Path, calibrated: bool) -> Summary:
    """Counts of a table of scores; raises DataError if no image in it has a score."""
    images = flagged = failed = 0
    for row in scan_scores(table):
        images, flagged, failed = images + 1, flagged + bool(row["anomalous"]), failed + bool(row["error"])
    worst = heapq.nsmallest(LISTED, scan_scores(table), key=badness)
    if math.isnan(worst[0]["score"]):
        raise DataError(f"{table}: none of {images} images could be scored; one of them: {worst[0]['error']}")
    return Summary(images, flagged, failed, worst, calibrated)


def sample_folder(detector: Detector, count: int, out: Path, seed: int) -> int:
    """Write `count` new normal images and a grid of the first 64; returns the number written."""
    images = detector.sample(count, seed)
    spec = detector.spec
    shape = (spec.size, spec.size) if spec.channels == 1 else (spec.size, spec.size, 3)
    like = np.zeros(shape, dtype=PIXEL_TYPES[spec.pixel_type])
    geometry = Geometry(spec.size, spec.size, spec.size, "stretch")
    for number, image in enumerate(images):
        save_png(image_to_native(image, geometry, spec, like), out / f"sample-{number:05d}.png")
    save_grid(images[:64].numpy(), out / "grid.png")
    return len(images)


def display_range(detector: Detector) -> Window | None:
    """The native values that pictures show as black and white; None: each image's own range."""
    return detector.domain.view().window(detector.spec)


def _key(detector: Detector, source: ImageSource, pictures: bool) -> str:
    """A hash of weights, settings, calibration and source, which rows depend on, and of whether there are pictures."""
    hasher = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(detector.method.networks.state_dict().items()):
        hasher.update(name.encode())
        hasher.update(tensor.cpu().contiguous().numpy().tobytes())
    described = [detector.settings.model_dump(), str(detector.calibration), source.layout, str(source.root), pictures]
    hasher.update(json.dumps(described).encode())
    return hasher.hexdigest()
