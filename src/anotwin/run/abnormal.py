"""Abnormal images for methods that learn from them too: opened as the normal ones are, and kept apart from these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from anotwin.data.arrays import ArraySource
from anotwin.data.names import same_name
from anotwin.domains.open import notes_of, open_source
from anotwin.domains.protocol import Domain
from anotwin.errors import DataError, SettingsError
from anotwin.methods.protocol import NO_ABNORMAL, LearnsFromAbnormal, Method
from anotwin.methods.registry import METHODS
from anotwin.records import Batch, ImageSource, ImageSpec
from anotwin.run.leaks import ABNORMAL, ABNORMAL_GROUPS, group_marks, named_group
from anotwin.seeding import derive
from anotwin.settings import Settings
from anotwin.training.protocol import Rows, TrainingImages, TrainingSet

PAIRS = 2**16  # numbers of a training set, at least: each pairs a normal square with an abnormal one


@dataclass(frozen=True, eq=False)
class Abnormal:
    """Abnormal images to learn from, prepared."""

    source: ImageSource
    images: TrainingImages
    rows: Rows  # of `images`: those that are learnt from
    notes: tuple[str, ...]  # what was left out

    @property
    def fingerprints(self) -> Rows:
        """Of the images that are learnt from."""
        return self.images.fingerprints[self.rows]

    def marks(self, train: Rows) -> dict[str, torch.Tensor]:
        """What a model stores of them, so that they are found in test data; `train`: fingerprints of the normals."""
        groups = group_marks(self.source, self.images.indices[self.rows], train, ABNORMAL_GROUPS)
        return {ABNORMAL: torch.from_numpy(self.fingerprints.astype(np.int64)), **groups}

    def beside(self, normals: TrainingSet, seed: int) -> TrainingSet:
        """Normal squares, each with an abnormal one."""
        return Beside(normals, self.images.subset(self.rows), derive(seed, "abnormal"))


@dataclass(frozen=True)
class Beside:
    """Number n: the normal square n, counted round and round, with an abnormal one drawn by (seed, n) alone."""

    normals: TrainingSet
    abnormal: TrainingSet
    seed: int

    def __len__(self) -> int:
        rounds = -(-max(PAIRS, len(self.abnormal)) // len(self.normals))
        return rounds * len(self.normals)  # each as often as the others

    def batch(self, numbers: Rows) -> Batch:
        """The squares of these numbers (B,), (B, C, S, S) of both kinds."""
        drawn = [derive(self.seed, number) % len(self.abnormal) for number in numbers.tolist()]
        normal = self.normals.batch(numbers % len(self.normals))
        return Batch(normal.images, abnormal=self.abnormal.batch(np.array(drawn, np.int64)).images)


def check_wanted(method: Method, given: Any) -> None:
    """Raise SettingsError where a method that learns from abnormal images has none, or another one is given some."""
    if isinstance(method, LearnsFromAbnormal) == (given is not None):
        return
    if given is None:
        raise SettingsError(NO_ABNORMAL.format(method=method.name))
    able = " or ".join(name for name, kind in METHODS.items() if hasattr(kind, "fewest_abnormal"))
    told = f"leave out --abnormal-images (data.abnormal_images), or take --method {able}"
    raise SettingsError(f"method {method.name} learns from normal images alone: {told}")


def open_abnormal(data: Any, domain: Domain, spec: ImageSpec, settings: Settings) -> ImageSource:
    """A folder or images in memory that are abnormal, in any layout of the domain; raises DataError, SettingsError."""
    source = open_source(data, "test", domain.own_layout, group=settings.data.group, must=False)
    return source.of_model(spec.pixel_type) if isinstance(source, ArraySource) else source


def prepare_abnormal(
    source: ImageSource,
    normals: tuple[ImageSource, TrainingImages],
    prepare: Callable[[ImageSource, Sequence[int]], TrainingImages],
    fewest: int,
) -> Abnormal:
    """All images of `source` but those that are, or whose group is, among the `normals`, held out or not.

    Those that the names of their folders call normal are left out as well. Raises DataError where fewer than `fewest`
    are left.
    """
    items = source.items
    abnormal = [index for index, item in enumerate(items) if item.normal is not True]
    named = (named_group(normals[0], index) for index in normals[1].indices.tolist())
    known = {same_name(name) for name in named if name is not None}
    other = [
        index for index in abnormal if (name := named_group(source, index)) is None or same_name(name) not in known
    ]
    left_out = {
        "of folders whose names say that they are normal": len(items) - len(abnormal),
        "of groups that the normal images have too": len(abnormal) - len(other),
    }
    if not other:
        raise DataError(f"{source.root}: {_nothing(len(items), left_out)}")
    images = prepare(source, other)
    rows = np.flatnonzero(~np.isin(images.fingerprints, normals[1].fingerprints))
    left_out |= {
        "that are among the normal images": len(images.fingerprints) - len(rows),
        "that cannot be used": len(images.failures),
    }
    if len(rows) < fewest:
        images.close()
        raise DataError(f"{source.root}: {_nothing(len(items), left_out, len(rows))}")
    notes = [f"{count} abnormal images left out: {why}" for why, count in left_out.items() if count]
    told = f"{len(rows)} abnormal images to learn from"
    return Abnormal(source, images, rows, (told, *map(str, notes_of(source)), *notes))


def _nothing(count: int, left_out: dict[str, int], left: int = 0) -> str:
    why = ", ".join(f"{number} are left out, {why}" for why, number in left_out.items() if number)
    told = f"{count} abnormal images, of which {why}" if why else f"only {count} abnormal images"
    return f"{told}; {left} are too few to learn from: name a folder of other abnormal images"
