"""Findings into a folder: scores.csv, counterparts/, heatmaps/, figure.png, features.png, search.png; and samples.

What OCT scans have besides is in `scanning`.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from anotwin.commands import scanning
from anotwin.data.open import notes_of
from anotwin.detector import Detector
from anotwin.errors import DataError, SettingsError
from anotwin.files import check_apart
from anotwin.prepare.resize import image_to_native, to_model
from anotwin.prepare.stream import stream
from anotwin.records import Geometry, ImageSource, PixelType, ScanSource
from anotwin.report.feature_map import feature_figure
from anotwin.report.figure import counterpart_figure
from anotwin.report.files import picture_names
from anotwin.report.grid import save_grid
from anotwin.report.loudest_patch import loudest_patch
from anotwin.report.overlay import Window, save_pictures, save_png
from anotwin.report.pooled import PatientRow, VolumeRow
from anotwin.report.steps import search_figure
from anotwin.report.table import Row, ScoresWriter, badness, scan_scores
from anotwin.updates import Update, Watch, tell

LISTED = 12  # images in the terminal
SHOWN = 8  # images in figure.png
TRACED = 3  # rows in search.png
TRACE_SHARES = (0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1)  # of the search's steps
MAPPED = 1000  # images of a group in features.png
PIXEL_TYPES: dict[PixelType, type[np.generic]] = {"uint8": np.uint8, "uint16": np.uint16, "float32": np.float32}


@dataclass(frozen=True)
class Summary:
    """What a scoring run found. The rows themselves stay on disk: memory does not grow with the images."""

    images: int
    flagged: int
    failed: int  # images with an error
    worst: list[Row]  # the most anomalous, behind them some that could not be scored
    calibrated: bool
    volumes: Sequence[VolumeRow] = ()  # of OCT scans alone, in the order of the source; and patients
    patients: Sequence[PatientRow] = ()


def score_folder(
    detector: Detector,
    data: Path,
    out: Path,
    *,
    layout: str,
    pictures: bool,
    watch: Watch,
    lines: bool = False,
) -> Summary:
    """Score DATA into `out`; rows that a stopped run had finished are kept if model, data and layout are the same.

    `lines` draws the layer lines into the pictures of OCT scans. Raises DataError if nothing could be scored at all,
    SettingsError if the model knows no lines.
    """
    retina = detector.method.spec.view == "retina"
    if lines and not retina:
        raise SettingsError("--lines: this model looks at whole images; only one trained with --layout oct finds lines")
    source = detector.open(data, layout)
    tell(watch, notes_of(source))
    check_apart(out, data)
    window = display_range(detector)
    names = picture_names([item.id for item in source.items]) if pictures else {}
    threshold = detector.calibration.threshold if detector.calibration else None
    with ScoresWriter(out / "scores.csv", key=_key(detector, source, pictures)) as writer:
        wanted = scanning.unfinished(source, writer.done)
        done = len(source.items) - len(wanted)
        findings = detector.findings(source, wanted, pictures=pictures)
        if retina:
            findings = scanning.through_volumes(findings, wanted, source, out, threshold)
        for finding in findings:
            if pictures:  # before the row, which says that they are there
                save_pictures(finding, out, names[finding.id], window)
            writer.write([finding])
            done += 1
            watch(Update("scoring", done, len(source.items)))
        table = writer.finish()
    summary = summarise(table, detector.calibration is not None)
    draw(detector, source, table, out, window)
    if not retina:
        return summary
    volumes, patients = scanning.write_pooled(table, source, out)
    scanning.draw_worst(detector, source, table, out, SHOWN, lines, watch)
    return replace(summary, volumes=volumes, patients=patients)


def summarise(table: Path, calibrated: bool) -> Summary:
    """The numbers of a table of scores; raises DataError if it holds no score at all."""
    images = flagged = failed = 0
    for row in scan_scores(table):
        images, flagged, failed = images + 1, flagged + bool(row["anomalous"]), failed + bool(row["error"])
    worst = heapq.nsmallest(LISTED, scan_scores(table), key=badness)
    if math.isnan(worst[0]["score"]):
        raise DataError(f"{table}: none of {images} images could be scored; one of them: {worst[0]['error']}")
    return Summary(images, flagged, failed, worst, calibrated)


def draw(detector: Detector, source: ImageSource, table: Path, out: Path, window: Window | None) -> None:
    """figure.png (patches.png), features.png and, where the method searches, search.png of a table of scores."""
    groups = {True: "query: anomalous", False: "query: normal", None: "query"}
    ends = [row["image"] for row in extremes(table, SHOWN)]
    mapped = {row["image"]: groups[row["anomalous"]] for row in some_of_each(table, MAPPED)}
    position = {item.id: index for index, item in enumerate(source.items) if item.id in mapped or item.id in ends}
    chosen = [position[name] for name in ends]
    draw_figure(detector, source, chosen, out / "figure.png", window)
    draw_search(detector, source, chosen[:TRACED], out / "search.png")
    labels = {position[name]: group for name, group in mapped.items()}
    draw_features(detector, source, labels, {"pca": out / "features.png"})


def extremes(table: Path, count: int) -> list[Row]:
    """The most anomalous half of `count` scored images and then the most normal-looking half, from loud to quiet."""
    loud = heapq.nsmallest(count + 1, _scored(table), key=badness)
    if len(loud) <= count:
        return loud
    quiet = heapq.nlargest(count // 2, _scored(table), key=badness)
    return loud[: count - count // 2] + quiet[::-1]


def some_of_each(table: Path, most: int) -> list[Row]:
    """The first `most` scored images of each verdict."""
    taken: dict[bool | None, list[Row]] = {True: [], False: [], None: []}
    for row in _scored(table):
        if len(taken[row["anomalous"]]) < most:
            taken[row["anomalous"]].append(row)
    return [row for rows in taken.values() for row in rows]


def _scored(table: Path) -> Iterator[Row]:
    return (row for row in scan_scores(table) if not math.isnan(row["score"]))


def draw_figure(
    detector: Detector, source: ImageSource, indices: Sequence[int], path: Path, window: Window | None
) -> None:
    """The paper's four rows for a few images; of scans those of their loudest patches too, in patches.png."""
    findings = {finding.id: finding for finding in detector.findings(source, sorted(indices))}
    ordered = [findings[source.items[index].id] for index in indices]
    counterpart_figure([finding for finding in ordered if not finding.error], path, window=window)
    spec, beside = detector.method.spec, path.with_name("patches.png")
    beside.unlink(missing_ok=True)  # another model's, from an earlier run
    if spec.view == "retina":
        spacings = [source.info(index).spacing if isinstance(source, ScanSource) else None for index in indices]
        found = [loudest_patch(finding, spec.size, um) for finding, um in zip(ordered, spacings, strict=True)]
        patches = [patch for patch in found if patch is not None]
        if patches:
            counterpart_figure(patches, beside, window=(0.0, 255.0))


