"""Which groups - patients, parts - a model was trained on, without their names, and which images belong to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch

from anotwin.data.names import same_name
from anotwin.records import ImageSource
from anotwin.seeding import derive
from anotwin.training.protocol import Rows

GROUPS, ABNORMAL, ABNORMAL_GROUPS = "groups", "abnormal", "abnormal_groups"  # among `Detector.fingerprints`


def group_marks(source: ImageSource, indices: Rows, train: Rows, name: str = GROUPS) -> dict[str, torch.Tensor]:
    """What is stored of the groups of the images at `indices`: a hash of each name, ascending; {} if none has a name.

    `train`: fingerprints of the training images, which salt the hash: the same patient has another in another model.
    `name`: what the hashes are stored as.
    A name that follows from the place of a file alone, not from a patient or from what the user said, is not stored.
    """
    groups = {group for index in indices.tolist() if (group := named_group(source, index)) is not None}
    marks = {_mark(group, int(train.min())) for group in groups}
    return {name: torch.tensor(sorted(marks), dtype=torch.int64)} if marks else {}


def prints_of(fingerprints: Mapping[str, torch.Tensor], *parts: str) -> frozenset[int]:
    """The fingerprints of images that are stored as any of `parts`."""
    return frozenset(value for part in parts if part in fingerprints for value in fingerprints[part].tolist())


def of_trained_groups(
    source: ImageSource,
    indices: Iterable[int],
    fingerprints: Mapping[str, torch.Tensor],
    kinds: Sequence[str] = (GROUPS, ABNORMAL_GROUPS),
) -> list[int]:
    """Those of `indices` whose group the model was trained on: on normal or on abnormal images of it."""
    known = prints_of(fingerprints, *kinds)
    if not known or "train" not in fingerprints or not len(fingerprints["train"]):
        return []
    salt = int(fingerprints["train"].min())
    trained: dict[str, bool] = {}
    found = []
    for index in indices:
        name = named_group(source, index)
        if name is None:
            continue
        if name not in trained:
            trained[name] = _mark(name, salt) in known
        if trained[name]:
            found.append(index)
    return found


def group_note(source: ImageSource, indices: Iterable[int], fingerprints: Mapping[str, torch.Tensor]) -> list[str]:
    """A sentence if the model was trained on groups of the images at `indices`."""
    indices = list(indices)
    found = of_trained_groups(source, indices, fingerprints)
    if not found:
        return []
    groups = len({source.items[index].group for index in found})
    return [
        f"{len(found)} of {len(indices)} images are of {groups} groups that the model was trained on (by their names): "
        "what it says of them does not hold for new groups"
    ]


def named_group(source: ImageSource, index: int) -> str | None:
    """The name of an image's group; None where it has none, or one that only its place gave it."""
    name = source.items[index].group
    return None if name is None or name in getattr(source, "positional", ()) else name


def _mark(name: str, salt: int) -> int:
    return derive(salt, "group", same_name(name))
