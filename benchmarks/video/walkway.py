"""Part `walkway`: intruders of each kind on a synthetic walkway, and false alarms on long footage without any."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from anotwin import Detector
from anotwin.domains.video.alarms import event_settings
from anotwin.domains.video.clips import ASSUMED_RATE as RATE
from anotwin.domains.video.events import EventFinder
from anotwin.domains.video.live import LiveFrame
from anotwin.domains.video.live_clip import LiveClip
from anotwin.evaluate.alarms import PredictedEvent, TruthEvent, alarms_per_hour, evaluate_alarms
from anotwin.evaluate.tracks import PredictedRegion, TruthRegion, evaluate_regions
from anotwin.updates import Update, Watch
from benchmarks.common.rows import Cell, Row
from benchmarks.video.clips import Intruders, WalkwaySet
from benchmarks.video.measures import (
    Seen,
    alarm_rows,
    cell,
    coverage_rows,
    frame_rows,
    look,
    pixel_rows,
    region_rows,
)
from benchmarks.video.study import WHOLE_SECONDS, Study


def walkway_rows(study: Study, clips: WalkwaySet, methods: Sequence[str], hours: float) -> Iterator[Row]:
    """Of one method after the other; `hours`: of footage without an intruder."""
    folder = clips.folder(study.scratch)
    source, truth = clips.test(study.scratch), Intruders.of(folder)
    abnormal = np.array([item.normal is False for item in source.items])
    for method in methods:
        detector = study.detector(method, clips)
        seen = look(detector, source, study.watch)
        rows = cell(clips.name, method, study.has_goals)
        for kind in clips.kinds:
            yield from kind_rows(cell(f"{clips.name}: {kind}", method, study.has_goals), kind, seen, truth, abnormal)
        yield from frame_rows(rows, "frame", abnormal, seen.terms["score"], seen.names)
        yield from pixel_rows(rows, seen.pixel_level)
        normal = float((~abnormal).sum()) / RATE / 3600
        yield from found_rows(rows, seen, truth.events, truth.regions, normal, recall=">= 0.95")
        if WHOLE_SECONDS in detector.history:
            yield rows.row("training_seconds", detector.history[WHOLE_SECONDS], unit="s")
        yield rows.row("scoring_rate", len(source.items) / seen.seconds, unit="frames/s")
        yield from footage_rows(rows, detector, clips, round(hours * 3600 * RATE), study.watch)


def kind_rows(rows: Cell, kind: str, seen: Seen, truth: Intruders, abnormal: np.ndarray) -> Iterator[Row]:
    """Frames with this kind of intruder against the normal frames of all clips, and its events."""
    own = np.array([truth.kinds.get(name) == kind for name in seen.names])
    compared = own | ~abnormal
    names = [name for name, taken in zip(seen.names, compared, strict=True) if taken]
    yield from frame_rows(rows, "frame", abnormal[compared], seen.terms["score"][compared], names, ">= 0.97")
    events = [each for each in truth.events if truth.kinds[each.clip] == kind]
    regions = [each for each in truth.regions if truth.kinds[each.clip] == kind]
    normal = float((own & ~abnormal).sum()) / RATE / 3600
    yield from found_rows(rows, seen, events, regions, normal)


def found_rows(
    rows: Cell,
    seen: Seen,
    events: Sequence[TruthEvent],
    regions: Sequence[TruthRegion],
    hours: float,
    recall: str | None = None,
) -> Iterator[Row]:
    """Regions, events and how much of the intruders is marked, in the clips of these events."""
    clips = {each.clip for each in events}
    taken = [each for each in seen.clips if each.name in clips]
    faint = [PredictedRegion(clip.name, each.frame, each.box, each.heat) for clip in taken for each in clip.regions]
    yield from region_rows(rows, evaluate_regions(faint, regions, sum(clip.count for clip in taken)))
    alarms = [PredictedEvent(clip.name, first, last) for clip in taken for first, last in clip.events]
    yield from alarm_rows(rows, evaluate_alarms(alarms, events, hours), recall)
    yield from coverage_rows(rows, [each for each in seen.marked if each.clip in clips], regions, None)


def footage_rows(rows: Cell, detector: Detector, clips: WalkwaySet, frames: int, watch: Watch) -> Iterator[Row]:
    """Alarms where nothing happens; frames are drawn and forgotten as they are scored."""
    calibration = detector.calibration
    assert calibration is not None
    assert calibration.alarms is not None
    shots = enumerate(clips.normal_footage(frames))
    clip = LiveClip("normal footage", (LiveFrame(n + 1, n / RATE, shot.frame) for n, shot in shots))
    finder, alarms, refused = EventFinder(clip.name, event_settings(calibration.alarms)), 0, 0
    findings = detector.findings(clip, clip.indices(), pictures=False)  # type: ignore[arg-type]
    for number, finding in enumerate(findings):
        refused += bool(finding.error)
        alarms += sum(event.going_on for event in finder.take(number, number / RATE, finding.score))
        watch(Update("footage", number + 1, frames))
    hours = (frames - refused) / RATE / 3600
    found = alarms_per_hour(alarms, hours)
    yield rows.row("normal_footage", hours, unit="h")
    yield rows.row("false_alarms_per_hour", found.value, (found.low, found.high), goal="<= 1")
    yield rows.row("false_alarms_per_hour_expected", calibration.alarms.expected)
    yield rows.row("false_alarms_per_hour_bound", calibration.alarms.bound)
    if refused:
        yield rows.row("frames_without_score", refused)
