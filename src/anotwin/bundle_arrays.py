"""Arrays in the reference of a model: what a view keeps to compare with is JSON, and pictures are too large for that.

`history["reference"]` may hold tensors, at any depth of its dicts. In a model folder they lie among the weights, under
the path of their keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

REFERENCE = "reference"
PREFIX = f"{REFERENCE}."


def apart(history: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The history without the tensors of its reference, and these by name.

    >>> apart({"steps": 3, "reference": {"golden": {"pictures": torch.zeros(2), "heat": 1.0}}})
    ({'steps': 3, 'reference': {'golden': {'heat': 1.0}}}, {'reference.golden.pictures': tensor([0., 0.])})
    """
    if REFERENCE not in history:
        return dict(history), {}
    arrays: dict[str, torch.Tensor] = {}
    return {**history, REFERENCE: _without(history[REFERENCE], PREFIX, arrays)}, arrays


def together(history: Mapping[str, Any], arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The history as it was before `apart`; raises ValueError where there is no place for an array."""
    found = dict(history)
    for name, values in arrays.items():
        *path, last = name.split(".")
        place = found
        for key in path:
            if not isinstance(place.get(key), dict):
                raise ValueError(f"{name!r} has no place in the history")
            place[key] = place = dict(place[key])
        if last in place:
            raise ValueError(f"{name!r} is there twice")
        place[last] = values
    return found


def _without(values: Any, prefix: str, arrays: dict[str, torch.Tensor]) -> Any:
    if not isinstance(values, Mapping):
        return values
    kept = {}
    for key, value in values.items():
        if isinstance(value, torch.Tensor):
            arrays[prefix + key] = value
        else:
            kept[key] = _without(value, f"{prefix}{key}.", arrays)
    return kept
