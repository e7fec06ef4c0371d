"""Events as files and as lines: events.csv, events.json with all tracks, and what the terminal shows.

Boxes are half-open in pixels of the file: rows top to bottom - 1, columns left to right - 1. Frames are numbered from 0
in their clip, seconds count from its beginning.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from anotwin.domains.video.events import Event
from anotwin.domains.video.tracks import Box, Track
from anotwin.files import atomic_path
from anotwin.report.listing import Listing
from anotwin.report.rows import columns
from anotwin.report.text import encode, short

_DIGITS = 3  # of seconds
_HEAT_DIGITS = 4


@dataclass(frozen=True)
class EventRow:
    """One event in the table. What is not known is None, and an empty cell."""

    clip: str
    event: int  # of its clip, from 1
    start_frame: int
    end_frame: int
    peak_frame: int  # with the highest score
    start_s: float | None  # None: frames have no times
    end_s: float | None
    peak_s: float | None
    score: float  # the highest; higher is more abnormal
    threshold: float  # that it had to exceed
    top: int | None  # of the box at the peak; None: no region was marked
    left: int | None
    bottom: int | None
    right: int | None
    tracks: int  # things that were followed during the event


def event_row(event: Event, threshold: float) -> EventRow:
    """The row of an event.

    >>> event_row(Event("a.mp4", 1, 3, 9, 5, 0.3, 0.9, 0.5, 2.5, Box(0, 4, 8, 12, 3.0), ()), 1.2).right
    12
    """
    box = event.box
    return EventRow(
        clip=event.clip,
        event=event.number,
        start_frame=event.start_frame,
        end_frame=event.end_frame,
        peak_frame=event.peak_frame,
        start_s=_seconds(event.start_s),
        end_s=_seconds(event.end_s),
        peak_s=_seconds(event.peak_s),
        score=event.score,
        threshold=threshold,
        top=None if box is None else box.top,
        left=None if box is None else box.left,
        bottom=None if box is None else box.bottom,
        right=None if box is None else box.right,
        tracks=len(event.tracks),
    )


def write_event_table(events: Iterable[Event], threshold: float, path: Path) -> None:
    """``events.csv``, a row an event, as they come; whole or not at all. Raises DataError."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(encode([columns(EventRow)]))
        for each in events:
            file.write(encode([astuple(event_row(each, threshold))]))


def write_event_json(events: Iterable[Event], threshold: float, path: Path, info: Mapping[str, Any]) -> None:
    """``events.json``, as they come: `info` first, then events with their tracks. Whole or not at all.

    An event has the fields of `EventRow`, of its box one list ``box``: [top, left, bottom, right], ``going_on``, and
    ``tracks``: the event's own first, each a list of {frame, box, heat}.

    Raises:
        DataError: the disk refuses. ValueError, TypeError: `info` holds what JSON cannot.
    """
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", errors="backslashreplace") as file:
        head = json.dumps({"info": dict(info)}, ensure_ascii=False, allow_nan=False)
        file.write(head[:-1] + ',\n"events": [')
        for number, each in enumerate(events):
            text = json.dumps(event_json(each, threshold), ensure_ascii=False, allow_nan=False)
            file.write((",\n" if number else "\n") + text)
        file.write("\n]}\n")


def event_json(event: Event, threshold: float) -> dict[str, Any]:
    """An event as JSON values, for events.json and for programs that listen."""
    row = vars(event_row(event, threshold)).items()
    fields = {key: _known(value) for key, value in row if key not in ("top", "left", "bottom", "right", "tracks")}
    box = None if event.box is None else _corners(event.box)
    return fields | {"box": box, "going_on": event.going_on, "tracks": [_track(each) for each in event.tracks]}


def event_line(event: Event, threshold: float) -> str:
    """An event in a line, as it begins and as it ends; names in it are as they came: print it by `report.terminal`.

    >>> event_line(Event("gate", 2, 30, 84, 41, 3.0, 8.4, 4.1, 2.5, Box(90, 40, 130, 70, 3.0), ()), 1.2)
    'gate: event 2 from 0:03.0 to 0:08.4 (frames 30 to 84), score 2.5 > 1.2 at 0:04.1, rows 90 to 129, columns 40 to 69'
    """
    box = event.box
    where = "" if box is None else f", rows {box.top} to {box.bottom - 1}, columns {box.left} to {box.right - 1}"
    if event.going_on:
        when = f"began at {clock(event.start_s)} (frame {event.start_frame}), score {short(event.score)}"
        return f"{event.clip}: event {event.number} {when} > {short(threshold)}{where}"
    when = f"from {clock(event.start_s)} to {clock(event.end_s)} (frames {event.start_frame} to {event.end_frame})"
    score = f"score {short(event.score)} > {short(threshold)} at {clock(event.peak_s)}"
    return f"{event.clip}: event {event.number} {when}, {score}{where}"


def event_listing(events: Sequence[Event], total: int) -> Listing:
    """Events for the terminal, those with the highest scores first; `total`: of how many."""
    names = ("clip", "event", "from", "to", "score", "peak", "top", "left", "bottom", "right")
    cells = [
        (
            each.clip,
            str(each.number),
            clock(each.start_s),
            clock(each.end_s),
            short(each.score),
            clock(each.peak_s),
            *(("", "", "", "") if each.box is None else map(str, _corners(each.box))),
        )
        for each in sorted(events, key=lambda event: -event.score)
    ]
    return Listing(names, tuple(cells), total, frozenset({"clip"}))


def clock(seconds: float) -> str:
    """Seconds as a person reads them; "" where they are not known.

    >>> clock(3.04), clock(59.97), clock(3725.5), clock(float("nan"))
    ('0:03.0', '1:00.0', '1:02:05.5', '')
    """
    if not math.isfinite(seconds):
        return ""
    tenths = round(seconds * 10)
    sign, tenths = ("-", -tenths) if tenths < 0 else ("", tenths)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    past = f"{rest // 10:02d}.{rest % 10}"
    return f"{sign}{hours}:{minutes:02d}:{past}" if hours else f"{sign}{minutes}:{past}"


def _seconds(value: float) -> float | None:
    return round(value, _DIGITS) if math.isfinite(value) else None


def _corners(box: Box) -> list[int]:
    return [int(side) for side in (box.top, box.left, box.bottom, box.right)]


def _track(track: Track) -> list[dict[str, Any]]:
    return [
        {"frame": frame, "box": _corners(box), "heat": _known(round(float(box.peak), _HEAT_DIGITS))}
        for frame, box in track
    ]


def _known(value: Any) -> Any:
    """What JSON can hold of a value: None for a number that is not finite."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
