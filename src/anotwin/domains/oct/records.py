"""What is known of an OCT scan besides its pixels: spacing, patient, eye, place in its volume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from anotwin.records import ImageSource


@dataclass(frozen=True, slots=True)
class Spacing:
    """Micrometres from pixel to pixel of an OCT scan."""

    axial: float  # down: along the beam, a row
    lateral: float  # across: a column
    between: float | None = None  # from slice to slice of the volume; None where unknown


@dataclass(frozen=True, slots=True)
class ScanInfo:
    """Whose retina a slice shows, and where it lies in its volume."""

    patient: str | None  # None where no file says it
    eye: str | None  # "OD" (right), "OS" (left); None where unknown
    volume: str  # unique within its source
    slice: int  # 0 .. slices - 1, its place in the volume: a gap where slices are missing
    slices: int  # of the whole volume, also those that are missing
    spacing: Spacing | None  # None where no file says it
    alone: bool = False  # the next slices of its volume lie elsewhere: a star, or lines at any place


@runtime_checkable
class ScanSource(ImageSource, Protocol):
    """A source of OCT scans."""

    def info(self, index: int) -> ScanInfo: ...

    def volumes(self) -> tuple[tuple[int, ...], ...]:
        """The indices of each volume in the order of its slices; every index is in one of them."""
        ...
