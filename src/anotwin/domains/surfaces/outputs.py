"""What is written of surfaces besides scores.csv: regions.csv, regions.json (COCO), masks/, regions/ and groups.csv.

Regions are those of images that are anomalous by their score: a part that passes has none, whatever its heat, so that
the false-alarm rate of regions is not added to that of scores. An anomalous image has one at least (`regions_of`). Of a
model that is not calibrated nothing is anomalous, and no region is known.
"""

from __future__ import annotations

import heapq
import tempfile
import weakref
from array import array
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain
from pathlib import Path

from anotwin.domains.groups import write_groups
from anotwin.domains.protocol import Job, Written
from anotwin.domains.regions import regions_of
from anotwin.domains.surfaces.tables import (
    Found,
    draw_regions,
    found_in,
    mask_of,
    region_listing,
    write_coco,
    write_table,
)
from anotwin.domains.surfaces.view import is_small
from anotwin.records import Finding
from anotwin.report.files import disk_errors, picture_names
from anotwin.report.overlay import save_png
from anotwin.report.stale import remove
from anotwin.report.table import scan_scores
from anotwin.updates import tell

LISTED = 6  # regions in the terminal
MASKS, DRAWN = "masks", "regions"  # folders


class SurfaceOutputs:
    """What `anotwin score` writes."""

    def __init__(self, job: Job) -> None:
        self.job = job
        calibration = job.model.calibration
        self._limit = None if calibration is None else calibration.region_limit
        self._least_area = job.model.settings.calibration.least_area
        self._names = picture_names([item.id for item in job.source.items])
        self._kept = _Kept()
        self._small = _Small(job)

    def unfinished(self, done: AbstractSet[str]) -> Sequence[int]:
        """All that have no row yet."""
        return array("q", [index for index, item in enumerate(self.job.source.items) if item.id not in done])

    def wants(self, finding: Finding) -> bool:
        """Where it is anomalous: its regions are found in its heat."""
        return self._limit is not None and bool(finding.anomalous)

    def take(self, index: int, finding: Finding) -> None:
        """Find the regions of an image that is anomalous; write its mask and its picture."""
        self._small.count(index, finding)
        if finding.heatmap is None or self._limit is None or not finding.anomalous:
            return
        regions, exceed = regions_of(finding.heatmap, self._limit, self._least_area)
        found, name = found_in(finding.id, finding.heatmap.shape, regions, exceed), self._names[finding.id]
        save_png(mask_of(finding.heatmap.shape, regions), self.job.out / MASKS / name)
        if self.job.pictures:
            spec = self.job.model.spec
            draw_regions(finding, found, self.job.out / DRAWN / name, (spec.black, spec.white))
        self._kept.add(index, found)

    def finish(self, shown: Sequence[Finding], table: Path | None) -> list[Written]:
        """The tables of all regions, those of rows that were kept from a stopped run too."""
        assert table is not None
        self._take_kept(table, shown)
        self._small.tell()
        self._remove_others()
        written = self._write_regions() if self._limit is not None else []
        return written + write_groups(table, self.job.source, self.job.out, self.job.model.calibration)

    def _take_kept(self, table: Path, shown: Sequence[Finding]) -> None:
        """The anomalous images whose rows were kept: they were not in this run's stream."""
        anomalous = {row["image"] for row in scan_scores(table) if row["anomalous"]} if self._limit is not None else ()
        position = {item.id: index for index, item in enumerate(self.job.source.items) if item.id in anomalous}
        missing = {name for name, index in position.items() if index not in self._kept}
        for finding in self.job.again(missing, shown):
            self.take(position[finding.id], finding)

    def _remove_others(self) -> None:
        """Remove what earlier runs wrote of images that have no regions now."""
        items, job = self.job.source.items, self.job
        own = {self._names[items[index].id] for index in self._kept.indices()}
        others = {*self._names.values(), *picture_names(sorted(job.earlier)).values()}
        stale = (job.out / kind / name for kind in (MASKS, DRAWN) for name in others - own)
        undrawn = (job.out / DRAWN / name for name in own) if not job.pictures else ()
        remove(chain(stale, undrawn), job.out)

    def _write_regions(self) -> list[Written]:
        out, calibration = self.job.out, self.job.model.calibration
        assert calibration is not None
        info = {
            "description": "regions of anomalous images, by AnoTwin",
            "heat_limit": self._limit,
            "least_area": self._least_area,
            "false_alarm_rate": calibration.false_alarm_rate,
        }
        write_table(self._kept.all(), out / "regions.csv")
        write_coco(self._kept.all(), out / "regions.json", info)
        total = sum(len(found.rows) for found in self._kept.all())
        rows = heapq.nsmallest(
            LISTED, (row for found in self._kept.all() for row in found.rows), key=lambda row: -row.peak
        )
        what = f"{total} regions of {len(self._kept)} anomalous images"
        written = [
            Written(out / "regions.csv", what, region_listing(rows, total) if rows else None),
            Written(out / "regions.json", "the same as COCO annotations"),
        ]
        if total:
            written.append(Written(out / MASKS, "a mask of each anomalous image, white where a region is"))
            written += [Written(out / DRAWN, "their regions, outlined and numbered")] if self.job.pictures else []
        return written


class EvaluatedSurfaces:
    """Nothing besides what `anotwin evaluate` writes of every domain."""

    def __init__(self, job: Job) -> None:
        self._small = _Small(job)

    def take(self, index: int, finding: Finding) -> None:
        """Nothing is kept."""
        self._small.count(index, finding)

    def finish(self, shown: Sequence[Finding], table: Path | None) -> list[Written]:
        """Nothing is written."""
        del shown, table
        self._small.tell()
        return []


class _Small:
    """Images of which one tile shows all, and more that is mirrored: they are scored, and a person is told."""

    def __init__(self, job: Job) -> None:
        self._job, self._indices = job, array("q")

    def count(self, index: int, finding: Finding) -> None:
        model = self._job.model
        if not finding.error and is_small(self._job.source, index, model.spec.size, model.settings.data.scale):
            self._indices.append(index)

    def tell(self) -> None:
        if self._indices:
            size, first = self._job.model.spec.size, self._job.source.items[self._indices[0]].id
            told = f"{len(self._indices)} images are smaller than a tile of {size} x {size} pixels, or narrow strips"
            tell(self._job.watch, [f"{told}: mirrored up to it, their scores say less (the first: {first})"])


class _Kept:
    """What was found in images, by their index, on disk: an outline may have thousands of points."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed with this object
        weakref.finalize(self, self._file.close)
        self._places: dict[int, tuple[int, int]] = {}  # where it begins, and how long it is

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, index: int) -> bool:
        return index in self._places

    def indices(self) -> list[int]:
        return sorted(self._places)

    def add(self, index: int, found: Found) -> None:
        data = found.stored()
        with disk_errors(Path(tempfile.gettempdir())):
            self._places[index] = self._file.seek(0, 2), len(data)
            self._file.write(data)

    def all(self) -> Iterator[Found]:
        """In the order of the source."""
        for index in self.indices():
            start, length = self._places[index]
            self._file.seek(start)
            yield Found.restored(self._file.read(length))
