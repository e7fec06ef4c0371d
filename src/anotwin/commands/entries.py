"""Commands that look at data and models, as `cli.py` registers them: their arguments, and the call of what works."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from anotwin.commands.arguments import (
    LAYOUTS,
    VIEWS,
    Abnormal,
    Data,
    Device,
    Group,
    Json,
    Layout,
    Model,
    Normal,
    lines_of,
    path_of,
)


def check(
    data: Data,
    out: Annotated[
        Path | None, typer.Option(help="Folder for check.csv, check.json and suspicious.png.", parser=path_of)
    ] = None,
    layout: Annotated[str, typer.Option(help=f"How DATA is laid out: {LAYOUTS}.")] = "auto",
    view: Annotated[str, typer.Option(help=f"What a model would see: {VIEWS}; auto: as train chooses.")] = "auto",
    model_size: Annotated[int | None, typer.Option(help="Side of the model's square, as train --image-size.")] = None,
    normal: Normal = None,
    abnormal: Abnormal = None,
    group: Group = None,
    as_json: Json = False,
) -> None:
    """Check images of any kind before training: duplicates, exposure, sizes, normal images that look abnormal."""
    from anotwin.commands import checking, showing
    from anotwin.settings import Settings

    given = {
        "data.layout": layout,
        "data.view": view,
        "data.normal": json.dumps(lines_of(normal), ensure_ascii=False) if normal else None,
        "data.abnormal": json.dumps(lines_of(abnormal), ensure_ascii=False) if abnormal else None,
        "data.group": None if group is None else json.dumps(group, ensure_ascii=False),
        "data.image_size": model_size,
    }
    settings = Settings().with_overrides([f"{key}={value}" for key, value in given.items() if value is not None])
    with showing.bars() as watch:
        found = checking.check_folder(data, out, settings, watch)
    showing.checked(found.as_dict(), found.written, as_json)


def translate(
    model: Model,
    data: Data,
    out: Annotated[
        Path, typer.Option(help="Folder for the translations, translated.csv and sheet.png.", parser=path_of)
    ],
    direction: Annotated[str, typer.Option(help="AtoB or BtoA; only cyclegan has learnt both.")] = "AtoB",
    seed: Annotated[int, typer.Option(help="Of the noise that pix2pix draws.")] = 0,
    device: Device = "auto",
) -> None:
    """Translate the images in DATA, each under its name, in its format, depth and size (enlarged by srgan).

    Called again after it was stopped, it keeps what was finished.
    """
    from anotwin.commands import showing, translating
    from anotwin.translator import Translator

    translator = Translator.load(model, device)
    with showing.bars() as watch:
        summary = translating.translate_folder(translator, data, out, direction, seed, watch)
    showing.translated(summary.images, summary.failed, summary.noted, out)


def detectability(
    model: Model,
    normals: Data,
    kinds: Annotated[str, typer.Option(help="Kinds of defects, with commas between them.")] = "pit,scratch",
    false_alarm_rate: Annotated[float, typer.Option(help="Share of normal images that may be flagged.")] = 0.01,
    per: Annotated[int, typer.Option(help="Defects of each kind, contrast and size.")] = 10,
    out: Annotated[
        Path | None, typer.Option(help="Folder for detectability.png, .csv and .json.", parser=path_of)
    ] = None,
    layout: Layout = "auto",
    group: Group = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Plant defects of known size into normal images not trained on: from which size on are they found?"""
    from anotwin.commands import detecting, showing
    from anotwin.detector import Detector

    detector = Detector.load(model, device)
    with showing.bars() as watch:
        found = detecting.measure_detectability(
            detector, normals, kinds, false_alarm_rate, per, out, watch, layout=layout, group=group
        )
    showing.detected(found.as_dict(), out, as_json)


def watch(
    model: Model,
    source: Annotated[str, typer.Argument(help="A camera (rtsp://, http://, /dev/video0), or a video file.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for events.csv, events.json and annotated.mp4.", parser=path_of)
    ] = None,
    seconds: Annotated[float | None, typer.Option(help="Stop after so long; not given: at its end, or Ctrl-C.")] = None,
    give_up_after: Annotated[
        float | None, typer.Option(help="Seconds without a frame after which it is an error; not given: never.")
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Watch a camera and tell of events as they happen; a source that is lost is opened again."""
    from anotwin.commands import showing, watching
    from anotwin.detector import Detector

    detector = Detector.load(model, device)
    watching.watch_source(
        detector,
        source,
        out,
        seconds=seconds,
        give_up_after=give_up_after,
        as_json=as_json,
        say=partial(print, flush=True) if as_json else showing.say,
        watch=showing.notes,
    )
