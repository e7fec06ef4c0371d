"""Networks made ready for the search compute the same function; the axes are a turn and nothing else."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from anotwin.methods.networks import Discriminator, Generator
from anotwin.records import ImageSpec
from anotwin.search.inference import (
    WIDEST,
    FoldedNetwork,
    along,
    fold_norms,
    for_search,
    latent_axes,
    search_dtype,
    turn_latents,
)
from anotwin.settings import NetworkSettings

DIM, SIDE = 7, 16
CPU = torch.device("cpu")
kinds = pytest.mark.parametrize("norm", ["none", "batch", "spectral"])


def pair(norm: str = "batch", channels: int = 3) -> tuple[Generator, Discriminator]:
    """Networks whose weights and statistics are far from their start, in evaluation mode."""
    torch.manual_seed(0)
    settings, spec = (
        NetworkSettings(latent_dim=DIM, base_channels=4, discriminator_norm=norm),
        ImageSpec(channels, SIDE),
    )
    networks = Generator(spec, settings), Discriminator(spec, settings)
    with torch.no_grad():
        for network in networks:
            for tensor in [*network.parameters(), *network.buffers()]:
                if tensor.is_floating_point():
                    tensor += 0.2 * torch.rand(tensor.shape)
            network(torch.randn(4, DIM) if network is networks[0] else torch.randn(4, channels, SIDE, SIDE))
            network.eval().requires_grad_(False)
    return networks


def latents(count: int = 5, dim: int = DIM) -> torch.Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(1))


@kinds
@pytest.mark.parametrize("channels", [1, 3])
def test_folding_changes_nothing_but_rounding(norm: str, channels: int) -> None:
    """In float64, where rounding is far below what a wrong fold would do."""
    g, d = (network.double() for network in pair(norm, channels))
    before = [copy.deepcopy(network.state_dict()) for network in (g, d)]
    images = g(latents().double())
    assert torch.allclose(fold_norms(g)(latents().double()), images, rtol=1e-10, atol=1e-12)
    for ours, theirs in zip(fold_norms(d)(images), d(images), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-10, atol=1e-12)
    for network, state in zip((g, d), before, strict=True):  # they are copies
        assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())


@kinds
def test_no_norm_is_left(norm: str) -> None:
    for network in pair(norm):
        folded = fold_norms(network)
        assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
        assert not any("parametrizations" in name for name, _ in folded.named_modules())
        assert not any(parameter.requires_grad for parameter in folded.parameters())


def test_only_norms_behind_convolutions_are_folded() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.BatchNorm2d(2)).eval()
    assert isinstance(fold_norms(network)[2], nn.BatchNorm2d)


@kinds
def test_gradients_are_those_of_the_networks(norm: str) -> None:
    g, d = (network.double() for network in pair(norm))
    fast_g, fast_d = (for_search(network, torch.float64) for network in (g, d))

    def gradient(g: nn.Module, d: nn.Module) -> torch.Tensor:
        z = latents().double().requires_grad_(True)
        return torch.autograd.grad(d(g(z)).features.sum(), z)[0]

    assert torch.allclose(gradient(fast_g, fast_d), gradient(g, d), rtol=1e-8)


def test_bf16_is_near() -> None:
    g, _ = pair()
    fast = for_search(g, torch.bfloat16)(latents().bfloat16())
    assert fast.dtype == torch.bfloat16
    assert (fast.float() - g(latents())).abs().mean() < 0.02


@kinds
@pytest.mark.parametrize("dtype, most", [(torch.float32, 1e-5), (torch.bfloat16, 0.03)])
def test_a_folded_network_takes_and_returns_float32(norm: str, dtype: torch.dtype, most: float) -> None:
    g, d = pair(norm)
    images, critique = g(latents()), d(g(latents()))
    folded, folded_critique = FoldedNetwork(g, dtype)(latents()), FoldedNetwork(d, dtype)(images)
    assert type(folded_critique) is type(critique)
    for ours, theirs in ((folded, images), *zip(folded_critique, critique, strict=True)):
        assert ours.dtype == torch.float32
        assert (ours - theirs).abs().mean() <= most * theirs.abs().mean().clamp_min(0.1)
    assert torch.equal(folded, folded.bfloat16().float()) == (dtype is torch.bfloat16)  # and not float32 all along
    assert not torch.equal(folded_critique.logits, folded_critique.logits.bfloat16().float())  # two digits are too few


def test_axes_are_orthonormal_and_those_of_the_first_weights() -> None:
    g = fold_norms(pair()[0])
    axes = latent_axes(g)
    assert torch.allclose(axes.T @ axes, torch.eye(DIM), atol=1e-6)
    weights = g.layers[1].weight.flatten(1)
    gram = axes.T @ (weights @ weights.T) @ axes
    assert (gram - gram.diag().diag()).abs().max() < 1e-5 * gram.diag().max()
    singular = torch.linalg.svdvals(weights.double()).flip(0).float()
    assert torch.allclose(gram.diag().sqrt(), singular, rtol=1e-4)


def test_a_turned_generator_is_the_generator_of_turned_latents() -> None:
    g = fold_norms(pair()[0].double())
    axes = latent_axes(g).double()
    y = latents().double()
    assert torch.allclose(turn_latents(g, axes)(y), g(y @ axes.T), rtol=1e-10, atol=1e-12)
    assert torch.allclose(along(y, axes), y @ axes)
    assert torch.allclose(along(along(y, axes), axes.T), y, atol=1e-6)


def test_along_looks_at_one_row_at_a_time() -> None:
    axes, many = latent_axes(fold_norms(pair()[0])), latents(9)
    assert torch.equal(torch.cat([along(row[None], axes) for row in many]), along(many, axes))


def test_the_axes_of_very_many_dimensions_are_left() -> None:
    wide = nn.Sequential(nn.ConvTranspose2d(WIDEST + 1, 1, 1))
    assert torch.equal(latent_axes(wide), torch.eye(WIDEST + 1))


@pytest.mark.parametrize("has", [False, True])
def test_auto_is_bf16_where_the_processor_has_it(has: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anotwin.search.inference._multiplies_bf16", lambda _device: has)
    assert search_dtype("auto", CPU) is (torch.bfloat16 if has else torch.float32)
    assert search_dtype("32", CPU) is torch.float32
    assert search_dtype("bf16", CPU) is torch.bfloat16


@pytest.mark.parametrize("avx, amx, expected", [(False, False, False), (True, False, True), (False, True, True)])
def test_capabilities_are_asked_of_torch(avx: bool, amx: bool, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    assert search_dtype("auto", CPU) is (torch.bfloat16 if expected else torch.float32)
