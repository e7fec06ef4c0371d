"""What M and W learn of motion: which way a look goes, and which way is usual where."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter, maximum_filter
from torch import nn
from training_steps import backward

from anotwin import Settings
from anotwin.compare.places import TIMES
from anotwin.methods.adversary import adam, optimise
from anotwin.methods.flows import (
    COARSE,
    LEAST_LOG_SPREAD,
    LIGHT,
    NOISE,
    OVERLAID,
    Clips,
    Motion,
    Ways,
    clips_of,
    deviation,
    differs,
    half_of,
    in_own_light,
    motion_loss,
    overlaid,
    shifted,
    silhouettes_of,
    varied,
    ways_loss,
)
from anotwin.methods.protocol import freeze
from anotwin.seeding import generator

# -- M --------------------------------------------------------------------------------------------------------------


def test_frames_and_their_flow_are_moved_overlaid() -> None:
    """What lay at a place of the flow lies at the same one afterwards, whole places away; the border is repeated."""
    flow = torch.rand(30, 2, 40, 40)
    images = F.interpolate(flow[:, :1], scale_factor=COARSE)  # the first plane, at the size of frames
    moved, found = shifted(images, flow, generator(0, "shift"))
    assert torch.equal(F.interpolate(found[:, :1], scale_factor=COARSE), moved)
    ways = set()
    for before, after in zip(flow, found, strict=True):
        down, right = next(
            (down, right)
            for down in range(-4, 5)
            for right in range(-4, 5)
            if torch.equal(after[:, 4:-4, 4:-4], before.roll((-down, -right), (1, 2))[:, 4:-4, 4:-4])
        )
        ways.add((down, right))
        rows, columns = (np.clip(np.arange(40) + way, 0, 39) for way in (down, right))
        assert torch.equal(after, before[:, rows][:, :, columns])
    assert len(ways) > 15


def test_training_learns_which_way_a_look_goes() -> None:
    """Bodies with a bright front go ahead; M sees single frames."""
    torch.manual_seed(0)
    network, random = Motion(1, 8).train(), np.random.default_rng(0)
    body = np.ones((8, 10))
    body[:, :5] = -1
    images, before = np.zeros((2, 80, 1, 32, 32), np.float32)
    for number, (image, last) in enumerate(zip(images, before, strict=True)):
        way, (row, column) = 1 if number % 2 else -1, random.integers(6, 18, 2)
        for frame, offset in ((image, 0), (last, 1)):
            frame[0, row : row + 8, (column - 2 * way * offset + np.arange(10)) % 32] = (0.8 * body[:, ::way]).T
    frames, last = torch.from_numpy(images), torch.from_numpy(before)[:, None]
    flow = clips_of(frames, last).flow
    optimizer = adam(network, Settings().training, 3e-3)
    for step in range(150):
        rows = np.random.default_rng(step).integers(0, 60, 8)
        optimise(
            optimizer, motion_loss(network, Clips(frames[rows], last[rows], flow[rows]), generator(0, step)), backward
        )
    freeze(nn.ModuleDict({"motion": network}))
    with torch.no_grad():
        found, flow = network(frames[60:]), flow[60:]
    moves = flow.square().sum(1) > 1
    assert (found[:, 0] * flow[:, 0])[moves].sign().mean() > 0.6  # the way
    apart = (found - flow).square().sum(1).sqrt()[moves].mean()
    assert apart < 0.75 * flow.square().sum(1).sqrt()[moves].mean()


def test_frames_in_their_own_light_follow_no_exposure() -> None:
    images = 1.6 * torch.rand(3, 1, 32, 32) - 0.8
    small = in_own_light(images)
    assert torch.allclose(in_own_light(0.7 * images - 0.2), small, atol=1e-4)
    assert torch.allclose(small.mean((1, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(small.std((1, 2, 3), correction=0), torch.ones(3), atol=1e-3)


def test_frames_are_varied_each_by_itself() -> None:
    small = torch.linspace(-1, 1, 64).view(1, 1, 8, 8).expand(500, 1, 8, 8)
    made = varied(small, generator(0, "vary"))
    fits = [np.polyfit(small[0].flatten().numpy(), each.flatten().numpy(), 1) for each in made]
    gains, offsets = np.array(fits).T
    assert np.log(gains).std() == pytest.approx(LIGHT, rel=0.3)
    assert offsets.std() == pytest.approx(LIGHT, rel=0.2)
    lines = (
        torch.from_numpy(gains).float()[:, None, None, None] * small
        + torch.from_numpy(offsets).float()[:, None, None, None]
    )
    noise = (made - lines).std((1, 2, 3))
    assert 0.0 <= float(noise.min()) < 0.1 < float(noise.max()) < 1.3 * NOISE
    assert torch.equal(made, varied(small, generator(0, "vary")))


# -- W --------------------------------------------------------------------------------------------------------------


def lanes(count: int, seed: int, against: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Silhouettes and flows (.., 32, 32) of people, those above to the right, those below to the left, 2 or 3 each."""
    random = np.random.default_rng(seed)
    silhouettes, flow = np.zeros((count, 1, 32, 32), np.float32), np.zeros((count, 2, 32, 32), np.float32)
    for silhouette, flows in zip(silhouettes, flow, strict=True):
        for number in range(int(random.integers(2, 4))):
            right = bool(random.random() < 0.5)
            row, column = (
                (int(random.integers(3, 7)) if right else int(random.integers(18, 22))),
                random.integers(0, 28),
            )
            silhouette[0, row : row + 8, column : column + 4] = 0.9
            way = random.normal(1.0, 0.1) * (1 if right else -1)
            flows[0, row : row + 8, column : column + 4] = -way if against and number == 0 else way
    return torch.from_numpy(silhouettes), torch.from_numpy(flow)


