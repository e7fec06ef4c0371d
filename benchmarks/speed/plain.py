"""What `speed` compares with: AnoGAN and DCGAN as public repositories write them, in plain PyTorch.

The same layers and weights as ours, stock modules, float32, contiguous memory. Where repositories differ, the faster
way is taken: features of the query computed once, networks frozen during the search, data in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from anotwin.methods.networks import widths
from anotwin.records import ImageSpec
from anotwin.settings import NetworkSettings

WEIGHT = 0.1  # lambda
RATE = 0.01  # of Adam on z, the paper preset's
BETAS = 0.5, 0.999  # of the tutorial


class PlainDiscriminator(nn.Module):
    """Images (B, C, S, S) -> logits (B,) and the features of the last block."""

    def __init__(self, spec: ImageSpec, settings: NetworkSettings) -> None:
        super().__init__()
        first, *others = widths(spec.size, settings.width_for(False))
        layers: list[nn.Module] = [nn.Conv2d(spec.channels, first, 4, 2, 1), nn.LeakyReLU(0.2)]
        for now, then in pairwise([first, *others]):
            layers += [nn.Conv2d(now, then, 4, 2, 1, bias=False), nn.BatchNorm2d(then), nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*layers, nn.Flatten())
        self.head = nn.Linear([first, *others][-1] * 16, 1)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.body(images)
        return self.head(features).view(-1), features


def plain_generator(spec: ImageSpec, settings: NetworkSettings) -> nn.Sequential:
    """z (B, Z, 1, 1) -> images (B, C, S, S) in [-1, 1]."""
    channels = [settings.latent_dim, *widths(spec.size, settings.width_for(False))[::-1]]
    layers: list[nn.Module] = []
    for level, (now, then) in enumerate(pairwise(channels)):
        stride, padding = (2, 1) if level else (1, 0)
        layers += [nn.ConvTranspose2d(now, then, 4, stride, padding, bias=False), nn.BatchNorm2d(then), nn.ReLU()]
    return nn.Sequential(*layers, nn.ConvTranspose2d(channels[-1], spec.channels, 4, 2, 1), nn.Tanh())


def with_weights(plain: nn.Module, ours: nn.Module) -> nn.Module:
    """`plain` with the weights of our network of the same layers, frozen and in evaluation mode."""
    values = [value.detach().clone().contiguous() for value in ours.state_dict().values()]
    plain.load_state_dict(dict(zip(plain.state_dict(), values, strict=True)))
    return plain.eval().requires_grad_(False)


def plain_search(g: nn.Module, d: nn.Module, image: torch.Tensor, steps: int, start: torch.Tensor) -> float:
    """A(x) of one image (1, C, S, S) after `steps` of Adam from `start` (1, Z, 1, 1): Schlegl et al. 2017, sec. 2.2."""
    z = start.clone().requires_grad_(True)
    adam = torch.optim.Adam([z], lr=RATE)
    with torch.no_grad():
        wanted = d(image)[1]
    loss = torch.zeros(())
    for _ in range(steps):
        adam.zero_grad()
        fake = g(z)
        residual = (image - fake).abs().sum()
        discrimination = (wanted - d(fake)[1]).abs().sum()
        loss = (1 - WEIGHT) * residual + WEIGHT * discrimination
        loss.backward()
        adam.step()
    return float(loss.detach())


class PlainImages(Dataset[torch.Tensor]):
    """Images in memory, resized and normalised one by one when asked for, as torchvision's MNIST gives them."""

    def __init__(self, pixels: npt.NDArray[Any], spec: ImageSpec) -> None:
        self.pixels, self.spec = pixels, spec

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> torch.Tensor:
        resized = Image.fromarray(self.pixels[index]).resize((self.spec.size,) * 2, Image.Resampling.BILINEAR)
        unit = torch.from_numpy(np.array(resized)).reshape(self.spec.size, self.spec.size, -1).permute(2, 0, 1) / 255
        return unit.sub_(0.5).div_(0.5)


class PlainTraining:
    """The training loop of PyTorch's DCGAN tutorial, a step at a time, on logits."""

    def __init__(
        self, pixels: npt.NDArray[Any], spec: ImageSpec, settings: NetworkSettings, batch_size: int, device: str
    ) -> None:
        self.latent_dim, self.device = settings.latent_dim, device
        self.loader = DataLoader(PlainImages(pixels, spec), batch_size, shuffle=True, drop_last=True)
        self.g, self.d = plain_generator(spec, settings).to(device), PlainDiscriminator(spec, settings).to(device)
        self.adam_g = torch.optim.Adam(self.g.parameters(), lr=2e-4, betas=BETAS)
        self.adam_d = torch.optim.Adam(self.d.parameters(), lr=2e-4, betas=BETAS)
        self.entropy = nn.BCEWithLogitsLoss()
        self.batches = self._forever()

    def _forever(self) -> Iterator[torch.Tensor]:
        while True:
            yield from self.loader

    def step(self) -> tuple[float, float]:
        """One iteration of the tutorial's inner loop: both losses."""
        real = next(self.batches).to(self.device)
        self.d.zero_grad()
        labels = torch.full((len(real),), 1.0, device=self.device)
        loss_real = self.entropy(self.d(real)[0], labels)
        loss_real.backward()
        fake = self.g(torch.randn(len(real), self.latent_dim, 1, 1, device=self.device))
        loss_fake = self.entropy(self.d(fake.detach())[0], labels.fill_(0.0))
        loss_fake.backward()
        self.adam_d.step()

        self.g.zero_grad()
        loss_g = self.entropy(self.d(fake)[0], labels.fill_(1.0))
        loss_g.backward()
        self.adam_g.step()
        return float((loss_real + loss_fake).detach()), float(loss_g.detach())
