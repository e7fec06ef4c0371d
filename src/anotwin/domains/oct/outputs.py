"""What is written of OCT scans besides: bscans/, patches.png, volumes/, volumes.csv and patients.csv."""

from __future__ import annotations

import heapq
import math
from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anotwin.domains.oct.layers.find import Retina
from anotwin.domains.oct.records import ScanInfo, ScanSource, Spacing
from anotwin.domains.oct.report.bscan import scan_figure
from anotwin.domains.oct.report.en_face import en_face, volume_figure
from anotwin.domains.oct.report.highest_heat import highest_heat_patch
from anotwin.domains.oct.report.pooled import (
    PatientRow,
    VolumeRow,
    patient_listing,
    volume_listing,
    write_patients,
    write_volumes,
)
from anotwin.domains.oct.report.slices import SliceRow, slice_row, write_slices
from anotwin.domains.protocol import Job, Written
from anotwin.prepare.patches import pool
from anotwin.records import Finding
from anotwin.report.choose import Extremes
from anotwin.report.figure import counterpart_figure
from anotwin.report.files import disk_errors, picture_name, picture_names
from anotwin.report.table import Row, badness, scan_scores
from anotwin.report.text import short
from anotwin.updates import Update

SHOWN = 8  # in bscans/ at least: as many as figure.png shows
MOST_SCANS = 50  # at most: a page of flagged scans to look through, each half a second to draw
LEVEL = 1.0  # of the contours: the heat that 0.5 % of normal pixels exceed


@dataclass
class _Volume:
    """What is kept of a volume while its slices come: a row of the map and a row of the table each."""

    rows: list[SliceRow] = field(default_factory=list)
    heats: dict[int, npt.NDArray[np.float32]] = field(default_factory=dict)  # slice -> (1, W)


class ScoreOutputs:
    """Everything, from the stream of findings; a volume's files are written before the row of its last slice."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.scans = job.source if isinstance(job.source, ScanSource) else None
        several = [slices for slices in self.scans.volumes() if len(slices) > 1] if self.scans else []
        self._volume_of = {index: slices for slices in several for index in slices}
        volumes = [self.scans.info(slices[0]).volume for slices in several] if self.scans else []
        self._pictures = {name: job.out / "volumes" / picture_name(f"{name}.png") for name in volumes}
        self._begun: dict[str, _Volume] = {}
        self._worst = Extremes(MOST_SCANS)

    def unfinished(self, done: AbstractSet[str]) -> Sequence[int]:
        """Those that have no row yet, and all slices of a volume that lacks one: its map needs the heat of them all."""
        missing = [index for index, item in enumerate(self.job.source.items) if item.id not in done]
        if self.scans and done:
            wanted = set(missing)
            missing = sorted(index for each in self.scans.volumes() if not wanted.isdisjoint(each) for index in each)
        return array("q", missing)

    def wants(self, finding: Finding) -> bool:
        """Whether it is among the most anomalous so far."""
        return self._worst.wants(finding)

    def take(self, index: int, finding: Finding) -> None:
        """Keep the worst scans, and a slice's part of its volume."""
        self._worst.add(replace(finding, counterpart=None, difference=None))
        if self.scans and index in self._volume_of:
            info = self.scans.info(index)
            volume = self._begun.setdefault(info.volume, _Volume())
            retina: Retina | None = finding.evidence
            volume.rows.append(slice_row(finding, info.slice, None if retina is None else retina.quality))
            if self.job.pictures and finding.heatmap is not None:
                volume.heats[info.slice] = en_face([finding.heatmap])
            if len(volume.rows) == len(self._volume_of[index]):
                _write_volume(self._begun.pop(info.volume), info, self._pictures[info.volume], self.job.model.threshold)

    def finish(self, shown: Sequence[Finding], table: Path | None) -> list[Written]:
        """The patches of `shown`, the worst scans, and the tables of volumes and patients."""
        assert table is not None
        written = [*self._draw_patches(shown), *self._draw_worst(table)]
        if self._pictures:
            written.append(Written(self.job.out / "volumes", "volumes from above, and a table of the slices of each"))
        if self.scans:
            written += _write_pooled(table, self.scans, self.job.out, bool(self._pictures))
        return written

    def _draw_patches(self, shown: Sequence[Finding]) -> list[Written]:
        path, size = self.job.out / "patches.png", self.job.model.spec.size
        path.unlink(missing_ok=True)  # another model's, from an earlier run
        spacings = spacings_of(self.job)
        found = [highest_heat_patch(finding, size, spacings[finding.id]) for finding in shown]
        patches = [patch for patch in found if patch is not None]
        if not patches:
            return []
        counterpart_figure(patches, path, window=(0.0, 255.0))
        return [Written(path, "the patches that the heat points to, beside their counterparts")]

    def _draw_worst(self, table: Path) -> list[Written]:
        """The most anomalous scans and all that are flagged. Pictures of others, of an earlier run, are removed."""
        highest = heapq.nsmallest(MOST_SCANS, scan_scores(table), key=badness)
        wanted = {
            row["image"]
            for place, row in enumerate(highest)
            if not math.isnan(row["score"]) and (place < SHOWN or row["anomalous"])
        }
        kept = [finding for name, finding in self._worst.kept.items() if name in wanted]
        folder = draw_scans(self.job, kept, self.job.again(wanted - self._worst.kept.keys()), total=len(wanted))
        names = picture_names([item.id for item in self.job.source.items])
        _remove_others(folder, {folder / name for id_, name in names.items() if id_ not in wanted})
        return [Written(folder, "the most anomalous scans, with heat and contours")] if wanted else []


