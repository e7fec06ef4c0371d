"""Which frames lie before a frame, and which of them a model looks at."""

from __future__ import annotations

from collections.abc import Sequence

from anotwin.domains.video.clips import Clip, ClipSource
from anotwin.records import ImageSource

OFFSETS = 24, 16, 8, 4, 3, 2, 1  # frames before: a second or two back, and next to it
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
    return tuple(index - offset if index - offset >= clip.first else min(index + offset, last) for offset in offsets)


def frames_steadying(clip: Clip, index: int) -> tuple[int, ...]:
    """The frames whose scores frame `index` is smoothed with, in the order of time; the last is it itself."""
    return tuple(range(max(clip.first, index - STEADY + 1), index + 1))


def clips_of(source: ImageSource) -> tuple[Clip, ...]:
    """The clips of a source: those that it knows or, of images in memory and of folders, runs of images of one group.

    Images without a group follow each other in one clip.
    """
    if isinstance(source, ClipSource):
        return source.clips
    clips: list[Clip] = []
    for index, item in enumerate(source.items):
        name = item.group or ""
        if clips and clips[-1].name == name:
            clips[-1] = Clip(name, clips[-1].first, clips[-1].count + 1)
        else:
            clips.append(Clip(name, index, 1))
    return tuple(clips)
