"""Random access to a video file against the numbers in its frames, and against decoding it from its beginning."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_clips import number_of, numbered, write_numbered, write_video

from anotwin.domains.video import container
from anotwin.domains.video.container import VideoFile
from anotwin.domains.video.pyav import av_library
from anotwin.errors import DataError, MissingExtra

COUNT = 40
OPEN_GROUPS = {"x264-params": "open-gop=1:keyint=10:min-keyint=10"}  # B-frames before a keyframe need the group before
CLOSED = {"key_every": 7}
FILES: dict[str, dict[str, Any]] = {
    "one-keyframe.mp4": {},
    "h264.mp4": CLOSED,
    "h264.mkv": CLOSED,
    "h264.avi": CLOSED,  # B-frames without presentation timestamps
    "h264.ts": CLOSED,
    "h264.mxf": {**CLOSED, "rate": 25},
    "h264.flv": CLOSED,
    "open.mp4": {"options": OPEN_GROUPS},
    "open.ts": {"options": OPEN_GROUPS},
    "raw.h264": CLOSED,  # no timestamps at all
    "mpeg4.avi": {"codec": "mpeg4", "b_frames": 2, "key_every": 9},
    "mpeg4.mov": {"codec": "mpeg4", "b_frames": 2, "key_every": 9},
    "mpeg2.mpg": {"codec": "mpeg2video", "b_frames": 2, "rate": 25},  # several frames under one timestamp
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "vp8.webm": {"codec": "libvpx", "key_every": 8},
    "wmv2.wmv": {"codec": "wmv2", "key_every": 9},
    "ffv1.mkv": {"codec": "ffv1", "pix_fmt": "gray"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("videos")
    for name, how in FILES.items():
        write_numbered(made / name, COUNT, **how)
    return made


def from_beginning(path: Path) -> list[npt.NDArray[Any]]:
    """The reference: what FFmpeg gives when it decodes a file once, in the order in which it comes."""
    with av.open(str(path)) as file:
        grey = file.streams.video[0].pix_fmt == "gray"
        return [frame.to_ndarray(format="gray" if grey else "rgb24") for frame in file.decode(video=0)]


@pytest.mark.parametrize("name", FILES)
def test_any_order_gives_the_frames_of_one_order(folder: Path, name: str, rng: np.random.Generator) -> None:
    video, whole = VideoFile(folder / name), from_beginning(folder / name)
    assert video.count == len(whole) == COUNT
    assert [number_of(pixels) for pixels in whole] == list(range(COUNT))  # the reference is right
    order = [*range(COUNT), *reversed(range(COUNT)), *rng.integers(0, COUNT, 40).tolist()]
    for frame in order:
        np.testing.assert_array_equal(video.read(frame), whole[frame])
    assert video.size == whole[0].shape[:2]
    rate = FILES[name].get("rate", 25 if name.startswith("raw") else 10)
    np.testing.assert_allclose(video.times, np.arange(COUNT) / rate, atol=0.0011)  # mkv and flv count milliseconds
    assert video.rate == pytest.approx(rate)
    assert video.notes == ()


@settings(max_examples=40, deadline=None)
@given(name=st.sampled_from(sorted(FILES)), order=st.lists(st.integers(0, COUNT - 1), min_size=1, max_size=12))
def test_every_order_of_reading(folder: Path, name: str, order: list[int]) -> None:
    video = VideoFile(folder / name)
    assert [number_of(video.read(frame)) for frame in order] == order


def test_reading_forward_decodes_each_frame_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = VideoFile(folder / "h264.mp4")
    fed = []
    plain = container.numbered_packets

    def counted(*arguments: Any) -> Any:
        for number, packet in plain(*arguments):
            fed.append(number)
            yield number, packet

    monkeypatch.setattr(container, "numbered_packets", counted)
    for frame in range(0, COUNT, 2):  # with steps, too
        video.read(frame)
        video.read(max(frame - 5, 0))  # the frames just before are kept
    assert len(fed) <= COUNT + 1


def test_variable_frame_rate(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.08, 0.5, 0.54, 2.0, 2.04, 2.08, 5.0]
    for ending in ("mp4", "mkv"):
        path = write_numbered(tmp_path / f"variable.{ending}", len(times), times=times)
        video = VideoFile(path)
        np.testing.assert_allclose(video.times, times, atol=1e-3)
        assert video.rate == pytest.approx(8 / 5.0, rel=1e-3)
        assert [number_of(video.read(frame)) for frame in (8, 3, 4, 0)] == [8, 3, 4, 0]


def test_times_begin_with_the_first_frame(tmp_path: Path) -> None:
    video = VideoFile(write_numbered(tmp_path / "late.mkv", 5, times=[7.0, 7.1, 7.2, 7.3, 7.4]))
    np.testing.assert_allclose(video.times, [0, 0.1, 0.2, 0.3, 0.4], atol=1e-3)


TURNS = [(degrees, mirrored) for degrees in (0, 90, 180, -90) for mirrored in (False, True)]


@pytest.mark.parametrize(("degrees", "mirrored"), TURNS)
def test_frames_are_turned_as_players_turn_them(tmp_path: Path, degrees: int, mirrored: bool) -> None:
    stored = np.zeros((32, 64, 3), np.uint8)
    stored[:16, :16] = 255  # the upper left corner
    stored[:16, 16:32] = 128
    path = write_video(tmp_path / "turned.mp4", [stored] * 3, rotation=degrees, mirrored=mirrored)
    video = VideoFile(path)
    expected = np.rot90(stored, degrees // 90)  # counterclockwise, then mirrored as it is then seen
    expected = expected[:, ::-1] if mirrored else expected
    assert video.size == expected.shape[:2]
    assert np.abs(video.read(1).astype(int) - expected).mean() < 6


def test_grey_and_deep_grey(tmp_path: Path, rng: np.random.Generator) -> None:
    grey = rng.integers(0, 256, (5, 32, 48), dtype=np.uint8)
    video = VideoFile(write_video(tmp_path / "grey.mkv", grey, codec="ffv1", pix_fmt="gray"))
    np.testing.assert_array_equal([video.read(frame) for frame in range(5)], grey)
    deep = VideoFile(write_video(tmp_path / "deep.mkv", grey, codec="ffv1", pix_fmt="gray16le"))
    assert deep.read(0).dtype == np.uint16
    np.testing.assert_array_equal(deep.read(3) // 257, grey[3])
    colour = rng.integers(0, 256, (3, 32, 48, 3), dtype=np.uint8)
    exact = VideoFile(write_video(tmp_path / "colour.avi", colour, codec="rawvideo", pix_fmt="bgr24"))
    np.testing.assert_array_equal([exact.read(frame) for frame in range(3)], colour)


def test_another_process_reads_the_same(folder: Path) -> None:
    video = VideoFile(folder / "h264.mp4")
    assert number_of(video.read(11)) == 11
    copy = pickle.loads(pickle.dumps(video))  # with an open file
    assert [number_of(copy.read(frame)) for frame in (30, 2)] == [30, 2]
    np.testing.assert_array_equal(copy.times, video.times)
    assert (copy.count, copy.rate, copy.size, copy.path) == (video.count, video.rate, video.size, video.path)
    video.close()
    assert number_of(video.read(12)) == 12


def test_a_fork_does_not_move_the_position_of_its_parent(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fork shares the position in the file: the child must open it for itself."""
    video = VideoFile(folder / "h264.mp4")
    video.read(5)
    parents = vars(video)["_decoder"]
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert number_of(video.read(30)) == 30
    assert vars(video)["_decoder"] is not parents


