"""Video through the command line, from clips to events: folders, films, cameras, and what is wrong with them."""

from __future__ import annotations

import csv
import json
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from camera_server import Camera
from made_clips import Pixels, write_video
from PIL import Image
from sklearn.metrics import roc_auc_score

from anotwin import Detector
from anotwin.domains.video import watching
from anotwin.domains.video.live import Gap, LiveFrame, LiveFrames
from anotwin.domains.video.synthetic.folders import write_clips
from anotwin.domains.video.synthetic.walkway import walkway
from model_folders import edit
from quick import Outcome, good, leftovers, run, stopped_after

SIZE, FILM = (73, 107), (72, 106)  # odd sides; films have even ones
RATE = 80  # frames a second of films: they are played in real time
TRAIN, TEST = 40, 80  # frames of a clip
SMALL = ("training.steps=40", "networks.base_channels=8", "training.precision=32-true")
HOURLY = 3600 / (TRAIN / 10)  # alarms: one in as much footage as is held out, which is one clip


def sets(*assignments: str) -> list[str]:
    return [word for assignment in assignments for word in ("--set", assignment)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six clips of a walkway to train on, two with a bicycle; laid out as UCSD's."""
    root = tmp_path_factory.mktemp("walkway")
    write_clips(root / "data", 6, 0, TRAIN, kinds=(), size=SIZE, density=6)
    write_clips(root / "more", 0, 2, TEST, kinds=("bicycle",), size=SIZE, density=6)
    (root / "more" / "Test").rename(root / "data" / "Test")
    return root / "data"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, data: Path) -> tuple[Path, Outcome]:
    model = tmp_path_factory.mktemp("models") / "model"
    return model, good("train", data, "--out", model, "--image-size", 64, *sets(*SMALL))


@pytest.fixture(scope="module")
def ready(trained: tuple[Path, Outcome]) -> Path:
    """A model for one alarm in as much footage as was held out, which is four seconds; not to be written to."""
    return trained[0]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, ready: Path, data: Path) -> tuple[Path, Outcome]:
    out = tmp_path_factory.mktemp("results") / "out"
    return out, good("score", ready, data, "--out", out)


@pytest.fixture(scope="module")
def bicycle(data: Path) -> list[Pixels]:
    """The frames of a clip of which the second half and more shows a bicycle."""
    return frames_in(data / "Test" / "Test002")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, bicycle: list[Pixels]) -> Path:
    return write_video(tmp_path_factory.mktemp("films") / "film.mp4", bicycle, RATE)


@pytest.fixture(autouse=True)
def no_frame_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy this machine is."""
    monkeypatch.setattr(watching, "WAITING", 10**6)
    monkeypatch.delenv("http_proxy", raising=False)


def frames_in(folder: Path) -> list[Pixels]:
    """Images of one folder, of the size of films."""
    return [np.asarray(Image.open(path))[: FILM[0], : FILM[1]] for path in sorted(folder.glob("*.png"))]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def column(path: Path, name: str) -> list[float]:
    return [float(row[name]) for row in table(path)]


def played(path: Path) -> list[Pixels]:
    with av.open(str(path)) as file:
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in file.decode(video=0)]


def watched(*words: Any) -> list[dict[str, Any]]:
    """What `anotwin watch` says, every line of it."""
    found: list[dict[str, Any]] = [json.loads(line) for line in good("watch", *words, "--json").out.splitlines()]
    return found


def of_kind(notices: Sequence[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [notice for notice in notices if notice["kind"] == kind]


def heard_scores(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The scores of the frames that come, as they come."""
    honest, heard = Detector.findings, []

    def findings(self: Detector, *args: Any, **more: Any) -> Iterator[Any]:
        for finding in honest(self, *args, **more):
            heard.append(finding.score)
            yield finding

    monkeypatch.setattr(Detector, "findings", findings)
    return heard


def meanwhile(monkeypatch: pytest.MonkeyPatch, what: Callable[[int, LiveFrames], object]) -> None:
    """`what` happens before each frame or gap of a watch, with its number."""

    class Disturbed(LiveFrames):
        def __iter__(self) -> Iterator[LiveFrame | Gap]:
            for number, each in enumerate(super().__iter__()):
                what(number, self)
                yield each

    monkeypatch.setattr(watching, "LiveFrames", Disturbed)


# -- from nothing to events -----------------------------------------------------------------------------------------


