"""Frames of a video file in any order."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from anotwin.domains.video.frame_index import FrameIndex, frame_number, index_frames, numbered_packets
from anotwin.domains.video.pyav import av_library, frame_pixels, open_stream, reason_of
from anotwin.errors import DataError
from anotwin.records import Array

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_RECENT = 8  # decoded frames that are kept, as they come: 1.5 bytes a pixel
_AHEAD = 24  # frames up to which decoding on is cheaper than a search for the keyframe


class VideoFile:
    """The frames of one file, each of them readable at any time.

    Reading forward decodes each frame once; elsewhere decoding begins at the keyframe before. A few frames are kept.
    One file may change its resolution: frames come at their own. Of a damaged file those frames fail that the decoder
    refuses or marks; what it does not notice looks like any other frame.

    It can be pickled, closed and read again, also after a fork; threads wait for each other.

    Raises:
        DataError: no such file, empty, no video in it or not one that can be read. MissingExtra: PyAV is missing.

    Attributes:
        path: the file.
        times: (count,) float64 seconds from the first frame, ascending, by the timestamps of the file.
        rate: frames a second on average; None: nobody knows.
        notes: what a person should know, each with the name of the file: it is cut off ...
    """

    _decoder: _Decoder | None

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        library = av_library(self.path)
        self._index = index_frames(lambda: open_stream(self.path), (library.FFmpegError,))
        if not self.count:
            raise DataError(f"{self.path}: no frame in the file; is it damaged or cut off?")
        self.times: npt.NDArray[np.float64] = self._index.seconds
        self.rate = self._index.rate
        self.notes = tuple(f"{self.path}: {note}" for note in self._index.notes)
        self._size: tuple[int, int] | None = None
        self._forget()

    @property
    def count(self) -> int:
        """Frames."""
        return len(self._index.packets)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the first frame, upright; (0, 0) where it cannot be decoded."""
        if self._size is None:
            try:
                self._size = self.read(0).shape[:2]
            except DataError:
                self._size = (0, 0)
        return self._size

    def read(self, frame: int) -> Array:
        """(H, W, 3) or, of grey streams, (H, W); uint8, of deep grey uint16; `frame` from 0.

        Raises:
            DataError: this frame cannot be decoded; it names the file, the frame (from 1) and the second.
        """
        if not 0 <= frame < self.count:
            raise IndexError(f"frame {frame} of {self.count}")
        if self._process != os.getpid():  # forked: the file's position is shared with the other process
            self._forget()
        with self._lock:
            found = self._recent.get(frame) or self._search(frame)
            return frame_pixels(found)

    def close(self) -> None:
        """Close the file; `read` opens it again."""
        with self._lock:
            if self._decoder is not None:
                self._decoder.close()
            self._decoder = None
            self._recent.clear()

    def __getstate__(self) -> dict[str, Any]:
        kept = ("path", "_index", "times", "rate", "notes", "_size")
        return {name: vars(self)[name] for name in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._forget()

    def _forget(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._decoder = None
        self._recent: OrderedDict[int, VideoFrame] = OrderedDict()
        self._failed: dict[int, str] = {}

    def _search(self, frame: int) -> VideoFrame:
        """Decode until `frame` comes, or one that is shown after it."""
        decoder = None if frame in self._failed else self._at(frame)
        for place, found in decoder.frames if decoder else ():
            if not found.is_corrupt:
                self._recent[place] = found
                while len(self._recent) > _RECENT:
                    self._recent.popitem(last=False)
            if place >= frame:
                break
        if frame in self._recent:
            return self._recent[frame]
        if decoder:
            self._failed[frame] = decoder.said.get(
                int(self._index.packets[frame]), "the decoder gives no whole picture"
            )
        raise DataError(
            f"{self.path}: frame {frame + 1} of {self.count}, at {self.times[frame]:.2f} s, cannot be decoded "
            f"({self._failed[frame]}); the file is damaged or cut off there, its other frames are read"
        )

    def _at(self, frame: int) -> _Decoder:
        """A decoder that will come to `frame`."""
        key, decoder = self._index.key_before(frame), self._decoder
        self._decoder = None  # where the file cannot be opened any more
        if decoder is None:
            decoder = _Decoder(self.path, self._index, key)
        elif decoder.last >= frame or (key > decoder.at and frame - decoder.last > _AHEAD):
            decoder.go_to(key)
        self._decoder = decoder
        return decoder


class _Decoder:
    """An open file, and the frames that come from a packet on."""

    def __init__(self, path: Path, index: FrameIndex, key: int) -> None:
        self._path, self._index = path, index
        self._errors = (av_library(path).FFmpegError,)
        self._reopen()
        self.go_to(key)

    def go_to(self, key: int) -> None:
        """Go on with the packet `key`: by a search where the file allows it, else from its beginning."""
        self.at, self.last = key - 1, -1  # the packet decoded last, the frame that came last
        self.said: dict[int, str] = {}  # why packets could not be decoded
        self.frames = self._decoded(self._found(key) or self._from_beginning(), key)

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _reopen(self) -> None:
        self._container, self._stream = open_stream(self._path)
        self._stream.codec_context.copy_opaque = True

    def _from_beginning(self) -> Iterator[tuple[int, Packet[VideoStream]]]:
        self._container.close()
        self._reopen()
        return numbered_packets(self._container.demux(self._stream), self._errors)

    def _found(self, key: int) -> Iterator[tuple[int, Packet[VideoStream]]] | None:
        """The packets of the file from `key` or somewhat before on; None: they are not found by their timestamps.

        Some formats search by the time of decoding, which is that of presentation of a few packets earlier.
        """
        stamps = self._index.stamps
        if stamps is None or key == 0:
            return None
        for stamp in (stamps[key], stamps[max(key - _RECENT, 0) : key].min(), stamps[max(key - 10 * _AHEAD, 0)]):
            try:
                self._container.seek(int(stamp), stream=self._stream)
            except self._errors:
                continue
            packets = self._recognised()
            first = next(packets, None)
            if first is not None and first[0] <= key:
                return chain([first], packets)
        return None

    def _recognised(self) -> Iterator[tuple[int, Packet[VideoStream]]]:
        """Packets with their numbers: the first that the index knows, and all after it."""
        known: int | None = None
        for count, packet in numbered_packets(self._container.demux(self._stream), self._errors):
            if known is None and packet.size:
                known = self._index.number_of(packet)
                if known is None and count > _AHEAD:
                    return
            elif known is not None and packet.size:
                known += 1
            if known is not None:
                if packet.size:
                    packet.opaque = (known,)
                yield known, packet

    def _decoded(
        self, packets: Iterator[tuple[int, Packet[VideoStream]]], key: int
    ) -> Iterator[tuple[int, VideoFrame]]:
        """Frames with their places, from the packet `key` on."""
        for number, packet in packets:
            if number < key:
                continue
            self.at = number
            try:
                frames = packet.decode()
            except self._errors as error:
                self.said[number] = reason_of(error)
                continue
            for frame in frames:
                came = frame_number(frame)
                place = -1 if came is None else int(self._index.places[came])
                if place >= 0:
                    self.last = place
                    yield place, frame
