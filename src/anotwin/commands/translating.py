"""`anotwin translate`: every image translated, translated.csv and sheet.png; which trainings are of translations."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from anotwin import __version__
from anotwin.data.pixels import read_pixels
from anotwin.errors import DataError, SettingsError
from anotwin.files import check_apart, check_writable
from anotwin.lock import one_writer
from anotwin.methods.protocol import device_of
from anotwin.occupied import result_notes
from anotwin.prepare.stream import UNUSABLE, named
from anotwin.records import ImageSource
from anotwin.report.journal import journal_line, journal_values
from anotwin.report.overlay import UInt8
from anotwin.report.rows import write_rows
from anotwin.report.thumbnails import save_thumbnails, thumbnail
from anotwin.settings import Settings
from anotwin.training.run_folder import RunFolder
from anotwin.translation.kinds import translates
from anotwin.translation.layouts import images_below
from anotwin.translation.protocol import Direction
from anotwin.translation.writing import output_name, save_translation
from anotwin.translator import Translator
from anotwin.updates import Update, Watch, tell

TABLE, PARTIAL, SHEET = "translated.csv", "translated.partial", "sheet.png"
SHOWN, PAIRS = 16, 2  # images on the sheet, and how many in a row


@dataclass(frozen=True)
class Row:
    """One image in translated.csv."""

    file: str  # path below DATA
    output: str = ""  # path below --out
    size: str = ""  # width x height of the output
    seconds: float = 0.0
    note: str = ""  # where the format of the file cannot hold the translation
    error: str = ""


@dataclass(frozen=True)
class Summary:
    """The result of translating a folder."""

    images: int
    failed: int
    noted: int  # written in another format, or in one that is not lossless
    kept: int  # of an earlier run that was stopped


def is_asked(method: str | None, settings: Settings, out: Path, resume: bool) -> bool:
    """Whether `anotwin train` makes a `Translator`: by its method and layout or, resumed, by what the run is."""
    if resume:
        return bool(RunFolder.latest(out).description().get("translates"))
    return translates(method, settings.data.layout, settings.data.abnormal_images is not None)


def train_translation(
    data: Path, out: Path, method: str | None, settings: Settings, resume: bool, device: str, watch: Watch
) -> Translator:
    """`Translator.train` with what the command line was given; raises SettingsError for options of detectors."""
    own = settings.data
    given = {
        "--view": own.view != "auto",
        "--normal": own.normal is not None,
        "--abnormal": own.abnormal is not None,
        "--abnormal-images": own.abnormal_images is not None,
    }
    for option in (option for option, is_given in given.items() if is_given):
        raise SettingsError(f"{option} is for detectors, which learn from normal images; a translation has A and B")
    return Translator.train(
        data, out, method=method, layout=own.layout, settings=settings, resume=resume, device=device, watch=watch
    )


def translate_folder(translator: Translator, data: Path, out: Path, direction: str, seed: int, watch: Watch) -> Summary:
    """Translate the images in `data`, a folder or a file, into `out`, under their names and in their formats.

    An image that cannot be read is a row with its error. Called again after it was stopped, it keeps what was finished,
    if model, direction, seed and file are the same.

    Raises:
        SettingsError: `out` lies in `data` or holds a model, or a direction that was not learnt.
        DataError: no image, or none that could be translated.
    """
    source = images_below(data)
    check_apart(out, data)
    if data.is_file() and out.resolve() == data.resolve().parent:
        raise SettingsError(f"{out}: holds {data.name}, which its translation would replace; choose another --out")
    way = translator.check_direction(direction)
    tell(watch, [*source.notes, *result_notes(out, TABLE)])
    folders = sorted({item.id.split("/")[0] for item in source.items if "/" in item.id})
    with one_writer(out, lambda note: tell(watch, [note]), below=folders):
        check_writable(out)
        job = _Job(translator, source, out, way, seed)
        rows, kept = job.run(watch)
        write_rows(Row, rows, out / TABLE)
        job.journal.unlink(missing_ok=True)
        _sheet(job, rows, watch)
    failed = [row for row in rows if row.error]
    if len(failed) == len(rows):
        raise DataError(
            f"{out / TABLE}: none of {len(rows)} images could be translated; one of them: {failed[0].error}"
        )
    return Summary(len(rows), len(failed), sum(bool(row.note) for row in rows), kept)


class _Job:
    """One call of translate: which rows are finished, and how one is made."""

    def __init__(self, translator: Translator, source: ImageSource, out: Path, direction: Direction, seed: int) -> None:
        self.translator, self.source, self.out = translator, source, out
        self.direction, self.seed, self.journal = direction, seed, out / PARTIAL
        self.shown: dict[str, tuple[UInt8, UInt8]] = {}  # thumbnails by file

    def run(self, watch: Watch) -> tuple[list[Row], int]:
        """The rows of all images in their order, and how many were kept."""
        key, done = self._key(), {}
        values = list(journal_values(self.journal))
        if values[:1] == [key]:
            done = {row["file"]: (stamp, Row(**row)) for stamp, row in values[1:]}
        rows, kept = [], 0
        with self.journal.open("ab" if done else "wb") as journal:
            journal.write(b"" if done else journal_line(key))
            for index, item in enumerate(self.source.items):
                stamp = self._stamp(item.id)
                before, row = done.get(item.id, (None, Row(item.id, error="-")))
                if before == stamp and not row.error and (self.out / row.output).is_file():
                    kept += 1
                else:
                    row = self.translate(index)
                    journal.write(journal_line([stamp, vars(row)]))
                    journal.flush()
                rows.append(row)
                watch(Update("translating", index + 1, len(self.source.items)))
        return rows, kept

    def translate(self, index: int) -> Row:
        """Translate one image and write the result."""
        name, began = self.source.items[index].id, time.perf_counter()
        try:
            pixels = self.source.read(index)
            found = self.translator.translate(pixels, self.direction, self.seed)
            output, note = output_name(name, found)
            if output == SHEET:
                raise DataError(f"{name}: the contact sheet has this name; rename the image")
            save_translation(found, self.out / output)
        except UNUSABLE as error:
            return Row(name, error=named(name, error), seconds=round(time.perf_counter() - began, 3))
        if len(self.shown) < SHOWN:
            self.shown[name] = thumbnail(pixels), thumbnail(found)
        size = f"{found.shape[1]}x{found.shape[0]}"
        return Row(name, output, size, round(time.perf_counter() - began, 3), note)

    def pictures(self, row: Row) -> tuple[UInt8, UInt8]:
        """Thumbnails of an image and of its translation."""
        if row.file not in self.shown:
            index = next(place for place, item in enumerate(self.source.items) if item.id == row.file)
            self.shown[row.file] = thumbnail(self.source.read(index)), thumbnail(read_pixels(self.out / row.output))
        return self.shown[row.file]

    def _stamp(self, name: str) -> list[int]:
        """What tells that a file is still the same."""
        try:
            state = (Path(self.source.root) / name).stat()
        except OSError:
            return [0, 0]
        return [state.st_size, state.st_mtime_ns]

    def _key(self) -> str:
        """A hash of all that a translation depends on but its image."""
        networks = self.translator.method.networks
        hasher = hashlib.blake2b(digest_size=16)
        for name, tensor in sorted(networks.state_dict().items()):
            hasher.update(name.encode())
            hasher.update(tensor.cpu().contiguous().numpy().tobytes())
        spec, settings = self.translator.spec, self.translator.settings.model_dump()
        machine = [__version__, torch.__version__, device_of(networks).type]
        described = [*machine, spec.a.stored(), spec.b.stored(), settings, self.direction, self.seed]
        hasher.update(json.dumps(described).encode())
        return hasher.hexdigest()


def _sheet(job: _Job, rows: Sequence[Row], watch: Watch) -> None:
    """Images beside their translations, the first of them."""
    pictures: list[tuple[UInt8, Sequence[str]]] = []
    for row in [row for row in rows if not row.error][:SHOWN]:
        try:
            before, after = job.pictures(row)
        except UNUSABLE as error:
            tell(watch, [named(row.file, error)])
            continue
        pictures += [(before, [row.file]), (after, [row.output, row.size])]
    if pictures:
        save_thumbnails(pictures, job.out / SHEET, 2 * PAIRS)
