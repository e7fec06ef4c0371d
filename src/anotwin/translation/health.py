"""What a person should know of a trained translation, from held-out examples: collapsed, or colours inverted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch

from anotwin.translation.protocol import Examples
from anotwin.translation.quality import Judged

COLLAPSED = 0.25  # of the spread of B, below which translations hardly differ
INVERTED = -0.5  # correlation of an image and its translation
FEWEST = 4  # examples, below which nothing is said
ADVICE = {
    "collapsed": "the generator has collapsed: translations of different images differ from each other only "
    "{spread:.0%} as much as images of B do; train again with another training.seed or a lower training.learning_rate",
    "inverted": "colours look inverted: what is bright in A is dark in its translation (correlation {correlation:.2f}"
    "{truth}); if A and B are not meant so, raise translation.identity_weight or train with another training.seed",
    "good": "translations differ {spread:.0%} as much as images of B do; correlation of an image and its translation "
    "{correlation:.2f}{truth}",
}
Verdict = Literal["good", "collapsed", "inverted", "unknown"]


@dataclass(frozen=True)
class TranslationHealth:
    """A verdict and the numbers that it follows from."""

    verdict: Verdict
    spread: float | None
    correlation: float | None  # of the brightness of A and of its translation
    advice: str


def examine(examples: Examples, judged: Judged, aligned: bool) -> TranslationHealth:
    """The health of translations of held-out examples; label maps have no brightness to be inverted."""
    if len(examples) < FEWEST:
        return TranslationHealth("unknown", None, None, f"{len(examples)} held-out examples are too few to judge by")
    distance, found = judged.values["spread"], correlation(examples.a, judged.translated)
    if not math.isfinite(distance + found):
        return TranslationHealth("unknown", None, None, "translations are not finite; lower training.learning_rate")
    true = correlation(examples.a, examples.b) if aligned else None
    truth = "" if true is None else f", that of the real pairs {true:.2f}"
    inverted = found < INVERTED and (true is None or true > 0) and "dice" not in judged.values
    verdict: Verdict = "collapsed" if distance < COLLAPSED else "inverted" if inverted else "good"
    advice = ADVICE[verdict].format(spread=distance, correlation=found, truth=truth)
    return TranslationHealth(verdict, distance, found, advice)


def correlation(images: torch.Tensor, others: torch.Tensor) -> float:
    """Mean over pairs of images (N, C, S, S) of the correlation of their grey values; of two sizes: at the smaller.

    >>> ramp = torch.linspace(-1, 1, 64).reshape(1, 1, 8, 8)
    >>> round(correlation(ramp, -ramp), 3)
    -1.0
    """
    grey = [each.mean(1, keepdim=True) for each in (images, others)]
    side = min(each.shape[2] for each in grey)
    flat = [torch.nn.functional.adaptive_avg_pool2d(each, side).flatten(1) for each in grey]
    flat = [each - each.mean(1, keepdim=True) for each in flat]
    norms = flat[0].norm(dim=1) * flat[1].norm(dim=1)
    return float(((flat[0] * flat[1]).sum(1) / norms.clamp(min=1e-6)).mean())
