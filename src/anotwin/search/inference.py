"""Folded copies of networks, for the search or for one pass: the same function of the same images, in less time.

In frozen networks in evaluation mode, batch norm is a constant factor and shift, folded into the convolution before it;
spectral norm is a constant divisor; weights are channels last, which is faster, and in bf16 where the processor
multiplies bf16. In a search only the descent uses the copies: what is reported (scores, residuals, pictures) is
computed by the networks themselves. A method of one pass scores by its copies (`FoldedNetwork`) alone.
"""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.nn.utils.parametrize import is_parametrized, type_before_parametrizations

Precision = Literal["auto", "32", "bf16"]
WIDEST = 512  # latent dimensions: the axes of more take seconds


def search_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """The type that the descent computes in: "auto" is bf16 only where the processor has instructions for it."""
    if precision == "auto":
        precision = "bf16" if _multiplies_bf16(device) else "32"
    return torch.bfloat16 if precision == "bf16" else torch.float32


def for_search(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A frozen copy of a network in evaluation mode that computes the same, up to the rounding of `dtype`."""
    return fold_norms(network).to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


class FoldedNetwork(nn.Module):
    """A network `for_search`, with float32 inputs and float32 outputs."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network = for_search(network, dtype).eval()
        self.dtype = dtype

    def forward(self, inputs: torch.Tensor) -> Any:
        """A tensor, or a (named) tuple of them, as the network gives it."""
        return _as_float(self.network(inputs.to(self.dtype)))


def _as_float(outputs: Any) -> Any:
    if isinstance(outputs, torch.Tensor):
        return outputs.float()
    each = tuple(_as_float(output) for output in outputs)
    return outputs._make(each) if hasattr(outputs, "_make") else each


def fold_norms(network: nn.Module) -> nn.Module:
    """A frozen copy, exact to rounding, with all norms folded; batch norms must follow a convolution (Sequential)."""
    folded = copy.deepcopy(network).requires_grad_(False)
    for module in list(folded.modules()):
        if is_parametrized(module):
            _fold_parametrization(module)
        if isinstance(module, nn.Sequential):
            for place, (layer, norm) in enumerate(pairwise(list(module))):
                if isinstance(norm, nn.BatchNorm2d) and isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                    fused = fuse_conv_bn_eval(layer, norm, transpose=isinstance(layer, nn.ConvTranspose2d))
                    module[place], module[place + 1] = fused, nn.Identity()
    return folded.requires_grad_(False)


def _fold_parametrization(module: nn.Module) -> None:
    """Make computed weights plain ones. (torch's `remove_parametrizations` changes the class that copies share.)"""
    names = list(module.parametrizations)  # type: ignore[arg-type]
    weights = {name: getattr(module, name).detach().clone() for name in names}
    module.__class__ = type_before_parametrizations(module)
    del module._modules["parametrizations"]
    for name, weight in weights.items():
        module.register_parameter(name, nn.Parameter(weight, requires_grad=False))


def latent_axes(generator: nn.Module) -> torch.Tensor:
    """The directions of z that a folded generator tells apart, (Z, Z) orthonormal, one a column.

    Left singular vectors of the first weights: along them the loss is far better conditioned than along z's own
    coordinates, and Adam, which has one scale per coordinate, needs several times fewer steps. More than `WIDEST`
    dimensions keep their axes.
    """
    first = _first_layer(generator)
    weights = first.weight.detach().flatten(1).double()  # (Z, C 4 4)
    if len(weights) > WIDEST:
        return torch.eye(len(weights), device=weights.device)
    axes: torch.Tensor = torch.linalg.eigh(weights @ weights.T).eigenvectors.float()
    return axes


def turn_latents(generator: nn.Module, axes: torch.Tensor) -> nn.Module:
    """The folded generator y -> G(z), z = `axes` y: a copy, as fast, for the rotation is in its first weights."""
    turned = copy.deepcopy(generator)
    first = _first_layer(turned)
    weights = first.weight.detach()
    first.weight = nn.Parameter((axes.T @ weights.flatten(1)).view_as(weights), requires_grad=False)
    return turned


def along(latents: torch.Tensor, axes: torch.Tensor) -> torch.Tensor:
    """Latents (N, Z) in the coordinates of `axes` (Z, Z): `axes`^T z; `along(y, axes.T)` is the inverse."""
    # row by row: a matrix product adds in another order for other numbers of rows
    return torch.stack([(axes * latent[:, None]).sum(0) for latent in latents])


def _first_layer(generator: nn.Module) -> nn.ConvTranspose2d:
    return next(module for module in generator.modules() if isinstance(module, nn.ConvTranspose2d))


def _multiplies_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    known = getattr(torch.cpu, "_is_avx512_bf16_supported", None), getattr(torch.cpu, "_is_amx_tile_supported", None)
    return device.type == "cpu" and any(bool(ask()) for ask in known if ask is not None)