def test_clips_are_recognised_and_learnt(trained: tuple[Path, Outcome]) -> None:
    model, outcome = trained
    told = json.loads(good("info", model, "--json").out)
    assert (told["method"], told["layout"]["name"], told["spec"]["view"]) == ("frames", "ucsd", "frames")
    assert told["spec"]["size"] == 64
    assert told["images"] == {"train": 5 * TRAIN, "holdout": TRAIN}  # clips are held out as a whole
    alarms = told["calibration"]["alarms"]
    assert (alarms["wish"], told["calibration"]["threshold"]) == (pytest.approx(HOURLY), alarms["threshold"])
    assert alarms["hours"] == pytest.approx(TRAIN / 10 / 3600)
    assert alarms["promise"] in outcome.out
    assert alarms["promise"] in good("info", model).out


def test_scores_become_events(results: tuple[Path, Outcome]) -> None:
    out, outcome = results
    scores, events = table(out / "scores.csv"), table(out / "events.csv")
    assert [row["image"] for row in scores] == [
        f"Test/Test00{clip}/{number:03d}.png" for clip in (1, 2) for number in range(1, TEST + 1)
    ]
    assert all(row["error"] == "" and np.isfinite(float(row["score"])) for row in scores)
    assert {row["clip"] for row in events} == {"Test001", "Test002"}
    for event in events:
        first = TEST * (event["clip"] == "Test002")
        peak = max(scores[first + int(event["start_frame"]) : first + int(event["end_frame"]) + 1], key=_score)
        assert float(event["score"]) == _score(peak) > float(event["threshold"])
        assert int(peak["image"][-7:-4]) == int(event["peak_frame"]) + 1
        assert float(event["start_s"]) == pytest.approx(int(event["start_frame"]) / 10)
    stored = json.loads((out / "events.json").read_text())
    assert [each["score"] for each in stored["events"]] == column(out / "events.csv", "score")
    assert stored["info"]["alarms_per_hour"] == pytest.approx(HOURLY)
    assert stored["info"]["promise"] in outcome.out
    assert f"{len(events)} events in 0:16.0 of 2 clips" in outcome.out
    assert [row["group"] for row in table(out / "groups.csv")] == ["Test001", "Test002"]
    with Image.open(out / "timeline.png") as image:
        assert min(image.size) > 200
    assert leftovers(out) == []


def _score(row: dict[str, str]) -> float:
    return float(row["score"])


def test_annotated_videos_can_be_played(results: tuple[Path, Outcome]) -> None:
    folder = results[0] / "annotated"
    assert sorted(path.name for path in folder.iterdir()) == ["Test001.mp4", "Test002.mp4"]
    frames = played(folder / "Test002.mp4")
    assert len(frames) == TEST
    height, width, _ = frames[0].shape
    assert height % 2 == width % 2 == 0
    assert height > SIZE[0]
    assert width > 2 * SIZE[1]  # beside its counterpart
    assert np.ptp(frames[40].astype(int) - frames[10].astype(int)) > 50


def test_evaluation_of_clips(tmp_path: Path, ready: Path, data: Path, results: tuple[Path, Outcome]) -> None:
    outcome = good("evaluate", ready, data / "Test" / "Test002", "--json", tmp_path / "numbers.json")
    numbers = json.loads((tmp_path / "numbers.json").read_text())["clips"]
    assert set(numbers) == {"frames", "pixel_level", "regions", "alarms"}
    truth = [bool(np.asarray(Image.open(path)).any()) for path in sorted((data / "Test" / "Test002_gt").iterdir())]
    auroc = roc_auc_score(truth, column(results[0] / "scores.csv", "score")[TEST:])
    assert numbers["frames"]["auroc"] == pytest.approx(auroc, abs=1e-6)
    assert auroc > 0.6  # a bicycle is faster than walkers
    assert f"{numbers['frames']['auroc']:.4f}" in outcome.out
    events = [event for event in table(results[0] / "events.csv") if event["clip"] == "Test002"]
    false = [event for event in events if not any(truth[int(event["start_frame"]) : int(event["end_frame"]) + 1])]
    assert (numbers["alarms"]["n_alarms"], numbers["alarms"]["n_false"]) == (len(events), len(false))
    assert numbers["regions"]["n_frames"] == TEST
    assert 0 <= numbers["pixel_level"]["auroc"] <= numbers["frames"]["auroc"] + 1e-9
    assert (tmp_path / "numbers" / "timeline.png").is_file()


