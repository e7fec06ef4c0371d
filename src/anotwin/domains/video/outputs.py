"""What is written of clips besides scores.csv: events.csv, events.json, timeline.png, annotated/ and groups.csv.

Frames are scored one by one and in the order of time; events are found on the way, clip by clip, exactly as of a live
camera. Of clips whose rows were kept from a stopped run they are found again from the table; only the frames of events
are scored once more, to mark what was seen in them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from pathlib import Path

import numpy as np

from anotwin.domains.groups import scores_of, write_groups
from anotwin.domains.protocol import ClipFound, Job, MarkedRegion, Written
from anotwin.domains.regions import find_regions
from anotwin.domains.video.alarms import event_settings
from anotwin.domains.video.clips import ASSUMED_RATE, Clip, ClipSource, clip_at
from anotwin.domains.video.context import clips_of
from anotwin.domains.video.events import Event, EventFinder
from anotwin.domains.video.marking import marked_boxes
from anotwin.domains.video.report.annotated import AnnotatedVideo
from anotwin.domains.video.report.peaks import MOST_SHOWN, PeakPictures, Snapshot
from anotwin.domains.video.report.tables import clock, event_listing, write_event_json, write_event_table
from anotwin.domains.video.report.timeline import Course, timeline_figure
from anotwin.domains.video.tracks import Box, box_of
from anotwin.records import Finding
from anotwin.report.files import disk_errors, picture_names

ANNOTATED = "annotated"  # a folder
LISTED = 10  # events in the terminal
DRAWN = 24  # clips in timeline.png, those with the highest scores


class VideoOutputs:
    """What `anotwin score` writes."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.clips = clips_of(job.source)
        self.found = FoundInClips(job, annotated=job.show)
        self._scored: set[str] = set()  # names of clips that this run has seen

    def unfinished(self, done: AbstractSet[str]) -> Sequence[int]:
        """All frames of the clips that are not whole, or whose video is missing: events need them in one course."""
        items = self.job.source.items
        wanted: list[int] = []
        for clip in self.clips:
            frames = range(clip.first, clip.first + clip.count)
            whole = all(items[index].id in done for index in frames)
            if not whole or (self.job.show and not self.found.video_of(clip).is_file()):
                wanted += frames
                self._scored.add(clip.name)
        return wanted

    def wants(self, finding: Finding) -> bool:
        """For the annotated video every frame, else those of events."""
        return self.job.show or self.found.in_event(finding.score)

    def take(self, index: int, finding: Finding) -> None:
        """Follow the events of its clip."""
        self.found.take(index, finding)

    def finish(self, shown: Sequence[Finding], table: Path | None) -> list[Written]:
        """The tables and the timeline, of clips that were kept from a stopped run too."""
        del shown
        assert table is not None
        job, alarms = self.job, self.found.alarms
        _, scores = scores_of(job.source, table)
        kept = [clip for clip in self.clips if clip.name not in self._scored]
        self.found.again(kept, scores)
        self.found.finish()
        # a clip has no decision beside those on its events
        written = write_groups(table, job.source, job.out, job.model.calibration if alarms is None else None)
        if job.show and any(self.found.video_of(clip).is_file() for clip in self.clips):
            what = "a video of each clip, with heat, regions and score"
            written = [Written(job.out / ANNOTATED, what), *written]
        if alarms is None:
            return written
        events = self.found.events
        write_event_table(events, alarms.threshold, job.out / "events.csv")
        info = {"description": "events, by AnoTwin", "promise": alarms.promise, "alarms_per_hour": alarms.wish}
        write_event_json(events, alarms.threshold, job.out / "events.json", info)
        foremost = sorted(events, key=lambda each: -each.score)[:LISTED]
        seconds = sum(clip.count / (clip.rate or ASSUMED_RATE) for clip in self.clips)
        what = f"{len(events)} events in {clock(seconds)} of {len(self.clips)} clips"
        listing = event_listing(foremost, len(events)) if events else None
        found = [
            Written(job.out / "events.csv", what, listing),
            Written(job.out / "events.json", "the same, with what was marked in each frame"),
        ]
        if self.found.courses:
            self._draw()
            found.append(Written(job.out / "timeline.png", "scores over time, and the foremost events"))
        return found + written

    def _draw(self) -> None:
        """Of the clips with the highest scores, in their order."""
        courses = self.found.courses
        highest = sorted(courses, key=lambda each: -float(np.nanmax(each.scores, initial=-math.inf)))[:DRAWN]
        names = {each.clip for each in highest}
        alarms, spec = self.found.alarms, self.job.model.spec
        assert alarms is not None
        timeline_figure(
            [each for each in courses if each.clip in names],
            self.found.snapshots,
            self.job.out / "timeline.png",
            event_settings(alarms),
            window=(spec.black, spec.white),
        )


