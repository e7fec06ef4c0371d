"""Events: how many intruders raise an alarm, how soon, and how many alarms are false.

Times of predicted and true events are in one unit, frames or seconds from the beginning of the clip, and both ends
belong to an event. An alarm overlaps a true event of its clip where they have a moment in common; an alarm that
overlaps none is false.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from scipy import stats

from anotwin.errors import DataError, SettingsError
from anotwin.evaluate import metrics
from anotwin.evaluate.paired import Estimate
from anotwin.evaluate.run import strict
from anotwin.evaluate.tracks import OVERLAP, PredictedRegion, TruthRegion, matches


@dataclass(frozen=True, slots=True)
class PredictedEvent:
    """An alarm."""

    clip: str
    start: float
    end: float  # >= start; inclusive


@dataclass(frozen=True, slots=True)
class TruthEvent:
    """Something abnormal, from where it comes into view until it leaves."""

    clip: str
    first: float
    last: float  # >= first; inclusive
    fully_visible_from: float | None  # from first to last; None: it never is, and delays count from first


@dataclass(frozen=True)
class AlarmEvaluation:
    """What alarms are worth. ``*_low`` and ``*_high``: 95 % intervals; NaN: undefined."""

    n_events: int  # true ones
    n_found: int  # of them: some alarm overlaps them
    recall: float
    recall_low: float
    recall_high: float
    delays: tuple[float | None, ...]  # of each true event, see `delay`; None: missed
    median_delay: float  # of the events found
    longest_delay: float  # of the events found
    n_alarms: int
    n_false: int  # alarms that overlap no true event
    normal_hours: float
    false_per_hour: float
    false_per_hour_low: float
    false_per_hour_high: float

    def as_dict(self) -> dict[str, Any]:
        """Strict JSON: NaN becomes None."""
        return dict(strict(vars(self) | {"delays": list(self.delays)}))


def evaluate_alarms(
    predicted: Sequence[PredictedEvent], truth: Sequence[TruthEvent], normal_hours: float
) -> AlarmEvaluation:
    """Compare alarms with what is truly there.

    The interval of the recall is exact, for as many independent events as there are where clips have several
    (`metrics.group_proportion_interval`); that of the false alarms is `alarms_per_hour`.

    Args:
        predicted: alarms, in any order.
        truth: true events, in any order; one interval each, in the unit of the alarms.
        normal_hours: of footage in which false alarms may be: all of it but the true events; >= 0.

    Raises:
        DataError: an event that ends before it starts, or is fully visible outside of its time.
        SettingsError: hours below 0.

    >>> alarms = [PredictedEvent("a", 12, 30), PredictedEvent("b", 1, 2)]
    >>> found = evaluate_alarms(alarms, [TruthEvent("a", 8, 40, 10), TruthEvent("a", 50, 60, 50)], normal_hours=0.5)
    >>> found.recall, found.delays, found.n_false, found.false_per_hour
    (0.5, (2, None), 1, 2.0)
    """
    for event in predicted:
        if not event.start <= event.end:
            raise DataError(
                f"{event.clip}: alarm from {event.start} to {event.end}; expected an end at or after its start"
            )
    for each in truth:
        if not each.first <= _visible_from(each) <= each.last:
            raise DataError(
                f"{each.clip}: event from {each.first} to {each.last}, fully visible from {each.fully_visible_from}; "
                "expected first <= fully visible <= last"
            )
    delays = tuple(delay(predicted, event) for event in truth)
    known, found = [value for value in delays if value is not None], [value is not None for value in delays]
    low, high = metrics.group_proportion_interval(found, [event.clip for event in truth])
    n_false = sum(not any(_overlap(alarm, event) for event in truth) for alarm in predicted)
    rate = alarms_per_hour(n_false, normal_hours)
    return AlarmEvaluation(
        n_events=len(truth),
        n_found=len(known),
        recall=len(known) / len(truth) if truth else math.nan,
        recall_low=low,
        recall_high=high,
        delays=delays,
        median_delay=float(median(known)) if known else math.nan,
        longest_delay=float(max(known)) if known else math.nan,
        n_alarms=len(predicted),
        n_false=n_false,
        normal_hours=normal_hours,
        false_per_hour=rate.value,
        false_per_hour_low=rate.low,
        false_per_hour_high=rate.high,
    )


def delay(predicted: Sequence[PredictedEvent], event: TruthEvent) -> float | None:
    """From the moment at which `event` is fully visible to the first moment of it with an alarm; None if missed.

    Negative where an alarm came before, also one that was on for something else when the event began.

    >>> delay([PredictedEvent("a", 3, 4), PredictedEvent("a", 14, 20)], TruthEvent("a", 5, 30, 9))
    5
    """
    starts = [max(alarm.start, event.first) for alarm in predicted if _overlap(alarm, event)]
    return min(starts) - _visible_from(event) if starts else None


def alarms_per_hour(count: int, hours: float, confidence: float = 0.95) -> Estimate:
    """Alarms in an hour with the exact interval of a Poisson rate (Garwood 1936); NaN without footage.

    Exact for alarms that come independently of each other; those of one cause come together and make it too narrow.

    Args:
        count: alarms counted, >= 0.
        hours: of footage, >= 0.
        confidence: in (0, 1).

    Raises:
        SettingsError: a value out of range.

    >>> rate = alarms_per_hour(0, 1.5)
    >>> rate.value, rate.low, round(rate.high, 2)
    (0.0, 0.0, 2.46)
    """
    if count < 0 or not 0 <= hours < math.inf or not 0 < confidence < 1:
        raise SettingsError(
            f"alarms: count and hours must be >= 0 and confidence between 0 and 1; got {count}, {hours}, {confidence}"
        )
    if hours == 0:
        return Estimate(*[math.nan] * 3)
    tail = (1 - confidence) / 2
    low = float(stats.chi2.ppf(tail, 2 * count)) / 2 if count else 0.0
    high = float(stats.chi2.ppf(1 - tail, 2 * count + 2)) / 2
    return Estimate(count / hours, low / hours, high / hours)


def truth_events(
    regions: Sequence[TruthRegion], height: int, width: int, margin: float = 2.0, steady: int = 3
) -> dict[tuple[str, int], TruthEvent]:
    """The event of each track, by clip and track in the order of the regions, in frames: from its first to its last.

    It is fully visible from the first frame from which on its box is `margin` or more away from all sides of the image
    for some frames or, if it never is, in which its box is largest.

    Args:
        regions: of all clips, in any order.
        height, width: of the images.
        margin: in pixels; masks drawn by hand end a pixel before the side through which something is coming in.
        steady: that many of its regions, or all that are left; drawn masks jump back to the side, too.

    >>> boxes = [(2, 0, 6, 3), (2, 0, 6, 5), (2, 3, 6, 8)]  # comes in from the left
    >>> truth_events([TruthRegion("a", 7 + k, box, 1) for k, box in enumerate(boxes)], height=20, width=30)
    {('a', 1): TruthEvent(clip='a', first=7, last=9, fully_visible_from=9)}
    """
    tracks: dict[tuple[str, int], list[TruthRegion]] = {(each.clip, each.track): [] for each in regions}
    for region in sorted(regions, key=lambda each: each.frame):
        tracks[region.clip, region.track].append(region)
    events = {}
    for (clip, track), own in tracks.items():
        inside = [_inside(each, height, width, margin) for each in own]
        starts = [each for place, each in enumerate(own) if all(inside[place : place + steady])]
        full = starts[0] if starts else max(own, key=_area)  # the first of equal ones
        events[clip, track] = TruthEvent(clip, own[0].frame, own[-1].frame, full.frame)
    return events


def track_coverage(
    predicted: Sequence[PredictedRegion], truth: Sequence[TruthRegion], overlap: float = OVERLAP
) -> dict[tuple[str, int], float]:
    """Share of the frames of each track, by clip and track, in which a predicted region overlaps one of its regions.

    Args:
        predicted: those that count, whatever their score.
        truth: regions with tracks.
        overlap: least IoU of boxes, in [0, 1]; 0: they share some area.

    Raises:
        DataError: an empty box.

    >>> truth = [TruthRegion("a", frame, (0, 0, 10, 10), 7) for frame in range(4)]
    >>> track_coverage([PredictedRegion("a", 3, (0, 0, 5, 10), 1.0)], truth)
    {('a', 7): 0.25}
    """
    _, found = matches(predicted, truth, overlap)
    overlapped: dict[tuple[str, int], set[int]] = {}
    frames: dict[tuple[str, int], set[int]] = {}
    for region in truth:
        frames.setdefault((region.clip, region.track), set()).add(region.frame)
    for region in (truth[place] for place in set(found.tolist())):
        overlapped.setdefault((region.clip, region.track), set()).add(region.frame)
    return {track: len(overlapped.get(track, ())) / len(own) for track, own in frames.items()}


def _overlap(alarm: PredictedEvent, event: TruthEvent) -> bool:
    return alarm.clip == event.clip and alarm.start <= event.last and alarm.end >= event.first


def _visible_from(event: TruthEvent) -> float:
    return event.first if event.fully_visible_from is None else event.fully_visible_from


def _inside(region: TruthRegion, height: int, width: int, margin: float) -> bool:
    top, left, bottom, right = region.box
    return min(top, left, height - bottom, width - right) >= margin


def _area(region: TruthRegion) -> float:
    top, left, bottom, right = region.box
    return (bottom - top) * (right - left)
