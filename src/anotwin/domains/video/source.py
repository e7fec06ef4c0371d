"""Clips below one folder as a source of frames: folders of images, and video files."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from anotwin.data.folder import check_masks, read_masks
from anotwin.data.pixels import image_shape, read_pixels
from anotwin.data.taken import Taken, folders_taken
from anotwin.domains.video.clips import ASSUMED_RATE, Clip, clip_at
from anotwin.domains.video.container import VideoFile
from anotwin.domains.video.ground_truth import clip_masks
from anotwin.errors import DataError
from anotwin.records import Array, ImageItem
from anotwin.seeding import derive

MOST_OPEN = 2  # video files at once
_LOOKED_AT = 32  # frames of a folder of which the size is compared: cameras change it for good
_MAT = ".mat"
_COUNTS = {True: "normal", False: "abnormal", None: "not known"}


@dataclass(frozen=True, eq=False)
class FrameClips:
    """The frames of clips: a `ClipSource`.

    The id of a frame is its path below the root; of a video file that of the file with the number of the frame, from 1:
    ``walk.mp4/000123``. A frame of another size than the others comes at its own. What cannot be read is an item whose
    `read` raises: it becomes a row with its error, and the rest is scored.
    """

    root: str
    items: tuple[ImageItem, ...]  # (N,) clip by clip, in the order of time
    clips: tuple[Clip, ...]
    layout: str = "video"
    notes: tuple[str, ...] = ()  # what a person should know
    taken: tuple[Taken, ...] = ()  # the folders, and what their images count as
    videos: Mapping[str, VideoFile] = field(default_factory=dict)  # by the names of their clips
    places: tuple[tuple[str, int], ...] = ()  # (N,) the file of each frame below the root, and the frame's number in it
    seconds: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)  # (frames,) by clip
    broken: Mapping[int, str] = field(default_factory=dict)  # why an item cannot be read
    masked: frozenset[str] = frozenset()  # clips with ground truth: a normal frame is known to have an empty mask
    masks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # of frames with several: all; they are joined
    unused_masks: tuple[str, ...] = ()  # masks that belong to no frame
    positional: frozenset[str] = frozenset()  # groups that follow from where files lie
    _open: list[str] = field(default_factory=list, repr=False)  # clips whose files are open, the latest last

    def read(self, index: int) -> Array:
        """Native pixels of a frame, (H, W) or (H, W, 3); raises DataError naming the file, and frame and second."""
        if index in self.broken:
            raise DataError(self.broken[index])
        clip = clip_at(self.clips, index)
        if clip.name not in self.videos:
            return read_pixels(self.file(index))
        if clip.name not in self._open:
            self._open.append(clip.name)
            while len(self._open) > MOST_OPEN:
                self.videos[self._open.pop(0)].close()
        return self.videos[clip.name].read(index - clip.first)

    def time(self, index: int) -> float:
        """Seconds from the beginning of its clip, by the timestamps of a video file, else by the numbers of frames.

        Folders have the rate of their layout or, where none is known, `ASSUMED_RATE`; missing numbers take their time.
        """
        clip = clip_at(self.clips, index)
        return float(self.seconds[clip.name][index - clip.first])

    def file(self, index: int) -> Path:
        """The file that holds a frame."""
        return Path(self.root) / self.places[index][0]

    def contexts(self) -> list[int]:
        """Of each frame a number for what else its score depends on: which frames its clip has, and when."""
        found: list[int] = []
        for clip in self.clips:
            names = (item.id for item in self.items[clip.first : clip.first + clip.count])
            found += [derive(0, *names, *self.seconds[clip.name].tolist())] * clip.count
        return found

    def read_mask(self, index: int) -> npt.NDArray[np.bool_] | None:
        """(H, W) True where abnormal, zeros for a normal frame of a clip with ground truth, None where unknown.

        Raises:
            DataError: a mask that cannot be read, or of another size than its frame.
        """
        item, clip = self.items[index], clip_at(self.clips, index)
        if item.mask is None:
            return np.zeros(self.read(index).shape[:2], bool) if clip.name in self.masked and item.normal else None
        shape = self.read(index).shape[:2]
        if not item.mask.endswith(_MAT):
            return read_masks(Path(self.root), self.masks.get(item.id, (item.mask,)), item.id, shape)
        masks = clip_masks(Path(self.root) / item.mask)
        if masks.shape != shape:
            raise DataError(
                f"{self.root}/{item.mask}: masks of shape {masks.shape}, expected {shape}, that of {item.id}"
            )
        return masks.frame(index - clip.first)

    def check_mask(self, index: int) -> str:
        """Why the mask of a frame cannot be used, by the headers of the files alone; "": nothing is known."""
        item = self.items[index]
        if item.mask is None or item.mask.endswith(_MAT) or clip_at(self.clips, index).name in self.videos:
            return ""
        return check_masks(Path(self.root), self.masks.get(item.id, (item.mask,)), item.id)


@dataclass(frozen=True)
class FoundClip:
    """A clip while a source is opened."""

    name: str  # unique
    items: tuple[ImageItem, ...]  # in the order of time
    files: tuple[str, ...]  # of each frame, or the one of all of them, below the root
    seconds: npt.NDArray[np.float64]
    rate: float | None = None
    video: VideoFile | None = None
    error: str = ""  # why it cannot be read
    notes: tuple[str, ...] = ()
    masked: bool = False


def source_of_clips(root: Path, layout: str, found: Sequence[FoundClip], notes: Iterable[str] = ()) -> FrameClips:
    """A source of these clips, one after the other. Groups are those of the items, else the clips."""
    items: list[ImageItem] = []
    places: list[tuple[str, int]] = []
    clips: list[Clip] = []
    broken: dict[int, str] = {}
    told = list(notes)
    for clip in found:
        clips.append(Clip(clip.name, len(items), len(clip.items), clip.rate))
        broken |= {len(items) + number: clip.error for number in range(len(clip.items)) if clip.error}
        several = len(clip.files) > 1 or clip.video is None
        places += [(clip.files[number], 0) if several else (clip.files[0], number) for number in range(len(clip.items))]
        items += [item if item.group else replace(item, group=clip.name) for item in clip.items]
        told += clip.notes
    own = {item.group for clip in found for item in clip.items}  # None: the clip's name stands for it
    if any(clip.rate is None and not clip.error for clip in found):
        told.append(f"{root}: the frame rate is not known: {ASSUMED_RATE:g} frames a second are assumed for all times")
    return FrameClips(
        str(root),
        tuple(items),
        tuple(clips),
        layout,
        tuple(told),
        folders_taken(
            Counter((_folder(file), _COUNTS[item.normal]) for item, (file, _) in zip(items, places, strict=True))
        ),
        videos={clip.name: clip.video for clip in found if clip.video is not None},
        places=tuple(places),
        seconds={clip.name: clip.seconds for clip in found},
        broken=broken,
        masked=frozenset(clip.name for clip in found if clip.masked),
        positional=frozenset(clip.name for clip in found if any(not item.group for item in clip.items)) - own,
    )


def clip_of_video(root: Path, name: str, item: ImageItem) -> FoundClip:
    """The frames of the file `name` below `root`, with label, normality and group of `item`.

    A file that cannot be read is a clip of one frame with an error.
    """
    try:
        video = VideoFile(root / name)
    except DataError as error:
        only = (replace(item, id=_frame_id(name, 0)),)
        return FoundClip(name, only, (name,), np.zeros(1), error=str(error), notes=(str(error),))
    frames = tuple(replace(item, id=_frame_id(name, number)) for number in range(video.count))
    return FoundClip(name, frames, (name,), video.times, video.rate, video, notes=video.notes)


def clip_of_images(root: Path, name: str, items: Iterable[ImageItem], rate: float | None = None) -> FoundClip:
    """The images of one folder as a clip, in the order of the numbers in their names."""
    frames = tuple(sorted(items, key=lambda item: natural(item.id)))
    numbers, notes = _numbers(f"{root}: clip {name}", [PurePosixPath(item.id).stem for item in frames])
    seconds = np.asarray(numbers, np.float64) / (rate or ASSUMED_RATE)
    notes += _other_sizes(root, name, [item.id for item in frames])
    return FoundClip(name, frames, tuple(item.id for item in frames), seconds, rate, notes=tuple(notes))


def known(item: ImageItem, abnormal: bool) -> ImageItem:
    """A frame of which a set says whether it is abnormal."""
    return replace(item, label="abnormal" if abnormal else "normal", normal=not abnormal)


def folders_in(root: Path) -> list[Path]:
    """The folders in `root`, in natural order; raises DataError where it cannot be listed."""
    try:
        return sorted((each for each in root.iterdir() if each.is_dir()), key=lambda each: natural(each.name))
    except OSError as error:
        raise DataError(f"{root}: cannot list the folder ({error.strerror or error})") from None


def natural(name: str) -> tuple[tuple[str, int], ...]:
    """A key that sorts names by the numbers in them.

    >>> sorted(["f10", "f2", "f1b", "f1"], key=natural)
    ['f1', 'f1b', 'f2', 'f10']
    """
    parts = re.split(r"(\d+)", name)
    numbers = [int(number) for number in parts[1::2]] + [-1]
    return tuple(zip(parts[::2], numbers, strict=True))


def _folder(file: str) -> str:
    return file.rpartition("/")[0]


def _frame_id(file: str, number: int) -> str:
    return f"{file}/{number + 1:06d}"


def _numbers(where: str, stems: Sequence[str]) -> tuple[list[int], list[str]]:
    """The place of each frame in its clip, with gaps where numbers are missing, and what is to be said of it."""
    found = [re.fullmatch(r"(.*?)(\d+)(\D*)", stem, re.S) for stem in stems]
    order, kinds = list(range(len(stems))), {(match[1], match[3]) if match else None for match in found}
    numbers = [int(match[2]) for match in found if match]
    if len(kinds) != 1 or len(set(numbers)) != len(stems):
        if len(stems) > 1:
            return order, [
                f"{where}: the names of its frames are not numbered alike: taken in the order of their names"
            ]
        return order, []
    first, step = min(numbers), math.gcd(*(number - min(numbers) for number in numbers)) or 1
    places = [(number - first) // step for number in numbers]
    gone = places[-1] + 1 - len(places)
    if gone > max(3 * len(places), 1000):  # times or other long numbers
        return order, [f"{where}: the numbers of its frames reach from {first} to {max(numbers)}: taken without gaps"]
    if not gone:
        return places, []
    at = next(number for number, place in enumerate(places) if place != number)
    return places, [f"{where}: {gone} of {places[-1] + 1} frames are missing, the first after {stems[at - 1]}"]


def _other_sizes(root: Path, name: str, files: Sequence[str]) -> list[str]:
    """A note where frames of a folder have different sizes; some are looked at, evenly over the clip."""
    some = np.unique(np.linspace(0, len(files) - 1, min(len(files), _LOOKED_AT)).astype(int))
    shapes = Counter(shape for number in some if (shape := image_shape(root / files[number])))
    if len(shapes) < 2:
        return []
    sizes = ", ".join(f"{height} x {width}" for (height, width), _ in shapes.most_common(3))
    return [f"{root}: clip {name}: frames of different sizes ({sizes}); each is read as it is"]
