"""What is written of clips, read back from disk; runs that were stopped against one that was not."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from clip_arrays import ArrayClips
from PIL import Image

from anotwin.calibrate.decision import calibrate
from anotwin.domains.protocol import FindsEvents, Job
from anotwin.domains.video.outputs import ANNOTATED, EvaluatedVideo, VideoOutputs
from anotwin.files import parse_json
from anotwin.records import Alarms, Calibration, Finding, ImageSpec
from anotwin.report.table import ScoresWriter
from anotwin.report.text import read_cell
from anotwin.settings import Settings

SHAPE = 40, 60
NAN = math.nan
ALARMS = Alarms(1.0, 2.0, 1.0, 2, 3, 0.5, 4.0, 0.75, "at most 4 alarms an hour (95 %)")
# scores of the frames of three clips; NaN: it could not be judged
COURSES: tuple[tuple[float, ...], ...] = (
    (0.1, 0.2, 1.5, 3.0, 5.0, 1.2, 0.3, 0.2, 0.1, 0.1, 2.5, 2.6),  # from frame 3 on, to 5; from 10 to the end
    (0.3, 1.9, 1.9, 0.2, 0.1, 0.5, 0.4, 0.3),  # none: never above 2
    (NAN, 2.2, NAN, 2.4, 0.2, 0.1, 4.0, NAN, 0.9, 0.8, 0.1, 0.2),  # one, with two gaps and a dip: 1 to 6
)
EVENTS = [("clip0", 1, 3, 5, 4), ("clip0", 2, 10, 11, 11), ("clip2", 1, 1, 6, 6)]  # clip, number, first, last, peak
FIRSTS = 0, 12, 20


def calibration(alarms: Alarms | None = ALARMS) -> Calibration:
    found = calibrate([1.0, 2.0, 3.0], [1.0] * 3, [1.0] * 3, 1.0, 0.3)
    return replace(found, region_limit=1.0, alarms=alarms)


@dataclass
class Model:
    """What outputs ask of a detector; scores again what a test put there."""

    known: dict[str, Finding]
    calibration: Calibration | None = field(default_factory=calibration)
    spec: ImageSpec = field(default_factory=lambda: ImageSpec(1, 32, view="frames"))
    settings: Settings = field(default_factory=Settings)
    again: list[str] = field(default_factory=list)

    def findings(self, data: ArrayClips, indices: Sequence[int] | None = None) -> Iterator[Finding]:
        for index in indices or ():
            self.again.append(data.items[index].id)
            yield self.known[data.items[index].id]


def box_at(frame: int) -> tuple[int, int, int, int]:
    """Where something is seen in a frame: it moves by two pixels to the right; half-open."""
    return 10, 4 + 2 * frame, 20, 10 + 2 * frame


def finding(clip: int, frame: int, pictures: bool = True) -> Finding:
    name, score = f"clip{clip}/{frame:03d}", COURSES[clip][frame]
    if math.isnan(score):
        return Finding(name, group=f"clip{clip}", error=f"{name}: the camera shows nothing: the frame is black")
    bare = Finding(name, score=score, anomalous=score > 2, status="converged", group=f"clip{clip}")
    if not pictures:
        return bare
    top, left, bottom, right = box_at(frame)
    heat = np.full(SHAPE, 0.2, np.float32)
    heat[top:bottom, left:right] = score
    query = np.full(SHAPE, 90 + 10 * clip, np.uint8)
    return replace(bare, query=query, counterpart=query, difference=np.zeros(SHAPE, np.float32), heatmap=heat)


def source() -> ArrayClips:
    return ArrayClips([np.zeros((len(each), *SHAPE), np.uint8) for each in COURSES])


def job(out: Path, alarms: Alarms | None = ALARMS, **more: Any) -> Job:
    known = {
        f"clip{clip}/{frame:03d}": finding(clip, frame)
        for clip, each in enumerate(COURSES)
        for frame in range(len(each))
    }
    return Job(source(), out, Model(known, calibration(alarms)), pictures=False, **more)


def scored(job: Job, done: frozenset[str] = frozenset()) -> list[Any]:
    """Outputs of a run in which rows of the ids `done` were kept from a run before; pictures are made where wanted."""
    outputs, items = VideoOutputs(job), job.source.items
    wanted = list(outputs.unfinished(done))
    with ScoresWriter(job.out / "scores.csv", "key") as writer:
        writer.write(replace(job.model.known[item.id]) for n, item in enumerate(items) if n not in wanted)
        for index in wanted:
            found = job.model.known[items[index].id]
            bare = replace(found, query=None, counterpart=None, difference=None, heatmap=None)
            found = found if outputs.wants(bare) else bare
            outputs.take(index, found)
            writer.write([found])
        return list(outputs.finish([], writer.complete(item.id for item in items)))


def rows_of(clips: Sequence[int]) -> frozenset[str]:
    return frozenset(f"clip{clip}/{frame:03d}" for clip in clips for frame in range(len(COURSES[clip])))


def table(out: Path) -> list[dict[str, str]]:
    with (out / "events.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def frames_of(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def files(out: Path) -> set[str]:
    return {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}


# -- what is written ------------------------------------------------------------------------------------------------


def test_a_row_an_event(tmp_path: Path) -> None:
    written = scored(job(tmp_path))
    rows = table(tmp_path)
    numbers = ("event", "start_frame", "end_frame", "peak_frame")
    assert [(read_cell(row["clip"]), *(int(row[name]) for name in numbers)) for row in rows] == EVENTS
    for row, (clip, _, first, last, peak) in zip(rows, EVENTS, strict=True):
        assert (float(row["start_s"]), float(row["end_s"]), float(row["peak_s"])) == (first / 10, last / 10, peak / 10)
        assert float(row["score"]) == COURSES[int(clip[-1])][peak]
        assert float(row["threshold"]) == ALARMS.threshold
        assert tuple(int(row[side]) for side in ("top", "left", "bottom", "right")) == box_at(peak)
        assert row["tracks"] == "1"
    captions = {each.path.name: each.caption for each in written}
    assert captions["events.csv"] == "3 events in 0:03.2 of 3 clips"
    (listing,) = [each.listing for each in written if each.path.name == "events.csv"]
    assert [(row[0], row[1]) for row in listing.rows] == [
        ("clip0", "1"),
        ("clip2", "1"),
        ("clip0", "2"),
    ]  # highest first


def test_json_says_what_was_marked_in_each_frame(tmp_path: Path) -> None:
    scored(job(tmp_path))
    found = parse_json((tmp_path / "events.json").read_bytes())
    assert found["info"]["promise"] == ALARMS.promise
    assert found["info"]["alarms_per_hour"] == ALARMS.wish
    for each, (clip, number, first, last, _) in zip(found["events"], EVENTS, strict=True):
        assert (each["clip"], each["event"], each["going_on"]) == (clip, number, False)
        course = COURSES[int(clip[-1])]
        (track,) = each["tracks"]
        seen = [frame for frame in range(first, last + 1) if course[frame] > ALARMS.leave]
        assert [point["frame"] for point in track] == seen
        assert [tuple(point["box"]) for point in track] == [box_at(frame) for frame in seen]
        assert [point["heat"] for point in track] == pytest.approx([course[frame] for frame in seen], abs=1e-4)


def test_the_timeline_is_drawn(tmp_path: Path) -> None:
    written = scored(job(tmp_path, show=False))
    assert [each.path.name for each in written] == ["events.csv", "events.json", "timeline.png", "groups.csv"]
    assert files(tmp_path) - {"scores.csv.partial", "scores.csv.partial.csv", "scores.csv.partial.json"} == {
        each.path.name for each in written
    }
    pixels = np.asarray(Image.open(tmp_path / "timeline.png").convert("RGB"))
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20


def test_a_clip_has_no_decision_beside_its_events(tmp_path: Path) -> None:
    """Of three held-out clips a rate of clips would promise nothing that anybody wants."""
    (groups,) = [each for each in scored(job(tmp_path, show=False)) if each.path.name == "groups.csv"]
    assert groups.caption == "a row per group"
    with groups.path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["group"] for row in rows] == ["clip0", "clip1", "clip2"]
    assert all(row["p_value"] == row["anomalous"] == "" for row in rows)


def test_a_video_of_each_clip_with_all_its_frames(tmp_path: Path) -> None:
    """Also those that could not be judged: it keeps time, and shows a bar that turns red where the score is high."""
    written = scored(job(tmp_path))
    assert ANNOTATED in [each.path.name for each in written]
    assert {name for name in files(tmp_path) if name.endswith(".mp4")} == {
        f"{ANNOTATED}/clip{number}.mp4" for number in range(3)
    }
    for number, course in enumerate(COURSES):
        frames = frames_of(tmp_path / ANNOTATED / f"clip{number}.mp4")
        assert len(frames) == len(course)
        red = [frame[-8:, : frame.shape[1] // 8].astype(int).mean((0, 1)) for frame in frames]
        alarmed = [each[0] - each[2] > 80 for each in red]
        assert alarmed == [score > ALARMS.threshold for score in course]


@pytest.mark.parametrize("show", [True, False])
def test_pictures_are_wanted_of_what_is_drawn_or_marked_alone(tmp_path: Path, show: bool) -> None:
    outputs = VideoOutputs(job(tmp_path, show=show))
    for clip, course in enumerate(COURSES):
        for frame, score in enumerate(course):
            assert outputs.wants(finding(clip, frame, False)) == (show or score > ALARMS.leave)


def test_clips_without_events(tmp_path: Path) -> None:
    quiet = job(tmp_path)
    quiet.model.known.update(
        {name: replace(each, score=0.5) for name, each in quiet.model.known.items() if not each.error}
    )
    written = scored(quiet)
    assert table(tmp_path) == []
    assert parse_json((tmp_path / "events.json").read_bytes())["events"] == []
    assert written[0].caption.startswith("0 events in")
    assert written[0].listing is None


@pytest.mark.parametrize("calibrated", [True, False])
def test_without_alarms_there_are_no_events(tmp_path: Path, calibrated: bool) -> None:
    """Of a model that is calibrated for a rate of frames, or not at all; videos are there nevertheless, and named."""
    bare = job(tmp_path, None)
    if not calibrated:
        bare.model.calibration = None
    written = scored(bare)
    assert [each.path.name for each in written] == [ANNOTATED, "groups.csv"]
    assert len(frames_of(tmp_path / ANNOTATED / "clip2.mp4")) == len(COURSES[2])
    assert not (tmp_path / "events.csv").exists()


def test_what_cannot_be_read_at_all_has_no_video(tmp_path: Path) -> None:
    lost = job(tmp_path)
    lost.model.known.update(
        {name: Finding(name, group=each.group, error=f"{name}: damaged") for name, each in lost.model.known.items()}
    )
    written = scored(lost)
    assert all(each.path.exists() for each in written)
    assert ANNOTATED not in [each.path.name for each in written]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["Train001", "Train002", "c"], ["Train001", "Train002", "c"]),
        (["a.mp4", "b/a.mp4", "b/a.avi"], ["a", "b/a~mp4", "b/a~avi"]),
        (["walk", "walk.mp4", ""], ["walk", "walk~mp4", "clip"]),
        (["../x.mp4", "/y", "a:b"], ["%2E%2E/x", "%/y", "a%3Ab"]),
    ],
)
def test_videos_are_named_as_their_clips(tmp_path: Path, names: list[str], expected: list[str]) -> None:
    class Named(ArrayClips):
        @property
        def clips(self) -> Any:
            return tuple(replace(clip, name=name) for clip, name in zip(super().clips, names, strict=True))

    named = replace(job(tmp_path), source=Named(source().films))
    outputs = VideoOutputs(named)
    for index, item in enumerate(source().items):
        outputs.take(index, named.model.known[item.id])
    outputs.found.finish()
    assert {name for name in files(tmp_path) if name.endswith(".mp4")} == {
        f"{ANNOTATED}/{each}.mp4" for each in expected
    }


def test_times_of_images_in_memory_are_ten_frames_a_second(tmp_path: Path) -> None:
    class Plain:
        layout, root = "array", "images"
        items = source().items
        read_mask = read = None

    outputs = VideoOutputs(replace(job(tmp_path), source=Plain()))
    for index, item in enumerate(Plain.items):
        outputs.take(index, outputs.job.model.known[item.id])
    outputs.found.finish()
    assert [(each.clip, each.start_s, each.end_s) for each in outputs.found.events] == [
        (clip, first / 10, last / 10) for clip, _, first, last, _ in EVENTS
    ]


# -- runs that were stopped -----------------------------------------------------------------------------------------

WRITTEN = "events.csv", "events.json", "groups.csv", "timeline.png"


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("whole")
    scored(job(out, show=False))
    return {name: (out / name).read_bytes() for name in WRITTEN}


@pytest.mark.parametrize("kept", [[0], [1], [0, 1], [2], [0, 2], [0, 1, 2]])
def test_of_a_run_that_goes_on_the_same_is_written(
    tmp_path: Path, kept: list[int], uninterrupted: dict[str, bytes]
) -> None:
    again = job(tmp_path, show=False)
    scored(again, rows_of(kept))
    for name in WRITTEN:
        assert (tmp_path / name).read_bytes() == uninterrupted[name], name
    marked = {
        f"clip{clip}/{frame:03d}" for clip in kept for frame, score in enumerate(COURSES[clip]) if score > ALARMS.leave
    }
    assert set(again.model.again) == marked  # pictures of events alone were made once more
    assert len(again.model.again) == len(marked)


def test_a_clip_of_which_frames_are_missing_is_scored_again(tmp_path: Path, uninterrupted: dict[str, bytes]) -> None:
    done = rows_of([0, 1]) - {"clip0/011"}
    assert list(VideoOutputs(job(tmp_path, show=False)).unfinished(done)) == [*range(12), *range(20, 32)]
    scored(job(tmp_path, show=False), done)
    for name in WRITTEN:
        assert (tmp_path / name).read_bytes() == uninterrupted[name], name


def test_scores_of_kept_rows_are_those_of_the_table(tmp_path: Path, uninterrupted: dict[str, bytes]) -> None:
    """Where another machine scores a frame again, or the file is gone meanwhile, its event stays."""
    again = job(tmp_path, show=False)
    found = again.model.findings

    def otherwise(data: ArrayClips, indices: Sequence[int] | None = None) -> Iterator[Finding]:
        for each in found(data, indices):
            yield replace(each, score=each.score * 0.2)

    again.model.findings = otherwise
    scored(again, rows_of([0, 1, 2]))
    assert (tmp_path / "events.csv").read_bytes() == uninterrupted["events.csv"]
    gone = job(tmp_path / "gone", show=False)
    gone.model.findings = lambda data, indices: (Finding(data.items[n].id, error="it is gone") for n in indices)
    scored(gone, rows_of([0, 1, 2]))
    assert [row["score"] for row in table(tmp_path / "gone")] == [row["score"] for row in table(tmp_path)]


def test_kept_clips_keep_their_videos_and_missing_ones_are_made(tmp_path: Path) -> None:
    first = job(tmp_path)
    outputs = VideoOutputs(first)
    for index in range(15):  # stopped in the second clip
        outputs.take(index, first.model.known[first.source.items[index].id])
    del outputs
    before = (tmp_path / ANNOTATED / "clip0.mp4").read_bytes()
    done = rows_of([0]) | {"clip1/000", "clip1/001", "clip1/002"}
    assert list(VideoOutputs(job(tmp_path)).unfinished(done)) == list(range(12, 32))
    scored(job(tmp_path), done)
    assert (tmp_path / ANNOTATED / "clip0.mp4").read_bytes() == before
    assert [len(frames_of(tmp_path / ANNOTATED / f"clip{n}.mp4")) for n in range(3)] == list(map(len, COURSES))
    (tmp_path / ANNOTATED / "clip1.mp4").unlink()  # of a run with --no-pictures there would be none
    assert list(VideoOutputs(job(tmp_path)).unfinished(rows_of([0, 1, 2]))) == list(range(12, 20))
    assert list(VideoOutputs(job(tmp_path, show=False)).unfinished(rows_of([0, 1, 2]))) == []


def test_a_video_of_another_run_is_not_taken_for_this_ones(tmp_path: Path) -> None:
    """A run that is killed before the video of a clip is whole must not leave an older one beside its rows."""
    scored(job(tmp_path))
    later = job(tmp_path)
    outputs = VideoOutputs(later)
    for index in range(12):
        outputs.take(index, later.model.known[later.source.items[index].id])
    assert not (tmp_path / ANNOTATED / "clip0.mp4").exists()
    assert (tmp_path / ANNOTATED / "clip1.mp4").exists()
    outputs.take(12, later.model.known["clip1/000"])  # the next clip begins
    assert (tmp_path / ANNOTATED / "clip0.mp4").exists()


# -- evaluation -----------------------------------------------------------------------------------------------------


def test_evaluation_is_told_of_events_and_of_what_was_marked(tmp_path: Path) -> None:
    outputs = EvaluatedVideo(job(tmp_path))
    assert isinstance(outputs, FindsEvents)
    for index, item in enumerate(outputs.found.job.source.items):
        outputs.take(index, outputs.found.job.model.known[item.id])
    written = outputs.finish([], None)
    assert [each.path.name for each in written] == ["timeline.png"]
    assert files(tmp_path) == {"timeline.png"}
    clips = outputs.clips()
    assert [(each.name, each.first, each.count, each.rate) for each in clips] == [
        (f"clip{n}", FIRSTS[n], len(COURSES[n]), 10.0) for n in range(3)
    ]
    for number, each in enumerate(clips):
        assert list(each.events) == [(first, last) for clip, _, first, last, _ in EVENTS if clip == each.name]
        alarmed = [region for region in each.regions if region.shown]
        expected = [frame for frame, score in enumerate(COURSES[number]) if score > ALARMS.leave]
        assert [region.frame for region in alarmed] == expected
        assert [region.box for region in alarmed] == [box_at(frame) for frame in expected]


CALLS: dict[str, Callable[[Job], object]] = {"score": VideoOutputs, "evaluate": EvaluatedVideo}


@pytest.mark.parametrize("call", CALLS)
def test_nothing_is_written_before_there_is_something(tmp_path: Path, call: str) -> None:
    CALLS[call](job(tmp_path))
    assert files(tmp_path) == set()
