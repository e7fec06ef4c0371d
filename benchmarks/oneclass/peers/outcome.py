"""What a detector of another library returns, and how its parts are timed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

SHORT = 0.5  # seconds: what takes less is timed three times, and the least counts, as in oneclass


@dataclass(frozen=True)
class Fitted:
    """A trained detector."""

    score: Callable[[Array], Array]  # (M, H, W) uint8 -> (M,), higher is more abnormal
    note: str  # what it was trained with, in a line


@dataclass(frozen=True)
class Outcome:
    """What one detector made of the test images."""

    scores: list[float]  # (M,)
    seconds: float  # for all M together
    training_seconds: float
    note: str


def measure(fit: Callable[[], Fitted], test: Array) -> Outcome:
    """Train, score and time both."""
    began = time.perf_counter()
    fitted = fit()
    training = time.perf_counter() - began
    seconds: list[float] = []
    while len(seconds) < 3 and (not seconds or seconds[0] < SHORT):
        began = time.perf_counter()
        scores = fitted.score(test)
        seconds.append(time.perf_counter() - began)
    return Outcome(np.asarray(scores, dtype=np.float64).tolist(), min(seconds), training, fitted.note)
