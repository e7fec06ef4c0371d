"""Detection rates against closed forms; planted defects are where and as large as they say; one tiny model."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from anotwin import Detector
from anotwin.calibrate.decision import calibrate
from anotwin.calibrate.threshold import conformal_threshold
from anotwin.data.arrays import from_arrays
from anotwin.data.synthetic import textured_discs
from anotwin.evaluate.detectability import (
    ANY,
    DIAMETERS,
    Limit,
    Trial,
    by_kind_and_contrast,
    curve,
    limit_of,
    sentence,
    threshold_for,
)
from anotwin.evaluate.planted import PlantedSource, measured_diameter, plans_for
from anotwin.records import ImageSpec
from quick import good, run, write
from quick import settings as small


def trials(rates: dict[float, tuple[int, int]], hosts: int = 10**6) -> list[Trial]:
    """So many of so many found at each size."""
    sizes = [(size, number < found) for size, (found, count) in rates.items() for number in range(count)]
    return [Trial("pit", "medium", size, found, k % hosts) for k, (size, found) in enumerate(sizes)]


def test_rates_and_intervals_are_those_of_counts() -> None:
    points = curve(trials({2: (0, 10), 4: (5, 10), 8: (4, 10), 16: (10, 10)}))
    assert [(p.diameter, p.defects, p.found, p.rate) for p in points] == [
        (2, 10, 0, 0.0), (4, 10, 5, 0.5), (8, 10, 4, 0.4), (16, 10, 10, 1.0)
    ]  # fmt: skip
    assert [p.fitted for p in points] == [0.0, 0.45, 0.45, 1.0]  # pooled where it fell
    exact = stats.binomtest(5, 10).proportion_ci(method="exact")
    assert (points[1].low, points[1].high) == pytest.approx((exact.low, exact.high), abs=1e-4)


@given(st.lists(st.tuples(st.sampled_from(DIAMETERS), st.booleans()), min_size=1, max_size=60))
@settings(deadline=None, max_examples=60)
def test_the_fitted_rate_does_not_fall(found: list[tuple[float, bool]]) -> None:
    points = curve([Trial("pit", "faint", size, seen, k) for k, (size, seen) in enumerate(found)])
    fitted = [point.fitted for point in points]
    assert fitted == sorted(fitted)
    assert sum(p.fitted * p.defects for p in points) == pytest.approx(
        sum(seen for _, seen in found), abs=0.01 * len(found)
    )
    assert sum(p.defects for p in points) == len(found)


def test_the_limit_is_the_first_size_from_which_on_nine_in_ten_are_found() -> None:
    assert limit_of(trials({2: (0, 10), 4: (5, 10), 8: (9, 10), 16: (10, 10)})).diameter == 8
    assert limit_of(trials({2: (0, 10), 4: (10, 10), 8: (6, 10), 16: (10, 10)})).diameter == 16  # luck at 4
    assert limit_of(trials({2: (0, 10), 16: (8, 10)})).diameter is None
    few = limit_of(trials({2: (0, 10), 4: (8, 10), 8: (3, 3)}))
    assert few.diameter is None  # three defects are no evidence
    clear = limit_of(trials({2: (0, 40), 4: (0, 40), 8: (40, 40)}))
    assert (clear.diameter, clear.low, clear.high) == (8, 8, 8)
    wide = limit_of(trials({4: (7, 10), 8: (9, 10), 16: (10, 10)}))
    assert wide.low <= wide.diameter <= wide.high
    one = limit_of(trials({8: (10, 10)}, hosts=1))
    assert (one.diameter, one.low, one.high) == (8, None, None)


def test_sentences() -> None:
    six, none = Limit("pit", "medium", 6.0, 4.0, None), Limit("pit", "faint", None, None, None)
    assert sentence([six], 0.01, 32).startswith("finds pits from 6 pixels on at medium contrast (4 to more)")
    assert sentence([none], 0.01, 32.0).startswith("does not find pits of up to 32 pixels reliably")
    assert "missing parts from 12 pixels on (90 % found" in sentence(
        [Limit("missing", ANY, 12.0, None, None)], 0.01, 32
    )


def test_the_threshold_is_that_of_the_calibration_or_the_lowest_it_allows() -> None:
    scores = np.random.default_rng(0).normal(size=40).tolist()
    known = calibrate(scores, scores, scores, 1.0, 0.1)
    assert threshold_for(known, 0.2) == (conformal_threshold(scores, 0.2), 0.2)
    assert threshold_for(known, 0.001) == (max(scores), 1 / 41)
    grouped = calibrate(scores, scores, scores, 1.0, 0.3, [k // 10 for k in range(40)])
    assert threshold_for(grouped, 0.01) == (max(scores), 0.2)


def test_a_planted_defect_is_where_its_mask_is_and_the_same_when_read_again() -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(90, 110, (70, 90)).astype(np.uint8), rng.integers(90, 110, (40, 50)).astype(np.uint8)]
    source = from_arrays(images)
    plans = plans_for([0, 1], ["pit", "missing"], [[2.5, 6.0], [2.5]], [4.0, 8.0], 2)
    assert len(plans) == 12
    assert [plan.host for plan in plans] == [0, 1] * 6
    planted = PlantedSource(source, ImageSpec(1, 16), plans)
    assert [item.normal for item in planted.items] == [False] * 12
    assert {item.group for item in planted.items} == {item.id for item in source.items}
    for index, plan in enumerate(plans):
        pixels, mask = planted.read(index), planted.read_mask(index)
        host = source.read(plan.host)
        assert (pixels.shape, pixels.dtype, mask.shape) == (host.shape, host.dtype, host.shape)
        assert (pixels == host)[~mask].all()
        assert (pixels != host)[mask].any()
        assert (planted.read(index) == pixels).all()
        assert 0.7 * plan.diameter < measured_diameter(mask) < 2 * plan.diameter + 4


def test_deep_and_coloured_pixels_keep_their_type() -> None:
    rng = np.random.default_rng(0)
    deep = rng.integers(900, 1100, (64, 64)).astype(np.uint16)
    colour = rng.integers(90, 110, (64, 64, 3)).astype(np.uint8)
    plans = plans_for([0], ["pit", "foreign"], [[6.0], [6.0]], [8.0], 1)
    for image, spec in ((deep, ImageSpec(1, 16, "uint16", 0, 4095)), (colour, ImageSpec(3, 16))):
        planted = PlantedSource(from_arrays([image]), spec, plans)
        for index in range(2):
            pixels, mask = planted.planted(index)
            assert (pixels.dtype, pixels.shape) == (image.dtype, image.shape)
            assert (pixels == image)[~mask].all()
            assert (pixels != image)[mask].any()


def test_curves_are_apart_by_kind_and_contrast() -> None:
    mixed = [Trial(kind, contrast, 4.0, True, 0) for kind in ("pit", "dent") for contrast in ("faint", "strong")] * 2
    assert [(each[0].kind, each[0].contrast, len(each)) for each in by_kind_and_contrast(mixed)] == [
        ("pit", "faint", 2), ("pit", "strong", 2), ("dent", "faint", 2), ("dent", "strong", 2)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("detectability")
    images = textured_discs(30, 24, seed=0)[0]
    write(folder / "data", images)
    Detector.train(
        folder / "data", folder / "model", method="acae", settings=small("data.holdout=0.5", "data.image_size=16")
    )
    return folder


def test_the_command_measures_and_draws(model: Path) -> None:
    out = model / "out"
    words = ("detectability", model / "model", model / "data", "--kinds", "pit, missing", "--per", 2)
    found = json.loads(good(*words, "--out", out, "--json").out)
    assert found["false_alarm_rate"] == pytest.approx(1 / 16)  # 15 held out: no lower rate
    assert found["defects"] == (3 + 1) * 6 * 2  # diameters of up to 12 of 24 pixels
    assert found["hosts"] + found["flagged_hosts"] == 15  # those that were trained on are left out
    assert len(found["sentences"]) == 2
    with (out / "detectability.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(int(row["defects"]) for row in rows) == found["defects"]
    assert {row["kind"] for row in rows} == {"pit", "missing"}
    assert json.loads((out / "detectability.json").read_text()) == found
    assert (out / "detectability.png").stat().st_size > 10_000


def test_what_the_user_can_correct_is_said(model: Path) -> None:
    words = ("detectability", model / "model", model / "data")
    assert "did you mean 'pit'" in run(*words, "--kinds", "pitt").error
    assert "expected a rate between 0 and 1" in run(*words, "--false-alarm-rate", 2).error
    assert "expected at least 1" in run(*words, "--per", 0).error
    detector = Detector.load(model / "model")
    detector.calibration = None
    detector.save(model / "bare")
    assert "not calibrated" in run("detectability", model / "bare", model / "data").error
    trained = [finding.fingerprint in detector.trained_on for finding in detector.findings(model / "data")]
    images = textured_discs(30, 24, seed=0)[0]
    write(model / "known", images[np.array(trained)])
    assert "no normal image that the model was not trained on" in run(*words[:2], model / "known").error
