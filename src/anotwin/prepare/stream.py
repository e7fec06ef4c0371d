"""Images read and prepared in batches, in order, in the main process or in workers.

An image that cannot be used becomes a failure with its message. At most a few batches are in memory.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import pickle
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

from anotwin.data.pixels import one_line
from anotwin.errors import DataError
from anotwin.prepare.resize import check_image, to_models
from anotwin.records import Array, Geometry, ImageSource, ImageSpec
from anotwin.seeding import fingerprint
from anotwin.threads import cores

PREFETCH = 2  # batches that each worker prepares ahead
AT_ONCE = 2**18  # native values that are prepared together: many small images, or one large one
WAITING = 2**29  # bytes of native pixels that may wait for their pictures, in all batches that are under way
T = TypeVar("T")
NO_MEMORY = "does not fit into memory; tile it or make it smaller"
UNUSABLE = DataError, OSError, ValueError, MemoryError  # what an image that cannot be used raises


class Parts(Dataset[T], Generic[T]):
    """Work in numbered parts, each made by itself; pickled into every process."""

    def __len__(self) -> int:
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class PreparedBatch:
    """Some images of a source, ready for the model; `failures` are those that were asked for and could not be read."""

    indices: tuple[int, ...]  # (B,) in the source
    images: torch.Tensor  # (B, C, S, S) float32
    fingerprints: tuple[int, ...]  # (B,) of the native pixels
    geometries: tuple[Geometry, ...]  # (B,)
    pixels: tuple[Array | None, ...]  # (B,) native, None of a large image; empty if not kept
    failures: tuple[tuple[int, str], ...]  # (index, one line)


def stream(
    source: ImageSource,
    indices: Sequence[int] | npt.NDArray[np.int64],
    spec: ImageSpec,
    batch_size: int,
    workers: int = 0,
    keep_pixels: bool = True,
) -> Iterator[PreparedBatch]:
    """The images at `indices`, prepared, in that order; the values do not depend on `workers`.

    Workers are started by a fork server (spawned where there is none), because forking a process in which torch has
    threads can hang; a script that uses them therefore needs ``if __name__ == "__main__":``.

    Args:
        source, indices, spec: which images in which order, and what the model takes.
        batch_size: images a batch, failures included; the last batch may be smaller.
        workers: decoding processes, at most one a core and a batch; 0 decodes in this one.
        keep_pixels: hand out the native pixels too, but for images so large that a batch of them would take more than
            its share of 512 MiB: these are to be read again, one at a time.

    Raises:
        DataError: a worker died (out of memory) or did not start.
    """
    most = WAITING // (batch_size * (1 + workers * PREFETCH)) if keep_pixels else -1
    batches = _Batches(source, spec, indices, batch_size, most)
    for batch in in_processes(batches, workers, source.root):
        yield _collate(batch, spec)


def in_processes(parts: Parts[T], workers: int, root: str) -> Iterator[T]:
    """All of `parts`, in order, each made in one of `workers` processes; 0: in this one. See `stream`."""
    workers = min(workers, len(parts), cores())
    if workers == 0:
        for number in range(len(parts)):
            yield parts[number]
        return
    try:
        yield from _loader(parts, workers)
    except (RuntimeError, EOFError, OSError, pickle.PicklingError) as error:
        raise DataError(
            f"{root}: a decoding process ended or did not start ({one_line(error)}); try --set data.workers=0"
        ) from None


@dataclass(frozen=True)
class _Decoded:
    """A batch as a worker returns it: numpy, since tensors would need shared memory, which containers limit."""

    indices: list[int] = field(default_factory=list)
    images: list[npt.NDArray[np.float32]] = field(default_factory=list)  # (n, C, S, S) each
    fingerprints: list[int] = field(default_factory=list)
    geometries: list[Geometry] = field(default_factory=list)
    pixels: list[Array | None] = field(default_factory=list)
    failures: list[tuple[int, str]] = field(default_factory=list)


_Read = list[tuple[int, Array]]  # images in order: index in the source, native pixels


@dataclass(frozen=True)
class _Batches(Parts[_Decoded]):
    source: ImageSource
    spec: ImageSpec
    indices: Sequence[int] | npt.NDArray[np.int64]
    batch_size: int
    most: int  # bytes of an image whose pixels are kept; -1: none are

    def __len__(self) -> int:
        return math.ceil(len(self.indices) / self.batch_size)

    def __getitem__(self, number: int) -> _Decoded:
        decoded = _Decoded()
        begin = number * self.batch_size
        for group in self._groups(map(int, self.indices[begin : begin + self.batch_size]), decoded):
            if group:
                self._prepare(group, decoded)
        return decoded

    def _groups(self, indices: Iterable[int], decoded: _Decoded) -> Iterator[_Read]:
        """Neighbours of one shape and type, which are prepared together; some are empty. `decoded` takes failures."""
        group: _Read = []
        for index in indices:
            try:
                pixels = self.source.read(index)
                check_image(pixels, self.spec)
            except UNUSABLE as error:
                yield group  # before the failure: results are in order
                group = []
                self._fail(index, error, decoded)
                continue
            last = group[-1][1] if group else pixels
            same = last.shape == pixels.shape and last.dtype == pixels.dtype
            if not same or (len(group) + 1) * pixels.size > AT_ONCE:
                yield group
                group = []
            group.append((index, pixels))
        yield group

    def _prepare(self, group: _Read, decoded: _Decoded) -> None:
        """Add images to `decoded`, all at once or, where that fails, one by one."""
        indices, pixels = [index for index, _ in group], [each for _, each in group]
        try:
            images, geometry = to_models(np.stack(pixels) if len(pixels) > 1 else pixels[0][None], self.spec)
        except UNUSABLE as error:
            if len(group) == 1:
                self._fail(indices[0], error, decoded)
            else:
                for each in group:
                    self._prepare([each], decoded)
            return
        decoded.indices.extend(indices)
        decoded.images.append(images.numpy())
        decoded.fingerprints.extend(map(fingerprint, pixels))
        decoded.geometries.extend([geometry] * len(group))
        if self.most >= 0:
            decoded.pixels.extend(each if each.nbytes <= self.most else None for each in pixels)

    def _fail(self, index: int, error: BaseException, decoded: _Decoded) -> None:
        decoded.failures.append((index, named(self.source.items[index].id, error)))


def named(image: str, error: BaseException) -> str:
    """Why this image cannot be used, on one line that names it."""
    message = NO_MEMORY if isinstance(error, MemoryError) else one_line(error)
    return message if image in message else f"{image}: {message}"


def _collate(decoded: _Decoded, spec: ImageSpec) -> PreparedBatch:
    empty = np.empty((0, spec.channels, spec.size, spec.size), np.float32)
    return PreparedBatch(
        indices=tuple(decoded.indices),
        images=torch.from_numpy(np.concatenate(decoded.images) if decoded.images else empty),  # (B, C, S, S)
        fingerprints=tuple(decoded.fingerprints),
        geometries=tuple(decoded.geometries),
        pixels=tuple(decoded.pixels),
        failures=tuple(decoded.failures),
    )


def _loader(parts: Parts[T], workers: int) -> DataLoader[T]:
    return DataLoader(
        parts,
        batch_size=None,  # each element is whole
        num_workers=workers,
        prefetch_factor=PREFETCH,
        collate_fn=_as_is,
        worker_init_fn=_end_with_parent,
        multiprocessing_context=_context(),
        generator=torch.Generator(),  # the loader draws a seed: not from the global generator
    )


def _as_is(batch: Any) -> Any:
    return batch


def _end_with_parent(_worker: int) -> None:
    """In a worker: end as soon as the process that asked for it has, however it ended.

    The loader's own watch asks whether the process that forked the worker lives: the fork server, which in turn lives
    as long as one of its workers. After a kill of the main process they would wait for each other for ever.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()  # by a pipe whose other end the main process holds
        os._exit(1)

    threading.Thread(target=wait, name="end with parent", daemon=True).start()


def _context() -> Any:
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # torch is imported once, in the server
    return context
