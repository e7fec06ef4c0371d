"""One writer a folder: a lock that the operating system releases when its process ends, however it ends.

The lock is a small file in the folder, ``.anotwin.lock``, that is gone when the writer is. It names the writer for the
message to others. Whoever holds the lock also knows that temporaries there have no owner any more, and sweeps them.
"""

from __future__ import annotations

import errno
import getpass
import json
import os
import platform
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import lock_descriptor

from anotwin.errors import DataError
from anotwin.files import sweep, writing

# a file system without locks: NFS without lockd, some FUSE and container mounts
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EBADF, errno.EINVAL})
_ATTEMPTS = 100  # a lock file that its holder is just removing

_held: dict[str, tuple[int, int]] = {}  # real path -> (thread, how often): a writer may call another
_guard = threading.Lock()


@contextmanager
def one_writer(
    folder: str | Path,
    say: Callable[[str], object] = lambda _note: None,
    below: Sequence[str] = (),
    file: str | None = None,
) -> Iterator[None]:
    """Be the only process that writes into `folder`, which is made if missing; in one thread it may be nested.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, one_writer(folder), one_writer(folder):
    ...     os.listdir(folder)
    ['.anotwin.lock']

    Args:
        folder: where results go.
        say: takes a note for the user where the file system has no locks.
        below: folders in `folder`, swept of temporaries with all that lies in them.
        file: only this file of the folder is written: others may write other files there.

    Raises:
        DataError: another process, or thread, writes there (named with its host, number and start); or the folder
            cannot be written.
    """
    folder = Path(folder)
    path = folder / (".anotwin.lock" if file is None else f".{file}.lock")
    key, thread = os.path.realpath(path), threading.get_ident()
    with _guard:
        owner, depth = _held.get(key, (thread, 0))
        if owner != thread:
            raise DataError(_refusal(folder, file, f"another thread of this process, {os.getpid()}"))
        _held[key] = thread, depth + 1
    descriptor = None
    try:
        if not depth:
            with writing(folder):
                folder.mkdir(parents=True, exist_ok=True)
                descriptor = _locked(path, folder, file, say)
            if descriptor is not None:
                sweep(folder, below, file)
        yield
    finally:
        if descriptor is not None:
            with suppress(OSError):  # while it is held: nobody can have locked another file of this name meanwhile
                path.unlink()
            os.close(descriptor)
            with suppress(OSError):  # Windows removes no open file
                path.unlink() if os.name == "nt" else None
        with _guard:
            if depth:
                _held[key] = thread, depth
            else:
                del _held[key]


def _locked(path: Path, folder: Path, file: str | None, say: Callable[[str], object]) -> int | None:
    """The open and locked file at `path`; None where the file system has no locks."""
    for _ in range(_ATTEMPTS):
        descriptor, kept = _open(path, folder), False
        try:
            locked = _lock(descriptor)
            if locked is None:
                say(f"{folder}: this file system has no locks; let no other AnoTwin write there at the same time")
                path.unlink(missing_ok=True)
                return None
            if not locked:
                raise DataError(_refusal(folder, file, _holder(descriptor)))
            if _is_at(path, descriptor):
                os.ftruncate(descriptor, 0)
                os.write(descriptor, json.dumps(_myself()).encode())
                kept = True
                return descriptor
        finally:
            if not kept:
                os.close(descriptor)
    raise DataError(_refusal(folder, file, "another process"))


def _open(path: Path, folder: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from None


def _lock(descriptor: int) -> bool | None:
    """Whether it could be locked; None: there are no locks."""
    try:
        return lock_descriptor(descriptor, blocking=False)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return None
        raise


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the file is still there: its last holder may have removed it before it was locked here."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _myself() -> dict[str, Any]:
    user = ""
    with suppress(Exception):  # no such user in a container
        user = getpass.getuser()
    began = datetime.now().astimezone().isoformat(" ", "seconds")
    return {"pid": os.getpid(), "host": platform.node(), "user": user, "began": began}


def _holder(descriptor: int) -> str:
    """Who holds the lock, as its file says."""
    try:
        found = json.loads(os.pread(descriptor, 4096, 0) if hasattr(os, "pread") else os.read(descriptor, 4096))
        by = f" of {found['user']}" if found["user"] else ""
        return f"process {int(found['pid'])}{by} on {found['host']}, since {found['began']}"
    except (OSError, ValueError, KeyError, TypeError):  # Windows lets nobody read it; or it is about to be written
        return "another process"


def _refusal(folder: Path, file: str | None, who: str) -> str:
    where = folder if file is None else folder / file
    return f"{where}: another AnoTwin is writing there ({who}); wait until it has ended, or choose another --out"
