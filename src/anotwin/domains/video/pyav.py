"""PyAV (FFmpeg), an optional library: files with a video stream, and decoded frames as native pixels.

Formats are limited to files that hold video themselves: FFmpeg also follows playlists and lists of files, which may
name anything on the machine or in the network. Frames are turned as the file says that players shall turn them; pixels
that are not square are not stretched, so that masks fit.
"""

from __future__ import annotations

import struct
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anotwin.data.pixels import one_line
from anotwin.data.upright import upright
from anotwin.errors import DataError, MissingExtra
from anotwin.records import Array

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".asf", ".flv", ".3gp", ".ogv", ".ts",
    ".mts", ".m2ts", ".mxf", ".dav", ".mjpeg", ".mjpg", ".h264", ".264", ".h265", ".hevc", ".nut", ".ivf", ".y4m",
)  # fmt: skip
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,avi,matroska,webm,mpeg,mpegts,mpegvideo,asf,flv,ogg,mxf,dhav,mjpeg,mpjpeg,h264,hevc,m4v,"
    "nut,ivf,yuv4mpegpipe"
)
_ORIENTATIONS = {(False, False): 0, (True, False): 1, (True, True): 2, (False, True): 3}


def open_stream(path: Path) -> tuple[InputContainer, VideoStream]:
    """A file and its first video stream, from the beginning; raises DataError, MissingExtra."""
    library = av_library(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected a video ({', '.join(VIDEO_SUFFIXES[:8])} ...)")
    if not path.stat().st_size:
        raise DataError(f"{path}: the file is empty, expected a video")
    options = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
    try:
        container = library.open(f"file:{path}", options=options, metadata_errors="replace")
    except library.FFmpegError as error:
        raise DataError(f"{path}: cannot be read as a video ({reason_of(error)}); is it one, and complete?") from None
    cover = library.stream.Disposition.attached_pic  # a picture of a piece of music
    streams = [stream for stream in container.streams.video if not stream.disposition & cover]
    if streams and streams[0].codec_context is not None:
        return container, streams[0]
    kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
    container.close()
    found = "a video stream that nothing here can decode" if streams else f"no video stream in it, only {kinds}"
    raise DataError(f"{path}: {found}; convert the file to mp4 with H.264" if streams else f"{path}: {found}")


def reason_of(error: Exception) -> str:
    """What a library says of an error, on one line and without the name of the file."""
    return str(getattr(error, "strerror", None) or one_line(error))


def frame_pixels(frame: VideoFrame) -> Array:
    """(H, W, 3) uint8 of a decoded frame, (H, W) of a grey one, uint16 where it is deeper than 8 bits; upright."""
    name = frame.format.name
    grey = name.startswith("gray") or name in ("monow", "monob", "ya8")
    deep = grey and max(component.bits for component in frame.format.components) > 8
    pixels = frame.to_ndarray(format="gray16le" if deep else "gray" if grey else "rgb24", threads=1)
    return np.ascontiguousarray(upright(pixels, _orientation(frame)))


def av_library(where: object) -> Any:
    """PyAV; raises MissingExtra that says how to get it. `where` names the file or the source in its message."""
    try:
        return import_module("av")
    except ImportError as error:
        raise MissingExtra(
            f"{where}: reading video needs the package av ({error}); pip install 'anotwin[video]'"
        ) from None


def _orientation(frame: VideoFrame) -> int:
    """How a frame is to be turned, 1 to 8 as in EXIF, by its display matrix (FFmpeg, libavutil/display.h)."""
    try:
        matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # other data of a kind that PyAV does not know
        return {90: 8, -90: 6, 180: 3, -180: 3}.get(frame.rotation, 1)
    if matrix is None:
        return 1
    right, down, _, right_by_y, down_by_y, *_ = struct.unpack("9i", bytes(matrix))  # where x and y of a pixel go to
    if abs(right) >= abs(down):
        return 1 + _ORIENTATIONS[right < 0, down_by_y < 0]
    return 5 + _ORIENTATIONS[right_by_y < 0, down < 0]
