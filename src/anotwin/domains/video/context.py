"""Which frames lie before a frame, and which of them a model looks at."""

from __future__ import annotations

from collections import Counter
from itertools import groupby

from anotwin.domains.video.clips import Clip, ClipSource
from anotwin.records import ImageSource

BACK = 32, 28, 24, 20, 16, 12, 8  # frames before: some seconds back
NEXT = 4, 3, 2, 1  # next to it
OFFSETS = *BACK, *NEXT, 1  # the last is the frame before as it came, whatever the others are
STEADY = 5  # frames that a score is smoothed over: it and those before it


def frames_before(clip: Clip, index: int) -> tuple[int, ...]:
    """The indices in the source of the frames so far before frame `index` of a clip, in the order of `OFFSETS`.

    Where the clip has not begun yet, those as far after it, as if time were mirrored: a walker backwards is nearly a
    walker. Those next to it are mirrored together, since nobody can predict what jumps. The last is never mirrored,
    because a way is another backwards: of the first frame it is that itself. Of a clip that is shorter still, the
    farthest that there is.

    >>> clip = Clip("a", 100, 50)
    >>> frames_before(clip, 140)
    (108, 112, 116, 120, 124, 128, 132, 136, 137, 138, 139, 139)
    >>> frames_before(clip, 102)
    (134, 130, 126, 122, 118, 114, 110, 106, 105, 104, 103, 101)
    """
    last = clip.first + clip.count - 1
    farthest = clip.first if index - clip.first > last - index else last

    def at(offset: int, way: int) -> int:
        found = index + way * offset
        return found if clip.first <= found <= last else farthest

    def way_of(offset: int) -> int:
        return -1 if index - offset >= clip.first or index + offset > last else 1

    near = way_of(max(NEXT))
    back = [at(offset, way_of(offset)) for offset in BACK]
    return (*back, *(at(offset, near) for offset in NEXT), max(clip.first, index - 1))


def frames_steadying(clip: Clip, index: int) -> tuple[int, ...]:
    """The frames whose scores frame `index` is smoothed with, in the order of time; the last is it itself."""
    return tuple(range(max(clip.first, index - STEADY + 1), index + 1))


def clips_of(source: ImageSource) -> tuple[Clip, ...]:
    """The clips of a source: those that it knows or, of images in memory and of folders, runs of images of one group.

    Images without a group follow each other in one clip. A group in several runs is several clips, "a" and "a (2)".
    """
    if isinstance(source, ClipSource):
        return source.clips
    clips: list[Clip] = []
    runs: Counter[str] = Counter()
    for name, run in groupby(item.group or "" for item in source.items):
        runs[name] += 1
        first = clips[-1].first + clips[-1].count if clips else 0
        clips.append(Clip(name if runs[name] == 1 else f"{name} ({runs[name]})", first, sum(1 for _ in run)))
    return tuple(clips)
