"""Held-out normals: images of one group (a patient, a part, duplicates) are never on both sides of a split."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from anotwin.errors import DataError
from anotwin.records import ImageItem
from anotwin.seeding import derive

Indices = npt.NDArray[np.int64]


def split_holdout(
    items: Sequence[ImageItem], share: float, most: int, seed: int, identities: Sequence[int] | None = None
) -> tuple[Indices, Indices]:
    """Positions for training and positions held out; whole groups only.

    Images are one group if they share `group` or content, directly or through others. Groups are taken in an order
    that depends on (seed, their names) alone, as long as they fit: the split does not change with the order of files.
    Where not even one group fits, the smallest is held out.

    Args:
        items: the images, n of them.
        share: of the images to hold out, in (0, 1); met from below as closely as whole groups allow.
        most: images held out at most; the surplus goes to training.
        seed: another seed, another split.
        identities: (n,) fingerprints of the content: equal ones are duplicates.

    Returns:
        (train, holdout): sorted int64 positions, disjoint, together all n, neither empty.

    Raises:
        DataError: fewer than two groups.
    """
    groups = _groups(items, identities)
    names = sorted(groups, key=lambda name: derive(seed, "holdout", name))
    if len(names) < 2:
        raise DataError(
            f"one single image or group ({len(items)} images): need at least two, one to train on and one to hold out; "
            "add images or correct the groups in manifest.csv"
        )
    limit = min(max(1, round(share * len(items))), max(1, most))
    chosen: list[int] = []
    left = len(names)
    for name in names:
        if left > 1 and len(chosen) + len(groups[name]) <= limit:
            chosen += groups[name]
            left -= 1
    if not chosen:
        chosen = groups[min(names, key=lambda name: len(groups[name]))]
    holdout = np.sort(np.array(chosen, dtype=np.int64))
    return np.setdiff1d(np.arange(len(items), dtype=np.int64), holdout), holdout


def _groups(items: Sequence[ImageItem], identities: Sequence[int] | None) -> dict[str, list[int]]:
    """Connected components of the images, each under the smallest name in it."""
    ties: list[list[Hashable]] = [[("group", item.group)] if item.group is not None else [] for item in items]
    if identities is not None:
        for tied, identity in zip(ties, identities, strict=True):
            tied.append(("content", int(identity)))
    nodes: dict[Hashable, int] = {}
    edges = [(i, len(items) + nodes.setdefault(tie, len(nodes))) for i, tied in enumerate(ties) for tie in tied]
    size = len(items) + len(nodes)
    ends = np.array(edges, dtype=np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), shape=(size, size))
    of = connected_components(graph, directed=False)[1][: len(items)]
    members: dict[int, list[int]] = {}
    for position, component in enumerate(of.tolist()):
        members.setdefault(component, []).append(position)
    names = [f"group {item.group}" if item.group is not None else f"image {item.id}" for item in items]
    return {min(names[i] for i in group): group for group in members.values()}
