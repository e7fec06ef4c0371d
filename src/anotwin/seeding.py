"""All randomness is a function of named values: nothing depends on what ran before.

Every draw starts from (seed, what it is for, which one): a resumed training is identical to an uninterrupted one though
no generator is saved, and scores do not depend on the batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

Prior = Literal["normal", "uniform"]


def derive(seed: int, *names: int | str) -> int:
    """A 63-bit seed from a seed and any names, stable over processes and machines (BLAKE2b).

    >>> derive(0, "step", 1) == derive(0, "step", 1) != derive(0, "step", 2)
    True
    """
    text = "\x1f".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, *names: int | str) -> torch.Generator:
    """A CPU generator for one purpose; draws are made on the CPU so that every device sees the same numbers."""
    return torch.Generator().manual_seed(derive(seed, *names))


@contextmanager
def drawing_weights(seed: int, *names: int | str) -> Iterator[None]:
    """Layers draw their weights from the global generator, which is seeded for a while, and then as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive(seed, *names))
        yield


def fingerprint(pixels: npt.NDArray[Any]) -> int:
    """A 63-bit hash of native pixels (shape, type and values): identifies an image, whatever its file is called."""
    hasher = hashlib.blake2b(f"{pixels.shape}{pixels.dtype.str}".encode(), digest_size=8)
    hasher.update(np.ascontiguousarray(pixels).data)
    return int.from_bytes(hasher.digest(), "big") >> 1


def draw_latents(count: int, dim: int, prior: Prior, rng: torch.Generator) -> torch.Tensor:
    """`count` latents (count, dim) from the prior: standard normal, or uniform on [-1, 1] as in the AnoGAN paper."""
    if prior == "normal":
        return torch.randn(count, dim, generator=rng)
    return torch.rand(count, dim, generator=rng) * 2 - 1


def search_starts(
    fingerprints: Sequence[int], dim: int, prior: Prior, seed: int, restarts: int, warm: torch.Tensor | None = None
) -> torch.Tensor:
    """Where the searches of each image begin, (B, R, dim): latents from the prior, of each image's own generators.

    `warm` (B, dim), an encoder's guesses, takes the place of the first; it must be on the CPU.
    """

    def drawn(*again: int) -> torch.Tensor:
        rngs = [generator(seed, "search", name, *again) for name in fingerprints]
        return torch.cat([draw_latents(1, dim, prior, rng) for rng in rngs])

    first = drawn() if warm is None else warm
    return torch.stack([first, *(drawn(again) for again in range(1, restarts))], 1)
