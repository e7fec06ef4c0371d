"""Heidelberg .e2e through eyepy, Topcon .fda and .fds through oct-converter: formats without a published specification.

What is relied on of the libraries is what their own importers use: eyepy 0.21, oct-converter 0.7.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from anotwin.data.pixels import native
from anotwin.domains.oct.formats.volume import (
    A_CIRCLE,
    CIRCLE,
    PARALLEL,
    FileVolume,
    OtherPictureError,
    eye_name,
    library,
    patient_name,
    read_errors,
    spacing_of,
    stamp,
)
from anotwin.errors import DataError
from anotwin.records import Array

_E2E = "eyepy cannot read the file ({}); export it as DICOM, .vol or TIFF"
_E2E_MOST = 1.99  # eyepy: what is more marks what registration left empty
_TOPCON = "oct-converter cannot read the file ({}); export it as DICOM, .vol or TIFF"


def e2e_volumes(path: Path) -> tuple[FileVolume, ...]:
    """Every series with B-scans of the macula in a Heidelberg .e2e file.

    Raises DataError, OtherPictureError where it holds circle scans only, MissingExtra.
    """
    with read_errors(path, _E2E), _index_e2e(path, stamp(path)) as reader:
        found = _e2e_series(reader, path)
        if found and not any(map(_of_macula, found)):
            raise OtherPictureError(f"{path}: {A_CIRCLE}; left out")
        return tuple(_e2e_volume(series, slices) for series, slices in filter(_of_macula, found))


def e2e_slice(path: Path, volume: int, number: int) -> Array:
    """(H, W) uint8 as Heidelberg's viewer shows it, white what is not known; only this slice is decoded."""
    with read_errors(path, _E2E), _index_e2e(path, stamp(path)) as reader:
        _, slices = [found for found in _e2e_series(reader, path) if _of_macula(found)][volume]
        raw = np.array(slices[number].get_bscan(), np.float32)  # a copy: the transform writes into it
        empty = raw > _E2E_MOST
        shown = native(library("eyepy.core.utils", "eyepy", path).from_e2e_intensity(raw), str(path))
    shown[empty] = 255  # white at the border is taken as unknown, 0 would be a dark vitreous
    return shown


def topcon_volumes(path: Path) -> tuple[FileVolume, ...]:
    """The volume of a Topcon .fda or .fds file, which has to be decoded for it; raises DataError, MissingExtra."""
    found = _topcon(path)
    lateral, between, axial = found.pixel_spacing or (None, None, None)  # mm
    volume = FileVolume(
        tuple(range(len(found.volume))),
        len(found.volume),
        patient=patient_name(found.patient_id),
        eye=eye_name(found.laterality),
        spacing=spacing_of(axial, lateral, between, unit=1000.0),
        shape=found.volume[0].shape[:2],
    )
    return (volume,)


def topcon_slice(path: Path, _volume: int, number: int) -> Array:
    """(H, W) uint8 or uint16 as stored; the last volume is kept, because a file is decoded as a whole."""
    return native(np.asarray(_topcon(path).volume[number]), str(path))


@lru_cache(maxsize=1)  # the index of a file is slow to read
def _index_e2e(path: Path, _stamp: tuple[int, int]) -> Any:
    return library("eyepy.io.he", "eyepy", path).HeE2eReader(path)


def _e2e_series(reader: Any, path: Path) -> list[tuple[Any, dict[int, Any]]]:
    """Series and their slices with a B-scan by number; a slice's id is twice its number."""
    scan = library("eyepy.io.he.e2e_format", "eyepy", path).TypesEnum.bscanmeta
    found = [
        (series, {key // 2: part for key, part in sorted(series.slices.items()) if scan in part.folders})
        for series in reader.series
    ]
    # the one slice of a line scan has the number 1
    return [(series, part if len(part) > 1 else {0: next(iter(part.values()))}) for series, part in found if part]


def _of_macula(found: tuple[Any, dict[int, Any]]) -> bool:
    """Whether a series is no circle around the optic disc."""
    return bool(next(iter(found[1].values())).get_meta()["scan_pattern"] != CIRCLE)


def _e2e_volume(series: Any, slices: dict[int, Any]) -> FileVolume:
    metas = [part.get_meta() for part in slices.values()]
    first = metas[0]
    gaps = None
    if len(slices) > 1 and first["scan_pattern"] in PARALLEL:
        numbers = list(slices)
        centres = [[(a + b) / 2 for a, b in zip(m["start_pos"], m["end_pos"], strict=True)] for m in metas]
        gaps = math.dist(centres[0], centres[-1]) / (numbers[-1] - numbers[0])  # degrees
    width = series.get_x_scale_derivation()
    between = gaps * width["constant_um_per_deg"] if gaps else None
    return FileVolume(
        tuple(slices),
        max(int(first["n_bscans"]), max(slices) + 1),
        name=str(series.id),
        patient=_if_stored(lambda: patient_name(_patient_of(series))),
        eye=_if_stored(lambda: _eye_of(series)),
        spacing=spacing_of(1000.0 * first["scale_y"], width["scaling_x_um_per_pixel"], between),
        shape=(int(first["size_y"]), int(first["size_x"])),
        parallel=first["scan_pattern"] in PARALLEL or len(slices) == 1,
    )


def _patient_of(series: Any) -> str:
    kind = library("eyepy.io.he.e2e_format", "eyepy", "e2e").TypesEnum.patient
    return str(series.patient.folders[kind][0].data.patient_id)


def _eye_of(series: Any) -> str | None:
    text = str(series.laterality()).rpartition(".")[2]
    return eye_name(chr(int(text)) if text.isdigit() else text)  # the code of a letter, or the name of an enum's entry


def _if_stored(get: Callable[[], str | None]) -> str | None:
    try:
        return get()
    except (KeyError, IndexError, AttributeError, TypeError, ValueError):  # an anonymised file lacks these folders
        return None


def _topcon(path: Path) -> Any:
    with read_errors(path, _TOPCON):
        return _decode_topcon(path, stamp(path))


@lru_cache(maxsize=1)
def _decode_topcon(path: Path, _stamp: tuple[int, int]) -> Any:
    kind = path.suffix.lower().removeprefix(".")
    module = library(f"oct_converter.readers.{kind}", "oct-converter", path)
    module.np = _Numpy()
    with redirect_stdout(io.StringIO()):  # it prints what it does not find
        found = getattr(module, kind.upper())(path).read_oct_volume()
    if not found.volume:
        raise DataError(f"{path}: no OCT volume of a kind that oct-converter can read in the file")
    return found


class _Numpy:
    """numpy for oct-converter 0.7, which reads bytes by `np.fromstring`: numpy 2.3 has removed that."""

    fromstring = staticmethod(np.frombuffer)

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)
