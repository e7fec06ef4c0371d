"""Both passes over planted images with counterparts that are known: the truth, a copy, a shade of grey, none."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from anotwin.data.arrays import ArraySource, from_arrays
from anotwin.defects.kinds import HELD_OUT
from anotwin.evaluate import planted_pairs
from anotwin.evaluate.planted import PlantedSource
from anotwin.evaluate.planted_pairs import (
    Outcome,
    Shown,
    Untouched,
    detection,
    drawn_plans,
    measure_pairs,
    planted_numbers,
    score_untouched,
    scores_of,
)
from anotwin.records import Finding, ImageSource, ImageSpec

SPEC = ImageSpec(1, 32)
Pixels = np.ndarray[Any, Any]


def textures(count: int = 6, shape: tuple[int, ...] = (40, 56), white: int = 255) -> Pixels:
    rng = np.random.default_rng(0)
    smooth = gaussian_filter(rng.normal(size=(count, *shape)), (0, 1, 1, 0)[: 1 + len(shape)])
    return np.rint(np.clip(0.5 + 0.25 * smooth / smooth.std(), 0, 1) * white).astype(
        np.uint8 if white < 256 else np.uint16
    )


class Model:
    """Counterparts and scores by functions of the query and the normal image that it was."""

    def __init__(self, normals: Pixels, restore: Callable[[Pixels, Pixels], Pixels]) -> None:
        self.normals, self.restore, self.queries = normals, restore, 0

    def findings(self, source: ImageSource, indices: Sequence[int]) -> Iterator[Finding]:
        for index in indices:
            query, item = source.read(index), source.items[index]
            self.queries += 1
            nearest = min(self.normals, key=lambda each: np.abs(each.astype(float) - query).sum())
            score = float(np.abs(query.astype(float) - nearest).sum())
            found = self.restore(query, nearest)
            finding = Finding(item.id, score=score, anomalous=score > 0, query=query, counterpart=found)
            yield replace(finding, heatmap=np.zeros(query.shape[:2], np.float32))


def measured(
    model: Model, count: int = 12, spec: ImageSpec = SPEC
) -> tuple[list[Outcome], list[Shown], dict[int, Untouched], PlantedSource]:
    source = from_arrays(model.normals)
    untouched, errors = score_untouched(model.findings, source, range(len(source.items)), spec)
    assert not errors
    pairs = PlantedSource(source, spec, drawn_plans(untouched, HELD_OUT, count))
    found = list(measure_pairs(model.findings, pairs, untouched, spec))
    return [outcome for outcome, _ in found], [shown for _, shown in found if shown], untouched, pairs


@pytest.mark.parametrize("shape, white", [((40, 56), 255), ((33, 47, 3), 255), ((40, 56), 4095)])
def test_the_truth_repairs_all_and_a_copy_nothing(shape: tuple[int, ...], white: int) -> None:
    normals = textures(shape=shape, white=white)
    spec = SPEC if white == 255 else replace(SPEC, pixel_type="uint16", white=float(white))
    outcomes, shown, _, pairs = measured(Model(normals, lambda _, truth: truth), spec=spec)
    assert [each.error for each in outcomes] == [""] * 12
    for number, each in enumerate(outcomes):
        assert (each.measures.repair, each.measures.collateral, each.measures.no_op) == (1, 0, 0)
        assert (each.measures.sharpness_inside, each.measures.sharpness_outside) == (1, 1)
        assert each.area == pairs.read_mask(number).sum() > 0
        assert each.area == pytest.approx(math.pi * each.diameter**2 / 4)
    copied, *_ = measured(Model(normals, lambda query, _: query), spec=spec)
    for each in copied:
        assert (each.measures.repair, each.measures.contrast, each.measures.idempotence) == (0, 0, 0)
        assert each.measures.sharpness_outside == pytest.approx(1, abs=0.3)
    assert len(shown) == 12


def test_the_counterpart_is_a_query_of_its_own() -> None:
    """One that halves what it is given: a counterpart's counterpart is a quarter."""
    normals = textures()
    model = Model(normals, lambda query, _: query // 2)
    outcomes, _, _, pairs = measured(model)
    assert model.queries == 6 + 12 + 12
    for number, each in enumerate(outcomes):
        half, normal = pairs.read(number) // 2, normals[pairs.plans[number].host]
        assert each.measures.idempotence == pytest.approx((half - half // 2).mean() / 255)
        assert each.measures.no_op == pytest.approx((normal - normal // 2).mean() / 255)


@pytest.mark.parametrize("most", [1, 3, 5])
def test_blocks_change_nothing(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(textures(), lambda query, truth: (query // 2 + truth // 2).astype(np.uint8))
    whole, *_ = measured(model)
    monkeypatch.setattr(planted_pairs, "BLOCK", most)
    assert measured(model)[0] == whole
    monkeypatch.setattr(planted_pairs, "BLOCK_PIXELS", 1)
    assert measured(model)[0] == whole


def test_kinds_and_images_come_in_turn() -> None:
    _, _, untouched, pairs = measured(Model(textures(5), lambda query, _: query), count=40)
    plans = pairs.plans
    assert Counter(plan.kind for plan in plans) == dict.fromkeys(HELD_OUT, 10)
    assert Counter(plan.host for plan in plans) == dict.fromkeys(untouched, 8)
    assert len({(plan.host, plan.kind) for plan in plans[:20]}) == 20
    assert all(3 <= plan.diameter <= 20 and 0.7 <= plan.contrast <= 8 for plan in plans)
    assert len({plan.diameter for plan in plans}) == 40
    assert drawn_plans(untouched, HELD_OUT, 40) == plans
    assert drawn_plans(untouched, HELD_OUT, 40, seed=1) != plans


def test_pictures_show_the_part_around_the_defect() -> None:
    normals = textures(2, (150, 400))
    outcomes, shown, _, pairs = measured(Model(normals, lambda _, truth: truth), count=8)
    for number, each in enumerate(shown):
        assert each.outcome == outcomes[number]
        assert each.truth.shape == each.planted.shape == each.counterpart.shape == each.heat.shape == each.mask.shape
        assert each.mask.sum() == each.outcome.area == pairs.read_mask(number).sum()
        assert min(each.mask.shape) >= 64
        assert (each.truth == each.planted)[~each.mask].all()
        assert each.truth.base is None  # the whole image is let go of
    assert any(each.mask.shape[1] < 400 for each in shown)


# -- what cannot be scored ---------------------------------------------------------------------------------------------


def test_a_failure_is_an_outcome_with_its_reason() -> None:
    normals = textures()

    class Failing(Model):
        def findings(self, source: ImageSource, indices: Sequence[int]) -> Iterator[Finding]:
            for number, finding in enumerate(super().findings(source, indices)):
                bad = isinstance(source, PlantedSource) and number % 3 == 0
                yield Finding(finding.id, error=f"{finding.id}: no retina") if bad else finding

    outcomes, shown, untouched, _ = measured(Failing(normals, lambda _, truth: truth))
    failed = [each for each in outcomes if each.error]
    assert [each.error.split("-")[0] for each in failed] == ["00000", "00003", "00006", "00009"]
    assert all(each.error.endswith(f"{each.kind}: no retina") for each in failed)
    assert all(math.isnan(each.measures.repair) and math.isnan(each.score) for each in failed)
    assert len(shown) == 8
    numbers = planted_numbers(outcomes, untouched, 2)
    assert (numbers["n_planted"], numbers["n_failed"], numbers["n"]) == (8, 6, 8)
    assert numbers["counterparts"]["repair"]["median"] == 1


def test_a_counterpart_that_cannot_be_scored_again_has_no_idempotence() -> None:
    class Once(Model):
        def findings(self, source: ImageSource, indices: Sequence[int]) -> Iterator[Finding]:
            for finding in super().findings(source, indices):
                again = isinstance(source, ArraySource) and self.queries > 6
                yield Finding(finding.id, error="no retina") if again else finding

    outcomes, *_ = measured(Once(textures(), lambda _, truth: truth))
    assert {each.measures.reasons["idempotence"] for each in outcomes} == {"not scored"}
    assert {each.measures.repair for each in outcomes} == {1}


def test_normals_that_cannot_be_scored_are_left_out() -> None:
    normals = textures()

    def findings(source: ImageSource, indices: Sequence[int]) -> Iterator[Finding]:
        for index, finding in zip(indices, Model(normals, lambda q, _: q).findings(source, indices), strict=True):
            yield Finding(finding.id, error="unreadable") if index == 2 else finding

    untouched, errors = score_untouched(findings, from_arrays(normals), range(6), SPEC)
    assert sorted(untouched) == [0, 1, 3, 4, 5]
    assert errors == ["unreadable"]


def test_an_image_that_has_changed_is_said() -> None:
    normals = textures()
    model = Model(normals, lambda query, _: query)
    source = from_arrays(list(normals))
    untouched, _ = score_untouched(model.findings, source, range(6), SPEC)
    pairs = PlantedSource(source, SPEC, drawn_plans(untouched, HELD_OUT, 1))

    def findings(given: ImageSource, indices: Sequence[int]) -> Iterator[Finding]:
        for index in indices:
            cut = given.read(index)[:39]
            yield Finding("cut", query=cut, counterpart=cut)

    ((outcome, shown),) = measure_pairs(findings, pairs, untouched, SPEC)
    assert "changed while it was scored" in outcome.error
    assert shown is None


# -- over all ----------------------------------------------------------------------------------------------------------


def outcome(image: str, kind: str = "bent", score: float = 1.0, untouched: float = 0.0, **more: Any) -> Outcome:
    return Outcome(image, kind, more.pop("group", image), score=score, score_untouched=untouched, **more)


def test_each_untouched_image_counts_once() -> None:
    scored = scores_of([outcome("a", score=3), outcome("b", score=2), outcome("a", "dent", 4)])
    assert (scored.normals, scored.abnormals) == ([0.0, 0.0], [3, 2, 4])
    assert (scored.normal_groups, scored.abnormal_groups) == (["a", "b"], ["a", "b", "a"])


def test_detection_of_what_always_and_never_shows() -> None:
    always = [outcome(str(k), score=1.0 + k, untouched=-1.0, anomalous=True) for k in range(10)]
    found = detection(always)
    assert (found.auroc, found.auroc_low, found.auroc_high, found.detection_rate) == (1, 1, 1, 1)
    never = [replace(each, score=each.score_untouched, anomalous=False) for each in always]
    assert (detection(never).auroc, detection(never).detection_rate) == (0.5, 0)
    assert detection([replace(each, anomalous=None) for each in always]).detection_rate is None
    assert math.isnan(detection([]).auroc)


def test_numbers_by_kind_and_group() -> None:
    outcomes, _, untouched, _ = measured(Model(textures(), lambda _, truth: truth), count=24)
    numbers = planted_numbers(outcomes, untouched, 0)
    assert (numbers["n_planted"], numbers["n_normal"], numbers["intervals_by"]) == (24, 6, "image")
    assert (numbers["auroc"], numbers["false_alarm_rate"], numbers["detection_rate"]) == (1, 0, 1)
    assert sorted(numbers["by_kind"]) == sorted(HELD_OUT)
    assert [each["n"] for each in numbers["by_kind"].values()] == [6] * 4
    grouped = {host: replace(each, item=replace(each.item, group="one")) for host, each in untouched.items()}
    assert planted_numbers(outcomes, grouped, 0)["intervals_by"] == "group"