class EvaluatedVideo:
    """What `anotwin evaluate` asks of clips: their events, and what was marked in each frame."""

    def __init__(self, job: Job) -> None:
        self.found = FoundInClips(job, annotated=False, faint_too=True)

    def take(self, index: int, finding: Finding) -> None:
        """Follow the events of its clip."""
        self.found.take(index, finding)

    def finish(self, shown: Sequence[Finding], table: Path | None) -> list[Written]:
        """The timeline."""
        del shown, table
        self.found.finish()
        job, alarms = self.found.job, self.found.alarms
        if alarms is None or not self.found.courses:
            return []
        path = job.out / "timeline.png"
        window = job.model.spec.black, job.model.spec.white
        timeline_figure(self.found.courses, self.found.snapshots, path, event_settings(alarms), window=window)
        return [Written(path, "scores over time, and the foremost events")]

    def clips(self) -> list[ClipFound]:
        """See `anotwin.domains.protocol.FindsEvents`."""
        return self.found.clips()


class FoundInClips:
    """Events, tracks and courses of clips, frame by frame, and their annotated videos."""

    def __init__(self, job: Job, annotated: bool, faint_too: bool = False) -> None:
        """`faint_too`: fainter regions, too, are marked in every frame, for detection curves."""
        self.job, self._faint_too = job, faint_too
        calibration = job.model.calibration
        self.alarms = None if calibration is None else calibration.alarms
        self._limit = None if calibration is None else calibration.region_limit
        self._least_area = job.model.settings.calibration.least_area
        self._clips = clips_of(job.source)
        self._annotated = annotated
        self._open: _OpenClip | None = None
        self._video: AnnotatedVideo | None = None
        self._videos = _video_names(self._clips) if annotated else {}
        self._unseen: list[str] = []  # what is written below frames before the first that has pixels
        self.events: list[Event] = []
        self.courses: list[Course] = []
        self._regions: dict[str, list[MarkedRegion]] = {}  # by clip; kept where every frame is marked
        self._peaks: list[Snapshot] = []

    def in_event(self, score: float) -> bool:
        """Whether a frame of this score can be of an event."""
        return self.alarms is not None and score > self.alarms.leave

    @property
    def snapshots(self) -> list[Snapshot]:
        """The foremost events of all clips at their peaks."""
        return sorted(self._peaks, key=lambda each: -each.event.score)[:MOST_SHOWN]

    def take(self, index: int, finding: Finding) -> None:
        """The next frame; frames of a clip come one after another."""
        clip = clip_at(self._clips, index)
        if self._open is None or self._open.clip.name != clip.name:
            self._end_clip()
            finder = None if self.alarms is None else EventFinder(clip.name, event_settings(self.alarms))
            self._open = _OpenClip(clip, finder)
        boxes = marked_boxes(finding, self.job.model)
        if self._faint_too:
            kept = self._regions.setdefault(clip.name, [])
            for found, shown in ((boxes, True), (self._faint(finding), False)):
                kept += [_region(index - clip.first, each, shown) for each in found]
        self._open.take(index - clip.first, self._time(index, clip), finding, boxes)
        if self._annotated:
            self._annotate(index, clip, finding, boxes)

    def _faint(self, finding: Finding) -> tuple[Box, ...]:
        """Regions of any frame, also those below the limit: halfway, in logarithms, to what single pixels reach (1)."""
        if finding.heatmap is None or self._limit is None:
            return ()
        return tuple(map(box_of, find_regions(finding.heatmap, min(self._limit, self._limit**0.5), self._least_area)))

    def _time(self, index: int, clip: Clip) -> float:
        source = self.job.source
        return source.time(index) if isinstance(source, ClipSource) else (index - clip.first) / ASSUMED_RATE

    def video_of(self, clip: Clip) -> Path:
        """Where its annotated video lies, where there are any."""
        return self.job.out / ANNOTATED / self._videos[clip.name]

    def _annotate(self, index: int, clip: Clip, finding: Finding, boxes: Sequence[Box]) -> None:
        """The next frame; one that could not be judged is seen as such, so that the video keeps time."""
        threshold = None if self.alarms is None else self.alarms.threshold
        text = f"{clip.name}  {clock(self._time(index, clip))}"
        if self._video is None and finding.query is None:
            self._unseen.append(text)
            return
        if self._video is None:
            assert finding.query is not None
            path, window = self.video_of(clip), (self.job.model.spec.black, self.job.model.spec.white)
            with disk_errors(path, "remove"):
                path.unlink(missing_ok=True)  # of an earlier run: with all rows kept it would count as this run's
            self._video = AnnotatedVideo(path, finding.query.shape[:2], clip.rate or ASSUMED_RATE, True, window)
            for each in self._unseen:
                self._video.add(None, None, None, (), math.nan, threshold, each)
        self._video.add(finding.query, finding.counterpart, finding.heatmap, boxes, finding.score, threshold, text)

    def again(self, clips: Sequence[Clip], scores: Mapping[int, float]) -> None:
        """Clips whose rows were kept: their courses from the table; frames of events are scored again."""
        self._end_clip()
        self._annotated = False  # their videos are there
        for clip in clips:
            frames = range(clip.first, clip.first + clip.count)
            items = self.job.source.items
            names = {items[index].id for index in frames if self.in_event(scores.get(index, math.nan))}
            marked = iter(self.job.again(names))
            for index in frames:
                item = items[index]
                bare = Finding(item.id, item.label, item.normal, scores.get(index, math.nan), group=item.group)
                shown = replace(next(marked), score=bare.score, error="") if item.id in names else bare
                self.take(index, shown)  # by the score of the table: on another machine its last digits are others

    def finish(self) -> None:
        """There are no more frames. Of clips in the order of the source, whichever were scored first."""
        self._end_clip()
        place = {clip.name: number for number, clip in enumerate(self._clips)}
        self.events.sort(key=lambda each: (place[each.clip], each.number))
        self.courses.sort(key=lambda each: place[each.clip])

    def clips(self) -> list[ClipFound]:
        """What was found in each."""
        names = {each.clip for each in self.courses}
        return [
            ClipFound(
                clip.name,
                clip.first,
                clip.count,
                clip.rate or ASSUMED_RATE,
                tuple((each.start_frame, each.end_frame) for each in self.events if each.clip == clip.name),
                tuple(self._regions.get(clip.name, ())),
            )
            for clip in self._clips
            if clip.name in names
        ]

    def _end_clip(self) -> None:
        if self._video is not None:
            self._video.close()
            self._video = None
        self._unseen = []
        if self._open is None:
            return
        self._open.finish()
        self.events += self._open.events
        self.courses.append(self._open.course())
        self._peaks = [*self.snapshots, *self._open.peaks.foremost]
        self._open = None


