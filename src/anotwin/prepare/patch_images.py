"""Images as training patches: cut at random places when they are asked for, and never stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from anotwin.prepare.patch_index import PatchIndex
from anotwin.records import Batch

EACH = 2**20  # patches of a set of images: more than any training takes, so that few are drawn twice


@dataclass(frozen=True, eq=False)
class PatchImages:
    """Prepared images of any size, larger than a patch; what training takes from them."""

    pixels: tuple[npt.NDArray[np.uint8], ...]  # (N,) of (h, w): 0 stands for -1 and 255 for 1
    valid: tuple[npt.NDArray[np.bool_], ...]  # (N,) of (h, w)
    fingerprints: npt.NDArray[np.int64]  # (N,) of the native images
    indices: npt.NDArray[np.int64]  # (N,) in the source
    failures: tuple[tuple[int, str], ...]  # (index in the source, one line): images that are not among them
    size: int  # side of a patch
    seed: int  # of the places of patches
    reference: Mapping[str, Any] = field(default_factory=dict)  # plain JSON that the model keeps: what images are like

    def subset(self, rows: npt.NDArray[np.int64]) -> PatchSubset:
        """2^20 patches of the images `rows` alone; no image is copied."""
        index = PatchIndex([self.valid[row] for row in rows], self.size, EACH, self.seed)
        return PatchSubset([self.pixels[row] for row in rows], index)

    def close(self) -> None:
        """Nothing lies on disk."""


@dataclass(frozen=True, eq=False)
class PatchSubset:
    """Patches of some images, by number."""

    images: list[npt.NDArray[np.uint8]]
    index: PatchIndex

    def __len__(self) -> int:
        return len(self.index)

    def batch(self, numbers: npt.NDArray[np.int64]) -> Batch:
        """The patches of these numbers (B,) in 0 .. 2^20 - 1: (B, 1, S, S) float32 in [-1, 1]."""
        found = self.index.patches(self.images, numbers)
        # C order whatever the order of the images' memory: a sum over an image adds its pixels in memory order
        return Batch(torch.from_numpy(found[:, None].astype(np.float32, order="C") / 127.5 - 1))
