"""CUHK Avenue (Lu, Shi, Jia 2013): ``training_videos/01.avi``, ``testing_videos/01.avi``, masks in MATLAB files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath

from anotwin.data.folder import Part
from anotwin.data.walk import walk
from anotwin.domains.video.ground_truth import clip_masks
from anotwin.domains.video.pyav import VIDEO_SUFFIXES
from anotwin.domains.video.source import (
    FoundClip,
    FrameClips,
    clip_of_video,
    folders_in,
    known,
    natural,
    source_of_clips,
)
from anotwin.errors import DataError
from anotwin.records import ImageItem

_FOLDERS = {"train": "training_videos", "test": "testing_videos"}
_MASKS = ("ground_truth_demo/testing_label_mask", "testing_label_mask")


def is_avenue(root: Path) -> bool:
    """Whether a folder, or one in it, has the folders of CUHK Avenue."""
    return root.is_dir() and _top(root) is not None


def open_avenue(root: str | Path, part: Part, normal: str | None = None) -> FrameClips:
    """The Avenue set in `root`, or in a folder in it.

    The masks of ``testing_videos/01.avi`` are in ``ground_truth_demo/testing_label_mask/1_label.mat``, below `root` or
    beside the videos; without them nothing is known of the frames. The masks of one clip are in memory at a time.

    Args:
        root: the folder.
        part: "train" or "test".
        normal: None or "normal".

    Raises:
        DataError: no such folders, no video in them, or another `normal`. MissingExtra: PyAV is missing.
    """
    root = Path(root)
    if normal not in (None, "normal"):
        raise DataError(
            f"{root}: the avenue layout knows itself what is normal, got {normal!r}; leave it out or use --layout video"
        )
    top = _top(root) if root.is_dir() else None
    if top is None:
        raise DataError(f"{root}: no Avenue set there; expected the folders {' and '.join(_FOLDERS.values())}")
    folder = top / _FOLDERS[part]
    names = sorted(walk(folder, VIDEO_SUFFIXES), key=natural)
    if not names:
        raise DataError(f"{folder}: no video there; expected 01.avi, 02.avi ...")
    clips = [_clip(root, (folder / name).relative_to(root).as_posix(), part) for name in names]
    if part == "train":
        return source_of_clips(root, "avenue", clips)
    truth = next((each / name for each in (top, root) for name in _MASKS if (each / name).is_dir()), None)
    if truth is None:
        note = f"{root}: no folder {_MASKS[0]}: nothing is known of the frames of its test clips"
        return source_of_clips(root, "avenue", clips, [note])
    return source_of_clips(root, "avenue", [_with_masks(root, clip, truth) for clip in clips])


def _top(root: Path) -> Path | None:
    """The folder with the videos: `root`, or one in it."""
    tops = (root, *folders_in(root))
    return next((each for each in tops if all((each / name).is_dir() for name in _FOLDERS.values())), None)


def _clip(root: Path, name: str, part: Part) -> FoundClip:
    item = ImageItem(name)
    return clip_of_video(root, name, known(item, False) if part == "train" else item)


def _with_masks(root: Path, clip: FoundClip, truth: Path) -> FoundClip:
    """Frames with the masks of their clip."""
    stem = PurePosixPath(clip.name).stem
    path = truth / f"{int(stem) if stem.isdecimal() else stem}_label.mat"
    try:
        marked = clip_masks(path).marked().tolist()
    except DataError as error:
        return replace(clip, notes=(*clip.notes, f"{error}: nothing is known of the frames of {clip.name}"))
    notes = clip.notes
    if len(marked) != len(clip.items):
        told = f"{path}: {len(marked)} masks for {len(clip.items)} frames of {clip.name}: taken from the first on"
        notes = (*notes, told)
    mask = path.relative_to(root).as_posix()
    items = [replace(known(item, each), mask=mask) for item, each in zip(clip.items, marked, strict=False)]
    return replace(clip, items=(*items, *clip.items[len(items) :]), notes=notes, masked=True)
