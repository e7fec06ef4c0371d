"""`anotwin score`: scores.csv, counterparts/, heatmaps/, figure.png and what the domain writes; `anotwin sample`."""

from __future__ import annotations

import hashlib
import heapq
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.backends.cpu import get_cpu_capability

from anotwin import __version__
from anotwin.calibrate.decision import promise
from anotwin.calibrate.shift import compare_scores
from anotwin.commands.identity import ImageIdentities
from anotwin.detector import Detector
from anotwin.domains.open import notes_of
from anotwin.domains.protocol import Job, ScoreOutputs, Written
from anotwin.domains.registry import DOMAINS
from anotwin.errors import DataError, SettingsError, did_you_mean
from anotwin.files import check_apart, check_writable
from anotwin.lock import one_writer
from anotwin.methods.protocol import device_of
from anotwin.occupied import result_notes
from anotwin.prepare.resize import image_to_native
from anotwin.prepare.stream import named
from anotwin.records import Finding, Geometry, ImageSource, PixelType
from anotwin.report.choose import Extremes, shrunk
from anotwin.report.figure import counterpart_figure
from anotwin.report.files import picture_names
from anotwin.report.grid import save_grid
from anotwin.report.overlay import Window, save_pictures, save_png
from anotwin.report.stale import KINDS, pictures_of, remove
from anotwin.report.table import Row, ScoresWriter, badness, earlier_images, extremes, images_of, scan_scores
from anotwin.run.leaks import group_note
from anotwin.updates import Update, Watch, silent, tell

LISTED = 12  # images in the terminal
SHOWN = 8  # images in figure.png
# below --out, in which temporaries of killed runs may lie
FOLDERS = (*KINDS, "bscans", "volumes", "masks", "regions", "annotated")
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
    promise: str = ""  # what the decisions promise, where that is of groups and not of images


def score_folder(
    detector: Detector,
    data: Path,
    out: Path,
    layout: str,
    pictures: bool,
    watch: Watch,
    options: frozenset[str] = frozenset(),
    group: str | None = None,
) -> Summary:
    """Score DATA into `out`; rows that a stopped run had finished are kept if model, data and layout are the same.

    Every image is scored once: its row, its pictures, the figure and the domain's outputs come from one stream. Images
    whose rows were kept are scored again only where a picture of them is needed.

    `options` are the domain's own, `group` says which images belong together (`Detector.open`). Raises DataError if no
    image could be scored, SettingsError for an option that the domain does not have.
    """
    for unknown in sorted(options - detector.domain.options.keys()):
        views = [domain.view_name for domain in DOMAINS if unknown in domain.options]
        known = {name for domain in DOMAINS for name in domain.options}
        told = f"only for models with the view {' or '.join(views)} (this one has {detector.spec.view}); leave it out"
        raise SettingsError(
            f"--option {unknown}: {told if views else f'there are {sorted(known)}{did_you_mean(unknown, known)}'}"
        )
    source = detector.open(data, layout, group=group)
    tell(watch, [*notes_of(source), *group_note(source, range(len(source.items)), detector.fingerprints)])
    check_apart(out, data)
    tell(watch, result_notes(out, "scores.csv"))
    with one_writer(out, lambda note: tell(watch, [note]), below=FOLDERS):
        earlier = earlier_images(out / "scores.csv")
        each = pictures and detector.domain.pictured
        return _write(Job(source, out, detector, each, pictures, options, earlier, watch), detector)


