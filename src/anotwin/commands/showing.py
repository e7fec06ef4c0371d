"""What a person sees in the terminal: progress bars, and each command's closing lines."""

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

console = Console(highlight=False, soft_wrap=True)


@contextmanager
def bars() -> Iterator[Watch]:
    """A bar a stage, on stderr so that stdout stays for results; notes are printed above the bars."""
    columns = (  # 80 columns hold all of it
        TextColumn("{task.description:<11}"),
        BarColumn(10),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        TextColumn("{task.fields[detail]}"),
    )
    with Progress(*columns, console=Console(stderr=True, highlight=False)) as progress:
        tasks: dict[str, TaskID] = {}

        def watch(update: Update) -> None:
            if update.stage == "note":
                progress.console.print(update.detail, markup=False, soft_wrap=True)
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
    console.print(f"{found.summary} -> {table.path}", markup=False)
    if pictures:
        console.print(f"look at {pictures[0].path}", markup=False)


def trained(detector: Detector, out: Path) -> None:
    """The last lines of train."""
    history = detector.history
    console.print(
        f"trained {detector.method.name}: {history['steps']} steps in {history['seconds']:.0f} s -> {out}", markup=False
    )
    console.print(f"samples and statistics: {out / 'runs' / history['run']}", markup=False)
    if detector.calibration:
        calibrated(detector, as_json=False)


def calibrated(detector: Detector, as_json: bool) -> None:
    """The last lines of calibrate."""
    found = detector.calibration
    assert found is not None
    if as_json:
        print(
            json.dumps(
                {
                    "false_alarm_rate": found.false_alarm_rate,
                    "threshold": found.threshold,
                    "n_normal": len(found.scores),
                    "rate_bound": found.rate_bound,
                    "residual_threshold": found.residual_threshold,
                    "discrimination_threshold": found.discrimination_threshold,
                }
            )
        )
        return
    console.print(
        f"anomalous = score > {found.threshold:.6g}: at most {found.false_alarm_rate:.2%} of normal images raise a "
        f"false alarm, on average over calibrations on {len(found.scores)} normals; with 95 % confidence this one "
        f"stays below {found.rate_bound:.2%}",
        markup=False,
    )


def scored(summary: Summary) -> None:
    """The last lines of score: the worst images, what the domain tells, and where everything lies."""
    print_table(summary.worst, console, summary.images)
    listings = [each.listing for each in summary.written if each.listing is not None]
    for listing in listings:
        console.print()
        print_listing(listing, console)
    if listings:
        console.print()
    parts = [f"{summary.images} images"]
    parts += (
        [f"{summary.flagged} anomalous"] if summary.calibrated else ["not calibrated: no decisions (anotwin calibrate)"]
    )
    parts += [f"{summary.failed} with an error"] if summary.failed else []
    table, *others = (each.path for each in summary.written)
    names = [f"{path.name}/" if path.is_dir() else path.name for path in others]
    console.print(f"{', '.join(parts)} -> {', '.join([str(table), *names])}", markup=False)


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
        + (f" -> {json_file}" if json_file else ""),
        markup=False,
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
    console.print(f"{count} new normal images -> {out}, grid.png shows the first {min(count, 64)}", markup=False)


def described(description: dict[str, Any], as_json: bool) -> None:
    """What info prints."""
    if as_json:
        print(json.dumps(description))
        return
    for key, value in description.items():
        if isinstance(value, dict):
            console.print(f"{key}:", markup=False)
            for inner, detail in value.items():
                if isinstance(detail, list) and len(detail) > 8:
                    detail = f"{len(detail)} values"
                console.print(f"  {inner}: {detail}", markup=False)
        else:
            console.print(f"{key}: {value}", markup=False)


def demonstrated(outcome: dict[str, Any], out: Path) -> None:
    """The last lines of demo."""
    console.print(f"[bold]{outcome['what']}[/]")
    evaluated(outcome["numbers"], None)
    console.print(
        f"look at {out / 'figure.png'}; scores: {out / 'scores'}, curves: {out / 'evaluation'}",
        markup=False,
    )
