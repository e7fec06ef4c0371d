"""Seeds and draws: stable numbers, no order, no global state, the distributions they claim."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from anotwin.seeding import derive, draw_latents, fingerprint, generator, search_starts

few_examples = settings(derandomize=True, deadline=None, max_examples=100)
names = st.lists(st.one_of(st.integers(-10, 10**6), st.text("abc", max_size=3)), max_size=3)


def test_derive_is_the_hash_it_says() -> None:
    digest = hashlib.blake2b(b"7\x1fstep\x1f12", digest_size=8).digest()
    assert derive(7, "step", 12) == int.from_bytes(digest, "big") // 2


def test_derive_is_stable_over_processes() -> None:
    """Not Python's hash(), which is salted anew in each process."""
    code = "from anotwin.seeding import derive; print(derive(3, 'search', 99))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(run.stdout) == derive(3, "search", 99)


@few_examples
@given(st.integers(0, 2**40), names, st.integers(0, 2**40), names)
def test_other_names_other_seeds(seed: int, parts: list[int | str], other: int, others: list[int | str]) -> None:
    assert 0 <= derive(seed, *parts) < 2**63
    same = [str(part) for part in (seed, *parts)] == [str(part) for part in (other, *others)]
    assert (derive(seed, *parts) == derive(other, *others)) == same


def test_names_do_not_run_together() -> None:
    assert derive(0, "ab", "c") != derive(0, "a", "bc")
    assert derive(1, 23) != derive(12, 3)


def test_generators_know_nothing_of_each_other_or_of_the_global_one() -> None:
    torch.manual_seed(0)
    expected_global = torch.rand(3)
    torch.manual_seed(0)
    first = torch.rand(4, generator=generator(5, "a"))
    torch.rand(100, generator=generator(5, "b"))
    assert torch.equal(torch.rand(4, generator=generator(5, "a")), first)
    assert not torch.equal(torch.rand(4, generator=generator(5, "b")), first)
    assert torch.equal(torch.rand(3), expected_global)
    assert generator(5, "a").device.type == "cpu"


def test_a_fingerprint_depends_on_values_shape_and_type() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    fingerprints = [
        fingerprint(image),
        fingerprint(image.reshape(4, 3)),
        fingerprint(image.astype(np.uint16)),
        fingerprint(image + 1),
        fingerprint(image[:, :, None].repeat(3, 2)),
        fingerprint(image.T),
    ]
    assert len(set(fingerprints)) == len(fingerprints)
    assert all(0 <= fingerprint_ < 2**63 for fingerprint_ in fingerprints)


@few_examples
@given(st.integers(0, 11), st.integers(1, 255))
def test_a_fingerprint_depends_on_every_pixel(place: int, change: int) -> None:
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    other = image.copy()
    other.flat[place] = (place + change) % 256
    assert fingerprint(other) != fingerprint(image)


def test_fingerprint_is_of_the_pixels_not_of_the_memory() -> None:
    image = np.random.default_rng(0).random((6, 8)).astype(np.float32)
    assert fingerprint(np.asfortranarray(image)) == fingerprint(image)
    assert fingerprint(image[::2, 1:5]) == fingerprint(image[::2, 1:5].copy())


@pytest.mark.parametrize("prior, distribution", [("normal", stats.norm()), ("uniform", stats.uniform(-1, 2))])
def test_latents_follow_the_prior(prior: str, distribution: stats.distributions.rv_frozen) -> None:
    many = draw_latents(200, 100, prior, generator(0))
    assert many.shape == (200, 100)
    assert many.dtype == torch.float32
    assert stats.kstest(many.flatten().numpy(), distribution.cdf).pvalue > 1e-3
    each = search_starts(range(200), 100, prior, 0, 1)  # one generator an image: still the prior
    assert stats.kstest(each.flatten().numpy(), distribution.cdf).pvalue > 1e-3
    if prior == "uniform":
        assert many.min() >= -1
        assert many.max() <= 1


@pytest.mark.parametrize("prior", ["normal", "uniform"])
@pytest.mark.parametrize("dim", [1, 7, 16, 100])
def test_the_starts_of_an_image_are_its_own(prior: str, dim: int) -> None:
    fingerprints = (11, 2**62, 3, 11)
    together = search_starts(fingerprints, dim, prior, 1, 3)
    assert together.shape == (4, 3, dim)
    for row, fingerprint_ in zip(together, fingerprints, strict=True):
        assert torch.equal(search_starts((fingerprint_,), dim, prior, 1, 3)[0], row)
    assert torch.equal(together[0], together[3])
    assert len(together[:3].flatten(0, 1).unique(dim=0)) == 9  # every image and restart has another
    assert torch.equal(search_starts(fingerprints, dim, prior, 1, 2), together[:, :2])
    assert not torch.equal(search_starts(fingerprints, dim, prior, 2, 3), together)
    warm = torch.zeros(4, dim)
    guided = search_starts(fingerprints, dim, prior, 1, 3, warm)
    assert torch.equal(guided, torch.cat([warm[:, None], together[:, 1:]], 1))
