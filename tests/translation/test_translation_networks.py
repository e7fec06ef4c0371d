"""How far networks see, that tiles agree with the whole, and that nothing enlarges in a checkerboard."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from anotwin.errors import SettingsError
from anotwin.methods.unet import doubled
from anotwin.records import ImageSpec
from anotwin.seeding import generator
from anotwin.settings import Settings
from anotwin.translation import pix2pix
from anotwin.translation.cyclegan import CycleGAN
from anotwin.translation.networks import PATCHES, PatchGAN, ResNet, apart, shuffle_as_nearest
from anotwin.translation.pix2pix import Pix2Pix
from anotwin.translation.protocol import TranslationMethod, TranslationSpec
from anotwin.translation.srgan import SRGAN

KINDS = [(CycleGAN, 1), (Pix2Pix, 1), (SRGAN, 2), (SRGAN, 4)]


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=generator(seed, "noise")) * 2 - 1


def method(kind: type[TranslationMethod], factor: int, *sets: str) -> TranslationMethod:
    torch.manual_seed(0)
    settings = Settings().with_overrides(["networks.base_channels=4", f"translation.factor={max(factor, 2)}", *sets])
    return kind(TranslationSpec(ImageSpec(1, 32), ImageSpec(1, 32 * factor), aligned=True), settings)


def positive(network: nn.Module) -> nn.Module:
    """The same with small positive weights: no two paths cancel and no ReLU is shut, a gradient shows every path."""
    for parameter in network.double().parameters():
        fan_in = parameter[0].numel() if parameter.dim() > 1 else 50
        nn.init.uniform_(parameter, 0.1 / fan_in, 0.3 / fan_in)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.weight, 4.0)
    return network


def seen(output: torch.Tensor, images: torch.Tensor) -> tuple[int, int]:
    """First and last column of the images that a value depends on."""
    (slope,) = torch.autograd.grad(output, images, retain_graph=True)
    columns = np.nonzero(slope[0].abs().sum((0, 1)).numpy())[0]
    return int(columns[0]), int(columns[-1])


@pytest.mark.parametrize(("kind", "factor"), KINDS)
def test_reach_is_how_far_a_pixel_depends_on_others(kind: type[TranslationMethod], factor: int) -> None:
    found = method(kind, factor)
    side = -(-3 * found.reach // 16) * 16
    images = (noise(1, 1, 16, side).double() * 0.01 + 0.5).requires_grad_()
    made = positive(found.networks["AtoB"])(images)
    far = []
    for place in range(side // 2 * factor, (side // 2 + found.stride) * factor):
        first, last = seen(made[0, 0, 8 * factor, place], images)
        far += [place // factor - first, last - place // factor]
    assert found.reach - 1 <= max(far) <= found.reach  # by 2 with one layer less than by 4


@pytest.mark.parametrize(("kind", "factor"), KINDS)
def test_a_tile_with_its_surroundings_is_translated_as_in_the_whole(kind: type[TranslationMethod], factor: int) -> None:
    found = method(kind, factor)
    around = -(-found.reach // 16) * 16
    side = 2 * around + 16
    images = noise(1, 1, 16, side + 64)
    whole = found.translate(images, "AtoB", seed=3)
    tile = found.translate(images[..., 32 : 32 + side], "AtoB", seed=3, at=(0, 32))
    kept = slice(around * factor, (around + 16) * factor)
    expected = whole[..., (32 + around) * factor : (48 + around) * factor]
    assert whole.std() > 1e-3
    assert tile[..., kept].numpy() == pytest.approx(expected.numpy(), abs=2e-5)


@pytest.mark.parametrize("patch", PATCHES)
def test_a_logit_sees_a_patch_of_the_size_that_its_name_says(patch: int) -> None:
    images = noise(1, 2, 128, 128).double().requires_grad_()
    network = PatchGAN(2, 2, patch, 128)
    for block in network.blocks[1:]:  # type: ignore[index]
        block[1] = nn.Identity()  # the norm, whose means are of the whole image
    logits = positive(network)(images).logits
    middle = logits.shape[-1] // 2
    first, last = seen(logits[0, 0, middle, middle], images)
    assert last - first + 1 == patch


def test_a_pixel_shuffle_begins_as_nearest_neighbour() -> None:
    layer = nn.Conv2d(3, 8, 3, 1, 1)
    shuffle_as_nearest(layer)
    hidden = layer(noise(2, 3, 6, 6))
    enlarged = F.interpolate(hidden[:, ::4], scale_factor=2, mode="nearest")
    assert torch.equal(F.pixel_shuffle(hidden, 2), enlarged)


def phases(images: torch.Tensor, period: int) -> float:
    """How much the places of a grid of `period` differ in the mean: the power of a checkerboard, 0 without one."""
    inner = images[..., 2 * period : -2 * period, 2 * period : -2 * period]
    blocks = inner.unfold(-2, period, period).unfold(-2, period, period)
    return float(blocks.mean((0, 2, 3)).std())


@pytest.mark.parametrize(("kind", "factor"), KINDS)
def test_no_network_makes_a_checkerboard_whatever_it_has_learnt(
    kind: type[TranslationMethod], factor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an image without any structure, apart from its borders: with any weights; a plain pixel shuffle does."""
    found = method(kind, factor, "translation.dropout=0")
    monkeypatch.setattr(pix2pix, "grain", lambda _seed, channels, _at, size: torch.ones(1, channels, *size))
    side = -(-2 * found.reach // 16) * 16 + 32
    flat = torch.full((1, 1, side, side), 0.3)
    middle = slice(found.reach * factor, -found.reach * factor)
    assert found.translate(flat, "AtoB")[..., middle, middle].std() < 1e-6
    changed = 0
    with torch.no_grad():
        for name, parameter in found.networks.named_parameters():
            if any(layer in name for layer in ("unet.out.", "drawn.", "twice.")):
                parameter.add_(0.3 * parameter.std() * torch.randn_like(parameter))  # no longer as nearest neighbour
                changed += 1
    assert changed
    assert found.translate(flat, "AtoB")[..., middle, middle].std() < 1e-6
    hidden = noise(1, 8, 1, 1).expand(-1, -1, 8, 8)
    assert phases(F.pixel_shuffle(hidden, 2), 2) > 0.1
    assert doubled(hidden).std((2, 3)).max() < 1e-6  # at the border too


def test_an_image_depends_on_no_other() -> None:
    torch.manual_seed(0)
    network, images = ResNet(1, 3, 4).eval(), noise(5, 1, 32, 48)
    together = apart(network, images)
    assert together.shape == (5, 3, 32, 48)
    for row in range(5):
        assert torch.equal(together[row], apart(network, images[row : row + 1])[0])
    assert torch.equal(together.flip(0), apart(network, images.flip(0)))


@pytest.mark.parametrize(("kind", "factor"), KINDS)
def test_folded_networks_translate_the_same(kind: type[TranslationMethod], factor: int) -> None:
    found = method(kind, factor)
    for module in found.networks.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    images = noise(2, 1, 32, 32)
    expected, fast = found.translate(images, "AtoB", 1), found.for_inference()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fast.networks.modules())
    assert fast.translate(images, "AtoB", 1).numpy() == pytest.approx(expected.numpy(), abs=1e-4)
    assert torch.equal(found.translate(images, "AtoB", 1), expected)


def test_training_squares_too_small_for_a_patch_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"translation\.patch=70: too large for squares of 16 pixels"):
        PatchGAN(1, 4, 70, 16)
    for patch, side in ((34, 16), (70, 32)):
        assert PatchGAN(1, 4, patch, side)(noise(1, 1, side, side)).logits.numel()


def test_the_patch_is_the_largest_that_squares_hold_where_none_is_named() -> None:
    for side, patch in ((16, 34), (32, 70), (128, 70)):
        ours, theirs = (PatchGAN(1, 4, each, side).state_dict() for each in (None, patch))
        assert {name: each.shape for name, each in ours.items()} == {name: each.shape for name, each in theirs.items()}
