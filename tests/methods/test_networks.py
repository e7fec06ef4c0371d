"""The DCGAN family: shapes and ranges at every size, features, and rows that do not see one another."""

from __future__ import annotations

import copy
from itertools import product

import pytest
import torch
import torch.nn.functional as F

from anotwin.errors import SettingsError
from anotwin.methods.networks import (
    DamageDiscriminator,
    Discriminator,
    Encoder,
    Generator,
    SmallConv,
    feature_block,
    widths,
)
from anotwin.records import ImageSpec
from anotwin.settings import SIZES, NetworkSettings

NORMS = ("none", "batch", "spectral")


def small(**changes: object) -> NetworkSettings:
    return NetworkSettings.model_validate({"latent_dim": 7, "base_channels": 2} | changes)


def images(spec: ImageSpec, count: int = 2) -> torch.Tensor:
    rng = torch.Generator().manual_seed(spec.size)
    return torch.rand(count, spec.channels, spec.size, spec.size, generator=rng) * 2 - 1


def test_widths_double_and_are_capped() -> None:
    assert widths(16, 4) == [4, 8]
    assert widths(64, 32) == [32, 64, 128, 256]
    assert widths(256, 4) == [4, 8, 16, 32, 32, 32]


@pytest.mark.parametrize("size, channels", list(product(SIZES, (1, 3))))
def test_generator_makes_images(size: int, channels: int) -> None:
    torch.manual_seed(0)
    generator = Generator(ImageSpec(channels, size), small())
    latents = 100 * torch.randn(2, 7)  # far out: tanh must hold
    made = generator(latents)
    assert made.shape == (2, channels, size, size)
    assert made.abs().max() <= 1
    assert made.std() > 0
    assert not torch.equal(made[0], made[1])


@pytest.mark.parametrize("size, channels, norm", list(product(SIZES, (1, 3), NORMS)))
def test_discriminator_judges_images(size: int, channels: int, norm: str) -> None:
    torch.manual_seed(0)
    spec = ImageSpec(channels, size)
    blocks = len(widths(size, 2))
    for layer in range(-blocks, blocks):
        discriminator = Discriminator(spec, small(discriminator_norm=norm, feature_layer=layer))
        logits, features = discriminator(images(spec))
        level = layer % blocks
        assert logits.shape == (2,)
        side = size // 2 ** (level + 1)
        assert features.shape == (2, widths(size, 2)[level] * side * side), layer
        assert torch.isfinite(logits).all()


@pytest.mark.parametrize("size, channels", list(product(SIZES, (1, 3))))
def test_encoder_makes_codes(size: int, channels: int) -> None:
    spec = ImageSpec(channels, size)
    assert Encoder(spec, small())(images(spec)).shape == (2, 7)


@pytest.mark.parametrize("norm", NORMS)
def test_features_are_the_activations_of_the_block(norm: str) -> None:
    torch.manual_seed(0)
    spec = ImageSpec(1, 32)
    discriminator = Discriminator(spec, small(discriminator_norm=norm, feature_layer=1)).eval()
    hidden = discriminator.blocks[1](discriminator.blocks[0](images(spec)))
    logits, features = discriminator(images(spec))
    assert torch.equal(features, hidden.flatten(1))
    last = discriminator.blocks[2](hidden).flatten(1)
    assert torch.allclose(logits, F.linear(last, discriminator.head.weight, discriminator.head.bias)[:, 0], atol=1e-6)


