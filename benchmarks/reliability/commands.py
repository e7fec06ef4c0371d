"""AnoTwin's commands in processes of their own, forked so that torch is imported once, with faults put into them.

A fault is put in front of a file operation: the command is killed there as by a power cut, or the disk is full from
there on. Operations are counted by an audit hook of Python: opening for writing, renaming, removing, making a folder,
below one folder.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anotwin.cli import _run

for module in (
    "anotwin.commands.showing",
    "anotwin.commands.evaluating",
    "anotwin.detector",
    "anotwin.domains.oct.view",
):
    __import__(module)  # before any fork; nothing may be computed in this process: threads do not survive a fork

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
Words = Sequence[str | Path]
Fault = Callable[[str, str], None]  # called in front of each operation with its audit event and its path


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int  # exit code; minus the signal that ended it
    said: str  # stdout and stderr

    @property
    def traceback(self) -> bool:
        return "Traceback (most recent call last)" in self.said

    @property
    def refused(self) -> bool:
        """Whether it ended with an error on one line, as every expected error does."""
        lines = [line for line in self.said.splitlines() if line.startswith("error:")]
        return self.code in (1, 2, 3) and len(lines) == 1 and not self.traceback


def run(words: Words, fault: Callable[[], None] = lambda: None, kill_after: float | None = None) -> Outcome:
    """A command in a fork; `fault` is called there first; `kill_after`: seconds until it is killed from outside."""
    with tempfile.TemporaryFile() as said:
        sys.stdout.flush()
        sys.stderr.flush()
        child = os.fork()
        if child == 0:
            code = 70
            try:
                os.dup2(said.fileno(), 1)
                os.dup2(said.fileno(), 2)
                fault()
                code = _run([str(word) for word in words])
            except SystemExit as leave:
                code = int(leave.code or 0)
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        if kill_after is not None:
            _kill_later(child, kill_after)
        status = os.waitpid(child, 0)[1]
        said.seek(0)
        return Outcome(os.waitstatus_to_exitcode(status), said.read().decode("utf-8", "replace"))


def _kill_later(child: int, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        # WNOWAIT leaves the status for the one who waits for it
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)


def at_operation(folder: Path, number: int, act: Fault) -> Callable[[], None]:
    """A fault that calls `act` in front of operation `number` (from 0) below `folder` and of every later one."""
    below, seen = os.path.realpath(folder), [0]

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        path = _written(event, arguments)
        if path is not None and os.path.realpath(path).startswith(below):
            seen[0] += 1
            if seen[0] > number:
                act(event, path)

    return lambda: sys.addaudithook(hook)


def count_operations(words: Words, folder: Path) -> int:
    """How many operations the command does below `folder`; it is run for that, undisturbed."""
    with tempfile.NamedTemporaryFile() as counted:

        def note(_event: str, _path: str) -> None:
            os.write(descriptor, b".")

        descriptor = os.open(counted.name, os.O_WRONLY | os.O_APPEND)
        outcome = run(words, at_operation(folder, 0, note))
        os.close(descriptor)
        if outcome.code:
            raise SystemExit(f"{' '.join(map(str, words))}: {outcome.said}")
        return Path(counted.name).stat().st_size


def killed(_event: str, _path: str) -> None:
    """As by a power cut."""
    os.kill(os.getpid(), signal.SIGKILL)


def disk_full(event: str, path: str) -> None:
    """As the file system says it; removing is still possible."""
    if event not in ("os.remove", "os.rmdir"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)


def _written(event: str, arguments: tuple[Any, ...]) -> str | None:
    """The path of an operation that changes files; None for any other event."""
    if event == "open":
        path, mode, flags = arguments
        changes = any(letter in (mode or "") for letter in "wax+") or bool((flags or 0) & WRITES)
        return os.fsdecode(path) if changes and isinstance(path, str | bytes | os.PathLike) else None
    if event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink"):
        path = arguments[0]
        return os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else None
    return None


# -- what commands leave -----------------------------------------------------------------------------------------------

TIMES = ("seconds", "seconds_per_image", "images_per_second")


def files_of(folder: Path) -> Mapping[str, bytes]:
    """All results below a folder by name; run folders, whose statistics hold times, are left out."""
    return {
        path.relative_to(folder).as_posix(): _result(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "runs" not in path.relative_to(folder).parts
    }


def _result(path: Path) -> bytes:
    """The bytes of a file; of a JSON file those of its values but for times, checksums of them and the machine."""
    data = path.read_bytes()
    if path.suffix != ".json":
        return data
    import json

    try:
        values = json.loads(data)
    except ValueError:
        return data
    if isinstance(values, dict):
        for name in (*TIMES, "history", "checksum"):
            values.pop(name, None)
    return json.dumps(values, sort_keys=True).encode()
