"""Each verdict on arrays made to deserve it."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch

from anotwin.methods.registry import create
from anotwin.records import Batch, ImageSpec
from anotwin.run.health import Health, examine, examine_method
from anotwin.settings import Settings

PIXELS, COUNT = 12, 300


def _normals(rng: np.random.Generator, count: int = COUNT, kinds: int = 8) -> np.ndarray:
    """Images of 8 kinds: clouds around centres far apart."""
    centres = np.random.default_rng(99).normal(size=(8, PIXELS)) * 6
    return (centres[rng.integers(0, kinds, count)] + rng.normal(size=(count, PIXELS))).astype(np.float32)


def test_samples_from_the_distribution_itself_are_good(rng: np.random.Generator) -> None:
    health = examine(_normals(rng), _normals(rng), _normals(rng))
    assert health.verdict == "good"
    assert health.diversity == pytest.approx(1, abs=0.1)
    assert health.coverage == pytest.approx(1, abs=0.1)
    assert health.copying == pytest.approx(1, abs=0.15)


def test_one_image_over_and_over_has_collapsed(rng: np.random.Generator) -> None:
    samples = np.repeat(_normals(rng, 1), COUNT, axis=0) + rng.normal(0, 0.01, (COUNT, PIXELS)).astype(np.float32)
    health = examine(samples, _normals(rng), _normals(rng))
    assert health.verdict == "collapsed"
    assert health.diversity is not None
    assert health.diversity < 0.01
    assert "training.seed" in health.advice


def test_missing_kinds_are_gaps(rng: np.random.Generator) -> None:
    health = examine(_normals(rng, kinds=3), _normals(rng), _normals(rng))
    assert health.verdict == "gaps"
    assert health.coverage == pytest.approx(3 / 8, abs=0.12)  # three kinds of eight are covered


def test_training_images_again_are_copies(rng: np.random.Generator) -> None:
    training = _normals(rng)
    samples = training[rng.permutation(COUNT)] + rng.normal(0, 0.05, training.shape).astype(np.float32)
    health = examine(samples, _normals(rng), training)
    assert health.verdict == "copies"
    assert health.copying is not None
    assert health.copying < 0.1


@pytest.mark.parametrize("short", range(3))
def test_fewer_than_twenty_of_any_are_not_judged(rng: np.random.Generator, short: int) -> None:
    parts = [_normals(rng, 19 if part == short else COUNT) for part in range(3)]
    health = examine(*parts)
    assert (health.verdict, health.diversity, health.coverage, health.copying) == ("unknown", None, None, None)
    assert "19" in health.advice


def test_twenty_are_judged_and_surplus_rows_left_out(rng: np.random.Generator) -> None:
    samples, heldout, training = (_normals(rng, 50, kinds=1) for _ in range(3))
    assert examine(samples, heldout[:20], training) == examine(samples[:20], heldout[:20], training[:20])
    assert examine(samples[:20], heldout[:20], training[:20]).verdict != "unknown"


def test_the_verdict_does_not_depend_on_the_scale(rng: np.random.Generator) -> None:
    parts = [_normals(rng) for _ in range(3)]
    plain, scaled = examine(*parts), examine(*(part * 256 for part in parts))
    assert plain.verdict == scaled.verdict
    assert plain.diversity == pytest.approx(scaled.diversity, rel=1e-5)


def test_identical_heldout_images_do_not_divide_by_zero(rng: np.random.Generator) -> None:
    same = np.zeros((COUNT, PIXELS), np.float32)
    assert np.isfinite(json.loads(json.dumps(asdict(examine(_normals(rng), same, same))))["diversity"])


class Squares:
    """Smooth random squares to learn from, or none to be asked for."""

    def __init__(self, count: int, seed: int) -> None:
        self.images = torch.from_numpy(np.random.default_rng(seed).uniform(-1, 1, (count, 1, 16, 16))).float()
        self.asked: list[int] = []

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, numbers: np.ndarray) -> Batch:
        self.asked += numbers.tolist()
        return Batch(self.images[numbers])


def test_a_method_without_samples_is_unknown() -> None:
    method = create("acae", ImageSpec(1, 16), Settings().with_overrides(["networks.base_channels=4"]))
    heldout, training = Squares(30, 0), Squares(30, 1)
    health = examine_method(method, heldout, training)
    assert isinstance(health, Health)
    assert health.verdict == "unknown"
    assert "acae" in health.advice
    assert heldout.asked == training.asked == []


def test_a_methods_samples_are_examined_beside_as_many_images() -> None:
    """An untrained generator draws grey after grey: collapsed, whatever the images are."""
    method = create("anogan", ImageSpec(1, 16), Settings().with_overrides(["networks.base_channels=4"]))
    heldout, training = Squares(25, 0), Squares(60, 1)
    health = examine_method(method, heldout, training)
    assert health.verdict == "collapsed"
    assert heldout.asked == training.asked == list(range(25))
    parts = [method.sample(25, seed=0), heldout.images, training.images[:25]]  # type: ignore[attr-defined]
    assert health == examine(*(part.flatten(1).numpy() for part in parts))
