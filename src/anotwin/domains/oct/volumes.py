"""What is written of volumes and patients: volumes/ while scores come in, volumes.csv and patients.csv at the end."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anotwin.domains.oct.records import ScanInfo, ScanSource
from anotwin.domains.oct.report import tables
from anotwin.domains.oct.report.en_face import en_face, volume_figure
from anotwin.domains.protocol import Job, Written
from anotwin.prepare.patches import pool
from anotwin.records import Finding
from anotwin.report.files import disk_errors, picture_name
from anotwin.report.table import Row, badness, scan_scores


@dataclass
class _Begun:
    """What is kept of a volume until its last slice comes: a row of the table and a row of the map each."""

    rows: list[tables.SliceRow] = field(default_factory=list)
    heats: dict[int, npt.NDArray[np.float32]] = field(default_factory=dict)  # slice -> (1, W)


class VolumeFiles:
    """volumes/: a table and, with pictures, a map of each volume of several slices, written with its last slice."""

    def __init__(self, scans: ScanSource, job: Job) -> None:
        self.scans, self.job, self.folder = scans, job, job.out / "volumes"
        self.slices = {index: len(volume) for volume in scans.volumes() if len(volume) > 1 for index in volume}
        self._begun: dict[str, _Begun] = defaultdict(_Begun)

    def take(self, index: int, finding: Finding) -> None:
        """Keep what the files need of a slice."""
        if index not in self.slices:
            return
        info, volume = self.scans.info(index), self._begun[self.scans.info(index).volume]
        quality = finding.evidence.quality if finding.evidence else None  # None: the slice could not be read
        row = finding.id, finding.score, finding.p_value, finding.anomalous, quality, finding.error
        volume.rows.append(tables.SliceRow(info.slice, *row))
        if self.job.pictures and finding.heatmap is not None:
            volume.heats[info.slice] = en_face([finding.heatmap])
        if len(volume.rows) == self.slices[index]:
            self._write(self._begun.pop(info.volume), info)

    def _write(self, volume: _Begun, info: ScanInfo) -> None:
        picture = self.folder / picture_name(f"{info.volume}.png")
        rows = sorted(volume.rows, key=lambda row: (row.slice, row.image))
        tables.write_rows(tables.SliceRow, rows, picture.with_suffix(".csv"))
        if not volume.heats:
            with disk_errors(picture):
                picture.unlink(missing_ok=True)  # of an earlier run
            return
        heats = [volume.heats.get(number) for number in range(max(info.slices, rows[-1].slice + 1))]
        names = [info.volume, *(word for word in (info.patient, info.eye) if word and word not in info.volume)]
        volume_figure(heats, picture, "   ".join(names), info.spacing, rows, self.job.model.threshold)


def write_pooled(table: Path, source: ScanSource, out: Path, listed: bool) -> list[Written]:
    """volumes.csv and patients.csv of the scores in `table`; the terminal shows volumes if `listed`."""
    volumes, patients = pool_table(table, source)
    tables.write_rows(tables.VolumeRow, volumes, out / "volumes.csv")
    tables.write_rows(tables.PatientRow, patients, out / "patients.csv")
    repeated = any(row.scans > 1 for row in patients)
    return [
        Written(out / "volumes.csv", "a row per volume", tables.volume_listing(volumes) if listed else None),
        Written(out / "patients.csv", "a row per patient", tables.patient_listing(patients) if repeated else None),
    ]


def pool_table(table: Path, source: ScanSource) -> tuple[list[tables.VolumeRow], list[tables.PatientRow]]:
    """The volumes and the patients of a table of scores, in the order of the source.

    Slices are pooled into their volume, volumes into their patient; see `pool`. Scans without a known patient are in no
    row of patients.
    """
    entries = {entry["image"]: entry for entry in scan_scores(table)}
    volumes = []
    by_patient: dict[str, list[tables.VolumeRow]] = defaultdict(list)
    for slices in source.volumes():
        row = _volume_row([entries[source.items[index].id] for index in slices], source.info(slices[0]))
        volumes.append(row)
        if row.patient is not None:
            by_patient[row.patient].append(row)
    return volumes, [_patient_row(patient, rows) for patient, rows in by_patient.items()]


def _patient_row(patient: str, rows: Sequence[tables.VolumeRow]) -> tables.PatientRow:
    scans = sum(row.scored + row.failed for row in rows)
    return tables.PatientRow(patient, len(rows), scans, pool([row.score for row in rows]))


def _volume_row(entries: Sequence[Row], info: ScanInfo) -> tables.VolumeRow:
    scored = [entry for entry in entries if not math.isnan(entry["score"])]
    verdicts = [entry["anomalous"] for entry in scored if entry["anomalous"] is not None]
    return tables.VolumeRow(
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
