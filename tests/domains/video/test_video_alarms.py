"""From held-out clips to alarms: against counting, and by way of a model that is saved, loaded and calibrated again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clip_arrays import ArrayClips, noise
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from anotwin import Detector, Settings
from anotwin.bundle import load_bundle, save_bundle
from anotwin.calibrate.alarms import rate_bound
from anotwin.calibrate.decision import calibrate, consistent, promise
from anotwin.domains.video.alarms import BRIDGE_SECONDS, LEAST_SECONDS, alarms_of, event_settings, leave_of
from anotwin.domains.video.clips import ASSUMED_RATE as RATE
from anotwin.domains.video.events import EventFinder
from anotwin.errors import DataError, SettingsError
from anotwin.records import Alarms, Calibration
from anotwin.run.local import NormalScores
from model_folders import CALIBRATION, edit, example, refusal, same

QUICK = settings(derandomize=True, deadline=None, max_examples=30)
WISHES = 0.5, 20.0, 200.0, 1000.0, 5000.0


def wishing(alarms: float) -> Settings:
    return Settings().with_overrides([f"calibration.alarms_per_hour={alarms}"])


def source_of(*lengths: int, rate: float | None = 10.0) -> ArrayClips:
    return ArrayClips([np.zeros((length, 1, 1), np.uint8) for length in lengths], rate=rate)


def course(frames: int, seed: int) -> np.ndarray:
    """Frame scores that resemble the ones before."""
    found: np.ndarray = lfilter([0.5], [1, -0.85], np.random.default_rng(seed).normal(size=frames + 50))[50:]
    return found


def events_in(scores: dict[int, float], source: ArrayClips, alarms: Alarms) -> int:
    """By the finder that raises alarms, frame by frame."""
    count = 0
    for clip in source.clips:
        finder = EventFinder(clip.name, event_settings(alarms))
        for frame in range(clip.count):
            score = scores.get(clip.first + frame, float("nan"))
            count += sum(each.going_on for each in finder.take(frame, frame / 10, score))
    return count


# -- made scores ----------------------------------------------------------------------------------------------------


@QUICK
@given(st.integers(0, 2**32), st.sampled_from(WISHES), st.floats(0, 0.3))
def test_no_more_alarms_are_raised_on_what_was_held_out_than_was_promised(
    seed: int, wish: float, missing: float
) -> None:
    source = source_of(400, 150, 700)
    scores = dict(enumerate(np.concatenate([course(len(film), seed + n) for n, film in enumerate(source.films)])))
    gone = np.random.default_rng(seed).random(len(scores)) < missing
    scores = {index: float(score) for index, score in scores.items() if not gone[index]}
    found = alarms_of(source, scores, wishing(wish))
    assert found is not None
    raised = events_in(scores, source, found)
    assert found.hours == pytest.approx(len(scores) / 36_000)
    assert found.leave <= found.threshold
    if found.bound <= wish:  # promised, by the exact bound of so many events
        assert rate_bound(raised, found.hours) <= wish * (1 + 1e-9)
        assert found.threshold in scores.values()
    else:  # nothing held out is as rare
        assert raised == 0
        assert found.threshold >= max(scores.values())
        assert "not promised" in found.promise


@pytest.mark.parametrize("seed", range(4))
def test_who_wishes_for_more_alarms_has_no_higher_threshold(seed: int) -> None:
    source = source_of(100, 300)
    scores = dict(enumerate(np.concatenate([course(100, seed), course(300, seed + 9)]).tolist()))
    found = [alarms_of(source, scores, wishing(wish)) for wish in WISHES]
    thresholds = [each.threshold for each in found]
    assert thresholds == sorted(thresholds, reverse=True)


def test_scores_of_another_unit_have_the_same_alarms() -> None:
    source = source_of(500)
    scores = course(500, 3)
    ours = alarms_of(source, dict(enumerate(scores)), wishing(1000.0))
    theirs = alarms_of(source, dict(enumerate(5 * scores - 70)), wishing(1000.0))
    assert theirs.threshold == pytest.approx(5 * ours.threshold - 70)
    assert theirs.leave == pytest.approx(5 * ours.leave - 70)
    assert (theirs.expected, theirs.bound) == pytest.approx((ours.expected, ours.bound))


@pytest.mark.parametrize("rate", [None, 5.0, 25.0, 30.0])
def test_frames_count_as_seconds_by_the_rate_of_the_clips(rate: float | None) -> None:
    source, known = source_of(600, 300, rate=rate), rate or RATE
    found = alarms_of(source, dict(enumerate(course(900, 1))), wishing(1000.0))
    assert found.hours == pytest.approx(900 / known / 3600)
    assert found.least_frames == max(1, round(LEAST_SECONDS * known))
    assert found.bridge == round(BRIDGE_SECONDS * known)


def test_clips_of_different_rates_last_as_long_as_they_do() -> None:
    class Mixed(ArrayClips):
        @property
        def clips(self) -> Any:
            one, other = super().clips
            return replace(one, rate=10.0), replace(other, rate=30.0)

    source = Mixed(source_of(300, 900).films)
    found = alarms_of(source, dict(enumerate(course(1200, 1))), wishing(1000.0))
    assert found.hours == pytest.approx((30 + 30) / 3600)


def test_clips_that_were_not_held_out_do_not_count() -> None:
    source = source_of(400, 200, 300)
    held = {index: score for index, score in enumerate(course(900, 5)) if 400 <= index < 600}
    alone = source_of(200)
    expected = alarms_of(alone, {index - 400: score for index, score in held.items()}, wishing(800.0))
    assert alarms_of(source, held, wishing(800.0)) == expected


def test_frames_without_a_score_are_none() -> None:
    source = source_of(200, 50)
    scores = dict(enumerate(course(250, 2)))
    failed = {index: float("nan") for index in (*range(40, 60), *range(200, 250))}
    without = {index: score for index, score in scores.items() if index not in failed}
    assert alarms_of(source, scores | failed, wishing(500.0)) == alarms_of(source, without, wishing(500.0))
    assert alarms_of(source, failed, wishing(500.0)) is None
    assert alarms_of(source, {}, wishing(500.0)) is None


def test_infinite_scores_are_refused() -> None:
    with pytest.raises(DataError, match="infinite"):
        alarms_of(source_of(5), dict(enumerate([1.0, 2.0, np.inf, 1.0, 0.0])), wishing(1.0))


@QUICK
@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_the_lower_threshold_lies_between_the_upper_one_and_what_is_usual(threshold: float, middle: float) -> None:
    leave = leave_of(threshold, middle)
    assert leave <= threshold
    assert leave >= min(threshold, middle) - 1e-6 * (abs(threshold) + abs(middle))


# -- kept with a model ----------------------------------------------------------------------------------------------


ALARMS = Alarms(2.0, 2.5, 1.75, 2, 10, 1.5, 1.9, 3.25, "at most 1.9 alarms an hour (95 %)")
GROUPED = replace(
    calibrate([1.0, 2.0, 3.0, 2.5], [1.0] * 4, [1.0] * 4, 0.25, 0.3, [0, 0, 1, 2]), threshold=2.5, alarms=ALARMS
)


@pytest.mark.parametrize("known", [replace(CALIBRATION, alarms=ALARMS), GROUPED], ids=["images", "groups"])
def test_alarms_come_back_from_a_bundle(tmp_path: Path, known: Calibration) -> None:
    bundle = example(calibration=known)
    save_bundle(bundle, tmp_path / "model")
    loaded = load_bundle(tmp_path / "model")
    assert same(loaded, bundle)
    assert loaded.calibration.alarms == ALARMS
    assert promise(loaded.calibration) == ALARMS.promise


def test_a_model_without_alarms_is_stored_as_before() -> None:
    assert "alarms" not in CALIBRATION.stored()
    assert replace(CALIBRATION, alarms=ALARMS).stored()["alarms"]["bridge"] == 10


EDITS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "threshold": lambda known: known.update(threshold=9.0),
    "threshold of alarms": lambda known: known["alarms"].update(threshold=9.0),
    "leave above": lambda known: known["alarms"].update(leave=2.75),
    "no wish": lambda known: known["alarms"].update(wish=0.0),
    "no frame": lambda known: known["alarms"].update(least_frames=0),
    "no bridge": lambda known: known["alarms"].update(bridge=0),
    "half a frame": lambda known: known["alarms"].update(bridge=1.5),
    "negative": lambda known: known["alarms"].update(expected=-1.0),
    "no hours": lambda known: known["alarms"].update(hours=0.0),
    "missing": lambda known: known["alarms"].pop("bound"),
    "more": lambda known: known["alarms"].update(code="import os"),
    "a book": lambda known: known["alarms"].update(promise="x" * 10**5),
    "a list": lambda known: known.update(alarms=[1, 2]),
}


@pytest.mark.parametrize("name", EDITS)
@pytest.mark.parametrize("grouped", [True, False])
def test_alarms_that_cannot_be_are_refused(tmp_path: Path, name: str, grouped: bool) -> None:
    known = GROUPED if grouped else replace(CALIBRATION, alarms=ALARMS)
    save_bundle(example(calibration=known), tmp_path / "model")
    edit(tmp_path / "model", lambda document: EDITS[name](document["calibration"]))
    assert "calibration" in refusal(tmp_path / "model")


def test_the_threshold_of_a_calibration_is_that_of_its_alarms() -> None:
    scores = np.array([1.0, 2.0, 3.0, 2.5])
    normals = NormalScores(scores, scores, scores, [0, 0, 1, 2], (), 0.25, [], 0, (), ALARMS)
    found = normals.calibration(0.3)
    assert (found.threshold, found.alarms) == (2.5, ALARMS)
    assert consistent(found)
    assert not consistent(replace(found, threshold=2.4))
    plain = replace(normals, alarms=None).calibration(0.3)
    assert plain.alarms is None
    assert replace(found, threshold=plain.threshold, alarms=None) == plain


# -- a detector -----------------------------------------------------------------------------------------------------

SIDE, FRAMES = 32, 30


def films(seed: int, count: int) -> np.ndarray:
    """Clips of a square that wanders over a texture: (count, FRAMES, SIDE, SIDE)."""
    ground = np.random.default_rng(0).integers(60, 190, (SIDE, SIDE))
    found = np.stack([np.clip(ground + noise(FRAMES, seed + n, (SIDE, SIDE)) / 32, 0, 255) for n in range(count)])
    for n, film in enumerate(found):
        for time, frame in enumerate(film):
            frame[4 + n % 16 : 10 + n % 16, time % 20 : time % 20 + 5] = 230
    return found.astype(np.uint8)


@pytest.fixture(scope="module")
def detector() -> Detector:
    """Of 10 clips; two are held out, and so 6 s."""
    wishes = Settings().with_overrides(
        ["data.view=frames", f"data.image_size={SIDE}", "training.steps=8", "training.batch_size=4",
         "networks.base_channels=4", "data.holdout=0.2", "calibration.alarms_per_hour=3000"]
    )  # fmt: skip
    images = films(0, 10).reshape(-1, SIDE, SIDE)
    groups = [f"clip {place // FRAMES}" for place in range(len(images))]
    return Detector.train(images, settings=wishes, group=groups, device="cpu")


def held_out(detector: Detector, seed: int, count: int) -> tuple[np.ndarray, list[str], list[float]]:
    """New normal clips, their groups, and what they score."""
    images = films(seed, count).reshape(-1, SIDE, SIDE)
    groups = [f"clip {place // FRAMES}" for place in range(len(images))]
    scores = [each.score for film in films(seed, count) for each in detector.score(film, pictures=False)]
    return images, groups, scores


def test_a_training_is_calibrated_for_alarms(detector: Detector) -> None:
    known = detector.calibration
    assert (known.alarms.wish, known.threshold) == (3000.0, known.alarms.threshold)
    assert known.alarms.hours == pytest.approx(len(known.scores) / RATE / 3600)
    assert len(known.scores) == 2 * FRAMES
    assert detector.describe()["calibration"]["threshold"] == known.threshold
    assert "alarms an hour" in promise(known)


def test_it_is_calibrated_again_for_other_alarms_and_other_clips(detector: Detector) -> None:
    images, groups, scores = held_out(detector, 50, 4)
    own = Detector(detector.method, history=detector.history)
    own.calibrate(images, group=groups)
    assert own.calibration.scores == tuple(sorted(scores))
    assert own.calibration.alarms.hours == pytest.approx(4 * FRAMES / RATE / 3600)
    fewer = own.with_settings(own.settings.with_overrides(["calibration.alarms_per_hour=2"]))
    fewer.calibrate(images, group=groups)
    assert fewer.calibration.alarms.wish == 2
    assert fewer.calibration.threshold > own.calibration.threshold


def test_a_rate_of_frames_can_be_asked_for_instead(detector: Detector, tmp_path: Path) -> None:
    images, groups, scores = held_out(detector, 70, 4)
    own = Detector(detector.method, history=detector.history)
    own.calibrate(images, false_alarm_rate=0.25, group=groups)
    known = own.calibration
    assert (known.alarms, known.false_alarm_rate) == (None, 0.25)
    above = [score for score in scores if score > known.threshold]
    assert (1 + len(above) / FRAMES) / (4 + 1) <= 0.25  # by clips: each counts for one
    assert known.threshold in scores
    assert "false alarm" in promise(known)
    own.save(tmp_path / "model")
    assert Detector.load(tmp_path / "model", device="cpu").calibration == known
    with pytest.raises((DataError, SettingsError), match="rate"):
        own.calibrate(images, false_alarm_rate=0.01, group=groups)


def test_a_model_knows_its_alarms_when_it_is_loaded(detector: Detector, tmp_path: Path) -> None:
    detector.save(tmp_path / "model")
    loaded = Detector.load(tmp_path / "model", device="cpu")
    assert loaded.calibration == detector.calibration
    images, groups, _ = held_out(detector, 50, 3)
    other = Detector(detector.method, history=detector.history)
    other.calibrate(images, group=groups)
    other.save_calibration(tmp_path / "model")
    assert Detector.load(tmp_path / "model", device="cpu").calibration == other.calibration
