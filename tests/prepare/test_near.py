"""Near-duplicates: bursts are found and their scenes never joined, independent images never are."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from sklearn.datasets import load_digits

from anotwin.data.synthetic import textured_discs
from anotwin.prepare.near import describe, find_near, nearest_ratio

DIGITS = load_digits()


def scenes(count, frames, side=64, seed=0, noise=4.0, flicker=0.03, shift=1.0):
    """`count` scenes of `frames` near-identical frames: noise, brightness, shifts of parts of a pixel."""
    rng = np.random.default_rng(seed)
    bases = textured_discs(count, side, seed=1000 + seed)[0].astype(float)
    taken = []
    for base in bases:
        for _ in range(frames):
            image = ndimage.shift(base, rng.uniform(-shift, shift, 2), order=1, mode="nearest")
            taken.append(image * (1 + rng.normal(0, flicker)) + rng.normal(0, noise, base.shape))
    return np.clip(np.array(taken), 0, 255).astype(np.uint8)


def near(images):
    return find_near(describe(torch.from_numpy(images.astype(np.float32) / 127.5 - 1)[:, None]))


def ratio(found, seed=0):
    order = np.random.default_rng(seed).permutation(len(found.neighbours))
    return nearest_ratio(found, order[len(order) // 5 :], order[: len(order) // 5])


@pytest.mark.parametrize("count,frames", [(10, 15), (40, 3), (100, 2), (12, 40)])
@pytest.mark.parametrize("side", [32, 64])
def test_frames_of_a_scene_are_one_group_and_scenes_are_not_joined(count, frames, side):
    found = near(scenes(count, frames, side, shift=side / 64))
    scene = np.arange(count * frames) // frames
    assert all(len(set(scene[list(cluster)])) == 1 for cluster in found.clusters)  # no two scenes in one
    assert found.bursts
    assert ratio(found) < 0.3
    assert sum(map(len, found.clusters)) >= 0.9 * len(scene)


def test_the_order_of_names_does_not_matter():
    images = scenes(10, 15)
    order = np.random.default_rng(1).permutation(len(images))
    one, other = near(images), near(images[order])
    clusters = {frozenset(order[list(cluster)].tolist()) for cluster in other.clusters}
    assert clusters == {frozenset(cluster) for cluster in one.clusters}


def digits(label, count):
    chosen = DIGITS.images[DIGITS.target == label][:count] * 15
    return np.kron(chosen, np.ones((4, 4))).astype(np.uint8)


INDEPENDENT = {
    "digits of one class": lambda n, seed: digits(seed % 10, n),
    "the digit with the least variety": lambda n, _: digits(1, n),
    "discs": lambda n, seed: textured_discs(n, 32, seed=seed)[0],
    "noise": lambda n, seed: np.random.default_rng(seed).integers(90, 160, (n, 32, 32)).astype(np.uint8),
    "one part in one place": lambda n, seed: scenes(1, n, 32, seed),
    "five kinds of parts": lambda n, seed: scenes(5, n // 5, 32, seed, shift=0),
}


@pytest.mark.parametrize("kind", INDEPENDENT)
@pytest.mark.parametrize("count", [10, 40, 170])
def test_independent_images_are_never_joined(kind, count):
    for seed in range(2):
        found = near(INDEPENDENT[kind](count, seed))
        assert found.clusters == ()
        assert not found.bursts or ratio(found) > 0.3 or count == 10


def test_a_few_copies_in_an_independent_set_are_found():
    images = textured_discs(60, 32, seed=3)[0].astype(float)
    noisy = images[[4, 9, 9]] + np.random.default_rng(0).normal(0, 1, (3, 32, 32))
    found = near(np.clip(np.concatenate([images, noisy]), 0, 255).astype(np.uint8))
    assert found.clusters == ((4, 60), (9, 61, 62))
    assert not found.bursts


def test_colour_alone_tells_images_apart():
    rng = np.random.default_rng(0)
    grey = textured_discs(12, 32, seed=1)[0].astype(np.float32) / 127.5 - 1
    tint = rng.normal(0, 0.3, (12, 3, 1, 1)).astype(np.float32)
    tint -= tint.mean(1, keepdims=True)
    same = np.repeat(grey[:1], 12, 0)
    colours = torch.from_numpy(same[:, None] + tint)
    assert find_near(describe(colours)).clusters == ()


@pytest.mark.parametrize("count", [1, 2, 7, 8])
def test_sets_too_small_or_without_content(count):
    blank = np.full((count, 16, 16), 7, np.uint8)
    assert near(blank).clusters == ()
    assert near(textured_discs(count, 16, seed=0)[0]).clusters == ()
