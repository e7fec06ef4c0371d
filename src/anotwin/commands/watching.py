"""`anotwin watch`: a live source through a model, and what it tells of."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from anotwin.detector import Detector
from anotwin.domains.registry import DOMAINS
from anotwin.errors import SettingsError
from anotwin.files import check_writable
from anotwin.updates import Update, Watch


def watch_source(
    detector: Detector,
    source: str,
    out: Path | None,
    *,
    seconds: float | None,
    give_up_after: float | None,
    as_json: bool,
    say: Callable[[str], object],
    watch: Watch,
) -> None:
    """Tell of events as they happen, a line each; with `as_json` as JSON.

    Frames are scored one by one: a batch would wait for later ones. Scores are the same, on a GPU but for rounding. As
    JSON, a source that is lost is told of among the events: "kind" is event, gap, camera, note or end. Raises
    SettingsError for a model of images that do not come by themselves, DataError for a source that cannot be read.
    """
    watching = detector.domain.watching
    if watching is None:
        able = " or ".join(domain.view_name for domain in DOMAINS if domain.watching)
        raise SettingsError(f"watch needs a model of clips (data.view={able}), this one has {detector.spec.view}")
    for name, value in (("--seconds", seconds), ("--give-up-after", give_up_after)):
        if value is not None and not value > 0:
            raise SettingsError(f"{name} {value}: must be above 0")
    if out is not None:
        check_writable(out)
    one_by_one = detector.with_settings(detector.settings.with_overrides(["search.batch_size=1"]))
    one_by_one.calibration = detector.calibration
    one_at_a_time = threading.Lock()  # notes come from the thread that reads

    def say_json(kind: str, numbers: Mapping[str, Any]) -> None:
        with one_at_a_time:
            say(json.dumps({"kind": kind, **numbers}))

    def note(update: Update) -> None:
        if update.stage == "note":
            say_json("note", {"text": update.detail})

    for notice in watching(source, one_by_one, out, seconds, give_up_after, note if as_json else watch):
        if as_json:
            say_json(notice.kind, notice.numbers)
        else:
            say(notice.text)