def draw_search(detector: Detector, source: ImageSource, indices: Sequence[int], path: Path) -> None:
    """How the counterparts of a few images come about; a method that does not search has no such picture."""
    steps = detector.method.settings.search.steps
    marks = sorted({round(share * steps) for share in TRACE_SHARES})
    trace = detector.trace(source, indices, marks)
    if trace is None:
        path.unlink(missing_ok=True)  # another model's, from an earlier run
        return
    queries = torch.stack([to_model(source.read(index), detector.method.spec)[0] for index in indices])
    search_figure(trace.images.cpu().numpy(), queries.numpy(), trace.steps, trace.losses.cpu().numpy(), path)


def draw_features(
    detector: Detector, source: ImageSource, groups: dict[int, str], paths: dict[Literal["pca", "tsne"], Path]
) -> None:
    """The paper's Fig. 2b: the discriminator's features of queries, beside those of samples drawn from the model.

    `groups` names the group of each image to show, `paths` a file for each kind of map.
    """
    method = detector.method
    if method.spec.view != "whole":  # an image is many patches then, and no single point
        return
    names = sorted(set(groups.values()), reverse=True)  # normal before abnormal: a group's colour is its place
    wanted = [index for name in names for index in sorted(i for i, own in groups.items() if own == name)[:MAPPED]]
    features: list[torch.Tensor] = []
    labels: list[str] = []
    for prepared in stream(source, wanted, method.spec, 256, keep_pixels=False):
        if prepared.indices:
            features.append(method.features(prepared.images).cpu())
            labels += [groups[index] for index in prepared.indices]
    with suppress(SettingsError):  # an autoencoder draws no samples
        samples = detector.sample(min(MAPPED, max(len(labels), 32)))
        features.insert(0, method.features(samples).cpu())
        labels = ["generated normal"] * len(samples) + labels
    if len(labels) >= 3:
        for how, path in paths.items():
            feature_figure(torch.cat(features).float().numpy(), labels, path, how)


def sample_folder(detector: Detector, count: int, out: Path, seed: int) -> int:
    """Write `count` new normal images and a grid of the first 64; the number written."""
    images = detector.sample(count, seed)
    spec = detector.method.spec
    shape = (spec.size, spec.size) if spec.channels == 1 else (spec.size, spec.size, 3)
    like = np.zeros(shape, dtype=PIXEL_TYPES[spec.pixel_type])
    geometry = Geometry(spec.size, spec.size, spec.size, "stretch")
    for number, image in enumerate(images):
        save_png(image_to_native(image, geometry, spec, like), out / f"sample-{number:05d}.png")
    save_grid(images[:64].numpy(), out / "grid.png")
    return len(images)


def display_range(detector: Detector) -> Window | None:
    """The native values that pictures show as black and white: those that the model was trained with.

    None for OCT scans, whose grey values the model takes from each scan itself: so do their pictures.
    """
    spec = detector.method.spec
    return (spec.black, spec.white) if spec.view == "whole" else None


def _key(detector: Detector, source: ImageSource, pictures: bool) -> str:
    """What a row of scores.csv depends on or stands for: weights, settings, calibration, source, and its pictures."""
    hasher = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(detector.method.networks.state_dict().items()):
        hasher.update(name.encode())
        hasher.update(tensor.cpu().contiguous().numpy().tobytes())
    described = [
        detector.method.settings.model_dump(),
        str(detector.calibration),
        source.layout,
        str(source.root),
        pictures,
    ]
    hasher.update(json.dumps(described).encode())
    return hasher.hexdigest()
