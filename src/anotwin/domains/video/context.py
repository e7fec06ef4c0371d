"""Which frames lie before a frame, and which of them a model looks at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from anotwin.domains.video.clips import Clip, ClipSource
from anotwin.records import ImageSource

OFFSETS = 32, 28, 24, 20, 16, 12, 8, 4, 3, 2, 1  # frames before: for some seconds back, and next to it
STEADY = 5  # frames that a score is smoothed over: it and those before it


def frames_before(clip: Clip, index: int, offsets: Sequence[int] = OFFSETS) -> tuple[int, ...]:
    """The indices in the source of the frames so far before frame `index` of a clip, the first offset first.

    Where the clip has not begun yet, those as far after it, as if time were mirrored: a walker backwards is nearly a
    walker. Of a clip that is shorter still, the farthest that there is.

    >>> clip = Clip("a", 100, 20)
    >>> frames_before(clip, 110, (4, 1)), frames_before(clip, 101, (4, 1))
    ((106, 109), (105, 100))
    """
    last = clip.first + clip.count - 1
    farthest = clip.first if index - clip.first > last - index else last

    def at(offset: int) -> int:
        if index - offset >= clip.first:
            return index - offset
        return index + offset if index + offset <= last else farthest

    return tuple(map(at, offsets))


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
