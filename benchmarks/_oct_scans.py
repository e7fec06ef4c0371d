"""The scans of `oct.py`: real ones, or synthetic retinas where there are none; in memory, as a source of B-scans."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from _common import console
from anotwin import DataError
from anotwin.domains.oct.records import ScanInfo
from anotwin.domains.oct.scans import FlatScan, flat_scans
from anotwin.domains.oct.source import OctSource, open_oct
from anotwin.domains.oct.synthetic.retina import Lesion, RetinaScan, retina_scan, retina_volume
from anotwin.records import Array, ImageItem
from anotwin.seeding import derive
from anotwin.updates import Update, Watch

NORMAL = "NORMAL"
ABNORMAL = ("CNV", "DME", "DRUSEN")
GET_OCT = (
    "OCT scans not found: get the set of Kermany et al. 2018 (Mendeley Data, doi 10.17632/rscbjbr9sj, OCT2017: JPEG "
    "files in train/ and test/, each with NORMAL, CNV, DME and DRUSEN) and name its folder, which must hold train and "
    "test, with --data or ANOTWIN_DATA (there also in a folder oct). Patients are the numbers in the files' names, "
    "such as CNV-154835-1.jpeg, unless a manifest.csv with the columns file, label, split and patient says otherwise; "
    "--limit takes some scans of each class only"
)
# What stands for the classes where there are no real scans; micrometres.
STAND_INS: Mapping[str, tuple[Lesion, ...]] = {
    "CNV": (Lesion("detachment", 1800, 200), Lesion("fluid", 1500, 150)),
    "DME": (Lesion("cyst", 400, 250, at=0.4), Lesion("cyst", 300, 200, at=0.55), Lesion("focus", 60)),
    "DRUSEN": (Lesion("druse", 350, 90, at=0.35), Lesion("druse", 250, 70, at=0.6)),
}

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Scans:
    """B-scans in memory: a source of the layout oct."""

    root: str  # in words
    pixels: tuple[Array, ...]  # (N,) native
    items: tuple[ImageItem, ...]  # (N,) the group is the patient
    infos: tuple[ScanInfo, ...]  # (N,)
    masks: tuple[Mask | None, ...]  # (N,)
    layout: str = "oct"

    def read(self, index: int) -> Array:
        """Native pixels (H, W)."""
        return self.pixels[index]

    def read_mask(self, index: int) -> Mask | None:
        """(H, W) True where abnormal; None where nobody knows."""
        return self.masks[index]

    def info(self, index: int) -> ScanInfo:
        """Whose retina it is."""
        return self.infos[index]

    def volumes(self) -> tuple[tuple[int, ...], ...]:
        """The indices of each volume in slice order."""
        found: dict[str, list[int]] = {}
        for index, info in enumerate(self.infos):
            found.setdefault(info.volume, []).append(index)
        return tuple(tuple(sorted(each, key=lambda index: self.infos[index].slice)) for each in found.values())

    def take(self, indices: Sequence[int]) -> Scans:
        """Some of them, in this order."""
        pixels, items, infos, masks = (
            tuple(values[index] for index in indices) for values in (self.pixels, self.items, self.infos, self.masks)
        )
        return Scans(self.root, pixels, items, infos, masks)  # type: ignore[arg-type]

    @property
    def labels(self) -> npt.NDArray[np.str_]:
        """(N,) classes; used to measure, and to tell the normals apart."""
        return np.array([str(item.label) for item in self.items])

    @property
    def patients(self) -> npt.NDArray[np.str_]:
        """(N,)."""
        return np.array([str(item.group) for item in self.items])


# -- real --------------------------------------------------------------------------------------------------------------


def find_scans(arguments: argparse.Namespace) -> Scans | None:
    """The real scans; None with --quick, and where there are none: a printed line then says how to get them."""
    if arguments.quick:
        return None
    root = _folder(arguments.data)
    if root is None:
        console.print(GET_OCT, markup=False)
        return None
    return real_scans(root, arguments.limit)


def _folder(data: Path | None) -> Path | None:
    told = os.environ.get("ANOTWIN_DATA")
    places = [data] if data else [*([Path(told)] if told else []), Path("../shared/data")]
    for root in (folder for place in places for folder in (place / "oct", place)):
        if all((root / part / NORMAL).is_dir() for part in ("train", "test")):
            return root
    if data is not None:
        raise DataError(f"--data {data}: no train/{NORMAL} and test/{NORMAL} in it or in oct/; {GET_OCT}")
    return None


def real_scans(root: Path, limit: int | None = None) -> Scans:
    """All normals, and the abnormal scans of the test part; at most `limit` of a class, drawn with a fixed seed."""
    parts: list[Scans] = []
    for part in (open_oct(root, "train", NORMAL), open_oct(root, "test", NORMAL)):
        parts.append(_read(part, range(len(part.items)) if limit is None else _some(part, limit)))
    values = [tuple(each for part in parts for each in getattr(part, name)) for name in ("pixels", "items", "infos")]
    count = len(values[0])
    name = f"{count} OCT B-scans of Kermany et al. 2018"
    found = Scans(name, values[0], values[1], values[2], (None,) * count)
    return found if limit is None else found.take(_some(found, limit))


def _read(source: OctSource, indices: Sequence[int]) -> Scans:
    items = tuple(replace(source.items[index], group=_patient(source, index)) for index in indices)
    pixels = tuple(source.read(index) for index in indices)
    return Scans(source.root, pixels, items, tuple(source.infos[index] for index in indices), (None,) * len(items))


def _patient(source: OctSource, index: int) -> str:
    told = source.infos[index].patient
    match = re.fullmatch(r"[A-Z]+-(\d+)-\d+", Path(source.items[index].id).stem)
    return told or (match[1] if match else str(source.items[index].group))


def _some(source: Scans | OctSource, limit: int) -> list[int]:
    order = np.random.default_rng(derive(0, "limit")).permutation(len(source.items)).tolist()
    chosen: dict[str | None, list[int]] = {}
    for index in order:
        chosen.setdefault(source.items[index].label, []).append(index)
    return sorted(index for each in chosen.values() for index in each[:limit])


# -- synthetic ---------------------------------------------------------------------------------------------------------


def as_source(scans: Sequence[RetinaScan], names: Sequence[str], labels: Sequence[str], volume: str = "") -> Scans:
    """Synthetic scans, each of another eye; or the slices of one `volume`."""
    items, infos = [], []
    for number, (scan, name, label) in enumerate(zip(scans, names, labels, strict=True)):
        items.append(ImageItem(name, label, label == NORMAL, volume or name))
        place = (number, len(scans)) if volume else (0, 1)
        infos.append(ScanInfo(volume or name, None, volume or name, *place, scan.spacing))
    pixels, masks = tuple(scan.pixels for scan in scans), tuple(scan.mask for scan in scans)
    return Scans(f"{len(scans)} synthetic retinas", pixels, tuple(items), tuple(infos), masks)


def stand_ins(normals: int, abnormals: int, width: int = 256) -> Scans:
    """Synthetic retinas in place of the real scans, `abnormals` of each class."""
    made = [(retina_scan(seed, width=width), NORMAL) for seed in range(normals)]
    for number, (label, lesions) in enumerate(STAND_INS.items()):
        first = 10_000 * (number + 1)
        made += [(retina_scan(first + seed, width=width, lesions=lesions), label) for seed in range(abnormals)]
    names = [f"{label}-{number}" for number, (_, label) in enumerate(made)]
    return as_source([scan for scan, _ in made], names, [label for _, label in made])


def volume_of(slices: int, seed: int = 0, width: int = 512) -> Scans:
    """One eye in `slices` slices, without a lesion."""
    scans = retina_volume(seed, slices, width=width)
    return as_source(scans, [f"slice-{number}" for number in range(slices)], [NORMAL] * slices, "volume")


# -- prepared ----------------------------------------------------------------------------------------------------------


def prepared(scans: Scans, workers: int, watch: Watch) -> list[FlatScan]:
    """Lines and band of every scan."""
    return list(_counted(flat_scans(scans, range(len(scans.items)), workers), len(scans.items), watch))


def _counted(found: Iterator[FlatScan], total: int, watch: Watch) -> Iterator[FlatScan]:
    for number, scan in enumerate(found, start=1):
        watch(Update("preparing", number, total))
        yield scan