class EvaluationOutputs:
    """bscans/: the images of figure.png one by one."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def unfinished(self, done: AbstractSet[str]) -> Sequence[int]:
        """An evaluation is never gone on with."""
        del done
        return range(len(self.job.source.items))

    def wants(self, finding: Finding) -> bool:
        """No."""
        del finding
        return False

    def take(self, index: int, finding: Finding) -> None:
        """Nothing is kept."""
        del index, finding

    def finish(self, shown: Sequence[Finding], table: Path | None) -> list[Written]:
        """Draw them."""
        del table
        return [Written(draw_scans(self.job, shown, total=len(shown)), "the scans of figure.png, with heat")]


def spacings_of(job: Job) -> dict[str, Spacing | None]:
    """Of every image by its id; None where the source does not know it."""
    source = job.source
    if not isinstance(source, ScanSource):
        return {item.id: None for item in source.items}
    return {item.id: source.info(index).spacing for index, item in enumerate(source.items)}


def draw_scans(job: Job, *groups: Iterable[Finding], total: int) -> Path:
    """``bscans/NAME.png`` of each finding: the scan, its heat with contours, and if asked for its lines; the folder."""
    folder, spacings = job.out / "bscans", spacings_of(job)
    names = picture_names(list(spacings))
    for done, finding in enumerate(chain(*groups), start=1):
        if finding.query is not None:
            p_value = "" if finding.p_value is None else f"p = {finding.p_value:.2g}"
            words = (finding.id, f"score {short(finding.score)}", p_value, "anomalous" if finding.anomalous else "")
            scan_figure(
                finding.query,
                finding.heatmap,
                folder / names[finding.id],
                title="   ".join(filter(None, words)),
                level=LEVEL,
                retina=finding.evidence if "lines" in job.options else None,
                spacing=spacings[finding.id],
            )
        job.watch(Update("drawing", done, total))
    return folder


def _write_volume(volume: _Volume, info: ScanInfo, picture: Path, threshold: float | None) -> None:
    write_slices(volume.rows, picture.with_suffix(".csv"))
    if not volume.heats:
        with disk_errors(picture):
            picture.unlink(missing_ok=True)  # of an earlier run
        return
    slices = max(info.slices, *(row.slice + 1 for row in volume.rows))
    heats = [volume.heats.get(number) for number in range(slices)]
    title = "   ".join([info.volume, *(word for word in (info.patient, info.eye) if word and word not in info.volume)])
    volume_figure(heats, picture, title, info.spacing, volume.rows, threshold)


def _write_pooled(table: Path, source: ScanSource, out: Path, several: bool) -> list[Written]:
    """volumes.csv and patients.csv; the terminal shows them where they say more than the table of images."""
    volumes, patients = pool_table(table, source)
    write_volumes(volumes, out / "volumes.csv")
    write_patients(patients, out / "patients.csv")
    repeated = any(row.scans > 1 for row in patients)
    return [
        Written(out / "volumes.csv", "volumes", volume_listing(volumes) if several else None),
        Written(out / "patients.csv", "patients", patient_listing(patients) if repeated else None),
    ]


def pool_table(table: Path, source: ScanSource) -> tuple[list[VolumeRow], list[PatientRow]]:
    """The volumes and the patients of a table of scores, in the order of the source.

    Slices are pooled into their volume, volumes into their patient; see `pool`. Scans of nobody in particular are in no
    row of patients.
    """
    entries = {entry["image"]: entry for entry in scan_scores(table)}
    volumes = []
    theirs: dict[str, list[VolumeRow]] = defaultdict(list)
    for slices in source.volumes():
        row = _volume_row([entries[source.items[index].id] for index in slices], source.info(slices[0]))
        volumes.append(row)
        if row.patient is not None:
            theirs[row.patient].append(row)
    patients = [
        PatientRow(patient, len(rows), sum(row.scored + row.failed for row in rows), pool([row.score for row in rows]))
        for patient, rows in theirs.items()
    ]
    return volumes, patients


def _volume_row(entries: Sequence[Row], info: ScanInfo) -> VolumeRow:
    scored = [entry for entry in entries if not math.isnan(entry["score"])]
    verdicts = [entry["anomalous"] for entry in scored if entry["anomalous"] is not None]
    return VolumeRow(
        volume=info.volume,
        patient=info.patient,
        eye=info.eye,
        slices=max(info.slices, len(entries)),
        scored=len(scored),
        failed=len(entries) - len(scored),
        anomalous=sum(verdicts) if verdicts else None,
        score=pool([entry["score"] for entry in scored]),
        worst=min(scored, key=badness)["image"] if scored else None,
    )


def _remove_others(folder: Path, others: AbstractSet[Path]) -> None:
    for path in list(folder.rglob("*.png")):
        if path in others:
            with disk_errors(path):
                path.unlink(missing_ok=True)
