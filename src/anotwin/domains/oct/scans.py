"""OCT scans of a source, prepared: read, their retinas found with those of their volume, flattened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt

from anotwin.domains.oct.flatten import Flat, flatten
from anotwin.domains.oct.layers.find import Retina, find_retinas
from anotwin.domains.oct.records import ScanSource, Spacing
from anotwin.domains.oct.scale import implausible
from anotwin.prepare.stream import UNUSABLE, Parts, in_processes, named
from anotwin.records import Array, ImageSource
from anotwin.seeding import fingerprint

Indices = Sequence[int] | npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class FlatScan:
    """One scan of a source. What could not be made of it is None, and `error` says why."""

    index: int  # in the source
    pixels: Array | None = None  # native
    fingerprint: int | None = None  # of the native pixels
    spacing: Spacing | None = None
    retina: Retina | None = None
    flat: Flat | None = None
    error: str = ""  # one line that names the scan; "": nothing is missing


def flat_scans(source: ImageSource, indices: Indices, workers: int = 0) -> Iterator[FlatScan]:
    """The scans at `indices`, in that order.

    A scan's lines depend on the slices beside it. Its whole volume is read, whichever slices are asked for, so that the
    result is the same for a scan alone and in a run that continues a stopped one. One volume is in memory at a time.

    Args:
        source: one that knows its volumes (`ScanSource`); in any other each image stands alone.
        indices: which; best volume by volume, each volume is then read once.
        workers: processes that prepare, each a volume; 0 does it in this one.
    """
    volumes = _Volumes(source, _runs(source, [int(index) for index in indices]))
    for scans in in_processes(volumes, workers, source.root):
        yield from scans


@dataclass(frozen=True)
class _Volumes(Parts[list[FlatScan]]):
    source: ImageSource
    runs: list[tuple[tuple[int, ...], tuple[int, ...]]]  # the slices of a volume, and those of them that are wanted

    def __len__(self) -> int:
        return len(self.runs)

    def __getitem__(self, number: int) -> list[FlatScan]:
        slices, wanted = self.runs[number]
        scans = [self._read(index) for index in slices]
        there = [scan for scan in scans if scan.pixels is not None]
        spacing = there[0].spacing if there else None
        try:
            retinas = find_retinas([scan.pixels for scan in there if scan.pixels is not None], spacing)
        except UNUSABLE as error:  # no memory: the rest of the run goes on
            return [FlatScan(index, error=named(self.source.items[index].id, error)) for index in wanted]
        found = {scan.index: scan for scan in scans}
        for scan, retina in zip(there, retinas, strict=True):
            if scan.index in wanted:
                found[scan.index] = self._flattened(replace(scan, retina=retina))
        return [found[index] for index in wanted]

    def _read(self, index: int) -> FlatScan:
        try:
            pixels = self.source.read(index)
        except UNUSABLE as error:
            return FlatScan(index, error=named(self.source.items[index].id, error))
        spacing = self.source.info(index).spacing if isinstance(self.source, ScanSource) else None
        return FlatScan(index, pixels, fingerprint(pixels), spacing)

    def _flattened(self, scan: FlatScan) -> FlatScan:
        assert scan.pixels is not None
        assert scan.retina is not None
        if scan.retina.reason:
            return replace(scan, error=self._said(scan.index, scan.retina.reason))
        if why := implausible(scan.retina, scan.pixels.shape, scan.spacing):
            return replace(scan, error=self._said(scan.index, why))
        try:
            return replace(scan, flat=flatten(scan.pixels, scan.retina, spacing=scan.spacing))
        except UNUSABLE as error:
            return replace(scan, error=named(self.source.items[scan.index].id, error))

    def _said(self, index: int, message: str) -> str:
        name = self.source.items[index].id
        return message if name in message else f"{name}: {message}"


def _runs(source: ImageSource, indices: list[int]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Neighbours in `indices` that lie in one volume, with all slices of that volume."""
    if not isinstance(source, ScanSource):
        return [((index,), (index,)) for index in indices]
    volume_of: dict[int, tuple[int, ...]] = {index: volume for volume in source.volumes() for index in volume}
    volume_of |= {index: (index,) for index in indices if source.info(index).alone}
    return [(volume, tuple(wanted)) for volume, wanted in groupby(indices, lambda index: volume_of[index])]


def levels(band: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """A band in [-1, 1] in 256 levels, as it is kept for training and shown to the model."""
    return np.asarray(np.rint((np.clip(band, -1, 1) + 1) * 127.5), np.uint8)
