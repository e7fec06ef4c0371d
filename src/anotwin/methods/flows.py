"""What flow normal frames have: where they look like this (M), and where somebody is who stands out (W).

Appearance tells motion: Nguyen, Meunier 2019 (1908.06351), here a network of its own, M. Who walks the wrong way looks
like everybody else: only the place tells. W sees neither faces nor clothes, but where something stands out of the
background, and says how much it does not know: Kendall, Gal 2017 (1703.04977), equation 8, with a Laplace distribution.

    query x                 (B, C, S, S)
    flow f                  (B, 2, S / 2, S / 2) of x from the frame just before it, pixels a frame, by a library
    motion network M        U-Net of x alone: the flow m that normal frames have where they look like this
    silhouettes o           (B, 1, S / 2, S / 2) in [0, 1], what stands out of the background of the last seconds
    ways networks W, W'     U-Nets of o and the place (right, down): the flow u that is usual there, and its spread b
    objectives              min_M  v |m - f|,  v = 1 + 4 where |f| > MOVES
                            min_W  o (|f - u| / b + log b), summed over right and down
    deviation               o |f - u| / b, summed likewise; the less of W's and of W''s

W learns from frames laid over each other, each with its flow where it stands out more: else it would remember the
crowds of a few clips. Who walks where differs from clip to clip all the same, and W is sure of what it has seen: W
learns from the even eighths of the footage and W' from the odd ones, so that what is usual is told by the one that has
not seen a frame (cross-fitting). Held-out clips: research.md, 11. Nothing is learnt from frames that are repeated.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from anotwin.compare.motion import reduced, standing_out, velocity
from anotwin.compare.places import TIMES
from anotwin.compare.side_by_side import light
from anotwin.methods.unet import UNet

COARSE = 2  # pixels a side that are one place of evidence: it is smoothed in any case
LEAST = 16  # pixels a side that a U-Net takes
MOTION, MOVES = 4.0, 0.3  # weight of what moves, beside 1; pixels a frame
# M would know people of a few clips by heart: it learns from frames moved by a share of the side, of another light (in
# spreads) and with noise. By held-out clips: research.md, 11
SHIFT, LIGHT, NOISE = 0.1, 0.2, 0.5
LEAST_LOG_SPREAD = -4.0  # of b: no flow is known to less than a fiftieth of a pixel
OVERLAID = 0.5  # of the frames that W learns from have another one laid over them


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
    """W: silhouettes o (B, 1, S / 2, S / 2) -> u and log b, right and down of each (B, 4, S / 2, S / 2)."""

    def __init__(self, base: int) -> None:
        super().__init__()
        self.unet: nn.Module = UNet(3, 4, max(1, base))

    def forward(self, silhouettes: torch.Tensor) -> torch.Tensor:
        along = torch.linspace(-1, 1, silhouettes.shape[-1], device=silhouettes.device)
        right, down = (each.expand_as(silhouettes) for each in (along, along[:, None]))
        return _of_least_size(self.unet, torch.cat([silhouettes, right, down], 1))


def deviation(usual: torch.Tensor, flow: torch.Tensor, silhouettes: torch.Tensor) -> torch.Tensor:
    """o |f - u| / b of what W says (B, 4, s, s), flows (B, 2, s, s) and silhouettes (B, 1, s, s): (B, 1, s, s)."""
    return silhouettes * _apart(usual, flow)[0].sum(1, keepdim=True)


def half_of(when: torch.Tensor) -> torch.Tensor:
    """By when training frames were, (B,) in [0, 1): 0 of those that W learns from, 1 of W''s, (B,)."""
    return (TIMES * when).long() % 2


def motion_loss(network: Motion, clips: Clips, rng: torch.Generator) -> torch.Tensor:
    """v |m - f| of frames, moved and varied by chance."""
    moved, f = shifted(clips.images, clips.flow, rng)
    m = network.of_small(varied(in_own_light(moved), rng))
    v = 1 + MOTION * (f.square().sum(1, keepdim=True) > MOVES**2).float()
    return (v * (m - f).abs() * differs(clips.images, clips.before)).mean()


def ways_loss(network: nn.Module, silhouettes: torch.Tensor, flow: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """o (|f - u| / b + log b) of frames, many with another one laid over them."""
    o, f = overlaid(silhouettes, flow, rng)
    apart, log_spread = _apart(network(o), f)
    return (o * (apart + log_spread)).sum() / o.sum().clamp(min=1e-6)


class Clips(NamedTuple):
    """Frames, those before them and their flow."""

    images: torch.Tensor  # (B, C, S, S)
    before: torch.Tensor  # (B, T, C, S, S), the last is the one just before
    flow: torch.Tensor  # (B, 2, S / 2, S / 2)


def clips_of(images: torch.Tensor, before: torch.Tensor) -> Clips:
    """With the flow f of images (B, C, S, S) from the last of the frames before them (B, T, C, S, S)."""
    return Clips(images, before, reduced(velocity(before[:, -1], images), COARSE).to(images.device))


def mirrored(clips: Clips, rng: torch.Generator) -> Clips:
    """Every other frame, by chance, and those before it with left and right exchanged: its flow goes the other way."""
    swap = (torch.rand(len(clips.flow), generator=rng) < 0.5).to(clips.flow.device)[:, None, None, None]
    images, before, flow = (each.flip(-1) for each in clips)
    flow = flow * flow.new_tensor([-1.0, 1.0])[:, None, None]
    return Clips(
        torch.where(swap, images, clips.images),
        torch.where(swap[:, None], before, clips.before),
        torch.where(swap, flow, clips.flow),
    )


def differs(images: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """Whether images (B, C, S, S) differ from the last of those before them (B, T, C, S, S), (B, 1, 1, 1), 0 or 1.

    A frame that a stalled camera repeats, bit for bit, shows no motion, and nor does the first of a clip.
    """
    other = (images != before[:, -1]).flatten(1).any(1)
    return other[:, None, None, None].float()


def silhouettes_of(small: torch.Tensor, background: torch.Tensor) -> torch.Tensor:
    """o: what stands out in the last of frames (B, K, C, s, s) of the median of the others, some seconds back.

    Those that are missing are the last one itself: `background` (C, s, s) takes their place.
    """
    back, last = small[:, :-1], small[:, -1]
    missing = (back == last[:, None]).flatten(2).all(2)[..., None, None, None]
    return standing_out(last, torch.where(missing, background, back).median(1).values)


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


def overlaid(silhouettes: torch.Tensor, flow: torch.Tensor, rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Silhouettes (B, 1, s, s) and flows (B, 2, s, s), `OVERLAID` of them with others of the batch before them."""
    order = torch.randperm(len(flow), generator=rng).to(flow.device)
    chosen = (torch.rand(len(flow), generator=rng) < OVERLAID).to(flow.device)[:, None, None, None]
    before = chosen & (silhouettes[order] > silhouettes)
    return torch.where(before, silhouettes[order], silhouettes), torch.where(before, flow[order], flow)


def _apart(usual: torch.Tensor, flow: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """|f - u| / b and log b, (B, 2, s, s) each."""
    u, log_spread = usual[:, :2], LEAST_LOG_SPREAD + F.softplus(usual[:, 2:] - LEAST_LOG_SPREAD)
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
