"""One image after scoring, before it is decided on: what whole images and patches of a scan have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from anotwin.prepare.retina import Retina
from anotwin.records import Array, Status

TERMS = ("score", "anomaly", "residual", "discrimination", "discriminator", "mean_residual")

Pictures = Callable[[float], dict[str, Array]]  # heat that counts as 1 -> query, counterpart, difference, heatmap


@dataclass(frozen=True, eq=False)
class Scored:
    """What a method says of one image of a source; with an `error` there is nothing else but perhaps a status."""

    index: int  # in the source
    error: str = ""
    fingerprint: int | None = None
    values: dict[str, float] = field(default_factory=dict)  # TERMS
    status: Status | None = None
    heat: npt.NDArray[np.float32] | None = None  # of any shape: of the model's pixels, in units of pixels in [0, 1]
    pictures: Pictures | None = None
    retina: Retina | None = None  # of an OCT scan that was read
    excluded: bool = False  # the model was trained on it: not scored


def not_finite(name: str) -> str:
    """The error of an image whose networks gave no number."""
    return f"{name}: no counterpart found: its loss was never finite; is the model damaged?"


def as_values(comparison: Any, reduce: Callable[[npt.NDArray[np.float64]], float]) -> dict[str, float]:
    """The terms of a comparison, (B,) each, made one number each."""
    return {name: reduce(getattr(comparison, name).double().cpu().numpy()) for name in TERMS}
