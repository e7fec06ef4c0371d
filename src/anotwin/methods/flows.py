"""What flow normal frames have: where they look like this (M), and where somebody stands out who is there (W).

Appearance tells motion: Nguyen, Meunier 2019 (1908.06351). Who walks the wrong way looks like everybody else but for
the place where he goes there: W sees neither faces nor clothes, but where something stands out, and knows how much it
does not know, as in Kendall, Gal 2017 (1703.04977), equation 8 with a Laplace distribution.

    query x                 (B, C, S, S)
    flow f                  (B, 2, S / 2, S / 2) of x from the frame just before it, pixels a frame, by a library
    motion network M        U-Net of x alone: the flow m that normal frames have where they look like this
    silhouettes s           (B, 1, S / 2, S / 2) in [0, 1], what stands out of the background of the last seconds
    ways network W          U-Net of s and the place (right, down): the flow u that is usual there, and its spread b
    objectives              min_M  v |m - f|,  v = 1 + 4 where |f| > MOVES
                            min_W  s (|f - u| / b + log b), over right and down
    surprise                s |f - u| / b, the sum over right and down

Deviation: W learns from frames laid over each other, each with its flow where it stands out more: it would know by
heart who met whom in a few clips. By held-out clips: research.md, 11.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from anotwin.compare.motion import reduced, standing_out, velocity
from anotwin.compare.side_by_side import light
from anotwin.methods.unet import UNet

COARSE = 2  # pixels a side that are one place of evidence: it is smoothed in any case
LEAST = 16  # pixels a side that a U-Net takes
MOTION = 4.0  # weight of what moves, beside 1
MOVES = 0.3  # pixels a frame
# M would know people of a few clips by heart: it learns from frames moved by a share of the side, of another light (in
# spreads) and with noise. By held-out clips: research.md, 11
SHIFT, LIGHT, NOISE = 0.1, 0.2, 0.5
SPREADS = -4.0, 4.0  # log b: no flow is known to less than a fiftieth of a pixel
TOGETHER = 0.5  # of the frames that W learns from have another one laid over them


class Motion(nn.Module):
    """M: frames (B, C, S, S) -> the flow (B, 2, S / 2, S / 2) that normal ones have, pixels a frame."""

    def __init__(self, channels: int, base: int) -> None:
        super().__init__()
        self.unet: nn.Module = UNet(channels, 2, max(1, base))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.of_small(in_own_light(images))

    def of_small(self, small: torch.Tensor) -> torch.Tensor:
        """Of frames `in_own_light`."""
        return _of_least_size(self.unet, small)


class Ways(nn.Module):
    """W: silhouettes s (B, 1, S / 2, S / 2) -> the flow u and log b (B, 4, S / 2, S / 2)."""

    def __init__(self, base: int) -> None:
        super().__init__()
        self.unet: nn.Module = UNet(3, 4, max(1, base))

    def forward(self, silhouettes: torch.Tensor) -> torch.Tensor:
        along = torch.linspace(-1, 1, silhouettes.shape[-1], device=silhouettes.device)
        right, down = (each.expand_as(silhouettes) for each in (along, along[:, None]))
        return _of_least_size(self.unet, torch.cat([silhouettes, right, down], 1))


def surprise(usual: torch.Tensor, flow: torch.Tensor, silhouettes: torch.Tensor) -> torch.Tensor:
    """How far flows (B, 2, s, s) are from what W found usual (B, 4, s, s), in its spreads: (B, 1, s, s)."""
    apart, _ = _apart(usual, flow)
    return silhouettes * apart.sum(1, keepdim=True)


def motion_loss(network: Motion, images: torch.Tensor, flow: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """v |m - f| of frames (B, C, S, S), moved and varied by chance."""
    moved, f = shifted(images, flow, rng)
    m = network.of_small(varied(in_own_light(moved), rng))
    v = 1 + MOTION * (f.square().sum(1, keepdim=True) > MOVES**2).float()
    return (v * (m - f).abs()).mean()


def ways_loss(network: Ways, silhouettes: torch.Tensor, flow: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """s (|f - u| / b + log b) of frames, many with another one laid over them."""
    s, f = together(silhouettes, flow, rng)
    apart, log_spread = _apart(network(s), f)
    return (s * (apart + log_spread)).sum() / s.sum().clamp(min=1e-6)


def silhouettes_of(images: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """s: what stands out in images (B, C, S, S) of the median of frames some seconds back (B, K, C, S, S)."""
    small, back = reduced(images, COARSE), reduced(before, COARSE)
    return standing_out(small, back.median(1).values)


def flow_of(images: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """f: of images (B, C, S, S) from the frames just before them (B, C, S, S): (B, 2, S / 2, S / 2), pixels a frame."""
    return reduced(velocity(before, images), COARSE).to(images.device)


def in_own_light(images: torch.Tensor) -> torch.Tensor:
    """Frames (B, C, S, S) at half the size, without their mean and in units of their spread: (B, C, S / 2, S / 2)."""
    small = F.avg_pool2d(images, COARSE)
    mean, spread = light(small)
    return (small - mean) / spread


def shifted(images: torch.Tensor, flow: torch.Tensor, rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames (B, C, S, S) and their flow (B, 2, S / 2, S / 2), each moved by chance, the border repeated."""
    most = round(SHIFT * flow.shape[-1])
    by = torch.randint(-most, most + 1, (len(flow), 2), generator=rng)
    return _moved(images, COARSE * by), _moved(flow, by)


def varied(small: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Frames in their own light, each by chance a little darker or of less contrast, and noisier."""
    amounts = torch.randn((3, len(small), 1, 1, 1), generator=rng).to(small.device)
    noise = torch.randn(small.shape, generator=rng).to(small.device)
    return small * (LIGHT * amounts[0]).exp() + LIGHT * amounts[1] + NOISE * amounts[2].abs().clamp(max=1) * noise


def together(silhouettes: torch.Tensor, flow: torch.Tensor, rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Silhouettes (B, 1, s, s) and flows (B, 2, s, s), `TOGETHER` of them with others of the batch before them."""
    order = torch.randperm(len(flow), generator=rng).to(flow.device)
    chosen = (torch.rand(len(flow), generator=rng) < TOGETHER).to(flow.device)[:, None, None, None]
    before = chosen & (silhouettes[order] > silhouettes)
    return torch.where(before, silhouettes[order], silhouettes), torch.where(before, flow[order], flow)


def _apart(usual: torch.Tensor, flow: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """|f - u| / b and log b, (B, 2, s, s) each."""
    u, log_spread = usual[:, :2], usual[:, 2:].clamp(*SPREADS)
    return (flow - u).abs() * (-log_spread).exp(), log_spread


def _of_least_size(unet: nn.Module, maps: torch.Tensor) -> torch.Tensor:
    """Those smaller than the network takes are enlarged for it."""
    times = max(1, LEAST // maps.shape[-1])
    wide = F.interpolate(maps, scale_factor=times) if times > 1 else maps
    found: torch.Tensor = unet(wide).maps.float()
    return F.avg_pool2d(found, times) if times > 1 else found


def _moved(maps: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    places = torch.arange(maps.shape[-1])
    found = []
    for each, (down, right) in zip(maps, by, strict=True):
        rows, columns = ((places - way).clamp(0, len(places) - 1).to(maps.device) for way in (down, right))
        found.append(each[:, rows][:, :, columns])
    return torch.stack(found)
