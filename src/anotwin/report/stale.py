"""Pictures of earlier runs: what no longer belongs to an image of a result folder is removed, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from anotwin.report.files import disk_errors

KINDS = ("counterparts", "heatmaps")  # folders of pictures of single images


def picture_files(folder: Path, name: str) -> tuple[Path, Path]:
    """Where the picture of this name may lie in a folder of one kind: deep counterparts are TIFF files."""
    return folder / name, (folder / name).with_suffix(".tif")


def pictures_of(out: Path, names: Iterable[str]) -> Iterator[Path]:
    """All pictures of these names, of every kind."""
    return (path for name in names for kind in KINDS for path in picture_files(out / kind, name))


def remove(paths: Iterable[Path], out: Path, until: Path | None = None) -> None:
    """Remove files below `out`, and the folders that are empty then.

    `until`: only files that are not younger than this one. Pictures are written before the table of their run: one
    that is younger has been changed or put there by somebody else. Nothing is removed through a link.

    Raises DataError where a file cannot be removed.
    """
    newest = None if until is None else until.stat().st_mtime_ns
    folders: set[Path] = set()
    for path in paths:
        try:
            state = path.lstat()
        except OSError:
            continue
        linked = any((out / part).is_symlink() for part in (path.relative_to(out), *path.relative_to(out).parents))
        if not path.is_file() or linked or (newest is not None and state.st_mtime_ns > newest):
            continue
        with disk_errors(path):
            path.unlink()
        folders.update(folder for folder in path.parents if folder != out and folder.is_relative_to(out))
    for folder in sorted(folders, reverse=True):  # the inner ones first
        with suppress(OSError):
            folder.rmdir()
