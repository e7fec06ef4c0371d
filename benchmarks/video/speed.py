"""Part `speed`: frames a second from a video to its results, latency of a frame in `anotwin watch`, peak memory."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from statistics import median

import numpy as np
import torch

from anotwin import DataError, Detector
from anotwin.commands.scoring import score_folder
from anotwin.domains.video.alarms import event_settings
from anotwin.domains.video.clips import ASSUMED_RATE as RATE
from anotwin.domains.video.container import VideoFile
from anotwin.domains.video.context import OFFSETS
from anotwin.domains.video.events import EventFinder
from anotwin.domains.video.live import LiveFrame
from anotwin.domains.video.live_clip import LiveClip
from anotwin.domains.video.marking import marked_boxes
from anotwin.domains.video.pyav import av_library
from anotwin.records import Array
from anotwin.run.device import fabric_for
from anotwin.updates import Update, silent
from benchmarks.common.rows import Cell, Floats, Row
from benchmarks.speed.limit import in_turns, middle, probes
from benchmarks.video import peak_memory
from benchmarks.video.clips import WalkwaySet
from benchmarks.video.measures import cell
from benchmarks.video.study import DEFAULT, Study

FEWER_STEPS = "training.steps=20"  # what is learnt changes no time
ROUNDS, FRAMES = 3, 500
COUNTS, QUICK_COUNTS = (1000, 36_000), (30, 60)  # frames of the videos whose peak memory is asked for: an hour
# a process's peak counts what its parent occupied when it started: a small one stands between
BETWEEN = "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]))"


def speed_rows(study: Study, clips: WalkwaySet) -> Iterator[Row]:
    """All of it, for a model of a walkway and a video of the same place."""
    quick = study.arguments.quick
    detector = study.detector(DEFAULT, clips, [] if quick else [FEWER_STEPS])
    counts, frames = (QUICK_COUNTS, QUICK_COUNTS[1]) if quick else (COUNTS, FRAMES)
    video = study.scratch / "timed.mp4"
    long_videos = {count: study.scratch / f"{count}.mp4" for count in counts}
    for path, count in ((video, frames), *((path, count) for count, path in long_videos.items())):
        write_mp4(path, (shot.frame for shot in clips.footage(count)), clips.size)
        study.watch(Update("note", detail=f"{path.name}: {count} frames"))
    rows = cell(f"video of {clips.size[1]} x {clips.size[0]}", DEFAULT, study.has_goals)
    yield from rate_rows(study, rows, detector, video, frames)
    yield from latency_rows(rows, detector, video)
    yield from memory_rows(study, rows, detector, long_videos)


def write_mp4(path: Path, frames: Iterable[Array], size: tuple[int, int]) -> None:
    """Grey frames (H, W) of this size, sides even, as H.264."""
    library = av_library(path)
    with library.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=int(RATE), options={"preset": "veryfast", "crf": "20"})
        stream.pix_fmt = "yuv420p"
        stream.height, stream.width = size
        for number, pixels in enumerate(frames):
            frame = library.VideoFrame.from_ndarray(pixels, format="gray")
            frame.pts, frame.time_base = number, 1 / stream.codec_context.framerate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def rate_rows(study: Study, rows: Cell, detector: Detector, video: Path, frames: int) -> Iterator[Row]:
    """Reading, scoring and output together, in turns with reading alone and with the machine's best convolution."""
    quick, device = study.arguments.quick, fabric_for(study.arguments.device, "32-true").device
    runs = iter(range(10**6))

    def scoring(annotated: bool) -> Callable[[], float]:
        return lambda: _scoring_seconds(detector, video, study.scratch / f"scores-{next(runs)}", annotated)

    def reading() -> float:
        began = time.perf_counter()
        file = VideoFile(video)
        for number in range(file.count):
            file.read(number)
        file.close()
        return time.perf_counter() - began

    contenders = {"annotated": scoring(True), "tables": scoring(False), "reading": reading}
    limits = probes(torch.float32, device, 0.1 if quick else 1.0)
    everyone = {**contenders, **limits}
    found = {name: each() for name, each in everyone.items()} if quick else middle(in_turns(everyone, ROUNDS))
    yield rows.row("rate_with_annotated_video", frames / found["annotated"], unit="frames/s", goal=">= 25")
    yield rows.row("rate_with_tables_alone", frames / found["tables"], unit="frames/s")
    yield rows.row("rate_of_reading_alone", frames / found["reading"], unit="frames/s")
    yield rows.row("annotated_to_tables", found["annotated"] / found["tables"])
    limit = max(found[name] for name in limits)
    yield rows.row("machine_limit", limit, unit="GFLOP/s")
    yield rows.row("frame_at_the_limit", found["annotated"] / frames * limit, unit="GFLOP")


