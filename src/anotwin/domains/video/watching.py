"""`anotwin watch`: events of a live source as they begin and end, gaps, and what is wrong with the camera."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from anotwin.domains.protocol import Model, Notice
from anotwin.domains.video.alarms import event_settings
from anotwin.domains.video.clips import ASSUMED_RATE
from anotwin.domains.video.context import OFFSETS
from anotwin.domains.video.events import Event, EventFinder
from anotwin.domains.video.live import LiveFrame, LiveFrames
from anotwin.domains.video.live_clip import LiveClip
from anotwin.domains.video.marking import marked_boxes
from anotwin.domains.video.newest import Gap
from anotwin.domains.video.report.annotated import AnnotatedVideo
from anotwin.domains.video.report.tables import clock, event_json, event_line, write_event_json, write_event_table
from anotwin.domains.video.tracks import Box
from anotwin.errors import SettingsError
from anotwin.records import Alarms, Finding
from anotwin.updates import Watch

# frames that may wait: those of the beginning of a clip are judged when those come that their context is mirrored to,
# more and more of them at once, and a frame that is missed meanwhile would be a jump in time
WAITING = max(OFFSETS) + 4
TELL_AFTER = 5  # frames in a row that the camera shows something else: a flash is not worth a word


def watch(
    address: str, model: Model, out: Path | None, seconds: float | None, give_up_after: float | None, told: Watch
) -> Iterator[Notice]:
    """What happens in front of a camera, as it happens; see `anotwin.domains.protocol.Domain.watching`.

    Args:
        address: of the source, see `LiveFrames`.
        model: calibrated.
        out: a folder for events.csv and events.json, from the first event on, and annotated.mp4, at the end, also by
            Ctrl-C or an error; None: nothing is written.
        seconds: after which to stop; None: at the end of the source, or Ctrl-C.
        give_up_after: seconds without a frame after which it is an error; None: never.
        told: is told when the source is lost.

    Raises:
        DataError: no such source, or it was given up. SettingsError: the model is not calibrated for alarms.
    """
    if model.calibration is None or model.calibration.alarms is None:
        raise SettingsError("watch needs a model that is calibrated on clips: call anotwin calibrate MODEL CLIPS first")
    live = LiveFrames(address, give_up_after=give_up_after, waiting=WAITING, watch=told)
    watcher = _Watcher(model, live.name, out)
    try:
        try:
            with live, _stopped_after(live, seconds):
                yield from watcher.notices(iter(live))
        except KeyboardInterrupt:  # how a watch without `seconds` ends
            yield from watcher.end(live)
            raise
        yield from watcher.end(live)
    finally:
        watcher.close()


@contextmanager
def _stopped_after(live: LiveFrames, seconds: float | None) -> Iterator[None]:
    """Also while no frame comes."""
    timer = threading.Timer(min(seconds or 0.0, threading.TIMEOUT_MAX), live.stop)
    timer.daemon = True
    if seconds is not None:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


@dataclass
class _Watcher:
    """Everything between frames and notices."""

    model: Model
    name: str
    out: Path | None
    events: list[Event] = field(default_factory=list)
    frames: int = 0
    judged: int = 0
    began: float = field(default_factory=time.monotonic)
    _video: AnnotatedVideo | None = None
    _finder: EventFinder = field(init=False)  # one for all clips: the numbers of events go on
    _wrong: str = ""  # what is wrong with the camera, as it was told
    _since: int = 0  # frames in a row that it has been otherwise

    def __post_init__(self) -> None:
        self._finder = EventFinder(self.name, event_settings(self._alarms))

    def notices(self, coming: Iterator[LiveFrame | Gap]) -> Iterator[Notice]:
        """Clip by clip: a gap ends one and begins the next."""
        while True:
            clip = LiveClip(self.name, coming)
            for index, finding in enumerate(self.model.findings(clip, clip.indices())):  # type: ignore[arg-type]
                yield from self._take(clip, index, finding)
            for event in self._finder.finish():
                yield self._told(event)
            if clip.gap is None:
                return
            gap = clip.gap
            text = f"{self.name}: no frames from {clock(gap.begin)} to {clock(gap.end)}: {gap.reason}"
            yield Notice(
                "gap", text, {"begin_s": round(gap.begin, 3), "end_s": round(gap.end, 3), "reason": gap.reason}
            )

    @property
    def _alarms(self) -> Alarms:
        calibration = self.model.calibration
        assert calibration is not None
        assert calibration.alarms is not None
        return calibration.alarms

    def _take(self, clip: LiveClip, index: int, finding: Finding) -> Iterator[Notice]:
        number, at = self.frames, clip.time(index)
        self.frames += 1
        self.judged += not finding.error
        yield from self._camera(at, finding)
        boxes = marked_boxes(finding, self.model)
        for event in self._finder.take(number, at, finding.score, boxes):
            yield self._told(event)
        self._annotate(clip, at, finding, boxes)

    def _annotate(self, clip: LiveClip, at: float, finding: Finding, boxes: tuple[Box, ...]) -> None:
        """Frames that could not be judged, too: the video keeps time."""
        if self.out is None:
            return
        if self._video is None:
            if finding.query is None:
                return
            spec = self.model.spec
            size = finding.query.shape[0], finding.query.shape[1]
            path = self.out / "annotated.mp4"
            self._video = AnnotatedVideo(path, size, clip.rate or ASSUMED_RATE, True, (spec.black, spec.white))
        text, threshold = f"{self.name}  {clock(at)}", self._alarms.threshold
        self._video.add(finding.query, finding.counterpart, finding.heatmap, boxes, finding.score, threshold, text)

    def _camera(self, at: float, finding: Finding) -> Iterator[Notice]:
        """Said when it has been so for some frames, and when it is as before."""
        why = finding.error.removeprefix(f"{finding.id}: ")
        self._since = 0 if bool(why) == bool(self._wrong) else self._since + 1
        if self._since < TELL_AFTER:
            return
        self._wrong, self._since = why, 0
        text = f"{self.name}: {clock(at)}: {why or 'the camera shows again what it showed in training'}"
        yield Notice("camera", text, {"time_s": round(at, 3), "reason": why})

    def _told(self, event: Event) -> Notice:
        threshold = self._alarms.threshold
        if not event.going_on:
            self.events.append(event)
            self._write()  # a watch goes on for days
        return Notice("event", event_line(event, threshold), event_json(event, threshold))

    def end(self, live: LiveFrames) -> Iterator[Notice]:
        """Sum up."""
        spent = time.monotonic() - self.began
        found = {
            "frames": self.frames,
            "judged": self.judged,
            "dropped": live.dropped,
            "seconds": round(spent, 3),
            "events": len(self.events),
        }
        missed = f", {live.dropped} missed" if live.dropped else ""
        seen = f"{len(self.events)} events in {self.frames} frames{missed}, {clock(spent)}"
        text = f"{self.name}: {seen}; {self._alarms.promise}"
        yield Notice("end", text, found)

    def close(self) -> None:
        """However it ended: its events are there; the video is whole, or not there."""
        self.events += self._finder.finish()
        self._write()
        if self._video is not None:
            self._video.close()
            self._video = None

    def _write(self) -> None:
        """The events until now."""
        if self.out is not None:
            alarms = self._alarms
            write_event_table(self.events, alarms.threshold, self.out / "events.csv")
            write_event_json(self.events, alarms.threshold, self.out / "events.json", {"promise": alarms.promise})
