"""Findings into a folder: scores.csv, counterparts/, heatmaps/, figure.png, and what the domain writes; and samples."""

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
from anotwin.domains.protocol import Job, Outputs, Written
from anotwin.errors import DataError, SettingsError
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
    """What a scoring run found. The rows themselves stay on disk: memory does not grow with the images."""

    images: int
    flagged: int
    failed: int  # images with an error
    worst: list[Row]  # the most anomalous, behind them some that could not be scored
    calibrated: bool
    written: Sequence[Written] = ()  # scores.csv first


def score_folder(
    detector: Detector,
    data: Path,
    out: Path,
    *,
    layout: str,
    pictures: bool,
    watch: Watch,
    options: frozenset[str] = frozenset(),
) -> Summary:
    """Score DATA into `out`; rows that a stopped run had finished are kept if model, data and layout are the same.

    Every image is scored once: its row, its pictures, the figure and what the domain writes come from one stream. Only
    images whose rows were kept are scored again, where a figure needs their pictures.

    `options` are the domain's own. Raises DataError if nothing could be scored at all, SettingsError for an option that
    the domain does not have.
    """
    unknown = sorted(options - detector.domain.options.keys())
    if unknown:
        raise SettingsError(
            f"--{unknown[0]}: this model looks at images of the domain {detector.domain.name}, which has no such "
            "option; leave it out"
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
    written = [Written(table, "scores")]
    shown = _shown(job, table, figure)
    written.append(Written(_draw_figure(detector, shown, out / "figure.png"), "queries beside their counterparts"))
    if pictures:
        written.append(Written(out / "counterparts", "the counterpart of every image"))
        written.append(Written(out / "heatmaps", "the heat of every image"))
    written += outputs.finish(shown, table)
    return replace(summary, written=tuple(written))


def _score(job: Job, detector: Detector, writer: ScoresWriter, outputs: Outputs, figure: Extremes) -> None:
    """The images that have no row yet: each in one go."""
    source, window = job.source, display_range(detector)
    names = picture_names([item.id for item in source.items]) if job.pictures else {}
    wanted = outputs.unfinished(writer.done)
    done = len(source.items) - len(wanted)

    def needed(finding: Finding) -> bool:
        return job.pictures or figure.wants(finding) or outputs.wants(finding)

    for index, finding in zip(wanted, detector.findings(source, wanted, pictures=needed), strict=True):
        if job.pictures:  # before the row, which says that they are there
            save_pictures(finding, job.out, names[finding.id], window)
        figure.add(finding)
        outputs.take(index, finding)
        writer.write([finding])
        done += 1
        job.watch(Update("scoring", done, len(source.items)))


def _shown(job: Job, table: Path, figure: Extremes) -> list[Finding]:
    """The findings of figure.png, the most anomalous first."""
    names, kept = [row["image"] for row in extremes(table, SHOWN)], figure.kept
    found = kept | {finding.id: finding for finding in job.again({name for name in names if name not in kept})}
    return [found[name] for name in names]


def _draw_figure(detector: Detector, shown: Sequence[Finding], path: Path) -> Path:
    """The paper's four rows for a few images."""
    counterpart_figure([finding for finding in shown if not finding.error], path, window=display_range(detector))
    return path


def summarise(table: Path, calibrated: bool) -> Summary:
    """The numbers of a table of scores; raises DataError if it holds no score at all."""
    images = flagged = failed = 0
    for row in scan_scores(table):
        images, flagged, failed = images + 1, flagged + bool(row["anomalous"]), failed + bool(row["error"])
    worst = heapq.nsmallest(LISTED, scan_scores(table), key=badness)
    if math.isnan(worst[0]["score"]):
        raise DataError(f"{table}: none of {images} images could be scored; one of them: {worst[0]['error']}")
    return Summary(images, flagged, failed, worst, calibrated)


def sample_folder(detector: Detector, count: int, out: Path, seed: int) -> int:
    """Write `count` new normal images and a grid of the first 64; the number written."""
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
    """The native values that pictures show as black and white; None: chosen for each image by itself."""
    return detector.domain.view().window(detector.spec)


def _key(detector: Detector, source: ImageSource, pictures: bool) -> str:
    """What a row of scores.csv depends on or stands for: weights, settings, calibration, source, and its pictures."""
    hasher = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(detector.method.networks.state_dict().items()):
        hasher.update(name.encode())
        hasher.update(tensor.cpu().contiguous().numpy().tobytes())
    described = [
        detector.settings.model_dump(),
        str(detector.calibration),
        source.layout,
        str(source.root),
        pictures,
    ]
    hasher.update(json.dumps(described).encode())
    return hasher.hexdigest()
