"""Narrow synthetic OCT scans, in which a retina is found in a moment, and a source of them in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from anotwin.domains.oct.layers.find import Retina, find_retinas
from anotwin.domains.oct.records import ScanInfo, Spacing
from anotwin.domains.oct.synthetic.retina import Lesion, retina_scan, retina_volume
from anotwin.errors import DataError
from anotwin.records import ImageItem

HEIGHT, WIDTH = 400, 64
SPACING = Spacing(3.87, 11.5, 120.0)
BLANK = np.zeros((HEIGHT, WIDTH), np.uint8)
Pixels = np.ndarray[Any, Any]


@cache
def scan(seed: int, lesion: bool = False) -> Pixels:
    """A healthy scan, or one with a cyst in its middle; not to be written to."""
    return retina_scan(seed, HEIGHT, WIDTH, [Lesion("cyst", 250, at=0.5)] if lesion else ()).pixels


@cache
def volume(seed: int, slices: int = 3, lesion: bool = False) -> tuple[Pixels, ...]:
    """The same as neighbouring slices."""
    lesions = [Lesion("cyst", 250, at=0.5)] if lesion else ()
    return tuple(each.pixels for each in retina_volume(seed, slices, HEIGHT, WIDTH, lesions))


def retina_of(pixels: Pixels, spacing: Spacing | None = None) -> Retina:
    """The lines of a scan that has no neighbours."""
    return find_retinas([pixels], spacing)[0]


@dataclass(frozen=True)
class Scans:
    """An OCT source in memory; a picture that is a text cannot be read, and says this text."""

    volumes_: tuple[tuple[Pixels | str, ...], ...]
    spacing: Spacing | None = SPACING
    patients: tuple[str | None, ...] = ()  # of each volume
    reads: list[int] = field(default_factory=list)  # indices, as they were asked for
    layout: str = "oct"
    root: str = "memory"

    @property
    def items(self) -> tuple[ImageItem, ...]:
        return tuple(ImageItem(f"v{v}#{s}") for v, slices in enumerate(self.volumes_) for s in range(len(slices)))

    def read(self, index: int) -> Pixels:
        self.reads.append(index)
        pixels = [picture for slices in self.volumes_ for picture in slices][index]
        if isinstance(pixels, str):
            raise DataError(pixels)
        return pixels

    def read_mask(self, index: int) -> None:
        del index

    def info(self, index: int) -> ScanInfo:
        for number, slices in enumerate(self.volumes()):
            if index in slices:
                patient = self.patients[number] if self.patients else None
                return ScanInfo(patient, None, f"v{number}", slices.index(index), len(slices), self.spacing)
        raise IndexError(index)

    def volumes(self) -> tuple[tuple[int, ...], ...]:
        counts = [len(slices) for slices in self.volumes_]
        begins = np.cumsum([0, *counts[:-1]]).tolist()
        return tuple(tuple(range(b, b + count)) for b, count in zip(begins, counts, strict=True))
