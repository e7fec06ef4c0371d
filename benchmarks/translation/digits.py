"""Parts `digits` and `edges`: MNIST, where the true translation of every image is known.

`digits` is unpaired: A has the digits of one half of the training images, B those of the other half restyled: dark on
light, rotated and coloured. No digit is in both, and training never sees the map that made B of A. `edges` is paired:
A has the edges of a digit (scikit-image's Canny), B the digit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_fill_holes, rotate
from skimage.feature import canny
from skimage.transform import resize
from sklearn.datasets import load_digits

from anotwin.data.idx import find_idx, read_idx
from anotwin.evaluate.counterparts import difference
from anotwin.evaluate.similarity import mean_of, ssim
from anotwin.translation.protocol import Direction
from benchmarks.common.images import GET_MNIST
from benchmarks.common.rows import Bools, Cell, Floats, Row
from benchmarks.translation.judges import Judge, Pixels, of_images
from benchmarks.translation.study import (
    Study,
    digest,
    find_folder,
    interval,
    skipped,
    training_row,
    write_images,
)

SIDE = 32  # pixels; MNIST's 28 with a border
ANGLE = 30.0  # degrees, counter-clockwise; digits of MNIST lean by 10 of themselves, so less is hard to see in a set
PAPER, INK = (250, 225, 160), (25, 45, 130)  # colours of what is black and white in A
TRAINED, TESTED, JUDGED = 8000, 1000, 20000  # digits a domain, test digits, training digits of the classifiers
QUICK_TRAINED, QUICK_TESTED = 40, 12
JUDGE_STEPS = 1500
SHOWN = 8  # rows of a sheet
UNPAIRED = ("data.image_size=32", "networks.base_channels=16", "training.batch_size=16", "training.steps=10000")
PAIRED = ("data.image_size=32", "translation.patch=34", "training.batch_size=8")


@dataclass(frozen=True, eq=False)
class Digits:
    """Images (N, 32, 32) and labels (N,) to train with and to test on."""

    training: list[Pixels]
    labels: npt.NDArray[np.int64]
    test: list[Pixels]
    test_labels: npt.NDArray[np.int64]


def find_digits(study: Study) -> Digits | None:
    """MNIST; with --quick the digits of scikit-learn, enlarged. None where there is no MNIST."""
    if study.quick:
        digits = load_digits()
        images = np.stack([enlarged_digit(each) for each in digits.images[: 2 * QUICK_TRAINED]])
        known = np.asarray(digits.target[: len(images)], np.int64)
        return Digits(bordered(images), known, bordered(images[:QUICK_TESTED]), known[:QUICK_TESTED])
    root = find_folder(study.arguments.data, "MNIST") or study.arguments.data
    found = [root and find_idx(root, part) for part in ("train", "test")]
    if not all(found):
        return None
    parts = [(read_idx(path, 3), read_idx(_labels(path), 1).astype(np.int64)) for path in found if path]
    (training, labels), (test, test_labels) = parts
    chosen = np.random.default_rng(0).permutation(len(training))[: max(JUDGED, 2 * TRAINED)]
    return Digits(bordered(training[chosen]), labels[chosen], bordered(test[:TESTED]), test_labels[:TESTED])


def enlarged_digit(image: Floats) -> Floats:
    """A digit of scikit-learn (8, 8) in 0 .. 16 -> (28, 28) in 0 .. 255."""
    enlarged: Floats = resize(image / 16, (28, 28), order=1) * 255  # type: ignore[no-untyped-call]
    return enlarged


def _labels(images: Path) -> Path:
    return images.with_name(images.name.replace("images-idx3", "labels-idx1").replace("images.idx3", "labels.idx1"))


def bordered(images: npt.NDArray[Any]) -> list[Pixels]:
    """(N, 28, 28) -> N images (32, 32) uint8, with two black pixels around."""
    return [np.pad(np.rint(image).astype(np.uint8), (SIDE - len(image)) // 2) for image in images]


def restyled(image: Pixels) -> Pixels:
    """The true map of A to B: (32, 32) -> (32, 32, 3) dark on light, rotated, coloured.

    >>> [restyled(np.full((32, 32), level, np.uint8))[16, 16].tolist() for level in (0, 255)]
    [[250, 225, 160], [25, 45, 130]]
    """
    turned = np.clip(rotate(image.astype(np.float64), ANGLE, reshape=False, order=1), 0, 255)
    return recoloured(turned)


def recoloured(image: npt.NDArray[Any]) -> Pixels:
    """(32, 32) in 0 .. 255 -> (32, 32, 3), dark on light: all of the map that needs no geometry."""
    colours: Floats = np.array(PAPER) + image[..., None] / 255 * (np.array(INK) - np.array(PAPER))
    return np.rint(colours).astype(np.uint8)


def grey(image: Pixels) -> Pixels:
    """The way back: (32, 32, 3) -> (32, 32), light on dark.

    >>> grey(recoloured(np.full((32, 32), 77, np.uint8)))[16, 16].item()
    77
    """
    along = np.array(INK, np.float64) - np.array(PAPER)
    shares: Floats = (image - np.array(PAPER)) @ along / (along @ along)
    return np.rint(np.clip(shares * 255, 0, 255)).astype(np.uint8)


def digit_rows(study: Study) -> Iterator[Row]:
    """CycleGAN between digits and other digits restyled, both ways."""
    digits = find_digits(study)
    if digits is None:
        yield from skipped("digits", GET_MNIST)
        return
    half = study.count(TRAINED, QUICK_TRAINED)
    data = study.scratch / "digits"
    write_images(data / "A", digits.training[:half])
    write_images(data / "B", [restyled(each) for each in digits.training[half : 2 * half]], "restyled-")
    truth = {"A": digits.test, "B": [restyled(each) for each in digits.test]}
    judges = {
        "A": classifier(study, "digits", digits.training, digits.labels),
        "B": classifier(study, "restyled digits", [restyled(each) for each in digits.training], digits.labels),
    }
    translator = study.translator("digits cyclegan", "cyclegan", data, UNPAIRED)
    outputs = {}
    ways: tuple[Direction, ...] = ("AtoB", "BtoA")
    for way in ways:
        start, end = way[0], way[-1]
        outputs[way] = study.translated(translator, truth[start], way)
        colours = [recoloured(each) if end == "B" else grey(each) for each in truth[start]]
        before = judges[start].classes(truth[start])
        for method, images in (("cyclegan", outputs[way]), ("recoloured, not rotated", colours)):
            rows, ours = study.cell(f"digits: {start} to {end}", method), method == "cyclegan"
            yield from likeness_rows(rows, truth[end], images, goal="<= 0.06" if ours else None)
            after = judges[end].classes(images)
            yield rows.share("class_kept", before == after, goal=">= 0.95" if ours else None)
            yield rows.share("class_true", after == digits.test_labels)
        rows = study.cell(f"digits: {start} to {end}", "the digits themselves")
        yield rows.share("class_true", judges[end].classes(truth[end]) == digits.test_labels)
    yield from training_row(study.cell("digits", "cyclegan"), translator)
    shown = zip(truth["A"], outputs["AtoB"], truth["B"], outputs["BtoA"], truth["A"], strict=True)
    titles = ("A", "cyclegan A to B", "truth = B", "cyclegan B to A", "truth = A")
    study.sheet("digits", titles, list(shown)[:SHOWN], side=96)


def classifier(study: Study, name: str, images: Sequence[Pixels], labels: npt.NDArray[np.int64]) -> Judge:
    """Of the ten digits."""
    chosen = study.count(JUDGED, QUICK_TRAINED)
    sample = of_images(images[:chosen], labels[:chosen].tolist())
    channels = 1 if images[0].ndim == 2 else 3
    return study.judge(name, sample, digest(images[:chosen]), channels, 10, JUDGE_STEPS)


def likeness_rows(
    rows: Cell, truth: Sequence[Pixels], images: Sequence[Pixels], goal: str | None = None
) -> Iterator[Row]:
    """Mean absolute error to the truth, of the range, and SSIM."""
    away = [difference(image, true) / 255 for image, true in zip(images, truth, strict=True)]
    alike = [ssim(true, image) for image, true in zip(images, truth, strict=True)]
    for name, values, aim in (("mean_absolute_error", away, goal), ("ssim", alike, None)):
        found = mean_of(values, range(len(values)))
        yield rows.row(name, found.value, interval(found), goal=aim)


# -- edges -------------------------------------------------------------------------------------------------------------


def edges_of(image: Pixels) -> Pixels:
    """Edges of a digit, 0 or 255 (scikit-image's Canny, sigma 1)."""
    found: Bools = canny(image.astype(np.float64) / 255, sigma=1.0)  # type: ignore[no-untyped-call]
    return np.where(found, 255, 0).astype(np.uint8)


def filled(edges: Pixels) -> Pixels:
    """What needs no learning: the edges with what they enclose."""
    inside: Bools = binary_fill_holes(edges > 0)
    return np.where(inside, 255, 0).astype(np.uint8)


def edge_rows(study: Study) -> Iterator[Row]:
    """pix2pix from edges to digits, beside the same with L1 alone and beside filled outlines."""
    digits = find_digits(study)
    if digits is None:
        yield from skipped("edges", GET_MNIST)
        return
    half = study.count(TRAINED, QUICK_TRAINED)
    data = study.scratch / "edges"
    write_images(data / "A", [edges_of(each) for each in digits.training[:half]])
    write_images(data / "B", digits.training[:half])
    truth, edges = digits.test, [edges_of(each) for each in digits.test]
    outputs = {"filled edges": [filled(each) for each in edges]}
    for row, changed in (("pix2pix", ()), ("L1 alone", ("translation.adversarial=false",))):
        translator = study.translator(f"edges {row}", "pix2pix", data, (*PAIRED, *changed))
        outputs[row] = study.translated(translator, edges, "AtoB")
        yield from training_row(study.cell("edges", row), translator)
    judge = classifier(study, "digits", digits.training, digits.labels)
    for row, images in outputs.items():
        rows = study.cell("edges", row)
        yield from likeness_rows(rows, truth, images)
        yield rows.share("class_true", judge.classes(images) == digits.test_labels)
    yield study.cell("edges", "the digits themselves").share("class_true", judge.classes(truth) == digits.test_labels)
    titles = ("edges", *outputs, "truth")
    study.sheet("edges", titles, list(zip(edges, *outputs.values(), truth, strict=True))[:SHOWN], side=96)
