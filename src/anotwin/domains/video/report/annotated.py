"""A video with what was found in it: heat, boxes, score and threshold in every frame, by PyAV (FFmpeg, libx264)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from anotwin.domains.video.pyav import av_library, reason_of
from anotwin.domains.video.report.drawing import FramePainter
from anotwin.errors import DataError, SettingsError
from anotwin.files import atomic_path
from anotwin.report.overlay import Window

if TYPE_CHECKING:
    from anotwin.domains.video.tracks import Box
    from anotwin.records import Array

USUAL_RATE = 25.0  # frames a second, where nobody knows
_FORMATS = {".mp4": "mp4", ".mkv": "matroska"}
_OPTIONS = {"preset": "superfast", "crf": "23"}  # a camera does not wait
_FASTEST = 1000.0  # frames a second


class AnnotatedVideo:
    """Writes a video frame by frame, in constant memory; it is there, whole, once it is closed.

    Args:
        path: ``.mp4`` or ``.mkv``; what was there stays until `close`.
        size: (height, width) of the frames in the file.
        rate: frames a second; None: nobody knows, and it plays at 25.
        side_by_side: the counterpart at the right of each frame.
        window: native values shown black and white; None: chosen from the first frame.

    Raises:
        DataError: the disk refuses. MissingExtra: PyAV is missing. SettingsError: another suffix, an impossible rate.
    """

    def __init__(
        self,
        path: str | Path,
        size: tuple[int, int],
        rate: float | None = None,
        side_by_side: bool = False,
        window: Window | None = None,
    ) -> None:
        self.path = Path(path)
        kind = _FORMATS.get(self.path.suffix.lower())
        if kind is None:
            raise SettingsError(f"{path}: annotated videos are saved as {', '.join(_FORMATS)}; choose one of these")
        if rate is not None and not 0 < rate <= _FASTEST:
            raise SettingsError(f"{path}: {rate} frames a second; expected more than 0 and at most {_FASTEST:g}")
        self._library = av_library(self.path)
        self._painter = FramePainter(*size, side_by_side, window)
        self._frames = 0
        self._container: Any = None
        self._place = ExitStack()  # of the temporary file
        temporary = self._place.enter_context(atomic_path(self.path))
        with self._ending():
            self._container = self._library.open(f"file:{temporary}", "w", format=kind)
            self._stream = self._new_stream(Fraction(rate or USUAL_RATE).limit_denominator(1001))

    def _new_stream(self, rate: Fraction) -> Any:
        stream = self._container.add_stream("libx264", rate=rate, options=_OPTIONS)
        stream.height, stream.width = self._painter.shape
        stream.pix_fmt = "yuv420p"  # what every player knows; sides are even for it
        return stream

    def add(
        self,
        pixels: Array | None,
        counterpart: Array | None,
        heat: Array | None,
        boxes: Sequence[Box],
        score: float,
        threshold: float | None,
        text: str,
    ) -> None:
        """Draw and write the next frame; see `FramePainter.paint`. Raises DataError where the disk refuses."""
        picture = self._painter.paint(pixels, counterpart, heat, boxes, score, threshold, text)
        with self._ending():
            frame = self._library.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = self._frames, 1 / self._stream.codec_context.framerate
            self._container.mux(self._stream.encode(frame))
        self._frames += 1

    def close(self) -> None:
        """Finish the video and move it to its path; nothing is written of no frames. Raises DataError."""
        if not self._frames:
            self.discard()
        if self._container is None:
            return
        with self._ending():
            self._container.mux(self._stream.encode(None))
            self._container.close()
        self._container = None
        self._place.close()

    def discard(self) -> None:
        """Leave the path as it was."""
        container, self._container = self._container, None
        if container is not None:
            with suppress(self._library.FFmpegError):  # the file goes anyway
                container.close()
        with suppress(_Discarded), self._place:
            raise _Discarded

    def __enter__(self) -> AnnotatedVideo:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    @contextmanager
    def _ending(self) -> Iterator[None]:
        """Discard the video where it cannot go on, and say why."""
        try:
            yield
        except self._library.FFmpegError as error:
            self.discard()
            advice = "check that the folder is writable and the disk not full"
            raise DataError(f"cannot write {self.path}: {reason_of(error)}; {advice}") from None


class _Discarded(Exception):
    """Takes the temporary file away."""
