"""What is printed in the terminal: progress bars, and the last lines of each command."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from anotwin.commands.scoring import Summary
from anotwin.detector import Detector
from anotwin.domains.protocol import Checked
from anotwin.report.listing import print_listing
from anotwin.report.table import print_table
from anotwin.updates import Update, Watch

console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)


@contextmanager
def bars() -> Iterator[Watch]:
    """A progress bar for each stage, on stderr because results go to stdout; notes are printed above the bars."""
    columns = (  # fit into 80 characters
        TextColumn("{task.description:<11}"),
        BarColumn(10),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        TextColumn("{task.fields[detail]}"),
    )
    with Progress(*columns, console=Console(stderr=True, highlight=False, markup=False, emoji=False)) as progress:
        tasks: dict[str, TaskID] = {}

        def watch(update: Update) -> None:
            if update.stage == "note":
                progress.console.print(update.detail, soft_wrap=True)
                return
            if update.stage not in tasks:
                tasks[update.stage] = progress.add_task(update.stage, total=update.total, detail="")
            progress.update(tasks[update.stage], completed=update.done, total=update.total, detail=update.detail)

        yield watch


def prepared(found: Checked, as_json: bool) -> None:
    """The last lines of prepare: how many images can be used, and why the others cannot."""
    if as_json:
        print(json.dumps(dict(found.numbers)))
        return
    for each in found.written:
        if each.listing is not None:
            print_listing(each.listing, console)
    table, *pictures = found.written
    console.print(f"{found.summary} -> {table.path}")
    if pictures:
        console.print(f"see {pictures[0].path}")


def trained(detector: Detector, out: Path) -> None:
    """The last lines of train."""
    history = detector.history
    console.print(f"trained {detector.method.name}: {history['steps']} steps in {history['seconds']:.0f} s -> {out}")
    console.print(f"samples and statistics: {out / 'runs' / history['run']}")
    if detector.calibration:
        calibrated(detector, as_json=False)


def calibrated(detector: Detector, as_json: bool) -> None:
    """The last lines of calibrate."""
    found = detector.calibration
    assert found is not None
    if as_json:
        names = ("false_alarm_rate", "threshold", "rate_bound", "residual_threshold", "discrimination_threshold")
        print(json.dumps({"n_normal": len(found.scores)} | {name: getattr(found, name) for name in names}))
        return
    console.print(
        f"anomalous = score > {found.threshold:.6g}: at most {found.false_alarm_rate:.2%} of normal images raise a "
        f"false alarm, on average over calibrations on {len(found.scores)} normals; with 95 % confidence this one "
        f"stays below {found.rate_bound:.2%}"
    )


def scored(summary: Summary) -> None:
    """The last lines of score: the worst images, the domain's tables, and what was written."""
    print_table(summary.worst, console, summary.images)
    listings = [each.listing for each in summary.written if each.listing is not None]
    for listing in listings:
        console.print()
        print_listing(listing, console)
    if listings:
        console.print()
    parts = [f"{summary.images} images"]
    flagged = f"{summary.flagged} anomalous"
    parts += [flagged if summary.calibrated else "not calibrated: no decisions (anotwin calibrate)"]
    parts += [f"{summary.failed} with an error"] if summary.failed else []
    table, *others = summary.written
    console.print(f"{', '.join(parts)} -> {table.path}")
    for each in others:
        console.print(f"  {f'{each.path.name}/' if each.path.is_dir() else each.path.name:<14} {each.caption}")


def evaluated(numbers: dict[str, Any], json_file: Path | None) -> None:
    """The table of evaluate."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_column("95 % interval", justify="right")
    for name in ("auroc", "average_precision", "f1", "detection_rate", "false_alarm_rate", "pixel_auroc", "aupro"):
        if numbers.get(name) is not None:
            low, high = numbers.get(f"{name}_low"), numbers.get(f"{name}_high")
            table.add_row(name, f"{numbers[name]:.4f}", "" if low is None else f"{low:.4f} .. {high:.4f}")
    for name in ("mean_residual_normal", "mean_residual_abnormal", "seconds_per_image"):
        table.add_row(name, f"{numbers[name]:.4f}", "")
    console.print(table)
    if len(numbers["by_label"]) > 2:
        console.print(_label_table(numbers["by_label"]))
    console.print(
        f"{numbers['n_normal']} normal and {numbers['n_abnormal']} abnormal images, {numbers['n_failed']} failed"
        + (f" -> {json_file}" if json_file else "")
    )


def _label_table(labels: dict[str, dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("label", "images", "AUROC", "mean residual", "flagged"):
        table.add_column(name, justify="left" if name == "label" else "right")
    for label, row in labels.items():
        cells = [label + (" (normal)" if row["normal"] else ""), str(row["n"])]
        for value in (row.get("auroc"), row["mean_residual"], row.get("detection_rate")):
            cells.append("" if value is None or math.isnan(value) else f"{value:.4f}")
        table.add_row(*cells)
    return table


def sampled(count: int, out: Path) -> None:
    """The last line of sample."""
    console.print(f"{count} new normal images -> {out}, grid.png shows the first {min(count, 64)}")


def described(description: dict[str, Any], as_json: bool) -> None:
    """What info prints."""
    if as_json:
        print(json.dumps(description))
        return
    for key, value in description.items():
        if isinstance(value, dict):
            console.print(f"{key}:")
            for inner, detail in value.items():
                if isinstance(detail, list) and len(detail) > 8:
                    detail = f"{len(detail)} values"
                console.print(f"  {inner}: {detail}")
        else:
            console.print(f"{key}: {value}")


def demonstrated(outcome: dict[str, Any], out: Path) -> None:
    """The last lines of demo."""
    console.print(outcome["what"], style="bold")
    evaluated(outcome["numbers"], None)
    console.print(f"see {out / 'figure.png'}; scores: {out / 'scores'}, curves: {out / 'evaluation'}")
