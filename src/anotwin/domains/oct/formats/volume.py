"""What the readers of OCT files share: the record of a volume before its pixels are read, names in headers, errors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from anotwin.data.pixels import one_line
from anotwin.domains.oct.records import Spacing
from anotwin.errors import AnoTwinError, DataError, MissingExtra

PARALLEL = (3, 4)  # Heidelberg's scan patterns with a distance between slices; others are lines, circles and stars
CIRCLE = 2
A_CIRCLE = "a circle scan around the optic disc, expected B-scans of the macula"
_RIGHT, _LEFT = frozenset({"OD", "R", "RIGHT"}), frozenset({"OS", "L", "LEFT"})
_ANONYMOUS = frozenset({"unknown", "anonymous", "anonymized", "anonymised", "anon", "none"})  # names no patient


@dataclass(frozen=True)
class FileVolume:
    """One volume of a file, or one slice of a volume that is spread over files, as the header tells it."""

    numbers: tuple[int, ...]  # the slices that the file holds, ascending: (0,) for one image
    slices: int  # that the whole volume has
    name: str = ""  # which of several volumes of the file
    patient: str | None = None
    eye: str | None = None  # "OD", "OS"
    spacing: Spacing | None = None
    series: str | None = None  # files of one series are the slices of one volume, ordered by `numbers`
    shape: tuple[int, int] | None = None  # height and width, where the header says it
    notes: tuple[str, ...] = ()  # what a person should know of it, without the file's name
    parallel: bool = True  # slices lie side by side; False: they cross, as in a star, or lie anywhere


class OtherPictureError(DataError):
    """A valid file that shows something else than B-scans of the macula, like the fundus picture of an export."""


def eye_name(text: object) -> str | None:
    """ "OD" or "OS" for what headers write: R, L, OD, OS, right, left; None for anything else."""
    word = str(text or "").strip("\0 ").upper()
    return "OD" if word in _RIGHT else "OS" if word in _LEFT else None


def patient_name(text: object) -> str | None:
    """The patient of a header; None where it is empty or one of the words for an unknown patient."""
    word = str(text or "").split("\0")[0].strip()
    return None if not word or word.casefold() in _ANONYMOUS else word


def spacing_of(axial: object, lateral: object, between: object = None, unit: float = 1.0) -> Spacing | None:
    """A `Spacing` in micrometres; None unless the first two are positive numbers. `unit`: micrometres of one.

    >>> spacing_of(0.0039, "0.0114", None, unit=1000.0)
    Spacing(axial=3.9, lateral=11.4, between=None)
    """
    down, across, gap = (_positive(value, unit) for value in (axial, lateral, between))
    return Spacing(down, across, gap) if down is not None and across is not None else None


@contextmanager
def read_errors(path: Path, said: str = "cannot read the file ({})") -> Iterator[None]:
    """Whatever a reader raises as one DataError line; damaged files raise anything. `{}`: the reader's own words."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{path}: cannot read the file ({error.strerror or error})") from None
    except (AnoTwinError, MemoryError):
        raise
    except Exception as error:
        raise DataError(f"{path}: {said.format(one_line(error))}") from None


def stamp(path: Path) -> tuple[int, int]:
    """What changes when a file is rewritten, so that a cache does not return the file before."""
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size


def library(module: str, package: str, where: object) -> Any:
    """An optional reader's module; raises MissingExtra that says how to get it."""
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtra(
            f"{where}: reading this file needs the package {package} ({error}); pip install 'anotwin[oct]'"
        ) from None


def _positive(value: Any, unit: float) -> float | None:
    try:
        number = round(float(value) * unit, 6)  # whole picometres: no 3.9000000000000004
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None
