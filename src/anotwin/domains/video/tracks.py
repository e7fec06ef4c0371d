"""Tracks: regions of frames that follow each other, linked by where each is expected at constant velocity.

Nearest assignment of all at once (Kuhn 1955, by scipy), from the past alone and in bounded memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

if TYPE_CHECKING:
    from anotwin.domains.regions import Region

Floats = npt.NDArray[np.float64]
MOST_REGIONS = 32  # of a frame, those of the highest peaks: more are light or rain, not tracks
MOST_TRACKS = 16  # that are kept of those that have ended, those of the highest peaks
MOST_POINTS = 4096  # of a track: of a longer one every second place is forgotten, and again
_FORBIDDEN = 1e6  # cost of a link that is too far: above any sum of others
_NEW_SHARE = 0.5  # of the velocity between two frames in that of the track: boxes of heat jitter


@dataclass(frozen=True, slots=True)
class Box:
    """A region of a frame in the pixels of the file: rows top to bottom - 1, columns left to right - 1."""

    top: int
    left: int
    bottom: int
    right: int
    peak: float = 0.0  # its highest heat


Point = tuple[int, Box]  # number of the frame in its clip, region
Track = tuple[Point, ...]  # by frame


class Tracker:
    """Regions linked from frame to frame; a track is lost after `patience` frames without a region."""

    def __init__(self, patience: int) -> None:
        self._patience = patience
        self._live: list[_LiveTrack] = []
        self._lost: list[tuple[float, Track]] = []  # the highest peak of each

    def take(self, frame: int, regions: Sequence[Box]) -> None:
        """The regions of the next frame."""
        lost = [each for each in self._live if frame - each.points[-1][0] > self._patience]
        if lost:
            self._live = [each for each in self._live if frame - each.points[-1][0] <= self._patience]
            self._lost += [(_highest(each.points), tuple(each.points)) for each in lost]
            self._lost = sorted(self._lost, key=lambda pair: -pair[0])[:MOST_TRACKS]
        boxes = sorted(regions, key=lambda box: -box.peak)[:MOST_REGIONS]
        free = dict(enumerate(boxes))
        for track, region in link([each.expected(frame) for each in self._live], boxes):
            self._live[track].add(frame, free.pop(region))
        self._live += [_LiveTrack(frame, box) for box in free.values()]

    def tracks(self, end: int) -> tuple[Track, ...]:
        """Up to a frame: that of the highest heat first, then by their beginnings."""
        points = [*(track for _, track in self._lost), *(each.points for each in self._live)]
        cut = [tuple(point for point in each if point[0] <= end) for each in points]
        found = sorted((each for each in cut if each), key=lambda each: (each[0][0], -_highest(each)))
        own = max(found, key=_highest, default=None)
        return () if own is None else (own, *(each for each in found if each is not own))


class _LiveTrack:
    """A track and how its region moves."""

    def __init__(self, frame: int, box: Box) -> None:
        self.points: list[Point] = [(frame, box)]
        self._velocity = np.zeros(2)  # rows and columns a frame

    def expected(self, frame: int) -> Floats:
        """Where its region is at a frame if it goes on as it went: top, left, bottom, right."""
        last, box = self.points[-1]
        return _corners(box) + np.tile(self._velocity, 2) * (frame - last)

    def add(self, frame: int, box: Box) -> None:
        """The region in a later frame."""
        last, before = self.points[-1]
        moved = (_corners(box) - _corners(before)).reshape(2, 2).mean(0) / (frame - last)  # of its centre
        share = _NEW_SHARE if len(self.points) > 1 else 1.0
        self._velocity = (1 - share) * self._velocity + share * moved
        self.points.append((frame, box))
        if len(self.points) > MOST_POINTS:
            del self.points[1:-1:2]


def link(expected: Sequence[Floats], regions: Sequence[Box]) -> list[tuple[int, int]]:
    """Which region is which track's: pairs (track, region), each at most once, the nearest together.

    A pair costs the distance of the centres, in mean diagonals of the two boxes, less their overlap (intersection over
    union). Farther than one mean diagonal is no pair; boxes that overlap never are.

    Args:
        expected: where the tracks are expected: (4,) top, left, bottom, right.
        regions: of the frame.

    >>> link([np.array([0.0, 10.0, 4.0, 14.0]), np.array([0.0, 0.0, 4.0, 4.0])], [Box(1, 1, 5, 5), Box(90, 0, 99, 9)])
    [(1, 0)]
    """
    if not len(expected) or not len(regions):
        return []
    ours, theirs = np.stack(expected)[:, None], np.stack([_corners(each) for each in regions])[None]
    shared = np.minimum(ours[..., 2:], theirs[..., 2:]) - np.maximum(ours[..., :2], theirs[..., :2])
    common = np.clip(shared, 0.0, None).prod(-1)  # (tracks, regions)
    overlap = common / (_areas(ours) + _areas(theirs) - common)
    apart = np.linalg.norm(ours.reshape(-1, 1, 2, 2).mean(2) - theirs.reshape(1, -1, 2, 2).mean(2), axis=-1)
    reach = (_diagonals(ours) + _diagonals(theirs)) / 2
    allowed = apart <= reach
    rows, columns = linear_sum_assignment(np.where(allowed, apart / reach - overlap, _FORBIDDEN))
    return [(int(row), int(column)) for row, column in zip(rows, columns, strict=True) if allowed[row, column]]


def box_of(region: Region) -> Box:
    """The box of a region of heat, with its peak."""
    bottom, right = region.top + region.height, region.left + region.width
    return Box(region.top, region.left, bottom, right, region.peak)


def _corners(box: Box) -> Floats:
    return np.array([box.top, box.left, box.bottom, box.right], np.float64)


def _areas(corners: Floats) -> Floats:
    sides: Floats = corners[..., 2:] - corners[..., :2]
    return sides[..., 0] * sides[..., 1]


def _diagonals(corners: Floats) -> Floats:
    sides: Floats = corners[..., 2:] - corners[..., :2]
    return np.hypot(sides[..., 0], sides[..., 1])


def _highest(track: Sequence[Point]) -> float:
    return max(box.peak for _, box in track)
