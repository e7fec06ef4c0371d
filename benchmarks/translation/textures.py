"""Part `textures`: brick to gravel and back with CycleGAN, judged by a classifier of textures.

Each is one picture of scikit-image; its upper rows are learnt from, by CycleGAN and by the classifier, its lower rows
are the test. The classifier has also seen each texture with the grey levels of the other, so that structure has to
decide; that it does is shown by a control: test squares of brick with the grey levels of gravel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from skimage import data as pictures
from skimage.exposure import match_histograms

from anotwin.translation.protocol import Direction
from benchmarks.common.rows import Row
from benchmarks.translation.judges import Judge, Pixels, grid_of_patches
from benchmarks.translation.study import Study, training_row, write_images

NAMES = {"A": "brick", "B": "gravel"}
ROWS = 320  # of 512, learnt from
TILE, HOP = 128, 64  # pixels of the files that are learnt from
SIDE = 64  # of what is translated and judged; squares of the test do not overlap
JUDGE_STEPS = 600
# no identity loss, as in the paper for everything but paintings
TRANSLATE = ("data.image_size=64", "training.steps=3000", "translation.identity_weight=0")
SHOWN = 6


def texture(name: str) -> tuple[Pixels, Pixels]:
    """The part that is learnt from (320, 512) and the part that is tested on (192, 512)."""
    picture: Pixels = getattr(pictures, name)()
    return picture[:ROWS], picture[ROWS:]


def texture_rows(study: Study) -> Iterator[Row]:
    """Both ways, and the control."""
    learnt = {end: texture(name)[0] for end, name in NAMES.items()}
    test = {end: grid_of_patches(texture(name)[1], SIDE, SIDE) for end, name in NAMES.items()}
    data = study.scratch / "textures"
    for end, picture in learnt.items():
        write_images(data / end, grid_of_patches(picture, TILE, HOP), NAMES[end])
    judge = classifier(study, learnt["A"], learnt["B"])
    translator = study.translator("textures cyclegan", "cyclegan", data, TRANSLATE)
    outputs = {}
    ways: tuple[Direction, ...] = ("AtoB", "BtoA")
    for way in ways:
        start, end = way[0], way[-1]
        outputs[way] = study.translated(translator, test[start], way)
        case, wanted = f"{NAMES[start]} to {NAMES[end]}", list(NAMES).index(end)
        levels = with_levels(test[start], learnt[end])
        for method, images in (("cyclegan", outputs[way]), ("grey levels matched", levels)):
            goal = ">= 0.90" if method == "cyclegan" else None
            yield study.cell(case, method).share("judged_as_target", judge.classes(images) == wanted, goal=goal)
        yield study.cell(case, "real images").share("judged_as_target", judge.classes(test[end]) == wanted)
    yield from training_row(study.cell("textures", "cyclegan"), translator)
    shown = zip(test["A"], outputs["AtoB"], test["B"], outputs["BtoA"], strict=True)
    study.sheet("textures", ("brick", "as gravel", "gravel", "as brick"), list(shown)[:SHOWN], side=128)


def classifier(study: Study, one: Pixels, other: Pixels) -> Judge:
    """Of the two textures, each also with the grey levels of the other, so that levels cannot decide."""
    examples = [one, *with_levels([one], other), other, *with_levels([other], one)]
    return study.origin_network("textures", examples, ["A", "A", "B", "B"], SIDE, JUDGE_STEPS)


def with_levels(images: Sequence[Pixels], reference: Pixels) -> list[Pixels]:
    """The images with the histogram of another: all of a translation that needs no structure."""
    matched = [match_histograms(image, reference) for image in images]
    return [np.clip(np.rint(each), 0, 255).astype(np.uint8) for each in matched]
