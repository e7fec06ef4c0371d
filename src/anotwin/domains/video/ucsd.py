"""UCSD Ped1 and Ped2 (Mahadevan, Li, Bhalodia, Vasconcelos 2010): ``Train/Train001``, ``Test/Test001``, its masks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from anotwin.data.folder import Part
from anotwin.data.masks import read_mask
from anotwin.data.pixels import IMAGE_SUFFIXES
from anotwin.data.walk import walk
from anotwin.domains.video.ground_truth import abnormal_frames
from anotwin.domains.video.source import (
    FoundClip,
    FrameClips,
    clip_of_images,
    folders_in,
    known,
    natural,
    source_of_clips,
)
from anotwin.errors import DataError
from anotwin.records import ImageItem

RATE = 10.0  # frames a second, as the description of the set says
_PARTS = ("train", "test")
_CLIP = re.compile(r"(?:train|test)[-_ ]?(\d+)", re.I)


@dataclass(frozen=True)
class _Clips:
    """The clips of a set, of a part of it, or one of them."""

    root: Path  # of their paths: the folder above where DATA is one clip
    parts: Mapping[str, Sequence[str]]  # "train", "test" -> folders below the root


def is_ucsd(root: Path) -> bool:
    """Whether a folder is a UCSD set, its Train or Test, or one clip of these."""
    if not root.is_dir() or (_CLIP.fullmatch(root.name) and root.resolve().parent.name.casefold() not in _PARTS):
        return False
    found = _clips(root)
    return any(_frames(found.root / name) for names in found.parts.values() for name in names[:1])


def open_ucsd(root: str | Path, part: Part, normal: str | None = None) -> FrameClips:
    """A UCSD set, its Train or Test, or one clip of these, with frames and masks of any image format.

    The frames of Train are normal. Those of Test001 are abnormal where their mask in ``Test001_gt`` marks something or,
    without masks, where the official list (``UCSDped2.m``) says so. The name of a clip is that of its folder.

    Args:
        root: the folder.
        part: "train" or "test"; where there is no Test, Train is scored.
        normal: None or "normal".

    Raises:
        DataError: no such folders, no clip of that part, a list that cannot be read, or another `normal`.
    """
    root = Path(root)
    if normal not in (None, "normal"):
        raise DataError(
            f"{root}: the ucsd layout knows itself what is normal, got {normal!r}; leave it out or use --layout video"
        )
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; expected one of the UCSD set, with Train/Train001 and Test/Test001")
    found = _clips(root)
    names = found.parts[part] or (found.parts["train"] if part == "test" else ())  # a set of which Train alone is there
    if not names:
        raise DataError(_nothing(root, part, found))
    listed = _listed(found.root) if part == "test" else {}
    clips = [_clip(found.root, name, listed) for name in names]
    return source_of_clips(found.root, "ucsd", clips)


def _nothing(root: Path, part: str, found: _Clips) -> str:
    sets = [] if any(found.parts.values()) else [each.name for each in folders_in(root) if is_ucsd(each)]
    got = "the clips of Test alone, which may hold what is not normal" if found.parts["test"] else "none of Train"
    got = got if part == "train" else "none of Test"
    hint = f"; it holds the sets {', '.join(sets)}: name one of them" if sets else ""
    return f"{root}: no clip to {part} with: expected {part.title()}/{part.title()}001, found {got}{hint}"


def _clips(root: Path) -> _Clips:
    if _CLIP.fullmatch(root.name):
        return _Clips(root.resolve().parent, _by_part([root.name]))
    here = [each.name for each in folders_in(root) if _CLIP.fullmatch(each.name)]
    if here:
        return _Clips(root, _by_part(here))
    parts = [each for each in folders_in(root) if each.name.casefold() in _PARTS]
    below = [f"{each.name}/{clip.name}" for each in parts for clip in folders_in(each) if _CLIP.fullmatch(clip.name)]
    return _Clips(root, _by_part(below))


def _by_part(names: Sequence[str]) -> dict[str, list[str]]:
    return {part: [name for name in names if _last(name).casefold().startswith(part)] for part in _PARTS}


def _last(name: str) -> str:
    return PurePosixPath(name).name


def _frames(folder: Path) -> list[str]:
    """The images in a folder itself."""
    return [name for name in walk(folder, IMAGE_SUFFIXES) if "/" not in name]


def _listed(root: Path) -> Mapping[int, frozenset[int]]:
    """The official list of abnormal frames: beside the clips, or above them."""
    tests = [each for each in folders_in(root) if each.name.casefold() == "test"]
    for folder in (*tests, root, root.parent):
        for path in sorted(folder.glob("*.m")):
            if b"gt_frame" in path.read_bytes():
                return abnormal_frames(path)
    return {}


def _clip(root: Path, name: str, listed: Mapping[int, frozenset[int]]) -> FoundClip:
    """One clip with what is known of its frames."""
    short = _last(name)
    files = _frames(root / name)
    if not files:
        raise DataError(f"{root / name}: no frame in the folder; expected images ({', '.join(IMAGE_SUFFIXES)})")
    clip = clip_of_images(root, short, [ImageItem(f"{name}/{file}") for file in files], RATE)
    if short.casefold().startswith("train"):
        return replace(clip, items=tuple(known(item, False) for item in clip.items))
    above = (root / name).parent
    truth = [each for each in folders_in(above) if each.name.casefold() == f"{short}_gt".casefold()]
    masks = [(each / mask).relative_to(root).as_posix() for each in truth for mask in _frames(each)]
    if masks:
        return _with_masks(root, clip, masks)
    match = _CLIP.fullmatch(short)
    abnormal = listed.get(int(match[1])) if match else None
    if abnormal is None:
        note = f"{root}: clip {short} has no masks ({short}_gt) and is in no list (.m): nothing is known of its frames"
        return replace(clip, notes=(*clip.notes, note))
    return replace(clip, items=tuple(known(item, number in abnormal) for number, item in enumerate(clip.items, 1)))


def _with_masks(root: Path, clip: FoundClip, masks: Sequence[str]) -> FoundClip:
    """Frames with the masks of the same names or, where none is the same, in the same order."""
    stems = [PurePosixPath(item.id).stem for item in clip.items]
    of = {PurePosixPath(mask).stem: mask for mask in masks}
    if of.keys().isdisjoint(stems):
        of = dict(zip(stems, sorted(masks, key=natural), strict=False))
    items: list[ImageItem] = []
    bad: list[str] = []
    for item, stem in zip(clip.items, stems, strict=True):
        mask = of.get(stem)
        item = replace(item, mask=mask)
        try:
            items.append(known(item, bool(read_mask(root / mask).any())) if mask else item)
        except DataError as error:
            items.append(item)
            bad.append(str(error))
    without = sum(item.mask is None for item in items)
    told = [f"{without} of {len(items)} frames have no mask: nothing is known of them"] if without else []
    told += [f"{len(bad)} masks cannot be read, the first: {bad[0]}"] if bad else []
    notes = (*clip.notes, *(f"{root}: clip {clip.name}: {each}" for each in told))
    return replace(clip, items=tuple(items), notes=notes, masked=True)
