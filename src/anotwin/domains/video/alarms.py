"""From the scores of held-out normal clips to when an event is an alarm."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from anotwin.calibrate.alarms import alarm_rate
from anotwin.domains.video.clips import ASSUMED_RATE
from anotwin.domains.video.context import clips_of
from anotwin.domains.video.events import EventSettings, alarm_count
from anotwin.records import Alarms, Array, ImageSource
from anotwin.settings import Settings

LEAST_SECONDS, BRIDGE_SECONDS = 0.2, 1.0  # of an event, and below its lower threshold until it ends
LEAVE = 0.25  # of the way from the threshold down to what half of the normal frames score


def alarms_of(source: ImageSource, scores: Mapping[int, float], settings: Settings) -> Alarms | None:
    """The threshold for `calibration.alarms_per_hour` from normal frames, by index; None without any score.

    Where no rate is wished for, it is one alarm in as much normal footage as was held out: a rarer one can only be
    extrapolated, and costs intruders.

    Raises DataError for scores that are infinite.
    """
    known = {index: score for index, score in scores.items() if not math.isnan(score)}
    clips = [clip for clip in clips_of(source) if any(clip.first + n in known for n in range(clip.count))]
    if not clips:
        return None
    courses = [np.array([known.get(clip.first + n, np.nan) for n in range(clip.count)]) for clip in clips]
    judged = [int(np.count_nonzero(~np.isnan(course))) for course in courses]
    rate = sum(judged) / sum(count / (clip.rate or ASSUMED_RATE) for clip, count in zip(clips, judged, strict=True))
    middle = float(np.nanmedian(np.concatenate(courses)))
    least, bridge = (max(1, round(seconds * rate)) for seconds in (LEAST_SECONDS, BRIDGE_SECONDS))

    def events(course: Array, threshold: float) -> int:
        return alarm_count(course, EventSettings(threshold, leave_of(threshold, middle), least, bridge))

    wish = settings.calibration.alarms_per_hour or 3600 * rate / sum(judged)  # no rarer than the footage can show
    found = alarm_rate(courses, rate, events, wish, gap=bridge)
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
