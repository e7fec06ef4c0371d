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

    Images are one group if they share `group` or content, directly or through others. Groups are held out in an order
    that depends on (seed, their names) alone: the split does not change with the order of files. How many are taken
    follows from how many there are and their mean size, which are taken does not depend on their sizes: a new group is
    drawn like one held out, small or large, which is what the false-alarm rate is promised for.

    Args:
        items: the images, n of them.
        share: of the groups to hold out, in (0, 1).
        most: images held out at most, if groups were of equal size; the surplus goes to training.
        seed: another seed, another split.
        identities: (n,) fingerprints of the content: equal ones are duplicates.

    Returns:
        (train, holdout): sorted int64 positions, disjoint, together all n, neither empty.

    Raises:
        DataError: fewer than two groups.
    """
    groups = groups_of(items, identities)
    names = sorted(groups, key=lambda name: derive(seed, "holdout", name))
    if len(names) < 2:
        raise DataError(
            f"one single image or group ({len(items)} images): need at least two, one to train on and one to hold out; "
            "add images or correct the groups (in manifest.csv, or by --group)"
        )
    fitting = max(1, most) * len(names) // len(items)
    count = min(max(1, round(share * len(names))), max(1, fitting), len(names) - 1)
    holdout = np.sort(np.array([i for name in names[:count] for i in groups[name]], dtype=np.int64))
    return np.setdiff1d(np.arange(len(items), dtype=np.int64), holdout), holdout


def split_notes(items: Sequence[ImageItem], training: Indices, heldout: Indices) -> list[str]:
    """What a person should know of a split by groups: few of them, or large ones held out."""
    if all(item.group is None for item in items):
        return []
    trained, held = (len(groups_of([items[i] for i in rows], None)) for rows in (training, heldout))
    notes = [f"{trained + held} groups: {trained} to train on, {held} held out"]
    if held <= 2:
        notes[0] += f", which allow no false-alarm rate below {1 / (held + 1):.0%}; more groups allow lower ones"
    if len(heldout) > len(items) / 2:
        notes.append(
            f"{len(heldout)} of {len(items)} images are held out, because they are in the groups that were drawn, "
            "whatever their size; groups of more equal size leave more to train on"
        )
    return notes


def groups_of(items: Sequence[ImageItem], identities: Sequence[int] | None) -> dict[str, list[int]]:
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
