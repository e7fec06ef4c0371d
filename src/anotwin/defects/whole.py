"""Damage of whole images: normal ones made abnormal in known ways, so that a discriminator learns what abnormal means.

A detector that learns from normal images alone is given no abnormal ones, but they can be made: images that are normal
in every place and wrong as a whole (turned, warped, stretched, shuffled, joined of two halves), and images that are
wrong in one place (pasted, erased) or everywhere (blended). None of it depends on what the images show. Sources:
rotations as labels, Gidaris et al. 2018 (1803.07728) and Golan, El-Yaniv 2018 (1805.10917); pasted patches, Li et al.
2021 (CutPaste, 2104.04015); smooth random masks as in Zavrtanik et al. 2021 (DRAEM, 2108.07610).

Images are (B, C, S, S) in [-1, 1] and stay in it; everything random comes from a CPU generator. Pixels are moved by one
bilinear sampling, in normal images too (`jitter`): interpolation must not be what tells damage from normality.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F

SHARE = 0.08, 0.5  # of an image that a mask covers
EDGE = 8.0  # steepness of a mask's rim, in standard deviations of the noise that it is cut from
SHIFT = 0.05  # of normal images, in halves of the side

Rng = torch.Generator
Maker = Callable[[torch.Tensor, Rng], torch.Tensor]


def jitter(images: torch.Tensor, rng: Rng) -> torch.Tensor:
    """Images as if taken a second time: shifted, turned and scaled a little; four in ten stay as they are."""
    return _sample(images, _grid(_small_motion(len(images), rng), images))


def damage(images: torch.Tensor, rng: Rng, kinds: Sequence[str] | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Each image damaged in one of `kinds` (None: all), in equal shares: (B, C, S, S), and which (B,) in 1..len(kinds).

    >>> damaged, kinds = damage(torch.zeros(16, 1, 16, 16), torch.Generator().manual_seed(0))
    >>> damaged.shape, sorted(set(kinds.tolist()))
    (torch.Size([16, 1, 16, 16]), [1, 2, 3, 4, 5, 6, 7, 8])
    """
    makers = [KINDS[kind] for kind in kinds or KINDS]
    first = int(torch.randint(len(makers), (1,), generator=rng))  # a batch may be smaller than the number of kinds
    chosen = (torch.arange(len(images)) + first) % len(makers)
    damaged = torch.empty_like(images)
    for kind, make in enumerate(makers):
        rows = torch.nonzero(chosen == kind)[:, 0].to(images.device)
        if len(rows):
            damaged[rows] = make(images[rows], rng)
    return damaged, (chosen + 1).to(images.device)


def corrupt(images: torch.Tensor, rng: Rng) -> torch.Tensor:
    """One place of each image pasted over or erased, all else unchanged: what a restoring network has to undo."""
    pasted = torch.rand(len(images), 1, 1, 1, generator=rng).to(images.device) < 0.5
    return torch.where(pasted, _paste(images, rng), _erase(images, rng))


def _turned(images: torch.Tensor, rng: Rng) -> torch.Tensor:
    """By 36 to 180 degrees, half of them mirrored."""
    return _sample(images, _grid(_affine(len(images), rng, turn=(math.pi / 5, math.pi), flip=0.5), images))


def _warped(images: torch.Tensor, rng: Rng) -> torch.Tensor:
    """By a smooth field of displacements, r.m.s. 15 to 35 % of half the side."""
    field = F.interpolate(torch.randn(len(images), 2, 4, 4, generator=rng), images.shape[-1], mode="bicubic")
    field = field / field.flatten(1).std(1)[:, None, None, None] * _uniform(len(images), rng, 0.15, 0.35, (1, 1, 1))
    grid = _grid(_small_motion(len(images), rng), images)
    return _sample(images, grid + field.permute(0, 2, 3, 1).to(images.device))


def _stretched(images: torch.Tensor, rng: Rng) -> torch.Tensor:
    """To 45 to 70 or 135 to 195 % along one axis or both, and sheared."""
    count = len(images)
    small, large = _uniform(count, rng, 0.45, 0.7, (2,)), _uniform(count, rng, 1.35, 1.95, (2,))
    scale = torch.where(torch.rand(count, 2, generator=rng) < 0.5, small, large)
    spared = torch.randint(0, 3, (count, 1), generator=rng) == torch.arange(2)  # one axis, the other, none
    scale = torch.where(spared, torch.ones(()), scale)
    matrix = torch.diag_embed(1 / scale)
    matrix[:, 0, 1] = _uniform(count, rng, -0.6, 0.6)
    shift = _uniform(count, rng, -0.2, 0.2, (2,))
    return _sample(images, _grid(torch.cat([matrix, shift[:, :, None]], 2), images))


def _shuffled(images: torch.Tensor, rng: Rng) -> torch.Tensor:
    """Cut into quarters or sixteenths, which change places."""
    parts = 2 if torch.rand(1, generator=rng) < 0.5 else 4
    count, channels, size, _ = images.shape
    side = size // parts
    tiles = jitter(images, rng).reshape(count, channels, parts, side, parts, side).permute(0, 2, 4, 1, 3, 5)
    tiles = tiles.flatten(1, 2)  # (B, parts^2, C, side, side)
    order = torch.rand(count, parts * parts, generator=rng).argsort(1).to(images.device)
    tiles = tiles[torch.arange(count, device=images.device)[:, None], order]
    tiles = tiles.reshape(count, parts, parts, channels, side, side).permute(0, 3, 1, 4, 2, 5)
    return tiles.reshape(images.shape)


