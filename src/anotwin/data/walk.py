"""The files below a folder: what is read, and what is passed over, counted so that it can be said."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from anotwin.errors import DataError

_SYSTEM = {"__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found", "thumbs.db", "desktop.ini"}
_TEXTS = (  # what lies beside images and is none: not worth a word
    ".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".log",
    ".html", ".htm", ".py", ".ipynb", ".sh", ".db", ".url", ".lnk", ".bib",
)  # fmt: skip
_CONVERT = {
    ".heic", ".heif", ".jp2", ".j2k", ".jpx", ".jxl", ".avif", ".psd", ".svg", ".eps", ".dng", ".cr2", ".cr3", ".nef",
    ".arw", ".orf", ".rw2", ".raf", ".raw", ".exr", ".hdr", ".tga", ".ico", ".jfif", ".jpe", ".pnm", ".pbm", ".pcx",
}  # fmt: skip


@dataclass
class Walked:
    """What was met below a folder, besides the files with the suffixes that were looked for."""

    passed: Counter[str] = field(default_factory=Counter)  # other files, by their ending
    outside: list[str] = field(default_factory=list)  # links that lead out of the folder
    dangling: list[str] = field(default_factory=list)  # links to nothing, or to themselves
    again: list[str] = field(default_factory=list)  # links to folders that are read under their own names
    special: list[str] = field(default_factory=list)  # pipes, sockets and devices with the name of an image

    def notes(self, root: Path) -> list[str]:
        """A sentence for each kind of thing that was left out."""
        notes = []
        if self.passed:
            kinds = ", ".join(f"{ending} ({count})" for ending, count in self.passed.most_common(8))
            more = f" and {len(self.passed) - 8} more endings" if len(self.passed) > 8 else ""
            advice = "; convert them to PNG or TIFF" if self.passed.keys() & _CONVERT else ""
            notes.append(f"{root}: {_count(self.passed.total(), 'file')} passed over: {kinds}{more}{advice}")
        for found, what, told in (
            (self.outside, "link", "that lead out of DATA not followed; copy what they name, or name it as DATA"),
            (self.dangling, "link", "to nothing left out"),
            (self.again, "link", "to folders that are read under their own names left out"),
            (self.special, "file", "that are no regular ones left out"),
        ):
            if found:
                first = min(found)
                notes.append(f"{root}: {_count(len(found), what)} {told} (the first: {first})")
        return notes


def walk(folder: Path, suffixes: tuple[str, ...], met: Walked | None = None) -> Iterator[str]:
    """Files below `folder` with one of `suffixes` (lower case) as posix paths, in no order.

    Left out are hidden files, what operating systems leave behind, and links that lead out of `folder`, which itself
    may be one. Every real folder is entered once, under its own name if it lies within, so that links cannot loop.

    Args:
        folder: where to look.
        suffixes: of the files wanted.
        met: takes what was left out.

    Raises:
        DataError: a folder that cannot be listed.
    """
    met = Walked() if met is None else met
    base = os.path.realpath(folder)
    entered = {base}
    linked: list[tuple[Path, str]] = []
    yield from _walk(folder, "", suffixes, met, base, entered, linked)
    while linked:  # after the real folders
        path, prefix = linked.pop(0)
        real = os.path.realpath(path)
        if real in entered:
            met.again.append(prefix.rstrip("/"))
            continue
        entered.add(real)
        yield from _walk(path, prefix, suffixes, met, base, entered, linked)


def _walk(
    folder: Path,
    prefix: str,
    suffixes: tuple[str, ...],
    met: Walked,
    base: str,
    entered: set[str],
    linked: list[tuple[Path, str]],
) -> Iterator[str]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{folder}: cannot list the folder ({error.strerror or error})") from None
    for entry in entries:
        name = prefix + entry.name
        if entry.name.startswith(".") or entry.name.casefold() in _SYSTEM:
            continue
        kind = _kind(entry, base)
        if kind == "below":
            if entry.is_symlink():
                linked.append((Path(entry.path), f"{name}/"))
            elif (real := os.path.realpath(entry.path)) not in entered:
                entered.add(real)
                yield from _walk(Path(entry.path), f"{name}/", suffixes, met, base, entered, linked)
        elif kind in ("outside", "dangling"):
            getattr(met, kind).append(name)
        elif not entry.name.lower().endswith(suffixes):
            if (ending := _ending(entry.name)) is not None:
                met.passed[ending] += 1
        elif kind == "file":
            yield name
        else:
            met.special.append(name)


def _kind(entry: os.DirEntry[str], base: str) -> str:
    """below (a folder), file, special, or of a link: outside, dangling."""
    try:
        if entry.is_symlink():
            real = os.path.realpath(entry.path)
            if not Path(real).exists():
                return "dangling"
            if real != base and not real.startswith(base.rstrip(os.sep) + os.sep):
                return "outside"
        return "below" if entry.is_dir() else "file" if entry.is_file() else "special"
    except OSError:  # a link to itself
        return "dangling"


def _ending(name: str) -> str | None:
    """The ending under which a file is counted; None for texts."""
    if name.lower().endswith(".nii.gz"):
        return ".nii.gz"
    stem, dot, ending = name.lower().rpartition(".")
    if not dot or not stem or len(ending) > 8:
        return None if name.casefold().startswith(("readme", "license", "licence", "copying")) else "no ending"
    return None if f".{ending}" in _TEXTS else f".{ending}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
