"""`Translator`: which snapshot becomes the model, what is said of the data, and what cannot be resumed or loaded."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from anotwin import BundleError, DataError, Detector, Settings, SettingsError, TrainingDiverged, Translator
from anotwin.bundle import is_translation, save_bundle
from anotwin.data.synthetic import textured_discs
from anotwin.translation import session
from anotwin.translation.quality import Judged
from anotwin.updates import Update

SMALL = ("networks.base_channels=4", "training.steps=8", "training.batch_size=2", "training.sample_every=2")


@pytest.fixture(autouse=True)
def few_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Snapshots judged by a few examples: quick."""
    monkeypatch.setattr(session, "MOST", 8)


def settings(*more: str) -> Settings:
    return Settings().with_overrides([*SMALL, *more])


def pair(count: int = 12) -> tuple[np.ndarray, np.ndarray]:
    b, _ = textured_discs(count, size=32, seed=0)
    return 255 - b, b


def told(watched: list[Update]) -> list[str]:
    return [update.detail for update in watched if update.stage == "note"]


def test_the_snapshot_with_the_least_error_on_held_out_images_is_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = iter([0.5, 0.2, 0.3, 0.4, 0.9])
    weights: list[dict[str, torch.Tensor]] = []

    def judged(method: Any, examples: Any) -> Judged:
        weights.append({key: value.clone() for key, value in method.networks.state_dict().items()})
        values = {"error": next(errors), "spread": 1.0}
        return Judged(values, torch.zeros(3, 1, 8, 8), 3, examples.b)

    monkeypatch.setattr(session, "judge", judged)
    notes: list[Update] = []
    found = Translator.train(
        pair(), tmp_path / "m", method="pix2pix", settings=settings(), device="cpu", watch=notes.append
    )
    assert found.history["chosen"] == {"step": 4, "error": 0.2, "spread": 1.0}
    assert all(torch.equal(value, weights[1][key]) for key, value in found.method.networks.state_dict().items())
    assert any("the weights of step 4 are the model" in note for note in told(notes))
    run = tmp_path / "m" / "runs" / found.history["run"]
    assert [json.loads(line)["step"] for line in (run / "quality.jsonl").read_text().splitlines()] == [2, 4, 6, 8]
    assert sorted(path.name for path in run.glob("samples-*.png"))[-1] == "samples-000008.png"
    assert "(step" in next(update.detail for update in notes if update.stage == "training")


def test_held_out_images_are_never_trained_on() -> None:
    found = Translator.train(pair(), method="pix2pix", settings=settings("training.steps=1"), device="cpu")
    train, held = (set(found.fingerprints[name].tolist()) for name in ("train", "holdout"))
    assert train
    assert held
    assert not train & held


def test_a_diverged_training_keeps_the_last_good_snapshot(tmp_path: Path) -> None:
    wild = settings("training.learning_rate=1e30", "training.snapshot_every=1", "translation.adversarial=false")
    with pytest.raises(TrainingDiverged):
        Translator.train(pair(), tmp_path / "m", method="pix2pix", settings=wild, device="cpu")


