"""`Detector` as a notebook uses it: any kind of images in, scores that depend on the image alone, and back again."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from anotwin import DataError, Detector, SettingsError
from anotwin.calibrate.decision import decider
from anotwin.data.arrays import from_arrays
from anotwin.records import Finding
from anotwin.updates import Update
from quick import NORMALS, SIDE, normals, queries, settings, write

NUMBERS = ("score", "anomaly", "residual", "discrimination", "discriminator", "mean_residual", "p_value", "anomalous")


@pytest.fixture(scope="module")
def detector(model: Path) -> Detector:
    return Detector.load(model)


@pytest.fixture(scope="module")
def searching(searching_model: Path) -> Detector:
    return Detector.load(searching_model)


def numbers(findings: list[Finding]) -> list[tuple[Any, ...]]:
    return [tuple(getattr(finding, name) for name in (*NUMBERS, "flagged_by", "status")) for finding in findings]


def _kinds() -> dict[str, tuple[Any, Any, str, int]]:
    """Images, other images of the same kind, the pixel type expected and the channels."""
    grey, asked = normals(30), queries(2)
    colour = [np.stack([images, images // 2, 255 - images], axis=-1) for images in (grey, asked)]
    deep = [images.astype(np.uint16) * 16 for images in (grey, asked)]  # 12 bits
    floats = [(images / 100 - 1).astype(np.float32) for images in (grey, asked)]
    return {
        "grey": (grey, asked, "uint8", 1),
        "colour": (*colour, "uint8", 3),
        "16-bit": (*deep, "uint16", 1),
        "float": (*floats, "float32", 1),
        "list": (list(grey), list(asked), "uint8", 1),
        "tensor": (*(torch.from_numpy(images)[:, None] for images in (grey, asked)), "uint8", 1),
        "colour tensor": (*(torch.from_numpy(images).permute(0, 3, 1, 2) for images in colour), "uint8", 3),
        "float tensor": (*(torch.from_numpy(images) for images in floats), "float32", 1),
    }


@pytest.mark.parametrize("kind", list(_kinds()))
def test_images_in_memory(kind: str) -> None:
    images, asked, pixel_type, channels = _kinds()[kind]
    trained = Detector.train(images, settings=settings("training.steps=3", "search.steps=2"))
    assert (trained.method.spec.pixel_type, trained.method.spec.channels) == (pixel_type, channels)
    assert trained.calibration is not None
    findings = trained.score(asked)
    assert [finding.error for finding in findings] == ["", ""]
    for finding, image in zip(findings, asked, strict=True):
        native = np.asarray(
            image.permute(1, 2, 0).squeeze() if kind.endswith("r tensor") and image.ndim == 3 else image
        )
        assert finding.query is not None
        assert finding.counterpart is not None
        assert np.array_equal(finding.query, native.squeeze())
        assert (finding.counterpart.shape, finding.counterpart.dtype) == (finding.query.shape, finding.query.dtype)
        assert finding.heatmap is not None
        assert finding.heatmap.shape == (SIDE, SIDE)
        assert finding.heatmap.min() >= 0
        assert np.isfinite([getattr(finding, name) for name in NUMBERS[:6]]).all()


def test_the_same_seed_gives_the_same_weights_and_another_others() -> None:
    states = []
    for seed in (0, 0, 1):
        torch.rand(7)  # the global generator has no say
        chosen = settings("training.steps=2", f"training.seed={seed}")
        states.append(Detector.train(normals(30), settings=chosen).method.networks.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    learnt = [name for name in states[0] if name.startswith("generator") and name.endswith("weight")]
    assert learnt
    assert not any(torch.equal(states[0][name], states[2][name]) for name in learnt)


def test_training_leaves_the_global_generator_alone() -> None:
    state = torch.get_rng_state()
    Detector.train(normals(20), settings=settings("training.steps=1", "search.steps=1"))
    assert torch.equal(torch.get_rng_state(), state)


def test_held_out_normals_calibrate_and_were_not_trained_on(detector: Detector, normal_folder: Path) -> None:
    train, holdout = (set(detector.fingerprints[part].tolist()) for part in ("train", "holdout"))
    assert (len(train), len(holdout)) == (48, 12)
    assert not train & holdout
    assert detector.calibration is not None
    scored = [finding for finding in detector.score(normal_folder) if finding.fingerprint in holdout]
    assert sorted(finding.score for finding in scored) == list(detector.calibration.scores)


def test_labelled_abnormal_images_in_memory_are_not_trained_on() -> None:
    images = np.concatenate([normals(30), queries(5)])
    labels = ["good"] * 30 + ["bad"] * 5
    trained = Detector.train(from_arrays(images, labels, "good"), settings=settings("training.steps=1"))
    assert sum(len(prints) for prints in trained.fingerprints.values()) == 30


def test_calibrating_on_the_training_folder_uses_its_held_out_part(model: Path, normal_folder: Path) -> None:
    detector = Detector.load(model)
    before = detector.calibration
    notes: list[str] = []
    after = detector.calibrate(
        normal_folder, 0.2, watch=lambda update: notes.append(update.detail) if update.stage == "note" else None
    )
    assert after == before == detector.calibration
    assert "60  normal" in "\n".join(notes)  # the table of folders
    assert notes[-1] == "calibrated on 12 normals, 48 left out because the model was trained on them"


def test_trained_images_are_known_by_content_wherever_they_lie(model: Path, tmp_path: Path) -> None:
    detector = Detector.load(model)
    fresh = normals(20, seed=3)
    mixed = tmp_path / "mixed"
    write(mixed / "a", normals()[::-1], stem="renamed-")
    for number, image in enumerate(fresh):
        (mixed / "b").mkdir(exist_ok=True)
        Image.fromarray(image).save(mixed / "b" / f"{number}.tif")
    found = detector.calibrate(mixed, 0.1)
    alone = detector.calibrate(fresh, 0.1)
    assert len(found.scores) == 20 + 12  # the fresh and the held-out ones
    assert set(alone.scores) <= set(found.scores)


def test_a_separate_folder_of_normals(model: Path, tmp_path: Path) -> None:
    detector = Detector.load(model)
    folder = write(tmp_path / "fresh", normals(30, seed=5))
    found = detector.calibrate(folder, 0.1)
    scores = sorted(finding.score for finding in detector.score(folder))
    assert list(found.scores) == scores
    assert found.false_alarm_rate == 0.1
    assert sum(score > found.threshold for score in scores) <= 0.1 * 31


def test_too_few_normals_say_how_many_and_which_rate(model: Path) -> None:
    detector = Detector.load(model)
    before = detector.calibration
    with pytest.raises(DataError, match=r"\b7\b.*\b99\b"):  # 1 / (n + 1) <= 0.01 takes 99
        detector.calibrate(normals(7, seed=2), 0.01)
    assert detector.calibration == before
    assert detector.calibrate(normals(9, seed=2), 0.1).false_alarm_rate == 0.1  # exactly enough


def test_nothing_but_trained_images_to_calibrate_on(model: Path) -> None:
    detector = Detector.load(model)
    trained = set(detector.fingerprints["train"].tolist())
    chosen = [finding.query for finding in detector.score(normals()) if finding.fingerprint in trained]
    assert len(chosen) == 48
    with pytest.raises(DataError, match="all of them were trained on"):
        detector.calibrate(chosen, 0.2)


@pytest.mark.parametrize("rate", [0.0, 1.0, 2.0, -0.1, float("nan")])
def test_rates_that_are_none(detector: Detector, rate: float) -> None:
    with pytest.raises(SettingsError, match="false-alarm rate"):
        detector.calibrate(normals(5), rate)


def test_with_too_few_held_out_training_calibrates_at_the_lowest_rate_and_says_so() -> None:
    notes: list[str] = []
    trained = Detector.train(
        normals(30),
        settings=settings("training.steps=1", "calibration.false_alarm_rate=0.01"),
        watch=lambda update: notes.append(update.detail),
    )
    assert trained.calibration is not None
    assert trained.calibration.false_alarm_rate == pytest.approx(1 / 7)  # 6 held out
    (note,) = [note for note in notes if "too few for a false-alarm rate of 0.01" in note]
    assert "99 are needed" in note
    assert note in trained.history["notes"]


def test_updates_count_up_to_their_totals() -> None:
    updates: list[Update] = []
    Detector.train(normals(30), settings=settings("training.steps=45"), watch=updates.append)
    for stage, total in (("preparing", 30), ("training", 45), ("calibrating", 6)):
        counts = [update.done for update in updates if update.stage == stage]
        assert counts == sorted(counts)
        assert counts[-1] == total
        assert {update.total for update in updates if update.stage == stage} == {total}


def test_a_list_and_a_stream_are_the_same(detector: Detector, query_folder: Path) -> None:
    listed = detector.score(query_folder)
    stream = detector.findings(query_folder)
    assert numbers(listed) == numbers(list(stream))
    assert [finding.id for finding in listed] == sorted(finding.id for finding in listed)
    chosen = list(detector.findings(query_folder, [5, 0, 3]))
    assert numbers(chosen) == numbers([listed[5], listed[0], listed[3]])


def test_without_pictures_the_numbers_are_the_same(detector: Detector) -> None:
    plain = detector.score(queries(), pictures=False)
    assert numbers(plain) == numbers(detector.score(queries()))
    assert all(finding.query is finding.counterpart is finding.heatmap is None for finding in plain)


def test_a_score_does_not_depend_on_name_folder_format_or_company(detector: Detector, tmp_path: Path) -> None:
    images = queries(5)
    alone = [detector.score(image[None])[0] for image in images]
    assert numbers(detector.score(images)) == numbers(alone)
    assert numbers(detector.score(images[::-1])) == numbers(alone[::-1])
    deep = tmp_path / "somewhere" / "else"
    deep.mkdir(parents=True)
    Image.fromarray(images[2]).save(deep / "another name.tiff")
    assert numbers(detector.score(tmp_path)) == numbers(alone[2:3])
    assert len({finding.score for finding in alone}) == 5


def test_scoring_moves_no_weight_and_needs_no_order(detector: Detector) -> None:
    before = {name: tensor.clone() for name, tensor in detector.method.networks.state_dict().items()}
    first = numbers(detector.score(queries()))
    detector.score(normals(3))
    assert numbers(detector.score(queries())) == first
    assert all(torch.equal(before[name], tensor) for name, tensor in detector.method.networks.state_dict().items())


def test_the_decision_is_that_of_the_calibration(detector: Detector, query_folder: Path) -> None:
    assert detector.calibration is not None
    for finding in detector.score(query_folder):
        expected = decider(detector.calibration)(finding.score, finding.residual, finding.discrimination)
        assert (finding.p_value, finding.anomalous, finding.flagged_by) == expected
        assert finding.anomalous == (finding.score > detector.calibration.threshold)


def test_the_score_of_anogan_is_the_weighted_sum_of_its_terms(searching: Detector, query_folder: Path) -> None:
    weight = searching.method.settings.search.discrimination_weight
    for finding in searching.score(query_folder):
        total = (1 - weight) * finding.residual + weight * finding.discrimination
        assert finding.score == finding.anomaly == pytest.approx(total, rel=1e-5)


def test_an_uncalibrated_detector_scores_and_does_not_decide(detector: Detector) -> None:
    bare = detector.with_settings(detector.method.settings)
    assert bare.calibration is None
    decided = ("p_value", "anomalous")
    assert numbers(bare.score(queries()))[0][:6] == numbers(detector.score(queries()))[0][:6]
    assert all(getattr(finding, name) is None for finding in bare.score(queries()) for name in decided)
    with pytest.raises(SettingsError, match="not calibrated"):
        bare.save_calibration("anywhere")


def test_saved_and_loaded_is_the_same(detector: Detector, tmp_path: Path) -> None:
    detector.save(tmp_path / "copy")
    loaded = Detector.load(tmp_path / "copy")
    assert loaded.calibration == detector.calibration
    assert loaded.method.settings == detector.method.settings
    assert loaded.method.spec == detector.method.spec
    assert (loaded.layout, loaded.history) == (detector.layout, detector.history)
    assert all(torch.equal(loaded.fingerprints[name], detector.fingerprints[name]) for name in ("train", "holdout"))
    assert numbers(loaded.score(queries())) == numbers(detector.score(queries()))
    loaded.save(tmp_path / "again")
    for name in ("bundle.json", "weights.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "copy" / name).read_bytes()


def test_out_keeps_the_model_that_train_returns(tmp_path: Path) -> None:
    trained = Detector.train(normals(30), tmp_path / "m", settings=settings("training.steps=2"))
    assert numbers(Detector.load(tmp_path / "m").score(queries())) == numbers(trained.score(queries()))


def test_resume_needs_a_folder() -> None:
    with pytest.raises(SettingsError, match="out="):
        Detector.train(normals(5), resume=True)


def test_other_settings_of_search_and_comparison(searching: Detector) -> None:
    changed = searching.with_settings(
        searching.method.settings.with_overrides(["search.steps=1", "compare.score=residual"])
    )
    finding = changed.score(queries(1))[0]
    assert finding.score == finding.residual != searching.score(queries(1))[0].residual
    assert changed.fingerprints is searching.fingerprints
    assert searching.method.settings.search.steps == 4  # the first is as it was


@pytest.mark.parametrize("change", ["training.steps=31", "networks.base_channels=8", "data.image_size=32"])
def test_settings_that_take_another_training(detector: Detector, change: str) -> None:
    with pytest.raises(SettingsError, match=change.partition("=")[0]):
        detector.with_settings(detector.method.settings.with_overrides([change]))


def test_a_saved_calibration_brings_the_settings_that_it_holds_for(searching_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(searching_model, tmp_path / "model")
    changed = Detector.load(folder).with_settings(settings("search.steps=2"))
    changed.calibrate(normals(20, seed=4), 0.1)
    changed.save_calibration(folder)
    loaded = Detector.load(folder)
    assert loaded.method.settings.search.steps == 2
    assert loaded.calibration == changed.calibration
    assert numbers(loaded.score(queries())) == numbers(changed.score(queries()))


def test_samples_are_images_that_follow_from_the_seed(detector: Detector) -> None:
    samples = detector.sample(5, seed=1)
    assert samples.shape == (5, 1, SIDE, SIDE)
    assert samples.dtype == torch.float32
    assert -1 <= samples.min() < samples.max() <= 1
    assert torch.equal(samples, detector.sample(5, seed=1))
    torch.testing.assert_close(samples[:2], detector.sample(2, seed=1))
    assert not torch.equal(samples, detector.sample(5, seed=2))


@pytest.mark.parametrize("count", [0, -3])
def test_no_samples(detector: Detector, count: int) -> None:
    with pytest.raises(SettingsError, match="at least 1"):
        detector.sample(count)


def test_a_trace_ends_at_the_counterpart(searching: Detector) -> None:
    trace = searching.trace(queries(), [1, 3], [0, 2, 4])
    assert trace is not None
    assert trace.steps == (0, 2, 4)
    assert trace.images.shape == (3, 2, 1, SIDE, SIDE)
    assert (trace.losses[1:] <= trace.losses[:-1]).all()
    scored = searching.score(queries())
    assert trace.losses[-1].tolist() == pytest.approx([scored[1].anomaly, scored[3].anomaly], rel=1e-5)


def test_a_method_that_does_not_search_has_no_trace(detector: Detector) -> None:
    assert detector.trace(queries(), [1, 3], [0, 2, 4]) is None


def test_a_folder_without_the_label_of_training_is_scored_and_calibrated_on(tmp_path: Path) -> None:
    labelled = write(tmp_path / "train" / "7", normals(30)).parent
    write(labelled / "8", queries())
    trained = Detector.train(labelled, settings=settings("training.steps=1", 'data.normal="7"'))
    flat = write(tmp_path / "flat", normals(20, seed=9))
    assert [finding.normal for finding in trained.score(flat)] == [None] * 20
    assert len(trained.calibrate(flat, 0.1).scores) == 20
    others = write(tmp_path / "others" / "8", queries()).parent
    assert len(trained.score(others)) == 4
    with pytest.raises(DataError, match="no label '7'"):
        trained.calibrate(others, 0.3)


def test_what_info_shows_is_json_of_the_bundle(detector: Detector) -> None:
    described = detector.describe()
    assert described["method"] == "twin"
    assert described["spec"] == {
        "channels": 1,
        "size": SIDE,
        "pixel_type": "uint8",
        "black": 0.0,
        "white": 255.0,
        "fit": "stretch",
        "view": "whole",
    }
    assert described["images"] == {"train": 48, "holdout": 12}
    counted = sum(parameter.numel() for parameter in detector.method.networks["generator"].parameters())
    assert 0 < counted <= described["parameters"]["generator"]
    assert sum(described["images"].values()) == NORMALS