def learnt(silhouettes: torch.Tensor, flow: torch.Tensor) -> Ways:
    torch.manual_seed(0)
    network = Ways(8).train()
    optimizer = adam(network, Settings().training, 3e-3)
    for step in range(200):
        rows = np.random.default_rng(step).integers(0, len(flow), 8)
        optimise(optimizer, ways_loss(network, silhouettes[rows], flow[rows], generator(0, step)), backward)
    freeze(nn.ModuleDict({"ways": network}))
    return network


def test_who_goes_against_the_others_at_his_place_is_far_from_usual() -> None:
    network = learnt(*lanes(200, 0))
    with torch.no_grad():
        usual, wrong = (
            deviation(network(silhouettes), flow, silhouettes).flatten(1).amax(1).numpy()
            for silhouettes, flow in (lanes(60, 1), lanes(60, 1, against=True))
        )
    assert np.quantile(wrong, 0.1) > 2 * np.quantile(usual, 0.9)


def test_where_both_ways_are_usual_neither_is_far_from_usual() -> None:
    """Its spread is as wide as they are apart: where people cross, ways tell nothing."""
    silhouettes, flow = lanes(200, 0)
    signs = torch.from_numpy(np.random.default_rng(5).choice([-1, 1], (200, 1, 1, 1))).float()
    network = learnt(silhouettes, flow * signs)
    unseen, ways = lanes(60, 1)
    with torch.no_grad():
        usual, other, fast = (
            deviation(network(unseen), each, unseen).flatten(1).amax(1) for each in (ways, -ways, 8 * ways)
        )
    assert 0.5 < float(usual.median() / other.median()) < 2
    assert float(fast.median()) > 2.5 * float(torch.maximum(usual, other).median())


def test_the_loss_is_that_of_a_laplace_distribution_where_somebody_is() -> None:
    """b / 2 exp(-|f - u| / b): minus its logarithm is the loss up to log 2, weighed by silhouettes."""

    class Says(nn.Module):
        def __init__(self, said: torch.Tensor) -> None:
            super().__init__()
            self.said = said

        def forward(self, _: torch.Tensor) -> torch.Tensor:
            return self.said

    random = generator(1)
    silhouettes, flow, said = (
        torch.rand(shape, generator=random) for shape in ((1, 1, 8, 8), (1, 2, 8, 8), (1, 4, 8, 8))
    )
    log_spread = LEAST_LOG_SPREAD + F.softplus(said[:, 2:] - LEAST_LOG_SPREAD)
    laplace = torch.distributions.Laplace(said[:, :2], log_spread.exp())
    expected = -(silhouettes * (laplace.log_prob(flow) + np.log(2))).sum() / silhouettes.sum()
    assert torch.allclose(ways_loss(Says(said), silhouettes, flow, generator(0)), expected, rtol=1e-4)  # type: ignore[arg-type]
    apart = ((flow - said[:, :2]).abs() / log_spread.exp()).sum(1, keepdim=True)
    assert torch.allclose(deviation(said, flow, silhouettes), silhouettes * apart, rtol=1e-4)


def test_a_spread_has_a_bound_that_it_can_come_back_from() -> None:
    said = torch.zeros(1, 4, 8, 8)
    said[:, 2:] = -12.0
    said.requires_grad_()
    silhouettes, flow = torch.ones(1, 1, 8, 8), torch.ones(1, 2, 8, 8)
    assert float(deviation(said, flow, silhouettes).detach().max()) <= 2 * np.exp(-LEAST_LOG_SPREAD)

    class Says(nn.Module):
        def forward(self, _: torch.Tensor) -> torch.Tensor:
            return said

    ways_loss(Says(), silhouettes, flow, generator(0)).backward()
    assert said.grad is not None
    assert (said.grad[:, 2:] < 0).all()  # wider is better


