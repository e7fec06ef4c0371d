"""Groups of images - parts photographed several times, clips, patients - with one score and one decision each."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from anotwin.calibrate.decision import undecided, unit_decider
from anotwin.domains.protocol import Unit, Written
from anotwin.prepare.patches import pool
from anotwin.records import Calibration, ImageSource
from anotwin.report.files import disk_errors
from anotwin.report.listing import Listing
from anotwin.report.rows import write_rows
from anotwin.report.table import Row, badness, scan_scores
from anotwin.report.text import short

KIND = "group"


@dataclass(frozen=True)
class GroupRow:
    """One group in the table; higher scores are more abnormal. What is not known is None, and an empty cell."""

    group: str
    images: int
    failed: int  # could not be read or scored
    score: float  # pooled over its images; NaN where none has a score
    p_value: float | None  # of the group; None without groups to compare with
    anomalous: bool | None
    worst: str | None  # image: the one with the highest score


def group_units(source: ImageSource, scores: Mapping[int, float]) -> dict[str, Sequence[Unit]]:
    """The groups that have a name, as units; see `anotwin.domains.protocol.Domain.units`.

    The score of a group is that of its most abnormal images (`prepare.patches.pool`: of up to twenty images the
    highest, of more the mean of the highest 5 %): a defect need be seen in one picture of a part alone, and the highest
    score of a thousand frames would be that of the noisiest.
    """
    members: dict[str, list[int]] = defaultdict(list)  # in the order of the source
    for index in sorted(scores):
        name = source.items[index].group
        if name is not None:
            members[name].append(index)
    units = [Unit(name, tuple(of), pool([scores[index] for index in of])) for name, of in members.items()]
    return {KIND: units} if units else {}


def scores_of(source: ImageSource, table: Path) -> tuple[list[Row], dict[int, float]]:
    """The rows of a table of scores in the order of the source, and the scores by index, NaN for none."""
    entries = {entry["image"]: entry for entry in scan_scores(table)}
    rows = [entries[item.id] for item in source.items]
    return rows, {index: row["score"] for index, row in enumerate(rows)}


def write_groups(table: Path, source: ImageSource, out: Path, calibration: Calibration | None) -> list[Written]:
    """groups.csv of the scores in `table`, where groups have names; the terminal shows them if one has many images."""
    path = out / "groups.csv"
    if all(item.group is None for item in source.items):
        with disk_errors(path):
            path.unlink(missing_ok=True)  # of other data, from an earlier run
        return []
    entries, scores = scores_of(source, table)
    decide, rows = unit_decider(calibration, KIND), []
    for unit in group_units(source, scores)[KIND]:
        scored = [entries[index] for index in unit.members if not math.isnan(scores[index])]
        p_value, anomalous = decide(unit.score, len(scored))
        worst = min(scored, key=badness)["image"] if scored else None
        failed = len(unit.members) - len(scored)
        rows.append(GroupRow(unit.name, len(unit.members), failed, unit.score, p_value, anomalous, worst))
    write_rows(GroupRow, rows, path)
    several = any(row.images > 1 for row in rows)
    why = undecided(calibration, KIND) if any(row.p_value is None for row in rows) else ""
    return [Written(path, f"a row per group{why}", group_listing(rows) if several else None)]


def group_listing(rows: Sequence[GroupRow], most: int = 6) -> Listing:
    """Groups for the terminal, the most anomalous first."""
    decided = any(row.p_value is not None for row in rows)
    names = ["group", "score", *(["p", "verdict"] if decided else []), "images", "failed", "worst image"]
    shown = sorted(rows, key=lambda row: (math.isnan(row.score), -row.score))[:most]
    cells, styles = [], []
    for row in shown:
        decision = verdict_cells(row.p_value, row.anomalous) if decided else ()
        cells.append((row.group, short(row.score), *decision, str(row.images), str(row.failed), row.worst or ""))
        styles.append("bold red" if row.anomalous else "")
    words = frozenset({"group", "verdict", "worst image"})
    return Listing(tuple(names), tuple(cells), len(rows), words, tuple(styles))


def verdict_cells(p_value: float | None, anomalous: bool | None) -> tuple[str, str]:
    """A decision in two cells of a listing."""
    verdict = {True: "ANOMALOUS", False: "normal", None: ""}[anomalous]
    return "" if p_value is None else f"{p_value:.4f}", verdict
