"""The layers at the image, written as matrix products, against torch's own convolutions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from anotwin.methods.networks import ImageConv, ImageConvTranspose

DOUBLE = torch.float64


def _pair(channels: int, transposed: bool) -> tuple[nn.Module, nn.Module, torch.Tensor]:
    """Ours and torch's with the same weights, and an input with a gradient."""
    torch.manual_seed(channels)
    if transposed:
        ours, theirs = ImageConvTranspose(6, channels), nn.ConvTranspose2d(6, channels, 4, 2, 1)
        given = torch.randn(3, 6, 5, 7, dtype=DOUBLE)
    else:
        ours, theirs = ImageConv(channels, 6), nn.Conv2d(channels, 6, 4, 2, 1)
        given = torch.randn(3, channels, 10, 14, dtype=DOUBLE)
    theirs.load_state_dict(ours.state_dict())
    return ours.double(), theirs.double(), given.requires_grad_(True)


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("transposed", [False, True])
def test_values_and_gradients_are_those_of_the_convolution(
    transposed: bool, channels: int, memory: torch.memory_format
) -> None:
    ours, theirs, given = _pair(channels, transposed)
    mine, other = (layer(given.contiguous(memory_format=memory)) for layer in (ours, theirs))
    assert mine.shape == other.shape
    torch.testing.assert_close(mine, other)
    pull = torch.randn(mine.shape, dtype=DOUBLE)
    wanted = [
        torch.autograd.grad(made, [given, *layer.parameters()], pull) for made, layer in ((mine, ours), (other, theirs))
    ]
    torch.testing.assert_close(*wanted)


@pytest.mark.parametrize("transposed", [False, True])
def test_gradients_of_gradients_are_those_of_the_convolution(transposed: bool) -> None:
    """R1 and the gradient penalty differentiate the gradient by the weights."""
    ours, theirs, given = _pair(1, transposed)
    seconds = []
    for layer in (ours, theirs):
        (gradient,) = torch.autograd.grad(layer(given).tanh().sum(), given, create_graph=True)
        seconds.append(torch.autograd.grad(gradient.square().sum(), layer.weight)[0])
    torch.testing.assert_close(*seconds)
    assert float(seconds[0].abs().max()) > 0


def test_without_a_bias() -> None:
    ours = ImageConv(1, 4, bias=False)
    images = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(ours(images), nn.functional.conv2d(images, ours.weight, None, 2, 1))


def test_the_picture_is_added_up_in_float32_where_the_weights_are() -> None:
    """Under autocast the products are bf16; a sum of four of them, rounded to 8 bits, would show as stripes."""
    layer = ImageConvTranspose(4, 1)
    hidden = torch.randn(2, 4, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        made = layer(hidden)
    assert made.dtype == torch.float32
    torch.testing.assert_close(made, layer(hidden), rtol=0.02, atol=0.02)
    assert layer.bfloat16()(hidden.bfloat16()).dtype == torch.bfloat16  # a network in bf16 stays in it


def test_what_reads_images_writes_channels_last() -> None:
    """The memory in which the convolutions behind it are fastest."""
    assert ImageConv(1, 4)(torch.randn(2, 1, 8, 8)).is_contiguous(memory_format=torch.channels_last)
