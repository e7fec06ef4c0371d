"""Part `layers`: pix2pix between retinal scans and maps of their seven layers, subjects of training and test apart.

    scan to map     Dice of each layer; beside the same U-Net with L1 alone and with cross-entropy alone
    map to scan     Frechet distance and sharpness; beside the same U-Net with L1 alone

The Frechet distance is on features of an origin network (judges.py): it has learnt from training scans alone to tell
which subject a patch is of. Subjects are what intervals resample: of three subjects they say little.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anotwin import DataError
from anotwin.evaluate.counterparts import sharpness
from anotwin.evaluate.frechet import frechet, frechet_lead, frechet_of_halves
from anotwin.evaluate.similarity import dice, mean_of, ssim
from benchmarks.common.rows import Row
from benchmarks.translation.judges import Pixels, patch_features
from benchmarks.translation.study import (
    Study,
    find_folder,
    interval,
    read_images,
    skipped,
    training_row,
    write_images,
)

GET_LAYERS = (
    "put the scans of Chiu et al. 2015 with their layers as train/A, train/B, test/A, test/B into "
    "translation/duke_layers where ANOTWIN_DATA points: A the scans, B maps of grey values 0, 10 ... 70, equal names"
)
CLASSES = tuple(range(10, 80, 10))  # grey values of the layers, from the inner one; 0 is what lies outside
PATCH, HOP = 64, 32  # pixels of what the origin network sees
JUDGE_STEPS = 800
TRANSLATE = ("data.image_size=256", "translation.mirror=true")
TO_MAP = {  # rows -> settings
    "pix2pix": (),
    "L1 alone": ("translation.adversarial=false",),
    "pix2pix of labels": ("translation.target=labels",),
    "cross-entropy alone": ("translation.target=labels", "translation.adversarial=false"),
}
TO_SCAN = {"pix2pix": (), "L1 alone": ("translation.adversarial=false",)}
SHOWN = 6


@dataclass(frozen=True, eq=False)
class Layers:
    """Scans and maps of the test by name, and the folder whose A and B are learnt from."""

    folder: Path
    scans: Mapping[str, Pixels]
    maps: Mapping[str, Pixels]

    @property
    def subjects(self) -> list[str]:
        """(N,) of the test, in the order of names."""
        return subjects(self.scans)


def subjects(names: Iterable[str]) -> list[str]:
    """s10 of s10_03."""
    return [name.partition("_")[0] for name in names]


def find_layers(study: Study) -> Layers | None:
    """The real set; made-up ones with --quick."""
    if study.quick:
        return made_up(study.scratch / "layers")
    root = find_folder(study.arguments.data, "translation", "duke_layers")
    return None if root is None else read_layers(root)


def read_layers(root: Path) -> Layers:
    """Of a folder with train and test."""
    scans, maps = read_images(root / "test" / "A"), read_images(root / "test" / "B")
    if scans.keys() != maps.keys():
        raise DataError(f"{root / 'test'}: names in A and B differ; expected one map for each scan, of the same name")
    return Layers(root / "train", scans, maps)


def made_up(root: Path, count: int = 6, side: int = 64) -> Layers:
    """Bands of other grey values and noise at a random depth, for a smoke run."""
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        tops = rng.integers(4, side // 2, count)
        rows = np.arange(side)[:, None] - tops[:, None, None]  # (count, side, 1)
        labels = np.where((rows >= 0) & (rows < 28), 10 + rows // 4 * 10, 0) + np.zeros(side, np.int64)
        scans = np.clip(2 * labels + rng.normal(60, 20, labels.shape), 0, 255)
        write_images(root / part / "A", list(scans.astype(np.uint8)), "s1_")
        write_images(root / part / "B", list(labels.astype(np.uint8)), "s1_")
    return read_layers(root)


def layer_rows(study: Study) -> Iterator[Row]:
    """Both ways."""
    layers = find_layers(study)
    if layers is None:
        yield from skipped("layers", GET_LAYERS)
        return
    yield from scan_to_map_rows(study, layers)
    yield from map_to_scan_rows(study, layers)


def scan_to_map_rows(study: Study, layers: Layers) -> Iterator[Row]:
    """Dice of each layer and its mean over layers, by scan."""
    scans, truth, shown = list(layers.scans.values()), list(layers.maps.values()), []
    for row, changed in TO_MAP.items():
        rows = study.cell("scan to map", row)
        translator = study.translator(f"scan to map {row}", "pix2pix", layers.folder, (*TRANSLATE, *changed))
        maps = [nearest_class(each) for each in study.translated(translator, scans, "AtoB")]
        shown.append(maps)
        found = np.array([dice(true, each, CLASSES) for true, each in zip(truth, maps, strict=True)])
        overall = mean_of(np.nanmean(found, axis=1).tolist(), layers.subjects)
        yield rows.row("dice", overall.value, interval(overall))
        for number, column in enumerate(found.T, start=1):
            one = mean_of(column.tolist(), layers.subjects)
            yield rows.row(f"dice_layer_{number}", one.value, interval(one))
        yield from training_row(rows, translator)
    every = len(scans) // SHOWN or 1
    bright = [[each * 3 for each in column] for column in (*shown, truth)]  # 70 becomes 210
    columns = list(zip(scans, *bright, strict=True))[::every]
    study.sheet("scan-to-map", ("scan", *TO_MAP, "truth"), columns[:SHOWN])


def nearest_class(image: npt.NDArray[np.uint8]) -> Pixels:
    """Grey values -> the nearest of 0, 10 ... 70."""
    return (np.clip(np.rint(image / 10), 0, len(CLASSES)) * 10).astype(np.uint8)


def map_to_scan_rows(study: Study, layers: Layers) -> Iterator[Row]:
    """How like generated scans as a whole are to real ones; how sharp; how near each is to the true one."""
    scans, maps = list(layers.scans.values()), list(layers.maps.values())
    learnt, patches = read_images(layers.folder / "A"), (PATCH, HOP)
    judge = study.origin_network("subject of scans", list(learnt.values()), subjects(learnt), PATCH, JUDGE_STEPS)
    real, generated, outputs = patch_features(judge, scans, layers.subjects, *patches), {}, {}
    by_scan = patch_features(judge, scans, list(layers.scans), *patches)
    for row, changed in TO_SCAN.items():
        rows = study.cell("map to scan", row)
        swapped = (*TRANSLATE, "translation.swap=true", *changed)
        translator = study.translator(f"map to scan {row}", "pix2pix", layers.folder, swapped)
        outputs[row] = study.translated(translator, maps, "AtoB")
        generated[row] = patch_features(judge, outputs[row], layers.subjects, *patches)
        distance = frechet(real, generated[row])
        yield rows.row("frechet_on_origin_network", distance.value, interval(distance))
        whole = np.ones(scans[0].shape[:2], bool)
        sharp = [sharpness(true, made, whole)[0] for true, made in zip(scans, outputs[row], strict=True)]
        alike = [ssim(true, made) for true, made in zip(scans, outputs[row], strict=True)]
        for name, values in (("sharpness_of_true", sharp), ("ssim", alike)):
            found = mean_of(values, layers.subjects)
            yield rows.row(name, found.value, interval(found))
        yield from training_row(rows, translator)
    yield study.cell("map to scan", "real scans").row("frechet_of_halves", frechet_of_halves(by_scan))
    lead = frechet_lead(real, generated["pix2pix"], generated["L1 alone"])
    rows = study.cell("map to scan", "pix2pix")
    yield rows.row("frechet_ahead_of_L1_alone", lead.value, interval(lead), goal=">= 0")
    every = len(scans) // SHOWN or 1
    bright = [each * 3 for each in maps]
    columns = list(zip(bright, *outputs.values(), scans, strict=True))[::every]
    study.sheet("map-to-scan", ("map", *TO_SCAN, "truth"), columns[:SHOWN])
