"""Surveillance video: clips of a fixed camera, frames with those before them, events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from anotwin.domains.protocol import Domain, Job, Model, Notice, Outputs, ScoreOutputs, Unit, View
from anotwin.domains.video.context import OFFSETS
from anotwin.domains.video.layouts import LAYOUTS

if TYPE_CHECKING:
    from pathlib import Path

    from anotwin.records import Alarms, ImageSource
    from anotwin.settings import Settings
    from anotwin.updates import Watch


def _view() -> View:
    from anotwin.domains.video.view import FramesView

    return FramesView()


def _moving_view() -> View:
    from anotwin.domains.video.moving import MovingView

    return MovingView()


def _scoring(job: Job) -> ScoreOutputs:
    from anotwin.domains.video.outputs import VideoOutputs

    return VideoOutputs(job)


def _evaluating(job: Job) -> Outputs:
    from anotwin.domains.video.outputs import EvaluatedVideo

    return EvaluatedVideo(job)


def _units(source: ImageSource, scores: Mapping[int, float]) -> Mapping[str, Sequence[Unit]]:
    from anotwin.domains.groups import group_units

    return group_units(source, scores)


def _alarms(source: ImageSource, scores: Mapping[int, float], settings: Settings) -> Alarms | None:
    from anotwin.domains.video.alarms import alarms_of

    return alarms_of(source, scores, settings)


def _watching(
    address: str, model: Model, out: Path | None, seconds: float | None, give_up_after: float | None, told: Watch
) -> Iterator[Notice]:
    from anotwin.domains.video.watching import watch

    return watch(address, model, out, seconds, give_up_after, told)


VIDEO = Domain(
    name="video",
    layouts=LAYOUTS,
    view_name="frames",
    parts=False,
    view=_view,
    scoring=_scoring,
    evaluating=_evaluating,
    method="frames",
    units=_units,
    looks_back=len(OFFSETS),
    alarms=_alarms,
    watching=_watching,
    pictured=False,  # of thousands of frames: annotated videos show them
    files=("events.csv", "events.json", "groups.csv", "timeline.png"),
)

# the same clips, files and events; what moves is looked at by itself, by any method: for a user with little footage
MOVING = replace(
    VIDEO, name="moving", layouts=(), view_name="moving", parts=True, view=_moving_view, method="twin", looks_back=0
)
