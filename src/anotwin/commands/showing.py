"""What is printed in the terminal: progress bars, and the last lines of each command."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from anotwin.calibrate.decision import promise
from anotwin.commands.scoring import Summary
from anotwin.detector import Detector
from anotwin.domains.protocol import Checked
from anotwin.errors import clip
from anotwin.report.listing import Listing, print_listing
from anotwin.report.table import print_table
from anotwin.report.terminal import messages, print_line, results
from anotwin.report.text import printable
from anotwin.updates import Update, Watch

console = results()
_LONGEST = 2000  # characters of a value that info prints: a foreign model may hold millions


def say(text: str, style: str = "") -> None:
    """One line of a result."""
    print_line(text, console, style)


def notes(update: Update) -> None:
    """Notes alone, of what has no end that a bar could show."""
    if update.stage == "note":
        say(update.detail)


@contextmanager
def bars() -> Iterator[Watch]:
    """A progress bar for each stage, on stderr because results go to stdout; notes are printed above the bars."""
    columns = (  # fit into 80 characters
        TextColumn("{task.description:<11}", markup=False),
        BarColumn(10),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        TextColumn("{task.fields[detail]}", markup=False),
    )
    with Progress(*columns, console=messages()) as progress:
        tasks: dict[str, TaskID] = {}

        def watch(update: Update) -> None:
            if update.stage == "note":
                print_line(update.detail, progress.console)
                return
            detail = printable(update.detail, progress.console.encoding)
            if update.stage not in tasks:
                tasks[update.stage] = progress.add_task(update.stage, total=update.total, detail="")
            progress.update(tasks[update.stage], completed=update.done, total=update.total, detail=detail)

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
    say(f"{found.summary} -> {table.path}")
    if pictures:
        say(f"see {pictures[0].path}")


def trained(detector: Detector, out: Path) -> None:
    """The last lines of train."""
    history = detector.history
    say(f"trained {detector.method.name}: {history['steps']} steps in {history['seconds']:.0f} s -> {out}")
    say(f"samples and statistics: {out / 'runs' / history['run']}")
    if detector.calibration:
        calibrated(detector, as_json=False)


def trained_translation(method: str, history: dict[str, Any], out: Path) -> None:
    """The last lines of train, of a translation."""
    say(f"trained {method}: {history['steps']} steps in {history['seconds']:.0f} s -> {out}")
    chosen = {name: value for name, value in history["chosen"].items() if name != "step"}
    if chosen:
        found = ", ".join(f"{name} {value:.4g}" for name, value in chosen.items())
        say(f"step {history['chosen']['step']}, the best on {history['judged_on']} held-out examples: {found}")
    say(f"samples and statistics: {out / 'runs' / history['run']}")


def translated(images: int, failed: int, noted: int, out: Path) -> None:
    """The last line of translate."""
    parts = [f"{images} images"]
    parts += [f"{failed} with an error"] if failed else []
    parts += [f"{noted} in a format that is not lossless, or in another one: see the column note"] if noted else []
    say(f"{', '.join(parts)} -> {out / 'translated.csv'}; sheet.png shows the first")


def compared(numbers: dict[str, Any], json_file: Path) -> None:
    """The table of evaluate, of a translation."""
    rows = [
        (name, _short(each["mean"]), f"{_short(each['low'])} .. {_short(each['high'])}")
        for name, each in numbers["means"].items()
    ]
    columns = ("measure", "mean", "95 % interval")
    print_listing(Listing(columns, tuple(rows), len(rows), frozenset({"measure"})), console)
    groups = f" of {numbers['n_groups']} groups" if numbers["n_groups"] < numbers["n"] else ""
    say(f"{numbers['n']} pairs{groups}, {numbers['n_failed']} failed -> {json_file}")


def calibrated(detector: Detector, as_json: bool) -> None:
    """The last lines of calibrate."""
    found = detector.calibration
    assert found is not None
    if as_json:
        names = ("false_alarm_rate", "threshold", "rate_bound", "residual_threshold", "discrimination_threshold")
        counts = {"n_normal": len(found.scores), "n_groups": len(set(found.groups)) or len(found.scores)}
        print(json.dumps(counts | {name: getattr(found, name) for name in names}))
        return
    say(f"anomalous = score > {found.threshold:.6g}: {promise(found)}")


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
    if summary.promise:
        say(summary.promise)
    say(f"{', '.join(parts)} -> {table.path}")
    for each in others:
        say(f"  {f'{each.path.name}/' if each.path.is_dir() else each.path.name:<14} {each.caption}")


def evaluated(numbers: dict[str, Any], json_file: Path | None) -> None:
    """The table of evaluate."""
    rows = []
    for name in ("auroc", "average_precision", "f1", "detection_rate", "false_alarm_rate", "pixel_auroc", "aupro"):
        if numbers.get(name) is not None:
            low, high = numbers.get(f"{name}_low"), numbers.get(f"{name}_high")
            rows.append((name, f"{numbers[name]:.4f}", "" if low is None else f"{low:.4f} .. {high:.4f}"))
    for name in ("mean_residual_normal", "mean_residual_abnormal", "seconds_per_image"):
        rows.append((name, f"{numbers[name]:.4f}", ""))
    print_listing(Listing(("metric", "value", "95 % interval"), tuple(rows), len(rows), frozenset({"metric"})), console)
    if len(numbers["by_label"]) > 2:
        print_listing(_label_listing(numbers["by_label"]), console)
    for kind, row in numbers.get("by_unit", {}).items():
        say(_unit_line(kind, row))
    if numbers.get("clips"):
        print_listing(_clip_listing(numbers["clips"]), console)
    groups = f" of {numbers['n_groups']} groups" if numbers["intervals_by"] == "group" else ""
    say(
        f"{numbers['n_normal']} normal and {numbers['n_abnormal']} abnormal images{groups}, "
        f"{numbers['n_failed']} failed" + (f" -> {json_file}" if json_file else "")
    )


def _clip_listing(found: dict[str, Any]) -> Listing:
    """What was found in clips: frames, regions, alarms."""
    alarms, frames, regions = found["alarms"], found["frames"], found.get("regions")
    rows = [
        ("frame AUROC, all frames", _short(frames["auroc"]), _ends(frames, "auroc")),
        ("frame AUROC, mean of clips", _short(frames["macro_auroc"]), f"{frames['n_macro_clips']} clips"),
        ("equal error rate", _short(frames["equal_error_rate"]), ""),
    ]
    if "pixel_level" in found:
        rows.append(("pixel-level AUROC (40 %)", _short(found["pixel_level"]["auroc"]), ""))
    if regions:
        rows += [("RBDC", _short(regions["rbdc"]), ""), ("TBDC", _short(regions["tbdc"]), "")]
    rows += [
        ("events found", f"{alarms['n_found']} of {alarms['n_events']}", _ends(alarms, "recall")),
        ("delay, median, frames", _short(alarms["median_delay"]), f"longest {_short(alarms['longest_delay'])}"),
        ("false alarms", str(alarms["n_false"]), f"{_short(alarms['false_per_hour'])} an hour"),
    ]
    return Listing(("of clips", "value", "95 % interval"), tuple(rows), len(rows), frozenset({"of clips"}))


def _ends(row: dict[str, Any], name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return "" if low is None else f"{low:.4f} .. {high:.4f}"


def planted(numbers: dict[str, Any], json_file: Path) -> None:
    """The tables of evaluate --planted: of all defects, and of each kind."""
    found = numbers["planted"]
    measures, kinds = [], []
    auroc = {"median": found["auroc"], "low": found["auroc_low"], "high": found["auroc_high"], "n": found["n"]}
    for name, each in (*found["counterparts"].items(), ("AUROC, planted against untouched", auroc)):
        value, low, high = (_short(each[end]) for end in ("median", "low", "high"))
        measures.append((name, value, f"{low} .. {high}", str(each["n"])))
    for kind, own in found["by_kind"].items():
        shown = (own["counterparts"]["repair"]["median"], own["counterparts"]["contrast"]["median"], own["auroc"])
        kinds.append((kind, str(own["n"]), *map(_short, shown), _short(own["detection_rate"])))
    for words, columns, rows in (
        ("measure", ("measure", "median", "95 % interval", "images"), tuple(measures)),
        ("kind", ("kind", "images", "repair", "contrast", "AUROC", "flagged"), tuple(kinds)),
    ):
        print_listing(Listing(columns, rows, len(rows), frozenset({words})), console)
    rate = found["false_alarm_rate"]
    untouched = "" if rate is None else f", {rate:.1%} of them flagged untouched"
    say(
        f"{found['n_planted']} defects planted into {found['n_normal']} normal images{untouched}, "
        f"{found['n_failed']} failed -> {json_file}"
    )


def _short(value: float | None) -> str:
    """A number of JSON: None is one that is not finite."""
    return "-" if value is None else f"{value:.4g}"


def _unit_line(kind: str, row: dict[str, Any]) -> str:
    mixed = f", {row['n_mixed']} with both" if row["n_mixed"] else ""
    parts = [f"by {kind}: {row['n_normal']} normal and {row['n_abnormal']} abnormal{mixed}"]
    parts += [] if row["auroc"] is None else [f"AUROC {row['auroc']:.4f}"]
    for name in ("detection_rate", "false_alarm_rate"):
        if row[name] is not None:
            parts.append(f"{name} {row[name]:.4f} ({row[f'{name}_low']:.4f} .. {row[f'{name}_high']:.4f})")
    return "; ".join(parts)


def _label_listing(labels: dict[str, dict[str, Any]]) -> Listing:
    rows = []
    for label, row in labels.items():
        cells = [label + (" (normal)" if row["normal"] else ""), str(row["n"])]
        for value in (row.get("auroc"), row["mean_residual"], row.get("detection_rate")):
            cells.append("" if value is None or math.isnan(value) else f"{value:.4f}")
        rows.append(tuple(cells))
    names = ("label", "images", "AUROC", "mean residual", "flagged")
    return Listing(names, tuple(rows), len(rows), frozenset({"label"}))


def checked(found: dict[str, Any], written: list[Path], as_json: bool) -> None:
    """What check prints: what is there, and what to do."""
    if as_json:
        print(json.dumps(found))
        return
    say(found["summary"])
    for each in found["advice"]:
        say(f"- {each}")
    if not found["advice"]:
        say("nothing to do: ready to train on")
    for each in found["notes"]:
        say(each)
    for path in written:
        say(f"see {path}")


def detected(found: dict[str, Any], out: Path | None, as_json: bool) -> None:
    """What detectability prints: a sentence a kind."""
    if as_json:
        print(json.dumps(found))
        return
    for each in found["sentences"]:
        say(each)
    say(f"{found['defects']} defects in {found['hosts']} normal images" + (f" -> {out}" if out else ""))


def sampled(count: int, out: Path) -> None:
    """The last line of sample."""
    say(f"{count} new normal images -> {out}, grid.png shows the first {min(count, 64)}")


def described(description: dict[str, Any], as_json: bool) -> None:
    """What info prints."""
    if as_json:
        print(json.dumps(description))
        return
    for key, value in description.items():
        if isinstance(value, dict):
            say(f"{key}:")
            for inner, detail in value.items():
                if isinstance(detail, list) and len(detail) > 8:
                    detail = f"{len(detail)} values"
                say(clip(f"  {inner}: {detail}", _LONGEST))
        else:
            say(clip(f"{key}: {value}", _LONGEST))


def demonstrated(outcome: dict[str, Any], out: Path) -> None:
    """The last lines of demo."""
    say(outcome["what"], style="bold")
    evaluated(outcome["numbers"], None)
    say(f"see {out / 'figure.png'}; scores: {out / 'scores'}, curves: {out / 'evaluation'}")
