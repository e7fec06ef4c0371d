"""The course of the score over time, when there were events, and what was seen at the peaks of the foremost ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter

from anotwin.domains.video.events import Event, EventSettings
from anotwin.domains.video.report.peaks import MOST_SHOWN, Snapshot, blocks, draw_snapshot
from anotwin.domains.video.report.tables import clock
from anotwin.errors import DataError
from anotwin.report import scales
from anotwin.report.canvas import (
    BLUE,
    FAINT,
    INK,
    VERMILLION,
    box,
    font,
    new_figure,
    plain,
    save_figure,
    shorten,
    tidy,
)
from anotwin.report.overlay import Window, overlay_map
from anotwin.report.text import printable, short

Floats = npt.NDArray[np.float64]
LETTERS = "ABCDEF"
SPAN = "#F6D5C2"  # of an event: pale vermillion
UNSCORED = "#DDDDDD"  # grey

_MARGIN, _WIDTH, _HEIGHT = 0.6, 8.6, 1.8  # inches: left of the course, and its sides
_KEYS, _LETTER_ROOM = 0.24, 0.28  # above the course: its keys and letters
_TIMES, _NAMES = 0.5, 0.3  # below it: times, or names of clips
_UPRIGHT, _LETTERS = 0.5, 14  # clips narrower than that have upright names, of so many letters
_CHARACTER = 0.075  # of a name
_LETTER = 0.15  # from one letter to the next
_MOST_POINTS = 2000  # of the course: more than a screen has columns


@dataclass(frozen=True, eq=False)
class Course:
    """The frames of one clip in order."""

    clip: str
    seconds: Floats  # (n,) from its beginning, ascending
    scores: Floats  # (n,) NaN: the frame has no score
    events: Sequence[Event] = ()


def timeline_figure(
    courses: Sequence[Course],
    snapshots: Sequence[Snapshot],
    path: str | Path,
    settings: EventSettings | None = None,
    title: str | None = None,
    window: Window | None = None,
) -> None:
    """Draw the scores of clips one after another, their events, and the foremost events at their peaks.

    Args:
        courses: of one clip, or of several: they stand side by side in this order.
        snapshots: of events of these clips; the six with the highest scores are shown, by their time.
        path: ``.png``, ``.pdf`` or ``.svg``.
        settings: the levels at which events begin and end; None: no lines.
        title: one line above the figure.
        window: native values that pictures show as black and white; None: chosen for each event by itself.

    Raises:
        DataError: no frames, or the disk refuses.
    """
    if not any(len(each.scores) for each in courses):
        raise DataError(f"{path}: no frames of {len(courses)} clips to draw; expected at least one")
    place = {each.clip: number for number, each in enumerate(courses)}
    shown = sorted((each for each in snapshots if each.event.clip in place), key=lambda each: -each.event.score)
    shown = sorted(shown[:MOST_SHOWN], key=lambda each: (place[each.event.clip], each.event.start_frame))
    top = 0.1 + (0.22 if title else 0.0) + _KEYS + (_LETTER_ROOM if shown else 0.0)
    starts = _starts(courses)
    below = top + _HEIGHT + _room_below(courses, starts)
    places = blocks(shown, below)
    bottom = max((thumbs[-1].bottom + 0.12 for thumbs in places), default=below)
    figure = new_figure(_MARGIN + _WIDTH + 0.2, bottom)
    scales.draw_title(figure, title)
    course = box(figure, _MARGIN, top, _WIDTH, _HEIGHT)
    _draw_courses(course, courses, starts, settings)
    _draw_keys(course, courses, settings, _LETTER_ROOM if shown else 0.04)
    _draw_letters(course, shown, [starts[place[each.event.clip]] for each in shown])
    for letter, snapshot, thumbs in zip(LETTERS, shown, places, strict=False):
        draw_snapshot(figure, letter, snapshot, thumbs, window)
    if places:
        scales.draw_heat_bar(
            figure, max((thumbs[-1] for thumbs in places[:2]), key=lambda each: each.left), overlay_map()
        )
    save_figure(figure, path)


def _starts(courses: Sequence[Course]) -> list[float]:
    """Where each clip begins, and the last one ends, in seconds of the axis."""
    return [0.0, *accumulate(_last(each.seconds) + _step(each.seconds) for each in courses)]


def _are_narrow(starts: Sequence[float]) -> bool:
    return min(after - before for before, after in pairwise(starts)) / starts[-1] * _WIDTH < _UPRIGHT


def _room_below(courses: Sequence[Course], starts: Sequence[float]) -> float:
    """Inches for what is written below the course."""
    if len(courses) == 1:
        return _TIMES
    longest = min(max(len(each.clip) for each in courses), _LETTERS)
    return 0.2 + _CHARACTER * longest if _are_narrow(starts) else _NAMES


def _draw_courses(
    axes: Axes, courses: Sequence[Course], starts: Sequence[float], settings: EventSettings | None
) -> None:
    """Scores, events and levels."""
    least = starts[-1] / 600  # an event of a second in an hour is seen too
    for course, start in zip(courses, starts, strict=False):
        step = _step(course.seconds)
        for event in course.events:
            middle, half = start + (event.start_s + event.end_s) / 2, max(event.duration + step, least) / 2
            axes.axvspan(middle - half, middle + half, color=SPAN, linewidth=0, zorder=0)
        for first, last in _runs(np.isnan(course.scores)):
            ends = start + course.seconds[first] - step / 2, start + course.seconds[last] + step / 2
            axes.axvspan(*ends, color=UNSCORED, linewidth=0, zorder=0)
        axes.plot(*_thinned(course, start), color=BLUE, linewidth=0.9, zorder=3)
    if settings is not None:
        axes.axhline(settings.enter, color=VERMILLION, linewidth=1.0, zorder=2)
        axes.axhline(settings.leave, color=VERMILLION, linewidth=0.8, linestyle=(0, (4, 3)), zorder=2)
    _set_limits(axes, courses, settings, starts[-1])
    tidy(axes, "", "score")
    if len(courses) == 1:
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: clock(value).removesuffix(".0")))
        axes.set_xlabel(f"time in {plain(shorten(printable(courses[0].clip), 80))}", fontproperties=font(8), color=INK)
    else:
        _name_clips(axes, courses, starts)


def _set_limits(axes: Axes, courses: Sequence[Course], settings: EventSettings | None, end: float) -> None:
    scores = np.concatenate([each.scores for each in courses])
    levels = [settings.enter, settings.leave] if settings is not None else []
    seen = np.array([0.0, *scores[np.isfinite(scores)], *(level for level in levels if np.isfinite(level))])
    low, high = float(seen.min()), float(seen.max())
    room = (high - low or 1.0) * 0.06
    axes.set(xlim=(0.0, end), ylim=(low - (room if low < 0 else 0.0), high + room))


def _draw_keys(axes: Axes, courses: Sequence[Course], settings: EventSettings | None, above: float) -> None:
    """What lines and areas mean, in a row so many inches above the course."""
    keys: list[tuple[Any, str]] = [(axes.lines[0], "score of the frame")]
    if settings is not None:
        begins, goes_on = axes.lines[len(courses) : len(courses) + 2]
        keys.append((begins, f"begins above {short(settings.enter)}"))
        keys.append((goes_on, f"goes on above {short(settings.leave)}"))
    count = sum(len(each.events) for each in courses)
    keys.append((Rectangle((0, 0), 1, 1, color=SPAN), f"{count} event{'' if count == 1 else 's'}"))
    if any(np.isnan(each.scores).any() for each in courses):
        keys.append((Rectangle((0, 0), 1, 1, color=UNSCORED), "no score"))
    handles, names = zip(*keys, strict=True)
    axes.legend(
        handles, names, loc="lower left", bbox_to_anchor=(0.0, 1.0 + above / _HEIGHT), ncols=len(keys), frameon=False,
        prop=font(7), borderaxespad=0.0, handlelength=1.6, columnspacing=1.4, borderpad=0.1,
    )  # fmt: skip


def _name_clips(axes: Axes, courses: Sequence[Course], starts: Sequence[float]) -> None:
    """A line between clips, and the names of those that are wide enough below."""
    for start in starts[1:-1]:
        axes.axvline(start, color=FAINT, linewidth=0.5, zorder=1)
    inches = [(after - before) / starts[-1] * _WIDTH for before, after in pairwise(starts)]
    upright = _are_narrow(starts)
    letters = [_LETTERS if upright else int(room / _CHARACTER) for room in inches]
    middles = [(before + after) / 2 for before, after in pairwise(starts)]
    named = [place for place, room in enumerate(inches) if room > 0.12]
    names = [plain(shorten(printable(courses[place].clip), letters[place])) for place in named]
    axes.set_xticks([middles[place] for place in named], names, rotation=90 if upright else 0)
    axes.tick_params(axis="x", length=0)


def _draw_letters(axes: Axes, shown: Sequence[Snapshot], starts: Sequence[float]) -> None:
    """A letter above each event that is shown below, moved aside where they are close, with a line to its peak."""
    (_, end), (low, high) = axes.get_xlim(), axes.get_ylim()
    least = _LETTER / _WIDTH * end
    above = high + (high - low) * 0.16 / _HEIGHT
    places: list[float] = []
    for snapshot, start in zip(shown, starts, strict=True):
        peak = start + snapshot.event.peak_s
        places.append(max(peak, places[-1] + least) if places else peak)
    for back in range(len(places) - 1, -1, -1):  # those at the right end, back into the figure
        limit = places[back + 1] - least if back + 1 < len(places) else end
        places[back] = min(places[back], limit)
    for letter, place, snapshot, start in zip(LETTERS, places, shown, starts, strict=False):
        ends = [place, start + snapshot.event.peak_s], [high + (high - low) * 0.02, min(snapshot.event.score, high)]
        axes.plot(*ends, color=INK, linewidth=0.5, clip_on=False, zorder=4)
        style: dict[str, Any] = {"ha": "center", "va": "center", "color": INK, "fontproperties": font(8, "bold")}
        axes.text(place, above, letter, **style)


def _thinned(course: Course, start: float) -> tuple[Floats, Floats]:
    """Times and scores to draw; of more points than can be seen the highest of each few."""
    many = -(-len(course.scores) // _MOST_POINTS)
    if many <= 1:
        return start + course.seconds, course.scores
    whole = len(course.scores) // many * many
    scores = np.fmax.reduce(course.scores[:whole].reshape(-1, many), axis=1)  # NaN where all are
    return start + course.seconds[:whole:many], scores


def _step(seconds: Floats) -> float:
    """From frame to frame."""
    return float(np.median(np.diff(seconds))) if len(seconds) > 1 else 1.0


def _last(seconds: Floats) -> float:
    return float(seconds[-1]) if len(seconds) else 0.0


def _runs(where: npt.NDArray[Any]) -> list[tuple[int, int]]:
    """The first and the last place of each stretch of True."""
    edges = np.flatnonzero(np.diff(np.pad(where, 1).astype(np.int8))).reshape(-1, 2)
    return [(first, last - 1) for first, last in edges.tolist()]
