"""Part `ped2`: every row on the test clips of UCSD Ped2, in one run."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from anotwin import AnoTwinError, Detector
from anotwin.domains.video.source import FrameClips
from anotwin.evaluate.clips import clip_numbers
from anotwin.evaluate.tracks import TruthRegion, tracks_from_masks
from benchmarks.common.rows import Cell, Row, console
from benchmarks.video.clips import ClipSet
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
from benchmarks.video.published import Published, rescaled
from benchmarks.video.study import DEFAULT, WHOLE_SECONDS, Study

ALONE = {"residual": "prediction error alone", "discrimination": "other evidence alone"}  # of `frames`
RESCALED = f"{Published.name}, rescaled by each test clip"
LONGEST = 1800  # seconds of training, on two cores


def ped2_rows(study: Study, clips: ClipSet) -> Iterator[Row]:
    """Of one method after the other; one that fails is a line, and the others go on."""
    source = clips.test(study.scratch)
    truth = list(true_regions(source))
    for method in study.arguments.methods:
        try:
            detector = study.detector(method, clips)
            seen = look(detector, source, study.watch)
        except AnoTwinError as error:
            console.print(f"{clips.name}: {method} has no row: {error}", markup=False)
            continue
        yield from method_rows(study, clips.name, method, detector, source, seen, truth)


def method_rows(
    study: Study, case: str, method: str, detector: Detector, source: FrameClips, seen: Seen, truth: list[TruthRegion]
) -> Iterator[Row]:
    """All numbers of one method."""
    rows = cell(case, method, study.has_goals and method == DEFAULT)
    labelled = np.array([item.normal is not None for item in source.items])
    abnormal = np.array([item.normal is False for item in source.items])
    names = [name for name, known in zip(seen.names, labelled, strict=True) if known]

    def frames(rows: Cell, scores: np.ndarray, goal: str | None = None) -> Iterator[Row]:
        return frame_rows(rows, "frame", abnormal[labelled], scores[labelled], names, goal)

    yield from frames(rows, seen.terms["score"], ">= 0.95")
    yield from pixel_rows(rows, seen.pixel_level)
    numbers = clip_numbers(seen.clips, source.items, seen.scores, source.read_mask, None)
    if "regions" in numbers:
        yield from region_rows(rows, numbers["regions"])
    yield from alarm_rows(rows, numbers["alarms"], recall=">= 1", most_false="<= 1", longest="<= 5")
    yield from coverage_rows(rows, seen.marked, truth, ">= 0.8")
    if WHOLE_SECONDS in detector.history:
        yield rows.row("training_seconds", detector.history[WHOLE_SECONDS], unit="s", goal=f"<= {LONGEST}")
    yield rows.row("training_loop_seconds", float(detector.history.get("seconds", np.nan)), unit="s")
    yield rows.row("scoring_rate", len(source.items) / seen.seconds, unit="frames/s")
    if method == DEFAULT:
        for term, what in ALONE.items():
            yield from frames(cell(case, f"{method}, {what}"), seen.terms[term])
    if method == Published.name:
        yield from frames(cell(case, RESCALED), rescaled(seen.terms["score"], seen.names))
    if detector.calibration and detector.calibration.alarms:
        console.print(f"{case}: {method}: {detector.calibration.alarms.promise}", markup=False)


def true_regions(source: FrameClips) -> Iterator[TruthRegion]:
    """Where the masks mark something, with tracks."""
    for clip in source.clips:
        frames = range(clip.first, clip.first + clip.count)
        yield from tracks_from_masks((source.read_mask(index) for index in frames), clip.name)
