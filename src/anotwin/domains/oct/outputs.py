"""What is written of OCT scans besides scores.csv: bscans/, patches.png, volumes/, volumes.csv and patients.csv."""

from __future__ import annotations

import heapq
import math
from array import array
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from itertools import chain
from pathlib import Path

from anotwin.domains.groups import write_groups
from anotwin.domains.oct.evidence import Remarks, unseen_of
from anotwin.domains.oct.records import ScanSource, Spacing
from anotwin.domains.oct.report.bscan import scan_figure
from anotwin.domains.oct.report.highest_heat import highest_heat_patch
from anotwin.domains.oct.units import other_groups
from anotwin.domains.oct.volumes import VolumeFiles, write_pooled
from anotwin.domains.protocol import Job, Written
from anotwin.records import Finding
from anotwin.report.choose import Extremes
from anotwin.report.figure import counterpart_figure
from anotwin.report.files import picture_names
from anotwin.report.stale import remove
from anotwin.report.table import badness, scan_scores
from anotwin.report.text import short
from anotwin.updates import Update, tell

SHOWN = 8  # scans in bscans/ at least: as many as figure.png shows
MOST_SCANS = 50  # at most: all that are anomalous; each takes half a second to draw


class ScanOutputs:
    """What `anotwin score` writes; a volume's files are written before the row of its last slice."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.scans = job.source if isinstance(job.source, ScanSource) else None
        self._volumes = VolumeFiles(self.scans, job) if self.scans else None
        self._worst = Extremes(MOST_SCANS)
        self._remarks = Remarks()

    def unfinished(self, done: AbstractSet[str]) -> Sequence[int]:
        """Those without a row, and all slices of a volume where one has none: its map needs the heat of all slices."""
        missing = [index for index, item in enumerate(self.job.source.items) if item.id not in done]
        if self.scans and done:
            wanted = set(missing)
            missing = sorted(index for each in self.scans.volumes() if not wanted.isdisjoint(each) for index in each)
        return array("q", missing)

    def wants(self, finding: Finding) -> bool:
        """Whether it is among the most anomalous so far."""
        return self._worst.wants(finding)

    def take(self, index: int, finding: Finding) -> None:
        """Keep the most anomalous scans, and what a volume's files need of its slices."""
        self._worst.add(replace(finding, counterpart=None, difference=None))
        self._remarks.add(finding)
        if self._volumes:
            self._volumes.take(index, finding)

    def finish(self, shown: Sequence[Finding], table: Path | None) -> list[Written]:
        """The patches of `shown`, the most anomalous scans, and the tables of volumes and patients."""
        assert table is not None
        tell(self.job.watch, self._remarks.notes())
        written = [*self._draw_patches(shown), *self._draw_worst(table, shown)]
        if self.scans and self._volumes:
            several = bool(self._volumes.slices)
            self._volumes.remove_others()
            if several:
                written.append(Written(self._volumes.folder, "volumes from above, and a table of the slices of each"))
            written += write_pooled(table, self.scans, self.job.out, self.job.model.calibration, listed=several)
        if other_groups(self.job.source):
            written += write_groups(table, self.job.source, self.job.out, self.job.model.calibration)
        return written

    def _draw_patches(self, shown: Sequence[Finding]) -> list[Written]:
        path, size = self.job.out / "patches.png", self.job.model.spec.size
        path.unlink(missing_ok=True)  # another model's, from an earlier run
        spacings = _spacings(self.job)
        found = [highest_heat_patch(finding, size, spacings[finding.id]) for finding in shown]
        patches = [patch for patch in found if patch is not None]
        if not patches:
            return []
        counterpart_figure(patches, path, window=(0.0, 255.0))
        return [Written(path, "the patches with the most heat, beside their counterparts")]

    def _draw_worst(self, table: Path, shown: Sequence[Finding]) -> list[Written]:
        """The most anomalous scans and all that are flagged. Pictures of others, of an earlier run, are removed."""
        highest = heapq.nsmallest(MOST_SCANS, scan_scores(table), key=badness)
        wanted = {
            row["image"]
            for place, row in enumerate(highest)
            if not math.isnan(row["score"]) and (place < SHOWN or row["anomalous"])
        }
        known = {finding.id: finding for finding in shown} | self._worst.kept
        kept = [finding for name, finding in known.items() if name in wanted]
        folder = _draw_scans(self.job, kept, self.job.again(wanted - known.keys()), total=len(wanted))
        _remove_others(self.job, folder, wanted)
        return [Written(folder, "the most anomalous scans, with heat and contours")] if wanted else []


class EvaluatedScans:
    """bscans/: the images of figure.png one by one."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._remarks = Remarks()

    def take(self, index: int, finding: Finding) -> None:
        """Nothing is kept but what is to be said of all scans."""
        del index
        self._remarks.add(finding)

    def finish(self, shown: Sequence[Finding], table: Path | None) -> list[Written]:
        """Draw them."""
        del table
        tell(self.job.watch, self._remarks.notes())
        folder = _draw_scans(self.job, shown, total=len(shown))
        _remove_others(self.job, folder, {finding.id for finding in shown if finding.query is not None})
        return [Written(folder, "the scans of figure.png, with heat")]


def _remove_others(job: Job, folder: Path, drawn: AbstractSet[str]) -> None:
    """Remove the pictures that earlier runs drew of other scans, of this source or of the one before."""
    names = picture_names([item.id for item in job.source.items])
    kept = {names[id_] for id_ in drawn}
    others = {*names.values(), *picture_names(sorted(job.earlier)).values()} - kept
    remove([folder / name for name in others], job.out)


def _spacings(job: Job) -> dict[str, Spacing | None]:
    """Of every image by its id; None where the source does not know it."""
    source = job.source
    if not isinstance(source, ScanSource):
        return dict.fromkeys(item.id for item in source.items)
    return {item.id: source.info(index).spacing for index, item in enumerate(source.items)}


def _draw_scans(job: Job, *groups: Iterable[Finding], total: int) -> Path:
    """``bscans/NAME.png`` of each finding: the scan, its heat with contours, and if asked for its lines; the folder."""
    folder, spacings = job.out / "bscans", _spacings(job)
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
                retina=finding.evidence if "lines" in job.options else None,
                unseen=unseen_of(finding),
                spacing=spacings[finding.id],
            )
        job.watch(Update("drawing", done, total))
    return folder