def test_calibration_by_alarms_or_by_a_rate(tmp_path: Path, ready: Path, data: Path, bicycle: list[Pixels]) -> None:
    model, out = tmp_path / "model", tmp_path / "out"
    shutil.copytree(ready, model)
    good("calibrate", model, data, *sets("calibration.alarms_per_hour=1"))
    rare = _calibration(model)
    assert rare["alarms"]["wish"] == 1.0
    assert rare["threshold"] == rare["alarms"]["threshold"] > _calibration(ready)["threshold"]
    good("calibrate", model, data, "--false-alarm-rate", 0.5)
    found = _calibration(model)
    assert (found["false_alarm_rate"], found.get("alarms")) == (0.5, None)
    film = write_video(tmp_path / "film.mp4", bicycle[:10], RATE)
    assert "anotwin calibrate" in run("watch", model, film).error
    good("score", model, film, "--out", out, "--no-pictures")
    assert sorted(path.name for path in out.iterdir()) == ["figure.png", "groups.csv", "scores.csv"]


def _calibration(model: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(good("info", model, "--json").out)["calibration"]
    return found


def test_some_frames_alone_score_the_same(ready: Path, data: Path, results: tuple[Path, Outcome]) -> None:
    some = range(TEST - 5, TEST + 3)  # over the border of two clips
    found = [finding.score for finding in Detector.load(ready).findings(data, some, pictures=False)]
    expected = column(results[0] / "scores.csv", "score")
    np.testing.assert_allclose(found, [expected[index] for index in some], rtol=1e-5, atol=1e-6)


def test_a_stopped_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ready: Path, data: Path, results: tuple[Path, Outcome]
) -> None:
    words = ("score", ready, data, "--out", tmp_path / "out", "--no-pictures")
    with monkeypatch.context() as patched:
        patched.setattr(Detector, "findings", stopped_after(TEST + 20))
        assert run(*words).code == 130
    assert not (tmp_path / "out" / "events.csv").exists()
    heard = heard_scores(monkeypatch)
    good(*words)
    assert len(heard) < 2 * TEST
    for name in ("scores.csv", "events.csv", "events.json", "groups.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (results[0] / name).read_bytes(), name
    assert leftovers(tmp_path / "out") == []


def test_patches_of_what_moves(tmp_path: Path, data: Path) -> None:
    """The same clips and outputs with another view and a method that knows nothing of time."""
    for name in ("Train/Train001", "Train/Train002", "Test/Test002"):
        shutil.copytree(data / name, tmp_path / "data" / name)
    few = ("training.steps=3", "training.batch_size=8", "networks.base_channels=4", "networks.memory=16")
    settings = sets("data.view=moving", "calibration.alarms_per_hour=36000", *few)  # the most that can be asked for
    model, out = tmp_path / "model", tmp_path / "out"
    outcome = good("train", tmp_path / "data", "--out", model, "--method", "twin", "--image-size", 32, *settings)
    assert "patches of 32 x 32 that move" in outcome.err
    good("score", model, tmp_path / "data", "--out", out, "--no-pictures")
    assert len(table(out / "scores.csv")) == TEST
    (threshold,) = {float(row["threshold"]) for row in table(out / "events.csv")}
    assert threshold == _calibration(model)["threshold"]


# -- films and cameras ----------------------------------------------------------------------------------------------


def test_a_film_is_watched_as_it_is_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ready: Path, film: Path
) -> None:
    """Frame by frame the same; only that the first frame is judged when those come that its context is mirrored to."""
    good("score", ready, film, "--out", tmp_path / "scored", "--no-pictures")
    heard, came = heard_scores(monkeypatch), []
    meanwhile(monkeypatch, lambda number, _: came.append((number, len(heard))))
    notices = watched(ready, film, "--out", tmp_path / "watched")
    np.testing.assert_allclose(heard, column(tmp_path / "scored" / "scores.csv", "score"), rtol=1e-4, atol=1e-5)
    assert [judged for _, judged in came] == [max(0, n - 32) if n < 64 else n for n in range(TEST)]
    expected, found = (table(tmp_path / name / "events.csv") for name in ("scored", "watched"))
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        same = [name for name in one if name.endswith("_frame") or name in ("event", "top", "left", "bottom", "right")]
        assert [one[name] for name in same] == [other[name] for name in same]
        assert float(one["score"]) == pytest.approx(float(other["score"]), rel=1e-4)
        later = float(one["start_s"]) - float(other["start_s"])  # since the watch began
        assert -0.01 < later < 5
        assert float(one["end_s"]) - float(one["start_s"]) == pytest.approx(
            float(other["end_s"]) - float(other["start_s"]), abs=1.0
        )
    told = of_kind(notices, "event")
    assert [each["going_on"] for each in told] == [True, False] * len(found)
    ended = json.loads((tmp_path / "watched" / "events.json").read_text())["events"]
    assert [{"kind": "event", **each} for each in ended] == told[1::2]
    assert notices[-1]["kind"] == "end"
    counts = ("frames", "judged", "dropped", "events")
    assert [notices[-1][name] for name in counts] == [TEST, TEST, 0, len(found)]
    assert len(played(tmp_path / "watched" / "annotated.mp4")) == TEST
    assert leftovers(tmp_path) == []


def test_a_camera_that_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ready: Path, bicycle: list[Pixels]
) -> None:
    camera = Camera(lambda number: bicycle[20 + number % 60], 0.02).start()

    def disturb(number: int, live: LiveFrames) -> None:
        if number == 25:
            camera.kill()
            threading.Timer(0.2, camera.start).start()
        if number == 90:
            live.stop()

    meanwhile(monkeypatch, disturb)
    try:
        notices = watched(ready, camera.address, "--out", tmp_path / "out", "--give-up-after", 15)
    finally:
        camera.kill()
    (gap,) = of_kind(notices, "gap")
    assert 0.1 < gap["end_s"] - gap["begin_s"] < 15
    (note,) = of_kind(notices, "note")
    assert note["text"] == f"{camera.address}: the source is lost ({gap['reason']}); trying again"
    ended = [event for event in of_kind(notices, "event") if not event["going_on"]]
    before = [event for event in ended if event["end_s"] <= gap["begin_s"]]
    after = [event for event in ended if event["start_s"] >= gap["end_s"]]
    assert ended == before + after  # none goes over it
    assert before
    assert after
    assert [event["event"] for event in ended] == list(range(1, len(ended) + 1))
    assert notices[-1]["kind"] == "end"
    assert notices[-1]["judged"] == notices[-1]["frames"] == 90  # and a gap
    assert notices[-1]["events"] == len(table(tmp_path / "out" / "events.csv")) == len(ended)


def test_a_camera_that_falls_silent_does_not_make_a_watch_longer(ready: Path, bicycle: list[Pixels]) -> None:
    camera = Camera(lambda number: bicycle[number], 0.02).start()
    camera.stall_after = 12
    try:
        outcome = good("watch", ready, camera.address, "--seconds", 2, "--give-up-after", 15)
    finally:
        camera.kill()
    assert re.search(re.escape(camera.address) + r": \d events in 12 frames, 0:0\d\.\d; ", outcome.out)
    assert _calibration(ready)["alarms"]["promise"] in outcome.out


def test_what_was_seen_is_kept_when_a_watch_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ready: Path, film: Path
) -> None:
    def stop(number: int, _: LiveFrames) -> None:
        if number == TEST - 10:
            raise KeyboardInterrupt

    meanwhile(monkeypatch, stop)
    outcome = run("watch", ready, film, "--out", tmp_path / "out")
    assert outcome.code == 130
    assert "event 1 began" in outcome.out
    assert f" in {TEST - 10} frames" in outcome.out  # the summary, as at the end of a film
    (event, *_) = table(tmp_path / "out" / "events.csv")
    assert int(event["end_frame"]) < TEST - 10
    assert len(played(tmp_path / "out" / "annotated.mp4")) == TEST - 10
    assert leftovers(tmp_path) == []


# -- what can be wrong ----------------------------------------------------------------------------------------------


def test_a_film_that_is_cut_off(tmp_path: Path, ready: Path, film: Path) -> None:
    whole, cut = tmp_path / "whole.mp4", tmp_path / "cut.mp4"
    with av.open(str(film)) as file, av.open(str(whole), "w", options={"movflags": "faststart"}) as out:
        stream = out.add_stream_from_template(file.streams.video[0])
        for packet in file.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    outcome = good("score", ready, cut, "--out", tmp_path / "out", "--no-pictures")
    assert "cut.mp4: it is cut off" in outcome.err
    found = table(tmp_path / "out" / "scores.csv")
    assert 30 < len(found) < TEST
    failed = [number for number, row in enumerate(found) if row["error"]]
    assert all(number > len(found) - 5 for number in failed)  # the last ones
    assert all("the file is damaged or cut off there" in found[number]["error"] for number in failed)
    cut.write_bytes(film.read_bytes()[:2000])  # without the table of contents, which stands at the end
    assert "cut.mp4: cannot be read as a video" in run("score", ready, cut, "--out", tmp_path / "none").error


