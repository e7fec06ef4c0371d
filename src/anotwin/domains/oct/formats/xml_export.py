"""Heidelberg's XML export: pictures of one examination, and a metadata file that says which shows what.

Its elements as exports of Spectralis Viewing Module 6 have them: HEDX, BODY, Patient, Study, Series, Image; eyepy reads
the same in ``he_xml_reader``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from anotwin.domains.oct.formats.volume import A_CIRCLE, FileVolume, eye_name, patient_name, spacing_of
from anotwin.errors import DataError

_MOST_BYTES = 64 * 2**20  # 200 slices with eleven lines each take 30 MiB
_HEAD = 256  # bytes: the root element stands in them


@dataclass(frozen=True)
class Described:
    """What a metadata file says of the pictures beside it, by their names in lower case."""

    scans: dict[str, FileVolume]
    others: dict[str, str]  # picture -> what it shows instead of a B-scan of the macula
    notes: tuple[str, ...] = ()


def described(folder: Path) -> Described:
    """All that the metadata files directly in `folder` say; a damaged one is a note. No export: nothing."""
    found = Described({}, {})
    for path in _metadata_files(folder):
        try:
            each = _read(path)
        except DataError as error:
            each = Described({}, {}, (str(error),))
        found = Described(found.scans | each.scans, found.others | each.others, found.notes + each.notes)
    there = {path.name.lower() for path in folder.iterdir()} if found.scans else set()
    missing = sorted(name for name in found.scans if name not in there)
    if missing:
        told = f"{folder}: its XML export names {len(found.scans)} B-scans, {len(missing)} are not there: {missing[0]}"
        return Described(found.scans, found.others, (*found.notes, told))
    return found


def _metadata_files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix.lower() == ".xml" and _is_hedx(path))
    except OSError:
        return []  # whoever reads the folder's images will say it


def _is_hedx(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return b"<HEDX" in file.read(_HEAD).replace(b"\0", b"")  # UTF-16 too
    except OSError:
        return False


def _read(path: Path) -> Described:
    if path.stat().st_size > _MOST_BYTES:
        raise DataError(f"{path}: larger than {_MOST_BYTES >> 20} MiB, no export of Heidelberg; it is not read")
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise DataError(f"{path}: damaged XML ({error}): spacing, eye and order are not known; export again") from None
    scans: dict[str, FileVolume] = {}
    others: dict[str, str] = {}
    for patient in root.iter("Patient"):
        name = patient_name(patient.findtext("PatientID")) or patient_name(patient.findtext("ID"))
        for number, series in enumerate(patient.iter("Series")):
            # unique among the exports below one folder, and readable in volumes.csv
            title = f"{path.parent.name}/{series.findtext('ID') or number}"
            _add_series(series, title, name, scans, others)
    return Described(scans, others)


def _add_series(
    series: ElementTree.Element,
    title: str,
    patient: str | None,
    scans: dict[str, FileVolume],
    others: dict[str, str],
) -> None:
    images = [(_file(image), image) for image in series.iter("Image")]
    slices = [(name, image) for name, image in images if name and image.findtext("ImageType/Type", "").upper() == "OCT"]
    taken = {name for name, _ in slices}
    others |= {name: "an infrared or fundus picture" for name, _ in images if name and name not in taken}
    if "circle" in series.findtext("Type", "").lower():
        others |= dict.fromkeys(taken, A_CIRCLE)
        return
    slices.sort(key=lambda pair: _number(pair[1].findtext("ImageNumber")))
    lines = [_line(image) for _, image in slices]
    between = _between(lines)
    for place, (name, image) in enumerate(slices):
        context = "OphthalmicAcquisitionContext"
        scans[name] = FileVolume(
            (place,),
            len(slices),
            patient=patient,
            eye=eye_name(image.findtext("Laterality") or series.findtext("Laterality")),
            spacing=spacing_of(
                image.findtext(f"{context}/ScaleY"), image.findtext(f"{context}/ScaleX"), between, unit=1000.0
            ),
            series=title,
            parallel=between is not None or len(slices) == 1,
        )


def _file(image: ElementTree.Element) -> str:
    """The name of its file in lower case: the export names it with the path of the computer that wrote it."""
    return image.findtext("ImageData/ExamURL", "").replace("\\", "/").rpartition("/")[2].strip().lower()


def _line(image: ElementTree.Element) -> tuple[float, float, float, float]:
    """x and y of the first and the last column on the retina, mm; NaN where not stated."""
    ends = [
        _number(image.findtext(f"OphthalmicAcquisitionContext/{end}/Coord/{axis}"))
        for end in ("Start", "End")
        for axis in ("X", "Y")
    ]
    return ends[0], ends[1], ends[2], ends[3]


def _between(lines: Iterable[tuple[float, float, float, float]]) -> float | None:
    """Millimetres from slice to slice, where all of them are parallel; else None."""
    known = list(lines)
    if len(known) < 2 or not all(math.isfinite(value) for line in known for value in line):
        return None
    along = [(line[2] - line[0], line[3] - line[1]) for line in known]
    if max(math.dist(each, along[0]) for each in along) > 0.05 * math.hypot(*along[0]):
        return None
    return math.dist(known[0][:2], known[-1][:2]) / (len(known) - 1) or None


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan
