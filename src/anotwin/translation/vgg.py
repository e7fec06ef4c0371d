"""phi of SRGAN where the user has a trained VGG: what it sees in an image, in place of a discriminator's maps.

Papers: VGG: Simonyan, Zisserman 2015 (1409.1556); its features as a loss, and their scale: Ledig et al. 2017
(1609.04802), section 2.2.1 and eq. 5.

    phi(x)      maps of the last convolution before the last pooling, after activation (phi_{5,4} of VGG-19)
    phi / 12.75 what is compared, as in the paper

The file holds tensors named as torchvision names them: features.0.weight, features.0.bias, features.2.weight ... Where
these numbers leave a gap of three, a pooling lies between; VGG-11, 13, 16 and 19 are read alike.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from anotwin.errors import BundleError, SettingsError
from anotwin.weights import read_header, read_tensors, refuse_pickle

SCALE = 1 / 12.75
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pixels in [0, 1], which VGG was trained on
CONVOLUTION = re.compile(r"features\.(\d+)\.weight")
SETTING = "translation.vgg"
FROM_TORCH = (
    "from a .pth of torchvision: safetensors.torch.save_file(torch.load(file, weights_only=True), 'vgg.safetensors')"
)


class VGG(nn.Module):
    """Images (B, 1 or 3, h, w) in [-1, 1], sides of 16 at least -> (B, C, h / 16, w / 16) >= 0, divided by 12.75."""

    mean: torch.Tensor  # (3, 1, 1)
    std: torch.Tensor

    def __init__(self, tensors: Mapping[str, torch.Tensor], where: str = "tensors") -> None:
        super().__init__()
        places = sorted(int(found[1]) for found in map(CONVOLUTION.fullmatch, tensors) if found)
        if len(places) < 2 or places[0] != 0 or not {after - before for before, after in pairwise(places)} <= {2, 3}:
            raise SettingsError(
                f"{where}: expected the convolutions of a VGG, features.0.weight, features.2.weight ..., got "
                f"{', '.join(sorted(tensors)[:3]) or 'no tensors'}; {SETTING} takes VGG-11, 13, 16 or 19 without batch "
                f"norm, {FROM_TORCH}"
            )
        self.pools_after = [after - before == 3 for before, after in pairwise(places)]
        self.convolutions, channels = nn.ModuleList(), 3
        for place in places:
            weight, bias = tensors[f"features.{place}.weight"], tensors.get(f"features.{place}.bias")
            if tuple(weight.shape[1:]) != (channels, 3, 3) or bias is None or bias.shape != weight.shape[:1]:
                raise SettingsError(
                    f"{where}: features.{place} is {tuple(weight.shape)}, expected (any, {channels}, 3, 3) and a bias"
                )
            layer = nn.Conv2d(channels, len(weight), 3, 1, 1)
            layer.load_state_dict({"weight": weight.float(), "bias": bias.float()})
            self.convolutions.append(layer)
            channels = len(weight)
        for name, values in (("mean", MEAN), ("std", STD)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)
        self.eval().requires_grad_(False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        hidden = ((images + 1) / 2 - self.mean) / self.std  # one channel becomes three
        for layer, pools in zip(self.convolutions, [*self.pools_after, False], strict=True):
            hidden = F.relu(layer(hidden))
            hidden = F.max_pool2d(hidden, 2) if pools else hidden
        return SCALE * hidden.float()


def vgg_loss(phi: VGG, made: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """|phi(made) - phi(real)|^2, eq. 5, of images (B, C, S, S); none through the real ones."""
    phi.to(real.device)
    with torch.no_grad():
        wanted = phi(real)
    return F.mse_loss(phi(made), wanted)


def load_vgg(path: str | Path) -> VGG:
    """Of a safetensors file; raises SettingsError that says what is wrong with it, and what is taken."""
    path = Path(path).expanduser()
    try:
        with path.open("rb") as stream:
            refuse_pickle(stream, str(path))
            read_header(stream, path.stat().st_size, str(path))
            tensors = read_tensors(stream, str(path))
    except OSError as error:
        raise SettingsError(f"{path}: cannot read {SETTING} ({error.strerror}); expected weights of a VGG") from None
    except BundleError as error:
        raise SettingsError(f"{SETTING}: {error}; {FROM_TORCH}") from None
    return VGG(tensors, str(path))
