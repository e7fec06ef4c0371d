"""Synthetic clips as folders of frames, laid out as UCSD Ped1 and Ped2 are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from anotwin.domains.video.synthetic.drawing import generator
from anotwin.domains.video.synthetic.walkway import KINDS, Shot, Track, follow, stream
from anotwin.errors import DataError, SettingsError
from anotwin.files import write_json_atomic, writing

_RATE = 10.0


def write_clips(
    folder: str | Path,
    train: int = 8,
    test_per_kind: int = 2,
    frames: int = 200,
    seed: int = 0,
    place: int = 0,
    *,
    kinds: Sequence[str] = KINDS,
    size: tuple[int, int] = (240, 360),
    density: float = 10.0,
) -> None:
    """Write normal clips to train on, and clips with one intruder each, in the UCSD layout.

        Train/Train001/001.png ...    normal
        Test/Test001/001.png ...      the kinds in turn: the first clips have one of each
        Test/Test001_gt/001.png ...   masks: 255 where the intruder is seen
        tracks.json                   of each clip of Test its intruders: kind, first frame, boxes (top, left, bottom,
                                      right, the last two excluded; null while hidden) of the frames from there on

    Frames in tracks.json count from 0: the first is 001.png. Footage has 10 frames a second.

    Args:
        folder: made if missing; must be empty.
        train: clips, 0 or more.
        test_per_kind: likewise, of each of `kinds`.
        frames: of each clip, 200 or more with all kinds: `walkway` says what an intruder needs.
        seed: another seed, other clips.
        place: what the camera looks at.
        kinds: some of `KINDS`.
        size: rows and columns of the picture.
        density: people in view, on average.

    Raises:
        DataError: there is something in the folder, or it cannot be written. SettingsError: an impossible argument.
    """
    folder = Path(folder)
    if train < 0 or test_per_kind < 0:
        raise SettingsError(
            f"synthetic walkway: {train} clips to train on, {test_per_kind} to test of each kind, expected at least 0"
        )
    filmed = _Filmed(frames, place, size, density)
    for kind in (None, *kinds):
        filmed.shots(seed, kind)  # says what is not possible before anything is written
    with writing(folder):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise DataError(f"{folder}: it is there and not an empty folder; choose another one for synthetic clips")
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(1, train + 1):
            _write(folder / "Train" / f"Train{number:03d}", filmed, _clip_seed(seed, "train", number), None)
        clips = {}
        for number, kind in enumerate(list(kinds) * test_per_kind, 1):
            name = f"Test{number:03d}"
            tracks = _write(folder / "Test" / name, filmed, _clip_seed(seed, "test", number), kind)
            clips[name] = [_stored(track) for track in tracks]
    write_json_atomic(folder / "tracks.json", {"rate": _RATE, "place": place, "clips": clips})


@dataclass(frozen=True)
class _Filmed:
    """What clips of a data set have in common."""

    frames: int
    place: int
    size: tuple[int, int]
    density: float

    def shots(self, seed: int, kind: str | None) -> Iterator[Shot]:
        return stream(
            seed,
            kind,
            self.frames,
            size=self.size,
            rate=_RATE,
            density=self.density,
            place=self.place,
            every=self.frames,
        )


def _clip_seed(seed: int, part: str, number: int) -> int:
    return int(generator(seed, "clip", part, number).integers(2**62))


def _write(folder: Path, filmed: _Filmed, seed: int, kind: str | None) -> list[Track]:
    """One clip, frame by frame, and its masks beside it where it has an intruder."""
    masks = folder.with_name(f"{folder.name}_gt")
    tracks: dict[int, Track] = {}
    digits = max(3, len(str(filmed.frames)))
    for each in (folder, masks) if kind else (folder,):
        each.mkdir(parents=True)
    for index, shot in enumerate(filmed.shots(seed, kind)):
        name = f"{index + 1:0{digits}d}.png"
        _save(shot.frame, folder / name)
        if kind:
            _save(shot.mask.astype(np.uint8) * 255, masks / name)
            follow(tracks, index, shot)
    return list(tracks.values())


def _save(pixels: npt.NDArray[np.uint8], path: Path) -> None:
    Image.fromarray(pixels).save(path, compress_level=1)  # noise does not get smaller by more of it


def _stored(track: Track) -> Mapping[str, Any]:
    """As JSON values."""
    boxes = [None if box is None else list(box) for box in track.boxes]
    return {
        "kind": track.kind,
        "first": track.first,
        "fully_visible_from": track.fully_visible_from,
        "boxes": boxes,
    }
