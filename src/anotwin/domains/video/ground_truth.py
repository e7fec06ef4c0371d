"""What MATLAB files of published sets say: which frames are abnormal (UCSD), the masks of a whole clip (Avenue)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from anotwin.data.pixels import one_line
from anotwin.errors import DataError

_ENTRY = re.compile(r"\{\s*([^}]*?)\s*\}\s*\.\s*gt_frame\s*=\s*\[([^\]]*)\]")
_RANGE = re.compile(r"(\d+)(?::(\d+))?(?::(\d+))?")
_MOST = 10_000_000  # frames of a clip: a number beyond is a damaged file


def abnormal_frames(path: Path) -> dict[int, frozenset[int]]:
    """The abnormal frames of each test clip, both from 1, by the official lists of UCSD Ped1 and Ped2.

    Their lines are ``TestVideoFile{end+1}.gt_frame = [5:90, 140:200];``: ranges, steps (``1:2:9``), single numbers.

    Raises:
        DataError: the file cannot be read, has no such line, or one that is no list of frames.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"{path}: cannot read the file ({error.strerror or error})") from None
    text = re.sub(r"\.\.\.[^\n]*\n", " ", re.sub(r"%[^\n]*", "", text))  # comments; lines that go on
    found: dict[int, frozenset[int]] = {}
    for index, frames in _ENTRY.findall(text):
        number = int(index) if index.isdigit() else max(found, default=0) + 1  # else: end+1
        found[number] = frozenset(_numbers(frames, path))
    if not found:
        raise DataError(
            f"{path}: no list of frames in it; expected lines such as TestVideoFile{{end+1}}.gt_frame = [61:180];"
        )
    return found


def _numbers(text: str, path: Path) -> list[int]:
    found: list[int] = []
    for part in re.split(r"[\s,;]+", re.sub(r"\s*:\s*", ":", text).strip()):
        if not part:
            continue
        match = _RANGE.fullmatch(part)
        numbers = [int(each) for each in match.groups() if each] if match else []
        if not numbers or max(numbers) > _MOST:
            raise DataError(f"{path}: {part!r} in a list of frames; expected numbers and ranges such as 61:180")
        step = numbers[1] if len(numbers) == 3 else 1
        found += range(numbers[0], numbers[-1] + 1, max(step, 1))
    return found


@dataclass(frozen=True)
class ClipMasks:
    """The masks of all frames of a clip, a bit a pixel."""

    shape: tuple[int, int]  # of each
    bits: npt.NDArray[np.uint8]  # (frames, bytes)

    def __len__(self) -> int:
        return len(self.bits)

    def frame(self, number: int) -> npt.NDArray[np.bool_]:
        """(H, W) True where marked; `number` from 0."""
        height, width = self.shape
        return np.unpackbits(self.bits[number], count=height * width).reshape(self.shape).astype(bool)

    def marked(self) -> npt.NDArray[np.bool_]:
        """(frames,) whether anything is marked."""
        return np.asarray(self.bits.any(axis=1))


def clip_masks(path: Path) -> ClipMasks:
    """The masks in a .mat file: as in Avenue ``volLabel``, a cell array of (H, W), or ``vol``, of (H, W, frames).

    Values above half of the highest of their frame are marked. The clip read last is kept.

    Raises:
        DataError: the file cannot be read, or holds no such array.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise DataError(f"{path}: cannot read the file ({error.strerror or error})") from None
    return _clip_masks(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=1)
def _clip_masks(path: Path, _changed: int, _size: int) -> ClipMasks:
    frames = _frames(path, _variables(path))
    shapes = {frame.shape for frame in frames}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2:
        raise DataError(f"{path}: masks of shapes {sorted(shapes)[:3]}, expected one of (height, width) for all frames")
    bits = [np.packbits(frame > frame.max(initial=0) / 2) for frame in frames]
    height, width = next(iter(shapes))
    return ClipMasks((height, width), np.stack(bits))


def _variables(path: Path) -> dict[str, Any]:
    from scipy.io import loadmat

    try:
        return {name: value for name, value in loadmat(path).items() if not name.startswith("__")}
    except NotImplementedError:
        raise DataError(f"{path}: a MATLAB file of version 7.3, which is not read; save it with -v7") from None
    except MemoryError:
        raise
    except Exception as error:  # of damaged files anything
        raise DataError(f"{path}: cannot be read as a MATLAB file, is it damaged? ({one_line(error)})") from None


def _frames(path: Path, variables: dict[str, Any]) -> list[npt.NDArray[Any]]:
    """(H, W) each."""
    value = next((variables[name] for name in ("volLabel", "vol") if name in variables), None)
    if value is None and len(variables) == 1:
        value = next(iter(variables.values()))
    value = np.asarray(0 if value is None else value)
    if value.dtype == object and value.size:  # a cell array
        return [np.asarray(cell.toarray() if hasattr(cell, "toarray") else cell) for cell in value.ravel()]
    if value.ndim == 3 and value.dtype.kind in "buif":
        return list(np.moveaxis(value, 2, 0))
    raise DataError(
        f"{path}: variables {', '.join(sorted(variables)) or 'none'}; expected volLabel, a cell array of masks, or vol"
    )