def _joined(images: torch.Tensor, rng: Rng) -> torch.Tensor:
    """One side of a straight line from the image, the other from another one that is turned."""
    count, size = len(images), images.shape[-1]
    angle, offset = _uniform(count, rng, 0, 2 * math.pi, (1, 1)), _uniform(count, rng, -0.25, 0.25, (1, 1))
    places = torch.linspace(-1, 1, size)
    side = places[None, :] * angle.cos() + places[:, None] * angle.sin() - offset  # (B, S, S)
    mask = torch.sigmoid(size * side)[:, None].to(images.device)  # the seam is about a pixel wide
    return torch.lerp(jitter(images, rng), _other_image(images, rng, 0.85, 0.15), mask)


def _blended(images: torch.Tensor, rng: Rng) -> torch.Tensor:
    """Maximum, minimum or mean of two images."""
    ours, other = jitter(images, rng), _other_image(images, rng, 0.8, 0.2)
    how = torch.randint(0, 3, (len(images), 1, 1, 1), generator=rng).to(images.device)
    extreme = torch.where(how == 0, torch.maximum(ours, other), torch.minimum(ours, other))
    return torch.where(how == 2, (ours + other) / 2, extreme)


def _paste(images: torch.Tensor, rng: Rng) -> torch.Tensor:
    return torch.lerp(images, _other_image(images, rng, 0.8, 0.3), _mask(images, rng))


def _erase(images: torch.Tensor, rng: Rng) -> torch.Tensor:
    """With the value of a random pixel of the image."""
    pixels = images.flatten(2)
    chosen = torch.randint(0, pixels.shape[2], (len(images), 1, 1), generator=rng).to(images.device)
    value = pixels.gather(2, chosen.expand(-1, pixels.shape[1], -1))[..., None]  # (B, C, 1, 1)
    return torch.lerp(images, value.expand_as(images), _mask(images, rng))


KINDS: dict[str, Maker] = {
    "turned": _turned,
    "warped": _warped,
    "stretched": _stretched,
    "shuffled": _shuffled,
    "joined": _joined,
    "blended": _blended,
    "pasted": lambda images, rng: _paste(jitter(images, rng), rng),
    "erased": lambda images, rng: _erase(jitter(images, rng), rng),
}


def _uniform(count: int, rng: Rng, low: float, high: float, shape: tuple[int, ...] = ()) -> torch.Tensor:
    return torch.rand(count, *shape, generator=rng) * (high - low) + low


def _affine(
    count: int, rng: Rng, turn: tuple[float, float], scale: float = 0.94, flip: float = 0.0, shift: float = SHIFT
) -> torch.Tensor:
    """Maps (B, 2, 3) from where a pixel goes to where it comes from; `turn` in radians, either way."""
    angle = _uniform(count, rng, *turn) * torch.where(torch.rand(count, generator=rng) < 0.5, -1.0, 1.0)
    cos, sin = angle.cos(), angle.sin()
    rotation = torch.stack([cos, -sin, sin, cos], 1).view(count, 2, 2)
    zoom = torch.diag_embed(1 / _uniform(count, rng, scale, 2 - scale, (2,)))
    zoom[:, 0, 0] *= torch.where(torch.rand(count, generator=rng) < flip, -1.0, 1.0)
    zoom[:, 0, 1] = _uniform(count, rng, -0.1, 0.1)  # shear
    return torch.cat([rotation @ zoom, _uniform(count, rng, -shift, shift, (2, 1))], 2)


def _small_motion(count: int, rng: Rng) -> torch.Tensor:
    moved = _affine(count, rng, turn=(0, 0.12))
    return torch.where(torch.rand(count, 1, 1, generator=rng) < 0.4, torch.eye(2, 3), moved)


def _other_image(images: torch.Tensor, rng: Rng, scale: float, shift: float) -> torch.Tensor:
    """For each image a random one of the batch, seldom itself, turned and moved."""
    others = images[torch.randperm(len(images), generator=rng).to(images.device)]
    return _sample(others, _grid(_affine(len(images), rng, (0, math.pi), scale, 0.5, shift), images))


def _mask(images: torch.Tensor, rng: Rng) -> torch.Tensor:
    """Smooth masks (B, 1, S, S) in [0, 1] that cover a random share of each image."""
    count, size = len(images), images.shape[-1]
    noise = F.interpolate(torch.randn(count, 1, 4, 4, generator=rng), size, mode="bicubic").flatten(1)
    rank = ((1 - _uniform(count, rng, *SHARE)) * (noise.shape[1] - 1)).long()
    level = noise.sort(1).values.gather(1, rank[:, None])
    masks = torch.sigmoid(EDGE * (noise - level) / noise.std(1, keepdim=True))
    return masks.view(count, 1, size, size).to(images.device)


def _grid(maps: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    shape = [len(maps), 1, *images.shape[2:]]
    return F.affine_grid(maps, shape, align_corners=False).to(images.device)


def _sample(images: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
