"""Events: when something that does not belong is in view of a camera, where it is, and how it moves.

Frame by frame and from the past alone, so that an event of a file is found exactly as that of a live camera is. Scores
are smoothed in time already, causally, by the view.

    begins    with the first frame whose score is above `enter`, the calibrated threshold
    goes on   while scores are above `leave`, which is lower: a score that wavers about one level is not many events
    ends      after `bridge` frames in a row that are not above `leave`; the last that was is its end
    counts    with `least_frames` frames above `leave`; only then it is told of, and has a number

A frame without a score (NaN) neither begins nor ends anything. The regions of an event are linked into tracks (see
tracks.py): two bicycles at a time are one event and two tracks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from anotwin.domains.video.tracks import Box, Track, Tracker
from anotwin.errors import SettingsError


@dataclass(frozen=True)
class EventSettings:
    """When an event begins and ends; scores are compared with `enter` and `leave`, frames are counted."""

    enter: float  # begins above it
    leave: float  # at most `enter`; goes on above it
    least_frames: int = 1  # above `leave`; shorter events are dropped
    bridge: int = 1  # frames in a row not above `leave` that end it

    def __post_init__(self) -> None:
        if not self.leave <= self.enter:
            raise SettingsError(f"events: leave ({self.leave}) must be a number not above enter ({self.enter})")
        if self.least_frames < 1 or self.bridge < 1:
            got = f"{self.least_frames} and {self.bridge}"
            raise SettingsError(f"events: least_frames and bridge must be at least 1, got {got}")


@dataclass(frozen=True)
class Event:
    """Something that does not belong, from when to when. Frames are numbered from 0 in their clip."""

    clip: str
    number: int  # of its clip, from 1
    start_frame: int
    end_frame: int
    peak_frame: int  # with the highest score
    start_s: float  # seconds from the beginning of the clip
    end_s: float
    peak_s: float
    score: float  # the highest
    box: Box | None  # of its own track at the peak, or nearest to it in time; None: no region was marked
    tracks: tuple[Track, ...]  # the event's own first, which has the highest heat; then by their beginnings
    going_on: bool = False  # True: it has begun and not ended; everything is what is known so far

    @property
    def track(self) -> Track:
        """The event's own."""
        return self.tracks[0] if self.tracks else ()

    @property
    def duration(self) -> float:
        """Seconds from its first frame to its last."""
        return self.end_s - self.start_s


class EventFinder:
    """The events of one clip or camera, frame by frame."""

    def __init__(self, clip: str, settings: EventSettings) -> None:
        self._clip, self._settings = clip, settings
        self._course = _Course(settings)
        self._event: _OpenEvent | None = None
        self._number = 0  # of the last event that was told of

    def take(self, frame: int, time: float, score: float, regions: Sequence[Box] = ()) -> list[Event]:
        """Use the next frame; returns events that began to count (`going_on`) or ended with it.

        Args:
            frame: its number in the clip, above that of the frame before; numbers may be left out.
            time: seconds from the beginning of the clip.
            score: of the frame, smoothed; higher is more abnormal; NaN: it has none.
            regions: what is marked in the frame, each with its peak.
        """
        told: list[Event] = []
        frame, time, score = int(frame), float(time), float(score)  # of numpy: an event is kept as JSON
        if math.isnan(score):
            return told
        if score > self._settings.leave:
            counted = self._course.counts
            self._course.above(score)
            if self._course.open and self._event is None:
                self._event = _OpenEvent(self._settings.bridge)
            if self._event is not None:
                self._event.take(frame, time, score, regions)
            if self._course.counts and not counted:
                self._number += 1
                told.append(self._told(going_on=True))
        elif self._event is not None:
            self._event.link(frame, regions)
            counted = self._course.counts
            self._course.below(1)
            if not self._course.open:
                told += self._end(counted)
        return told

    @property
    def peak_frame(self) -> int | None:
        """The highest frame so far of the event that goes on, also before it counts; None: there is none."""
        return None if self._event is None else self._event.peak_frame

    def finish(self) -> list[Event]:
        """End what goes on: the clip is over, or the camera is gone. More frames may follow, with higher numbers."""
        counted = self._course.counts
        self._course.below(self._settings.bridge)
        return self._end(counted)

    def _end(self, counted: bool) -> list[Event]:
        told = [self._told(going_on=False)] if counted else []
        self._event = None
        return told

    def _told(self, going_on: bool) -> Event:
        assert self._event is not None
        return self._event.told(self._clip, self._number, going_on)


def alarm_count(scores: Sequence[float] | npt.NDArray[Any], settings: EventSettings) -> int:
    """How many events a clip has that `EventFinder` tells of, from its frame scores (n,) alone; NaN as there.

    >>> alarm_count([0, 5, 3, 3, 0, 5, 0, 0, 5], EventSettings(enter=4, leave=2, least_frames=1, bridge=2))
    2
    """
    values = np.asarray(scores, np.float64)
    values = values[~np.isnan(values)]
    above = np.flatnonzero(values > settings.leave)
    course, count = _Course(settings), 0
    for between, score in zip((np.diff(above, prepend=-1) - 1).tolist(), values[above].tolist(), strict=True):
        course.below(between)
        counted = course.counts
        course.above(score)
        count += course.counts and not counted
    return count


class _Course:
    """Whether there is an event, and whether it counts, from the scores alone: what finder and calibration share."""

    def __init__(self, settings: EventSettings) -> None:
        self._settings = settings
        self._frames = 0  # of the event above `leave`; 0: there is none
        self._below = 0  # frames in a row

    @property
    def open(self) -> bool:
        return self._frames > 0

    @property
    def counts(self) -> bool:
        return self._frames >= self._settings.least_frames

    def above(self, score: float) -> None:
        """A frame above `leave`."""
        if self._frames or score > self._settings.enter:
            self._frames += 1
            self._below = 0

    def below(self, frames: int) -> None:
        """So many frames in a row that are not."""
        self._below += frames
        if self._below >= self._settings.bridge:
            self._frames = 0


class _OpenEvent:
    """What is known of an event that goes on."""

    def __init__(self, patience: int) -> None:
        self._tracker = Tracker(patience)
        self._start: tuple[int, float] | None = None  # frame, seconds
        self._end = (0, math.nan)
        self._peak = (0, math.nan)
        self._score = -math.inf

    @property
    def peak_frame(self) -> int:
        return self._peak[0]

    def take(self, frame: int, time: float, score: float, regions: Sequence[Box]) -> None:
        """A frame of the event."""
        self._start = self._start or (frame, time)
        self._end = frame, time
        if score > self._score:
            self._peak, self._score = (frame, time), score
        self.link(frame, regions)

    def link(self, frame: int, regions: Sequence[Box]) -> None:
        """Only follow its regions: whether the frame belongs to it shows later."""
        self._tracker.take(frame, regions)

    def told(self, clip: str, number: int, going_on: bool) -> Event:
        assert self._start is not None
        tracks = self._tracker.tracks(self._end[0])
        track = tracks[0] if tracks else ()
        nearest = min(track, key=lambda point: abs(point[0] - self._peak[0]), default=None)
        return Event(
            clip=clip,
            number=number,
            start_frame=self._start[0],
            end_frame=self._end[0],
            peak_frame=self._peak[0],
            start_s=self._start[1],
            end_s=self._end[1],
            peak_s=self._peak[1],
            score=self._score,
            box=None if nearest is None else nearest[1],
            tracks=tracks,
            going_on=going_on,
        )
