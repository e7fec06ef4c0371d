"""DICOM ophthalmic tomography (modality OPT), one frame or many, through pydicom."""

from __future__ import annotations

import math
import re
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from anotwin.data.claims import DEFLATE, check_claim
from anotwin.data.pixels import native
from anotwin.domains.oct.formats.volume import (
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

_OPT_IMAGE = re.compile(rb"1\.2\.840\.10008\.5\.1\.4\.1\.1\.77\.1\.5\.4(?![0-9.])")  # ophthalmic tomography
_FRAMES = "PerFrameFunctionalGroupsSequence"
_HEAD = 1024  # bytes: the class stands in the first group of a file
_DAMAGED = "cannot read the DICOM file, is it damaged or in a compression that pydicom has no decoder for? ({})"


def is_opt(path: Path) -> bool:
    """Whether a file is DICOM and of the OPT class, by its first bytes: no package is needed to tell."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    return head[128:132] == b"DICM" and _OPT_IMAGE.search(head) is not None


def dicom_volumes(path: Path) -> tuple[FileVolume, ...]:
    """What a DICOM file says of its slices.

    Raises:
        DataError: damaged; OtherPictureError: another modality. MissingExtra: no pydicom.
    """
    with read_errors(path, _DAMAGED), warnings.catch_warnings(action="ignore"):  # pydicom warns of odd values
        file = library("pydicom", "pydicom", path).dcmread(path, stop_before_pixels=True)
        modality = str(file.get("Modality", ""))
        if modality != "OPT":
            raise OtherPictureError(f"{path}: DICOM of modality {modality or 'unknown'}, expected OPT; left out")
        frames = max(1, int(file.get("NumberOfFrames", 1) or 1))
        _check_claim(path, file, frames)
        number = int(file.get("InstanceNumber", 0) or 0)
        shared, first = (_group(file, name) for name in ("SharedFunctionalGroupsSequence", _FRAMES))
        anatomy = [_group(part, "FrameAnatomySequence") for part in (shared, first)]
        lateral = [file.get("ImageLaterality"), file.get("Laterality"), *(a.get("FrameLaterality") for a in anatomy)]
        volume = FileVolume(
            tuple(range(frames)) if frames > 1 else (number,),
            frames,
            patient=patient_name(file.get("PatientID")),
            eye=next((eye for eye in map(eye_name, lateral) if eye), None),
            spacing=_spacing(file, shared, first),
            series=str(file.get("SeriesInstanceUID", "")) or None if frames == 1 else None,
            shape=(int(file.Rows), int(file.Columns)),
        )
    return (volume,)


def dicom_slice(path: Path, _volume: int, number: int) -> Array:
    """One frame as stored, (H, W) or (H, W, 3); MONOCHROME1 inverted, so that black is 0."""
    with read_errors(path, _DAMAGED), warnings.catch_warnings(action="ignore"):
        file = _dataset(path, stamp(path))
        index = number if int(file.get("NumberOfFrames", 1) or 1) > 1 else 0
        pixels: Any = library("pydicom.pixels", "pydicom", path).pixel_array(file, index=index)
        if file.PhotometricInterpretation == "MONOCHROME1":
            pixels = (2 ** int(file.BitsStored) - 1 - pixels.astype(np.int64)).astype(pixels.dtype)
    return native(pixels, str(path))


@lru_cache(maxsize=2)  # one volume and the next: the header of a hundred frames is slow to read
def _dataset(path: Path, _stamp: tuple[int, int]) -> Any:
    return library("pydicom", "pydicom", path).dcmread(path)


def _check_claim(path: Path, file: Any, frames: int) -> None:
    """Refuse more pixels than the file has room for, before anything is made of each frame."""
    height, width, size = int(file.Rows), int(file.Columns), path.stat().st_size
    check_claim(path, width, height, size, None)
    syntax = file.file_meta.TransferSyntaxUID
    area = height * width * int(file.get("SamplesPerPixel", 1) or 1) * int(file.get("BitsAllocated", 8) or 8) // 8
    each = 8 if syntax.is_compressed else area  # a frame that is compressed has a header of its own
    grown = DEFLATE if syntax.is_deflated else 1
    if frames * each > size * grown:
        raise DataError(
            f"{path}: truncated, {size} bytes cannot hold the {frames} frames of {height} x {width} pixels of its "
            "header; copy the file again"
        )


def _group(file: Any, name: str) -> Any:
    """The first item of a sequence, or an empty mapping."""
    return (file.get(name) or [{}])[0]


def _spacing(file: Any, shared: Any, first: Any) -> Any:
    places = [_group(shared, "PixelMeasuresSequence"), _group(first, "PixelMeasuresSequence"), file]
    measures = next((place for place in places if place.get("PixelSpacing")), None)
    if measures is None:
        return None
    down, across = measures.get("PixelSpacing")
    between = _distance(file) or measures.get("SpacingBetweenSlices") or measures.get("SliceThickness")
    return spacing_of(down, across, between, unit=1000.0)


def _distance(file: Any) -> float | None:
    """Millimetres from frame to frame, from the positions of the frames: a slice's thickness may differ."""
    positions = [
        _group(frame, "PlanePositionSequence").get("ImagePositionPatient") for frame in (file.get(_FRAMES) or ())
    ]
    if len(positions) < 2 or not positions[0] or not positions[-1]:
        return None
    return math.dist(map(float, positions[0]), map(float, positions[-1])) / (len(positions) - 1) or None
