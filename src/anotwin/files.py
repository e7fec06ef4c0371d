"""Atomic files: written beside their target, synced, then moved into place in one step.

A reader sees the old file or the new one, never half of one, also after an exception, Ctrl-C, a full disk or a power
cut. The folder is synced after each move, so that moves reach the disk in the order they were made.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import reprlib
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from anotwin.errors import DataError, SettingsError

_ADVICE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free space or choose another --out"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "choose an --out that you may write to"),
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), "a part of the path is a file; choose another --out"),
    errno.ENAMETOOLONG: "choose a shorter --out",
}
# of `_scratch`, and the prepared images of earlier versions
_TEMPORARY = re.compile(r"\.tmp-([0-9a-f]{8})[0-9a-f]{8}(\..{1,15})?|prepared-[a-z0-9_]{8}\.tmp", re.S)
_PROBE_BYTES = 4096  # one block: what a full disk refuses first
_MAX_DEPTH = 64  # of nested JSON; what AnoTwin writes is at most a handful deep
_MAX_KEY = 1024  # characters
_MAX_PARTS = 2**19  # keys, lists and objects: each takes some hundred bytes of memory, whatever its few in the file
_MAX_DIGITS = 300  # of an integer: below the largest double


@contextmanager
def atomic_path(path: str | Path, sync: bool = True) -> Iterator[Path]:
    """A temporary path in the folder of `path` (made if missing); at the end of the block it becomes `path`.

    On any exception, Ctrl-C included, the temporary file is removed and `path` is as it was. The temporary file exists,
    is empty and has the suffix of `path`, for writers that choose the format by it. Syncing takes some ms per file:
    without `sync`, for thousands of pictures that can be drawn again, a power cut may leave an empty one.

    Raises DataError, naming `path`, when the file cannot be written; other exceptions of the block pass unchanged.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_path(Path(folder) / "a.txt") as temporary:
    ...         _ = temporary.write_text("whole")
    ...     (Path(folder) / "a.txt").read_text()
    'whole'
    """
    path = Path(path)
    with _as_data_error(path), _scratch(path) as temporary:
        yield temporary
        if sync:
            _sync(temporary)
        temporary.replace(path)
        if sync:
            _sync_folder(path.parent)


def move(source: Path, target: Path) -> None:
    """Rename `source` to `target` in the same folder, in one step and in order; raises DataError."""
    with _as_data_error(target, source):
        source.replace(target)
        _sync_folder(target.parent)


def write_bytes_atomic(path: str | Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all; raises DataError."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text_atomic(path: str | Path, text: str) -> None:
    r"""Write `text` as UTF-8 with its line ends as they are; raises DataError.

    File names that are not valid in the file system's encoding reach Python as lone surrogates; they are written as
    ``\udcXX``, which keeps the file valid UTF-8 and is the JSON escape that reads back as the same name.
    """
    write_bytes_atomic(path, text.encode("utf-8", errors="backslashreplace"))


def write_json_atomic(path: str | Path, obj: Any) -> None:
    """Write `obj` as strict JSON (no NaN), keys in their order; raises DataError, ValueError, TypeError."""
    write_text_atomic(path, json_text(obj))


def json_text(obj: Any) -> str:
    """The text that `write_json_atomic` writes; raises ValueError for NaN and TypeError for what JSON cannot hold."""
    return json.dumps(obj, allow_nan=False, ensure_ascii=False, indent=1) + "\n"


def parse_json(data: bytes) -> Any:
    """Strict JSON from bytes of unknown origin; raises ValueError with a reason on one line.

    Refused: anything but UTF-8, NaN and Infinity in any spelling (1e999 too), a key twice in one object, keys or
    integers of absurd length, more than 64 levels, half a million keys, lists and objects (before any is made).

    >>> parse_json(b'{"a": [1, 2.5, null]}')
    {'a': [1, 2.5, None]}
    """
    if sum(data.count(mark) for mark in (b":", b"[", b"{")) > _MAX_PARTS:
        raise ValueError(f"more than {_MAX_PARTS} keys, lists and objects")
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_finite,
            parse_float=_finite,
            parse_int=_bounded_int,
        )
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 text (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error})") from None
    except RecursionError:
        raise ValueError(f"nested more than {_MAX_DEPTH} levels deep") from None
    _check_depth(value)
    return value


def check_writable(folder: str | Path) -> None:
    """Make `folder` if missing and write, sync and remove a small file in it; raises DataError.

    Call it before hours of work whose result goes there.
    """
    folder = Path(folder)
    with _as_data_error(folder), _scratch(folder / "probe") as temporary:
        temporary.write_bytes(bytes(_PROBE_BYTES))
        _sync(temporary)


def check_apart(out: str | Path, data: Any) -> None:
    """Raise SettingsError if `out` lies in the folder `data`: what is written would be found among the images later."""
    if isinstance(data, str | Path) and Path(os.path.realpath(out)).is_relative_to(os.path.realpath(data)):
        raise SettingsError(f"{out}: lies inside DATA ({data}), where it would be read as images; choose another --out")


@contextmanager
def _scratch(target: Path) -> Iterator[Path]:
    """A new empty file beside `target` that is gone at the end unless it was moved away."""
    suffix = target.suffix if len(target.suffix) <= 16 else ""  # the target's own name may be as long as names can be
    temporary = target.parent / f".tmp-{_mark(target.name)}{secrets.token_hex(4)}{suffix}"
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and not stat.S_ISREG(target.stat().st_mode):  # never replace a folder, a pipe or /dev/null
        raise OSError(errno.EINVAL, "it exists and is not a regular file", str(target))
    try:
        temporary.open("xb").close()  # not mkstemp: the umask decides who may read the result
        yield temporary
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def sweep(folder: Path, below: Sequence[str] = (), file: str | None = None) -> None:
    """Remove the temporaries that killed processes left in `folder` and, with all that lies in them, in `below`.

    `file`: only those of this file. For whoever alone may write there: see `anotwin.lock`. Nothing but files with the
    names of temporaries is touched, no link is followed, and what cannot be removed stays.
    """
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            found = _TEMPORARY.fullmatch(entry.name)
            if found and entry.is_file(follow_symlinks=False) and (file is None or found[1] == _mark(file)):
                with suppress(OSError):
                    Path(entry.path).unlink()
    for name in below:
        top = folder / name
        for place, _, names in os.walk(top) if not top.is_symlink() else ():
            for each in filter(_TEMPORARY.fullmatch, names):
                with suppress(OSError):
                    Path(place, each).unlink()


def _mark(name: str) -> str:
    """Eight digits that tell of which file a temporary is."""
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Turn an OSError about `path`, a file in it or a folder above it into a DataError that says what to do."""
    with _as_data_error(Path(path)):
        yield


