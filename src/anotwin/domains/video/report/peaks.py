"""The foremost events at their peaks: query, counterpart and heat, kept from a stream and drawn side by side."""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from anotwin.domains.video.events import Event, EventFinder
from anotwin.domains.video.report.tables import clock
from anotwin.domains.video.tracks import Box
from anotwin.records import Finding
from anotwin.report import scales
from anotwin.report.canvas import FAINT, box, font, shorten, write
from anotwin.report.choose import shrunk
from anotwin.report.overlay import UInt8, Window, display_window, overlay, to_display
from anotwin.report.scales import HEAD, Place
from anotwin.report.text import printable, short

MOST_SHOWN = 6  # events with pictures
OUTLINE = "#00FFFF"  # cyan: no colour of heat; as regions of surfaces are outlined

_THUMB_WIDTH, _THUMB_HEIGHT, _GAP = 1.28, 1.4, 0.06  # inches at most
_ALONE = 2.0  # times as large where there is one event
_BESIDE = 0.25  # between two events
_WORDS = 0.2  # above their pictures
_STROKE = [withStroke(linewidth=1.6, foreground="black")]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """An event at its peak."""

    event: Event
    finding: Finding  # pictures of at most a million pixels
    shape: tuple[int, ...]  # of the frame in the file


class PeakPictures:
    """The pictures of the foremost events at their peaks, from a stream and in bounded memory."""

    def __init__(self, most: int = MOST_SHOWN) -> None:
        self._most = most
        self._highest: tuple[Finding, tuple[int, ...]] | None = None  # of the event that goes on
        self._kept: list[Snapshot] = []

    def take(self, frame: int, finding: Finding, finder: EventFinder, told: Sequence[Event]) -> None:
        """Use a frame that `finder` has just taken, and what it told of; `finding` comes with its pictures."""
        for event in told:
            self.end(event)
        if finder.peak_frame == frame:
            shape = () if finding.query is None else finding.query.shape
            self._highest = shrunk(finding), shape

    def end(self, event: Event) -> None:
        """Keep the event if it is among the foremost: also those that `EventFinder.finish` tells of."""
        if not event.going_on and self._highest is not None:
            insort(self._kept, Snapshot(event, *self._highest), key=lambda each: -each.event.score)
            del self._kept[self._most :]
            self._highest = None

    @property
    def foremost(self) -> list[Snapshot]:
        """The events with the highest scores, the highest first."""
        return list(self._kept)


def blocks(shown: Sequence[Snapshot], top: float) -> list[list[Place]]:
    """Where the three pictures of each event are: two events side by side."""
    shapes = [each.shape for each in shown if each.shape] or [(3, 4)]
    aspect = float(np.median([shape[0] / shape[1] for shape in shapes]))
    width = min(_THUMB_WIDTH, _THUMB_HEIGHT / aspect) * (_ALONE if len(shown) == 1 else 1.0)
    across, down = 3 * _THUMB_WIDTH + 2 * _GAP + _BESIDE, width * aspect + HEAD + _WORDS + 0.14
    places = []
    for number in range(len(shown)):
        left, high = scales.LEFT + number % 2 * across, top + number // 2 * down + _WORDS + HEAD
        places.append([Place(left + each * (width + _GAP), high, width, width * aspect) for each in range(3)])
    return places


def draw_snapshot(
    figure: Figure, letter: str, snapshot: Snapshot, thumbs: Sequence[Place], window: Window | None
) -> None:
    event, finding = snapshot.event, snapshot.finding
    first = thumbs[0]
    when = f"{clock(event.start_s)} to {clock(event.end_s)}, peak {clock(event.peak_s)}: score {short(event.score)}"
    name = shorten(printable(event.clip), 24)
    write(figure, first.left, first.top - HEAD - 0.14, letter, size=8.5, ha="left", weight="bold")
    write(
        figure, first.left + 0.16, first.top - HEAD - 0.13, f"{name}, event {event.number}: {when}", size=7, ha="left"
    )
    limits = window or (display_window(finding.query) if finding.query is not None else (0.0, 255.0))
    for thumb, label, picture in zip(thumbs, ("query", "counterpart", "heat"), _pictures(finding, limits), strict=True):
        if picture is None:
            axes = box(figure, thumb.left, thumb.top, thumb.width, thumb.height)
            axes.set(xticks=[], yticks=[], facecolor="#EEEEEE")
            axes.text(0.5, 0.5, "none", ha="center", va="center", color=FAINT, fontproperties=font(6.5))
            write(figure, thumb.left, thumb.top - 0.05, label, size=7.5, ha="left", va="bottom")
        else:
            axes = scales.draw_picture(figure, thumb, picture, label)
            _outline(axes, event.box, snapshot.shape, picture.shape)


def _pictures(finding: Finding, limits: Window) -> list[UInt8 | None]:
    query, counterpart, heat = finding.query, finding.counterpart, finding.heatmap
    return [
        None if query is None else to_display(query, *limits),
        None if counterpart is None else to_display(counterpart, *limits),
        None if query is None or heat is None else overlay(query, heat, limits),
    ]


def _outline(axes: Axes, marked: Box | None, shape: tuple[int, ...], drawn: tuple[int, ...]) -> None:
    """The box around the region, in a picture that may be smaller than the frame."""
    if marked is None or not shape:
        return
    down, across = drawn[0] / shape[0], drawn[1] / shape[1]
    corner = marked.left * across - 0.5, marked.top * down - 0.5
    sides = (marked.right - marked.left) * across, (marked.bottom - marked.top) * down
    axes.add_patch(Rectangle(corner, *sides, fill=False, edgecolor=OUTLINE, linewidth=0.8, path_effects=_STROKE))
