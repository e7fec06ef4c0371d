"""Which packet of a video file holds which frame: found without decoding where the timestamps can be trusted.

A file holds packets in the order in which they are decoded. Frames are shown in the order of their presentation
timestamps (pts), which differs where frames are coded by later ones (B-frames). AVI, MXF and raw streams have no pts,
and what libraries make up for them is wrong with B-frames: these files are decoded once to learn the order.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

Numbers = npt.NDArray[np.int64]
Open = Callable[[], "tuple[InputContainer, VideoStream]"]  # the file from its beginning

PROBED = 24  # packets decoded to see whether each gives a frame: groups of B-frames and hidden frames are shorter
_NONE = -(2**63)  # a timestamp that is missing
_WITH_PTS = {"mov", "matroska", "webm", "mpegts", "mpeg", "asf", "flv", "ogg", "nut"}  # formats that store pts


@dataclass(frozen=True)
class FrameIndex:
    """The frames of a file in the order in which they are shown."""

    packets: Numbers  # (count,) the number of its packet, in the order of the file
    places: Numbers  # (packets in the file,) the frame of each packet; -1: it shows none
    keys: Numbers  # numbers of the packets that are decoded without others, ascending
    stamps: Numbers | None  # (packets in the file,) distinct: pts or dts; None: a packet is known by counting alone
    by_pts: bool  # whether stamps are pts
    sizes: Numbers  # (packets in the file,) bytes
    seconds: npt.NDArray[np.float64]  # (count,) ascending from 0
    rate: float | None  # frames a second, on average
    notes: tuple[str, ...] = ()  # what a person should know, without the name of the file

    def key_before(self, frame: int) -> int:
        """The number of the packet from which decoding must begin to get `frame`."""
        at = int(np.searchsorted(self.keys, self.packets[frame], "right")) - 1
        while at > 0 and self.places[self.keys[at]] > frame:  # shown before that keyframe, and coded by the one before
            at -= 1
        return int(self.keys[max(at, 0)])

    def number_of(self, packet: Packet[VideoStream]) -> int | None:
        """The number of a packet that was read anywhere in the file; None: it is none that was indexed.

        The size counts too: after a search some formats begin within a packet, or make up other timestamps.
        """
        stamp = packet.pts if self.by_pts else packet.dts
        if self.stamps is None or stamp is None:
            return None
        at = int(np.searchsorted(self.stamps, stamp, sorter=self._sorter))
        number = int(self._sorter[at]) if at < len(self._sorter) else -1
        same = number >= 0 and self.stamps[number] == stamp and self.sizes[number] == packet.size
        return number if same else None

    @cached_property
    def _sorter(self) -> Numbers:
        return np.argsort(self.stamps) if self.stamps is not None else np.zeros(0, np.int64)


@dataclass(frozen=True)
class _Packets:
    """What a file says of its packets, in its order."""

    pts: Numbers
    dts: Numbers
    key: npt.NDArray[np.bool_]
    sizes: Numbers
    hidden: npt.NDArray[np.bool_]  # to be decoded and not to be shown
    empty: int  # packets without content, which stand for frames that were dropped when the file was written
    ended: str  # why the file could not be read to its end; ""


def index_frames(open_file: Open, errors: tuple[type[Exception], ...]) -> FrameIndex:
    """The index of the video stream that `open_file` opens; `errors` are what the library raises of damaged files."""
    container, stream = open_file()
    with container:
        found = _packets(container, stream, errors)
        base = float(stream.time_base or 0)
        usual = float(stream.average_rate) if stream.average_rate else None
        claim = int(stream.frames), _declared_seconds(container, stream)
        trusted = _has_order(container, stream, found)
    order, notes = _by_stamps(found)
    if not trusted or not _all_show(open_file, order, errors):
        order, notes = _by_decoding(open_file, errors), ()
    places = np.full(len(found.pts), -1, np.int64)
    places[order] = np.arange(len(order))
    seconds = _times(found, order, trusted, base, usual)
    mean = (len(seconds) - 1) / float(seconds[-1]) if len(seconds) > 1 and seconds[-1] > 0 else usual
    keys = np.flatnonzero(found.key) if found.key.any() else np.zeros(1, np.int64)
    by_pts = trusted or not _distinct(found.dts)
    stamps = found.pts if by_pts else found.dts
    notes += _end_notes(found, claim, seconds)
    return FrameIndex(
        order, places, keys, stamps if _distinct(stamps) else None, by_pts, found.sizes, seconds, mean, notes
    )


def numbered_packets(
    packets: Iterator[Packet[VideoStream]], errors: tuple[type[Exception], ...]
) -> Iterator[tuple[int, Packet[VideoStream]]]:
    """Packets with their numbers from 0, which the frames that are decoded from them bear as `opaque`."""
    number = 0
    while True:
        try:
            packet = next(packets, None)
        except errors:  # damage, beyond which nothing is found
            return
        if packet is None:
            return
        if packet.size:
            packet.opaque = (number,)  # a new object for each: the library tells them apart by their addresses
            number += 1
        yield number - 1, packet


def frame_number(frame: VideoFrame) -> int | None:
    """The number of the packet that a frame was decoded from."""
    return frame.opaque[0] if isinstance(frame.opaque, tuple) else None


def _packets(container: InputContainer, stream: VideoStream, errors: tuple[type[Exception], ...]) -> _Packets:
    pts, dts, sizes, key, hidden = array("q"), array("q"), array("q"), array("b"), array("b")
    empty, ended = 0, ""
    try:
        for packet in container.demux(stream):
            empty += not packet.size and packet.dts is not None
            if packet.size:
                pts.append(_NONE if packet.pts is None else packet.pts)
                dts.append(_NONE if packet.dts is None else packet.dts)
                sizes.append(packet.size)
                key.append(packet.is_keyframe)
                hidden.append(packet.is_discard)
    except errors as error:
        ended = str(getattr(error, "strerror", None) or error)
    return _Packets(_as(pts), _as(dts), _as(key).astype(bool), _as(sizes), _as(hidden).astype(bool), empty, ended)


def _as(values: array[int]) -> Numbers:
    return np.array(values, np.int64)


def _distinct(stamps: Numbers) -> bool:
    return not (stamps == _NONE).any() and len(np.unique(stamps)) == len(stamps)


def _has_order(container: InputContainer, stream: VideoStream, found: _Packets) -> bool:
    """Whether the presentation timestamps are the file's own."""
    stored = bool(_WITH_PTS & set(container.format.name.split(",")))
    return _distinct(found.pts) and (stored or not stream.codec_context.has_b_frames)