def test_nobody_is_no_loss() -> None:
    silhouettes, flow = torch.zeros(2, 1, 16, 16), torch.zeros(2, 2, 16, 16)
    assert float(ways_loss(Ways(4), silhouettes, flow, generator(0)).detach()) == 0
    assert not deviation(Ways(4)(silhouettes), flow, silhouettes).any()


def test_small_frames_are_enlarged_for_it() -> None:
    assert Ways(4)(torch.rand(2, 1, 8, 8)).shape == (2, 4, 8, 8)


def test_w_sees_silhouettes_and_where_a_place_is() -> None:
    network, seen = Ways(4), []
    network.unet.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    silhouettes = torch.rand(2, 1, 16, 16, generator=generator(5))
    network(silhouettes)
    (found,) = seen
    assert torch.equal(found[:, :1], silhouettes)
    for row in range(16):
        for column in range(16):
            at = [-1 + 2 * column / 15, -1 + 2 * row / 15]
            assert found[1, 1:, row, column].tolist() == pytest.approx(at, abs=1e-5)


def test_halves_of_the_footage_alternate_in_time() -> None:
    when = torch.arange(64) / 64
    expected = [part % 2 for part in range(TIMES) for _ in range(64 // TIMES)]
    assert half_of(when).tolist() == expected


def test_a_repeated_frame_teaches_m_nothing() -> None:
    torch.manual_seed(0)
    network = Motion(1, 4)
    images = torch.rand(3, 1, 32, 32, generator=generator(6))
    before = images[:, None].clone()
    before[1] += 0.1
    assert differs(images, before).flatten().tolist() == [0, 1, 0]
    flow = torch.rand(3, 2, 16, 16, generator=generator(7))
    other = flow.clone()
    other[[0, 2]] *= 3
    ours, theirs = (motion_loss(network, Clips(images, before, each), generator(8)) for each in (flow, other))
    assert torch.equal(ours, theirs)


def test_frames_that_are_missing_are_not_the_background_of_the_frame_itself() -> None:
    """After a black camera most of those some seconds back are missing, and stand for the frame itself."""
    ground = torch.zeros(1, 32, 32)
    frame = ground.clone()
    frame[:, 10:22, 12:16] = 0.8
    whole = torch.stack([*[ground] * 7, frame])[None]
    some = torch.stack([*[ground] * 2, *[frame] * 5, frame])[None]
    assert torch.equal(silhouettes_of(some, ground), silhouettes_of(whole, ground))
    assert silhouettes_of(some, ground)[0, 0, 14:18, 13:15].min() > 0.7


def test_frames_lie_over_each_other_each_with_its_flow() -> None:
    silhouettes, flow = (
        torch.rand(400, 1, 6, 6, generator=generator(2)),
        torch.rand(400, 2, 6, 6, generator=generator(3)),
    )
    s, f = overlaid(silhouettes, flow, generator(4))
    changed = (s != silhouettes).flatten(1).any(1)
    assert float(changed.float().mean()) == pytest.approx(OVERLAID, abs=0.1)
    assert bool((s >= silhouettes).all())
    for row in torch.flatten(changed.nonzero())[:40].tolist():
        fits = [
            other for other in range(400) if torch.equal(torch.maximum(silhouettes[row], silhouettes[other]), s[row])
        ]
        (other,) = fits
        expected = torch.where(silhouettes[other] > silhouettes[row], flow[other], flow[row])
        assert torch.equal(f[row], expected)
    assert torch.equal(f[~changed], flow[~changed])


def test_silhouettes_are_of_what_the_last_seconds_do_not_show_whatever_the_light() -> None:
    ground = gaussian_filter(np.random.default_rng(0).normal(size=(64, 64)), 2)
    ground = 0.3 * ground / np.abs(ground).max()
    before = np.repeat(ground[None], 7, 0)
    before[2, 10:40, 40:48] = 0.9  # somebody who has passed
    frame = ground.copy()
    frame[20:44, 20:28] = -0.9
    body = np.zeros((64, 64), bool)
    body[20:44, 20:28] = True
    for image in (frame, frame + 0.15, frame + np.linspace(-0.1, 0.1, 64)):
        frames = torch.from_numpy(np.concatenate([before, image[None]])).float()[None, :, None]
        small = F.avg_pool2d(frames[0], COARSE)[None]
        (found,) = silhouettes_of(small, torch.zeros(1, 32, 32))
        assert found.shape == (1, 32, 32)
        seen = F.interpolate(found[None], scale_factor=COARSE)[0, 0].numpy()
        assert seen[24:40, 22:26].min() > 0.7
        assert seen[~maximum_filter(body, 13)].max() < 0.3