def _write(job: Job, detector: Detector) -> Summary:
    """Everything below `job.out`; scores.csv comes last, so that a run that is stopped before it goes on."""
    source, out, path = job.source, job.out, job.out / "scores.csv"
    shrink = shrunk if detector.domain.shrinks else lambda finding: finding
    outputs, figure = detector.domain.scoring(job), Extremes(SHOWN, SHOWN // 2, shrink)
    names = picture_names([item.id for item in source.items]) if job.pictures else {}
    with ScoresWriter(path, _key(detector, source, job.pictures), ImageIdentities(source, out, names)) as writer:
        kept = bool(writer.done)
        trained_on = _score(job, detector, writer, outputs, figure, names)
        table = writer.complete(item.id for item in source.items)
        if not extremes(table, 1):
            table = writer.finish()
        summary = summarise(table, detector.calibration is not None)
        tell(job.watch, _shift_notes(detector, source, table, trained_on, kept))
        shown = _shown(job, table, figure)
        counterpart_figure(shown, out / "figure.png", window=display_range(detector))
        written = [Written(path, "scores"), Written(out / "figure.png", "images beside their counterparts")]
        if job.pictures:
            written += [Written(out / kind, f"the {kind[:-1]} of every image") for kind in KINDS]
        written += outputs.finish(shown, table)
        _remove_earlier(job, table, names, written)
        writer.finish()
    grouped = detector.calibration if detector.calibration and detector.calibration.groups else None
    return replace(summary, written=tuple(written), promise=promise(grouped) if grouped else "")


def _remove_earlier(job: Job, table: Path, names: Mapping[str, str], written: Sequence[Written]) -> None:
    """Remove what the run whose scores.csv is about to be replaced has written and this one has not."""
    until = job.out / "scores.csv"
    if not until.is_file():
        return
    shown = {names[row["image"]] for row in scan_scores(table) if not row["error"]} if names else set()
    stale = set(picture_names(sorted(images_of(until))).values()) - shown
    remove(pictures_of(job.out, stale), job.out, until)
    files = {name for domain in DOMAINS for name in domain.files} - {each.path.name for each in written}
    remove([job.out / name for name in files], job.out, until)


def _score(
    job: Job,
    detector: Detector,
    writer: ScoresWriter,
    outputs: ScoreOutputs,
    figure: Extremes,
    names: Mapping[str, str],
) -> set[str]:
    """Score the images that have no row yet, or whose row depends on one that has none.

    Returns the ids of those among them that the model was trained on.
    """
    trained: set[str] = set()
    items, window = job.source.items, display_range(detector)
    wanted = outputs.unfinished(writer.done)
    for index in wanted:
        if items[index].id in writer.done:
            writer.drop(items[index].id)

    def needs_pictures(finding: Finding) -> bool:
        return job.pictures or figure.wants(finding) or outputs.wants(finding)

    findings = detector.findings(job.source, wanted, pictures=needs_pictures)
    for done, index in enumerate(wanted, start=len(items) - len(wanted) + 1):
        finding = next(findings)  # not by zip, which keeps the last one, with its pictures, until it has the next
        name = names.get(finding.id, "")
        if job.pictures:  # before the row: where there is a row there are pictures
            writer.begin(name)
            finding = _saved(finding, job.out, name, window)
        figure.add(finding)
        outputs.take(index, finding)
        trained |= {finding.id} if finding.fingerprint in detector.trained_on else set()
        writer.write([finding], name)
        del finding
        job.watch(Update("scoring", done, len(items)))
    return trained


def _shift_notes(
    detector: Detector, source: ImageSource, table: Path, trained_on: AbstractSet[str], kept: bool
) -> list[str]:
    """Whether the images of a table are like those calibrated on; `kept`: some may be trained on, nobody knows which.

    Where labels are known only those of normal images count.
    """
    if detector.calibration is None:
        return []
    items = {item.id: item for item in source.items}
    labelled = any(item.normal for item in source.items)
    compared = [
        (row["score"], items[row["image"]].group)
        for row in scan_scores(table)
        if not row["error"] and row["image"] not in trained_on and (items[row["image"]].normal or not labelled)
    ]
    scores, groups = [score for score, _ in compared], [group for _, group in compared]
    shift = compare_scores(detector.calibration, scores, groups, all_normal=labelled)
    if shift is None or not shift.shifted or (kept and shift.shifted != "higher"):
        return []  # images that the model was trained on score lower
    return [shift.note()]


def _saved(finding: Finding, out: Path, name: str, window: Window | None) -> Finding:
    """Save its pictures; without memory for them it is an image with an error, and the run goes on."""
    try:
        save_pictures(finding, out, name, window)
    except MemoryError as error:
        bare = Finding(finding.id, finding.label, finding.normal, group=finding.group)
        return replace(bare, error=named(finding.id, error))
    return finding


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


def sample_folder(detector: Detector, count: int, out: Path, seed: int, watch: Watch = silent) -> int:
    """Write `count` new normal images, as they are drawn, and a grid of the first 64; returns the number written.

    Raises SettingsError where there cannot be room for so many, before the first is written.
    """
    begin = detector.sample(min(count, 64), seed)
    tell(watch, result_notes(out, "grid.png"))
    with one_writer(out, lambda note: tell(watch, [note])):
        return _write_samples(detector, count, out, seed, watch, begin)


def _write_samples(detector: Detector, count: int, out: Path, seed: int, watch: Watch, begin: torch.Tensor) -> int:
    spec = detector.spec
    shape = (spec.size, spec.size) if spec.channels == 1 else (spec.size, spec.size, 3)
    like = np.zeros(shape, dtype=PIXEL_TYPES[spec.pixel_type])
    geometry = Geometry(spec.size, spec.size, spec.size, "stretch")
    check_writable(out)
    _check_room(out, count, max(like.nbytes // 4, 4096))  # a file takes a block at least
    save_grid(begin.numpy(), out / "grid.png")
    for first in range(0, count, len(begin)):
        images = begin if first == 0 else detector.sample(min(len(begin), count - first), seed, first)
        for number, image in enumerate(images, start=first):
            written = save_png(image_to_native(image, geometry, spec, like), out / f"sample-{number:05d}.png")
        watch(Update("sampling", first + len(images), count))
    later = count
    while (old := written.with_stem(f"sample-{later:05d}")).is_file():  # of an earlier run, with more of them
        old.unlink()
        later += 1
    return count


def _check_room(folder: Path, count: int, each: int) -> None:
    """Raise SettingsError where `count` files of about `each` bytes have no room in `folder`."""
    free, needed = shutil.disk_usage(folder).free, min(count * each, 10**30)
    if needed > free:
        raise SettingsError(
            f"--count {count}: so many images take about {needed / 1e9:,.1f} GB in {folder}, where "
            f"{free / 1e9:,.1f} GB are free; ask for fewer or choose another --out"
        )


def display_range(detector: Detector) -> Window | None:
    """The native values that pictures show as black and white; None: each image's own range."""
    return detector.domain.view().window(detector.spec)


def _key(detector: Detector, source: ImageSource, pictures: bool) -> str:
    """A hash of all that rows depend on but the images, and of whether there are pictures."""
    hasher = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(detector.method.networks.state_dict().items()):
        hasher.update(name.encode())
        hasher.update(tensor.cpu().contiguous().numpy().tobytes())
    machine = [__version__, torch.__version__, device_of(detector.method.networks).type, get_cpu_capability()]
    model = [detector.method.name, detector.spec.stored(), detector.settings.model_dump(), str(detector.calibration)]
    described = [*machine, *model, source.layout, pictures]
    hasher.update(json.dumps(described).encode())
    return hasher.hexdigest()
