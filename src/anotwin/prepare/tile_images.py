"""Images as pyramids of tiles: read for scoring, and kept for training, which takes random tiles of all levels."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from anotwin.errors import DataError
from anotwin.prepare.cache import ArrayFile, no_space
from anotwin.prepare.patch_images import EACH
from anotwin.prepare.patch_index import round_order
from anotwin.prepare.pyramid import Level, pyramid
from anotwin.prepare.resize import check_image, to_models
from anotwin.prepare.stream import UNUSABLE, Parts, in_processes, named
from anotwin.records import Array, Batch, ImageSource, ImageSpec
from anotwin.seeding import derive, fingerprint

FINEST = 0.55  # of the training tiles are of level 0, which has most to learn; the other levels share the rest evenly
PLACES = 4  # of which most training tiles are at the first that is not plain: a part can fill little of its picture
PLAIN, ANYWHERE = 1 / 3, 0.25  # of the largest spread among them; share of tiles that lie anywhere
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ReadImage:
    """One image of a source with its levels; none, and the `error` why, where it cannot be used."""

    index: int
    error: str = ""
    fingerprint: int | None = None  # of the native pixels
    pixels: Array | None = field(default=None, repr=False)  # native
    levels: tuple[Level, ...] = field(default=(), repr=False)


def read_images(
    source: ImageSource,
    indices: Sequence[int] | Rows,
    spec: ImageSpec,
    scale: float | None = None,
    workers: int = 0,
) -> Iterator[ReadImage]:
    """The images at `indices`, in that order, one at a time; see `anotwin.prepare.stream.stream` for `workers`."""
    return in_processes(_Images(source, spec, indices, scale), workers, source.root)


@dataclass(frozen=True)
class _Images(Parts[ReadImage]):
    source: ImageSource
    spec: ImageSpec
    indices: Sequence[int] | Rows
    scale: float | None

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, number: int) -> ReadImage:
        index = int(self.indices[number])
        try:
            pixels = self.source.read(index)
            check_image(pixels, self.spec)
            levels = pyramid(pixels, self.spec.size, self.spec.channels, self.scale)
            return ReadImage(index, "", fingerprint(pixels), pixels, levels)
        except UNUSABLE as error:
            return ReadImage(index, named(self.source.items[index].id, error))


def cut_tiles(places: Sequence[tuple[Level, int, int]], spec: ImageSpec) -> torch.Tensor:
    """Tiles by their level, row and column, as the model takes them: (n, C, S, S)."""
    size, parts = spec.size, []
    tiles = [level.pixels[row : row + size, column : column + size] for level, row, column in places]
    begin = 0
    for end in range(1, len(tiles) + 1):  # those of one type are made together
        if end == len(tiles) or (tiles[end].dtype, tiles[end].ndim) != (tiles[begin].dtype, tiles[begin].ndim):
            parts.append(to_models(np.stack(tiles[begin:end]), spec)[0])
            begin = end
    return torch.cat(parts)


@dataclass(frozen=True, eq=False)
class TileImages:
    """Training images as pyramids, in the type of their files; see `anotwin.training.protocol.TrainingImages`."""

    pyramids: tuple[tuple[Level, ...], ...]  # (N,)
    fingerprints: Rows  # (N,) of the native images
    indices: Rows  # (N,) in the source
    failures: tuple[tuple[int, str], ...]  # (index in the source, one line): images that are not among them
    spec: ImageSpec
    seed: int  # of the places of tiles
    file: Path | None = None  # where the pyramids lie if they did not fit into memory

    def subset(self, rows: Rows) -> TileSubset:
        """2^20 tiles of the images `rows` alone; no image is copied."""
        return TileSubset([self.pyramids[row] for row in rows.tolist()], self.spec, self.seed)

    def whole(self, rows: Rows) -> torch.Tensor:
        """The images `rows` as a whole, their coarsest levels stretched to a square: (n, C, S, S)."""
        coarsest = [self.pyramids[row][-1] for row in rows.tolist()]
        seen = [level.pixels[: level.height, : level.width] for level in coarsest]
        return torch.cat([to_models(pixels[None], self.spec)[0] for pixels in seen])

    def close(self) -> None:
        """Delete the file, if there is one; the images must not be used after that. Twice does no harm."""
        if self.file is not None:
            with contextlib.suppress(OSError):  # Windows keeps a mapped file; it lies in a temporary place
                self.file.unlink(missing_ok=True)


class TileSubset:
    """Random tiles of some images, none of them stored: tile k follows from (seed, k) alone.

    They come in rounds, in each one of every image: images give equally many, whatever their size. Three in four are at
    the first of several places that is not plain beside the others: of textures that is the first of all.
    """

    def __init__(self, images: Sequence[tuple[Level, ...]], spec: ImageSpec, seed: int) -> None:
        self.images, self.spec, self.seed = images, spec, seed
        self._key = derive(seed, "tiles", "places")

    def __len__(self) -> int:
        return EACH

    def __getitem__(self, k: int) -> tuple[int, int, int, int]:
        """Tile k: its image, level, row and column; raises IndexError outside of 0 .. 2^20 - 1."""
        if not 0 <= k < EACH:
            raise IndexError(f"tile {k} of {EACH}")
        turn, place = divmod(int(k), len(self.images))
        image = int(round_order(self.seed, turn, len(self.images))[place])
        first, second = (int(draw) for draw in np.random.Philox(key=self._key, counter=int(k)).random_raw(2))
        apart = np.random.Philox(key=self._key, counter=int(k) + (1 << 64))  # a step of the counter is four words
        others = [int(draw) for draw in apart.random_raw(PLACES)]
        levels = self.images[image]
        level = _level(first / 2**64, len(levels))
        rows, columns = (side - self.spec.size + 1 for side in levels[level].pixels.shape[:2])
        places = [divmod(draw * rows * columns >> 64, columns) for draw in (second, *others[1:])]
        if others[0] / 2**64 < ANYWHERE:
            return image, level, *places[0]
        spreads = [_spread(levels[level].pixels[row:, column:], self.spec.size) for row, column in places]
        return image, level, *places[next(n for n, each in enumerate(spreads) if each >= PLAIN * max(spreads))]

    def batch(self, numbers: Rows) -> Batch:
        """The tiles of these numbers (B,) in 0 .. 2^20 - 1: (B, C, S, S) float32 in [-1, 1]."""
        places = [self[number] for number in numbers.tolist()]
        corners = [(self.images[image][level], row, column) for image, level, row, column in places]
        tiles = cut_tiles(corners, self.spec)
        return Batch(tiles.clamp(-1, 1))  # training needs that range; queries keep what is brighter


def _spread(pixels: Array, size: int) -> float:
    """Of every fourth pixel a side of the first `size`, each channel about its own mean."""
    return float(pixels[:size:4, :size:4].std((0, 1), dtype=np.float64).mean())


def _level(draw: float, count: int) -> int:
    if draw < FINEST or count == 1:
        return 0
    return 1 + min(int((draw - FINEST) / (1 - FINEST) * (count - 1)), count - 2)


def prepare_tiles(
    source: ImageSource,
    indices: Sequence[int] | Rows,
    spec: ImageSpec,
    seed: int,
    scale: float | None = None,
    memory_mb: int = 1024,
    folder: Path | None = None,
    workers: int = 0,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> TileImages:
    """Read the images at `indices` once, for training; see `prepare_images` for the arguments.

    Raises:
        DataError: no image or less than half of them can be read (quotes the first failure), or the disk is full.
    """
    store = _Store(memory_mb * 2**20, folder)
    failures: list[tuple[int, str]] = []
    prints: list[int] = []
    kept: list[int] = []
    try:
        for done, image in enumerate(read_images(source, indices, spec, scale, workers), start=1):
            if image.fingerprint is None:
                failures.append((image.index, image.error))
            else:
                store.add(image.levels)
                prints.append(image.fingerprint)
                kept.append(image.index)
            if 2 * len(failures) > len(indices):
                break
            progress(done, len(indices))
        if not kept or 2 * len(failures) > len(indices):
            first = f"; the first: {failures[0][1]}" if failures else ""
            raise DataError(f"{source.root}: {len(failures)} of {len(indices)} images cannot be used{first}")
        identity = np.array(prints, np.int64), np.array(kept, np.int64)
        return TileImages(store.finish(), *identity, tuple(failures), spec, seed, store.path)
    except BaseException as error:
        store.discard()
        if isinstance(error, OSError):
            raise no_space(str(store.path or "memory"), store.bytes, error) from None
        raise


class _Store:
    """Pyramids in memory or, from the one that exceeds `most` bytes on, all of them in one file."""

    def __init__(self, most: int, folder: Path | None) -> None:
        self.most, self.folder, self.bytes = most, folder, 0
        self._images: list[tuple[Level, ...]] = []
        self._file: ArrayFile | None = None
        self._places: list[list[tuple[int, tuple[int, ...], np.dtype[Any], int, int]]] = []

    @property
    def path(self) -> Path | None:
        return self._file.path if self._file else None

    def add(self, levels: tuple[Level, ...]) -> None:
        self._images.append(levels)
        if self._file is None and self.bytes + _bytes(levels) > self.most:
            self._file, self.bytes = ArrayFile.create(self.folder, self.bytes, (0,), np.dtype(np.uint8)), 0
        if self._file is None:
            self.bytes += _bytes(levels)
            return
        for image in self._images:
            self._places.append([])
            for level in image:
                place = self.bytes, level.pixels.shape, level.pixels.dtype, level.height, level.width
                self._places[-1].append(place)
                self._file.append(level.pixels)
                self.bytes += level.pixels.nbytes
        self._images = []

    def finish(self) -> tuple[tuple[Level, ...], ...]:
        if self._file is None:
            return tuple(self._images)
        flat = self._file.finish(self.bytes)
        return tuple(
            tuple(
                Level(flat[at : at + math.prod(shape) * dtype.itemsize].view(dtype).reshape(shape), height, width)
                for at, shape, dtype, height, width in image
            )
            for image in self._places
        )

    def discard(self) -> None:
        if self._file is not None:
            self._file.discard()


def _bytes(levels: Sequence[Level]) -> int:
    return sum(level.pixels.nbytes for level in levels)
