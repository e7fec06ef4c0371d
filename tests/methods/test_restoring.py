"""What pix2pix and srgan share: the U-Net, the comparing network, losses by closed form, and what each learns."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from anotwin import Settings
from anotwin.compare.side_by_side import FLAT
from anotwin.methods.adversary import set_rates
from anotwin.methods.comparer import Comparer, comparer_loss
from anotwin.methods.pix2pix import Pix2Pix, Restorer
from anotwin.methods.planted import Squares, mask_loss, planted_squares, restoring_loss
from anotwin.methods.registry import create, own_settings
from anotwin.methods.restoring import in_eights
from anotwin.methods.srgan import SRGAN, SRResNet, reduced
from anotwin.methods.unet import PatchDiscriminator, UNet, UNetMaps
from anotwin.records import Batch, ImageSpec
from anotwin.seeding import generator


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=generator(seed, "noise")) * 2 - 1


@pytest.mark.parametrize("side", [16, 32, 128])
@pytest.mark.parametrize("channels", [1, 3])
def test_maps_have_the_size_of_the_images(side: int, channels: int) -> None:
    found = UNet(channels, 2, 8)(noise(2, channels, side, side))
    assert found.maps.shape == (2, 2, side, side)
    assert found.deepest.shape == (2, 43, side // 16, side // 16)


def test_the_deepest_layer_sees_the_whole_of_a_square() -> None:
    """By the gradient of one place in the middle: every corner of 128 x 128 takes part in what is decided."""
    net = UNet(1, 1, 4).eval()
    images = noise(1, 1, 128, 128).requires_grad_()
    net(images).deepest.sum().backward()
    assert images.grad is not None
    corners = images.grad[0, 0][:8, :8], images.grad[0, 0][-8:, -8:]
    assert all(float(corner.abs().max()) > 0 for corner in corners)


def test_a_patch_discriminator_sees_patches_of_33_pixels() -> None:
    net = PatchDiscriminator(1, 4, -1)
    images = noise(1, 1, 64, 64).requires_grad_()
    net(images).logits[0, 0, 4, 4].backward()
    assert images.grad is not None
    rows, columns = np.nonzero(images.grad[0, 0].numpy())
    assert np.ptp(rows) == 32
    assert np.ptp(columns) == 32


def test_a_counterpart_follows_the_exposure_of_its_query() -> None:
    """G(a y + b) = a G(y) + b: what a lamp decides is not learnt."""
    torch.manual_seed(0)
    restorer = Restorer(1, 8).eval()
    for parameter in restorer.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    images = 0.4 * noise(2, 1, 32, 32)
    with torch.no_grad():
        bright, dark = restorer(images).counterparts, restorer(0.5 * images - 0.3).counterparts
    assert (bright - images).abs().max() > 0.01
    assert dark.numpy() == pytest.approx((0.5 * bright - 0.3).numpy(), abs=1e-4)


def test_a_pixel_beside_an_open_gate_is_repainted_too_and_no_other() -> None:
    restorer = Restorer(1, 8).eval()

    def one_open(images: torch.Tensor) -> UNetMaps:
        maps = torch.full((1, 2, 32, 32), -30.0)
        maps[:, 0, 10, 20], maps[:, 1] = 4.0, 1.0
        return UNetMaps(maps, images)

    restorer.unet.forward = one_open  # type: ignore[method-assign]
    images = 0.2 * noise(1, 1, 32, 32)
    changed = (restorer(images).counterparts - images).abs()[0, 0] > 1e-6
    rows, columns = np.nonzero(changed.numpy())
    assert set(rows.tolist()) == {9, 10, 11}
    assert set(columns.tolist()) == {19, 20, 21}
    assert len(rows) == 9


def test_masks_cost_what_the_formula_says() -> None:
    logits, masks = noise(2, 1, 8, 8) * 3, (noise(2, 1, 8, 8, seed=1) > 0).float()
    p, m = torch.sigmoid(logits).double().numpy(), masks.double().numpy()
    entropy = -(m * np.log(p) + (1 - m) * np.log(1 - p))
    focal = np.abs(m - p) ** 2 * entropy
    dice = 1 - (2 * (p * m).sum((1, 2, 3)) + 10) / (p.sum((1, 2, 3)) + m.sum((1, 2, 3)) + 10)
    assert float(mask_loss(logits, masks)) == pytest.approx(
        entropy.mean() + 2 * focal.mean() + 0.3 * dice.mean(), rel=1e-5
    )


def test_restoring_counts_what_was_planted_beside_the_whole() -> None:
    normals, masks = torch.zeros(1, 1, 10, 10), torch.zeros(1, 1, 10, 10)
    masks[..., :3, :3] = 1
    counterparts = normals + 0.4 * masks
    found = float(restoring_loss(counterparts, Squares(normals, normals, masks)))
    absolute = 0.4 * 9 / 100 + 0.5 * 0.4 * 9 / 10  # + 1 pixel: an empty mask divides by 1
    assert found == pytest.approx(absolute / (4 * FLAT))
    normals = 0.4 * noise(1, 1, 10, 10)  # in spreads of the normal square: as much in the dark as in the light
    loss, dark = (restoring_loss(a * (normals + 0.4 * masks), Squares(a * normals, normals, masks)) for a in (1, 0.3))
    assert float(loss) == pytest.approx(absolute / (4 * float(normals.std(correction=0))), rel=1e-5)
    assert float(dark) == pytest.approx(float(loss), rel=1e-5)


def test_rates_rise_and_then_fall_along_a_cosine() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)
    rates = []
    for step in range(100):
        set_rates({"a": optimizer}, {"a": 2.0}, step, 100)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates[0] < rates[2] <= 2
    assert rates[50] == pytest.approx(2 * (0.01 + 0.99 / 2))
    assert rates[99] == pytest.approx(2 * (0.01 + 0.99 * (1 + math.cos(0.99 * math.pi)) / 2))
    assert all(later <= earlier for earlier, later in pairwise(rates[4:]))


def test_in_eights_is_the_network_and_does_not_depend_on_the_number() -> None:
    net = Comparer(1, 4).eval()
    stacks = noise(11, 3, 32, 32)
    with torch.no_grad():
        expected = net(stacks)
    mask, decision = in_eights(net, stacks)
    assert torch.allclose(mask, expected.mask, atol=1e-5)
    assert torch.allclose(decision, expected.decision, atol=1e-5)
    for count in (1, 3, 8):
        assert torch.equal(in_eights(net, stacks[:count]).mask, mask[:count])


def test_a_fresh_restorer_is_nearly_a_copy() -> None:
    restorer, images = Restorer(1, 8).eval(), noise(2, 1, 64, 64)
    with torch.no_grad():
        found = restorer(images)
    assert torch.allclose(torch.sigmoid(found.gate).mean(), torch.sigmoid(torch.tensor(-2.0)), atol=0.1)
    assert float((found.counterparts - images).abs().mean()) < 0.25 * float(images.abs().mean())


def test_a_fresh_super_resolution_is_the_enlarged_reduction_give_or_take_what_is_added() -> None:
    net, images = SRResNet(1, 8).eval(), torch.full((1, 1, 32, 32), 0.3)
    torch.nn.init.zeros_(net.drawn.weight)
    torch.nn.init.zeros_(net.drawn.bias)  # type: ignore[arg-type]
    with torch.no_grad():
        assert torch.allclose(net(reduced(images)), images, atol=1e-6)


def test_squares_are_planted_by_the_generator_alone() -> None:
    images = noise(4, 1, 32, 32) * 0.2
    one, other = (planted_squares(images, generator(3, "planted")) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert not torch.equal(one.damaged, one.normals)
    outside = (one.masks == 0).expand_as(one.normals)
    assert torch.equal(one.damaged[outside], one.normals[outside])


def test_the_comparer_gives_no_gradient_to_the_counterpart() -> None:
    y, m = noise(2, 1, 32, 32), torch.zeros(2, 1, 32, 32)
    c = (y * 0.5).requires_grad_()
    comparer_loss(Comparer(1, 4), y, c, m).backward()
    assert c.grad is None


@pytest.mark.parametrize("name", ["pix2pix", "srgan"])
def test_a_restorer_learns_to_repair_stripes(name: str) -> None:
    """Smooth stripes with bright spots: after a short training the counterpart is nearer to what was there before."""
    rows = torch.linspace(0, 12, 32)[:, None].expand(32, 32)
    phases = torch.rand(64, generator=generator(0, "phases"))[:, None, None, None] * 6
    images = 0.5 * torch.sin(rows[None, None] + phases)
    settings = Settings().with_overrides(["networks.base_channels=8", "training.steps=120", "training.seed=1"])
    method = create(name, ImageSpec(1, 32), settings)
    trainer = method.trainer()
    for step in range(120):
        trainer.step(
            Batch(images[torch.randperm(64, generator=generator(1, step))[:16]]),
            step,
            generator(2, step),
            torch.Tensor.backward,
        )
    method.networks.eval()
    queries = images[:16].clone()
    queries[:, :, 12:18, 10:16] = 0.95
    with torch.no_grad():
        found = method.counterpart(Batch(queries, tuple(range(16)))).images
    spot = np.s_[:, :, 12:18, 10:16]
    assert float(F.l1_loss(found[spot], images[:16][spot])) < 0.6 * float(F.l1_loss(queries[spot], images[:16][spot]))


def test_methods_of_tiles_take_small_batches_for_more_steps_unless_told() -> None:
    assert own_settings("pix2pix")["training"]["batch_size"] == 16
    assert own_settings("twin") == {}
    told = Settings().with_overrides(["training.batch_size=8"]).completed(own_settings("srgan"))
    assert (told.training.batch_size, told.training.steps) == (8, own_settings("srgan")["training"]["steps"])
    assert (Pix2Pix.name, SRGAN.name) == ("pix2pix", "srgan")
