"""Live sources: files that are played, and streams of a server on this machine that is killed and comes back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from camera_server import PATIENCE, Camera
from hypothesis import given
from hypothesis import strategies as st
from made_clips import number_of, numbered, write_numbered

from anotwin.domains.video.live import Gap, LiveFrame, LiveFrames, shown_address
from anotwin.domains.video.newest import Newest
from anotwin.domains.video.stream_clock import JUMP, StreamClock
from anotwin.errors import DataError
from anotwin.updates import Update


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("http_proxy", raising=False)


@contextmanager
def reading(address: object, **how: Any) -> Iterator[LiveFrames]:
    """A source that is stopped at the end, and when a test hangs."""
    with LiveFrames(str(address), **how) as live:
        guard = threading.Timer(PATIENCE, live.stop)
        guard.start()
        yield live
        guard.cancel()


def frames_of(live: LiveFrames, most: int = 10**6) -> list[LiveFrame]:
    """The first frames, without gaps."""
    found = []
    for event in live:
        if isinstance(event, LiveFrame):
            found.append(event)
            if len(found) == most:
                break
    return found


@pytest.fixture
def camera() -> Iterator[Camera]:
    made = Camera(numbered).start()
    yield made
    made.kill()


def test_a_stream_survives_the_restart_of_its_server(camera: Camera) -> None:
    told: list[Update] = []
    events: list[LiveFrame | Gap] = []
    with reading(camera.address, watch=told.append) as live:
        for event in live:
            events.append(event)
            if len(events) == 15:
                camera.kill()
                threading.Timer(0.2, camera.start).start()
            if len(events) == 40:
                break
    gaps = [event for event in events if isinstance(event, Gap)]
    frames = [event for event in events if isinstance(event, LiveFrame)]
    assert len(gaps) == 1
    at = events.index(gaps[0])
    assert 14 <= at < 39
    before, after = events[at - 1], events[at + 1]
    assert isinstance(before, LiveFrame)
    assert isinstance(after, LiveFrame)
    assert (gaps[0].begin, gaps[0].end) == (before.time, after.time)
    assert 0.2 < gaps[0].end - gaps[0].begin < 15
    assert gaps[0].reason
    numbers = [number_of(frame.pixels) for frame in frames]
    assert numbers == sorted(set(numbers))
    assert number_of(after.pixels) > number_of(before.pixels)
    times = [frame.time for frame in frames]
    assert (np.diff(times) > 0).all()
    assert [update.detail for update in told] == [
        f"{camera.address}: the source is lost ({gaps[0].reason}); trying again"
    ]


def test_a_slow_consumer_sees_the_newest_frames(camera: Camera) -> None:
    camera.interval = 0.01
    found, behind = [], []
    with reading(camera.address, waiting=2) as live:
        for event in live:
            assert isinstance(event, LiveFrame)
            found.append(event.number)
            behind.append(camera.number - number_of(event.pixels))
            time.sleep(0.1)
            if len(found) == 10:
                break
        dropped = live.dropped
    missed = set(range(1, found[-1])) - set(found)
    assert 20 < len(missed) <= dropped <= camera.number - len(found)
    assert max(behind) < 45  # they do not pile up: some 90 come in this second, and 10 are taken


def test_frames_that_cannot_be_decoded_are_counted(camera: Camera) -> None:
    camera.damaged = {5, 6, 9}
    with reading(camera.address, waiting=50) as live:
        found = frames_of(live, 15)
        assert [number_of(frame.pixels) for frame in found] == [n for n in range(18) if n not in camera.damaged]
        assert live.damaged == 3
        assert live.dropped == 0


def test_a_source_that_falls_silent_is_lost(camera: Camera) -> None:
    camera.stall_after = 8
    with reading(camera.address, read_timeout=0.5) as live:
        events = []
        for event in live:
            events.append(event)
            if len(events) == 12:
                break
    gap = next(event for event in events if isinstance(event, Gap))
    assert gap.reason == "no answer in time"
    assert gap.end - gap.begin > 0.5


def test_a_source_that_comes_later(camera: Camera) -> None:
    camera.kill()
    threading.Timer(0.3, camera.start).start()
    with reading(camera.address, give_up_after=10) as live:
        first, second = next(iter(live)), next(iter(live))
    assert isinstance(first, Gap)
    assert isinstance(second, LiveFrame)
    assert (first.begin, first.end, second.number) == (0.0, second.time, 1)
    assert "refused" in first.reason


def test_giving_up(camera: Camera) -> None:
    with reading(camera.address.replace("//", "//me:secret@"), give_up_after=0.6) as live:
        frames_of(live, 3)
        camera.kill()
        with pytest.raises(DataError, match=r"^http://127.0.0.1:\d+/live: no frame for 0.6 s \(.*\)") as raised:
            frames_of(live)
        assert "secret" not in str(raised.value)
        assert list(live) == []


def test_what_cannot_succeed_is_an_error_at_once(camera: Camera, tmp_path: Path) -> None:
    camera.status = 404
    with (
        reading(camera.address + "?key=secret") as live,
        pytest.raises(DataError, match="is the address right") as raised,
    ):
        frames_of(live)
    assert "secret" not in str(raised.value)
    for name in ("none.mp4", "file:///etc/hostname", "/dev/none"):
        with pytest.raises(DataError, match="no such file; expected a video file, a device"):
            LiveFrames(name)
    text = tmp_path / "text.mp4"
    text.write_text("no video" * 50)
    with reading(text) as live, pytest.raises(DataError, match=r"text\.mp4: cannot be read as a video"):
        frames_of(live)


@pytest.mark.parametrize("answers", [False, True])
def test_it_stops_at_once_whatever_it_waits_for(camera: Camera, answers: bool) -> None:
    camera.interval = PATIENCE
    if not answers:
        camera.kill()
    with reading(camera.address) as live:
        threading.Timer(0.3, live.stop).start()
        began = time.monotonic()
        assert len(frames_of(live)) <= 1
        assert time.monotonic() - began < 5
    assert list(live) == []


def test_a_file_is_played_as_if_it_were_live(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "walk.avi", 30, rate=50, key_every=8)  # with B-frames, without timestamps
    began = time.monotonic()
    with reading(path, waiting=40) as live:
        found = frames_of(live)
    assert 0.55 < time.monotonic() - began < 10
    assert [number_of(frame.pixels) for frame in found] == list(range(30))
    assert [frame.number for frame in found] == list(range(1, 31))
    times = [frame.time - found[0].time for frame in found]
    assert np.abs(np.array(times) - np.arange(30) / 50).max() < 0.5
    assert live.dropped == 0


def test_a_slow_consumer_misses_frames_of_a_file_too(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "walk.mp4", 40, rate=100)
    with reading(path, waiting=1) as live:
        found = []
        for event in live:
            assert isinstance(event, LiveFrame)
            assert number_of(event.pixels) == event.number - 1
            found.append(event.number)
            time.sleep(0.1)
    assert found[-1] == 40  # the newest
    assert live.dropped == 40 - len(found)
    assert live.dropped > 10


@pytest.mark.parametrize("ending", ["mp4", "ts"])
def test_a_film_in_the_network(tmp_path: Path, ending: str) -> None:
    """It comes at the speed of the network, and is played at its own; an mp4 tells where it ends."""
    path = write_numbered(tmp_path / f"film.{ending}", 50, rate=100, b_frames=0)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = path.read_bytes()
            start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            self.wfile.write(data[start:])

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        with reading(f"http://127.0.0.1:{server.server_address[1]}/film.{ending}", waiting=60) as live:
            found = frames_of(live)
    finally:
        server.shutdown()
        server.server_close()
    assert [number_of(frame.pixels) for frame in found] == list(range(50))
    assert 0.3 < found[-1].time - found[0].time < 5


def test_a_device_that_is_not_there() -> None:
    with reading("/dev/video99", give_up_after=0.1) as live, pytest.raises(DataError, match="/dev/video99: no frame"):
        frames_of(live)


@given(st.lists(st.tuples(st.floats(0.001, 0.2), st.floats(0, 0.5)), min_size=1, max_size=60), st.floats(-1e5, 1e5))
def test_times_ascend_and_are_never_later_than_frames_come(steps: list[tuple[float, float]], start: float) -> None:
    clock, pts, arrival = StreamClock(), 0.0, 0.0
    last = 0.0
    for step, late in steps:
        pts += step
        arrival = max(arrival, pts + late)
        found = clock.time_of(start + pts, arrival)
        assert last < found <= max(arrival, last) + 2e-6
        assert found >= arrival - JUMP - 1e-6
        last = found


@given(st.floats(-1e4, 1e4), st.lists(st.floats(0, 0.4), min_size=2, max_size=50))
def test_a_jittering_network_does_not_move_times(start: float, late: list[float]) -> None:
    """The first frame comes without delay; the others come late, in their order, and have the times of the source."""
    clock = StreamClock()
    arrivals = np.maximum.accumulate(np.arange(len(late) + 1) * 0.1 + np.array([0.0, *late]))
    found = [clock.time_of(start + 0.1 * number, arrival + 5) for number, arrival in enumerate(arrivals)]
    followed = 0.4 * 0.005 * np.arange(len(found))  # a slow clock could be the reason as well
    assert (np.array(found) >= 5 + 0.1 * np.arange(len(found)) - 1e-6).all()
    assert (np.array(found) <= 5 + 0.1 * np.arange(len(found)) + followed + 1e-6 * np.arange(1, len(found) + 1)).all()


def test_two_clocks_that_drift_apart_stay_together() -> None:
    for drift in (-1e-3, 1e-3):  # more than three seconds in this hour
        clock = StreamClock()
        arrivals = np.arange(0, 3600, 0.04)
        found = np.array([clock.time_of(arrival * (1 + drift), arrival) for arrival in arrivals.tolist()])
        assert np.abs(found - arrivals).max() < 0.01
        assert np.abs(np.diff(found) - 0.04).max() < 0.001


@pytest.mark.parametrize("jump", [-100.0, 5000.0, 0.0])
def test_timestamps_that_jump_are_not_believed(jump: float) -> None:
    clock = StreamClock()
    found = [clock.time_of(0.1 * number + (jump if number >= 5 else 0), 0.1 * number) for number in range(1, 20)]
    np.testing.assert_allclose(found, 0.1 * np.arange(1, 20), atol=1e-4)
    clock.restart()  # a new connection
    assert clock.time_of(77.0, 3.0) == 3.0
    assert clock.time_of(77.1, 3.3) == pytest.approx(3.1, abs=0.01)
    assert clock.time_of(None, 3.4) == 3.4


@given(st.lists(st.one_of(st.just("frame"), st.just("gap"), st.just("take")), max_size=60), st.integers(1, 4))
def test_what_waits_is_the_newest(steps: list[str], most: int) -> None:
    """Against a list that is searched anew each time."""
    newest: Newest[int] = Newest(most)
    waiting: list[int | Gap] = []
    dropped = put = 0
    for number, step in enumerate(steps):
        if step == "take" and waiting:
            assert newest.next() == waiting.pop(0)
        elif step == "gap" and not (waiting and isinstance(waiting[-1], Gap)):
            waiting.append(Gap(number, number + 0.5, str(number)))
            newest.put(waiting[-1])
        elif step == "frame":
            put += 1
            frames = [event for event in waiting if isinstance(event, int)]
            if len(frames) == most:
                waiting.remove(frames[0])
                dropped += 1
                for before, after in pairwise(waiting):
                    if isinstance(before, Gap) and isinstance(after, Gap):
                        at = waiting.index(before)
                        waiting[at : at + 2] = [Gap(before.begin, after.end, after.reason)]
                        break
            waiting.append(number)
            newest.put(number)
        assert newest.dropped == dropped
    newest.end()
    assert [newest.next() for _ in waiting] == waiting
    assert newest.next() is None


def test_errors_come_after_what_waits() -> None:
    newest: Newest[int] = Newest(2)
    newest.put(1)
    newest.end(ValueError("a bug"))
    newest.put(2)
    assert newest.next() == 1
    with pytest.raises(DataError, match="a bug"):
        newest.next()
    assert newest.next() is None


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://me:p@ss@camera:554/a?key=1", "rtsp://camera:554/a"),
        ("http://camera/a", "http://camera/a"),
        ("walk@home?.mp4", "walk@home?.mp4"),
    ],
)
def test_passwords_are_not_shown(address: str, shown: str) -> None:
    assert shown_address(address) == shown
