"""Heidelberg .vol and Zeiss .img: two published formats in which each slice is at a known offset.

.vol: the export that Spectralis' special function manual describes; the fields as in eyepy's ``vol_reader`` and in
octSegmentation's ``HDEVolImporter.m``. eyepy reads a whole file for one slice, so it is the oracle of the tests here.
.img: Cirrus cubes have no header, their names say what they are; orientation and the 6 x 6 x 2 mm as in AURA's
``octCirrusReader.m``.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anotwin.domains.oct.formats.volume import (
    A_CIRCLE,
    CIRCLE,
    PARALLEL,
    FileVolume,
    OtherPictureError,
    eye_name,
    patient_name,
    read_errors,
    spacing_of,
    stamp,
)
from anotwin.errors import DataError
from anotwin.records import Array

_VOL_FIELDS = (
    ("version", "12s"),
    *((name, "I") for name in ("width", "slices", "height")),
    *((name, "d") for name in ("lateral", "between", "axial")),  # mm
    *((name, "I") for name in ("slo_width", "slo_height")),
    *((name, "d") for name in ("slo_lateral", "slo_axial")),
    ("field", "I"),
    ("focus", "d"),
    ("eye", "4s"),
    ("time", "Q"),
    ("pattern", "i"),
    ("slice_header", "I"),  # bytes before the pixels of each slice
    *((name, "16s") for name in ("scan", "reference")),
    ("patient_number", "I"),
    ("patient", "24s"),
)
_VOL = struct.Struct("<" + "".join(code for _, code in _VOL_FIELDS))
_VOL_HEADER = 2048  # bytes before the SLO picture
_VOL_MAGIC = (b"HSF-OCT", b"ep-v")  # Spectralis, eyepy
_SLICE = struct.Struct("<12sI4d")  # how the header of a slice begins
_SLICE_MAGIC = (b"HSF-BS", b"ep-v")
_LARGEST_HEADER = 2**24  # bytes: 17 lines of 65,536 columns take 4.5 million
_LARGEST = 2**16  # of any side

_IMG_NAME = re.compile(r"(?:(?P<patient>.+?)_)?(?:macular|optic disc) cube (?P<width>\d+)x(?P<slices>\d+)_", re.I)
_EYE = re.compile(r"_(OD|OS)_", re.I)
_IMG_SIZE = (6000.0, 6000.0, 2000.0)  # micrometres across, between all slices, down


def vol_volumes(path: Path) -> tuple[FileVolume, ...]:
    """The headers of a Heidelberg .vol file; raises DataError where it is none, OtherPictureError for a circle scan."""
    fields, places = _vol_header(path), _vol_places(path, stamp(path))
    if fields["pattern"] == CIRCLE:
        raise OtherPictureError(f"{path}: {A_CIRCLE}; left out")
    count, whole = fields["slices"], len(places)
    unstated = fields["pattern"] == 0
    parallel = fields["pattern"] in PARALLEL or (unstated and _are_parallel([place.line for place in places]))
    between = fields["between"] if parallel and count > 1 else None
    volume = FileVolume(
        tuple(range(whole)),
        count,
        patient=patient_name(fields["patient"].decode("latin-1")),
        eye=eye_name(fields["eye"].decode("latin-1")),
        spacing=spacing_of(fields["axial"], fields["lateral"], between, unit=1000.0),
        shape=(fields["height"], fields["width"]),
        notes=() if whole == count else (f"truncated, has {whole} of {count} slices; copy the file again",),
        parallel=parallel,
    )
    return (volume,)


def vol_slice(path: Path, _volume: int, number: int) -> Array:
    """(H, W) uint8 as Heidelberg's viewer shows it: the logarithm of the reflectance, and white what is not known."""
    fields, places = _vol_header(path), _vol_places(path, stamp(path))
    height, width = fields["height"], fields["width"]
    if number >= len(places):
        raise DataError(f"{path}: truncated before the end of slice {number}; export or copy the file again")
    values = np.fromfile(path, "<f4", width * height, offset=places[number].pixels)
    outside = ~(values < np.float32(3e38))  # 3.4e38 marks what registration left empty
    values[outside] = 0
    light = np.where(values <= 1, (np.log(np.maximum(values, 0) + np.float32(2.44e-4)) + 8.3) / 8.285, values)
    shown: Array = np.rint(np.clip(light, 0, 1) * 255).astype(np.uint8)
    shown[outside] = 255  # white at the border is taken as unknown, 0 would be a dark vitreous
    return np.reshape(shown, (height, width))


