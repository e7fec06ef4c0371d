"""Networks that judge: trained here on training images alone, with nothing of the product in them.

A judge is a small classifier. Trained on digits or textures it says which class an image shows; trained to tell which
training image (or whose) a patch is cut from ("origin network") it needs no label, and what it has learnt to look at
are structure and texture. Its features are the means over positions of its last maps, for Frechet distances; its
distance between two images of one size is that of Zhang et al., "The unreasonable effectiveness of deep features", 2018
(1801.03924), without weights: squared differences of maps of unit length at each position, averaged over positions and
layers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import nn

from anotwin.evaluate.frechet import Features
from anotwin.files import atomic_path
from anotwin.seeding import derive
from anotwin.updates import Update, Watch
from benchmarks.common.rows import Floats

Pixels = npt.NDArray[np.uint8]  # (H, W) or (H, W, 3)
Labelled = tuple[torch.Tensor, torch.Tensor]  # images (B, C, S, S) in [-1, 1], classes (B,)
Sample = Callable[[np.random.Generator, int], Labelled]
WIDTHS, KERNELS = (32, 48, 64, 64), (5, 3, 3, 3)  # of the maps; each has half the side of the one before
BATCH, LEARNING_RATE = 64, 2e-3
NOISE = 0.08  # its most, standard deviation in [-1, 1]: 10 levels of 256
AT_ONCE = 128  # images in memory


class Maps(nn.Module):
    """Images (B, C, H, W) in [-1, 1] -> class logits (B, K); `maps`: of its four stages."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        sizes = (channels, *WIDTHS)
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(inner, outer, kernel, 2, kernel // 2), nn.BatchNorm2d(outer), nn.ReLU())
            for kernel, (inner, outer) in zip(KERNELS, pairwise(sizes), strict=True)
        )
        self.head = nn.Linear(WIDTHS[-1], classes)

    def maps(self, images: torch.Tensor) -> list[torch.Tensor]:
        found = []
        for stage in self.stages:
            images = stage(images)
            found.append(images)
        return found

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.maps(images)[-1].mean(dim=(2, 3)))
        return logits


@dataclass(frozen=True, eq=False)
class Judge:
    """A trained network, and what it was trained for in words."""

    name: str
    network: Maps

    def classes(self, images: Sequence[Pixels]) -> npt.NDArray[np.int64]:
        """(N,) the class of each image; all of one size."""
        with torch.no_grad():
            parts = [self.network(batch).argmax(dim=1) for batch in torch.split(to_model(images), AT_ONCE)]
        return torch.cat(parts).numpy()

    def features(self, images: Sequence[Pixels]) -> Floats:
        """(N, D) of images of one size."""
        with torch.no_grad():
            parts = [self.network.maps(batch)[-1].mean((2, 3)) for batch in torch.split(to_model(images), AT_ONCE)]
        return torch.cat(parts).numpy().astype(np.float64)

    def distance(self, one: Pixels, other: Pixels) -> float:
        """Of two images of one size; 0 for equal ones."""
        with torch.no_grad():
            pair = self.network.maps(to_model([one, other]))
        units = [F.normalize(maps, dim=1) for maps in pair]
        return float(torch.stack([(a - b).square().sum(dim=0).mean() for a, b in units]).mean())


def to_model(images: Sequence[Pixels]) -> torch.Tensor:
    """(N) uint8 images of one size -> (N, C, H, W) in [-1, 1]."""
    stacked = torch.from_numpy(np.stack(images)).float() / 127.5 - 1
    return stacked[:, None] if stacked.ndim == 3 else stacked.permute(0, 3, 1, 2).contiguous()


def train_judge(
    name: str, channels: int, classes: int, sample: Sample, steps: int, watch: Watch, seed: int = 0
) -> Judge:
    """Cross-entropy by Adam, its rate falling along a cosine; the same seed gives the same network."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "judge", name))
        network = Maps(channels, classes).train()
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    rng = np.random.default_rng(derive(seed, "judge", name))
    for step in range(steps):
        images, labels = sample(rng, BATCH)
        optimizer.zero_grad()
        loss = F.cross_entropy(network(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        watch(Update(f"judge: {name}", step + 1, steps))
    network.eval().requires_grad_(False)
    return Judge(name, network)


def kept_judge(
    folder: Path | None, key: Sequence[object], channels: int, classes: int, make: Callable[[], Judge]
) -> Judge:
    """A judge of an earlier run; what `make` trains, which is kept, where `folder` has none of that `key`."""
    name = str(key[0])
    digest = hashlib.blake2b(json.dumps([*key, channels, classes]).encode(), digest_size=4).hexdigest()
    path = folder and folder / f"judge-{name.replace(' ', '-')}-{digest}.safetensors"
    if path and path.is_file():
        network = Maps(channels, classes)
        network.load_state_dict(safetensors.torch.load_file(path))
        network.eval().requires_grad_(False)
        return Judge(name, network)
    judge = make()
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            safetensors.torch.save_file(judge.network.state_dict(), temporary)
    return judge


def of_images(images: Sequence[Pixels], labels: Sequence[int]) -> Sample:
    """Whole images, all of one size."""
    everything, classes = to_model(images), torch.tensor(labels)

    def sample(rng: np.random.Generator, count: int) -> Labelled:
        chosen = torch.from_numpy(rng.integers(len(everything), size=count))
        return everything[chosen], classes[chosen]

    return sample


def of_crops(images: Sequence[Pixels], labels: Sequence[int], side: int, shade: float) -> Sample:
    """Squares of `side` from anywhere in an image, mirrored or not; the class is that of the image.

    Contrast and brightness change at random by up to `shade` (of 1, of the range), so that neither tells the class, and
    a little noise is added, so that features are of more than the noise of single pixels.
    """
    pictures, classes = [to_model([image])[0] for image in images], torch.tensor(labels)

    def sample(rng: np.random.Generator, count: int) -> Labelled:
        chosen = rng.integers(len(pictures), size=count)
        cut = torch.stack([_crop(pictures[number], side, shade, rng) for number in chosen])
        noise = NOISE * torch.from_numpy(rng.random((count, 1, 1, 1)) * rng.standard_normal(cut.shape)).float()
        return cut + noise, classes[chosen]

    return sample


def _crop(picture: torch.Tensor, side: int, shade: float, rng: np.random.Generator) -> torch.Tensor:
    top, left = (int(rng.integers(length - side + 1)) for length in picture.shape[1:])
    cut = picture[:, top : top + side, left : left + side]
    cut = cut.flip(2) if rng.random() < 0.5 else cut
    return cut * float(rng.uniform(1 - shade, 1 + shade)) + float(rng.uniform(-shade, shade))


def grid_of_patches(image: Pixels, side: int, hop: int) -> list[Pixels]:
    """All squares at multiples of `hop` that lie inside."""
    high, wide = image.shape[:2]
    places = [(y, x) for y in range(0, high - side + 1, hop) for x in range(0, wide - side + 1, hop)]
    return [image[y : y + side, x : x + side] for y, x in places]


def patch_features(judge: Judge, images: Sequence[Pixels], groups: Sequence[str], side: int, hop: int) -> Features:
    """Of a grid of patches of every image; a patch belongs to the group (N,) of its image."""
    cut = [grid_of_patches(image, side, hop) for image in images]
    names = [group for group, patches in zip(groups, cut, strict=True) for _ in patches]
    return Features(judge.features([patch for patches in cut for patch in patches]), names)
