"""How good a translation is on held-out examples, during training: which snapshot becomes the model, and what is shown.

All in units of pixels in [0, 1]; c is the translation of a.

    l1            mean |c - b|, of pairs
    psnr, ssim    of pairs, means over images; ssim as scikit-image computes it (windows of 7 pixels)
    cycle         mean |a' - a| and |b' - b|, a' and b' translated there and back; without pairs
    statistics    how far translations are from what B shows: mean over the grey values and three octaves of detail of
                  the distance between their distributions (Wasserstein, 1-D), over the spread of B's
    accuracy      of label maps: share of pixels with the right class
    dice          of label maps: mean over the classes of 2 |c and b| / (|c| + |b|)
    spread        mean difference between two translations, over that between two images of B; near 0: collapsed
    error         what is chosen by, lowest first: of pairs l1 + 0.1 statistics, so that of two as near to the truth the
                  sharper wins, or l1 where training is without a discriminator; without pairs cycle + statistics; of
                  label maps 1 - dice
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from skimage import metrics

from anotwin.translation.protocol import Direction, Examples, TranslationMethod

AT_ONCE = 8  # examples through the networks
OCTAVES = 3  # of detail
QUANTILES = 128  # of a distribution
SHARPNESS = 0.1  # weight of `statistics` beside l1
ROWS = 6  # examples in a sample grid
FULL = 2.0  # black to white in model values
BEST = 100.0  # dB of an image that equals the truth, whose PSNR is infinite
similarity: Callable[..., Any] = metrics.structural_similarity


@dataclass(frozen=True)
class Judged:
    """What was measured of a method on held-out examples."""

    values: dict[str, float]
    pictures: torch.Tensor  # (n, C, S, S) for a grid of `columns`: input, translation, target or the way back
    columns: int
    translated: torch.Tensor  # (N, C_B, S, S) all translations of A


def judge(method: TranslationMethod, examples: Examples) -> Judged:
    """Translate held-out examples and measure; the method's networks are in evaluation mode."""
    c = translated(method, examples.a, "AtoB")
    values: dict[str, float] = {}
    columns = [examples.a, c, examples.b]
    if method.spec.aligned:
        values |= (
            _of_labels(c, examples.b, method.spec.b.classes)
            if method.spec.b.classes
            else _of_pairs(c, examples.b, SHARPNESS if method.settings.translation.adversarial else 0.0)
        )
    else:
        values |= _of_domains(method, examples, c, columns)
    values["spread"] = spread(c) / max(spread(examples.b), 1e-6)
    return Judged({name: float(value) for name, value in values.items()}, _pictures(columns), len(columns), c)


def translated(method: TranslationMethod, images: torch.Tensor, direction: Direction) -> torch.Tensor:
    """Images (N, C, S, S) of the other domain, on the CPU."""
    parts = [method.translate(part, direction).float().cpu() for part in torch.split(images, AT_ONCE)]
    return torch.cat(parts)


def spread(images: torch.Tensor) -> float:
    """Mean |x - y| of two images (N, C, S, S), estimated from ten shifts; 0 of a single one."""
    shifts = range(1, min(len(images), 11))
    return float(np.mean([float((images - images.roll(shift, 0)).abs().mean()) / FULL for shift in shifts] or [0.0]))


def statistics_distance(images: torch.Tensor, real: torch.Tensor) -> float:
    """How far the distributions of grey values and of detail of images (N, C, S, S) are from those of real ones.

    >>> real = torch.rand(8, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    >>> statistics_distance(real, real), statistics_distance(real + 0.1, real) > 0.05
    (0.0, True)
    """
    distances = []
    for band, own in zip(_bands(images), _bands(real), strict=True):
        found, wanted = (_quantiles(each) for each in (band, own))  # (C, Q)
        unit = (wanted - wanted.mean(1, keepdim=True)).abs().mean(1).clamp(min=1e-3)
        distances.append(float(((found - wanted).abs().mean(1) / unit).mean()))
    return float(np.mean(distances))


def _of_pairs(c: torch.Tensor, b: torch.Tensor, sharpness: float) -> dict[str, float]:
    psnr, ssim = [], []
    for ours, theirs in zip(c.numpy(), b.numpy(), strict=True):
        mean = float(np.square(ours - theirs, dtype=np.float64).mean())
        psnr.append(10 * math.log10(FULL**2 / mean) if mean else BEST)
        ssim.append(similarity(theirs, ours, data_range=FULL, channel_axis=0))
    l1, distance = float((c - b).abs().mean()) / FULL, statistics_distance(c, b)
    values = {"l1": l1, "psnr": float(np.mean(psnr)), "ssim": float(np.mean(ssim)), "statistics": distance}
    return values | {"error": l1 + sharpness * distance}


def _of_labels(c: torch.Tensor, b: torch.Tensor, classes: tuple[int, ...]) -> dict[str, float]:
    ours, theirs = ((each + 1) * (255 / FULL) for each in (c, b))
    found = [((ours - value).abs() < 0.5, (theirs - value).abs() < 0.5) for value in classes]
    dice = [
        float(2 * (one & other).sum() / (one.sum() + other.sum())) for one, other in found if bool((one | other).any())
    ]
    return {
        "accuracy": float(((ours - theirs).abs() < 0.5).float().mean()),
        "dice": float(np.mean(dice)),
        "error": 1 - float(np.mean(dice)),
    }


def _of_domains(
    method: TranslationMethod, examples: Examples, c: torch.Tensor, columns: list[torch.Tensor]
) -> dict[str, float]:
    """Of two domains without pairs; `columns` become a, its translation and the way back, then the same of b."""
    distance = [statistics_distance(c, examples.b)]
    cycle = [0.0]
    if "BtoA" in method.directions:
        back, d = translated(method, c, "BtoA"), translated(method, examples.b, "BtoA")
        again = translated(method, d, "AtoB")
        distance.append(statistics_distance(d, examples.a))
        cycle = [float((x - y).abs().mean()) / FULL for x, y in ((back, examples.a), (again, examples.b))]
        columns[:] = [examples.a, c, back, examples.b, d, again]
    values = {"cycle": float(np.mean(cycle)), "statistics": float(np.mean(distance))}
    return values | {"error": values["cycle"] + values["statistics"]}


def _bands(images: torch.Tensor) -> list[torch.Tensor]:
    """The images themselves, and what each halving of their resolution takes away."""
    bands, coarse = [images], images
    for _ in range(OCTAVES):
        if min(coarse.shape[2:]) < 2:
            break
        even = coarse[:, :, : coarse.shape[2] // 2 * 2, : coarse.shape[3] // 2 * 2]
        coarse = F.avg_pool2d(even, 2)
        bands.append(even - F.interpolate(coarse, scale_factor=2, mode="nearest"))
    return bands


def _quantiles(band: torch.Tensor) -> torch.Tensor:
    """(C, Q) of the pixels of each channel, in [0, 1]."""
    values = band.transpose(0, 1).flatten(1).numpy() / FULL
    return torch.from_numpy(np.quantile(values, (np.arange(QUANTILES) + 0.5) / QUANTILES, axis=1).T.astype(np.float32))


def _pictures(columns: list[torch.Tensor]) -> torch.Tensor:
    """The first examples row by row, all in as many channels and of one size: smaller ones with larger pixels."""
    channels, side = max(each.shape[1] for each in columns), max(each.shape[2] for each in columns)
    shown = [F.interpolate(each[:ROWS].expand(-1, channels, -1, -1), (side, side), mode="nearest") for each in columns]
    return torch.stack(shown, 1).flatten(0, 1)
