"""From the scores of held-out normal clips to when an event is an alarm."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from anotwin.calibrate.alarms import alarm_rate
from anotwin.domains.video.context import clips_of
from anotwin.domains.video.events import EventSettings, alarm_count
from anotwin.records import Alarms, Array, ImageSource
from anotwin.settings import Settings

RATE = 10.0  # frames a second where nobody knows, as of UCSD's clips
LEAST_SECONDS, BRIDGE_SECONDS = 0.2, 1.0  # of an event, and below its lower threshold until it ends
LEAVE = 0.25  # of the way from the threshold down to what half of the normal frames score


def alarms_of(source: ImageSource, scores: Mapping[int, float], settings: Settings) -> Alarms | None:
    """The threshold for `calibration.alarms_per_hour` from normal frames, by index; None without any score.

    Raises DataError for scores that are infinite.
    """
    clips = [clip for clip in clips_of(source) if any(clip.first + n in scores for n in range(clip.count))]
    if not clips:
        return None
    courses = [np.array([scores.get(clip.first + n, np.nan) for n in range(clip.count)]) for clip in clips]
    rate = float(np.mean([clip.rate or RATE for clip in clips]))
    middle = float(np.nanmedian(np.concatenate(courses)))
    least, bridge = (max(1, round(seconds * rate)) for seconds in (LEAST_SECONDS, BRIDGE_SECONDS))

    def events(course: Array, threshold: float) -> int:
        return alarm_count(course, EventSettings(threshold, leave_of(threshold, middle), least, bridge))

    found = alarm_rate(courses, rate, events, settings.calibration.alarms_per_hour, gap=bridge)
    return Alarms(
        wish=found.wish,
        threshold=found.threshold,
        leave=leave_of(found.threshold, middle),
        least_frames=least,
        bridge=bridge,
        expected=found.expected,
        bound=found.bound,
        hours=found.hours,
        promise=found.promise,
    )


def leave_of(threshold: float, middle: float) -> float:
    """The lower threshold of events; at most the upper one."""
    return min(threshold, threshold - LEAVE * (threshold - middle))


def event_settings(alarms: Alarms) -> EventSettings:
    """What finds the events that these alarms are."""
    return EventSettings(alarms.threshold, alarms.leave, alarms.least_frames, alarms.bridge)
