"""Rows with intervals and goals, the printed table, the JSON file.

`Report` saves after every addition, so that a run that is stopped keeps what it has measured.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from anotwin.evaluate import metrics
from anotwin.files import write_json_atomic

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Interval = tuple[float, float]

console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 150)


@dataclass(frozen=True)
class Row:
    """One number. `low` and `high` are its 95 % interval; `goal`: ">= x", "<= x", "x in interval" or None."""

    benchmark: str
    case: str  # what was measured on, for example "normal=0"
    method: str
    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    unit: str = ""
    goal: str | None = None

    def reached(self) -> bool | None:
        """Whether the goal is; None where there is none. A value that is NaN reaches nothing."""
        if self.goal is None:
            return None
        relation, bound = _parse_goal(self.goal)
        if relation == "in interval":
            return self.low is not None and self.high is not None and self.low <= bound <= self.high
        return self.value >= bound if relation == ">=" else self.value <= bound

    def as_dict(self) -> dict[str, Any]:
        """Strict JSON: what is not finite becomes null."""
        return {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in asdict(self).items()
        }


def _parse_goal(goal: str) -> tuple[str, float]:
    match = re.fullmatch(r"(?:(>=|<=) (\S+)|(\S+) (in interval))", goal)
    if match is None:
        raise ValueError(f"goal {goal!r}: expected '>= x', '<= x' or 'x in interval'")
    return match[1] or match[4], float(match[2] or match[3])


@dataclass(frozen=True)
class Cell:
    """Where rows belong: benchmark, case and method; without `goals`, rows have none."""

    benchmark: str
    case: str
    method: str
    goals: bool = True

    def row(
        self, metric: str, value: float, interval: Interval | None = None, unit: str = "", goal: str | None = None
    ) -> Row:
        low, high = interval or (None, None)
        return Row(self.benchmark, self.case, self.method, metric, value, low, high, unit, goal if self.goals else None)

    def auroc(self, metric: str, abnormal: Bools, scores: Floats, goal: str | None = None) -> Row:
        """AUROC, higher scores being more abnormal, under the name `metric`."""
        interval = metrics.bootstrap(metrics.auroc, abnormal, scores)
        return self.row(metric, metrics.auroc(abnormal, scores), interval, goal=goal)

    def average_precision(self, abnormal: Bools, scores: Floats) -> Row:
        """Average precision, abnormal images being those to find."""
        interval = metrics.bootstrap(metrics.average_precision, abnormal, scores)
        return self.row("average_precision", metrics.average_precision(abnormal, scores), interval)

    def share(self, metric: str, flags: Bools, goal: str | None = None) -> Row:
        """The share of True, with its exact interval: a bootstrap has no width where none or all are."""
        interval = metrics.proportion_interval(int(flags.sum()), len(flags))
        return self.row(metric, float(flags.mean()), interval, goal=goal)

    def mean(self, metric: str, values: Floats, unit: str = "", goal: str | None = None) -> Row:
        """The mean of values that belong to one kind of image."""
        one_class = np.zeros(len(values), dtype=bool)
        interval = metrics.bootstrap(lambda _labels, drawn: float(np.mean(drawn)), one_class, values)
        return self.row(metric, float(values.mean()), interval, unit, goal)


def over_seeds(runs: Sequence[Sequence[Row]], case: str) -> list[Row]:
    """Mean, least and greatest of each number over runs with different seeds: three rows each, without intervals."""
    values: dict[tuple[str, str], list[Row]] = {}
    for row in (row for run in runs for row in run):
        values.setdefault((row.method, row.metric), []).append(row)
    summary = []
    for rows in values.values():
        numbers = [row.value for row in rows]
        for name, value in (("mean", float(np.mean(numbers))), ("min", min(numbers)), ("max", max(numbers))):
            where = f"{case}, {name} of {len(numbers)} seeds"
            summary.append(replace(rows[0], case=where, value=value, low=None, high=None, goal=None))
    return summary


@dataclass
class Report:
    """All rows so far; every `add` saves them."""

    path: Path | None
    rows: list[Row] = field(default_factory=list)

    def add(self, rows: Sequence[Row]) -> None:
        """Keep and save `rows`."""
        self.rows += rows
        if self.path is not None:
            write_json_atomic(self.path, [row.as_dict() for row in self.rows])

    def stream(self, title: str, rows: Iterable[Row]) -> None:
        """Save rows as they come, and print them together under a title."""
        console.print(f"\n[bold]{title}[/]")
        first = len(self.rows)
        for row in rows:
            self.add([row])
        self.show(self.rows[first:])

    def show(self, rows: Sequence[Row]) -> None:
        """Print some rows as a table."""
        console.print(_table(rows))

    def close(self) -> None:
        """The last lines: which goals were reached, where the rows are."""
        outcomes = [(row, row.reached()) for row in self.rows]
        missed = [row for row, reached in outcomes if reached is False]
        count = sum(1 for _, reached in outcomes if reached is not None)
        if count:
            console.print(f"goals: {count - len(missed)} of {count} reached", markup=False)
        for row in missed:
            console.print(
                f"missed: {row.case}, {row.method}, {row.metric} {row.value:.4g}, goal {row.goal}", markup=False
            )
        if self.path is not None:
            console.print(f"{len(self.rows)} rows -> {self.path}", markup=False)


def _table(rows: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("case", "method", "metric", "value", "95 % interval", "unit", "goal"):
        table.add_column(name, justify="right" if name in ("value", "95 % interval") else "left", no_wrap=True)
    for row in rows:
        interval = "" if row.low is None or row.high is None else f"{row.low:.4f} .. {row.high:.4f}"
        outcome = {None: "", True: " reached", False: " [bold red]MISSED[/]"}[row.reached()]
        table.add_row(
            row.case, row.method, row.metric, f"{row.value:.4f}", interval, row.unit, (row.goal or "") + outcome
        )
    return table
