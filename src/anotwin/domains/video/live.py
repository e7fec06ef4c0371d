"""Frames as they come from a camera: a thread that reads, comes back when the source does, and keeps the newest."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from anotwin.domains.video.container import VideoFile
from anotwin.domains.video.newest import Gap, Newest
from anotwin.domains.video.pyav import av_library, frame_pixels, reason_of
from anotwin.domains.video.stream_clock import JUMP, StreamClock
from anotwin.errors import DataError
from anotwin.records import Array
from anotwin.updates import Update, Watch, silent

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

__all__ = ["Gap", "LiveFrame", "LiveFrames", "is_address", "shown_address"]

ADDRESSES = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp", "rtp", "srt", "tcp")
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0  # seconds before the first new attempt, and before any
_UNTIMED = ("mpjpeg", "mjpeg", "h264", "hevc", "m4v", "mpegvideo")  # timestamps are made up from an assumed rate
_DEVICE = re.compile(r"/dev/video\d+")
_OPTIONS = {"analyzeduration": "1000000"}  # one second to find out what comes, in microseconds
_JOIN = 1.0  # seconds that `stop` waits for the thread: one that is stuck in the network ends at its timeout


@dataclass(frozen=True)
class LiveFrame:
    """One frame of a live source."""

    number: int  # from 1; those that were dropped have numbers, too
    time: float  # seconds since the start, ascending
    pixels: Array = field(repr=False)  # (H, W, 3) or (H, W), as `VideoFile.read`


class LiveFrames:
    """The frames of a camera (rtsp://, http:// ..., /dev/video0), or of a file that is played as if it were one.

    Iteration gives frames and gaps until `stop`, or the end of a file. The newest frames count: a consumer that is too
    slow misses the older ones of the few that wait, which is counted. When the source is lost it is opened again, with
    waits from 0.5 to 30 s; what cannot be otherwise (no such file, 404) is an error at once. Addresses are shown
    without passwords.

    The times of frames are their timestamps, laid on a steady clock; where these jump by more than a second against
    it, the times at which the frames come.

    Args:
        address: of the source.
        give_up_after: seconds without a frame after which it is an error; None: never.
        open_timeout: seconds for each attempt to open it.
        read_timeout: seconds without data after which it is lost.
        waiting: frames that may wait for the consumer.
        watch: is told, by the thread that reads, when the source is lost.

    Raises:
        DataError: no such file, device or address; in iteration also that it was given up. MissingExtra: no PyAV.

    Attributes:
        dropped: frames that no consumer has seen.
        damaged: packets and frames that could not be decoded.
    """

    def __init__(
        self,
        address: str | Path,
        *,
        give_up_after: float | None = None,
        open_timeout: float = 10.0,
        read_timeout: float = 10.0,
        waiting: int = 4,
        watch: Watch = silent,
    ) -> None:
        self._address, self.name = str(address), shown_address(str(address))
        self._library = av_library(self.name)
        self._file = not (is_address(self._address) or _DEVICE.fullmatch(self._address))
        if self._file and not Path(address).is_file():
            expected = f"a video file, a device (/dev/video0) or an address ({', '.join(ADDRESSES[:6])} ...)"
            raise DataError(f"{self.name}: no such file; expected {expected}")
        self._give_up_after, self._timeouts = give_up_after, (open_timeout, read_timeout)
        self._watch = watch
        self._stopped = threading.Event()
        self._waiting: Newest[tuple[int, float, VideoFrame | Array]] = Newest(waiting)
        self._clock = StreamClock()
        self._began = 0.0
        self._number, self._last = 0, 0.0  # of the frame that came last
        self._lost = ""  # why the source was lost; "": it was not, or a frame has come since
        self.damaged = 0
        self._thread = threading.Thread(target=self._run, name=f"reading {self.name}", daemon=True)

    @property
    def dropped(self) -> int:
        """Frames that no consumer has seen."""
        return self._waiting.dropped

    def start(self) -> None:
        """Begin to read; iteration does so by itself."""
        if not self._thread.ident and not self._stopped.is_set():
            self._began = time.monotonic()
            self._thread.start()

    def stop(self) -> None:
        """End iteration and reading."""
        self._stopped.set()
        self._waiting.discard()
        if self._thread.ident and self._thread is not threading.current_thread():
            self._thread.join(_JOIN)

    def __enter__(self) -> LiveFrames:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def __iter__(self) -> Iterator[LiveFrame | Gap]:
        self.start()
        while (event := self._waiting.next()) is not None:
            if isinstance(event, Gap):
                yield event
            else:  # dropped ones need no conversion
                number, at, frame = event
                yield LiveFrame(number, at, frame if isinstance(frame, np.ndarray) else frame_pixels(frame))

    def _run(self) -> None:
        """The thread: attempts until the source ends, is given up, or `stop`."""
        error: Exception | None = None
        wait = FIRST_WAIT / 2
        try:
            while not self._stopped.is_set():
                before = self._number
                reason = self._attempt()
                if not reason or self._stopped.is_set():
                    break
                if not self._lost:
                    self._watch(Update("note", detail=f"{self.name}: the source is lost ({reason}); trying again"))
                self._lost = self._lost or reason
                wait = FIRST_WAIT if self._number > before else min(2 * wait, LONGEST_WAIT)
                self._stopped.wait(min(wait, self._patience(reason)))
        except Exception as raised:  # whatever it is, the consumer has to know
            error = raised
        self._waiting.end(error)

    def _patience(self, reason: str) -> float:
        """Seconds that are left until it is given up; raises DataError when there are none."""
        if self._give_up_after is None:
            return LONGEST_WAIT
        left = self._give_up_after - (self._now() - self._last)
        if left <= 0:
            raise DataError(f"{self.name}: no frame for {self._give_up_after:g} s ({reason}); is the source there?")
        return left

    def _attempt(self) -> str:
        """Read until the source is lost, which is said, or has been played to its end: ""."""
        if self._file:
            return self._play_file()
        try:
            container, stream = self._open()
            with closing(container):
                self._clock.restart()
                return self._play(container, stream)
        except DataError as error:
            if not self._number:
                raise
            return str(error)
        except self._library.FFmpegError as error:
            kinds = self._library.error
            reason = (
                "no answer in time" if isinstance(error, (kinds.ExitError, kinds.TimeoutError)) else reason_of(error)
            )
            final = kinds.HTTPClientError, kinds.ProtocolNotFoundError, kinds.DemuxerNotFoundError
            if not self._number and isinstance(error, final):
                raise DataError(f"{self.name}: cannot be read ({reason}); is the address right?") from None
            return reason

    def _play_file(self) -> str:
        """Hand on the frames of a file when they are due."""
        video = VideoFile(self._address)
        with closing(video):
            begin = self._now()
            for frame, second in enumerate(video.times.tolist()):
                self._stopped.wait(max(0.0, begin + second - self._now()))
                if self._stopped.is_set():
                    break
                try:
                    self._hand_on(video.read(frame), second)
                except DataError:
                    self.damaged += 1
        return ""

    def _open(self) -> tuple[InputContainer, VideoStream]:
        options = {**_OPTIONS, "rtsp_flags": "prefer_tcp"} if self._address.startswith("rtsp") else _OPTIONS
        form = "v4l2" if _DEVICE.fullmatch(self._address) else None
        container = self._library.open(
            self._address, format=form, options=dict(options), timeout=self._timeouts, metadata_errors="replace"
        )
        if container.streams.video:
            return container, container.streams.video[0]
        container.close()
        raise DataError(f"{self.name}: no video in what comes from there")

    def _play(self, container: InputContainer, stream: VideoStream) -> str:
        """Hand on the frames of an open source until it is lost, which is said, or has been played to its end: ""."""
        length = None if container.duration is None else container.duration / 1e6  # of a film that comes from a server
        timed = container.format.name not in _UNTIMED
        first: tuple[float, float] | None = None  # timestamp and time of the first frame
        pts, heard = 0.0, self._now()
        for packet in container.demux():  # all streams: a camera may send sound alone, and time goes by
            if self._stopped.is_set():
                return ""
            if self._now() - heard > self._timeouts[1]:
                return "nothing in it can be decoded"
            for frame in self._decoded(packet) if packet.stream is stream else ():
                heard = self._now()
                if not timed or frame.pts is None or frame.time_base is None:
                    self._hand_on(frame, None)
                    continue
                pts = float(frame.pts * frame.time_base)
                first = first or (pts, heard)
                if length is not None:  # it comes as fast as it can be sent
                    self._stopped.wait(max(0.0, first[1] + pts - first[0] - heard))
                self._hand_on(frame, pts)
        ended = length is not None and first is not None and pts - first[0] > length - JUMP
        return "" if ended else "the stream ended"

    def _decoded(self, packet: Any) -> list[VideoFrame]:
        try:
            frames = packet.decode()
        except self._library.FFmpegError:
            self.damaged += 1
            return []
        whole = [frame for frame in frames if not frame.is_corrupt]
        self.damaged += len(frames) - len(whole)
        return whole

    def _hand_on(self, frame: VideoFrame | Array, pts: float | None) -> None:
        at = self._clock.time_of(pts, self._now())
        if self._lost:
            self._waiting.put(Gap(self._last, at, self._lost))
            self._lost = ""
        self._number, self._last = self._number + 1, at
        self._waiting.put((self._number, at, frame))

    def _now(self) -> float:
        return time.monotonic() - self._began


def is_address(text: str) -> bool:
    """Whether a source is named by an address in the network.

    >>> is_address("rtsp://camera/1"), is_address("C:/clips/a.mp4"), is_address("walk.mp4")
    (True, False, False)
    """
    return text.partition("://")[0].lower() in ADDRESSES and "://" in text


def shown_address(address: str) -> str:
    """An address without user, password and what follows the question mark, which may be a key.

    >>> shown_address("rtsp://me:secret@camera:554/live?key=1")
    'rtsp://camera:554/live'
    """
    if not is_address(address):
        return address
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}"
