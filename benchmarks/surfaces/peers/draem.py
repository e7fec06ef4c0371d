"""anomalib's DRAEM: its networks, its loss and its planted anomalies, trained for so many minutes by a plain loop.

Zavrtanik et al., "DRAEM", ICCV 2021. As anomalib has it: images stretched to 256 x 256, Adam at 1e-4, batches of 8,
Perlin masks, blended from 0.1 to 1. Its source of anomalies, the pictures of DTD, is a download of 600 MB: a folder of
procedural textures takes its place (filtered noise, waves, cells, checks, in random colours). The score of an image is
the model's own, the highest value of its map.
"""

from __future__ import annotations

import math
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.spatial import KDTree
from torch.nn import functional as F

from benchmarks.surfaces.peers.ganomaly import SIDE, stretched
from benchmarks.surfaces.peers.outcome import Floats, Outcome, Task

BATCH, RATE = 8, 1e-4
BLEND = (0.1, 1.0)
TEXTURES = 240  # in the place of DTD's 5,640 pictures


def texture(rng: np.random.Generator, side: int = SIDE) -> Any:
    """(side, side, 3) uint8: one procedural texture between two random colours."""
    rows, columns = np.mgrid[:side, :side]
    kind = int(rng.integers(4))
    angle, period = rng.uniform(0, math.pi), math.exp(rng.uniform(math.log(4), math.log(64)))
    along = rows * math.sin(angle) + columns * math.cos(angle)
    if kind == 0:
        values = gaussian_filter(rng.normal(size=(side, side)), np.exp(rng.uniform(np.log(0.5), np.log(12), 2)))
    elif kind == 1:
        values = np.sin(2 * math.pi * along / period + 2 * gaussian_filter(rng.normal(size=(side, side)), 8))
    elif kind == 2:
        points = rng.uniform(0, side, (max(int((side / period) ** 2), 4), 2))
        values = KDTree(points).query(np.stack([rows, columns], axis=-1).reshape(-1, 2))[0].reshape(side, side)
    else:
        across = columns * math.sin(angle) - rows * math.cos(angle)
        values = np.sign(np.sin(2 * math.pi * along / period) * np.sin(2 * math.pi * across / period))
    values = (values - values.min()) / max(float(np.ptp(values)), 1e-9)
    first, second = rng.uniform(0, 255, (2, 3))
    return np.rint(first + values[..., None] * (second - first)).astype(np.uint8)


def run(task: Task, side: int = SIDE) -> Outcome:
    """Train within the minutes, at least one batch, and score."""
    parts = import_module("anomalib.models.image.draem.torch_model"), import_module("anomalib.models.image.draem.loss")
    generator = import_module("anomalib.data.utils.generators.perlin").PerlinAnomalyGenerator
    model, loss_of = parts[0].DraemModel(), parts[1].DraemLoss()
    train, rng = _tensor(stretched(task.train, side)), np.random.default_rng(task.seed)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(TEXTURES):
            Image.fromarray(texture(rng, side)).save(Path(folder) / f"{number:03d}.png")
        plant = generator(anomaly_source_path=folder, blend_factor=BLEND)
        optimizer, steps, began = torch.optim.Adam(model.parameters(), lr=RATE), 0, time.perf_counter()
        while steps == 0 or time.perf_counter() - began < 60 * task.minutes:
            batch = train[torch.from_numpy(rng.integers(len(train), size=min(BATCH, len(train))))]
            planted, masks = plant(batch)
            reconstruction, prediction = model(planted)
            loss = loss_of(batch, reconstruction, masks, prediction)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps += 1
    trained = time.perf_counter()
    model.eval()
    scores: list[float] = []
    maps: list[Floats] = []
    for image in task.test:
        with torch.inference_mode():
            found = model(_tensor(stretched([image], side)))
        scores.append(float(found.pred_score))
        large = F.interpolate(found.anomaly_map[None], image.shape[:2], mode="bilinear", align_corners=False)
        maps.append(large[0, 0].numpy())
    ended = time.perf_counter()
    note = f"{steps} batches of {BATCH}, {side} x {side}, procedural textures in the place of DTD"
    return Outcome(np.array(scores, np.float32), maps, trained - began, ended - trained, note)


def _tensor(images: Any) -> torch.Tensor:
    """(N, S, S) or (N, S, S, 3) uint8 -> (N, 3, S, S) in [0, 1]."""
    pixels = torch.from_numpy(images).float() / 255
    return pixels.unsqueeze(1).repeat(1, 3, 1, 1) if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2).contiguous()
