"""anomalib's GANomaly on images stretched to its default of 256 x 256: inputs in [-1, 1], until its loss falls no more.

Akcay et al., "GANomaly", ACCV 2018. Trained as in benchmarks/oneclass/peers/ganomaly.py, which says why not as shipped,
but never longer than the minutes given. Its score is a distance of latent codes: it has no maps.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.oneclass.peers import ganomaly
from benchmarks.surfaces.peers.outcome import Outcome, Pixels, Task

SIDE = 256  # pixels; anomalib's default


def stretched(images: Sequence[Pixels], side: int = SIDE) -> Pixels:
    """Images of any size -> (N, side, side), (N, side, side, 3) where they are coloured."""
    rows = []
    for image in images:
        pixels = torch.from_numpy(np.atleast_3d(image)[..., :3]).permute(2, 0, 1)[None].float()
        resized = F.interpolate(pixels, (side, side), mode="bilinear", antialias=True, align_corners=False)
        rows.append(resized.round().clamp(0, 255).byte()[0].permute(1, 2, 0).numpy())
    stacked: Pixels = np.stack(rows)
    return stacked[..., 0] if stacked.shape[3] == 1 else stacked


def run(task: Task, side: int = SIDE) -> Outcome:
    """Train within the minutes, and score."""
    fit = ganomaly.reachable(stretched(task.train, side), task.seed, task.minutes)
    began = time.perf_counter()
    fitted = fit()
    trained = time.perf_counter()
    scores = np.concatenate(
        [fitted.score(stretched(task.test[k : k + 32], side)) for k in range(0, len(task.test), 32)]
    )
    return Outcome(scores.astype(np.float32), [], trained - began, time.perf_counter() - trained, fitted.note)
