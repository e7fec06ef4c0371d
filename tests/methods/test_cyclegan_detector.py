"""cyclegan as a detector: the step of the translation, the score by scipy, and what is stored."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from anotwin import Settings
from anotwin.errors import SettingsError
from anotwin.methods.cyclegan import CycleGAN, CycleGANTrainer
from anotwin.methods.protocol import freeze
from anotwin.methods.registry import create
from anotwin.records import Batch, Counterpart, ImageSpec, Status
from anotwin.seeding import generator
from anotwin.translation.protocol import Examples, TranslationSpec
from anotwin.translation.registry import begin_training
from anotwin.translation.registry import create as create_translation

SPEC = ImageSpec(1, 16)
SMALL = Settings().with_overrides(
    ["networks.base_channels=4", "training.steps=3", "translation.patch=16", "translation.pool=2"]
)


def images(count: int, seed: int) -> torch.Tensor:
    return torch.rand((count, 1, 16, 16), generator=generator(seed, "images")) * 2 - 1


def untrained() -> CycleGAN:
    method = create("cyclegan", SPEC, SMALL)
    assert isinstance(method, CycleGAN)
    return method


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# -- training ----------------------------------------------------------------------------------------------------------


def test_its_training_is_that_of_the_translation() -> None:
    """From one state, abnormal squares as A and normal ones as B: the same weights, bit by bit."""
    method, trainer = (found := untrained()), found.trainer()
    other = begin_training(create_translation("cyclegan", TranslationSpec(SPEC, SPEC, aligned=False), SMALL))
    other.networks.load_state_dict(trainer.networks.state_dict())
    for step in range(3):
        a, b = images(4, 2 * step), images(4, 2 * step + 1)
        one = trainer.step(Batch(b, abnormal=a), step, generator(0, step), lambda loss: loss.backward())
        two = other.step(Examples(a, b), step, generator(0, step), lambda loss: loss.backward())
        assert same(one, two)
    assert same(trainer.networks.state_dict(), other.networks.state_dict())
    assert not same(method.networks.state_dict(), untrained().networks.state_dict())


def test_the_average_of_g_and_the_discriminator_of_normal_squares_are_what_scores() -> None:
    method = untrained()
    trainer = method.trainer()
    trainer.step(Batch(images(4, 0), abnormal=images(4, 1)), 0, generator(0), lambda loss: loss.backward())
    state = trainer.networks.state_dict()
    for name, stored in (("generator", "averages.AtoB"), ("discriminator", "discriminators.B")):
        parts = {key.removeprefix(f"{stored}."): value for key, value in state.items() if key.startswith(stored)}
        assert same(method.networks[name].state_dict(), parts), name


def test_what_training_has_besides_the_method_comes_from_its_seed() -> None:
    one = untrained().trainer()
    torch.manual_seed(5)
    two = untrained().trainer()
    assert same(one.networks.state_dict(), two.networks.state_dict())


def test_a_batch_without_abnormal_squares_is_refused() -> None:
    trainer = untrained().trainer()
    for use in (lambda batch: trainer.step(batch, 0, generator(0), lambda loss: loss.backward()), trainer.preview):
        with pytest.raises(SettingsError, match="cyclegan learns from abnormal images beside normal ones"):
            use(Batch(images(4, 0)))


def test_a_preview_is_abnormal_squares_above_their_counterparts() -> None:
    method = untrained()
    trainer = CycleGANTrainer(method)
    abnormal = images(5, 1)
    shown = trainer.preview(Batch(images(5, 0), abnormal=abnormal))
    assert torch.equal(shown[:3], abnormal[:3])
    with torch.no_grad():
        assert torch.equal(shown[3:], method.networks["generator"](abnormal[:3])[:2])


# -- score -------------------------------------------------------------------------------------------------------------


def test_the_score_is_that_of_the_header() -> None:
    """R by scipy's filter and numpy's sort, D by a forward pass of the discriminator, A from both."""
    method = untrained()
    queries, counterparts = images(3, 0), images(3, 1)
    given = Counterpart(counterparts, None, torch.zeros(3, dtype=torch.int64), (Status.CONVERGED,) * 3)
    found = method.compare(queries, given)
    heat = (queries - counterparts).abs().mean(1).numpy() / 2
    smooth = np.stack([gaussian_filter(each, 0.02 * 16, mode="nearest", truncate=4) for each in heat])
    np.testing.assert_allclose(found.heatmap.numpy(), smooth, atol=1e-5)
    residual = np.sort(smooth.reshape(3, -1), axis=1)[:, -100:].mean(1)
    d = method.networks["discriminator"]
    with torch.no_grad():
        maps = [d(each).maps[-1].numpy() for each in (queries, counterparts)]
        logits = d(queries).logits.mean((1, 2, 3)).numpy()
    discrimination = np.abs(maps[0] - maps[1]).mean((1, 2, 3))
    np.testing.assert_allclose(found.scores.residual.numpy(), residual, rtol=1e-4)
    np.testing.assert_allclose(found.scores.discrimination.numpy(), discrimination, rtol=1e-4)
    np.testing.assert_allclose(found.scores.score.numpy(), 0.9 * residual + 0.1 * discrimination, rtol=1e-4)
    np.testing.assert_allclose(found.scores.discriminator.numpy(), -logits, rtol=1e-4, atol=1e-6)


def test_the_features_are_of_the_layer_that_the_settings_name() -> None:
    method = untrained()
    first = create("cyclegan", SPEC, SMALL.with_overrides(["networks.feature_layer=0"]))
    first.networks.load_state_dict(method.networks.state_dict())
    freeze(first.networks)
    with torch.no_grad():
        maps = method.networks["discriminator"](images(2, 0)).maps
    for each, wanted in ((first, maps[0]), (method, maps[-1])):
        assert torch.allclose(each.critique(images(2, 0)).features, wanted.flatten(1), atol=1e-6)


def test_squares_too_small_for_a_patch_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"translation\.patch=70: too large for squares of 16 pixels"):
        create("cyclegan", SPEC, Settings().with_overrides(["translation.patch=70"]))
    assert create("cyclegan", SPEC, Settings()).networks["discriminator"](images(1, 0)).logits.numel()  # as it fits
