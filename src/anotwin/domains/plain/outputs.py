"""What is written of whole images besides scores.csv and pictures: groups.csv, maps of features, a search if any."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Literal

import torch

from anotwin.domains.groups import write_groups
from anotwin.domains.protocol import Job, Written
from anotwin.records import Batch, Finding
from anotwin.report.feature_points import MAPPED, FeaturePoints
from anotwin.report.steps import search_figure
from anotwin.report.table import first_of_each

TRACE_SHARES = (0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1)  # of the search's steps
VERDICTS = {True: "query: anomalous", False: "query: normal", None: "query"}


def by_verdict(finding: Finding) -> str | None:
    """The group of a finding on the map, by what was decided."""
    return None if finding.error else VERDICTS[finding.anomalous]


def by_label(finding: Finding) -> str | None:
    """The group of a finding on the map, by its label; None: it has none."""
    if finding.error or finding.normal is None:
        return None
    return "query: normal" if finding.normal else "query: abnormal"


class WholeOutputs:
    """groups.csv, maps of features, a point per image, and search.png of a method that searches.

    Args:
        job: the run.
        group: the group of a finding on the maps; None: it is not on them.
        maps: kind of map -> name of its file.
        traced: rows of search.png; 0: none is drawn.
    """

    def __init__(
        self,
        job: Job,
        group: Callable[[Finding], str | None],
        maps: Mapping[Literal["pca", "tsne"], str],
        traced: int = 0,
    ) -> None:
        self.job, self.group, self.traced = job, group, traced
        self.maps = {kind: job.out / name for kind, name in maps.items()}
        self._points = FeaturePoints(job.model.features)

    def unfinished(self, done: AbstractSet[str]) -> Sequence[int]:
        """All that have no row yet."""
        return array("q", [index for index, item in enumerate(self.job.source.items) if item.id not in done])

    def wants(self, finding: Finding) -> bool:
        """No: a map takes what the model saw, which every finding carries."""
        del finding
        return False

    def take(self, index: int, finding: Finding) -> None:
        """Keep a point of the map."""
        group = self.group(finding)
        if group is not None:
            self._points.add(index, group, finding.evidence)

    def finish(self, shown: Sequence[Finding], table: Path | None) -> list[Written]:
        """Pool the groups, draw the search and the maps."""
        written = []
        if table is not None:
            self._take_kept(table, shown)
            written = write_groups(table, self.job.source, self.job.out, self.job.model.calibration)
        written += [Written(path, "how counterparts were found") for path in self._draw_search(shown[: self.traced])]
        maps = self._points.draw(self.maps, self.job.model.sample)
        return written + [Written(path, "what the discriminator sees in queries") for path in maps]

    def _take_kept(self, table: Path, shown: Sequence[Finding]) -> None:
        """The images whose rows were kept from a stopped run: they were not in this run's stream."""
        mapped = {row["image"] for row in first_of_each(table, MAPPED)}
        position = {item.id: index for index, item in enumerate(self.job.source.items) if item.id in mapped}
        missing = {name for name, index in position.items() if index not in self._points}
        for finding in self.job.again(missing, shown):
            self.take(position[finding.id], finding)

    def _draw_search(self, shown: Sequence[Finding]) -> list[Path]:
        """How the counterparts of a few images come about: from their pixels, once more, for a trace fills memory."""
        if not self.traced:
            return []
        path, steps = self.job.out / "search.png", self.job.model.settings.search.steps
        marks = sorted({round(share * steps) for share in TRACE_SHARES})
        # their squares, as they were scored: nothing is read twice, and pictures may have been shrunk for the figure
        fingerprints = tuple(finding.fingerprint for finding in shown if finding.fingerprint is not None)
        squares = torch.stack([finding.evidence for finding in shown]) if shown else None
        trace = (
            None if squares is None else self.job.model.trace(Batch(squares, fingerprints), range(len(shown)), marks)
        )
        if squares is None or trace is None:
            path.unlink(missing_ok=True)  # another model's, from an earlier run
            return []
        search_figure(trace.images.cpu().numpy(), squares.numpy(), trace.steps, trace.losses.cpu().numpy(), path)
        return [path]
