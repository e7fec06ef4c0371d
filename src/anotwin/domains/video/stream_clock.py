"""Timestamps of a live source on the clock of this machine."""

from __future__ import annotations

JUMP = 1.0  # seconds between a timestamp and the clock beyond which timestamps are not believed
_FOLLOWED = 0.005  # of a difference between two clocks a frame: they drift apart by some 0.2 s an hour


class StreamClock:
    """Timestamps of a source laid on the clock of this machine: steady, ascending, and never later than the frame came.

    The smallest delay seen is that of the source; frames that come later than it have waited on their way. From a jump
    on, times are those of arrival until `restart`.
    """

    def __init__(self) -> None:
        self._last = 0.0
        self.restart()

    def restart(self) -> None:
        """The source is opened anew: its timestamps may begin anywhere."""
        self._delay: float | None = None  # arrival - timestamp
        self._pts = 0.0
        self._believed = True

    def time_of(self, pts: float | None, arrival: float) -> float:
        """The time of a frame with this timestamp that comes now; both in seconds.

        >>> clock = StreamClock()
        >>> [round(clock.time_of(7 + 0.1 * n, arrival), 3) for n, arrival in enumerate((2.0, 2.1, 2.35, 2.4))]
        [2.0, 2.1, 2.201, 2.301]
        """
        at = arrival
        if pts is None:
            self._believed = False
        elif self._believed:
            delay = arrival - pts
            if self._delay is None:
                self._delay = delay
            elif pts <= self._pts or abs(delay - self._delay) > JUMP:
                self._believed = False
            else:
                self._delay = min(delay, self._delay + _FOLLOWED * (delay - self._delay))
            self._pts = pts
            at = pts + self._delay if self._believed else arrival
        self._last = max(at, self._last + 1e-6)
        return self._last
