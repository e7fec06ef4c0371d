"""Any video file, any folder of video files, or of folders of frames: the layout ``video``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from anotwin.data.collect import Found
from anotwin.data.folder import Part, find_items
from anotwin.data.pixels import IMAGE_SUFFIXES
from anotwin.data.walk import walk
from anotwin.domains.video.pyav import VIDEO_SUFFIXES
from anotwin.domains.video.source import (
    FoundClip,
    FrameClips,
    clip_of_images,
    clip_of_video,
    natural,
    source_of_clips,
)
from anotwin.errors import DataError
from anotwin.records import ImageItem

FEW = 4  # clips: with fewer, pieces of them are held out
PIECES, SHORTEST = 8, 40  # pieces at most in all, and frames of one at least
_UNSURE = (".ts", ".264")  # endings that other files have, too: TypeScript


def is_recording(root: Path) -> bool:
    """Whether DATA is a video file, or a folder in which there are some, and not more images than that."""
    if root.is_file():
        return root.suffix.lower() in VIDEO_SUFFIXES
    videos = images = 0
    for name in walk(root, (*VIDEO_SUFFIXES, *IMAGE_SUFFIXES)) if root.is_dir() else ():
        ending = PurePosixPath(name).suffix.lower()
        images += ending in IMAGE_SUFFIXES
        videos += ending in VIDEO_SUFFIXES and ending not in _UNSURE
    return 0 < videos >= images


def open_recordings(root: str | Path, part: Part, normal: str | None = None, abnormal: str | None = None) -> FrameClips:
    """All video files below `root` or, where there are none, all folders of images, each of them a clip.

    Folders mean train, test, good and bad by their words, and a manifest.csv says more, as in `open_folder`: for
    training the clips known to be abnormal are left out, and where no name says anything all count as normal. The name
    of a clip is its path below `root`, which may be one video file, for training too.

    Args:
        root: a folder or a video file.
        part: "train" or "test": what the clips are for.
        normal: patterns of the labels, folders or files that are normal; see `anotwin.data.sorting.Chosen`.
        abnormal: likewise.

    Raises:
        DataError: nothing there, nothing that can be read, no such label or, for training, folders of which nobody can
            say whether they are normal. MissingExtra: PyAV is missing.
    """
    root = Path(root)
    if root.is_file():
        clips, found = [_one(root)], Found(())
        root = root.parent
    elif not root.is_dir():
        raise DataError(f"{root}: no such file or folder; expected a video or a folder of them")
    elif next(walk(root, VIDEO_SUFFIXES), None) is not None:
        found = find_items(root, part, normal, VIDEO_SUFFIXES, abnormal)
        items = sorted(found.items, key=lambda item: natural(item.id))
        clips = [clip_of_video(root, item.id, _labelled(item)) for item in items]
    elif next(walk(root, IMAGE_SUFFIXES), None) is None:
        raise DataError(f"{root}: no video there or below ({', '.join(VIDEO_SUFFIXES[:8])} ...), and no image")
    else:
        found = find_items(root, part, normal, IMAGE_SUFFIXES, abnormal)
        clips = list(_folders_of_frames(root, found))
    if all(clip.error for clip in clips):
        raise DataError(clips[0].error)
    source = source_of_clips(root, "video", clips, found.notes)
    several = {name: masks for name, masks in found.masks.items() if len(masks) > 1}
    source = replace(source, taken=found.taken or source.taken, masks=several, unused_masks=found.unused_masks)
    return in_pieces(source) if part == "train" else source


def in_pieces(source: FrameClips) -> FrameClips:
    """Few clips in pieces of time, each a group: some can be held out from training where there is one long video.

    Frames at the border of two pieces resemble each other: several clips of other hours are better, and that is said.
    """
    frames = sum(clip.count for clip in source.clips)
    if len(source.clips) >= FEW or frames < 2 * SHORTEST:
        return source
    items, names = list(source.items), set(source.positional)
    length = max(SHORTEST, -(-frames // PIECES))
    for clip in source.clips:
        pieces = max(1, clip.count // length)
        for number in range(clip.count):
            name = f"{clip.name}, part {number * pieces // clip.count + 1} of {pieces}"
            items[clip.first + number] = replace(items[clip.first + number], group=name)
            names.add(name)
    note = (
        f"{source.root}: {len(source.clips)} clip{'s' if len(source.clips) > 1 else ''}: cut into pieces of about "
        f"{length} frames to hold some of them out; clips of other hours and days make a better threshold"
    )
    return replace(source, items=tuple(items), notes=(*source.notes, note), positional=frozenset(names))


def _one(path: Path) -> FoundClip:
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        raise DataError(f"{path}: not a video by its name; expected {', '.join(VIDEO_SUFFIXES)}, or a folder")
    return clip_of_video(path.parent, path.name, ImageItem(path.name))


def _labelled(item: ImageItem) -> ImageItem:
    """Without a label that says nothing of normality: the name of a folder like any other."""
    return item if item.normal is not None else replace(item, label=None)


def _folders_of_frames(root: Path, found: Found) -> Iterator[FoundClip]:
    folders: dict[str, list[ImageItem]] = defaultdict(list)
    for item in found.items:
        folders[item.id.rpartition("/")[0]].append(_labelled(item))
    for folder in sorted(folders, key=natural):
        clip = clip_of_images(root, folder or root.resolve().name, folders[folder])
        yield replace(clip, masked=found.masked)
