"""Background subtraction, and patches around what differs from the background: unlike those of training?

The background is the median of training frames, and what a frame differs from it by is taken relative to the median
difference, so that a cloud moves nothing. Patches lie where view `moving` lays them (`moving_places`). Each is a vector
of two planes at half size: the difference from the background and that from the frame before, appearance and motion.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from anotwin.domains.video.moving import MOST, moving_places
from anotwin.methods.frames import context_of
from anotwin.records import ImageSpec
from anotwin.training.protocol import TrainingSet
from benchmarks.video.baselines import Baseline, Evidence

SHARE, LEAST = 8, 16  # a patch is an eighth of the side, at least so many pixels: a walker
FRAMES, OF_BACKGROUND = 1024, 64  # training frames, evenly spaced, that patches and the background are learnt from
NEIGHBOURS, COMPONENTS = 5, 64


class MovingPatches(Evidence):
    """Heat is the distance of a patch where it lies, the highest where several do, and 0 elsewhere."""

    background: Tensor  # (C, S, S)

    def __init__(self, spec: ImageSpec) -> None:
        super().__init__(spec)
        self.size = max(LEAST, spec.size // SHARE)
        self.width = 2 * (self.size // 2) ** 2  # D of a vector
        self.register_buffer("background", torch.zeros(spec.channels, spec.size, spec.size))

    def distances(self, vectors: Tensor) -> Tensor:
        """Of vectors (p, D) from what training showed: (p,) >= 0."""
        raise NotImplementedError

    def learn(self, vectors: Tensor) -> None:
        """Remember vectors (n, D) of training."""
        raise NotImplementedError

    def remember(self, normals: TrainingSet) -> None:
        numbers = np.unique(np.linspace(0, len(normals) - 1, min(FRAMES, len(normals))).astype(np.int64))
        some = normals.batch(numbers[:: -(-len(numbers) // OF_BACKGROUND)]).images
        self.background.copy_(some.median(0).values)
        found = []
        for part in np.array_split(numbers, -(-len(numbers) // 32)):
            batch = normals.batch(part).to(self.background.device)
            pairs = zip(batch.images, context_of(batch), strict=True)
            found += [self.vectors(frame, before)[0] for frame, before in pairs]
        self.learn(torch.cat(found))

    def vectors(self, frame: Tensor, before: Tensor) -> tuple[Tensor, list[tuple[int, int]]]:
        """The patches of a frame (C, S, S) as vectors (p, D), and their corners (p)."""
        apart = (frame - self.background).mean(0)
        apart = apart - apart.median()
        planes = torch.stack([apart, (frame - before[-1]).mean(0)])
        shown = apart[None].cpu().numpy()
        corners = [
            (int(top), int(left)) for top, left in moving_places(shown, np.zeros_like(shown)[None], self.size).tolist()
        ]
        size = self.size
        cut = torch.stack([planes[:, top : top + size, left : left + size] for top, left in corners])
        return F.avg_pool2d(cut, 2).flatten(1), corners

    def forward(self, frame: Tensor, before: Tensor) -> Tensor:
        vectors, corners = self.vectors(frame, before)
        heat = torch.zeros(frame.shape[1:], device=frame.device)
        for value, (top, left) in zip(self.distances(vectors), corners, strict=True):
            part = heat[top : top + self.size, left : left + self.size]
            part.clamp_(min=float(value))
        return heat


class Nearest(MovingPatches):
    """Mean distance to the nearest patches of training."""

    known: Tensor  # (n, D)
    count: Tensor  # () of these that are filled

    def __init__(self, spec: ImageSpec) -> None:
        super().__init__(spec)
        self.register_buffer("known", torch.zeros(FRAMES * MOST, self.width))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def learn(self, vectors: Tensor) -> None:
        self.known[: len(vectors)] = vectors
        self.count.fill_(len(vectors))

    def distances(self, vectors: Tensor) -> Tensor:
        known = self.known[: int(self.count)]
        return torch.cdist(vectors, known).topk(min(NEIGHBOURS, len(known)), largest=False).values.mean(1)


class Components(MovingPatches):
    """What the first principal components leave of a patch: its norm."""

    middle: Tensor  # (D,)
    axes: Tensor  # (D, k) orthonormal

    def __init__(self, spec: ImageSpec) -> None:
        super().__init__(spec)
        self.register_buffer("middle", torch.zeros(self.width))
        self.register_buffer("axes", torch.zeros(self.width, min(COMPONENTS, self.width // 2)))

    def learn(self, vectors: Tensor) -> None:
        middle = vectors.double().mean(0)
        apart = vectors.double() - middle
        found = torch.linalg.eigh(apart.T @ apart).eigenvectors  # ascending
        self.middle.copy_(middle)
        self.axes.copy_(found[:, -self.axes.shape[1] :])

    def distances(self, vectors: Tensor) -> Tensor:
        apart = vectors - self.middle
        left: Tensor = (apart - apart @ self.axes @ self.axes.T).norm(dim=1)
        return left


class NearestPatches(Baseline):
    """Background subtraction and kNN."""

    name, kind = "patches_knn", Nearest


class PrincipalPatches(Baseline):
    """Background subtraction and PCA."""

    name, kind = "patches_pca", Components
