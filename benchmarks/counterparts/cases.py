"""What is learnt from and planted into: digits, synthetic retinas, textures, magnetic tiles."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from anotwin.defects.kinds import HELD_OUT
from anotwin.evaluate.planted import Plan, PlantedSource
from anotwin.evaluate.planted_pairs import Pairs, Untouched, drawn_plans
from anotwin.records import Array, ImageItem, ImageSource, ImageSpec
from anotwin.seeding import derive
from benchmarks.common.images import bundled
from benchmarks.oct.patients import STAND_INS, Scans, eyes
from benchmarks.surfaces.sets import GROUPS, TEXTURES, Surfaces, find_sets, textures

NAMES = ("digits", "retina", "textures", "tiles")
FOLDERS = {"tiles": "magnetic_tile"}  # as the folders of ../shared/data are called
SURFACES = (TEXTURES, *GROUPS)  # what the goals are about
DIGIT = "8"  # the normal one
TRAINED_EYES, EYES = 120, 24  # synthetic
QUICK_EYES = 6


@dataclass(frozen=True, eq=False)
class Case:
    """One data set. Labels tell normal images apart, and measure."""

    name: str
    train: ImageSource  # normal images alone
    data: Any  # what `Detector.train` is given: the source, or the folder as a user would
    test: ImageSource
    hosts: tuple[int, ...]  # normal images of `test`, of groups that nothing was learnt from
    overrides: tuple[str, ...] = ()  # settings that say what the images are
    lesions: Mapping[str, Scans] = field(default_factory=dict)  # of each kind: `test`, every image with a lesion
    labelled: bool = False  # whether `test` has real defects too

    def pairs(self, untouched: Mapping[int, Untouched], spec: ImageSpec, count: int) -> Pairs:
        """`count` planted images: lesions where there are some, else defects of kinds that nothing was trained on."""
        if not self.lesions:
            return PlantedSource(self.test, spec, drawn_plans(untouched, HELD_OUT, count))
        hosts, kinds = list(untouched), list(self.lesions)
        turns = [divmod(number, len(hosts)) for number in range(min(count, len(hosts) * len(kinds)))]
        plans = [Plan(hosts[place], kinds[(place + turn) % len(kinds)], np.nan, np.nan, turn) for turn, place in turns]
        return LesionPairs(self.test, tuple(plans), self.lesions)


@dataclass(frozen=True, eq=False)
class LesionPairs:
    """Eyes with a lesion; whatever differs from the eye without it is the lesion, shadows and lifted layers too."""

    source: ImageSource
    plans: tuple[Plan, ...]
    lesions: Mapping[str, Scans]
    layout: str = "array"
    root: str = "synthetic retinas"

    @property
    def items(self) -> tuple[ImageItem, ...]:
        return tuple(ImageItem(f"{k:05d}-{plan.kind}", plan.kind, False) for k, plan in enumerate(self.plans))

    def read(self, index: int) -> Array:
        plan = self.plans[index]
        return self.lesions[plan.kind].read(plan.host)

    def read_mask(self, index: int) -> Any:
        return self.read(index) != self.source.read(self.plans[index].host)


def find_cases(arguments: argparse.Namespace) -> list[Case]:
    """Those asked for that are there; of the others a printed line says how to get them."""
    return [case for name in arguments.sets for case in _found(name, arguments.quick)]


def _found(name: str, quick: bool) -> list[Case]:
    if name == "digits":
        images = bundled()
        test = images.test(DIGIT)
        return [_case(name, images.training(DIGIT), test)]
    if name == "retina":
        return [_retina(QUICK_EYES if quick else TRAINED_EYES, 2 if quick else EYES, 256 if quick else 512)]
    if name == TEXTURES and quick:
        return [_surfaces(textures(64, 64))]
    return [_surfaces(each) for each in find_sets([FOLDERS.get(name, name)])]


def _case(name: str, train: ImageSource, test: ImageSource, data: Any = None, **more: Any) -> Case:
    hosts = [index for index, item in enumerate(test.items) if item.normal]
    order = np.random.default_rng(derive(0, "hosts")).permutation(hosts).tolist()
    return Case(name, train, train if data is None else data, test, tuple(order), **more)


def _retina(trained: int, count: int, width: int) -> Case:
    seeds = range(600_000, 600_000 + count)
    lesions = {kind: eyes(seeds, width, parts)[0] for kind, parts in STAND_INS.items()}
    train, test = (eyes(each, width)[0] for each in (range(500_000, 500_000 + trained), seeds))
    return _case("retina", train, test, overrides=("data.layout=oct",), lesions=lesions)


def _surfaces(found: Surfaces) -> Case:
    view = ("data.view=tiles",) if found.planted else ()  # of files the layout says so
    name = next((name for name, folder in FOLDERS.items() if folder == found.name), found.name)
    settings = (*view, *found.overrides)
    return _case(name, found.train, found.test, found.data, overrides=settings, labelled=not found.planted)
