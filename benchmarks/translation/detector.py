"""Part `detector`: cyclegan told from abnormal images beside methods that know normal images alone.

Abnormal test images are split by group (tiles that are near duplicates, patients): half of the groups are the folder of
abnormal images that cyclegan learns from, without labels or masks; the others, and the normal test images that are of
none of the learnt groups, are the test, the same for every method. Normal images are those of the training part.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from anotwin import DataError, Detector
from anotwin.bundle import DOCUMENT
from anotwin.data.arrays import ArraySource, from_arrays
from anotwin.data.synthetic import textured_discs
from anotwin.domains.open import open_source
from anotwin.evaluate import metrics
from anotwin.records import ImageItem, ImageSource
from anotwin.updates import Update
from benchmarks.common.rows import Row
from benchmarks.oct.patients import GET_OCT, NORMAL, real_scans
from benchmarks.translation.study import Study, digest, find_folder, skipped

LEARNS_ABNORMAL, NORMALS_ALONE = "cyclegan", ("pix2pix", "twin")
GET_TILES = (
    "there is no magnetic_tile in --data, ANOTWIN_DATA or ../shared/data; put the images of Huang, Qiu and Yuan 2018 "
    "(magnetic-tile-defect-datasets) there, in the MVTec AD layout, groups in manifest.csv"
)
SMALL = ("networks.memory=64", "calibration.false_alarm_rate=0.2")  # of --quick, besides those of every part


@dataclass(frozen=True, eq=False)
class Case:
    """One set, in memory."""

    name: str
    changed: tuple[str, ...]  # settings of every method
    normals: ArraySource
    learnt: ArraySource  # abnormal
    test: ArraySource


def detector_rows(study: Study) -> Iterator[Row]:
    """AUROC of each method on the same images, and how many images there are."""
    for name, find, how in (("magnetic_tile", tiles, GET_TILES), ("oct", scans, GET_OCT)):
        case = find(study)
        if case is None:
            yield from skipped(f"detector on {name}", how)
            continue
        counted = study.cell(case.name, "images")
        for part in ("normals", "learnt", "test"):
            yield counted.row(part, float(len(getattr(case, part).items)))
        for method in (LEARNS_ABNORMAL, *NORMALS_ALONE):
            yield from auroc_rows(study, case, method)


def auroc_rows(study: Study, case: Case, method: str) -> Iterator[Row]:
    """Intervals resample groups; images without a score count in `failed` alone."""
    detector, scores = trained(study, case, method), []
    for done, finding in enumerate(detector.findings(case.test, pictures=False), start=1):
        scores.append(np.nan if finding.error else finding.score)
        study.watch(Update("scoring", done, len(case.test.items)))
    usable = np.isfinite(scores)
    items = [item for item, fine in zip(case.test.items, usable, strict=True) if fine]
    abnormal, found = np.array([not item.normal for item in items]), np.array(scores)[usable]
    groups = [item.group or item.id for item in items]
    cell = study.cell(case.name, method)
    interval = metrics.group_bootstrap(metrics.auroc, abnormal, found, groups)
    yield cell.row("auroc", metrics.auroc(abnormal, found), interval)
    if not usable.all():
        yield cell.row("failed", float((~usable).sum()))


def trained(study: Study, case: Case, method: str) -> Detector:
    """Now or, with --models, in another run."""
    own = {LEARNS_ABNORMAL: case.learnt}.get(method)
    settings, given = study.settings([*case.changed, *(SMALL if study.quick else ())]), study.arguments
    known = [digest(each.images) for each in (case.normals, own) if each is not None]
    text = json.dumps([settings.model_dump(mode="json"), given.device, known], sort_keys=True)
    name = f"{case.name}-{method}-{hashlib.blake2b(text.encode(), digest_size=4).hexdigest()}"
    out = given.models and given.models / name
    if out and (out / DOCUMENT).is_file():
        study.watch(Update("note", detail=f"{out} is used again"))
        return Detector.load(out, given.device)
    study.watch(Update("note", detail=f"training {method} on {case.name}"))
    return Detector.train(
        case.normals, out, method=method, settings=settings, abnormal_images=own, device=given.device,
        watch=study.watch,
    )  # fmt: skip


def tiles(study: Study) -> Case | None:
    """Magnetic tiles, seen in tiles of 64 pixels; made-up discs with --quick."""
    if study.quick:
        train, rest = discs(24, 0, "n"), joined(discs(8, 1, "t"), discs(8, 2, "a", abnormal=True))
        return split("magnetic_tile", ("data.view=whole",), train, rest)
    root = find_folder(study.arguments.data, "magnetic_tile")
    if root is None:
        return None
    train, rest = (in_memory(open_source(root, part, "mvtec")) for part in ("train", "test"))
    return split("magnetic_tile", ("data.view=tiles", "data.image_size=64"), train, rest)


def scans(study: Study) -> Case | None:
    """Retinal scans, seen as patches of the flattened retina; made-up discs with --quick."""
    if study.quick:
        train, rest = discs(24, 3, "n"), joined(discs(8, 4, "t"), discs(8, 5, "a", abnormal=True))
        return split("oct", ("data.view=whole",), train, rest)
    root = find_folder(study.arguments.data, "oct")
    if root is None:
        return None
    every = real_scans(root)
    of_train = [item.label == NORMAL and item.id.startswith("train") for item in every.items]
    parts = (every.take(np.flatnonzero(np.array(of_train) == wanted).tolist()) for wanted in (True, False))
    return split("oct", ("data.layout=oct",), *parts)


def split(name: str, changed: tuple[str, ...], normals: ArraySource, rest: ArraySource) -> Case:
    """Every second group of the abnormal images is learnt from, and no image of these groups is in the test."""
    names = [item.group or item.id for item in rest.items]
    groups = sorted({group for group, item in zip(names, rest.items, strict=True) if not item.normal})
    if len(groups) < 2:
        raise DataError(f"{name}: abnormal images of {len(groups)} groups; expected 2, to learn from and to test on")
    chosen = set(groups[::2])
    learnt = [k for k, item in enumerate(rest.items) if names[k] in chosen and not item.normal]
    test = [k for k, group in enumerate(names) if group not in chosen]
    return Case(name, changed, normals, take(rest, learnt), take(rest, test))


def take(source: ArraySource, indices: Sequence[int]) -> ArraySource:
    """Some of the images."""
    images, items = tuple(source.images[k] for k in indices), tuple(source.items[k] for k in indices)
    return ArraySource(images, items, root=source.root)


def joined(one: ArraySource, other: ArraySource) -> ArraySource:
    """Both."""
    return ArraySource(one.images + other.images, one.items + other.items, root=one.root)


def in_memory(source: ImageSource) -> ArraySource:
    """All images of a source, with their groups."""
    images = tuple(source.read(index) for index in range(len(source.items)))
    return ArraySource(images, source.items, root=source.root)


def discs(count: int, seed: int, prefix: str, abnormal: bool = False) -> ArraySource:
    """Made-up images of 32 pixels, two a group."""
    source = from_arrays(textured_discs(count, 32, seed, abnormal=abnormal)[0])
    items = [ImageItem(f"{prefix}{k}", normal=not abnormal, group=f"{prefix}-{k // 2}") for k in range(count)]
    return replace(source, items=tuple(items))
