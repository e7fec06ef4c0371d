"""Part `superresolution`: four times enlarged, trained on BSD100 alone, measured on Set5 and Set14 as published.

PSNR and SSIM are of luma with a border of the factor cut; the low-resolution images are the published ones, so that
bicubic enlargement (Pillow's, which has MATLAB's kernel) gives the published numbers. What PSNR cannot see is measured
by a network that has learnt from BSD100 alone to tell which of its images a patch is cut from (judges.py): by its
distance to the true image, and by the Frechet distance of patches. Neither has seen a blurred or a generated image.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data as pictures

from anotwin import DataError
from anotwin.evaluate.counterparts import sharpness
from anotwin.evaluate.frechet import Features, frechet, frechet_lead
from anotwin.evaluate.similarity import enlarged_quality, mean_of
from anotwin.translation.reduce import reduced
from anotwin.translator import Translator
from benchmarks.common.rows import Cell, Floats, Row
from benchmarks.translation.judges import Judge, Pixels, grid_of_patches, patch_features
from benchmarks.translation.study import (
    Study,
    find_folder,
    interval,
    read_images,
    skipped,
    training_row,
    write_images,
)

GET_SETS = (
    "put the images of SelfExSR (Huang et al. 2015) as superresolution/BSD100/HR, superresolution/Set5/x4/HR, .../LR "
    "and superresolution/Set14/x4/... where ANOTWIN_DATA points: the published images under equal names"
)
PUBLISHED = {("Set5", 4): 28.42, ("Set14", 4): 26.00, ("Set5", 2): 33.66, ("Set14", 2): 30.24}  # dB of bicubic
LONGEST = 3600  # seconds of processor time in training: half an hour on two cores
PATCH, HOP = 48, 24
JUDGE_STEPS = 800
TRANSLATE = ("training.sample_every=250",)
ROWS = {"SRResNet (L2)": ("translation.adversarial=false",), "SRGAN": ()}
BICUBIC, L2, GAN = "bicubic", *ROWS
EXAMPLES = {"astronaut": (40, 160), "chelsea": (70, 80), "coffee": (60, 190), "rocket": (90, 270)}  # of scikit-image
WINDOW = 120  # pixels a side that sheets show, large enough to see detail; examples from this row and column on


@dataclass(frozen=True, eq=False)
class EnlargedSet:
    """Published pairs by name: low-resolution images and the true ones."""

    name: str
    factor: int
    low: Mapping[str, Pixels]
    truth: Mapping[str, Pixels]
    outputs: dict[str, list[Pixels]] = field(default_factory=dict)  # of each row

    @classmethod
    def read(cls, root: Path, name: str, factor: int) -> EnlargedSet:
        """From root/name/x4."""
        folder = root / name / f"x{factor}"
        low, truth = read_images(folder / "LR"), read_images(folder / "HR")
        if low.keys() != truth.keys() or not low:
            raise DataError(f"{folder}: names in LR and HR differ, or there are none; expected pairs of equal names")
        return cls(name, factor, low, truth)


def superresolution_rows(study: Study) -> Iterator[Row]:
    """Bicubic, SRResNet with L2 alone, and SRGAN."""
    factor = study.arguments.factor
    found = made_up(study.scratch / "enlarged", factor) if study.quick else find_sets(study, factor)
    if found is None:
        yield from skipped("superresolution", GET_SETS)
        return
    training, sets = found
    learnt = [coloured(each) for each in read_images(training).values()]
    judge = study.origin_network(
        "origin of photographs", learnt, list(map(str, range(len(learnt)))), PATCH, JUDGE_STEPS
    )
    for each in sets:
        each.outputs[BICUBIC] = [bicubic(image, factor) for image in each.low.values()]
    models = {}
    for row, changed in ROWS.items():
        changed = (*TRANSLATE, f"translation.factor={factor}", *changed)
        models[row] = translator = study.translator(f"x{factor} {row}", "srgan", training, changed)
        for each in sets:
            each.outputs[row] = [enlarged(study, translator, image) for image in each.low.values()]
        yield from training_row(study.cell(f"BSD100, x{factor}", row), translator, goal=f"<= {LONGEST}")
    for each in sets:
        yield from set_rows(study, judge, each)
        titles = ("bicubic", *ROWS, "truth")
        centres = [
            [centre(image) for image in row] for row in zip(*each.outputs.values(), each.truth.values(), strict=True)
        ]
        study.sheet(f"x{factor}-{each.name}", titles, centres[:6], side=240)
    study.sheet(f"x{factor}-examples", (BICUBIC, *ROWS, "truth"), list(examples(study, models, factor)), side=240)


def find_sets(study: Study, factor: int) -> tuple[Path, list[EnlargedSet]] | None:
    """The folder to learn from, and the sets to measure on."""
    root = find_folder(study.arguments.data, "superresolution")
    if root is None or not (root / "BSD100" / "HR").is_dir():
        return None
    return root / "BSD100" / "HR", [EnlargedSet.read(root, name, factor) for name in ("Set5", "Set14")]


def made_up(root: Path, factor: int) -> tuple[Path, list[EnlargedSet]]:
    """Parts of one photograph, for a smoke run."""
    picture: Pixels = pictures.astronaut()  # type: ignore[no-untyped-call]
    write_images(root / "HR", grid_of_patches(picture[:256], 128, 128))
    truth = [picture[256:352, 96:192], picture[352:448, 96:192], picture[256:352, 192:288], picture[352:448, 192:288]]
    low = [np.asarray(Image.fromarray(each).resize((96 // factor,) * 2, Image.Resampling.BICUBIC)) for each in truth]
    names = [str(number) for number in range(len(truth))]
    small = EnlargedSet("photograph", factor, dict(zip(names, low, strict=True)), dict(zip(names, truth, strict=True)))
    return root / "HR", [small]


def examples(study: Study, models: Mapping[str, Translator], factor: int) -> Iterator[list[Pixels]]:
    """Windows of photographs that come with scikit-image: reduced and enlarged again, and the truth."""
    for name, (top, left) in EXAMPLES.items():
        truth: Pixels = getattr(pictures, name)()
        low = np.asarray(reduced(truth, factor), np.uint8)
        outputs = [bicubic(low, factor), *(enlarged(study, model, low) for model in models.values())]
        yield [each[top : top + WINDOW, left : left + WINDOW] for each in (*outputs, truth)]


def bicubic(image: Pixels, factor: int) -> Pixels:
    """Pillow's; a = -1/2 as MATLAB's."""
    size = (image.shape[1] * factor, image.shape[0] * factor)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def enlarged(study: Study, translator: Translator, image: Pixels) -> Pixels:
    """By the model, which learnt from colour: a grey image goes in as colour, and its luma comes back as grey."""
    (output,) = study.translated(translator, [coloured(image)], "AtoB")
    return output if image.ndim == 3 else np.rint(output.mean(axis=2)).astype(np.uint8)


def set_rows(study: Study, judge: Judge, images: EnlargedSet) -> Iterator[Row]:
    """Quality of each row on one set, and how far it is ahead."""
    truth, names, factor = list(images.truth.values()), list(images.truth), images.factor
    known = None if study.quick else PUBLISHED[images.name, factor]
    real, generated = patch_features(judge, [coloured(each) for each in truth], names, PATCH, HOP), {}
    quality: dict[str, Floats] = {}
    for row, outputs in images.outputs.items():
        rows = study.cell(f"{images.name}, x{factor}", row)
        pairs = list(zip(truth, outputs, strict=True))
        scored = np.array([enlarged_quality(true, made, factor) for true, made in pairs])
        away = [judge.distance(coloured(true), coloured(made)) for true, made in pairs]
        sharp = [sharpness(true, made, np.ones(true.shape[:2], bool))[0] for true, made in pairs]
        quality[row] = np.column_stack([scored, away])
        for name, values, unit in (("psnr", scored[:, 0], "dB"), ("ssim", scored[:, 1], "")):
            yield mean_row(rows, name, values, unit)
        if row == BICUBIC and known:
            yield rows.row(
                "psnr_away_from_published", abs(float(scored[:, 0].mean()) - known), unit="dB", goal="<= 0.02"
            )
        yield mean_row(rows, "distance_by_origin_network", np.array(away))
        yield mean_row(rows, "sharpness_of_true", np.array(sharp))
        generated[row] = patch_features(judge, [coloured(each) for each in outputs], names, PATCH, HOP)
        found = frechet(real, generated[row])
        yield rows.row("frechet_on_origin_network", found.value, interval(found))
    yield from lead_rows(study, images, quality, real, generated)


def lead_rows(
    study: Study, images: EnlargedSet, quality: Mapping[str, Floats], real: Features, generated: Mapping[str, Features]
) -> Iterator[Row]:
    """Differences of rows on the same images: the L2 network over bicubic, SRGAN over both."""
    case = f"{images.name}, x{images.factor}"
    goal = ">= 0.8" if images.name == "Set5" and images.factor == 4 else None
    gain = quality[L2][:, 0] - quality[BICUBIC][:, 0]
    yield mean_row(study.cell(case, L2), "psnr_above_bicubic", gain, "dB", goal)
    rows = study.cell(case, GAN)
    for other in (BICUBIC, L2):
        nearer = quality[other][:, 2] - quality[GAN][:, 2]
        word = other.partition(" ")[0]
        yield mean_row(rows, f"distance_below_{word}", nearer, goal=">= 0")
        lead = frechet_lead(real, generated[GAN], generated[other])
        yield rows.row(f"frechet_ahead_of_{word}", lead.value, interval(lead), goal=">= 0")


def mean_row(rows: Cell, name: str, values: Floats, unit: str = "", goal: str | None = None) -> Row:
    """Over images, each of which is its own group."""
    found = mean_of(values.tolist(), range(len(values)))
    return rows.row(name, found.value, interval(found), unit, goal)


def coloured(image: Pixels) -> Pixels:
    """(H, W, 3), whatever it was."""
    return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)


def centre(image: Pixels, side: int = WINDOW) -> Pixels:
    """The middle of an image, at most (side, side): at this size its detail is seen."""
    top, left = (max(0, (length - side) // 2) for length in image.shape[:2])
    return image[top : top + side, left : left + side]