def test_few_frames_are_kept(folder: Path) -> None:
    video = VideoFile(folder / "h264.mp4")
    for frame in range(COUNT):
        video.read(frame)
    assert len(vars(video)["_recent"]) <= 8


def blank(path: Path, of: list[int]) -> None:
    """Overwrite the packets of these numbers with zeros."""
    with av.open(str(path)) as file:
        places = [(packet.pos, packet.size) for packet in file.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for number in of:
        pos, size = places[number]
        data[pos + 16 : pos + size] = bytes(max(size - 16, 0))  # after the header of a chunk of AVI
    path.write_bytes(data)


def test_damaged_frames_fail_and_the_others_are_read(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "damaged.avi", 20, codec="mjpeg", pix_fmt="yuvj420p")
    blank(path, [4, 5, 19])
    video = VideoFile(path)
    assert video.count == 20
    for order in (range(20), reversed(range(20))):
        for frame in order:
            if frame in (4, 5, 19):
                with pytest.raises(DataError, match=rf"damaged\.avi: frame {frame + 1} of 20, at {frame / 10:.2f} s"):
                    video.read(frame)
            else:
                assert number_of(video.read(frame)) == frame


@pytest.mark.parametrize("ending", ["mp4", "mkv", "avi", "ts"])
def test_a_file_that_is_cut_off(tmp_path: Path, ending: str, rng: np.random.Generator) -> None:
    noise = rng.integers(0, 60, (60, 48, 64, 1), dtype=np.uint8)
    frames = [np.maximum(numbered(number) // 2 + 64, noise[number]) + noise[number] // 2 for number in range(60)]
    options = {"movflags": "faststart"} if ending == "mp4" else {}
    whole = tmp_path / f"whole.{ending}"
    _write_in_order(whole, frames, options)
    path = tmp_path / f"cut.{ending}"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    video = VideoFile(path)
    reference = VideoFile(whole)
    assert 20 <= video.count < 50
    failed = []
    for frame in range(video.count):
        try:
            np.testing.assert_array_equal(video.read(frame), reference.read(frame))
        except (DataError, AssertionError):  # the last one may be shown although its end is missing
            failed.append(frame)
    assert failed in ([], [video.count - 1])
    assert ending == "ts" or "cut off" in video.notes[0]  # a stream says nothing of its length


def _write_in_order(path: Path, frames: list[npt.NDArray[np.uint8]], options: dict[str, str]) -> None:
    """H.264 with a table of contents at the beginning of an mp4, without B-frames."""
    with av.open(str(path), "w", options=options) as file:
        stream: Any = file.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = 8, 0
        for pixels in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(stream.encode(None))


def test_a_recording_that_begins_in_the_middle(tmp_path: Path) -> None:
    whole = write_numbered(tmp_path / "whole.ts", 40, key_every=10, b_frames=0)
    data = whole.read_bytes()
    path = tmp_path / "middle.ts"
    path.write_bytes(data[188 * (len(data) // 188 // 3) :])
    video = VideoFile(path)
    first = number_of(video.read(0))
    assert first in (20, 30)  # a keyframe
    assert [number_of(video.read(frame)) for frame in reversed(range(video.count))] == [*reversed(range(first, 40))]
    assert "begins in the middle" in video.notes[0]


def test_another_resolution_in_the_middle_of_a_file(tmp_path: Path) -> None:
    small = write_numbered(tmp_path / "small.ts", 10, key_every=5, b_frames=0)
    large = write_video(
        tmp_path / "large.ts", (numbered(number, 96, 128) for number in range(10, 20)), key_every=5, b_frames=0
    )
    path = _one_after_the_other(tmp_path / "both.mkv", [small, large])
    video = VideoFile(path)
    assert video.count == 20
    for frame in (3, 15, 9, 10, 19, 0):
        pixels = video.read(frame)
        assert pixels.shape == ((48, 64, 3) if frame < 10 else (96, 128, 3))
        assert number_of(pixels) == frame
    assert video.size == (48, 64)


def _one_after_the_other(path: Path, parts: list[Path]) -> Path:
    """The packets of files of the same codec in one file, as cameras write when their settings are changed."""
    with av.open(str(path), "w") as out:
        stream = None
        shift = 0
        for part in parts:
            with av.open(str(part)) as file:
                source = file.streams.video[0]
                stream = stream or out.add_stream_from_template(source)
                last = 0
                for packet in file.demux(source):
                    if packet.dts is not None:
                        last = max(last, packet.pts)
                        packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                        out.mux(packet)
                shift += last
    return path


def test_frames_that_are_hidden_are_none(tmp_path: Path) -> None:
    """VP8 has packets that only help to decode others (RFC 6386, 9.1: show_frame)."""
    path, plain = tmp_path / "hidden.webm", write_numbered(tmp_path / "plain.webm", 20, codec="libvpx")
    hidden = 9
    with av.open(str(plain)) as file, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(file.streams.video[0])
        for number, packet in enumerate(file.demux(video=0)):
            if packet.size:
                data = bytearray(bytes(packet))
                data[0] &= ~0x10 if number == hidden else 0xFF
                changed = av.Packet(bytes(data))
                changed.pts, changed.dts, changed.time_base = packet.pts, packet.dts, packet.time_base
                changed.is_keyframe, changed.stream = packet.is_keyframe, stream
                out.mux(changed)
    video = VideoFile(path)
    shown = [number for number in range(20) if number != hidden]
    assert [number_of(video.read(frame)) for frame in range(video.count)] == shown
    np.testing.assert_allclose(video.times, np.array(shown) / 10, atol=1e-3)


def test_a_file_of_one_frame(tmp_path: Path) -> None:
    video = VideoFile(write_numbered(tmp_path / "one.mp4", 1))
    assert (video.count, video.times.tolist(), number_of(video.read(0))) == (1, [0.0], 0)
    with pytest.raises(IndexError):
        video.read(1)


def test_what_is_no_video(tmp_path: Path) -> None:
    text, empty = tmp_path / "text.mp4", tmp_path / "empty.mp4"
    text.write_text("no video at all\n" * 40)
    empty.touch()
    cut = write_numbered(tmp_path / "cut.mp4", 5)
    cut.write_bytes(cut.read_bytes()[:200])  # the table of contents stands at the end
    for path, said in (
        (text, "cannot be read as a video"),
        (empty, "is empty"),
        (cut, "cannot be read as a video"),
        (tmp_path / "none.mp4", "no such file"),
        (tmp_path, "no such file"),
    ):
        with pytest.raises(DataError, match=said) as raised:
            VideoFile(path)
        assert str(path) in str(raised.value)
        assert "\n" not in str(raised.value)


def write_sound(path: Path, cover: bool = False) -> Path:
    """A second of silence, with or without a picture on its cover."""
    with av.open(str(path), "w") as file:
        picture: Any = file.add_stream("mjpeg", rate=1) if cover else None
        sound: Any = file.add_stream("aac", rate=8000)
        if cover:
            picture.width, picture.height, picture.pix_fmt = 64, 48, "yuvj420p"
            picture.disposition |= av.stream.Disposition.attached_pic
            frame = av.VideoFrame.from_ndarray(numbered(1), format="rgb24")
            file.mux([*picture.encode(frame), *picture.encode(None)])
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        samples.sample_rate = 8000
        file.mux([*sound.encode(samples), *sound.encode(None)])
    return path


def test_sound_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"sound\.mp4: no video stream in it, only audio"):
        VideoFile(write_sound(tmp_path / "sound.mp4"))
    path = write_sound(tmp_path / "song.mp4", cover=True)
    with av.open(str(path)) as file:
        assert file.streams.video[0].disposition & av.stream.Disposition.attached_pic
    with pytest.raises(DataError, match=r"song\.mp4: no video stream in it"):
        VideoFile(path)


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{other}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile {other}\n",
        "v=0\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    ],
    ids=["playlist", "list of files", "session"],
)
def test_a_file_that_names_others_is_not_followed(tmp_path: Path, text: str) -> None:
    write_numbered(tmp_path / "other.ts", 5)
    path = tmp_path / "names.mp4"
    path.write_text(text.format(other="other.ts"))
    with pytest.raises(DataError, match="cannot be read as a video"):
        VideoFile(path)


def test_names_of_files_that_look_like_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_numbered(tmp_path / "a.mp4", 3).rename(tmp_path / "http:é 100%.mp4")
    monkeypatch.chdir(tmp_path)
    assert VideoFile("http:é 100%.mp4").count == 3


def test_without_pyav(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtra, match=r"clip\.mp4: .*anotwin\[video\]"):
        VideoFile(tmp_path / "clip.mp4")
    with pytest.raises(MissingExtra):
        av_library("a camera")
