"""Frames on their way from a thread that reads to a consumer that may be slower."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

from anotwin.errors import AnoTwinError, DataError

T = TypeVar("T")


@dataclass(frozen=True)
class Gap:
    """The source was away."""

    begin: float  # seconds since the start: the last frame before; 0: there was none
    end: float  # the first frame after
    reason: str


class Newest(Generic[T]):
    """What waits for a consumer: of frames the newest, and all gaps, joined where no frame is left between them.

    Args:
        most: frames that may wait.

    Attributes:
        dropped: frames that made room for newer ones.
    """

    def __init__(self, most: int) -> None:
        self._most = max(most, 1)
        self._events: deque[Gap | T] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._error: Exception | None = None
        self.dropped = 0

    def put(self, event: Gap | T) -> None:
        """Add an event; the oldest frame makes room."""
        with self._changed:
            if self._ended:
                return
            frames = [at for at, each in enumerate(self._events) if not isinstance(each, Gap)]
            if not isinstance(event, Gap) and len(frames) >= self._most:
                del self._events[frames[0]]
                self.dropped += 1
                self._join_gaps()
            self._events.append(event)
            self._changed.notify()

    def next(self) -> Gap | T | None:
        """The oldest event, when there is one; None: there will be none. Raises what `end` was given."""
        with self._changed:
            while not self._events and not self._ended:
                self._changed.wait()
            if self._events:
                return self._events.popleft()
            if self._error is not None:
                error, self._error = self._error, None
                raise error if isinstance(error, AnoTwinError) else DataError(f"reading failed: {error!r}") from error
            return None

    def end(self, error: Exception | None = None) -> None:
        """Nothing more comes."""
        with self._changed:
            if not self._ended:
                self._ended, self._error = True, error
            self._changed.notify_all()

    def discard(self) -> None:
        """Nothing more comes, and what waits is not wanted."""
        with self._changed:
            self._events.clear()
        self.end()

    def _join_gaps(self) -> None:
        joined: deque[Gap | T] = deque()
        for event in self._events:
            last = joined[-1] if joined else None
            if isinstance(event, Gap) and isinstance(last, Gap):
                joined[-1] = Gap(last.begin, event.end, event.reason)
            else:
                joined.append(event)
        self._events = joined
