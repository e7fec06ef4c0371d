"""What a calibration is computed from: groups, units and the scale of heat of held-out normals."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from anotwin import Detector, Settings
from anotwin.data.arrays import from_arrays
from anotwin.errors import DataError
from anotwin.methods.registry import create
from anotwin.prepare.patches import pool
from anotwin.records import ImageItem, ImageSpec, UnitScores
from anotwin.run.local import NormalScores, normal_scores
from made_scans import Scans, scan
from quick import normals

SMALL = ("networks.base_channels=4", "networks.latent_dim=8", "search.batch_size=512")


def method(view: str = "whole") -> object:
    spec = ImageSpec(1, 16, view=view, parts=view == "retina")
    return create("acae", spec, Settings().with_overrides([*SMALL, "training.seed=0"]))


@dataclass(frozen=True)
class Grouped:
    """Images in memory that have groups."""

    images: np.ndarray
    groups: tuple[str | None, ...]
    layout: str = "array"
    root: str = "memory"

    @property
    def items(self) -> tuple[ImageItem, ...]:
        return tuple(ImageItem(f"{k}", group=group) for k, group in enumerate(self.groups))

    def read(self, index: int) -> np.ndarray:
        return self.images[index]

    def read_mask(self, index: int) -> None:
        del index


def scored(groups: tuple[str | None, ...], images: np.ndarray, indices: list[int] | None = None) -> NormalScores:
    return normal_scores(method(), Grouped(images, groups), indices or list(range(len(groups))))


def test_groups_are_numbered_and_units_pooled() -> None:
    images = normals(7)
    alone = scored((None,) * 7, images)
    assert (alone.groups, alone.units) == ([0, 1, 2, 3, 4, 5, 6], ())
    found = scored(("b", None, "a", "b", "a", "b", "1"), images, [6, 5, 4, 3, 2, 1, 0])  # an id may be a group's name
    assert found.groups == [0, 1, 2, 1, 2, 3, 1]
    scores = alone.scores[::-1].tolist()
    assert found.scores.tolist() == scores
    pooled = sorted([(scores[0], 0), (pool([scores[1], scores[3], scores[6]]), 1), (pool([scores[2], scores[4]]), 2)])
    expected = UnitScores("group", tuple(s for s, _ in pooled), tuple(k for _, k in pooled))
    assert found.units == (expected,)


def test_heat_counts_every_group_the_same() -> None:
    images = normals(3)
    images[2] = np.linspace(0, 255, images[2].size).reshape(images[2].shape)  # the one with the most heat
    three = scored(("a", "b", "c"), images[:3])
    assert three.heatmap_scale == scored((None, None, None), images[:3]).heatmap_scale
    often = images[[0, 0, 0, 0, 0, 0, 0, 0, 1, 2]]
    groups = ("a",) * 8 + ("b", "c")
    long = scored(groups, often)
    assert long.heatmap_scale == pytest.approx(three.heatmap_scale, rel=0.02)  # no interpolation between pixels
    assert abs(scored((None,) * 10, often).heatmap_scale / three.heatmap_scale - 1) > 0.03


def test_other_images_of_a_group_that_was_trained_on_are_left_out() -> None:
    images = normals(5)
    source = Grouped(images, ("a", "a", "b", "b", None))
    prints = [finding.fingerprint for finding in Detector(method()).findings(source, pictures=False)]
    found = normal_scores(method(), source, range(5), frozenset({prints[1], prints[4]}))
    assert (found.excluded, found.groups) == (3, [0, 0])
    with pytest.raises(DataError, match="all of them were trained on"):
        normal_scores(method(), source, [0, 1], frozenset({prints[1]}))
    ungrouped = normal_scores(method(), from_arrays(images), range(5), frozenset({prints[1]}))
    assert (ungrouped.excluded, len(ungrouped.scores)) == (1, 4)


class Patients(Scans):
    """Scans whose groups are their patients, as the files of the oct layout have them."""

    @property
    def items(self) -> tuple[ImageItem, ...]:
        items = super().items
        return tuple(replace(item, group=self.info(k).patient) for k, item in enumerate(items))


def test_volumes_and_patients_of_scans_are_units() -> None:
    source = Patients(((scan(0), scan(1)), (scan(2),), (scan(3),)), patients=("Anna", "Bert", "Anna"))
    found = normal_scores(method("retina"), source, range(4))
    assert found.groups == [0, 0, 1, 0]
    first, second, third, fourth = found.scores.tolist()
    volumes = sorted([(pool([first, second]), 0), (third, 1), (fourth, 0)])
    patients = sorted([(max(first, second, fourth), 0), (third, 1)])
    assert [(unit.kind, list(zip(unit.scores, unit.groups, strict=True))) for unit in found.units] == [
        ("volume", volumes),
        ("patient", patients),
    ]
