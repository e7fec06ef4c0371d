"""One step of each method by its objective in closed form; what each learns of a small known map; noise by dropout."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F

from anotwin.records import ImageSpec
from anotwin.seeding import generator
from anotwin.settings import Settings
from anotwin.translation.cyclegan import CycleGAN
from anotwin.translation.pix2pix import Pix2Pix, grain, noise
from anotwin.translation.protocol import Examples, TranslationMethod, TranslationSpec, TranslationTrainer
from anotwin.translation.srgan import SRGAN, WARM

SIDE, STEPS = 16, 40
SMALL = ("networks.base_channels=4", "training.batch_size=8", f"training.steps={STEPS}", "translation.patch=16")


def smooth(count: int, channels: int = 1, side: int = SIDE, seed: int = 0) -> torch.Tensor:
    coarse = torch.rand(count, channels, 4, 4, generator=generator(seed, "images")) * 1.6 - 0.8
    return F.interpolate(coarse, side, mode="bilinear")


def untrained(
    kind: type[TranslationMethod], *sets: str, a: int = 1, b: int = 1, factor: int = 1, classes: tuple[int, ...] = ()
) -> TranslationMethod:
    torch.manual_seed(0)
    spec = TranslationSpec(ImageSpec(a, SIDE), ImageSpec(b, SIDE * factor, classes=classes), aligned=True)
    return kind(spec, Settings().with_overrides([*SMALL, *sets]))


def backward(loss: torch.Tensor) -> None:
    loss.backward()


class Minimised(list[float]):
    """Calls backward, and keeps what was minimised."""

    def __call__(self, loss: torch.Tensor) -> None:
        self.append(float(loss.detach()))
        loss.backward()


def learn(trainer: TranslationTrainer, batch: Examples, steps: int = STEPS) -> list[dict[str, float]]:
    rows = []
    for step in range(steps):
        logged = trainer.step(batch, step, generator(0, "step", step), backward)
        rows.append({name: float(value) for name, value in logged.items()})
    return rows


def test_cyclegan_minimises_what_its_paper_says() -> None:
    found = untrained(CycleGAN)
    trainer, a, b = found.trainer(), smooth(4), smooth(4, seed=1)
    networks = copy.deepcopy(trainer.networks)
    g, f = networks["generators"]["AtoB"], networks["generators"]["BtoA"]
    losses = Minimised()
    logged = trainer.step(Examples(a, b), 0, generator(0), losses)
    fake_b, fake_a = g(a), f(b)
    judged_b, judged_a = (networks["discriminators"][name] for name in ("B", "A"))
    cheat = (judged_b(fake_b).logits - 1).square().mean() + (judged_a(fake_a).logits - 1).square().mean()
    cycle = (f(fake_b) - a).abs().mean() + (g(fake_a) - b).abs().mean()
    identity = (f(a) - a).abs().mean() + (g(b) - b).abs().mean()
    told = [
        ((d(real).logits - 1).square().mean() + d(fake.detach()).logits.square().mean()) / 2
        for d, real, fake in ((judged_a, a, fake_a), (judged_b, b, fake_b))
    ]
    assert losses == pytest.approx([(cheat + 10 * cycle + 5 * identity).item(), sum(told).item()], rel=1e-4)
    assert float(logged["loss_cycle"]) == pytest.approx(cycle.item(), rel=1e-4)


def test_no_identity_is_asked_of_domains_with_other_channels() -> None:
    found = untrained(CycleGAN, b=3)
    losses = Minimised()
    logged = found.trainer().step(Examples(smooth(4), smooth(4, 3)), 0, generator(0), losses)
    assert losses[0] == pytest.approx(float(logged["loss_g"] + 10 * logged["loss_cycle"]), rel=1e-5)


@pytest.mark.parametrize("weight", [1.0, 100.0])
def test_pix2pix_minimises_what_its_paper_says(weight: float) -> None:
    trainer = untrained(Pix2Pix, f"translation.l1_weight={weight}").trainer()
    a, b, networks, losses = smooth(4), smooth(4, seed=1), copy.deepcopy(trainer.networks), Minimised()
    trainer.step(Examples(a, b), 0, generator(0), losses)
    rng = generator(0)
    maps = networks["generator"](a, noise(trainer.method.unet, trainer.settings, 4, rng))
    mean, amount = maps.split(1, 1)
    made = torch.tanh(mean + (1 + (amount - 2).exp()).log() * torch.randn(4, 1, SIDE, SIDE, generator=rng))
    nearness = 0.9 * (torch.tanh(mean) - b).abs().mean() + 0.1 * (made - b).abs().mean()
    d, d_after = networks["discriminator"], trainer.networks["discriminator"]
    real, fake = (d(torch.cat([a, each], 1)).logits for each in (b, made))
    told = -torch.sigmoid(real).log().mean() - (1 - torch.sigmoid(fake)).log().mean()
    cheat = -torch.sigmoid(d_after(torch.cat([a, made], 1)).logits).log().mean()
    expected = [told.item(), (cheat + weight * nearness).item()]
    assert losses == pytest.approx(expected, rel=1e-4)


def test_classes_are_told_apart_by_cross_entropy() -> None:
    values = (0, 10, 70)
    found = untrained(Pix2Pix, "translation.adversarial=false", "translation.target=labels", classes=values)
    trainer, a = found.trainer(), smooth(4)
    assert set(trainer.optimizers) == {"generator"}
    classes = torch.randint(3, (4, SIDE, SIDE), generator=generator(5))
    b = torch.tensor(values)[classes][:, None] * 2 / 255 - 1
    own = copy.deepcopy(trainer.networks["generator"])
    maps = own(a, noise(found.unet, found.settings, 4, generator(0)))
    logged = trainer.step(Examples(a, b), 0, generator(0), backward)
    chances = maps.softmax(1).gather(1, classes[:, None])
    assert float(logged["loss_rec"]) == pytest.approx(-chances.log().mean().item(), rel=1e-4)
    assert set(found.translate(a, "AtoB").unique().tolist()) <= set((torch.tensor(values) * 2 / 255 - 1).tolist())


def test_srgan_begins_as_srresnet_and_then_meets_its_discriminator() -> None:
    found = untrained(SRGAN, "translation.factor=2", factor=2)
    trainer, batch = found.trainer(), Examples(smooth(4), smooth(4, side=2 * SIDE))
    enlarged = copy.deepcopy(trainer.networks["generator"])(batch.a).detach()
    logged = trainer.step(batch, 0, generator(0), backward)
    assert set(logged) == {"loss_rec"}
    assert float(logged["loss_rec"]) == pytest.approx(float((enlarged - batch.b).square().mean()), rel=1e-5)
    assert "loss_d" not in trainer.step(batch, int(WARM * STEPS) - 1, generator(0), backward)
    assert {"loss_d", "loss_g", "loss_phi"} <= set(trainer.step(batch, int(WARM * STEPS), generator(0), backward))
    alone = untrained(SRGAN, "translation.adversarial=false", "translation.factor=2", factor=2).trainer()
    assert set(alone.optimizers) == {"generator"}
    assert set(alone.step(batch, STEPS - 1, generator(0), backward)) == {"loss_rec"}


def test_noise_follows_the_seed_and_nothing_else() -> None:
    found, images = untrained(Pix2Pix), smooth(5)
    made = found.translate(images, "AtoB", seed=1)
    assert torch.equal(made, found.translate(images, "AtoB", seed=1))
    assert torch.equal(made[2:3], found.translate(images[2:3], "AtoB", seed=1))
    assert (made - found.translate(images, "AtoB", seed=2)).abs().max() > 1e-4
    still = untrained(Pix2Pix, "translation.dropout=0", "translation.adversarial=false")
    assert torch.equal(still.translate(images, "AtoB", seed=1), still.translate(images, "AtoB", seed=2))


def test_grain_is_learnt_where_the_other_domain_has_it_and_nowhere_else() -> None:
    sets = "training.learning_rate=5e-3", "training.ema=0.8", "networks.base_channels=8"
    a = smooth(8).clamp(-0.6, 0.6)
    amounts = []
    for grainy in (False, True):
        b = a + grainy * (a > 0) * 0.3 * torch.randn(a.shape, generator=generator(9))
        found = untrained(Pix2Pix, *sets)
        learn(found.trainer(), Examples(a, b.clamp(-0.95, 0.95)))
        one, other = (
            found.translate(a, "AtoB", at=(0, column)) for column in (0, 256)
        )  # other grain, the same dropout
        apart = (one - other).abs()
        amounts.append((float(apart[a > 0.2].mean()), float(apart[a < -0.2].mean())))
    (plain, _), (bright, dark) = amounts
    assert bright > 2 * plain
    assert bright > 1.5 * dark


def test_grain_has_its_place_in_the_image() -> None:
    whole = grain(3, 2, (0, 0), (300, 520))
    assert whole.shape == (1, 2, 300, 520)
    assert float(whole.std()) == pytest.approx(1, abs=0.01)
    for top, left, height, width in ((0, 0, 16, 16), (250, 500, 20, 20), (256, 256, 44, 264), (17, 511, 1, 2)):
        part = whole[..., top : top + height, left : left + width]
        assert torch.equal(grain(3, 2, (top, left), (height, width)), part)
    assert not torch.equal(whole[..., :40, :40], whole[..., 256:296, :40])
    assert not torch.equal(grain(4, 2, (0, 0), (40, 40)), whole[..., :40, :40])


def test_noise_drops_the_share_that_is_asked_and_keeps_the_mean() -> None:
    found = untrained(Pix2Pix, "translation.dropout=0.3", "networks.base_channels=32")
    for factors in noise(found.unet, found.settings, 400, generator(0)):
        assert factors.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
        assert float((factors == 0).float().mean()) == pytest.approx(0.3, abs=0.02)
        assert float(factors.mean()) == pytest.approx(1.0, abs=0.03)


def phases(images: torch.Tensor) -> float:
    """How much the four places of 2 x 2 pixels differ in the mean: 0 without a checkerboard."""
    blocks = images[..., 2:-2, 2:-2].unfold(-2, 2, 2).unfold(-2, 2, 2)
    return float(blocks.mean((0, 1, 2, 3)).std())


def test_cyclegan_learns_to_come_back_and_how_the_other_domain_looks() -> None:
    def coloured(grey: torch.Tensor) -> torch.Tensor:
        return torch.cat([0.5 * grey + 0.4, 0.5 * grey, -0.5 - 0.3 * grey], 1)

    found = untrained(CycleGAN, "training.learning_rate=5e-3", "training.ema=0.8", b=3)
    held, true = smooth(8, seed=2), coloured(smooth(8, seed=2))
    before = (found.translate(held, "AtoB") - true).abs().mean()
    rows = learn(found.trainer(), Examples(smooth(8), coloured(smooth(8, seed=1))))
    made = found.translate(held, "AtoB")
    assert rows[-1]["loss_cycle"] < 0.4 * rows[0]["loss_cycle"]
    assert (made - true).abs().mean() < 0.8 * before
    assert (made.mean((0, 2, 3)) - true.mean((0, 2, 3))).abs().max() < 0.2
    assert phases(made) < 0.02


def test_pix2pix_learns_a_known_map() -> None:
    found = untrained(
        Pix2Pix,
        "training.learning_rate=5e-3",
        "training.ema=0.8",
        "translation.dropout=0.1",
        "networks.base_channels=8",
    )
    a = smooth(8)
    learn(found.trainer(), Examples(a, -a))
    made = found.translate(a, "AtoB")
    assert (made + a).abs().mean() < 0.12
    assert phases(made) < 0.02


def test_srgan_learns_detail_that_the_bicubic_enlargement_lacks() -> None:
    b = (smooth(8, side=2 * SIDE) > 0).float() * 1.2 - 0.6  # edges
    a = F.interpolate(b, SIDE, mode="bicubic", antialias=True)
    bicubic = F.interpolate(a, 2 * SIDE, mode="bicubic", antialias=True)
    sets = "translation.factor=2", "translation.adversarial=false", "training.learning_rate=2e-3", "training.ema=0.8"
    found = untrained(SRGAN, *sets, "networks.base_channels=8", factor=2)
    learn(found.trainer(), Examples(a, b))
    made = found.translate(a, "AtoB")
    assert (made - b).square().mean() < 0.92 * (bicubic - b).square().mean()
    assert phases(made) < 0.005
