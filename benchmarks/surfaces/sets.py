"""The sets of surfaces: real ones in the MVTec AD layout, and made-up ones of what comes with scikit-image."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, shift
from skimage import data as pictures

from anotwin import DataError
from anotwin.data.arrays import ArraySource
from anotwin.data.mvtec import is_mvtec
from anotwin.defects.kinds import HELD_OUT
from anotwin.defects.library import plant
from anotwin.domains.open import open_source
from anotwin.records import ImageItem, ImageSource
from benchmarks.common.rows import Bools, console
from benchmarks.surfaces import screws

Pixels = npt.NDArray[np.uint8]
Names = npt.NDArray[np.str_]

TEXTURES, PARTS, SCREWS = "textures", "parts", "screws"
GROUPS = {  # of files of the real sets, as `anotwin train --group` takes them; None: those of manifest.csv
    "magnetic_tile": None,
    "aitex": "*_{}_*",  # the strip of woven fabric
    "crackforest": "{}_*",  # the photograph
}
SOURCES = {
    "magnetic_tile": "Huang, Qiu and Yuan 2018 (magnetic-tile-defect-datasets)",
    "aitex": "Silvestre-Blanes et al. 2019 (AITEX fabric images)",
    "crackforest": "Shi et al. 2016 (CrackForest), photographs cut into tiles",
}
HOW = "MVTec AD layout: train/good, test/good, test/DEFECT, ground_truth/DEFECT"
GOOD = "good"


@dataclass(frozen=True, eq=False)
class Surfaces:
    """One set. Labels and masks measure; they choose nothing."""

    name: str
    train: ImageSource  # normal images alone
    test: ImageSource
    planted: tuple[Bools, ...] = ()  # masks (H, W) of test images that are made up
    group: str | None = None  # how files are grouped; None: as the set itself says

    @property
    def overrides(self) -> list[str]:
        """The settings that say what groups are."""
        return [f'data.group="{self.group}"'] if self.group else []

    @property
    def data(self) -> Any:
        """What `Detector.train` is given: the folder, as a user would; made-up images as they are."""
        return self.train if self.planted else Path(self.train.root)

    @cached_property
    def training(self) -> list[Pixels]:
        """(N,) training images, (H, W) or (H, W, 3)."""
        return [self.train.read(index) for index in range(len(self.train.items))]

    @cached_property
    def images(self) -> list[Pixels]:
        """(N,) test images."""
        return [self.test.read(index) for index in range(len(self.test.items))]

    @cached_property
    def masks(self) -> list[Bools]:
        """(N,) of (H, W), True where abnormal."""
        if self.planted:
            return list(self.planted)
        masks = [self.test.read_mask(index) for index in range(len(self.test.items))]
        empty = [np.zeros(image.shape[:2], bool) for image in self.images]
        bare = [i.id for i, mask in zip(self.test.items, masks, strict=True) if mask is None and not i.normal]
        if bare:
            raise DataError(f"{self.name}: {len(bare)} test images with a defect have no mask, the first is {bare[0]}")
        return [none if mask is None else mask for mask, none in zip(masks, empty, strict=True)]

    @property
    def labels(self) -> Names:
        return np.array([str(item.label) for item in self.test.items])

    @property
    def abnormal(self) -> Bools:
        return np.array([item.normal is False for item in self.test.items])

    @property
    def groups(self) -> list[str]:
        """(N,) of the test images; one that belongs to none is its own."""
        return [item.group or item.id for item in self.test.items]

    def about(self) -> str:
        """Its size, in words."""
        groups = len({item.group or item.id for item in self.train.items})
        good = int((~self.abnormal).sum())
        return (
            f"{self.name}: {len(self.train.items)} normal images of {groups} groups to learn from; tested on {good} "
            f"normal and {int(self.abnormal.sum())} with a defect, of {len(set(self.groups))} groups"
        )


def find_sets(names: Sequence[str]) -> list[Surfaces]:
    """The sets that are there; of those that are not, a printed line says how to get them.

    A name is one of `GROUPS`, looked for where ANOTWIN_DATA points and in ../shared/data, one of `MADE_UP`, or any
    folder in the MVTec AD layout. A folder that is none is a DataError.
    """
    found = []
    for name in names:
        if name in MADE_UP:
            found.append(MADE_UP[name]())
        elif name in GROUPS:
            root = _find(name)
            if root is None:
                console.print(f"{name} is skipped: {_get(name)}", markup=False)
            else:
                found.append(real(name, root, GROUPS[name]))
        else:
            if not is_mvtec(Path(name)):
                raise DataError(f"--data {name}: expected {', '.join([*GROUPS, *MADE_UP])}, or a folder in the {HOW}")
            found.append(real(Path(name).name, Path(name), None))
    return found


def _find(name: str) -> Path | None:
    places = [Path(place) for place in (os.environ.get("ANOTWIN_DATA"), "../shared/data") if place]
    return next((root for place in places if is_mvtec(root := place / name)), None)


def _get(name: str) -> str:
    return (
        f"there is no {name} where ANOTWIN_DATA points or in ../shared/data; put the images of {SOURCES[name]} there, "
        f"in the {HOW}"
    )


def real(name: str, root: Path, group: str | None) -> Surfaces:
    """A set of files."""
    train, test = (open_source(root, part, "mvtec", group=group) for part in ("train", "test"))
    return Surfaces(name, train, test, group=group)


SIDE, HOP = 128, 64  # pixels of a made-up image, and how far apart they are cut
TRAINED_BANDS = (0, 128, 256)  # rows of a texture of 512 x 512 that are learnt from; the last band is for the test


def textures(side: int = SIDE, hop: int = HOP, seed: int = 0, kinds: Sequence[str] = HELD_OUT) -> Surfaces:
    """Brick, grass and gravel: bands of each to learn from; another band as it is, mirrored, and with one defect each.

    Bands do not overlap, images of a band do: a band is a group. Of the test, columns that share no pixel are groups.
    """
    rng = np.random.default_rng([seed, side])
    train: list[tuple[Pixels, ImageItem]] = []
    test: list[tuple[Pixels, ImageItem]] = []
    masks: list[Bools] = []
    for texture in ("brick", "grass", "gravel"):
        picture: Pixels = getattr(pictures, texture)()
        columns = range(0, picture.shape[1] - side + 1, hop)
        for band in TRAINED_BANDS:
            for row in range(band, band + SIDE - side + 1, side):
                cuts = [picture[row : row + side, column : column + side] for column in columns]
                train += [
                    (cut, ImageItem(f"{texture}-{row}-{k}", GOOD, True, f"{texture}-{band}"))
                    for k, cut in enumerate(cuts)
                ]
        below = picture[TRAINED_BANDS[-1] + SIDE :][:side]
        for column in range(0, picture.shape[1] - side + 1, side):  # no two share a pixel
            normal, group = below[:, column : column + side], f"{texture}-test-{column}"
            for number, image in enumerate((normal, normal[:, ::-1])):
                name = f"{texture}-{column}-{number}"
                test.append((np.ascontiguousarray(image), ImageItem(f"{name}-good", GOOD, True, group)))
                masks.append(np.zeros(image.shape, bool))
                for kind in kinds:
                    damaged, mask = _damaged(image, kind, rng)
                    test.append((damaged, ImageItem(f"{name}-{kind}", kind, False, group)))
                    masks.append(mask)
    return Surfaces(TEXTURES, _source(TEXTURES, train), _source(TEXTURES, test), tuple(masks))


MOVED, MARGIN = 10.0, 24  # pixels that a part is moved by at most; of its ground around it, more than that
PARTS_TRAINED, PARTS_TESTED = 90, 40


def parts(count: int = PARTS_TRAINED, tested: int = PARTS_TESTED, seed: int = 0) -> Surfaces:
    """One tray of coins, as a camera above a belt sees it: moved a little, in changing light, with grain and shading.

    Each picture is a group of its own; those of the test as they are, and with one defect each.
    """
    rng = np.random.default_rng([seed, 1])
    coins: Pixels = pictures.coins()  # type: ignore[no-untyped-call]
    tray = np.pad(coins.astype(np.float64), MARGIN, mode="edge")
    train = [(_seen(tray, rng), ImageItem(f"tray-{k}", GOOD, True, f"tray-{k}")) for k in range(count)]
    test: list[tuple[Pixels, ImageItem]] = []
    masks: list[Bools] = []
    for number in range(tested):
        image, group = _seen(tray, rng), f"tray-test-{number}"
        test.append((image, ImageItem(f"{group}-good", GOOD, True, group)))
        masks.append(np.zeros(image.shape, bool))
        for kind in HELD_OUT:
            damaged, mask = _damaged(image, kind, rng, most=32)
            test.append((damaged, ImageItem(f"{group}-{kind}", kind, False, group)))
            masks.append(mask)
    return Surfaces(PARTS, _source(PARTS, train), _source(PARTS, test), tuple(masks))


def _seen(tray: npt.NDArray[np.float64], rng: np.random.Generator) -> Pixels:
    inside = slice(MARGIN, -MARGIN)
    found = shift(tray, rng.uniform(-MOVED, MOVED, 2), order=1, mode="nearest")[inside, inside]
    found = found * rng.uniform(0.93, 1.07) + rng.uniform(-6, 6)
    found += rng.normal(0, 7, found.shape) + gaussian_filter(rng.normal(0, 60, found.shape), 12)
    pixels: Pixels = np.clip(np.rint(found), 0, 255).astype(np.uint8)
    return pixels


SCREWS_TRAINED, SCREWS_TESTED, SCREWS_DAMAGED = 220, 40, 16  # the last with each kind of defect


def turned_screws(
    count: int = SCREWS_TRAINED, tested: int = SCREWS_TESTED, damaged: int = SCREWS_DAMAGED, seed: int = 0
) -> Surfaces:
    """Screws that lie anyhow; each picture is of one of its own."""
    rng = np.random.default_rng([seed, 2])
    train = [(image, ImageItem(f"screw-{k}", GOOD, True)) for k, image in enumerate(screws.pictures(count, rng))]
    test = [(image, ImageItem(f"good-{k}", GOOD, True)) for k, image in enumerate(screws.pictures(tested, rng))]
    masks = [np.zeros(image.shape, bool) for image, _ in test]
    for kind in screws.KINDS:
        for number in range(damaged):
            image, mask = screws.damaged(kind, rng)
            test.append((image, ImageItem(f"{kind}-{number}", kind, False)))
            masks.append(mask)
    return Surfaces(SCREWS, _source(SCREWS, train), _source(SCREWS, test), tuple(masks))


MADE_UP: dict[str, Callable[[], Surfaces]] = {TEXTURES: textures, PARTS: parts, SCREWS: turned_screws}


def _damaged(image: Pixels, kind: str, rng: np.random.Generator, most: float | None = None) -> tuple[Pixels, Bools]:
    """The image with one defect of 8 to `most` pixels (None: a third of its height), and where it differs from it."""
    scaled = image[None].astype(np.float32) / 127.5 - 1
    diameter = float(np.exp(rng.uniform(np.log(8), np.log(most or image.shape[0] / 3))))
    planted = plant(scaled, scaled, rng, [kind], diameter=diameter)
    pixels = np.clip(np.rint((planted.pixels[0] + 1) * 127.5), 0, 255).astype(np.uint8)
    return np.where(planted.mask, pixels, image), planted.mask


def _source(name: str, pairs: Sequence[tuple[Pixels, ImageItem]]) -> ArraySource:
    return ArraySource(tuple(image for image, _ in pairs), tuple(item for _, item in pairs), root=name)
