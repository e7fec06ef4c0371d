"""From-scratch methods to compare with: PCA and nearest neighbours of patches, and a plain convolutional autoencoder.

`light` is a control: the mean and the spread of an image's grey values, which say what was photographed and how, and
nothing of defects. Where it tells defects, normal and abnormal images of a set are not of the same kind.

All see images at their native resolution (halved until the longer side is at most 512 pixels), learn from all training
images, and score an image by the highest value of its map. Nothing in them was chosen by a label.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn
from torch.nn import functional as F

from anotwin.prepare.patches import cut, grid_positions, stitch
from anotwin.run.device import fabric_for
from anotwin.updates import Update, Watch
from benchmarks.common.classical import Score, reconstruction
from benchmarks.common.kept import Outcome
from benchmarks.common.rows import Floats
from benchmarks.surfaces.intervals import Heat
from benchmarks.surfaces.sets import Pixels

LARGEST = 512  # pixels of the longer side
PATCH, STRIDE = 16, 8
REMEMBERED, COMPONENTS = 10_000, 32  # training patches, of PCA
TILE, STEP = 64, 32  # of the autoencoder
CODES, BATCH, RATE = 128, 64, 1e-3
SIGMA = 2.0  # pixels, of the autoencoder's residual: it smooths the grain, which no autoencoder draws


def outcome_of(
    images: Sequence[Pixels], score: Callable[[Floats], Heat], training: float, note: str, watch: Watch
) -> Outcome:
    """Maps of images, and their highest values."""
    began, heats = time.perf_counter(), []
    for number, image in enumerate(images, start=1):
        reduced = _reduced(image)
        heats.append(_enlarged(score(reduced), image.shape[:2]))
        watch(Update("scoring", number, len(images)))
    scores = np.array([heat.max() for heat in heats], np.float64)
    flat = np.concatenate([heat.ravel() for heat in heats])
    return Outcome({"score": scores, "heat": flat}, time.perf_counter() - began, training, note)


def _reduced(image: Pixels) -> Floats:
    """(H, W, C) in [0, 1], halved as often as needed."""
    pixels = np.atleast_3d(image).astype(np.float64) / 255
    while max(pixels.shape[:2]) > LARGEST:
        high, wide = (side // 2 * 2 for side in pixels.shape[:2])
        pixels = pixels[:high, :wide].reshape(high // 2, 2, wide // 2, 2, -1).mean(axis=(1, 3))
    return pixels


def _enlarged(heat: Heat, shape: tuple[int, ...]) -> Heat:
    if heat.shape == shape:
        return heat
    large = F.interpolate(torch.from_numpy(heat)[None, None], shape[:2], mode="bilinear", align_corners=False)
    return np.asarray(large[0, 0].numpy())


def _padded(pixels: Floats, least: int) -> Floats:
    """Mirrored at its lower and right border up to `least` pixels."""
    room = [(0, max(0, least - side)) for side in pixels.shape[:2]]
    return np.pad(pixels, [*room, (0, 0)], mode="symmetric")


def patches(method: str, train: Sequence[Pixels], test: Sequence[Pixels], seed: int, watch: Watch) -> Outcome:
    """PCA's error, or the distance to the nearest of random training patches."""
    rng, began = np.random.default_rng(seed), time.perf_counter()
    share = -(-REMEMBERED // len(train))
    learnt = []
    for image in train:
        pixels = _padded(_reduced(image), PATCH)
        room = np.array(pixels.shape[:2]) - PATCH + 1
        positions = np.stack([rng.integers(room[0], size=share), rng.integers(room[1], size=share)], axis=1)
        learnt.append(cut(pixels, positions, PATCH).reshape(share, -1))
    vectors = rng.permutation(np.concatenate(learnt))[:REMEMBERED]
    model = reconstruction(vectors, COMPONENTS, seed) if method == "PCA" else _nearest(vectors)

    def score(pixels: Floats) -> Heat:
        padded = _padded(pixels, PATCH)
        positions = grid_positions(padded.shape[:2], PATCH, STRIDE)
        found = model(cut(padded, positions, PATCH).reshape(len(positions), -1)).astype(np.float32)
        maps = np.broadcast_to(found[:, None, None], (len(found), PATCH, PATCH))
        return stitch(maps, positions, padded.shape[:2])[: pixels.shape[0], : pixels.shape[1]]

    note = f"{len(vectors)} patches of {PATCH} x {PATCH}"
    return outcome_of(test, score, time.perf_counter() - began, note, watch)


def _nearest(vectors: Floats) -> Score:
    """Distance to the nearest, in float32: a million queries take half the time of scikit-learn's."""
    known = torch.from_numpy(vectors).float()
    return lambda queries: torch.cdist(torch.from_numpy(queries).float(), known).amin(dim=1).double().numpy()


def light(train: Sequence[Pixels], test: Sequence[Pixels], watch: Watch) -> Outcome:
    """How far mean and spread of an image are from those of the nearest training image; the same at all its pixels."""
    began = time.perf_counter()
    reduced = map(_reduced, train)  # as what is tested: halving an image lowers its spread
    known = np.array([[pixels.mean(), pixels.std()] for pixels in reduced])
    scale = np.maximum(known.std(0), 1e-8)

    def score(pixels: Floats) -> Heat:
        distance = np.sqrt(np.square((known - (pixels.mean(), pixels.std())) / scale).sum(1)).min()
        return np.full(pixels.shape[:2], distance, np.float32)

    return outcome_of(test, score, time.perf_counter() - began, "mean and spread of grey values", watch)


class Autoencoder(nn.Sequential):
    """Four strided convolutions down to a code, and back; squares (B, C, 64, 64) in [0, 1]."""

    def __init__(self, channels: int) -> None:
        widths = (channels, 32, 64, 128, 128)
        down = [
            layer
            for a, b in pairwise(widths)
            for layer in (nn.Conv2d(a, b, 4, 2, 1), nn.BatchNorm2d(b), nn.LeakyReLU(0.2))
        ]
        up: list[nn.Module] = [nn.ConvTranspose2d(CODES, widths[-1], 4), nn.BatchNorm2d(widths[-1]), nn.ReLU()]
        for a, b in pairwise(widths[::-1]):
            up += [nn.ConvTranspose2d(a, b, 4, 2, 1)]
            up += [nn.Sigmoid()] if b == channels else [nn.BatchNorm2d(b), nn.ReLU()]
        super().__init__(*down, nn.Conv2d(widths[-1], CODES, 4), *up)


def autoencoder(
    train: Sequence[Pixels], test: Sequence[Pixels], seed: int, minutes: float, device: str, watch: Watch
) -> Outcome:
    """Reconstruction of random tiles by Adam on the squared error, for so many minutes; the residual, smoothed."""
    rng, target = np.random.default_rng(seed), fabric_for(device, "32-true").device
    images = [_padded(_reduced(image), TILE) for image in train]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Autoencoder(images[0].shape[2]).to(target)
    optimizer, began, steps = torch.optim.Adam(network.parameters(), RATE), time.perf_counter(), 0
    while steps < 2 or time.perf_counter() - began < 60 * minutes:
        batch = _to_tensor(np.stack([_square(images[int(rng.integers(len(images)))], rng) for _ in range(BATCH)]))
        batch = batch.to(target)
        loss = (network(batch) - batch).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        steps += 1
    network.eval()

    def score(pixels: Floats) -> Heat:
        padded = _padded(pixels, TILE)
        positions = grid_positions(padded.shape[:2], TILE, STEP)
        residuals = []
        for part in np.array_split(positions, -(-len(positions) // BATCH)):
            squares = _to_tensor(cut(padded, part, TILE)).to(target)
            with torch.no_grad():
                residuals.append((squares - network(squares)).abs().mean(dim=1).cpu().numpy())
        residual = stitch(np.concatenate(residuals), positions, padded.shape[:2])
        smooth: Heat = gaussian_filter(residual, SIGMA)[: pixels.shape[0], : pixels.shape[1]]
        return smooth

    note = f"{steps} batches of {BATCH} tiles of {TILE} x {TILE}, last loss {float(loss.detach()):.3g}"
    return outcome_of(test, score, time.perf_counter() - began, note, watch)


def _square(image: Floats, rng: np.random.Generator) -> Floats:
    row, column = (int(rng.integers(side - TILE + 1)) for side in image.shape[:2])
    return image[row : row + TILE, column : column + TILE]


def _to_tensor(squares: Floats) -> Tensor:
    """(B, S, S, C) -> (B, C, S, S)."""
    return torch.from_numpy(np.ascontiguousarray(squares, np.float32)).permute(0, 3, 1, 2)