def test_layers_at_four_pixels_are_linear_maps() -> None:
    """The first of the generator and the last of the encoder are matrix products, written as convolutions."""
    torch.manual_seed(0)
    spec = ImageSpec(1, 16)
    generator, encoder = Generator(spec, small()).eval(), Encoder(spec, small()).eval()
    latents = torch.randn(3, 7)
    first = generator.layers[1]
    product = (latents @ first.weight.flatten(1)).reshape(3, -1, 4, 4)
    assert torch.allclose(generator.layers[:2](latents), product, atol=1e-6)
    last = encoder.layers[-2]
    hidden = encoder.layers[:-2](images(spec, 3))
    product = hidden.flatten(1) @ last.weight.flatten(1).T + last.bias
    assert torch.allclose(encoder(images(spec, 3)), product, atol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("norm", NORMS)
def test_a_row_is_the_same_in_every_batch(count: int, norm: str) -> None:
    torch.manual_seed(0)
    spec, values = ImageSpec(1, 16), small(base_channels=8, latent_dim=16, discriminator_norm=norm)
    x, z = images(spec, 32), torch.randn(32, 16)
    networks = (Generator(spec, values), Discriminator(spec, values), Encoder(spec, values))
    generator, discriminator, encoder = (network.eval().requires_grad_(False) for network in networks)
    for start in range(0, 32, count):
        rows = slice(start, start + count)
        assert torch.equal(generator(z[rows]), generator(z)[rows])
        assert torch.equal(discriminator(x[rows]).logits, discriminator(x).logits[rows])
        assert torch.equal(discriminator(x[rows]).features, discriminator(x).features[rows])
        assert torch.equal(encoder(x[rows]), encoder(x)[rows])


@pytest.mark.parametrize("norm", NORMS)
def test_judging_in_evaluation_mode_changes_nothing(norm: str) -> None:
    torch.manual_seed(0)
    spec = ImageSpec(1, 16)
    discriminator = Discriminator(spec, small(discriminator_norm=norm))
    discriminator(images(spec))  # spectral norm and running statistics have moved on
    discriminator.eval()
    before = copy.deepcopy(discriminator.state_dict())
    first, second = discriminator(images(spec)), discriminator(images(spec))
    assert torch.equal(first.logits, second.logits)
    assert all(torch.equal(before[name], tensor) for name, tensor in discriminator.state_dict().items())


def test_spectral_norm_bounds_every_layer() -> None:
    torch.manual_seed(0)
    spec = ImageSpec(1, 16)
    discriminator = Discriminator(spec, small(discriminator_norm="spectral"))
    for _ in range(50):
        discriminator(images(spec))  # one power iteration a call
    layers = [discriminator.head, *(block[0] for block in discriminator.blocks)]
    for layer in layers:
        assert float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), ord=2)) == pytest.approx(1, abs=0.02)


def test_norms_are_where_they_belong() -> None:
    def kinds(norm: str) -> list[str]:
        network = Discriminator(ImageSpec(1, 32), small(discriminator_norm=norm))
        return [type(module).__name__ for module in network.modules()]

    assert kinds("none").count("BatchNorm2d") == 0
    assert kinds("spectral").count("BatchNorm2d") == 0
    assert kinds("batch").count("BatchNorm2d") == 2  # not behind the image
    assert kinds("spectral").count("_SpectralNorm") == 4  # three blocks and the head


