"""Signals that ask a process to stop: Ctrl-C, SIGTERM (kill, job schedulers) and SIGHUP (a closed terminal) are one.

The command line stops where it is, and keeps what is finished; training first finishes its step and writes a snapshot.
A second Ctrl-C or SIGTERM ends at once. Signals can be handled in the main thread only; elsewhere nothing changes.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

ASKING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name))

Handler = Callable[[int, FrameType | None], Any]


class Stopped(KeyboardInterrupt):
    """A signal has asked to stop; `number` is the signal's."""

    def __init__(self, message: str = "", number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.number = number


def exit_code(stop: KeyboardInterrupt) -> int:
    """128 and the number of the signal, as shells count: 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP."""
    return 128 + int(getattr(stop, "number", signal.SIGINT))


@contextmanager
def stoppable() -> Iterator[None]:
    """Within the block a signal raises `Stopped`, the second one ends the process. For the command line alone."""

    def on_signal(number: int, _frame: FrameType | None) -> None:
        for each in ASKING:
            if signal.getsignal(each) is on_signal:
                # a terminal that closes says so more than once
                signal.signal(each, signal.SIG_DFL if each != getattr(signal, "SIGHUP", None) else signal.SIG_IGN)
        if number == getattr(signal, "SIGHUP", None):
            _leave_terminal()
        raise Stopped(number=number)

    with _handling(on_signal, (signal.SIG_DFL, signal.default_int_handler)):
        yield


class Request:
    """Whether a signal has asked to stop, and which."""

    def __init__(self, before: dict[int, Any]) -> None:
        self.number = 0
        self._before = before  # the handlers that were there

    def is_set(self) -> bool:
        """Whether it has."""
        return self.number != 0

    def stop(self, message: str) -> NoReturn:
        """Stop now: as the signal would have stopped the process where nobody handles it, else by `Stopped`."""
        if self.number != signal.SIGINT and self._before.get(self.number) is signal.SIG_DFL:
            signal.signal(self.number, signal.SIG_DFL)
            signal.raise_signal(self.number)
        raise Stopped(message, self.number)


@contextmanager
def finish_first() -> Iterator[Request]:
    """Within the block the first signal only sets a request; a second one does what it did before the block.

    A signal that is ignored (SIGHUP under nohup) stays ignored, and one that the program handles stays with it.
    """
    before: dict[int, Any] = {}
    request = Request(before)

    def on_signal(number: int, _frame: FrameType | None) -> None:
        request.number = number
        if number == getattr(signal, "SIGHUP", None):
            _leave_terminal()
        for each, handler in before.items():
            if each != getattr(signal, "SIGHUP", None):
                signal.signal(each, handler)

    with _handling(on_signal, (signal.SIG_DFL, signal.default_int_handler), before):
        yield request


@contextmanager
def _handling(on_signal: Handler, instead_of: tuple[Any, ...], before: dict[int, Any] | None = None) -> Iterator[None]:
    """Handle signals in place of what Python or `stoppable` do; in another thread than the main one do nothing."""
    previous = {} if before is None else before
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    for each in ASKING:
        handler = signal.getsignal(each)
        ours = getattr(handler, "__module__", None) == __name__
        # a shell starts jobs in the background with Ctrl-C ignored; a SIGINT that is sent to one is meant
        if handler in instead_of or ours or (before is not None and each == signal.SIGINT and handler is not None):
            previous[each] = handler
            signal.signal(each, on_signal)
    try:
        yield
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)


def _leave_terminal() -> None:
    """Print to nowhere: writing to a terminal that is closed would fail before the snapshot is written."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            if stream.isatty():
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
