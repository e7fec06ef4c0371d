"""Tables, timelines and annotated videos of clips, read back from disk."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from anotwin.domains.video.events import Event, EventFinder, EventSettings
from anotwin.domains.video.report import drawing, timeline
from anotwin.domains.video.report.annotated import AnnotatedVideo
from anotwin.domains.video.report.drawing import FramePainter
from anotwin.domains.video.report.peaks import PeakPictures
from anotwin.domains.video.report.tables import (
    clock,
    event_json,
    event_line,
    event_listing,
    write_event_json,
    write_event_table,
)
from anotwin.domains.video.report.timeline import Course, timeline_figure
from anotwin.domains.video.tracks import Box
from anotwin.errors import DataError, SettingsError
from anotwin.files import parse_json
from anotwin.records import Array, Finding
from anotwin.report.canvas import VERMILLION, save_figure
from anotwin.report.overlay import heat_alpha, heat_rgb
from anotwin.report.text import read_cell

NAN = math.nan
RNG = np.random.default_rng(0)
RULES = EventSettings(enter=1.5, leave=1.0, least_frames=2, bridge=3)
FRAME = RNG.integers(0, 256, (240, 360)).astype(np.uint8)
CYAN = [0, 255, 255]


def event(clip: str = "gate.mp4", number: int = 1, score: float = 2.5, box: Box | None = None) -> Event:
    track = ((5, Box(10, 20, 30, 50, 3.123456)), (6, Box(11, 20, 31, 50, 2.0)))
    other = ((6, Box(0, 0, 4, 4, 1.0)),)
    return Event(clip, number, 4, 9, 5, 0.40001, 0.9, 0.5, score, box or track[0][1], (track, other))


def test_table_of_events_is_read_back(tmp_path: Path) -> None:
    events = [event(), event("=gate, 图.mp4", 2, 0.1 + 0.2), event("c", 3, box=Box(0, 1, 2, 3))]
    write_event_table(iter(events), 1.2, tmp_path / "events.csv")
    with (tmp_path / "events.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    places = ["start_frame", "end_frame", "peak_frame", "start_s", "end_s", "peak_s"]
    sides = ["top", "left", "bottom", "right"]
    assert list(rows[0]) == ["clip", "event", *places, "score", "threshold", *sides, "tracks"]
    assert [read_cell(row["clip"]) for row in rows] == [each.clip for each in events]
    assert [int(row["event"]) for row in rows] == [1, 2, 3]
    assert [float(row["score"]) for row in rows] == [2.5, 0.1 + 0.2, 2.5]  # in full: compared with the threshold
    assert [int(rows[0][side]) for side in sides] == [10, 20, 30, 50]
    assert (rows[0]["start_s"], rows[0]["threshold"], rows[0]["tracks"]) == ("0.4", "1.2", "2")


def test_what_is_not_known_is_empty(tmp_path: Path) -> None:
    bare = Event("c", 1, 4, 9, 5, NAN, NAN, NAN, math.inf, None, ())
    write_event_table([bare], 1.2, tmp_path / "events.csv")
    write_event_json([bare], 1.2, tmp_path / "events.json", {})
    with (tmp_path / "events.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert [row[name] for name in ("start_s", "end_s", "peak_s", "top", "right", "tracks")] == ["", "", "", "", "", "0"]
    (found,) = parse_json((tmp_path / "events.json").read_bytes())["events"]  # strict: no NaN, no Infinity
    assert [found[name] for name in ("start_s", "score", "box", "tracks")] == [None, None, None, []]
    assert event_line(bare, 1.2) == "c: event 1 from  to  (frames 4 to 9), score inf > 1.2 at "


@pytest.mark.parametrize("count", [0, 1, 3])
def test_json_of_events_holds_all_tracks(tmp_path: Path, count: int) -> None:
    events = [event(number=number) for number in range(1, count + 1)]
    write_event_json(iter(events), 1.2, tmp_path / "events.json", {"alarms_per_hour": 2.0})
    found = parse_json((tmp_path / "events.json").read_bytes())
    assert found["info"] == {"alarms_per_hour": 2.0}
    assert found["events"] == [event_json(each, 1.2) for each in events]
    for each in found["events"]:
        assert each["box"] == [10, 20, 30, 50]
        assert each["going_on"] is False
        assert each["tracks"][0][0] == {"frame": 5, "box": [10, 20, 30, 50], "heat": 3.1235}
        assert [len(track) for track in each["tracks"]] == [2, 1]


def test_tables_are_whole_or_not_there(tmp_path: Path) -> None:
    def broken() -> Iterator[Event]:
        yield event()
        raise RuntimeError("stopped")

    (tmp_path / "events.csv").write_text("before")
    for write in (
        lambda: write_event_table(broken(), 1.2, tmp_path / "events.csv"),
        lambda: write_event_json(broken(), 1.2, tmp_path / "events.json", {}),
    ):
        with pytest.raises(RuntimeError):
            write()
    assert [each.name for each in tmp_path.iterdir()] == ["events.csv"]
    assert (tmp_path / "events.csv").read_text() == "before"


def test_events_for_the_terminal() -> None:
    listing = event_listing([event(number=1, score=2.0), event(number=2, score=3.0)], 7)
    assert [row[1] for row in listing.rows] == ["2", "1"]  # the highest score first
    assert {len(row) for row in listing.rows} == {len(listing.columns)}
    assert listing.total == 7
    begun = Event("gate", 3, 40, 41, 41, 4.0, 4.1, 4.1, 1.75, Box(0, 1, 2, 3), (), going_on=True)
    assert event_line(begun, 1.2) == (
        "gate: event 3 began at 0:04.0 (frame 40), score 1.75 > 1.2, rows 0 to 1, columns 1 to 2"
    )
    assert [clock(each) for each in (0.0, 59.94, 59.96, 3599.99, -1.25)] == [
        "0:00.0", "0:59.9", "1:00.0", "1:00:00.0", "-0:01.2",
    ]  # fmt: skip


def finding(frame: int, value: int = 0) -> Finding:
    heat = np.zeros(FRAME.shape, np.float32)
    heat[50:80, 60:90] = 1.8
    return Finding(id=f"c/{frame}", query=FRAME + np.uint8(value % 256), counterpart=FRAME, heatmap=heat)


def seen(clip: str, scores: list[float], keeper: PeakPictures) -> Course:
    finder, events = EventFinder(clip, RULES), []
    for frame, score in enumerate(scores):
        told = finder.take(frame, frame / 10, score, [Box(50, 60, 80, 90, score)] if score > 1 else [])
        keeper.take(frame, finding(frame, frame), finder, told)
        events += [each for each in told if not each.going_on]
    for each in finder.finish():
        keeper.end(each)
        events.append(each)
    return Course(clip, np.arange(len(scores)) / 10, np.array(scores), events)


def test_pictures_are_kept_of_the_peaks_of_the_foremost_events() -> None:
    keeper = PeakPictures(most=2)
    #         dropped: one frame   first: peak 12         second: peak 18   third: 25, goes on
    scores = [0, 9, 0, 0, 0, *[0] * 5, 2, 3, 4, 2, 0, 0, 0, 2, 3, 2, 0, 0, 0, 0, 2, 6.0, 2]
    course = seen("c", [float(score) for score in scores], keeper)
    assert [each.peak_frame for each in course.events] == [12, 18, 25]
    assert [each.event.peak_frame for each in keeper.foremost] == [25, 12]
    assert [each.finding.id for each in keeper.foremost] == ["c/25", "c/12"]
    assert all(each.shape == FRAME.shape for each in keeper.foremost)


def test_an_event_without_pictures_gets_none_of_another() -> None:
    keeper, finder = PeakPictures(), EventFinder("c", EventSettings(1.0, 0.5))
    keeper.take(0, finding(0), finder, finder.take(0, 0.0, 2.0))
    keeper.take(1, finding(1), finder, finder.take(1, 0.1, 0.0))
    finder.take(2, 0.2, 9.0)  # not shown to the keeper
    for each in finder.finish():
        keeper.end(each)
    assert [each.event.number for each in keeper.foremost] == [1]


SCORES = [0.2, 0.4, NAN, 0.3, 2.0, 3.0, 2.0, 0.1, 0.1, 0.1, 0.1, 1.9, 1.8, 0.2, 0.2, 0.2]


@pytest.mark.parametrize(("clips", "rules"), [(1, RULES), (2, None), (18, RULES)])
def test_timeline_has_its_parts(
    tmp_path: Path, clips: int, rules: EventSettings | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Figure] = []

    def save(figure: Figure, path: Path) -> None:
        figures.append(figure)
        save_figure(figure, path)

    monkeypatch.setattr(timeline, "save_figure", save)
    keeper = PeakPictures()
    courses = [seen(f"$clip$ {number}", SCORES, keeper) for number in range(clips)]
    timeline_figure(courses, keeper.foremost, tmp_path / "timeline.png", rules, title="events")
    shown = min(2 * clips, 6)
    (figure,) = figures
    course, *rest = figure.axes
    assert len(rest) == 3 * shown + 1  # query, counterpart and heat of each, and the bar of heat
    assert len(course.patches) >= 3 * clips  # two events a clip, and a frame without a score
    drawn = np.concatenate([line.get_ydata() for line in course.lines[:clips]])
    assert np.array_equal(drawn, np.tile(SCORES, clips), equal_nan=True)
    levels = [line.get_ydata()[0] for line in course.lines[clips : clips + 2]]
    assert (levels == [RULES.enter, RULES.leave]) == (rules is not None)
    words = [text.get_text() for text in course.get_legend().get_texts()]
    assert f"{2 * clips} events" in words
    assert "no score" in words
    assert [text.get_text() for text in course.texts] == list("ABCDEF"[:shown])
    for axes in rest[: 3 * shown]:
        (outline,) = axes.patches
        assert (outline.get_x(), outline.get_y()) == (59.5, 49.5)  # corners of pixels
        assert (outline.get_width(), outline.get_height()) == (30, 30)
    with Image.open(tmp_path / "timeline.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert (np.abs(pixels - np.array(CYAN)).sum(-1) < 40).sum() > 100 * shown
    spans = np.abs(pixels - 255 * np.array(to_rgb(timeline.SPAN))).sum(-1) < 6
    assert spans.sum() > 1000


@pytest.mark.parametrize(("clips", "late"), [(1, False), (1, True), (4, False), (18, False)])
def test_words_of_a_timeline_do_not_overlap(
    tmp_path: Path, clips: int, late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(timeline, "save_figure", lambda figure, _: figures.append(figure))
    keeper = PeakPictures()
    close = [0.0, *[2.0, 3.0, 0, 0, 0, 0] * 6, *[0.0] * (900 // clips)]  # letters closer than they are wide
    scores = close[::-1] if late else close
    courses = [seen(f"a long name of a clip, {number} " * 3, scores, keeper) for number in range(clips)]
    timeline_figure(courses, keeper.foremost, tmp_path / "timeline.png", RULES, title="x" * 300)
    (figure,) = figures
    figure.canvas.draw()  # labels of axes get their place
    course = figure.axes[0]
    below = [text for text in course.get_xticklabels() if text.get_position()[0] <= course.get_xlim()[1]]
    texts = [*figure.texts, *course.texts, course.get_legend(), *below]
    texts += [course.xaxis.label] if clips == 1 else []
    boxes = [text.get_window_extent(figure.canvas.get_renderer()) for text in texts]
    for number, one in enumerate(boxes):
        assert min(one.x0, one.y0) >= 0
        assert one.x1 <= figure.bbox.width + 1
        assert one.y1 <= figure.bbox.height + 1
        for other in boxes[:number]:
            assert not one.overlaps(other)


def test_an_hour_is_thinned_to_its_highest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = RNG.random(90_000)
    scores[777], scores[50_000:50_200] = 5.0, NAN
    course = Course("hour", np.arange(scores.size) / 25, scores, [event("hour")])
    seconds, thinned = timeline._thinned(course, 10.0)
    assert len(thinned) == len(seconds) == 2000
    assert (np.nanmax(thinned), seconds[np.nanargmax(thinned)]) == (5.0, 10 + 777 // 45 * 45 / 25)
    assert np.isnan(thinned).sum() == 3  # blocks of 45 frames that have no score at all
    figures: list[Figure] = []
    monkeypatch.setattr(timeline, "save_figure", lambda figure, _: figures.append(figure))
    timeline_figure([course], [], tmp_path / "hour.png", RULES)
    span = figures[0].axes[0].patches[0].get_window_extent()
    assert span.width >= 2  # pixels: half a second of an hour is seen


@pytest.mark.parametrize("scores", [[], [NAN, NAN], [3.0], [-2.0, -1.0]])
def test_courses_that_show_little(tmp_path: Path, scores: list[float]) -> None:
    courses = [Course("a", np.arange(len(scores)) / 10, np.array(scores)), Course("b", np.array([]), np.array([]))]
    if not scores:
        with pytest.raises(DataError, match="no frames of 2 clips"):
            timeline_figure(courses, [], tmp_path / "t.png", RULES)
        return
    timeline_figure(courses, [], tmp_path / "t.png", RULES)
    assert (tmp_path / "t.png").stat().st_size > 1000


def painted(painter: FramePainter, heat: Array | None = None, boxes: tuple[Box, ...] = (), score: float = 1.0) -> Array:
    return painter.paint(FRAME, FRAME[::-1], heat, boxes, score, 2.0, "gate 0:01.0")


def test_a_frame_without_heat_is_itself() -> None:
    picture = painted(FramePainter(240, 360))
    assert picture.shape == (264, 360, 3)
    assert (picture[:240] == FRAME[..., None]).all()
    both = painted(FramePainter(240, 360, side_by_side=True))
    assert (both[18:258, :360] == FRAME[..., None]).all()
    assert (both[18:258, 364:724] == FRAME[::-1, :, None]).all()


def test_heat_is_laid_over_as_in_pictures_and_outlined() -> None:
    heat = np.linspace(-0.5, 3.0, FRAME.size, dtype=np.float32).reshape(FRAME.shape)
    heat[0, 0] = NAN
    picture = painted(FramePainter(240, 360), heat)[:240].astype(int)
    alpha = 0.5 * heat_alpha(heat)[..., None]
    expected = (1 - alpha) * FRAME[..., None] + alpha * heat_rgb(heat)
    inside = np.nan_to_num(heat) >= 127.5 / 127.5  # one row of pixels is the outline
    edge = np.abs(picture - heat_rgb(np.full((1, 1), 2.0))[0, 0]).sum(-1) == 0
    assert np.abs(picture - expected)[~edge].max() <= 3
    assert inside[edge].mean() > 0.99
    assert 300 < edge.sum() < 800  # it runs once across the frame


def test_boxes_lie_around_their_pixels() -> None:
    picture = painted(FramePainter(240, 360), boxes=(Box(100, 50, 120, 80), Box(-5, -5, 9, 7), Box(230, 350, 240, 360)))
    cyan = (picture[:240] == CYAN).all(-1)
    expected = np.zeros((240, 360), bool)
    expected[99:121, 49:81] = True
    expected[100:120, 50:80] = False
    expected[:10, 7] = expected[9, :8] = True
    expected[229, 349:] = expected[229:, 349] = True
    assert (cyan == expected).all()


def test_boxes_and_heat_follow_a_frame_of_another_size() -> None:
    """The camera changes its resolution: the video keeps its own."""
    heat = np.zeros((480, 720), np.float32)
    heat[200:240, 100:160] = 2.0
    large = FRAME.repeat(2, 0).repeat(2, 1)
    picture = FramePainter(240, 360).paint(large, None, heat, [Box(200, 100, 240, 160)], 1.0, None, "")
    assert ((picture[:240] == CYAN).all(-1).nonzero()[0][[0, -1]] == [99, 120]).all()
    hot = (picture[:240].max(-1) != picture[:240].min(-1)) & ~(picture[:240] == CYAN).all(-1)
    assert {*np.flatnonzero(hot.any(1))} == set(range(100, 120))
    assert {*np.flatnonzero(hot.any(0))} == set(range(50, 80))


@pytest.mark.parametrize(
    ("score", "threshold", "alarm"), [(2.1, 2.0, True), (2.0, 2.0, False), (NAN, 2.0, False), (9.0, None, False)]
)
def test_the_bar_turns_red_above_the_threshold(score: float, threshold: float | None, alarm: bool) -> None:
    bar = FramePainter(240, 360).paint(FRAME, None, None, [], score, threshold, "gate")[240:]
    red = np.rint(np.array(to_rgb(VERMILLION)) * 255)
    assert ((bar == red).all(-1).mean() > 0.5) == alarm


@pytest.mark.parametrize("score", [0.0, 0.5, 1.0, 1.7, 5.0])
def test_the_gauge_shows_the_score_in_thresholds(score: float) -> None:
    gauge = np.zeros((6, 200, 3), np.uint8)
    drawing._draw_gauge(gauge, score, alarm=False)
    filled = (gauge == np.rint(np.array(to_rgb("#56B4E9")) * 255)).all(-1)[0]
    assert abs(filled.sum() + 2 * (score >= 1) - min(100 * score, 200)) <= 1
    assert (gauge[:, 99:101] == 255).all()


def test_text_fits_its_frame() -> None:
    size, room = 12, 90
    for text in ("gate", "a/very/long/name/of/a/clip.mp4  0:01.0", "\u202eevil\x1b", "图" * 40, ""):
        fitting = drawing._fitting(text, size, room)
        assert drawing._length(fitting, size) <= room
    assert drawing._fitting("gate 1", size, room) == "gate 1"
    assert drawing._fitting("a-very-long-name-of-a-clip 0:12.0", size, room).endswith("12.0")


@pytest.mark.parametrize(("height", "width"), [(5, 7), (48, 64), (241, 361), (720, 1280)])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_frames_of_any_size_and_depth(height: int, width: int, kind: type[np.generic]) -> None:
    pixels = (RNG.random((height, width, 3)) * 200).astype(kind)
    for side_by_side in (False, True):
        painter = FramePainter(height, width, side_by_side)
        picture = painter.paint(pixels, None, np.zeros((height, width)), [Box(0, 0, 2, 2)], NAN, 1.0, "gate")
        assert picture.shape == (*painter.shape, 3)
        assert picture.shape[0] % 2 == picture.shape[1] % 2 == 0
        assert picture.shape[1] >= drawing.NARROWEST
        assert painter.paint(None, None, None, [], NAN, None, "").shape == picture.shape


def read_video(path: Path) -> tuple[list[Array], float]:
    av = pytest.importorskip("av", reason="needs pip install 'anotwin[video]'")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        return frames, float(stream.average_rate)


@pytest.mark.parametrize("name", ["a.mp4", "%03d:b.mkv"])
@pytest.mark.parametrize("side_by_side", [False, True])
def test_an_annotated_video_is_read_back(tmp_path: Path, name: str, side_by_side: bool) -> None:
    smooth = np.kron(RNG.integers(0, 256, (6, 9)), np.ones((40, 40))).astype(np.uint8)
    painter = FramePainter(240, 360, side_by_side)
    expected = []
    with AnnotatedVideo(tmp_path / name, (240, 360), 12.5, side_by_side) as video:
        for number in range(20):
            drawn = (np.roll(smooth, 4 * number, 1), smooth, None, [Box(20, 10, 60, 90)], number / 10, 1.0, f"{number}")
            video.add(*drawn)
            expected.append(painter.paint(*drawn))
            assert not (tmp_path / name).exists()
    frames, rate = read_video(tmp_path / name)
    assert rate == 12.5
    assert len(frames) == 20
    for got, wanted in zip(frames, expected, strict=True):
        assert got.shape == wanted.shape
        assert np.abs(got.astype(int) - wanted).mean() < 6  # of 255, after compression
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_a_video_is_whole_or_not_there(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="needs pip install 'anotwin[video]'")
    path = tmp_path / "a.mp4"
    path.write_bytes(b"before")

    def start_and_fail() -> None:
        with AnnotatedVideo(path, (240, 360)) as video:
            video.add(FRAME, None, None, [], 1.0, 2.0, "gate")
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError):
        start_and_fail()
    unfinished = AnnotatedVideo(path, (240, 360))
    unfinished.add(FRAME, None, None, [], 1.0, 2.0, "gate")
    unfinished.discard()
    unfinished.close()  # nothing happens any more
    AnnotatedVideo(path, (240, 360)).close()  # of no frames
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="needs pip install 'anotwin[video]'")
    for name, rate, words in [
        ("a.gif", 10.0, ".mp4, .mkv"),
        ("a.mp4", 0.0, "0.0 frames"),
        ("a.mp4", NAN, "nan frames"),
    ]:
        with pytest.raises(SettingsError, match=words):
            AnnotatedVideo(tmp_path / name, (240, 360), rate)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="a part of the path is a file"):
        AnnotatedVideo(tmp_path / "file" / "a.mp4", (240, 360))
    video = AnnotatedVideo(tmp_path / "a.mp4", (240, 360))

    class FullDisk:
        def mux(self, _: object) -> None:
            raise av.FFmpegError(28, "No space left on device")

        def close(self) -> None:
            raise av.FFmpegError(28, "No space left on device")

    real, video._container = video._container, FullDisk()
    with pytest.raises(DataError, match=r"cannot write .*a\.mp4: No space left on device; check"):
        video.add(FRAME, None, None, [], 1.0, 2.0, "gate")
    real.close()
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
