"""The images of most benchmarks, MNIST or scikit-learn's digits, and the scores that detectors give them."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from sklearn.datasets import load_digits

from anotwin import DataError, Detector, Finding, SettingsError
from anotwin.commands.demo import find_mnist
from anotwin.data.arrays import from_arrays
from anotwin.data.idx import find_idx, open_idx
from anotwin.records import ImageSource
from anotwin.seeding import derive, fingerprint
from anotwin.updates import Update, Watch
from benchmarks.common.rows import Bools, Floats, console

GET_MNIST = (
    "MNIST not found: put train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz and "
    "t10k-labels-idx1-ubyte.gz (published by LeCun, Cortes and Burges, mirrored by torchvision and Hugging Face) into "
    "one folder and name it with --data or ANOTWIN_DATA"
)
DIGITS_TRAINED = 0.8  # share of the normal digits of scikit-learn that is training data


class _Fallible(Protocol):
    @property
    def error(self) -> str | None: ...


T = TypeVar("T", bound=_Fallible)


@dataclass(frozen=True)
class Images:
    """A data set with ten classes, any of which can be the normal one."""

    name: str
    root: Path | None  # of idx files; None: the digits

    @property
    def is_mnist(self) -> bool:
        return self.root is not None

    def training(self, normal: str) -> ImageSource:
        """Normal images alone; what is held out of training is still among them."""
        return open_idx(self.root, "train", normal) if self.root else _digits(normal, training=True)

    def test(self, normal: str) -> ImageSource:
        """Images of all classes that no training saw."""
        return open_idx(self.root, "test", normal) if self.root else _digits(normal, training=False)


def find_images(arguments: argparse.Namespace) -> Images | None:
    """The digits with --quick, else MNIST; None where that is not at hand: a printed line then says how to get it."""
    if arguments.quick:
        return bundled()
    root = _mnist(arguments.data)
    if root is None:
        console.print(GET_MNIST, markup=False)
        return None
    return Images("MNIST", root)


def find_or_bundled(arguments: argparse.Namespace) -> Images:
    """`find_images`, and the digits where there is no MNIST."""
    found = find_images(arguments)
    if found is None:
        console.print("scikit-learn's digits are used in its place")
    return found or bundled()


def _mnist(data: Path | None) -> Path | None:
    if data is None:
        return find_mnist()
    for root in (data, data / "MNIST"):
        if root.is_dir() and find_idx(root, "train"):
            return root
    raise DataError(
        f"--data {data}: no train-images-idx3-ubyte(.gz) in it or in MNIST/; {GET_MNIST.partition(': ')[2]}"
    )


def bundled() -> Images:
    """scikit-learn's digits."""
    return Images("handwritten digits of scikit-learn (8 x 8)", None)


def _digits(normal: str, *, training: bool) -> ImageSource:
    """The first four fifths of the normal class are training data; the rest and all other classes are the test."""
    digits = load_digits()
    labels = digits.target.astype(str)
    pixels = np.round(digits.images * (255 / 16)).astype(np.uint8)
    members = np.flatnonzero(labels == normal)
    if len(members) == 0:
        raise DataError(f"--normal {normal}: no such digit; expected 0 to 9")
    chosen = members[: int(DIGITS_TRAINED * len(members))]
    if not training:
        chosen = np.setdiff1d(np.arange(len(labels)), chosen)
    prefix = "train" if training else "test"
    return from_arrays(pixels[chosen], labels[chosen].tolist(), normal, prefix)


def draw(source: ImageSource, limit: int | None) -> list[int]:
    """`limit` positions in a source, the same for everyone: those that ``anotwin evaluate --limit`` takes."""
    everything = list(range(len(source.items)))
    if limit is None or limit >= len(everything):
        return everything
    order = np.random.default_rng(derive(0, "limit")).permutation(len(everything))
    chosen = sorted(order[: max(limit, 0)].tolist())
    if {source.items[index].normal for index in chosen} != {True, False}:
        raise SettingsError(f"--limit {limit}: not both normal and abnormal images among those drawn; raise it")
    return chosen


def members(detector: Detector, source: ImageSource, part: str) -> list[int]:
    """Positions of the images that a detector had in `part`, "train" or "holdout", recognised by their content."""
    fingerprints = set(detector.fingerprints[part].tolist())
    return [index for index in range(len(source.items)) if fingerprint(source.read(index)) in fingerprints]


def pixels(source: ImageSource, indices: Sequence[int]) -> Floats:
    """Images as vectors (N, P) in [0, 1]: what a method without a network sees."""
    return np.stack([source.read(index).ravel() for index in indices]).astype(np.float64) / 255


# -- scoring -----------------------------------------------------------------------------------------------------------


def score(
    detector: Detector, source: ImageSource, indices: Sequence[int], watch: Watch, refused: bool = False
) -> tuple[list[Finding], float]:
    """Findings without pictures, in the order of `indices`, and the seconds they took.

    A failure is a DataError; with `refused` it is a finding whose numbers are NaN.
    """
    findings: list[Finding] = []
    began = time.perf_counter()
    for finding in watched(detector.findings(source, indices, pictures=False), "scoring", len(indices), watch):
        if finding.error and not refused:
            raise DataError(finding.error)
        findings.append(finding)
    return findings, time.perf_counter() - began


def watched(images: Iterable[T], stage: str, total: int, watch: Watch) -> Iterator[T]:
    """Scans or findings as they come, which `watch` is told; the errors of those that are refused are printed."""
    for done, image in enumerate(images, start=1):
        yield image
        watch(Update(stage, done, total))
        if image.error:
            console.print(f"refused: {image.error}", markup=False)


def column(findings: Sequence[Finding], name: str) -> Floats:
    """One number of each finding: (N,)."""
    return np.array([getattr(finding, name) for finding in findings], dtype=np.float64)


def abnormal(findings: Sequence[Finding]) -> Bools:
    """(N,) True where the label says so."""
    return np.array([finding.normal is False for finding in findings], dtype=bool)
