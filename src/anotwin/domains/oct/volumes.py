"""What is written of volumes and patients: volumes/ while scores come in, volumes.csv and patients.csv at the end."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anotwin.calibrate.decision import undecided, unit_decider
from anotwin.domains.groups import scores_of
from anotwin.domains.oct.evidence import Evidence
from anotwin.domains.oct.records import ScanInfo, ScanSource
from anotwin.domains.oct.report import tables
from anotwin.domains.oct.report.en_face import en_face, volume_figure
from anotwin.domains.oct.units import PATIENT, VOLUME, scan_units
from anotwin.domains.protocol import Job, Written
from anotwin.records import Calibration, Finding
from anotwin.report.files import disk_errors, picture_name
from anotwin.report.rows import is_table, write_rows
from anotwin.report.stale import remove
from anotwin.report.table import Row, badness


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
        found = finding.evidence if isinstance(finding.evidence, Evidence) else None
        volume.rows.append(tables.SliceRow(info.slice, *row, left_out=found.words() if found else ""))
        if self.job.pictures and finding.heatmap is not None and not info.alone:  # slices of a star make no map
            unseen = np.zeros(finding.heatmap.shape[1], bool) if found is None else found.left_columns
            volume.heats[info.slice] = en_face([np.where(unseen, np.nan, finding.heatmap)])
        if len(volume.rows) == self.slices[index]:
            self._write(self._begun.pop(info.volume), info)

    def remove_others(self) -> None:
        """Remove tables and maps of volumes that are not in the source, of an earlier run; other files stay."""
        known = {self._picture(self.scans.info(index)) for index in self.slices}
        found = [path for path in self.folder.rglob("*.csv") if path.with_suffix(".png") not in known]
        ours = [path for path in found if is_table(tables.SliceRow, path)]
        remove([file for path in ours for file in (path, path.with_suffix(".png"))], self.job.out)

    def _picture(self, info: ScanInfo) -> Path:
        return self.folder / picture_name(f"{info.volume}.png")

    def _write(self, volume: _Begun, info: ScanInfo) -> None:
        picture = self._picture(info)
        rows = sorted(volume.rows, key=lambda row: (row.slice, row.image))
        write_rows(tables.SliceRow, rows, picture.with_suffix(".csv"))
        if not volume.heats:
            with disk_errors(picture):
                picture.unlink(missing_ok=True)  # of an earlier run
            return
        heats = [volume.heats.get(number) for number in range(max(info.slices, rows[-1].slice + 1))]
        names = [info.volume, *(word for word in (info.patient, info.eye) if word and word not in info.volume)]
        volume_figure(heats, picture, "   ".join(names), info.spacing, rows, self.job.model.threshold)


def write_pooled(
    table: Path, source: ScanSource, out: Path, calibration: Calibration | None, listed: bool
) -> list[Written]:
    """volumes.csv and patients.csv of the scores in `table`; the terminal shows volumes if `listed`."""
    volumes, patients = pool_table(table, source, calibration)
    write_rows(tables.VolumeRow, volumes, out / "volumes.csv")
    write_rows(tables.PatientRow, patients, out / "patients.csv")
    repeated = any(row.scans > 1 for row in patients)
    whole = undecided(calibration, VOLUME) if any(row.p_value is None and row.scored for row in volumes) else ""
    whose = undecided(calibration, PATIENT) if any(row.p_value is None for row in patients) else ""
    return [
        Written(out / "volumes.csv", f"a row per volume{whole}", tables.volume_listing(volumes) if listed else None),
        Written(
            out / "patients.csv", f"a row per patient{whose}", tables.patient_listing(patients) if repeated else None
        ),
    ]


def pool_table(
    table: Path, source: ScanSource, calibration: Calibration | None
) -> tuple[list[tables.VolumeRow], list[tables.PatientRow]]:
    """The volumes and the patients of a table of scores, in the order of the source, with their decisions.

    Scans without a known patient are in no row of patients.
    """
    entries, scores = scores_of(source, table)
    units, decide = scan_units(source, scores), unit_decider(calibration, VOLUME)
    volumes = []
    for unit in units[VOLUME]:
        row = _volume_row([entries[index] for index in unit.members], source.info(unit.members[0]), unit.score)
        p_value, anomalous = decide(unit.score, row.scored)
        volumes.append(replace(row, p_value=p_value, anomalous=anomalous))
    decide, patients = unit_decider(calibration, PATIENT), []
    for unit in units.get(PATIENT, ()):
        count = len({source.info(index).volume for index in unit.members})
        scored = sum(not math.isnan(scores[index]) for index in unit.members)
        decision = decide(unit.score, scored)
        patients.append(tables.PatientRow(unit.name, count, len(unit.members), unit.score, *decision))
    return volumes, patients


def _volume_row(entries: Sequence[Row], info: ScanInfo, score: float) -> tables.VolumeRow:
    scored = [entry for entry in entries if not math.isnan(entry["score"])]
    verdicts = [entry["anomalous"] for entry in scored if entry["anomalous"] is not None]
    return tables.VolumeRow(
        volume=info.volume,
        patient=info.patient,
        eye=info.eye,
        slices=max(info.slices, len(entries)),
        scored=len(scored),
        failed=len(entries) - len(scored),
        anomalous_slices=sum(verdicts) if verdicts else None,
        score=score,
        p_value=None,
        anomalous=None,
        worst=min(scored, key=badness)["image"] if scored else None,
    )
