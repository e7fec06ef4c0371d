"""What a detector of another library is given and returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]  # (H, W) grey or (H, W, 3), any size
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Task:
    """Images without labels, and what may be spent on them."""

    train: Sequence[Pixels]  # normal
    test: Sequence[Pixels]
    seed: int
    minutes: float  # of training


@dataclass(frozen=True)
class Outcome:
    """What one detector made of the test images."""

    scores: Floats  # (M,), higher is more abnormal
    maps: Sequence[Floats]  # M times (H, W) in the pixels of the image; empty where a detector has none
    training_seconds: float
    seconds: float  # for all M together
    note: str  # what it was trained with, in a line


def load_task(path: Path, seed: int, minutes: float) -> Task:
    """Images ``train...`` and ``test...`` of an npz file, in the order of their names."""
    with np.load(path, allow_pickle=False) as arrays:
        parts = [[arrays[name] for name in sorted(arrays) if name.startswith(part)] for part in ("train", "test")]
    return Task(parts[0], parts[1], seed, minutes)


def save(path: Path, outcome: Outcome) -> None:
    """Write an outcome as npz, which needs no pickle."""
    arrays: dict[str, Any] = {f"map{number:06d}": heat.astype(np.float32) for number, heat in enumerate(outcome.maps)}
    arrays |= {name: np.array(getattr(outcome, name)) for name in ("training_seconds", "seconds", "note")}
    np.savez(path, scores=outcome.scores, **arrays)
