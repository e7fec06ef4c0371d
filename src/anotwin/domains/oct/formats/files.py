"""One OCT file, whatever the format -> its volumes by the header, and the pixels of one slice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from anotwin.data.pixels import IMAGE_SUFFIXES, one_line, read_pixels
from anotwin.data.tiff import page_shapes
from anotwin.domains.oct.formats.dicom import dicom_slice, dicom_volumes, is_opt
from anotwin.domains.oct.formats.raw import img_slice, img_volumes, vol_slice, vol_volumes
from anotwin.domains.oct.formats.vendor import e2e_slice, e2e_volumes, topcon_slice, topcon_volumes
from anotwin.domains.oct.formats.volume import FileVolume
from anotwin.errors import DataError
from anotwin.records import Array

OCT_ONLY = (".vol", ".e2e", ".fda", ".fds")  # suffixes of OCT files only
_DICOM = (".dcm", ".dicom")
_TIFF = (".tif", ".tiff")
_UNSUPPORTED = {".oct": "Optovue or Bioptigen", ".poct": "Optovue", ".sdb": "Heidelberg database", ".ozr": "Zeiss"}

Volumes = Callable[[Path], tuple[FileVolume, ...]]
Slice = Callable[[Path, int, int], Array]  # file, which of its volumes (only .e2e files hold several), slice number

_READERS: dict[str, tuple[Volumes, Slice]] = {
    ".vol": (vol_volumes, vol_slice),
    ".img": (img_volumes, img_slice),
    ".e2e": (e2e_volumes, e2e_slice),
    ".fda": (topcon_volumes, topcon_slice),
    ".fds": (topcon_volumes, topcon_slice),
    **dict.fromkeys(_DICOM, (dicom_volumes, dicom_slice)),
}

OCT_SUFFIXES = (*IMAGE_SUFFIXES, *_READERS, *_UNSUPPORTED)  # the last are found only to be refused by name


def file_volumes(path: Path) -> tuple[FileVolume, ...]:
    """The volumes in a file; an image is one slice, a TIFF as many as it has pages. Pixels are not read.

    Raises DataError for an unreadable file and for makers whose files cannot be read, MissingExtra without the reader.
    """
    suffix = path.suffix.lower()
    if suffix in _UNSUPPORTED:
        raise DataError(
            f"{path}: {_UNSUPPORTED[suffix]} files ({suffix}) cannot be read; export the scan as DICOM or TIFF"
        )
    if suffix in _READERS:
        return _READERS[suffix][0](path)
    return (_pages(path) if suffix in _TIFF else FileVolume((0,), 1),)


def read_slice(path: Path, volume: int, number: int) -> Array:
    """The native pixels of a slice: (H, W), or (H, W, 3) of a colour file; uint8, uint16 or float32.

    `volume` is a place in `file_volumes(path)`, `number` one of that volume's `numbers`. Raises DataError naming the
    file where it is missing, damaged or truncated.
    """
    suffix = path.suffix.lower()
    if suffix in _READERS:
        return _READERS[suffix][1](path, volume, number)
    return read_pixels(path, number if suffix in _TIFF else None)


def is_oct_only(path: Path) -> bool:
    """Whether a file can only be OCT: by its suffix, or DICOM of the class for ophthalmic tomography."""
    suffix = path.suffix.lower()
    return suffix in OCT_ONLY or (suffix in _DICOM and is_opt(path))


def _pages(path: Path) -> FileVolume:
    try:
        shapes = page_shapes(path)
    except Exception as error:  # decoders of damaged files raise anything
        raise DataError(f"{path}: cannot decode the image, is it damaged? ({one_line(error)})") from None
    usual = max(shapes, key=shapes.count)
    odd = [f"slice {i} is {shape[0]} x {shape[1]} pixels" for i, shape in enumerate(shapes) if shape != usual]
    notes = (f"{'; '.join(odd[:5])}; most are {usual[0]} x {usual[1]}",) if odd else ()
    return FileVolume(tuple(range(len(shapes))), len(shapes), shape=usual, notes=notes)
