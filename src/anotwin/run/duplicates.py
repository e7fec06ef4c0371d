"""Near-duplicates among the training images that nobody has grouped: groups of them, and what the user is told."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path

import numpy as np

from anotwin.domains.registry import domain_of_view
from anotwin.errors import DataError
from anotwin.methods.protocol import Method
from anotwin.prepare.near import FEWEST, Near, describe, find_near, nearest_ratio
from anotwin.records import ImageItem, ImageSource
from anotwin.training.protocol import Rows, ShowsWhole, TrainingImages
from anotwin.updates import Watch

CHUNK = 256
TOO_NEAR = 0.3  # of the typical distance: four of four sets of bursts lay below it, and no set of independent images
NAME_THEM = "name what belongs together with --group (a column of manifest.csv, folder, or a pattern such as '{}_*')"


@dataclass(frozen=True)
class Duplicates:
    """The images of a training, in the groups of their near-duplicates."""

    items: tuple[ImageItem, ...]  # (n,) of the images, in their order
    near: Near | None  # of those without a group of their own; None: nothing was looked for
    compared: Rows  # (m,) those

    def notes(self, training: Rows, heldout: Rows) -> list[str]:
        """What the user is to know of near-duplicates, after the split."""
        if self.near is None:
            return []
        notes = self.cluster_notes("stays on one side of the split and counts once")
        place = np.full(len(self.items), -1, np.int64)
        place[self.compared] = np.arange(len(self.compared))
        training, heldout = (place[rows][place[rows] >= 0] for rows in (training, heldout))
        ratio = nearest_ratio(self.near, training, heldout) if self.near.bursts and len(heldout) else 1.0
        if ratio < TOO_NEAR:
            notes.append(
                "held-out images are nearly identical to training images (the nearest at "
                f"{ratio:.2f} of the usual distance): the false-alarm rate does not hold for new parts, patients or "
                f"scenes; {NAME_THEM}"
            )
        return notes

    def cluster_notes(self, what: str) -> list[str]:
        """How many near-duplicates there are, and what happens to them."""
        if self.near is None or not self.near.clusters:
            return []
        sizes = sorted(map(len, self.near.clusters))
        size = f"{sizes[0]} to {sizes[-1]}" if sizes[0] < sizes[-1] else f"{sizes[0]}"
        found = f"{sum(sizes)} of {len(self.items)} images are nearly identical to others"
        return [f"{found}, in {len(sizes)} groups of {size}: a group {what}; better {NAME_THEM}"]


def find_duplicates(
    images: TrainingImages, items: Sequence[ImageItem], *, parts: bool = False, join: bool = True
) -> Duplicates:
    """The near-duplicates among the images without a group.

    `parts`: squares are parts of images, which are not compared unless the images show what they are as a whole.
    `join`: near-duplicates become groups.
    """
    items = tuple(items)
    free = np.array([row for row, item in enumerate(items) if item.group is None], np.int64)
    whole = images if isinstance(images, ShowsWhole) else None
    if (parts and whole is None) or len(free) < FEWEST:
        return Duplicates(items, None, free)
    squares = images.subset(free)
    chunks = [np.arange(start, min(start + CHUNK, len(free))) for start in range(0, len(free), CHUNK)]
    shown = (whole.whole(free[chunk]) if whole else squares.batch(chunk).images for chunk in chunks)
    near = find_near(np.concatenate([describe(each) for each in shown]))
    near = near if join else replace(near, clusters=())
    grouped = list(items)
    for cluster in near.clusters:
        rows = free[list(cluster)].tolist()
        for row in rows:
            grouped[row] = replace(items[row], group=f"near-duplicates of {items[rows[0]].id}")
    return Duplicates(tuple(grouped), near, free)


def with_duplicates(
    source: ImageSource, indices: Sequence[int], method: Method, watch: Watch
) -> tuple[ImageSource, list[str]]:
    """A source of normals to calibrate on, with its near-duplicates as groups if it has none, and a note.

    Its images are read for this once more than for their scores: `watch` shows a bar.
    """
    if method.spec.parts or len(indices) < FEWEST or any(source.items[index].group is not None for index in indices):
        return source, []
    view = domain_of_view(method.spec.view).view()
    with tempfile.TemporaryDirectory(prefix="anotwin-") as scratch:
        try:
            images = view.training(source, indices, method.spec, method.settings, Path(scratch), watch)
        except DataError:  # most cannot be read: said when the others are scored
            return source, []
        try:
            found = find_duplicates(images, [source.items[index] for index in images.indices.tolist()])
            return regrouped(source, images.indices, found.items), found.cluster_notes("counts once")
        finally:
            images.close()


def regrouped(source: ImageSource, indices: Rows, items: Sequence[ImageItem]) -> ImageSource:
    """The source with these items at `indices`: what is calibrated on it counts near-duplicates as one."""
    changed = list(source.items)
    for index, item in zip(indices.tolist(), items, strict=True):
        changed[index] = item
    if tuple(changed) == source.items or not is_dataclass(source):
        return source
    return replace(source, items=tuple(changed))
