"""Video files for tests, written with PyAV, and frames that say their number also after compression."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
BITS = 12  # of a frame's number
CLOCK = 1000  # ticks a second of files with their own timestamps


def write_video(
    path: str | Path,
    frames: Iterable[Pixels],
    rate: float = 10,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    *,
    key_every: int | None = None,
    b_frames: int | None = None,
    times: Sequence[float] | None = None,
    rotation: float = 0,
    mirrored: bool = False,
    options: Mapping[str, str] | None = None,
) -> Path:
    """A video file of `frames`, (H, W) or (H, W, 3) uint8 of even sides; the ending of `path` decides the container.

    Args:
        path: the file.
        frames: at least one.
        rate: frames a second.
        codec: libx264, mpeg4, mjpeg (with yuvj420p), ffv1 (lossless; gray, yuv420p, bgr0) ...
        pix_fmt: of the codec.
        key_every: frames from one keyframe to the next, at most.
        b_frames: frames in a row that are coded by later ones, at most.
        times: seconds of each frame, ascending: a variable frame rate (mp4, mkv).
        rotation: degrees counterclockwise that a player turns the frames by.
        mirrored: whether a player mirrors them left to right.
        options: of the codec.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=Fraction(rate).limit_denominator(1000), options=options or {})
        stream.pix_fmt = pix_fmt
        if key_every is not None:
            stream.codec_context.gop_size = key_every
        if b_frames is not None:
            stream.codec_context.max_b_frames = b_frames
        if times is not None:
            stream.codec_context.time_base = Fraction(1, CLOCK)
        if rotation or mirrored:
            stream.set_display_rotation(rotation, hflip=mirrored)
        for number, pixels in enumerate(frames):
            if number == 0:
                stream.height, stream.width = pixels.shape[:2]
            frame = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(pixels), format="gray" if pixels.ndim == 2 else "rgb24"
            )
            if times is not None:
                frame.time_base, frame.pts = Fraction(1, CLOCK), round(times[number] * CLOCK)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return Path(path)


def numbered(number: int, height: int = 48, width: int = 64) -> Pixels:
    """(height, width, 3) with `number`, below 4096, as black and white squares, four in a row, the lowest bit first."""
    bits = [(number >> bit) & 1 for bit in range(BITS)]
    squares = np.asarray(bits, np.uint8).reshape(3, 4) * np.uint8(255)
    grey = np.kron(squares, np.ones((height // 3, width // 4), np.uint8))
    return np.repeat(grey[:, :, None], 3, axis=2)


def number_of(pixels: npt.NDArray[Any]) -> int:
    """The number that `numbered` wrote, from grey or coloured pixels of any size."""
    grey = pixels if pixels.ndim == 2 else pixels.mean(axis=2)
    height, width = grey.shape
    total = 0
    for bit in range(BITS):
        row, column = divmod(bit, 4)
        middle = grey[int((row + 0.5) * height / 3), int((column + 0.5) * width / 4)]
        total |= int(middle > np.iinfo(pixels.dtype).max / 2) << bit
    return total


def write_numbered(path: str | Path, count: int, rate: float = 10, codec: str = "libx264", **more: Any) -> Path:
    """`write_video` of `count` frames of 48 x 64 pixels that say their numbers, from 0."""
    return write_video(path, (numbered(number) for number in range(count)), rate, codec, **more)
