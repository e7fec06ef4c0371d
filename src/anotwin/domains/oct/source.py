"""The oct layout: B-scans and volumes with patient, eye, place in the volume and spacing.

Labels, ``train/`` and ``test/`` are found as in the folder layout. A volume is a file with several slices, the files
of one series of DICOM or of Heidelberg's XML export, what manifest.csv calls one, or a folder of images whose names
differ in one number alone and that resemble their neighbours (not the folder of a label: the images there are single
B-scans).
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from anotwin.data.collect import Found
from anotwin.data.columns import WITHIN_PATIENT
from anotwin.data.folder import Part, check_masks, find_items, read_masks
from anotwin.data.manifest import Row, read_manifest
from anotwin.data.pixels import IMAGE_SUFFIXES, image_shape
from anotwin.data.taken import Taken
from anotwin.data.walk import walk
from anotwin.domains.oct.formats.files import OCT_ONLY, OCT_SUFFIXES, file_volumes, is_oct_only, read_slice
from anotwin.domains.oct.formats.volume import FileVolume, OtherPictureError, eye_name, spacing_of
from anotwin.domains.oct.formats.xml_export import Described, described
from anotwin.domains.oct.neighbours import volume_runs
from anotwin.domains.oct.records import ScanInfo
from anotwin.errors import DataError
from anotwin.records import Array, ImageItem
from anotwin.seeding import derive

_NUMBER = re.compile(r"(.*?)(\d+)(\D*)", re.S)  # the last number of a stem: the slice
_EYE = re.compile(r"(?<![A-Za-z])(OD|OS)(?![A-Za-z])")
_RAW = re.compile(r"cube_raw\.img$", re.I)
_DICOM = (".dcm", ".dicom")


@dataclass(frozen=True)
class OctSource:
    """The slices below one folder: a `ScanSource`.

    ``notes`` says in one sentence each what is missing or odd: left-out files, gaps, other sizes, no spacing. A file
    that cannot be read is an item whose `read` raises: it becomes a row with its error, and the rest is scored.
    """

    root: str
    items: tuple[ImageItem, ...]  # (N,)
    infos: tuple[ScanInfo, ...]  # (N,)
    places: tuple[tuple[str, int, int], ...]  # (N,) file below root, which volume of the file, which slice
    broken: Mapping[int, str]  # why an item cannot be read
    notes: tuple[str, ...] = ()
    taken: tuple[Taken, ...] = ()  # the folders, and what their images count as
    masks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # of scans with several: all; they are joined
    unused_masks: tuple[str, ...] = ()
    positional: frozenset[str] = frozenset()  # groups that follow from where files lie: they say nothing of a patient
    layout: str = "oct"

    def read(self, index: int) -> Array:
        """Native pixels of one slice, (H, W) or (H, W, 3); raises DataError naming the file."""
        if index in self.broken:
            raise DataError(self.broken[index])
        _, volume, number = self.places[index]
        return read_slice(self.file(index), volume, number)

    def file(self, index: int) -> Path:
        """The file that holds a slice."""
        return Path(self.root) / self.places[index][0]

    def contexts(self) -> list[int]:
        """Of each item a number for what its lines depend on besides its pixels: spacing, place, slices beside it."""
        found = [0] * len(self.items)
        for volume in self.volumes():
            name = derive(0, *(self.items[index].id for index in volume))
            for index in volume:
                found[index] = derive(name, repr(self.infos[index]))
        return found

    def read_mask(self, index: int) -> npt.NDArray[np.bool_] | None:
        """(H, W) True where abnormal, by the column ``mask`` of manifest.csv or a file beside; None where unknown."""
        item = self.items[index]
        if item.mask is None:
            return None
        shape = self.read(index).shape[:2]
        return read_masks(Path(self.root), self.masks.get(item.id, (item.mask,)), item.id, shape)

    def check_mask(self, index: int) -> str:
        """Why the mask of a scan cannot be used, by the headers of the files; "": nothing is known."""
        item = self.items[index]
        return check_masks(Path(self.root), self.masks.get(item.id, (item.mask,)), item.id) if item.mask else ""

    def info(self, index: int) -> ScanInfo:
        """Whose retina it is, and where in its volume the slice lies."""
        return self.infos[index]

    def volumes(self) -> tuple[tuple[int, ...], ...]:
        """The indices of each volume in the order of its slices; a single B-scan is a volume of one."""
        found: dict[str, list[int]] = defaultdict(list)
        for index, info in enumerate(self.infos):
            found[info.volume].append(index)
        return tuple(tuple(sorted(each, key=lambda index: self.infos[index].slice)) for each in found.values())


@dataclass(frozen=True)
class _Scan:
    """One slice while a source is opened."""

    item: ImageItem
    info: ScanInfo
    place: tuple[str, int, int]
    number: int | None  # in its volume, as the file or its name says; None: none is known
    shape: tuple[int, int] | None = None
    error: str = ""


def is_oct(root: Path) -> bool:
    """Whether a file here can only be OCT: .vol, .e2e, .fda, .fds, or DICOM of that class."""
    if root.is_file():
        return is_oct_only(root)
    return root.is_dir() and any(is_oct_only(root / name) for name in walk(root, (*OCT_ONLY, *_DICOM)))


def open_oct(root: str | Path, part: Part, normal: str | None = None, abnormal: str | None = None) -> OctSource:
    """All OCT slices below `root`, volume by volume; no pixels are read.

    manifest.csv may have the columns ``file``, ``label``, ``split``, ``patient``, ``group``, ``eye`` (OD, OS),
    ``volume``, ``slice``, ``mask`` and, in micrometres, ``axial_um``, ``lateral_um``, ``between_um``, which count more
    than what a file says. A group is the manifest's, else the patient, else the volume.

    Args:
        root: a folder, or for scoring one file.
        part: "train" or "test": what the slices are for.
        normal: patterns of what is normal, as in `open_folder`.
        abnormal: likewise.

    Raises:
        DataError: nothing there, no such label, or a manifest that does not fit. MissingExtra: a reader is missing.
    """
    root, files, rows = _files(Path(root), part, normal, abnormal)
    notes = list(files.notes)
    exports, found = _Exports(root, notes), _without_raw_cubes(root, files.items, notes)
    scans = [scan for item in found for scan in _scans(root, item, rows.get(item.id), exports, notes)]
    if not scans:
        raise DataError(notes[-1] if notes else f"{root}: no OCT scan")
    folders = _folders(root, [item for item in found if not exports.describe(item.id)], rows, part, notes)
    volumes: dict[str, list[_Scan]] = defaultdict(list)  # in the order of their first scans
    for scan in scans:
        volume, folder = folders.get(scan.place[0], (scan.info.volume, "."))
        # pictures of a folder of their own are one group, also where they are not one volume
        group = scan.item.group or (folder if folder != "." else None)
        volumes[volume].append(replace(scan, item=replace(scan.item, group=group)))
    named = {scan.item.group for scan in scans}  # by a manifest or a file; the others follow from where files lie
    scans = [scan for name, inside in volumes.items() for scan in _ordered(root, name, inside, notes)]
    without = sum(scan.info.spacing is None and not scan.error for scan in scans)
    if without:
        notes.append(
            f"{root}: {without} of {len(scans)} scans have no spacing: that of a Heidelberg Spectralis is "
            "assumed; the columns axial_um and lateral_um of manifest.csv can tell it"
        )
    items, infos, places = (tuple(getattr(scan, name) for scan in scans) for name in ("item", "info", "place"))
    broken = {index: scan.error for index, scan in enumerate(scans) if scan.error}
    several = {name: masks for name, masks in files.masks.items() if len(masks) > 1}
    positional = frozenset(item.group for item in items if item.group is not None and item.group not in named)
    return OctSource(
        str(root), items, infos, places, broken, tuple(notes), files.taken, several, files.unused_masks, positional
    )


def _files(root: Path, part: Part, normal: str | None, abnormal: str | None) -> tuple[Path, Found, Mapping[str, Row]]:
    """The folder, its files as items, and what a manifest says of them."""
    if root.is_dir():
        return root, find_items(root, part, normal, OCT_SUFFIXES, abnormal), read_manifest(root) or {}
    if not root.is_file():
        raise DataError(f"{root}: no such folder; expected a folder with OCT scans ({', '.join(OCT_SUFFIXES)})")
    if part == "train" or root.suffix.lower() not in OCT_SUFFIXES:
        expected = "a folder for training" if part == "train" else f"a folder or {', '.join(OCT_SUFFIXES)}"
        raise DataError(f"{root}: one file, expected {expected}")
    return root.parent, Found((ImageItem(root.name),)), {}


def _without_raw_cubes(root: Path, items: Sequence[ImageItem], notes: list[str]) -> tuple[ImageItem, ...]:
    """All but the Cirrus cubes that are there in a second form: ``cube_raw`` beside ``cube_z``."""
    names = {item.id.lower() for item in items}
    second = [item.id for item in items if _RAW.search(item.id) and _RAW.sub("cube_z.img", item.id).lower() in names]
    if second:
        notes.append(f"{root}: {len(second)} raw Cirrus cubes left out, cube_z of the same scan is read: {second[0]}")
    left_out = set(second)
    return tuple(item for item in items if item.id not in left_out)


class _Exports:
    """What XML exports say of the pictures beside them; every folder is asked once."""

    def __init__(self, root: Path, notes: list[str]) -> None:
        self._root, self._notes = root, notes
        self._found: dict[Path, Described] = {}

    def describe(self, name: str) -> bool:
        """Whether an export names this file."""
        of, file = self._of(name)
        return file in of.scans or file in of.others

    def volumes(self, name: str) -> tuple[FileVolume, ...]:
        """The volumes of a file: by the export, else by the file itself. Raises as `file_volumes` does."""
        of, file = self._of(name)
        if file in of.others:
            raise OtherPictureError(f"{self._root / name}: {of.others[file]}, as its XML export says; left out")
        return (of.scans[file],) if file in of.scans else file_volumes(self._root / name)

    def _of(self, name: str) -> tuple[Described, str]:
        path = self._root / name
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            return Described({}, {}), path.name
        if path.parent not in self._found:
            self._found[path.parent] = described(path.parent)
            self._notes.extend(self._found[path.parent].notes)
        return self._found[path.parent], path.name.lower()


def _scans(root: Path, item: ImageItem, row: Row | None, exports: _Exports, notes: list[str]) -> Iterable[_Scan]:
    """The slices of one file; `info.volume` is the file's own volume, or the manifest's."""
    path = root / item.id
    try:
        volumes = exports.volumes(item.id)
    except OtherPictureError as error:
        notes.append(str(error))
        return
    except DataError as error:
        info = _info(path, item.id, FileVolume((0,), 1), row)
        yield _Scan(item, replace(info, volume=item.id), (item.id, 0, 0), None, error=str(error))
        return
    for index, volume in enumerate(volumes):
        notes.extend(f"{path}: {note}" for note in volume.notes)
        name = item.id if len(volumes) == 1 else f"{item.id}#{volume.name or index}"
        info = _info(path, name, volume, row)
        several = len(volume.numbers) > 1 or len(volumes) > 1
        for number in volume.numbers:
            id = f"{name}#{number:03d}" if several else item.id
            mask = None if several else item.mask
            within = row is not None and row.by in WITHIN_PATIENT  # patients may number their volumes alike
            group = (info.patient if within else None) or item.group or info.patient
            yield _Scan(
                replace(item, id=id, group=group, mask=mask),
                replace(info, slice=number),
                (item.id, index, 0 if exports.describe(item.id) else number),
                _number(path, row, volume, number, several),
                volume.shape,
            )


def _info(path: Path, name: str, volume: FileVolume, row: Row | None) -> ScanInfo:
    more = row.more if row else {}
    patient = more.get("patient") or volume.patient
    eyes = [more.get("eye"), volume.eye, *_EYE.findall(f"{path.parent.name}/{path.stem}")]
    eye = next((eye for eye in map(eye_name, eyes) if eye), None)
    told = spacing_of(more.get("axial_um"), more.get("lateral_um"), more.get("between_um"))
    if "volume" in more:  # patients, and eyes, may number their volumes alike
        name = "/".join(part for part in (patient, eye, more["volume"]) if part)
    elif volume.series:
        name = volume.series
    return ScanInfo(patient, eye, name, 0, volume.slices, told or volume.spacing, alone=not volume.parallel)


def _number(path: Path, row: Row | None, volume: FileVolume, number: int, several: bool) -> int | None:
    if several:
        return number
    if row and "slice" in row.more:
        try:
            return int(row.more["slice"])
        except ValueError:
            raise DataError(f"{path}: slice {row.more['slice']!r} in manifest.csv, expected a whole number") from None
    if volume.series:
        return number
    match = _last_number(path.stem)
    return int(match[1]) if match else None


def _last_number(stem: str) -> tuple[str, str] | None:
    """What the names of one volume share, and the slice: ``scan-007`` has ``scan-*`` and ``007``."""
    match = _NUMBER.fullmatch(stem)
    return (f"{match[1]}*{match[3]}", match[2]) if match else None


def _folders(
    root: Path, items: Iterable[ImageItem], rows: Mapping[str, Row], part: Part, notes: list[str]
) -> dict[str, tuple[str, str]]:
    """The volume and the folder of each image of a folder of numbered ones, by the image's id.

    Images that lie in no folder of their own are one volume to score, and single scans to train on.
    """
    by_folder: dict[str, list[ImageItem]] = defaultdict(list)
    for item in items:
        if PurePosixPath(item.id).suffix.lower() in IMAGE_SUFFIXES and item.id not in rows:
            by_folder[str(PurePosixPath(item.id).parent)].append(item)
    found: dict[str, tuple[str, str]] = {}
    for folder, inside in by_folder.items():
        known = inside[0].normal is not None and PurePosixPath(folder).name == inside[0].label
        if not known and not (inside[0].label is None and part == "train"):
            found |= _volumes_of_folder(root, folder, _numbered(inside), notes)
    return found


def _numbered(inside: Sequence[ImageItem]) -> list[str]:
    """Ids of the images whose names differ in one number alone, in its order; single others may lie beside them."""
    alike: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for item in inside:
        stem = _last_number(PurePosixPath(item.id).stem)
        alike[stem[0] if stem else item.id].append((int(stem[1]) if stem else 0, item.id))
    several = [each for each in alike.values() if len(each) > 1]
    return [id for _, id in sorted(several[0])] if len(several) == 1 else []


def _volumes_of_folder(
    root: Path, folder: str, numbered: Sequence[str], notes: list[str]
) -> dict[str, tuple[str, str]]:
    """The volume of each of these pictures, and their folder; one that resembles no neighbour is its own volume."""
    runs = volume_runs([root / id for id in numbered])
    if len(runs) <= 1:
        return dict.fromkeys(numbered, (folder, folder))
    volumes = [[numbered[place] for place in run] for run in runs if len(run) > 1]
    made = f"{len(volumes)} volumes" if len(volumes) > 1 else "one volume" if volumes else "no volume"
    notes.append(
        f"{root}: folder {folder}: {len(numbered)} numbered pictures, of which neighbours do not resemble each other: "
        f"taken as {made} and {len(numbered) - sum(map(len, volumes))} single scans; the columns volume and slice of "
        "manifest.csv can tell it"
    )
    titles = [f"{folder} ({PurePosixPath(each[0]).stem} to {PurePosixPath(each[-1]).stem})" for each in volumes]
    alone = {id: (id, folder) for id in numbered}
    return alone | {id: (title, folder) for title, each in zip(titles, volumes, strict=True) for id in each}


def _ordered(root: Path, name: str, scans: list[_Scan], notes: list[str]) -> list[_Scan]:
    """The scans of a volume in their order, with its name, their place and their group."""
    one_file = len({scan.place[:2] for scan in scans}) == 1
    slices = scans[0].info.slices
    if one_file:
        places = {index: scan.info.slice if len(scans) > 1 else 0 for index, scan in enumerate(scans)}
    else:
        places, slices = _places(root, name, [scan.number for scan in scans], notes)
        _compare_sizes(root, name, scans, notes)
    if max(slices, *places.values()) > most_places(len(scans)):  # times or other long numbers, or a damaged header
        notes.append(
            f"{root}: volume {name}: the numbers of its {len(scans)} slices reach to {max(slices, *places.values())}: "
            "they are taken as an order without gaps; the column slice of manifest.csv can tell their places"
        )
        order = sorted(places, key=places.__getitem__)
        places, slices = {index: place for place, index in enumerate(order)}, len(scans)
    missing = sorted(set(range(slices)) - set(places.values()))
    if missing:
        some = ", ".join(str(number + 1) for number in missing[:5]) + (" ..." if len(missing) > 5 else "")
        notes.append(f"{root}: volume {name}: {len(missing)} of {slices} slices are missing ({some}); the rest is read")
    placed = []
    for index, scan in sorted(enumerate(scans), key=lambda pair: places[pair[0]]):
        info = replace(scan.info, volume=name, slice=places[index], slices=slices)
        placed.append(replace(scan, info=info, item=replace(scan.item, group=scan.item.group or name)))
    return placed


def most_places(slices: int) -> int:
    """How many slices a volume can have had of which these are there: more are numbers that count something else."""
    return min(64 * slices, max(4 * slices, 1024))


def _places(root: Path, name: str, numbers: list[int | None], notes: list[str]) -> tuple[dict[int, int], int]:
    """The place of each scan in its volume, and how many places there are: numbers may start anywhere, with gaps."""
    known = [number for number in numbers if number is not None]
    if len(set(known)) < len(numbers):
        twice = [str(number) for number, count in Counter(known).items() if count > 1]
        why = f"number {twice[0]} twice" if twice else "no number for some"
        notes.append(f"{root}: volume {name}: {why}: its {len(numbers)} slices are taken in the order of their names")
        return {index: index for index in range(len(numbers))}, len(numbers)
    first, step = min(known), math.gcd(*(number - min(known) for number in known)) or 1
    return {index: (number - first) // step for index, number in enumerate(known)}, (max(known) - first) // step + 1


def _compare_sizes(root: Path, name: str, scans: list[_Scan], notes: list[str]) -> None:
    shapes = [scan.shape or image_shape(root / scan.place[0]) for scan in scans]
    usual, _ = Counter(shape for shape in shapes if shape).most_common(1)[0] if any(shapes) else (None, 0)
    for scan, shape in zip(scans, shapes, strict=True):
        if shape and usual and shape != usual:
            notes.append(
                f"{root}: volume {name}: {scan.place[0]} has {shape[0]} x {shape[1]} pixels, most have "
                f"{usual[0]} x {usual[1]}; it is read as it is"
            )