def _scoring_seconds(detector: Detector, video: Path, out: Path, annotated: bool) -> float:
    began = time.perf_counter()
    summary = score_folder(detector, video, out, "auto", annotated, silent)
    if summary.failed:  # a frame that is refused takes no time
        raise DataError(f"{video.name}: {summary.failed} of {summary.images} frames have no score; times mean nothing")
    return time.perf_counter() - began


def latency_rows(rows: Cell, detector: Detector, video: Path) -> Iterator[Row]:
    """From the moment at which a frame is there, before it is decoded, to its events; batches of one, as `watch`."""
    found = latencies(detector, video)
    yield rows.row("latency_median", median(found), unit="ms")
    yield rows.row("latency_95_percent", float(np.quantile(found, 0.95)), unit="ms", goal="<= 100")


def latencies(detector: Detector, video: Path) -> Floats:
    """(n,) milliseconds of each frame but the first, whose context is mirrored: they wait for those after them."""
    one_by_one = detector.with_settings(detector.settings.with_overrides(["search.batch_size=1"]))
    one_by_one.calibration = calibration = detector.calibration
    assert calibration is not None
    assert calibration.alarms is not None
    file, came, took = VideoFile(video), [], []

    def coming() -> Iterator[LiveFrame]:
        for number in range(file.count):
            came.append(time.perf_counter())
            yield LiveFrame(number + 1, float(file.times[number]), file.read(number))

    clip, finder = LiveClip(video.name, coming()), EventFinder(video.name, event_settings(calibration.alarms))
    for number, finding in enumerate(one_by_one.findings(clip, clip.indices())):  # type: ignore[arg-type]
        marked_boxes(finding, one_by_one)
        finder.take(number, clip.time(number), finding.score)
        took.append(time.perf_counter() - came[number])
    file.close()
    return 1000 * np.array(
        took[min(2 * max(OFFSETS), len(took) // 2) :]
    )  # the first ones wait for those that mirror them


def memory_rows(study: Study, rows: Cell, detector: Detector, videos: Mapping[int, Path]) -> Iterator[Row]:
    """Peak resident memory of two processes, each of which scores a video of so many frames."""
    if sys.platform == "win32":
        raise DataError("--part speed: Windows does not tell the peak memory of a process; use Linux or macOS")
    detector.save(study.scratch / "model")
    whole = []
    for count, video in videos.items():
        words = [peak_memory.__file__, study.scratch / "model", video, study.scratch / f"memory-{count}"]
        command = [sys.executable, "-c", BETWEEN, sys.executable, *map(str, words), study.arguments.device]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise DataError(f"anotwin score ended with code {done.returncode}: {done.stderr.strip()[-300:]}")
        frames, all_written = json.loads(done.stdout.splitlines()[-1])
        yield rows.row(f"peak_memory_after_frame_{count}", frames, unit="MiB")
        yield rows.row(f"peak_memory_of_{count}_frames", all_written, unit="MiB")
        whole.append(all_written)
    yield rows.row("memory_growth", whole[-1] / whole[0] - 1, goal="<= 0.1")
