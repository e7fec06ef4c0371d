"""frames: a step written out, what training learns, what is remembered, and what each kind of evidence responds to."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from sklearn.metrics import roc_auc_score
from torch import nn
from training_steps import backward, changed, parameters_changed, state

from anotwin import Settings
from anotwin.compare.heatmap import gaussian
from anotwin.compare.motion import standing_out
from anotwin.compare.places import Usual, highest_of_cells, rarity, usual_of_cells
from anotwin.compare.side_by_side import FLAT, light
from anotwin.defects import intruders
from anotwin.domains.video.clips import Clip
from anotwin.domains.video.context import BACK, frames_before
from anotwin.domains.video.context import OFFSETS as DOMAINS
from anotwin.errors import SettingsError
from anotwin.methods import frames as frames_module
from anotwin.methods import spotter
from anotwin.methods.adversary import set_rates
from anotwin.methods.flows import (
    COARSE,
    LEAST_LOG_SPREAD,
    MOTION,
    MOVES,
    Clips,
    clips_of,
    deviation,
    half_of,
    in_own_light,
    mirrored,
    overlaid,
    shifted,
    varied,
)
from anotwin.methods.frames import (
    ADVERSARIAL,
    EVIDENCE,
    GRADIENT,
    INTENSITY,
    LEARNING_RATE,
    RIM,
    SMOOTH,
    WAYS,
    Frames,
    Predictor,
)
from anotwin.methods.planted import mask_loss
from anotwin.methods.protocol import LooksBack, RemembersNormals, freeze
from anotwin.methods.registry import create
from anotwin.methods.spotter import (
    BRIGHTNESS,
    CONTRAST,
    EVERY,
    FOLLOWS,
    MIRRORED,
    SHORT,
    VARIED,
    forwards,
    planted_intruders,
)
from anotwin.records import Batch, ImageSpec
from anotwin.seeding import generator
from given_normals import Given

SIDE = 64
OFFSETS = 24, 16, 8, 4, 3, 2, 1, 1  # some seconds back, next to it, just before it
WAY, UNUSUAL, STANDING, SPOTTED = range(4)  # evidence beside the error


def untrained(*overrides: str, side: int = SIDE, channels: int = 1) -> Frames:
    torch.manual_seed(0)
    words = ["networks.base_channels=4", "training.batch_size=8", *overrides]
    return cast(Frames, create("frames", ImageSpec(channels, side, view="frames"), Settings().with_overrides(words)))


def ground(side: int = SIDE) -> np.ndarray:
    """(side, side) in [-0.5, 0.1]."""
    made = gaussian_filter(np.random.default_rng(0).normal(size=(side, side)), 2, mode="wrap")
    return np.asarray(0.3 * made / np.abs(made).max() - 0.2)


def at(time: float, velocity: tuple[float, float], start: tuple[float, float] = (26, 26), size: int = 12) -> np.ndarray:
    """The ground with a textured body that goes so many rows and columns a frame."""
    body = gaussian_filter(np.random.default_rng(1).normal(size=(size, size)), 1.5)
    row, column = round(start[0] + velocity[0] * time), round(start[1] + velocity[1] * time)
    wide = np.pad(ground(), SIDE)  # it may be out of the picture
    row, column = (min(max(SIDE + place, 0), 2 * SIDE) for place in (row, column))
    wide[row : row + size, column : column + size] = 0.5 + 0.4 * body / np.abs(body).max()
    return wide[SIDE:-SIDE, SIDE:-SIDE]


def batch_of(*clips: tuple[float, float], time: int = 0, gone_before: int | None = None) -> Batch:
    """A frame of a body of each velocity, and those before it; earlier than `gone_before` frames it was not there."""
    images, context = [], []
    for velocity in clips:
        images.append(at(time, velocity))
        context.append(
            [
                ground() if gone_before is not None and offset > gone_before else at(time - offset, velocity)
                for offset in OFFSETS
            ]
        )
    made = [torch.from_numpy(np.array(each)).float() for each in (images, context)]
    return Batch(made[0][:, None], tuple(range(len(clips))), made[1][:, :, None])


def moving(count: int, seed: int, side: int = 32) -> Given:
    """Frames of textures that shift as a whole, by up to two pixels a frame in any direction, and those before."""
    random = np.random.default_rng(seed)
    images, context = [], []
    for _ in range(count):
        wide = gaussian_filter(random.normal(size=(side, side)), 1.5, mode="wrap")
        wide, velocity = 0.8 * wide / np.abs(wide).max(), random.integers(-2, 3, 2)
        images.append(wide)
        context.append([np.roll(wide, -offset * velocity, (0, 1)) for offset in OFFSETS])
    made = [torch.from_numpy(np.array(each)).float() for each in (images, context)]
    return Given(made[0][:, None], made[1][:, :, None])


# -- a step ---------------------------------------------------------------------------------------------------------


def no_mirror(seed: int, rows: int) -> torch.Generator:
    """A generator by which rows are exchanged or not, and which rows."""
    return generator(seed, "mirror", rows)


@pytest.mark.parametrize("step", [0, 7])
def test_a_step_is_the_one_written_out(step: int) -> None:
    method, given = untrained("training.steps=20", side=32), moving(8, 1)
    trainer = method.trainer()
    g, m, u, o, p, d = (
        copy.deepcopy(method.networks[name]).train().requires_grad_(True)
        for name in ("generator", "motion", *WAYS, "spotter", "discriminator")
    )
    rates = dict.fromkeys("gmuop", LEARNING_RATE) | {"d": 0.1 * LEARNING_RATE}
    betas = trainer.settings.beta1, trainer.settings.beta2
    nets = {"g": g, "m": m, "u": u, "o": o, "p": p, "d": d}
    own = {name: torch.optim.Adam(net.parameters(), betas=betas) for name, net in nets.items()}
    set_rates(own, rates, step, 20)
    given.context[2, -1] = given.images[2]  # a repeated frame
    new = (given.images != given.context[:, -1]).flatten(1).any(1)
    assert not new[2]
    assert new.sum() > 4
    losses = trainer.step(given.batch(np.arange(8)), step, no_mirror(step, 8), backward)

    rng = no_mirror(step, 8)
    swap = torch.rand(8, generator=rng) < 0.5
    assert 0 < swap.sum() < 8
    x = torch.stack([image.flip(-1) if turn else image for image, turn in zip(given.images, swap, strict=True)])
    before = torch.stack([each.flip(-1) if turn else each for each, turn in zip(given.context, swap, strict=True)])
    s = torch.stack([each[-SHORT - 1 : -1].std(correction=0).clamp(min=FLAT) for each in before])[:, None, None, None]
    c = g(before)
    loss_d = (1 - d(x).logits).clamp(min=0).mean() + (1 + d(c.detach()).logits).clamp(min=0).mean()
    own["d"].zero_grad()
    loss_d.backward()
    own["d"].step()
    w = 1 + MOTION * torch.minimum((x - before[:, -1]).abs() / s, torch.ones(()))
    loss_int = (w * (c - x).abs() / s).mean()
    across, down = (c - x)[..., 1:] - (c - x)[..., :-1], (c - x)[..., 1:, :] - (c - x)[..., :-1, :]
    loss_gd = (across.abs() / s).mean() + (down.abs() / s).mean()
    loss_g = -d(c).logits.mean()
    own["g"].zero_grad()
    (INTENSITY * loss_int + GRADIENT * loss_gd + ADVERSARIAL * loss_g).backward()
    own["g"].step()
    came = clips_of(given.images, given.context).flow
    turned = came.flip(-1) * torch.tensor([-1.0, 1.0])[:, None, None]
    flow = torch.stack([b if turn else a for a, b, turn in zip(came, turned, swap, strict=True)])
    moved, f = shifted(x, flow, rng)
    v = torch.where(torch.hypot(f[:, :1], f[:, 1:]) > MOVES, 1 + MOTION, 1.0)
    v[~new] = 0
    loss_m = (v * (m.unet(varied(in_own_light(moved), rng)).maps - f).abs()).mean()
    own["m"].zero_grad()
    loss_m.backward()
    own["m"].step()
    clips = in_order(given.images, given.context)
    b = p.background if step else clips[:, -1].mean(0)
    b = b + FOLLOWS * torch.sign(clips[:, -1] - b).mean(0)
    small = F.avg_pool2d(torch.cat([given.context[:, : -SHORT - 1], given.images[:, None]], 1)[:, :, 0], 2)
    stands_out = standing_out(small[:, -1:], small[:, :-1].median(1, keepdim=True).values)
    stands_out[~new] = 0
    along = torch.linspace(-1, 1, 16)
    grid = torch.stack([along.expand(16, 16), along[:, None].expand(16, 16)]).expand(4, -1, -1, -1)
    loss_w = 0.0
    for half, (name, network) in enumerate((("u", u), ("o", o))):  # of 8 frames every other one
        shown, f = overlaid(stands_out[half::2], came[half::2], rng)
        said = network.unet(torch.cat([shown, grid], 1)).maps
        wide = LEAST_LOG_SPREAD + F.softplus(said[:, 2:] - LEAST_LOG_SPREAD)
        loss = (shown * ((f - said[:, :2]).abs() / wide.exp() + wide)).sum() / shown.sum()
        own[name].zero_grad()
        loss.backward()
        own[name].step()
        loss_w = loss_w + loss
    planted = planted_intruders(clips, b, rng)
    loss_p = mask_loss(p(planted.clips, planted.background), planted.masks)
    own["p"].zero_grad()
    loss_p.backward()
    own["p"].step()

    expected = {"loss_int": loss_int, "loss_gd": loss_gd, "loss_m": loss_m, "loss_d": loss_d, "loss_g": loss_g}
    expected |= {"loss_w": loss_w, "loss_p": loss_p}
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        assert float(losses[name]) == pytest.approx(float(value.detach()), rel=1e-4, abs=1e-5), name
        assert not losses[name].requires_grad
    for net, ours in (
        (g, "generator"),
        (m, "motion"),
        (u, WAYS[0]),
        (o, WAYS[1]),
        (p, "spotter"),
        (d, "discriminator"),
    ):
        for key, value in dict(net.named_parameters()).items():
            apart = (dict(method.networks[ours].named_parameters())[key] - value).abs()
            # Adam makes whole steps of gradients that are nothing but rounding
            assert (apart > 1e-5).float().mean() < 0.02, (ours, key)


def test_each_network_learns_from_its_own_loss() -> None:
    method, given = untrained(side=32), moving(8, 2)
    trainer = method.trainer()
    before = state(trainer.networks)
    trainer.step(Batch(given.images, context=given.context), 0, generator(0), backward)
    assert parameters_changed(trainer.networks, before) == {"generator", "motion", *WAYS, "spotter", "discriminator"}
    for name in ("generator", "motion", *WAYS, "spotter", "discriminator"):
        before = state(trainer.networks)
        for other in trainer.optimizers:
            trainer.rates[other] = 0.0 if other == name else LEARNING_RATE
        trainer.step(Batch(given.images, context=given.context), 1, generator(1), backward)
        assert name not in parameters_changed(trainer.networks, before)
    assert "norms" not in trainer.networks  # what is remembered is not learnt


def test_left_and_right_are_exchanged_in_the_frame_and_in_those_before_it() -> None:
    images = torch.rand(40, 1, 8, 8)
    before = images[:, None] + torch.arange(7.0)[None, :, None, None, None]
    flow = torch.rand(40, 2, 4, 4)
    x, context, found = mirrored(Clips(images, before, flow), generator(0, "mirror"))
    turned = [torch.equal(one, image.flip(-1)) for one, image in zip(x, images, strict=True)]
    assert 8 < sum(turned) < 32
    for row, turn in enumerate(turned):
        assert torch.equal(x[row], images[row].flip(-1) if turn else images[row])
        assert torch.equal(context[row], before[row].flip(-1) if turn else before[row])
        right, down = flow[row].flip(-1) if turn else flow[row]
        assert torch.equal(found[row], torch.stack([-right if turn else right, down]))


@pytest.mark.parametrize("count", [2, 5])
def test_a_preview_is_frames_and_what_was_predicted(count: int) -> None:
    method, given = untrained(side=32), moving(count, 3)
    trainer = method.trainer()
    before = state(trainer.networks)
    shown = trainer.preview(Batch(given.images, context=given.context))
    half = (count + 1) // 2
    assert shown.shape == (count, 1, 32, 32)
    assert torch.equal(shown[:half], given.images[:half])
    predictor = copy.deepcopy(trainer.networks["generator"]).eval()
    with torch.no_grad():
        assert torch.allclose(shown[half:], predictor(given.context[: count - half]), atol=1e-6)
    assert changed(before, state(trainer.networks)) == set()
    assert trainer.networks["generator"].training


# -- what is learnt -------------------------------------------------------------------------------------------------


def errors(method: Frames, given: Given) -> tuple[float, float]:
    """Mean |x - c|, and that of the frame before in the place of c."""
    assert given.context is not None
    batch = Batch(given.images, tuple(range(len(given))), given.context)
    found = method.counterpart(batch).images
    return float((found - given.images).abs().mean()), float((given.context[:, -1] - given.images).abs().mean())


def test_training_predicts_better_than_a_copy_of_the_frame_before() -> None:
    method, training, unseen = (
        untrained("training.steps=100", "networks.base_channels=8", side=32),
        moving(200, 4),
        moving(40, 5),
    )
    before, copied = errors(method, unseen)
    trainer = method.trainer()
    for step in range(100):
        rows = np.random.default_rng(step).integers(0, 200, 8)
        losses = trainer.step(training.batch(rows), step, generator(0, step), backward)
        assert all(bool(value.isfinite()) for value in losses.values())
    freeze(method.networks)
    after, _ = errors(method, unseen)
    assert after < 0.8 * copied
    assert after < 0.8 * before


def test_a_prediction_follows_the_exposure() -> None:
    """G(a y + b) = a G(y) + b: what a cloud decides is not learnt."""
    torch.manual_seed(0)
    predictor = Predictor(1, 4).eval()
    for parameter in predictor.parameters():
        nn.init.normal_(parameter, std=0.1)
    before = 0.3 * torch.rand(3, 8, 1, 32, 32) - 0.15
    with torch.no_grad():
        usual, other = predictor(before), predictor(0.5 * before - 0.3)
    assert (usual - before[:, -SHORT - 1 : -1].mean(1)).abs().max() > 0.01
    assert torch.allclose(other, 0.5 * usual - 0.3, atol=1e-4)
    assert torch.equal(usual, predictor(torch.cat([torch.rand(3, 3, 1, 32, 32), before[:, 3:]], 1)).detach())


def test_light_is_the_mean_and_the_spread_of_the_frames() -> None:
    frames = torch.rand(3, 4, 3, 8, 8) * torch.tensor([1.0, 0.1, 0.0])[:, None, None, None, None]
    mean, spread = light(frames.flatten(1, 2))
    for row in range(3):
        assert float(mean[row]) == pytest.approx(float(frames[row].mean()), abs=1e-6)
        assert float(spread[row]) == pytest.approx(max(float(frames[row].std(correction=0)), FLAT), rel=1e-4)
    assert mean.shape == spread.shape == (3, 1, 1, 1)


# -- evidence -------------------------------------------------------------------------------------------------------


def seen(method: Frames, batch: Batch) -> np.ndarray:
    latents = method.counterpart(batch).latents
    assert latents is not None
    assert latents.shape[1:] == (len(EVIDENCE) - 1, SIDE // COARSE, SIDE // COARSE)
    return latents.numpy()


def inside(maps: torch.Tensor) -> torch.Tensor:
    """A copy with nothing at the rim."""
    found, rim = torch.zeros_like(maps), round(RIM * maps.shape[-1])
    rows = slice(rim, maps.shape[-1] - rim)
    found[..., rows, rows] = maps[..., rows, rows]
    return found


def remembering(*clips: tuple[float, float], **changes: str) -> Frames:
    """Of frames of bodies of these velocities, at many times."""
    method = untrained(*(f"{key}={value}" for key, value in changes.items()))
    made = [batch_of(*clips, time=time) for time in range(-12, 12)]
    method.remember_normals(
        Given(torch.cat([each.images for each in made]), torch.cat([each.context for each in made]))
    )
    return method


def in_order(images: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """Frames some seconds back, next to a query, and it, (B, T, C, S, S)."""
    return torch.stack([*before[:, :-1].unbind(1), images], 1)


def test_what_is_spotted_is_log_1_exp_p_smoothed() -> None:
    method, batch = untrained(side=32), moving(3, 14)
    found = method.counterpart(Batch(batch.images, (1, 2, 3), batch.context))
    p = method.networks["spotter"](in_order(batch.images, batch.context))
    expected = gaussian(F.avg_pool2d((1 + p.exp()).log(), COARSE)[:, 0], SMOOTH * 16)
    assert torch.allclose(found.latents[:, SPOTTED], expected, atol=1e-4)


def test_the_spotter_sees_the_frame_beside_those_before_and_the_background() -> None:
    method, batch = untrained(), moving(3, 14, SIDE)
    seen: list[torch.Tensor] = []
    spotter_ = method.networks["spotter"]
    spotter_.unet.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))  # type: ignore
    spotter_.background.copy_(torch.rand(1, SIDE, SIDE, generator=generator(1)))
    clips, other = in_order(batch.images, batch.context), torch.rand(3, 1, SIDE, SIDE, generator=generator(2))
    spotter_(clips)
    spotter_(clips, other)
    for background, stacks in zip((spotter_.background.expand(3, -1, -1, -1), other), seen, strict=True):
        for row, clip in enumerate(clips[:, :, 0]):
            near, query = clip[3:7], clip[7]  # of OFFSETS: 4, 3, 2, 1
            stack = [*(near - near.mean()), query - near.mean(), query - near[3]]
            stack += [query - clip[:3].mean(0), query - background[row, 0]]
            assert torch.allclose(stacks[row], torch.stack(stack) / near.std(correction=0).clamp(min=FLAT), atol=1e-4)


def test_the_background_follows_the_median_of_frames() -> None:
    follower = untrained(side=32).networks["spotter"]
    random = generator(4, "frames")
    for step in range(600):  # grey, and three times in ten somebody bright in front of it
        walkers = (torch.rand(8, 1, 32, 32, generator=random) < 0.3).float()
        frames = -0.2 + 0.8 * walkers + 0.02 * torch.randn(8, 1, 32, 32, generator=random)
        follower.follow(frames, step)
        if step == 0:
            assert float((follower.background + 0.2).abs().max()) > 0.1
    assert float((follower.background + 0.2).abs().max()) < 0.04


def test_intruders_are_in_the_frames_and_in_those_before(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MIRRORED", "VARIED", "NOISE"):
        monkeypatch.setattr(spotter, name, 0.0)
    given = moving(40, 15)
    clips = torch.cat([given.context[:, :-1], given.images[:, None]], 1)
    found = planted_intruders(clips, torch.zeros(1, 32, 32), generator(3, "intruders"))
    assert found.masks.shape == (40, 1, 32, 32)
    changed = (found.clips != clips).flatten(2).any(2)  # (B, T)
    marked = found.masks.flatten(1).any(1)
    assert marked.float().mean() > 0.4
    assert changed[marked][:, -SHORT - 1 :].float().mean() > 0.7  # next to it nearly all of them
    trails = changed[marked][:, : -SHORT - 1].any(1).float().mean()
    assert 0.2 < trails < 0.95  # some seconds ago some were there
    assert (~changed).all(1).any()  # some stay normal
    again = planted_intruders(clips, torch.zeros(1, 32, 32), generator(3, "intruders"))
    assert all(torch.equal(one, other) for one, other in zip(found, again, strict=True))


def test_who_is_planted_stands_in_the_light_of_the_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intruders, "KINDS", {"fast": 1.0})
    monkeypatch.setattr(spotter, "NOISE", 0.0)
    given = walking(40, 18, noise=0.0)
    clips = torch.cat([given.context[:, :-1], given.images[:, None]], 1)
    found = planted_intruders(clips, torch.zeros(1, 32, 32), generator(3, "intruders"))
    assert found.masks.flatten(1).any(1).float().mean() > 0.3
    for made in found.clips:  # ground and people: of two lights there would be two grounds
        share = ((made - made.min()) / (made.max() - made.min())).flatten()
        assert ((share > 0.02) & (share < 0.9)).float().mean() < 0.02


def test_frames_in_the_order_of_time_are_told_from_mirrored_ones() -> None:
    """As the domain hands them over: at the beginning of a clip those after a frame stand in for those before."""
    clip = Clip("a", 0, 60)
    frames = torch.rand(60, 1, 16, 16, generator=generator(2))
    before = torch.stack([frames[list(frames_before(clip, index))] for index in range(60)])
    assert forwards(before).tolist() == [index >= SHORT for index in range(60)]
    times = [*range(-SHORT - EVERY * len(BACK), -SHORT, EVERY), *range(-SHORT, 1)]  # as `planted_intruders` takes them
    assert times == [-offset for offset in DOMAINS[:-1]] + [0]


def test_the_spotter_says_nothing_of_frames_beside_mirrored_ones_and_learns_nothing_from_them() -> None:
    method, batch = untrained(side=32), moving(6, 14)
    batch.context[:3, -2] = batch.images[:3].flip(-1)  # another frame than that just before
    found = method.counterpart(Batch(batch.images, tuple(range(6)), batch.context)).latents
    assert not found[:3, SPOTTED].any()
    assert (found[3:, SPOTTED] > 0).all()
    seen: list[torch.Tensor] = []
    trainer = method.trainer()
    method.spotter.unet.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    trainer.step(Batch(batch.images, context=batch.context), 0, generator(0), backward)
    assert len(seen[0]) == 3


def test_neither_light_nor_noise_nor_a_mirror_is_an_intruder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intruders, "SPOILED", 0.0)
    given = moving(100, 15)
    clips = torch.cat([given.context[:, :-1], given.images[:, None]], 1)
    usual = moving(1, 16).images[0]
    found = planted_intruders(clips, usual, generator(3, "intruders"))
    assert not found.masks.any()
    mirrored_too = []
    for clip, made, background in zip(clips, found.clips, found.background, strict=True):
        fits = []
        for before, own in ((clip, usual), (clip.flip(-1), usual.flip(-1))):
            # one light for all frames: what remains of the best linear fit is noise
            x, y, apart = before - before.mean(), made - made.mean(), background - background.mean()
            slope = (x * y).sum() / x.square().sum()
            own = own - own.mean()
            likeness = (own * apart).sum() / (own.norm() * apart.norm())
            fits.append((float((y - slope * x).std()), float(slope), float(made.mean() - before.mean()), likeness))
        mirror = fits[1][0] < fits[0][0]
        residual, slope, brighter, likeness = fits[mirror]
        assert residual < 1.2 * spotter.NOISE
        assert likeness > 0.999  # the background is mirrored with its clip
        mirrored_too.append((mirror, math.log(slope), brighter))
    share, contrast, brightness = np.array(mirrored_too).T
    assert share.mean() == pytest.approx(MIRRORED, abs=0.15)
    assert contrast.std() == pytest.approx(CONTRAST * VARIED**0.5, rel=0.3)
    assert brightness.std() == pytest.approx(BRIGHTNESS * VARIED**0.5, rel=0.3)


def walking(count: int, seed: int, noise: float = 0.02) -> Given:
    """Frames of 32 x 32 in which a bright bar goes to the right, a pixel a frame, over a dark ground."""
    random = np.random.default_rng(seed)
    frames = np.full((count, len(OFFSETS) + 1, 1, 32, 32), -0.4, np.float32)
    frames += random.normal(0, noise, frames.shape).astype(np.float32)
    for clip in frames:
        row, column = random.integers(4, 20), random.integers(0, 32)
        for frame, offset in zip(clip, (*OFFSETS, 0), strict=True):
            frame[:, row : row + 8, (column - offset + np.arange(3)) % 32] = 0.4
    made = torch.from_numpy(frames)
    made[:, -2] = made[:, -3]  # the frame just before, twice
    return Given(made[:, -1], made[:, :-1])


def test_the_spotter_learns_to_mark_intruders_and_nothing_else() -> None:
    method, training = untrained("training.steps=300", "networks.base_channels=8", side=32), walking(120, 16)
    trainer = method.trainer()
    for step in range(300):
        rows = np.random.default_rng(step).integers(0, 120, 8)
        trainer.step(training.batch(rows), step, generator(0, step), backward)
    freeze(method.networks)
    unseen = walking(60, 17)
    p, clips = method.networks["spotter"], in_order(unseen.images, unseen.context)
    y, background, masks = planted_intruders(clips, p.background, generator(9, "unseen"))
    found = p(y, background)
    assert roc_auc_score(masks.flatten().numpy(), found.flatten().numpy()) > 0.9
    normal, spoiled = p(clips), masks.flatten(1).any(1)
    highest = torch.cat([normal, found[spoiled]]).flatten(1).amax(1).numpy()
    assert roc_auc_score(np.repeat([0, 1], [60, int(spoiled.sum())]), highest) > 0.8


def test_motion_that_was_predicted_is_not_unusual() -> None:
    """|f - m|: the network is taken to predict 3 pixels to the right wherever something moves."""
    method = untrained()

    class ToTheRight(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            found = clips_of(batch_of((0, 3)).images, batch_of((0, 3)).context).flow
            return found.expand(len(images), -1, -1, -1)

    method.networks["motion"] = ToTheRight()
    right, left, still = seen(method, batch_of((0, 3), (0, -3), (0, 1)))[:, UNUSUAL].max((1, 2))
    assert right < 0.01
    assert 0 < still < 0.7 * left  # 3 to the left instead of 3 to the right


def test_error_way_and_motion_say_nothing_of_the_rim(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = torch.zeros(1, 1, 2 * SIDE, 2 * SIDE)
    rim = COARSE * round(RIM * SIDE)
    assert rim > 1
    frames[..., :rim] = frames[..., -rim:, :] = 1.0
    assert frames_module._error(frames, torch.zeros_like(frames)).max() == 0
    frames[..., rim] = 1.0
    assert frames_module._error(frames, torch.zeros_like(frames)).max() > 0.01

    method, batch = untrained(), batch_of((0, 1))
    flow, silhouettes = (
        torch.ones(1, 2, SIDE // COARSE, SIDE // COARSE),
        torch.ones(1, 1, SIDE // COARSE, SIDE // COARSE),
    )
    monkeypatch.setattr(frames_module, "clips_of", lambda images, before: Clips(images, before, flow))
    monkeypatch.setattr(frames_module, "silhouettes_of", lambda *_: silhouettes)
    unusual = (flow - method.networks["motion"](batch.images)).square().sum(1).sqrt()
    ways = [deviation(method.networks[name](silhouettes), flow, silhouettes)[:, 0] for name in WAYS]
    way = torch.minimum(*ways)
    for number, expected in ((WAY, way), (UNUSUAL, unusual)):
        within = inside(expected)
        assert within[0, 0].max() == 0 < within[0, 1].max()
        found = seen(method, batch)[0, number]
        np.testing.assert_allclose(found, gaussian(within, SMOOTH * (SIDE // COARSE))[0].numpy(), atol=1e-4)


def test_a_frame_that_is_repeated_shows_no_motion() -> None:
    """A camera that stalls is nobody who has stopped."""
    method, moves, stalls = untrained(), batch_of((0, 2)), batch_of((0, 2))
    stalls.context[:, -1] = stalls.images
    assert seen(method, moves)[0, [WAY, UNUSUAL]].max((1, 2)).min() > 0
    assert not seen(method, stalls)[0, [WAY, UNUSUAL]].any()


def test_what_was_left_stands_and_who_passes_does_not() -> None:
    method = remembering((0, 1), (0, -1), (1, 0), (-1, 0))
    # a bag since three seconds, somebody who passes, a bag since one second: it was not there two seconds ago
    bag, walker, new = (
        seen(method, batch)[0, STANDING]
        for batch in (batch_of((0, 0)), batch_of((0, 1.4)), batch_of((0, 0), gone_before=10))
    )
    assert bag.max() > 0.2
    row, column = np.unravel_index(bag.argmax(), bag.shape)
    assert 26 <= COARSE * row < 38
    assert 26 <= COARSE * column < 38
    assert walker.max() < 0.5 * bag.max()
    assert new.max() < 0.2 * bag.max()


def test_a_cloud_is_nothing_that_stands() -> None:
    method = remembering((0, 1), (1, 0))
    still = batch_of((0, 0))
    dark = Batch(still.images - 0.2, still.fingerprints, still.context)
    assert seen(method, dark)[0, STANDING].max() == pytest.approx(seen(method, still)[0, STANDING].max(), rel=0.15)
    empty = torch.from_numpy(ground()).float()[None, None]
    cloud = Batch(empty - 0.2, (1,), empty[:, None].expand(-1, 8, -1, -1, -1))
    assert seen(method, cloud)[0, STANDING].max() < 0.05


# -- what is remembered ---------------------------------------------------------------------------------------------


@dataclass
class Asked:
    """A training set that says which frames were asked for."""

    given: Given
    numbers: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.given)

    def batch(self, numbers: np.ndarray) -> Batch:
        self.numbers += numbers.tolist()
        return self.given.batch(numbers)


def test_what_is_usual_is_that_of_the_training_frames() -> None:
    method, given = untrained(side=32), moving(50, 6)
    stalled = (given.images == given.context[:, -1]).flatten(1).all(1)  # textures that do not move
    given.context[stalled, -1] += 0.01
    given.context[[7, 20], -1] = given.images[[7, 20]]
    found = method.networks.state_dict().items()
    weights = {key: value.clone() for key, value in found if "norms" not in key and "background" not in key}
    method.remember_normals(given)
    assert isinstance(method, RemembersNormals)
    median = given.images.median(0).values
    assert torch.equal(method.spotter.background, median)
    found = method.counterpart(given.batch(np.arange(50)))
    error = F.avg_pool2d((given.images - found.images).abs().mean(1, keepdim=True) / 2, COARSE)
    error = gaussian(inside(error)[:, 0], SMOOTH * 16)[:, None]
    cells = highest_of_cells(torch.cat([error, found.latents], 1))
    usual = usual_of_cells(cells[[row for row in range(50) if row not in (7, 20)]])
    assert torch.allclose(method.norms.level, usual.level, rtol=1e-4)
    assert torch.allclose(method.norms.tail, usual.tail, rtol=1e-3)
    now = method.networks.state_dict()
    assert all(torch.equal(value, now[key]) for key, value in weights.items())
    assert {key for key in now if "norms" in key} == {"norms.level", "norms.tail"}
    again = {key: value.clone() for key, value in now.items()}
    method.remember_normals(given)  # the same, whatever was remembered before
    assert all(torch.equal(value, again[key]) for key, value in method.networks.state_dict().items())


def test_what_is_usual_is_told_by_the_network_that_has_not_seen_a_frame() -> None:
    method, given = untrained(side=32), moving(16, 6)
    batch = given.batch(np.arange(16))
    told = method.counterpart(batch).latents[:, WAY]
    halves = half_of(batch.when)
    assert halves.tolist() == [0, 0, 1, 1] * 4
    only = []
    for name in WAYS:  # the other one says nothing that is less
        alone = untrained(side=32)
        alone.networks.load_state_dict(method.networks.state_dict())
        for other in WAYS:
            alone.networks[other] = alone.networks[name]
        only.append(alone.counterpart(Batch(given.images, tuple(range(16)), given.context)).latents[:, WAY])
    for row, half in enumerate(halves.tolist()):
        assert torch.equal(told[row], only[1 - half][row])
    assert not torch.equal(*only)
    asked = method.counterpart(Batch(given.images, tuple(range(16)), given.context)).latents[:, WAY]
    assert bool((asked <= torch.minimum(*only) + 1e-6).all())  # smoothed after the less of both is taken


def test_of_many_frames_some_are_remembered_evenly_spaced_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames_module, "REMEMBERED", 10)
    asked = Asked(moving(46, 7))
    untrained(side=32).remember_normals(asked)
    background, usual = asked.numbers[:10], asked.numbers[10:]
    assert background == usual == [0, 5, 10, 15, 20, 25, 30, 35, 40, 45]


@pytest.mark.parametrize("count", [1, 2, 9])
def test_a_few_frames_are_enough_to_score(count: int) -> None:
    method, given = untrained(side=32), moving(count, 8)
    method.remember_normals(given)
    batch = Batch(given.images, tuple(range(count)), given.context)
    scores = method.compare(batch.images, method.counterpart(batch)).scores
    assert bool(scores.score.isfinite().all())


# -- the score ------------------------------------------------------------------------------------------------------


def test_the_score_is_how_rare_all_evidence_is_at_the_highest_place() -> None:
    method, given = untrained(side=32), moving(30, 9)
    method.remember_normals(given)
    batch = Batch(given.images[:4], (1, 2, 3, 4), given.context[:4])
    counterpart = method.counterpart(batch)
    found = method.compare(batch.images, counterpart)
    for row in range(4):
        error = F.avg_pool2d((batch.images[row] - counterpart.images[row]).abs()[None] / 2, COARSE)[:, 0]
        maps = torch.cat([gaussian(inside(error), SMOOTH * 16), counterpart.latents[row]])
        rare = rarity(maps[None], Usual(method.norms.level, method.norms.tail))[0].double().numpy()
        heat = np.sqrt((rare**2).sum(0))
        assert float(found.scores.anomaly[row]) == pytest.approx(heat.max(), rel=1e-3)
        assert float(found.scores.residual[row]) == pytest.approx(rare[0].max(), rel=1e-3)
        assert float(found.scores.discrimination[row]) == pytest.approx(rare[1:].max(), rel=1e-3)
        assert float(found.heatmap[row].max()) <= heat.max() * (1 + 1e-5)
        assert float(found.heatmap[row].max()) > 0.8 * heat.max()
    assert found.heatmap.shape == (4, 32, 32)
    assert torch.equal(found.scores.score, found.scores.anomaly)
    assert torch.equal(found.difference, batch.images - counterpart.images)


@pytest.mark.parametrize("velocity", [(0, 4), (0, -4), (4, 0), (-3, -3)])
def test_a_body_of_unusual_speed_scores_higher(velocity: tuple[float, float]) -> None:
    """It looks like those that were learnt, who go at one pixel a frame in all directions, and is where they are."""
    method = remembering((0, 1), (0, -1), (1, 0), (-1, 0))
    usual, fast = batch_of((0, 1), (-1, 0)), batch_of(velocity)
    slow = method.compare(usual.images, method.counterpart(usual))
    found = method.compare(fast.images, method.counterpart(fast))
    assert float(found.scores.discrimination) > float(slow.scores.discrimination.max()) + 0.3
    assert float(found.scores.score) > float(slow.scores.score.max()) + 0.2
    row, column = np.unravel_index(int(found.heatmap[0].argmax()), (SIDE, SIDE))
    assert 18 <= row <= 46
    assert 18 <= column <= 46


def test_a_body_that_was_never_there_stands_out_by_its_error() -> None:
    method = remembering((0, 1), (1, 0), (-1, 0), (0, -1))
    usual = batch_of((0, 1))
    appeared = Batch(usual.images, usual.fingerprints, torch.from_numpy(ground()).float().expand(1, 8, 1, -1, -1))
    slow, found = (method.compare(each.images, method.counterpart(each)).scores for each in (usual, appeared))
    assert float(found.residual) > float(slow.residual) + 0.2


# -- how it is asked ------------------------------------------------------------------------------------------------


def test_it_says_how_far_it_looks_back() -> None:
    method = untrained(side=32)
    assert isinstance(method, LooksBack)
    given = moving(2, 10)
    batch = Batch(given.images, (1, 2), given.context[:, -method.looks_back :])
    assert method.counterpart(batch).images.shape == (2, 1, 32, 32)
    with pytest.raises(SettingsError, match=r"--set data\.view=frames"):
        method.counterpart(Batch(given.images, (1, 2)))


def test_the_prediction_looks_at_the_last_frames_alone() -> None:
    """The frames of a second ago tell what stands there, not what comes next."""
    method, given = untrained(side=32), moving(3, 11)
    other = given.context.clone()
    other[:, : -SHORT - 1] = torch.rand(other[:, : -SHORT - 1].shape)
    ours, theirs = (method.counterpart(Batch(given.images, (1, 2, 3), each)) for each in (given.context, other))
    assert torch.equal(ours.images, theirs.images)
    assert torch.equal(ours.latents[:, UNUSUAL], theirs.latents[:, UNUSUAL])
    assert not torch.equal(ours.latents[:, STANDING], theirs.latents[:, STANDING])


def test_the_frame_itself_does_not_change_its_counterpart() -> None:
    method, given = untrained(side=32), moving(3, 12)
    ours = method.counterpart(Batch(given.images, (1, 2, 3), given.context)).images
    theirs = method.counterpart(Batch(torch.rand(3, 1, 32, 32), (1, 2, 3), given.context)).images
    assert torch.equal(ours, theirs)


def test_the_fast_form_is_the_same_up_to_rounding() -> None:
    method, given = untrained("search.precision=32", side=32), moving(12, 13)
    trainer = method.trainer()
    for step in range(6):
        trainer.step(Batch(given.images, context=given.context), step, generator(0, step), backward)
    freeze(method.networks)
    method.remember_normals(given)
    fast, batch = method.for_inference(), Batch(given.images, tuple(range(12)), given.context)
    assert torch.allclose(fast.counterpart(batch).images, method.counterpart(batch).images, atol=1e-4)
    ours, theirs = (each.compare(batch.images, each.counterpart(batch)).scores.score for each in (method, fast))
    assert torch.allclose(ours, theirs, atol=1e-3)
    assert set(method.networks["generator"].state_dict()) == set(untrained(side=32).networks["generator"].state_dict())
