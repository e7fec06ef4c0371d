"""`anotwin check`: whether images are fit to be learnt from, before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from anotwin.commands.readiness import (
    CheckRow,
    Compared,
    Looked,
    advice_for,
    counts_of,
    row_of,
    seen_by_a_model,
    summary_of,
)
from anotwin.data.folder import Part
from anotwin.domains.open import guess_layout, notes_of, open_source
from anotwin.errors import DataError
from anotwin.files import check_apart, check_writable, write_json_atomic
from anotwin.lock import one_writer
from anotwin.occupied import result_notes
from anotwin.prepare.facts import read_facts
from anotwin.prepare.near import find_near
from anotwin.prepare.stream import UNUSABLE
from anotwin.prepare.suspects import FEWEST, cross_fitted
from anotwin.records import ImageSource
from anotwin.report.rows import write_rows
from anotwin.report.thumbnails import save_thumbnails, thumbnail
from anotwin.settings import Settings
from anotwin.updates import Update, Watch, tell

SHOWN = 20  # images on the contact sheet


@dataclass(frozen=True)
class Readiness:
    """What was found."""

    rows: list[CheckRow]
    advice: list[str]  # what to do, the most urgent first; [] where nothing is to be done
    notes: list[str]  # what a model would see of them
    summary: str
    written: list[Path] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """As JSON values, without the rows."""
        return {"summary": self.summary, "advice": self.advice, "notes": self.notes, **self.counts}


def check_folder(
    data: Path,
    out: Path | None,
    settings: Settings,
    watch: Watch,
) -> Readiness:
    """Look at all images of DATA, those to train on and those to test with.

    Args:
        data: a folder or a file.
        out: folder for check.csv, check.json and suspicious.png; None: nothing is written.
        settings: `data` says how the files are laid out, what is normal, and what a model would see.

    Raises:
        DataError: nothing usable there.
        SettingsError: no such layout or view.
    """
    parts = _sources(data, settings)
    tell(watch, list(dict.fromkeys(note for source, _ in parts for note in notes_of(source))))
    if out is not None:
        check_apart(out, data)
        tell(watch, result_notes(out, "check.csv"))
        check_writable(out)
    images = _look(parts, watch)
    usable = [each for each in images if not each.facts.error]
    if not usable:
        raise DataError(f"{data}: none of {len(images)} images can be read; one of them: {images[0].facts.error}")
    varied = [each for each in usable if not each.facts.constant]  # one that is constant resembles every other
    like, white = _like(varied), float(np.median([each.facts.at_white for each in usable]))
    compared = Compared(_equal(usable), like, _suspicion(varied, like), white)
    rows = [row_of(each, compared) for each in images]
    notes = seen_by_a_model(images, settings)
    found = Readiness(rows, advice_for(images, rows), notes, summary_of(images), [], counts_of(rows))
    if out is not None:
        with one_writer(out, lambda note: tell(watch, [note])):
            found = replace(found, written=_write(found, usable, out))
    return found


def _sources(data: Path, settings: Settings) -> list[tuple[ImageSource, str]]:
    """What a training would take of DATA, and what is there besides; files in both are in no part."""
    given = settings.data
    layout = guess_layout(data) if given.layout == "auto" else given.layout
    kinds: dict[str, Any] = {"abnormal": given.abnormal, "group": given.group}
    parts: tuple[Part, ...] = ("train", "test")
    found: list[tuple[ImageSource, str]] = []
    for part in parts:
        try:
            found.append((open_source(data, part, layout, given.normal, **kinds), part))
        except DataError:  # there is nothing to test with
            if not found:
                raise
    return found


def _look(parts: Sequence[tuple[ImageSource, str]], watch: Watch) -> list[Looked]:
    """Every image once."""
    ids = [{item.id for item in source.items} for source, _ in parts]
    both = ids[0] & ids[1] if len(ids) > 1 else set()
    seen: set[str] = set()
    wanted = []
    for source, part in parts:
        fresh = [index for index, item in enumerate(source.items) if item.id not in seen]
        seen.update(source.items[index].id for index in fresh)
        wanted.append((source, part, fresh))
    total, images = sum(len(fresh) for _, _, fresh in wanted), []
    for source, part, fresh in wanted:
        for facts in read_facts(source, fresh):
            images.append(Looked(source, "" if facts.image in both else part, facts))
            watch(Update("reading", len(images), total))
    return images


def _equal(images: Sequence[Looked]) -> dict[str, str]:
    """Of images whose pixels another one has: the first of them, by id."""
    first: dict[int | None, str] = {}
    found = {}
    for each in images:
        other = first.setdefault(each.facts.fingerprint, each.facts.image)
        if other != each.facts.image:
            found[each.facts.image] = other
    return found


def _like(images: Sequence[Looked]) -> dict[str, str]:
    """Of near-duplicates: the first of them, by id; itself for the first."""
    shapes = [each.facts.shape for each in images if each.facts.shape is not None]
    near = find_near(np.stack(shapes) if shapes else np.empty((0, 1), np.float32))
    names = [each.facts.image for each in images]
    return {names[member]: names[cluster[0]] for cluster in near.clusters for member in cluster}


def _suspicion(images: Sequence[Looked], like: dict[str, str]) -> dict[str, float]:
    """Of what would be trained on, or is said to be normal: how unlike the others it is."""
    normals = [each for each in images if each.item.normal is not False]
    looks = [each.facts.look for each in normals if each.facts.look is not None]
    if len(looks) < FEWEST:
        return {}
    groups = [each.item.group or like.get(each.facts.image, each.facts.fingerprint) for each in normals]
    scores = cross_fitted(np.stack(looks), groups)
    return {each.facts.image: round(float(score), 2) for each, score in zip(normals, scores, strict=True)}


def _write(found: Readiness, images: Sequence[Looked], out: Path) -> list[Path]:
    write_rows(CheckRow, found.rows, out / "check.csv")
    write_json_atomic(out / "check.json", found.as_dict())
    scores = {row.image: row for row in found.rows if row.suspicion is not None}
    worst = sorted((each for each in images if each.facts.image in scores), key=_by_suspicion(scores))[:SHOWN]
    pictures = []
    for each in worst:
        with suppress(*UNUSABLE):  # it could be read a moment ago
            row = scores[each.facts.image]
            marked = f"suspicion {row.suspicion:.1f}" + (" !" if "unlike" in row.problem else "")
            pictures.append((thumbnail(each.source.read(each.facts.index)), (row.image, marked)))
    sheet = out / "suspicious.png"
    if pictures:
        return [out / "check.csv", save_thumbnails(pictures, sheet)]
    sheet.unlink(missing_ok=True)  # of other data, from an earlier run
    return [out / "check.csv"]


def _by_suspicion(rows: dict[str, CheckRow]) -> Callable[[Looked], tuple[float, str]]:
    return lambda each: (-(rows[each.facts.image].suspicion or 0.0), each.facts.image)