@contextmanager
def _as_data_error(path: Path, *more: Path) -> Iterator[None]:
    """Turn an OSError about `path`, about a file beside it, or about no file at all (a full disk) into a DataError."""
    if "\0" in str(path):
        raise DataError(f"cannot write {str(path)!r}: the path holds a NUL character; choose another --out")
    try:
        yield
    except OSError as error:
        if not _is_about(error, path, *more):
            raise
        advice = _ADVICE.get(error.errno or 0, "choose another --out")
        raise DataError(f"cannot write {path}: {error.strerror or error}; {advice}") from None


def _is_about(error: OSError, *paths: Path) -> bool:
    if error.filename is None:
        return True
    if not isinstance(error.filename, str | bytes | os.PathLike):
        return False
    named = Path(os.fsdecode(error.filename))
    # mkdir names any of the folders above; a scratch file lies beside its target or, for a probe, within it
    return any(
        named in (path, *path.parents) or (named.name.startswith(".tmp-") and named.parent in (path, path.parent))
        for path in paths
    )


def _sync(path: Path) -> None:
    with path.open("r+b") as stream:
        os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    """Make a move durable where folders can be synced (POSIX); elsewhere the file system decides."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"key {reprlib.repr(twice)} occurs twice")
    for key in values:
        if len(key) > _MAX_KEY:
            raise ValueError(f"a key of {len(key)} characters; at most {_MAX_KEY} are allowed")
    return values


def _finite(text: str) -> float:
    value = float(text)  # "NaN", "Infinity", "-Infinity" and 1e999 all arrive here
    if not math.isfinite(value):
        raise ValueError(f"the number {reprlib.repr(text)[1:-1]} is not finite")
    return value


def _bounded_int(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"an integer of {len(text)} digits; at most {_MAX_DIGITS} are allowed")
    return int(text)


def _check_depth(value: Any) -> None:
    """Level by level, without recursion: what passes can be copied and written by recursive code."""
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node if isinstance(node, list) else ())
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise ValueError(f"nested more than {_MAX_DEPTH} levels deep")
