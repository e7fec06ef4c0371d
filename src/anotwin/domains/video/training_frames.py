"""Frames of clips to train on, read and resized once, whatever a view takes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from anotwin.domains.video.clips import Clip, clip_at
from anotwin.domains.video.context import OFFSETS, frames_before
from anotwin.prepare.cache import PreparedImages
from anotwin.records import Batch
from anotwin.training.protocol import Rows, TrainingSet


@dataclass(frozen=True, eq=False)
class TrainingFrames:
    """See `anotwin.training.protocol.TrainingImages`."""

    images: PreparedImages
    part: Callable[[Rows], TrainingSet]  # the squares of some frames, by their rows

    @property
    def fingerprints(self) -> Rows:
        return self.images.fingerprints

    @property
    def indices(self) -> Rows:
        return self.images.indices

    @property
    def failures(self) -> tuple[tuple[int, str], ...]:
        return self.images.failures

    def subset(self, rows: Rows) -> TrainingSet:
        """The squares of the frames `rows` alone."""
        return self.part(rows)

    def close(self) -> None:
        self.images.close()


@dataclass(frozen=True, eq=False)
class ClipSubset:
    """Some of the training frames, by number."""

    images: PreparedImages
    before: Rows  # (N, K) the rows of the frames before each
    rows: Rows

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, numbers: Rows) -> Batch:
        """The frames of these numbers (B,), (B, C, S, S), those before them, (B, K, C, S, S), and when they were."""
        rows = self.rows[numbers]
        before = self.before[rows]
        frames, count = self.images.subset(np.concatenate([rows, before.ravel()])), len(rows)
        found = frames.batch(np.arange(len(frames))).images
        when = torch.from_numpy((numbers / len(self.rows)).astype(np.float32))
        return Batch(found[:count], context=found[count:].view(*before.shape, *found.shape[1:]), when=when)


def rows_before(indices: Rows, clips: Sequence[Clip]) -> Rows:
    """The rows of the frames before each of those at `indices` (N,): (N, K); a frame that is not there is itself."""
    rows = {int(index): row for row, index in enumerate(indices)}
    found = [
        [rows.get(each, row) for each in frames_before(clip_at(clips, int(index)), int(index))]
        for row, index in enumerate(indices)
    ]
    return np.array(found, np.int64).reshape(len(indices), len(OFFSETS))