def img_volumes(path: Path) -> tuple[FileVolume, ...]:
    """What the name and the size of a Zeiss Cirrus .img file tell; raises DataError where they do not fit."""
    depth, slices, width = _img_layout(path)
    name = _IMG_NAME.match(path.name)
    eye = _EYE.search(path.name)
    across, along, down = _IMG_SIZE
    volume = FileVolume(
        tuple(range(slices)),
        slices,
        patient=patient_name(name["patient"]) if name else None,
        eye=eye_name(eye[1]) if eye else None,
        spacing=spacing_of(down / (depth - 1), across / (width - 1), along / (slices - 1)),
        shape=(depth, width),
    )
    return (volume,)


def img_slice(path: Path, _volume: int, number: int) -> Array:
    """(H, W) uint8, the vitreous above."""
    depth, slices, width = _img_layout(path)
    # stored upside down, right to left and from the last slice to the first
    values = np.fromfile(path, np.uint8, depth * width, offset=(slices - 1 - number) * depth * width)
    return np.ascontiguousarray(values.reshape(depth, width)[::-1, ::-1])


def _vol_header(path: Path) -> dict[str, Any]:
    with read_errors(path), path.open("rb") as file:
        raw = file.read(_VOL.size)
    if len(raw) < _VOL.size or not raw.startswith(_VOL_MAGIC):
        raise DataError(f"{path}: not a Heidelberg .vol export: starts with {raw[:8]!r}, expected b'HSF-OCT-'")
    fields = dict(zip((name for name, _ in _VOL_FIELDS), _VOL.unpack(raw), strict=True))
    width, count, height = (fields[name] for name in ("width", "slices", "height"))
    if min(width, count, height) < 1 or max(width, count, height, fields["slo_width"], fields["slo_height"]) > _LARGEST:
        raise DataError(f"{path}: damaged header: {count} slices of {height} x {width} pixels; export the file again")
    return fields


class _Place(NamedTuple):
    """Where a slice lies."""

    pixels: int  # the byte at which they begin
    line: tuple[float, ...]  # x and y of its first and its last column on the retina, mm


@lru_cache(maxsize=2)
def _vol_places(path: Path, _stamp: tuple[int, int]) -> tuple[_Place, ...]:
    """Of each whole slice. Each has a header with its own size, which is not always the one that the file names."""
    fields = _vol_header(path)
    count, area = fields["slices"], 4 * fields["width"] * fields["height"]
    end, size = _VOL_HEADER + fields["slo_width"] * fields["slo_height"], path.stat().st_size
    places: list[_Place] = []
    with read_errors(path), path.open("rb") as file:
        while len(places) < count and end + _SLICE.size <= size:
            file.seek(end)
            magic, header, *line = _SLICE.unpack(file.read(_SLICE.size))
            if not (magic.startswith(_SLICE_MAGIC) and _SLICE.size <= header <= _LARGEST_HEADER):
                told = f"slice {len(places)} begins with {magic[:8]!r} and a header of {header} bytes"
                raise DataError(f"{path}: {told}, expected b'HSF-BS-' and at most {_LARGEST_HEADER}; export it again")
            if end + header + area > size:
                break
            places.append(_Place(end + header, tuple(line)))
            end += header + area
    if not places:
        raise DataError(f"{path}: truncated, has no whole slice of {count}; export or copy the file again")
    return tuple(places)


def _are_parallel(lines: Sequence[tuple[float, ...]]) -> bool:
    """Whether slices lie side by side, by where they begin and end on the retina."""
    ends = np.array(lines).reshape(-1, 2, 2)
    along = ends[:, 1] - ends[:, 0]
    with np.errstate(invalid="ignore"):  # a damaged header may hold NaN
        return bool(np.ptp(along, axis=0).max() < 0.05 * np.linalg.norm(along[0]))


def _img_layout(path: Path) -> tuple[int, int, int]:
    """Depth, slices, width."""
    with read_errors(path):
        size = path.stat().st_size
    name = _IMG_NAME.match(path.name)
    if name is None or "hidef" in path.name.lower():
        raise DataError(
            f"{path}: a Zeiss .img file is understood by its name only, expected one like "
            "'P1_Macular Cube 512x128_1-31-2020_10-11-12_OD_sn1_cube_z.img'; keep the name of the export"
        )
    width, slices = int(name["width"]), int(name["slices"])
    depth, rest = divmod(size, max(width * slices, 1))
    if rest or depth < 2 or min(width, slices) < 2:
        raise DataError(
            f"{path}: {size} bytes, expected a multiple of {width} x {slices}, as its name says; copy it again"
        )
    return depth, slices, width
