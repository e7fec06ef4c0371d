"""The clips: UCSD Ped2 where it is at hand, and synthetic walkways, whose intruders are known exactly."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from anotwin import DataError
from anotwin.domains.video.source import FrameClips
from anotwin.domains.video.synthetic.folders import write_clips
from anotwin.domains.video.synthetic.walkway import KINDS, Shot, stream
from anotwin.domains.video.ucsd import is_ucsd, open_ucsd
from anotwin.evaluate.alarms import TruthEvent
from anotwin.evaluate.tracks import TruthRegion
from anotwin.files import parse_json
from anotwin.seeding import derive
from benchmarks.common.rows import console

PED2 = "UCSDped2"
GET_PED2 = (
    f"part ped2 is skipped: there is no {PED2} where ANOTWIN_DATA points or in ../shared/data; put Train/Train001 ... "
    "and Test/Test001 ... with their masks Test001_gt of UCSD Ped2 (Mahadevan et al. 2010, the UCSD Anomaly Detection "
    f"Dataset of svcl.ucsd.edu) into a folder {PED2} there, or name it with --data"
)


@dataclass(frozen=True)
class ClipSet:
    """Training and test clips in the UCSD layout."""

    name: str
    root: Path | None = None  # None: they are made when they are needed

    def folder(self, scratch: Path) -> Path:
        """Where they lie; `scratch` is a folder for those that are made."""
        del scratch
        assert self.root is not None
        return self.root

    def test(self, scratch: Path) -> FrameClips:
        """The test clips."""
        return open_ucsd(self.folder(scratch), "test")


def find_ped2(data: Path | None) -> ClipSet | None:
    """UCSD Ped2, or the set that --data names; None where it is not at hand: a printed line says how to get it."""
    if data is not None:
        if not is_ucsd(data):
            raise DataError(f"--data {data}: expected a UCSD set, with Train/Train001 and Test/Test001")
        return ClipSet(data.resolve().name, data)
    places = [Path(place) / PED2 for place in (os.environ.get("ANOTWIN_DATA"), "../shared/data") if place]
    found = next((root for root in places if is_ucsd(root)), None)
    if found is None:
        console.print(GET_PED2, markup=False)
    return None if found is None else ClipSet(PED2, found)


@dataclass(frozen=True)
class WalkwaySet(ClipSet):
    """Synthetic clips of one place: `train` normal ones, and `test` for each kind of intruder."""

    place: int = 0
    seed: int = 0
    train: int = 16
    test_per_kind: int = 6
    frames: int = 200  # of a clip
    kinds: tuple[str, ...] = KINDS
    size: tuple[int, int] = (240, 360)
    density: float = 10.0

    def folder(self, scratch: Path) -> Path:
        """Written at the first call."""
        folder = scratch / f"{self.name}-{self.test_per_kind}"
        if not folder.exists():
            write_clips(
                folder,
                self.train,
                self.test_per_kind,
                self.frames,
                self.seed,
                self.place,
                kinds=self.kinds,
                size=self.size,
                density=self.density,
            )
        return folder

    def normal_footage(self, frames: int) -> Iterator[Shot]:
        """Other footage of the same place in which nothing happens, frame by frame."""
        seed = derive(self.seed, "normal footage")
        return stream(seed, None, frames, size=self.size, density=self.density, place=self.place)

    def footage(self, frames: int) -> Iterator[Shot]:
        """Likewise, with intruders now and then."""
        seed = derive(self.seed, "footage")
        return stream(
            seed, self.kinds, frames, size=self.size, density=self.density, place=self.place, every=self.frames
        )


def walkway_set(place: int, seed: int, train: int, test_per_kind: int, frames: int) -> WalkwaySet:
    """The clips of these numbers, under a name that tells them apart."""
    name = f"walkway-place{place}-seed{seed}-{train}x{frames}"
    return WalkwaySet(name, None, place, seed, train, test_per_kind, frames)


def small_walkway() -> WalkwaySet:
    """Of --quick."""
    return WalkwaySet("walkway-small", None, 0, 0, 3, 2, 40, ("bag",), (64, 96), 3.0)


@dataclass(frozen=True, eq=False)
class Intruders:
    """What truly is in the test clips of a walkway."""

    tracks: Mapping[str, list[dict[str, Any]]]  # as tracks.json has them, by clip

    @classmethod
    def of(cls, folder: Path) -> Intruders:
        return cls(parse_json((folder / "tracks.json").read_bytes())["clips"])

    @cached_property
    def kinds(self) -> dict[str, str]:
        """By clip."""
        return {clip: track["kind"] for clip, found in self.tracks.items() for track in found}

    @cached_property
    def events(self) -> list[TruthEvent]:
        """One of each intruder, hidden or not, in frames; fully visible where nine tenths of it are seen."""
        return [
            TruthEvent(clip, track["first"], track["first"] + len(track["boxes"]) - 1, track["fully_visible_from"])
            for clip, found in self.tracks.items()
            for track in found
        ]

    @cached_property
    def regions(self) -> list[TruthRegion]:
        """Their boxes where they are seen."""
        return [
            TruthRegion(clip, track["first"] + n, tuple(box), number)
            for clip, found in self.tracks.items()
            for number, track in enumerate(found)
            for n, box in enumerate(track["boxes"])
            if box is not None
        ]