def test_a_camera_that_goes_black_and_is_turned_away(
    tmp_path: Path, ready: Path, data: Path, bicycle: list[Pixels]
) -> None:
    """Of a model that is asked for few alarms: one that is right once in four seconds may be wrong as often."""
    ready = shutil.copytree(ready, tmp_path / "model")
    good("calibrate", ready, data, *sets("calibration.alarms_per_hour=40"))
    before, black = frames_in(data / "Train" / "Train001")[:20], [np.zeros(FILM, np.uint8)] * 10
    elsewhere = walkway(5, 15, size=FILM, place=3, density=6).frames
    film = write_video(
        tmp_path / "film.mp4", [*before, *black, *elsewhere, *bicycle[20:45]], RATE, options={"crf": "8"}
    )
    good("score", ready, film, "--out", tmp_path / "out", "--no-pictures")
    errors = [row["error"] for row in table(tmp_path / "out" / "scores.csv")]
    assert [number for number, error in enumerate(errors) if error] == [*range(20, 45)]
    assert all("the camera shows nothing: the frame is black" in error for error in errors[20:30])
    assert all("not what the camera showed in training" in error for error in errors[30:45])
    notices = watched(ready, film, "--out", tmp_path / "watched")
    for name in ("out", "watched"):
        events = json.loads((tmp_path / name / "events.json").read_text())["events"]
        assert events  # a bicycle, when it is over
        assert all(event["start_frame"] >= 45 for event in events)
    wrong, right = of_kind(notices, "camera")
    assert wrong["reason"] == "the camera shows nothing: the frame is black"
    assert right["reason"] == ""
    assert right["time_s"] - wrong["time_s"] == pytest.approx(25 / RATE, abs=1.0)
    assert (notices[-1]["frames"], notices[-1]["judged"]) == (70, 45)
    assert len(played(tmp_path / "watched" / "annotated.mp4")) == 70


def test_a_film_whose_frames_become_larger(tmp_path: Path, ready: Path, bicycle: list[Pixels]) -> None:
    some = bicycle[20:60]
    parts = [some[:20], [np.kron(frame, np.ones((2, 2), np.uint8)) for frame in some[20:]]]
    files = [write_video(tmp_path / f"{number}.264", part, RATE, b_frames=0) for number, part in enumerate(parts)]
    film = tmp_path / "both.264"  # a stream without a container: it says its size anew
    film.write_bytes(b"".join(path.read_bytes() for path in files))
    good("score", ready, film, "--out", tmp_path / "out")
    assert [row["error"] for row in table(tmp_path / "out" / "scores.csv")] == [""] * 40
    assert table(tmp_path / "out" / "events.csv")
    assert len({frame.shape for frame in played(tmp_path / "out" / "annotated" / "both.mp4")}) == 1


def test_one_long_film_to_train_on(tmp_path: Path) -> None:
    film = write_video(tmp_path / "long.mp4", walkway(1, 90, size=FILM, density=6).frames, 10)
    few = ("training.steps=2", "networks.base_channels=4")
    outcome = good("train", film, "--out", tmp_path / "m", "--image-size", 32, *sets(*few))
    assert "1 clip: cut into pieces of about 40 frames" in outcome.err
    told = json.loads(good("info", tmp_path / "m", "--json").out)
    assert (told["layout"]["name"], told["images"]) == ("video", {"train": 45, "holdout": 45})
    assert told["calibration"]["alarms"]["hours"] == pytest.approx(45 / 10 / 3600)


def test_models_that_cannot_watch(tmp_path: Path, model: Path, ready: Path, film: Path) -> None:
    """Of whole images; not calibrated; and what cannot be asked of any."""
    assert "data.view=frames or moving" in run("watch", model, film).error
    bare = shutil.copytree(ready, tmp_path / "bare")
    edit(bare, lambda document: document.update(calibration=None))
    assert "anotwin calibrate" in run("watch", bare, film).error
    assert "--seconds" in run("watch", ready, film, "--seconds", 0).error
    assert "no such file" in run("watch", ready, tmp_path / "none.mp4").error
