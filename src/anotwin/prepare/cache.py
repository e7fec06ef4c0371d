"""The training images, decoded and resized once: in memory if they fit, else in a memory-mapped file."""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import torch

from anotwin.errors import DataError
from anotwin.prepare.stream import stream
from anotwin.records import Array, Batch, ImageSource, ImageSpec

_BATCH = 64


@dataclass(frozen=True, eq=False)
class PreparedImages:
    """Model images as integers: 0 stands for -1 and the type's largest value for 1. `close` when done."""

    array: Array  # (N, C, S, S) uint8 for an 8-bit spec, else uint16; read-only if it lies in a file
    fingerprints: npt.NDArray[np.int64]  # (N,)
    indices: npt.NDArray[np.int64]  # (N,) in the source
    failures: tuple[tuple[int, str], ...]  # (index in the source, one line): images that are not in the array
    file: Path | None = None  # where the array lies if it did not fit into memory

    def subset(self, rows: npt.NDArray[np.int64]) -> ImageSubset:
        """The images `rows` alone; nothing is copied."""
        return ImageSubset(self, rows)

    @cached_property
    def values(self) -> npt.NDArray[np.float32]:
        """The value of each of the 256 or 65536 levels, computed once in double precision."""
        full = np.iinfo(self.array.dtype).max
        return (np.arange(full + 1, dtype=np.float64) * (2 / full) - 1).astype(np.float32)

    def close(self) -> None:
        """Delete the file, if there is one; the array must not be used after that. Twice does no harm."""
        if self.file is not None:
            with contextlib.suppress(OSError):  # Windows keeps a mapped file; it lies in a temporary place
                self.file.unlink(missing_ok=True)


@dataclass(frozen=True, eq=False)
class ImageSubset:
    """Some of the prepared images, by number."""

    images: PreparedImages
    rows: npt.NDArray[np.int64]  # (n,) of the images

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, numbers: npt.NDArray[np.int64]) -> Batch:
        """The images of these numbers (B,) in 0 .. n - 1: (B, C, S, S) float32 in [-1, 1]."""
        return Batch(torch.from_numpy(self.images.values[self.images.array[self.rows[numbers]]]))


def prepare_images(
    source: ImageSource,
    indices: Sequence[int] | npt.NDArray[np.int64],
    spec: ImageSpec,
    memory_mb: int = 1024,
    folder: Path | None = None,
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> PreparedImages:
    """Read and resize the images at `indices` once.

    Values outside the learnt range (an outlier in 16-bit or float images) are clipped to it, unlike in a query:
    training needs [-1, 1]. 8-bit images of the model's size are kept exactly.

    Args:
        source, indices, spec: which images, and what the model takes.
        memory_mb: MiB above which the array goes to a file.
        folder: where that file lies; None: the system's temporary folder.
        workers: decoding processes, see `stream`.
        progress: called with (images done, images in all) after each batch.

    Raises:
        DataError: no image or less than half of them can be read (quotes the first failure), or the disk is full.
    """
    dtype = np.dtype(np.uint8 if spec.pixel_type == "uint8" else np.uint16)
    shape = (len(indices), spec.channels, spec.size, spec.size)
    size = math.prod(shape) * dtype.itemsize
    store = (
        _Memory(np.empty(shape, dtype)) if size <= memory_mb * 2**20 else ArrayFile.create(folder, size, shape, dtype)
    )
    try:
        return _fill(store, source, indices, spec, workers, progress)
    except BaseException as error:
        store.discard()
        if isinstance(error, OSError):
            raise no_space(str(store.path or "memory"), size, error) from None
        raise


def _fill(
    store: _Memory | ArrayFile,
    source: ImageSource,
    indices: Sequence[int] | npt.NDArray[np.int64],
    spec: ImageSpec,
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> PreparedImages:
    total = len(indices)
    fingerprints: list[int] = []
    kept: list[int] = []
    failures: list[tuple[int, str]] = []
    full = float(np.iinfo(store.dtype).max)
    for batch in stream(source, indices, spec, _BATCH, workers, keep_pixels=False):
        unit = (batch.images.numpy().astype(np.float64) + 1) / 2
        store.append(np.rint(np.clip(unit, 0, 1) * full).astype(store.dtype))
        fingerprints += batch.fingerprints
        kept += batch.indices
        failures += batch.failures
        if 2 * len(failures) > total:
            break
        if progress is not None:
            progress(len(kept) + len(failures), total)
    if not kept or 2 * len(failures) > total:
        first = f"; the first: {failures[0][1]}" if failures else ""
        raise DataError(
            f"{source.root}: {len(failures)} of the {len(kept) + len(failures)} images read so far ({total} in all) "
            f"cannot be used{first}"
        )
    found, places = np.array(fingerprints, np.int64), np.array(kept, np.int64)
    return PreparedImages(store.finish(len(kept)), found, places, tuple(failures), store.path)


def no_space(where: str, size: int, error: OSError) -> DataError:
    return DataError(
        f"{where}: cannot keep {size / 2**20:.0f} MiB of prepared images ({error.strerror or error}); "
        "free space or raise --set data.memory_mb"
    )


class _Memory:
    path = None

    def __init__(self, array: Array) -> None:
        self.array, self.dtype = array, array.dtype
        self.count = 0

    def append(self, images: Array) -> None:
        self.array[self.count : self.count + len(images)] = images
        self.count += len(images)

    def finish(self, count: int) -> Array:
        return self.array[:count]

    def discard(self) -> None:
        pass


@dataclass(frozen=True)
class ArrayFile:
    """Written as an ordinary file: a full disk is an OSError then; writing to a mapped file would kill the process.

    Where files can be removed while they are open, it has no name from the start: nothing is left after a kill.
    """

    path: Path
    file: IO[bytes]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @classmethod
    def create(cls, folder: Path | None, size: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> ArrayFile:
        try:
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
            file = tempfile.NamedTemporaryFile(  # noqa: SIM115 (closed in finish or discard)
                prefix="prepared-", suffix=".tmp", dir=folder, delete=False
            )
            if os.name == "posix":
                Path(file.name).unlink()
        except OSError as error:
            raise no_space(str(folder or tempfile.gettempdir()), size, error) from None
        return cls(Path(file.name), file, shape, dtype)

    def append(self, images: Array) -> None:
        self.file.write(np.ascontiguousarray(images).data)

    def finish(self, count: int) -> Array:
        self.file.flush()
        with self.file as file:  # closed: the map keeps what it needs
            return np.memmap(file, self.dtype, "r", shape=(count, *self.shape[1:]))

    def discard(self) -> None:
        with contextlib.suppress(OSError):  # closing flushes, which fails again on a full disk
            self.file.close()
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