def test_colour_and_grey_and_what_is_wrong_with_pairs_is_said(tmp_path: Path) -> None:
    for number, (a, b) in enumerate(zip(*pair(), strict=True)):
        for folder, image in (("A", np.dstack([a, b, a])), ("B", b if number else b[:20])):
            (tmp_path / "data" / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(tmp_path / "data" / folder / f"{number}.png")
    (tmp_path / "data" / "A" / "1.png").write_bytes(b"no image")
    notes: list[Update] = []
    found = Translator.train(
        tmp_path / "data",
        method="pix2pix",
        settings=settings("training.steps=1"),
        device="cpu",
        watch=notes.append,
    )
    said = " | ".join(told(notes))
    for expected in ("A is in colour and B is grey", "1 pairs left out, expected equal sizes", "A: 1 image left out"):
        assert expected in said
    assert "8 pairs to train on, 2 held out" in said
    assert found.translate(np.zeros((10, 12, 3), np.uint8)).shape == (10, 12)


def test_a_run_is_resumed_as_what_it_is(tmp_path: Path) -> None:
    short = settings("training.steps=1")
    out = tmp_path / "m"
    Translator.train(pair(), out, method="pix2pix", settings=short, device="cpu")
    with pytest.raises(SettingsError, match="its last run is pix2pix, not cyclegan"):
        Translator.train(pair(), out, method="cyclegan", resume=True, device="cpu")
    changed = settings("training.steps=2", "translation.l1_weight=5")
    with pytest.raises(SettingsError, match=r"translation.l1_weight was 100.0 and is now 5.0"):
        Translator.train(pair(), out, settings=changed, resume=True, device="cpu")
    with pytest.raises(SettingsError, match="other images"):
        Translator.train(pair(10), out, resume=True, device="cpu")
    with pytest.raises(SettingsError, match="give out="):
        Translator.train(pair(), resume=True)


def test_detectors_and_translations_are_told_apart(tmp_path: Path, model: Path) -> None:
    short = settings("training.steps=1")
    Translator.train(pair(), tmp_path / "m", method="pix2pix", settings=short, device="cpu")
    assert is_translation(tmp_path / "m")
    assert not is_translation(model)
    with pytest.raises(BundleError, match=r"a translation \(pix2pix\), which has no scores: use anotwin translate"):
        Detector.load(tmp_path / "m")
    with pytest.raises(BundleError, match=r"a detector \(twin\), which translates nothing: use anotwin score"):
        Translator.load(model)


def test_a_foreign_bundle_is_refused(tmp_path: Path) -> None:
    short = settings("training.steps=1")
    found = Translator.train(pair(), method="pix2pix", settings=short, device="cpu")
    bundle = found.bundle()
    for change, said in (
        ({"method": "twin"}, "no translation method 'twin'"),
        ({"target": bundle.spec.__class__(1, 256)}, "squares of 32 pixels that become 256"),
        ({"tensors": dict(list(bundle.tensors.items())[1:])}, "missing"),
    ):
        save_bundle(replace(bundle, **change), tmp_path / "m")
        with pytest.raises(BundleError, match=said):
            Translator.load(tmp_path / "m")


def test_classes_are_kept_and_nothing_else_comes_out(tmp_path: Path) -> None:
    b, _ = textured_discs(12, size=32, seed=0)
    maps = np.where(b > 128, 200, 40).astype(np.uint8)
    labels = settings("translation.target=labels", "training.steps=2")
    found = Translator.train((b, maps), tmp_path / "m", method="pix2pix", settings=labels, device="cpu")
    loaded = Translator.load(tmp_path / "m", "cpu")
    assert loaded.spec.b.classes == found.spec.b.classes == (40, 200)
    made = loaded.translate(np.random.default_rng(0).integers(0, 65536, (40, 50), np.uint16))
    assert made.dtype == np.uint8  # of label maps the type is theirs
    assert set(np.unique(made)) <= {40, 200}
    assert 0 <= found.history["chosen"]["dice"] <= 1


def test_what_cannot_be_trained_on() -> None:
    with pytest.raises(DataError, match="A and B hold the same images"):
        Translator.train((pair()[1], pair()[1]), method="cyclegan", settings=settings(), device="cpu")
    with pytest.raises(SettingsError, match="no --method"):
        Translator.train(pair(), settings=settings())


def test_images_come_in_many_forms(tmp_path: Path) -> None:
    found = Translator.train(pair(), method="pix2pix", settings=settings("training.steps=1"), device="cpu")
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    expected = found.translate(pixels)
    for form in (torch.from_numpy(pixels)[None], Image.fromarray(pixels), tmp_path / "a.png", pixels.astype(np.int64)):
        assert np.array_equal(found.translate(form), expected)
