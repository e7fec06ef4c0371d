"""The idx files of MNIST (LeCun et al. 1998) and its successors Fashion-MNIST, KMNIST and EMNIST, raw or gzipped.

A file is a big-endian header (magic 0x0000080d with d dimensions, then d sizes of 32 bits) and unsigned bytes.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from anotwin.data.claims import DEFLATE
from anotwin.data.folder import Part
from anotwin.data.sorting import count_labels
from anotwin.errors import DataError
from anotwin.records import Array, ImageItem

_IMAGES = {"train": ("train-images",), "test": ("t10k-images", "test-images")}
_ENDINGS = ("-idx3-ubyte", ".idx3-ubyte", "-idx3-ubyte.gz", ".idx3-ubyte.gz")


@dataclass(frozen=True)
class IdxSource:
    """Images of one idx file, as an `ImageSource`; raw files are memory-mapped, gzipped ones unpacked once."""

    root: str
    path: Path
    positions: tuple[int, ...]  # (N,) where in the file each item is
    items: tuple[ImageItem, ...]  # (N,)
    layout: str = "idx"

    def read(self, index: int) -> Array:
        """Native pixels (H, W) uint8 of one image; a copy."""
        return np.array(read_idx(self.path, 3)[self.positions[index]])

    def file(self, index: int) -> Path:
        """The file that holds an image."""
        del index
        return self.path

    def read_mask(self, index: int) -> None:
        """None: idx files have no masks."""


def open_idx(root: str | Path, part: Part, normal: str | None = None) -> IdxSource:
    """One part of an idx set in `root`, ``root/raw`` or ``root/*/raw``, whichever has it first.

    Known names are train-images-idx3-ubyte and t10k-images-idx3-ubyte (or test-images-...), also with ``.idx3``,
    a prefix (emnist-letters-train-images-...) and ``.gz``, beside the same with labels-idx1. Images are returned as
    stored: EMNIST stores them transposed. `normal` is the label that is normal, for example "0"; training needs it, and
    keeps only these images.

    Raises:
        DataError: no such files, damaged ones, images without labels, or a label that does not exist.
    """
    root = Path(root)
    path = find_idx(root, part)
    if path is None:
        raise DataError(f"{root}: no {_IMAGES[part][0]}-idx3-ubyte(.gz) in it, in raw/ or in */raw/")
    labels_path = _labels_path(path)
    images, codes = read_idx(path, 3), read_idx(labels_path, 1)
    if len(images) != len(codes):
        raise DataError(f"{labels_path}: {len(codes)} labels for {len(images)} images; expected one label per image")
    labels = [str(code) for code in codes.tolist()]
    counts = Counter(dict(sorted(Counter(labels).items())))
    if normal is None and part == "train":
        raise DataError(f"{root}: training on idx files needs --normal LABEL; found {count_labels(counts)}")
    if normal is not None and str(normal) not in counts:
        raise DataError(f"{path}: no label {str(normal)!r}; found {count_labels(counts)}")
    start = "train" if part == "train" else "t10k" if "t10k" in path.name else "test"
    digits = max(5, len(str(len(labels) - 1)))
    positions = tuple(i for i, label in enumerate(labels) if part == "test" or label == str(normal))
    items = tuple(
        ImageItem(f"{start}-{i:0{digits}}", labels[i], None if normal is None else labels[i] == str(normal))
        for i in positions
    )
    return IdxSource(str(root), path, positions, items)


def find_idx(root: Path, part: Part) -> Path | None:
    """The file with the images of a part, raw before gzipped; None if there is none; DataError if there are several."""
    for folder in (root, root / "raw", *sorted(root.glob("*/raw"))):
        try:
            paths = sorted(folder.iterdir(), reverse=True) if folder.is_dir() else []
        except OSError as error:
            raise DataError(f"{folder}: cannot list the folder ({error.strerror or error})") from None
        found = {
            path.name.removesuffix(".gz"): path  # in reverse order the raw file comes last and wins
            for path in paths
            if any(path.name.endswith(stem + end) for stem in _IMAGES[part] for end in _ENDINGS) and path.is_file()
        }
        if len(found) > 1:
            raise DataError(f"{folder}: several idx sets ({', '.join(sorted(found))}); keep one set per folder")
        if found:
            return next(iter(found.values()))
    return None


def read_idx(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """The array in one idx file of unsigned bytes, read-only: images (N, H, W) or labels (N,).

    Raises:
        DataError: wrong magic or number of dimensions, sizes of zero, or a length that is not exactly what they say.
    """
    try:
        state = path.stat()
        return _read_idx(path, dimensions, state.st_size, state.st_mtime_ns)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot read the idx file ({error}); fetch it again") from None


@lru_cache(maxsize=4)  # images and labels of both parts; size and time of the file are part of the key
def _read_idx(path: Path, dimensions: int, size: int, _changed: int) -> npt.NDArray[np.uint8]:
    zipped = path.name.endswith(".gz")
    start = 4 + 4 * dimensions
    with gzip.open(path) if zipped else path.open("rb") as file:
        header = file.read(start)
        shape = _shape(path, header, dimensions)
        length = int(np.prod(shape, dtype=object))
        if zipped and length > DEFLATE * size:
            raise DataError(f"{path}: truncated, {size} compressed bytes cannot hold {_text(shape)}; fetch it again")
        # one byte more than the header says would be trailing garbage; a raw file is measured, not read
        data = _at_most(file, length + 1) if zipped else bytearray()
        held = len(data) if zipped else size - start
    if held != length:
        what = "truncated" if held < length else "longer than its header says"
        raise DataError(f"{path}: {what}, expected {_text(shape)} = {length} bytes of data; fetch it again")
    if zipped:
        array = np.frombuffer(data, np.uint8).reshape(shape)
        array.flags.writeable = False
        return array
    return np.memmap(path, np.uint8, "r", start, shape)


def _at_most(file: gzip.GzipFile | IO[bytes], count: int) -> bytearray:
    """Up to `count` bytes in pieces: memory grows with what is there, not with what a header says."""
    data = bytearray()
    while len(data) < count and (piece := file.read(min(2**24, count - len(data)))):
        data += piece
    return data


def _shape(path: Path, header: bytes, dimensions: int) -> tuple[int, ...]:
    if len(header) < 4 + 4 * dimensions:
        raise DataError(f"{path}: truncated, {len(header)} bytes are no idx header; fetch it again")
    magic, *shape = struct.unpack(f">{1 + dimensions}I", header)
    if magic != 0x800 + dimensions:
        raise DataError(f"{path}: magic number 0x{magic:08x}, expected 0x{0x800 + dimensions:08x}: not this idx file")
    if 0 in shape:
        raise DataError(f"{path}: sizes {_text(shape)}, expected at least one of each")
    return tuple(shape)


def _text(shape: list[int] | tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _labels_path(path: Path) -> Path:
    name = path.name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1")
    for candidate in (path.with_name(name), path.with_name(name + ".gz")):
        if candidate.is_file():
            return candidate
    raise DataError(f"{path.with_name(name)}: no labels beside {path.name}; expected this file or it with .gz")