@pytest.mark.parametrize("size, channels", list(product((16, 32, 64), (1, 3))))
def test_a_damage_discriminator_takes_images(size: int, channels: int) -> None:
    torch.manual_seed(0)
    spec, outlines = ImageSpec(channels, size), []
    discriminator = DamageDiscriminator(spec, small(), kinds=5)
    critique = discriminator.critique(images(spec))
    assert critique.logits.shape == (2,)
    assert critique.kinds.shape == (2, 5)
    for level, width in enumerate(widths(size, 2), start=1):
        outlines.append((2, width, size // 2**level, size // 2**level))
    assert [tuple(each.shape) for each in critique.maps] == [*outlines, outlines[-1]]  # one block more at 4 x 4
    assert discriminator.last_width == widths(size, 2)[-1]
    assert all(value.isfinite().all() for value in (critique.logits, critique.kinds, critique.features, *critique.maps))
    assert not torch.equal(critique.kinds[0], critique.kinds[1])


@pytest.mark.parametrize("layer", range(-4, 4))
def test_its_features_are_the_directions_of_the_average_of_a_block(layer: int) -> None:
    torch.manual_seed(0)
    spec = ImageSpec(1, 32)
    discriminator = DamageDiscriminator(spec, small(feature_layer=layer), kinds=3)
    critique = discriminator.critique(images(spec, 4))
    average = critique.maps[layer].mean((2, 3))
    assert critique.features.shape == (4, discriminator.feature_width)
    assert torch.allclose(critique.features, average / average.norm(dim=1, keepdim=True), atol=1e-6)
    assert torch.allclose(critique.features.norm(dim=1), torch.ones(4), atol=1e-6)


def test_it_has_no_more_blocks_than_it_says() -> None:
    for layer in (-5, 4):
        with pytest.raises(SettingsError, match=rf"feature_layer={layer}: .*-4\.\.3"):
            DamageDiscriminator(ImageSpec(1, 32), small(feature_layer=layer), kinds=3)


def test_called_it_is_a_discriminator() -> None:
    torch.manual_seed(0)
    spec = ImageSpec(3, 16)
    discriminator = DamageDiscriminator(spec, small(), kinds=3).eval()
    critique, (logits, features) = discriminator.critique(images(spec)), discriminator(images(spec))
    assert torch.equal(logits, critique.logits)
    assert torch.equal(features, critique.features)


def test_dropout_changes_the_kinds_alone() -> None:
    """`kept` multiplies what the kinds are read from: they are an affine map of it, and nothing else depends on it."""
    torch.manual_seed(0)
    spec = ImageSpec(1, 16)
    discriminator = DamageDiscriminator(spec, small(), kinds=3).eval()
    x, kept = images(spec), torch.rand(2, discriminator.last_width, 4, 4)
    full, half, none = (discriminator.critique(x, part) for part in (None, kept, torch.zeros_like(kept)))
    for other in (half, none):
        assert torch.equal(other.logits, full.logits)
        assert torch.equal(other.features, full.features)
    weight, bias = discriminator.kinds.weight.flatten(1), discriminator.kinds.bias
    assert torch.allclose(none.kinds, bias.expand(2, 3))
    for critique, share in ((full, torch.ones_like(kept)), (half, kept)):
        assert torch.allclose(critique.kinds, F.linear((critique.maps[-1] * share).flatten(1), weight, bias), atol=1e-6)


@pytest.mark.parametrize("base, size", [(2, 16), (8, 16), (8, 32), (32, 32)])
def test_a_damage_critique_does_not_depend_on_the_batch(base: int, size: int) -> None:
    torch.manual_seed(0)
    spec = ImageSpec(1, size)
    discriminator = DamageDiscriminator(spec, small(base_channels=base), kinds=9).eval().requires_grad_(False)
    x = images(spec, 16)
    together = discriminator.critique(x)
    for count in (1, 2, 4, 8):
        for start in range(0, 16, count):
            rows = slice(start, start + count)
            critique = discriminator.critique(x[rows])
            assert torch.equal(critique.logits, together.logits[rows])
            assert torch.equal(critique.kinds, together.kinds[rows])
            assert torch.equal(critique.features, together.features[rows])


def test_the_small_convolution_of_a_single_image_is_a_convolution() -> None:
    """The same sums, and their gradients."""
    torch.manual_seed(0)
    layer = SmallConv(4)
    x = torch.randn(1, 4, 8, 8, requires_grad=True)
    layer(x).square().sum().backward()
    ours = x.grad, layer.weight.grad
    y, weight = x.detach().clone().requires_grad_(True), layer.weight.detach().clone().requires_grad_(True)
    plain = F.conv2d(y, weight, padding=1)
    plain.square().sum().backward()
    assert torch.allclose(layer(x), plain, atol=1e-6)
    for got, expected in zip(ours, (y.grad, weight.grad), strict=True):
        assert got is not None
        assert expected is not None
        assert torch.allclose(got, expected, atol=1e-4)


@pytest.mark.parametrize("blocks, layer, index", [(4, -1, 3), (4, -4, 0), (4, 0, 0), (4, 3, 3), (2, -2, 0)])
def test_feature_block_counts_from_both_ends(blocks: int, layer: int, index: int) -> None:
    assert feature_block(blocks, layer) == index


@pytest.mark.parametrize("layer", [-5, 4, 99])
def test_feature_block_out_of_range(layer: int) -> None:
    with pytest.raises(SettingsError, match=rf"feature_layer={layer}: .*-4\.\.3"):
        feature_block(4, layer)