def _by_stamps(found: _Packets) -> tuple[Numbers, tuple[str, ...]]:
    """The packets in the order of their pts, without those that nothing before them allows to decode."""
    shown = ~found.hidden
    notes: tuple[str, ...] = ()
    if found.key.any():
        first = int(np.argmax(found.key))
        able = (np.arange(len(found.pts)) >= first) & (found.pts >= found.pts[first])
        if lost := int((shown & ~able).sum()):
            notes = (f"it begins in the middle: {lost} frames before the first keyframe cannot be decoded",)
        shown &= able
    order = np.flatnonzero(shown)
    return order[np.argsort(found.pts[order], kind="stable")], notes


def _all_show(open_file: Open, order: Numbers, errors: tuple[type[Exception], ...]) -> bool:
    """Whether each of the first packets gives a frame or an error: fields and hidden frames have their own packets."""
    container, stream = open_file()
    stream.codec_context.copy_opaque = True
    came: set[int] = set()
    with container:
        for number, packet in numbered_packets(container.demux(stream), errors):
            if number >= PROBED:
                break
            try:
                came |= {each for frame in packet.decode() if (each := frame_number(frame)) is not None}
            except errors:
                came.add(number)
    places = [place for place, number in enumerate(order[: 2 * PROBED].tolist()) if number in came]
    return not places or came >= set(order[: places[-1]].tolist())


def _by_decoding(open_file: Open, errors: tuple[type[Exception], ...]) -> Numbers:
    """The packets in the order in which their frames come out of the decoder; those that fail come where they fail."""
    container, stream = open_file()
    stream.codec_context.copy_opaque = True
    order = array("q")
    with container:
        for number, packet in numbered_packets(container.demux(stream), errors):
            try:
                for frame in packet.decode():
                    each = frame_number(frame)
                    order.append(number if each is None else each)
            except errors:
                order.append(number)
    return _as(order)[np.sort(np.unique(_as(order), return_index=True)[1])]


def _times(found: _Packets, order: Numbers, trusted: bool, base: float, usual: float | None) -> npt.NDArray[np.float64]:
    """(count,) seconds from the first frame. Without pts the frames come at the times of decoding, in their order."""
    for stamps in (found.pts, found.dts) if trusted else (found.dts, found.pts):
        if base and _distinct(stamps):
            ticks = np.sort(stamps[order])
            return np.asarray((ticks - ticks[:1]) * base, np.float64)
    return np.arange(len(order)) / (usual or 25.0)  # raw streams: 25 is what libraries take for them


def _declared_seconds(container: InputContainer, stream: VideoStream) -> float:
    """How long the file says that it is; 0: it does not, or another stream may be the longer one."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    alone = len(container.streams) == 1
    return container.duration / 1e6 if alone and container.duration else 0.0


def _end_notes(found: _Packets, claim: tuple[int, float], seconds: npt.NDArray[np.float64]) -> tuple[str, ...]:
    """Whether the file ends before it says that it does; `claim` are the frames and the seconds that it says."""
    declared, long = claim
    there, last = len(found.pts) + found.empty, float(seconds[-1]) if len(seconds) else 0.0
    if found.ended:
        return (f"it is damaged or cut off: {len(seconds)} frames are found until then ({found.ended})",)
    if declared > there:
        return (f"it is cut off: {there} of {declared} frames are there",)
    if long - last > max(1.0, 0.05 * long, 2 * last / max(len(seconds) - 1, 1)):
        return (f"it is cut off: it says {long:.1f} s, its frames end at {last:.1f} s",)
    return ()
