"""What scoring writes of OCT scans besides: bscans/, volumes/, volumes.csv and patients.csv."""

from __future__ import annotations

import heapq
import math
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anotwin.detector import Detector
from anotwin.prepare.patches import pool
from anotwin.records import Finding, ImageSource, ScanInfo, ScanSource
from anotwin.report.files import disk_errors, picture_name, picture_names
from anotwin.report.pooled import PatientRow, VolumeRow, write_patients, write_volumes
from anotwin.report.retina import scan_figure
from anotwin.report.slices import SliceRow, slice_row, write_slices
from anotwin.report.table import Row, badness, scan_scores, short
from anotwin.report.volume import en_face, volume_figure
from anotwin.updates import Update, Watch, silent

MOST_SCANS = 50  # in bscans/: a page of flagged scans to look through, each half a second to draw
LEVEL = 1.0  # of the contours: the loudest 0.5 % of normal pixels


@dataclass
class _Volume:
    """What is kept of a volume while its slices come: a row of the map and a row of the table each."""

    rows: list[SliceRow] = field(default_factory=list)
    heats: dict[int, npt.NDArray[np.float32]] = field(default_factory=dict)  # slice -> (1, W)


def unfinished(source: ImageSource, done: AbstractSet[str]) -> Sequence[int]:
    """The images still to score: those not in `done`, and all slices of a volume that lacks one.

    A volume's picture needs the heat of all its slices, and is written before the row of the last of them.
    """
    missing = [index for index, item in enumerate(source.items) if item.id not in done]
    if isinstance(source, ScanSource) and done:
        wanted = set(missing)
        missing = sorted(index for volume in source.volumes() if not wanted.isdisjoint(volume) for index in volume)
    return array("q", missing)


def through_volumes(
    findings: Iterable[Finding], indices: Sequence[int], source: ImageSource, out: Path, threshold: float | None
) -> Iterator[Finding]:
    """The findings of the scans at `indices`, as they come.

    Before the last slice of a volume is handed on, ``volumes/NAME.csv`` is written, and ``volumes/NAME.png`` if the
    findings have heatmaps. Single B-scans are no volumes.
    """
    several = [slices for slices in source.volumes() if len(slices) > 1] if isinstance(source, ScanSource) else []
    if not isinstance(source, ScanSource) or not several:
        yield from findings
        return
    names = {info.volume: picture_name(f"{info.volume}.png") for info in (source.info(each[0]) for each in several)}
    volume_of = {index: slices for slices in several for index in slices}
    begun: dict[str, _Volume] = {}
    for index, finding in zip(indices, findings, strict=True):
        if index in volume_of:
            info = source.info(index)
            volume = begun.setdefault(info.volume, _Volume())
            quality = None if finding.retina is None else finding.retina.quality
            volume.rows.append(slice_row(finding, info.slice, quality))
            if finding.heatmap is not None:
                volume.heats[info.slice] = en_face([finding.heatmap])
            if len(volume.rows) == len(volume_of[index]):
                _write_volume(begun.pop(info.volume), info, out / "volumes" / names[info.volume], threshold)
        yield finding


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


def write_pooled(table: Path, source: ImageSource, out: Path) -> tuple[list[VolumeRow], list[PatientRow]]:
    """`pool_table`, saved as volumes.csv and patients.csv; both empty for a source without volumes."""
    if not isinstance(source, ScanSource):
        return [], []
    volumes, patients = pool_table(table, source)
    write_volumes(volumes, out / "volumes.csv")
    write_patients(patients, out / "patients.csv")
    return volumes, patients


def draw_worst(
    detector: Detector, source: ImageSource, table: Path, out: Path, count: int, lines: bool, watch: Watch = silent
) -> None:
    """bscans/: the `count` most anomalous scans and all that are flagged, `MOST_SCANS` at most.

    They are scored again: a heatmap of every scan would not fit into memory. Pictures of other scans of this source,
    which an earlier run left there, are removed.
    """
    loudest = heapq.nsmallest(max(count, MOST_SCANS), scan_scores(table), key=badness)
    wanted = {
        row["image"]
        for place, row in enumerate(loudest)
        if not math.isnan(row["score"]) and (place < count or row["anomalous"])
    }
    indices = [index for index, item in enumerate(source.items) if item.id in wanted]
    names = picture_names([item.id for item in source.items])
    draw = scan_drawer(source, out, lines)
    for done, finding in enumerate(detector.findings(source, indices), start=1):
        draw(finding)
        watch(Update("drawing", done, len(indices)))
    _remove_others(out / "bscans", {out / "bscans" / name for id_, name in names.items() if id_ not in wanted})


def scan_drawer(source: ImageSource, out: Path, lines: bool) -> Callable[[Finding], None]:
    """What draws a finding as ``bscans/NAME.png``: the scan, its heat with contours, and if asked for its lines."""
    position = {item.id: index for index, item in enumerate(source.items)}
    names = picture_names(list(position))

    def draw(finding: Finding) -> None:
        if finding.query is None:
            return
        spacing = source.info(position[finding.id]).spacing if isinstance(source, ScanSource) else None
        p_value = "" if finding.p_value is None else f"p = {finding.p_value:.2g}"
        words = (finding.id, f"score {short(finding.score)}", p_value, "anomalous" if finding.anomalous else "")
        scan_figure(
            finding.query,
            finding.heatmap,
            out / "bscans" / names[finding.id],
            title="   ".join(filter(None, words)),
            level=LEVEL,
            retina=finding.retina if lines else None,
            spacing=spacing,
        )

    return draw


def _remove_others(folder: Path, others: AbstractSet[Path]) -> None:
    for path in list(folder.rglob("*.png")):
        if path in others:
            with disk_errors(path):
                path.unlink(missing_ok=True)
