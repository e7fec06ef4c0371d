"""What a model finds in test clips, and the rows that follow from it and from what truly is in them."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from anotwin import Detector, Finding
from anotwin.domains.protocol import ClipFound, Job
from anotwin.domains.video.clips import clip_at
from anotwin.domains.video.marking import marked_boxes
from anotwin.domains.video.outputs import FoundInClips
from anotwin.domains.video.source import FrameClips
from anotwin.evaluate.alarms import AlarmEvaluation, track_coverage
from anotwin.evaluate.frames import PixelLevel, evaluate_frames
from anotwin.evaluate.tracks import PredictedRegion, RegionEvaluation, TruthRegion
from anotwin.updates import Update, Watch
from benchmarks.common.rows import Bools, Cell, Floats, Row, console

cell = partial(Cell, "video")  # case, method
TERMS = ("score", "residual", "discrimination")  # of findings


@dataclass(frozen=True, eq=False)
class Seen:
    """What a model found in N frames."""

    clips: Sequence[ClipFound]
    names: Sequence[str]  # (N,) of the clips of frames
    terms: Mapping[str, Floats]  # (N,) each, smoothed in time; NaN of a frame without a score
    marked: Sequence[PredictedRegion]  # in the frames of events, as `anotwin score` and `anotwin watch` mark them
    pixel_level: PixelLevel
    seconds: float  # of reading, scoring and making pictures

    @property
    def scores(self) -> dict[int, float]:
        """By the index of the frame."""
        return dict(enumerate(self.terms["score"].tolist()))


def look(detector: Detector, source: FrameClips, watch: Watch) -> Seen:
    """Score all frames, find events, mark regions; labels and masks are compared and choose nothing."""
    found = FoundInClips(Job(source, Path(), detector), annotated=False, faint_too=True)
    count, seconds, pixel_level = len(source.items), 0.0, PixelLevel()
    terms = {name: np.full(count, np.nan) for name in TERMS}
    names: list[str] = []
    marked: list[PredictedRegion] = []
    coming = detector.findings(source)
    for index in range(count):
        began = time.perf_counter()
        finding = next(coming)
        seconds += time.perf_counter() - began
        clip = clip_at(source.clips, index)
        names.append(clip.name)
        found.take(index, finding)
        if finding.error:
            console.print(f"refused: {finding.error}", markup=False)
        for name in TERMS:
            terms[name][index] = getattr(finding, name)
        marked += marked_regions(finding, detector, clip.name, index - clip.first)
        pixel_level.add(clip.name, finding.heatmap, source.read_mask(index), finding.id)
        watch(Update("scoring", index + 1, count))
    found.finish()
    clips = found.clips()
    return Seen(clips, names, terms, _in_events(marked, clips), pixel_level, seconds)


def marked_regions(finding: Finding, detector: Detector, clip: str, frame: int) -> Iterator[PredictedRegion]:
    """What `anotwin score` and `anotwin watch` mark in a frame of an event."""
    for box in marked_boxes(finding, detector):
        yield PredictedRegion(clip, frame, (box.top, box.left, box.bottom, box.right), box.peak)


def _in_events(marked: Sequence[PredictedRegion], clips: Sequence[ClipFound]) -> list[PredictedRegion]:
    """Those in frames that belong to an event that counts."""
    events = {clip.name: clip.events for clip in clips}
    return [each for each in marked if any(first <= each.frame <= last for first, last in events.get(each.clip, ()))]


# -- rows --------------------------------------------------------------------------------------------------------------


def frame_rows(
    rows: Cell, metric: str, abnormal: Bools, scores: Floats, clips: Sequence[str], goal: str | None = None
) -> Iterator[Row]:
    """AUROC over all frames and as a mean of clips, intervals by clip, and the equal error rate."""
    found = evaluate_frames(abnormal, scores, clips)
    yield rows.row(f"{metric}_auroc", found.auroc, (found.auroc_low, found.auroc_high), goal=goal)
    if found.n_macro_clips:
        macro = found.macro_auroc_low, found.macro_auroc_high
        yield rows.row(f"{metric}_auroc_macro", found.macro_auroc, macro)
    yield rows.row(f"{metric}_equal_error_rate", found.equal_error_rate)
    if found.n_failed:
        yield rows.row(f"{metric}s_without_score", found.n_failed)


def pixel_rows(rows: Cell, pixel_level: PixelLevel) -> Iterator[Row]:
    """The pixel-level criterion: 40 % of the abnormal pixels."""
    found = pixel_level.evaluate()
    yield rows.row("pixel_level_auroc", found.auroc, (found.auroc_low, found.auroc_high))
    yield rows.row("pixel_level_equal_error_rate", found.equal_error_rate)


def region_rows(rows: Cell, found: RegionEvaluation | Mapping[str, Any]) -> Iterator[Row]:
    """RBDC and TBDC."""
    values = vars(found) if isinstance(found, RegionEvaluation) else found
    for name in ("rbdc", "tbdc"):
        yield rows.row(name, _number(values[name]))


def alarm_rows(
    rows: Cell,
    found: AlarmEvaluation | Mapping[str, Any],
    recall: str | None = None,
    most_false: str | None = None,
    longest: str | None = None,
) -> Iterator[Row]:
    """Events found, false alarms in normal frames, delays in frames from full visibility; the goals of these."""
    values = vars(found) if isinstance(found, AlarmEvaluation) else found
    interval = _number(values["recall_low"]), _number(values["recall_high"])
    yield rows.row("events", values["n_events"])
    yield rows.row("event_recall", _number(values["recall"]), interval, goal=recall)
    yield rows.row("false_alarms", values["n_false"], goal=most_false)
    yield rows.row("normal_minutes", 60 * values["normal_hours"], unit="min")
    delays = [delay for delay in values["delays"] if delay is not None]
    if delays:
        yield rows.row("delay_earliest", min(delays), unit="frames")  # far below 0: it was on before
        yield rows.row("delay_median", float(np.median(delays)), unit="frames")
        yield rows.row("delay_longest", max(delays), unit="frames", goal=longest)


def coverage_rows(
    rows: Cell, marked: Sequence[PredictedRegion], truth: Sequence[TruthRegion], goal: str | None
) -> Iterator[Row]:
    """Share of the frames of intruders in which a marked region overlaps one, and the least of an intruder."""
    if not truth:
        return
    shares = track_coverage(marked, truth, overlap=0.0)
    frames = Counter(track for track, _ in {((each.clip, each.track), each.frame) for each in truth})
    whole = sum(shares[track] * count for track, count in frames.items()) / sum(frames.values())
    yield rows.row("coverage", whole, goal=goal)
    yield rows.row("coverage_least", min(shares.values()))


def _number(value: float | None) -> float:
    """NaN of what strict JSON has no number for."""
    return math.nan if value is None else float(value)
