"""Flattened scans as training images: patches at random places, cut when they are asked for and never stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from anotwin.errors import DataError
from anotwin.prepare.patch_index import PatchIndex
from anotwin.prepare.scans import Indices, flat_scans, levels
from anotwin.records import ImageSource

EACH = 2**20  # patches of a set of scans: more than any training sees, so that it seldom sees one twice


@dataclass(frozen=True, eq=False)
class PatchImages:
    """Scans laid flat, 51 kB each; what training takes from them. The counterpart of `PreparedImages`."""

    bands: tuple[npt.NDArray[np.uint8], ...]  # (N,) of (h, w)
    valid: tuple[npt.NDArray[np.bool_], ...]  # (N,) of (h, w)
    fingerprints: npt.NDArray[np.int64]  # (N,) of the native scans
    indices: npt.NDArray[np.int64]  # (N,) in the source
    failures: tuple[tuple[int, str], ...]  # scans that are not among them
    size: int  # side of a patch
    seed: int
    _sets: list[tuple[npt.NDArray[np.int64], PatchIndex]] = field(default_factory=list)

    def positions(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """What `batch` takes, for patches of the scans `rows` of these alone: (2^20,)."""
        index = PatchIndex([self.valid[row] for row in rows], self.size, EACH, self.seed)
        self._sets.append((rows, index))
        begin = (len(self._sets) - 1) * EACH
        return np.arange(begin, begin + EACH, dtype=np.int64)

    def batch(self, positions: npt.NDArray[np.int64]) -> torch.Tensor:
        """The patches at `positions` (B,): (B, 1, S, S) float32 in [-1, 1]."""
        found = np.empty((len(positions), self.size, self.size), np.uint8)
        for number, (rows, index) in enumerate(self._sets):
            mine = np.flatnonzero(positions // EACH == number)
            if len(mine):
                found[mine] = index.patches(_Some(self.bands, rows), positions[mine] % EACH)
        return torch.from_numpy(found[:, None].astype(np.float32) / 127.5 - 1)

    def close(self) -> None:
        """Nothing lies on disk."""


@dataclass(frozen=True, eq=False)
class _Some(Sequence[npt.NDArray[np.uint8]]):
    """The bands at `rows`, none of them copied."""

    bands: tuple[npt.NDArray[np.uint8], ...]
    rows: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> npt.NDArray[np.uint8]:  # type: ignore[override]  # no slices are asked for
        band: npt.NDArray[np.uint8] = self.bands[self.rows[place]]
        return band


def prepare_patches(
    source: ImageSource,
    indices: Indices,
    size: int,
    seed: int,
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> PatchImages:
    """Find and flatten the retinas of the scans at `indices` once.

    Args:
        source, indices: which scans.
        size: side of the patches.
        seed: of their places.
        workers: processes, see `flat_scans`.
        progress: called with (scans done, scans in all).

    Raises:
        DataError: no scan, or less than half of them, can be used (quotes the first failure).
    """
    bands, valid, prints, kept, failures = [], [], [], [], []
    for done, scan in enumerate(flat_scans(source, indices, workers), start=1):
        if scan.flat is None or scan.fingerprint is None:
            failures.append((scan.index, scan.error))
        else:
            bands.append(levels(scan.flat.pixels))
            valid.append(scan.flat.valid)
            prints.append(scan.fingerprint)
            kept.append(scan.index)
        if progress is not None:
            progress(done, len(indices))
    if not kept or 2 * len(failures) > len(indices):
        first = f"; the first: {failures[0][1]}" if failures else ""
        raise DataError(f"{source.root}: {len(failures)} of {len(indices)} scans cannot be used{first}")
    return PatchImages(
        tuple(bands), tuple(valid), np.array(prints, np.int64), np.array(kept, np.int64), tuple(failures), size, seed
    )