def _video_names(clips: Sequence[Clip]) -> dict[str, str]:
    """The names of annotated videos by those of their clips, each its own."""
    stems = {
        clip.name: clip.name if "." in clip.name.rpartition("/")[2] else f"{clip.name or 'clip'}.png" for clip in clips
    }
    names = picture_names(list(stems.values()))
    return {clip: f"{names[stem].removesuffix('.png')}.mp4" for clip, stem in stems.items()}


def _region(frame: int, found: Box, shown: bool) -> MarkedRegion:
    return MarkedRegion(frame, (found.top, found.left, found.bottom, found.right), found.peak, shown)


class _OpenClip:
    """The clip whose frames come."""

    def __init__(self, clip: Clip, finder: EventFinder | None) -> None:
        self.clip, self.peaks = clip, PeakPictures()
        self.events: list[Event] = []
        self._finder = finder
        self._seconds: list[float] = []
        self._scores: list[float] = []

    def take(self, frame: int, time: float, finding: Finding, boxes: Sequence[Box]) -> None:
        score = math.nan if finding.error else finding.score
        self._seconds.append(time)
        self._scores.append(score)
        if self._finder is not None:
            told = self._finder.take(frame, time, score, boxes)
            self.peaks.take(frame, finding, self._finder, told)
            self.events += [each for each in told if not each.going_on]

    def finish(self) -> None:
        if self._finder is not None:
            for each in self._finder.finish():
                self.peaks.end(each)
                self.events.append(each)

    def course(self) -> Course:
        return Course(self.clip.name, np.array(self._seconds), np.array(self._scores), tuple(self.events))
