"""`anotwin translate`, and train, evaluate, info of translations, on files."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from anotwin import Translator
from anotwin.data.pixels import read_pixels
from anotwin.data.synthetic import textured_discs
from anotwin.translation import session
from quick import good, leftovers, run, write

SETS = [
    word
    for each in ("networks.base_channels=4", "training.steps=2", "training.batch_size=2", "translation.factor=2")
    for word in ("--set", each)
]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """test/A, test/B and train/A, train/B of discs and their negatives; not to be written to."""
    folder = tmp_path_factory.mktemp("pairs")
    for part, seed, count in (("train", 0, 12), ("test", 1, 4)):
        b, _ = textured_discs(count, size=32, seed=seed)
        write(folder / part / "A", 255 - b)
        write(folder / part / "B", b)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, pairs: Path) -> dict[str, Path]:
    """A model a method, each trained from the command line for a moment; not to be written to."""
    folder = tmp_path_factory.mktemp("translations")
    asked = {"cyclegan": (pairs, ()), "pix2pix": (pairs, ("--layout", "pairs"))}
    asked["srgan"] = (pairs / "train" / "B", ("--layout", "folder"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "MOST", 8)
        for name, (data, layout) in asked.items():
            outcome = good("train", data, "--out", folder / name, "--method", name, *layout, *SETS)
            assert f"trained {name}: 2 steps" in outcome.out
            assert "step 2, the best on 8 held-out examples" in outcome.out
    return {name: folder / name for name in asked}


def table(out: Path) -> list[dict[str, str]]:
    with (out / "translated.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_names_folders_formats_depths_and_sizes_are_kept(models: dict[str, Path], tmp_path: Path) -> None:
    images, _ = textured_discs(2, size=32, seed=5)
    data = tmp_path / "data"
    (data / "deep" / "er").mkdir(parents=True)
    Image.fromarray(images[0]).save(data / "a.png")
    Image.fromarray(images[0][:20, :11]).save(data / "odd.jpg")
    Image.fromarray(images[1].astype(np.uint16) * 257).save(data / "deep" / "b.png")
    tifffile.imwrite(data / "deep" / "er" / "c.tif", images[1].astype(np.float32) / 255)
    (data / "broken.png").write_bytes(b"no image")
    outcome = good("translate", models["pix2pix"], data, "--out", tmp_path / "out", "--device", "cpu")
    assert "5 images, 1 with an error, 1 in a format that is not lossless" in outcome.out
    rows = {row["file"]: row for row in table(tmp_path / "out")}
    assert list(rows) == ["a.png", "broken.png", "deep/b.png", "deep/er/c.tif", "odd.jpg"]
    assert "broken.png" in rows["broken.png"]["error"]
    assert rows["odd.jpg"]["size"] == "11x20"
    assert rows["odd.jpg"]["note"] == "JPEG is not lossless"
    for name, kind in (("a.png", np.uint8), ("deep/b.png", np.uint16), ("deep/er/c.tif", np.float32)):
        assert rows[name]["output"] == name
        assert read_pixels(tmp_path / "out" / name).dtype == kind
    translator = Translator.load(models["pix2pix"], "cpu")
    assert np.array_equal(read_pixels(tmp_path / "out" / "a.png"), translator.translate(images[0]))
    assert read_pixels(tmp_path / "out" / "sheet.png").shape[1] > 4 * 180
    assert leftovers(tmp_path / "out") == []


def test_images_are_enlarged(models: dict[str, Path], pairs: Path, tmp_path: Path) -> None:
    good("translate", models["srgan"], pairs / "test" / "B" / "000.png", "--out", tmp_path / "out")
    assert read_pixels(tmp_path / "out" / "000.png").shape == (64, 64)


def test_both_directions_and_seeds(models: dict[str, Path], pairs: Path, tmp_path: Path) -> None:
    data = pairs / "test" / "A"
    for out, model, more in (
        ("there", "cyclegan", ()),
        ("back", "cyclegan", ("--direction", "BtoA")),
        ("one", "pix2pix", ("--seed", "1")),
        ("again", "pix2pix", ("--seed", "1")),
        ("two", "pix2pix", ("--seed", "2")),
    ):
        good("translate", models[model], data, "--out", tmp_path / out, *more)
    made = {out.name: read_pixels(out / "000.png") for out in tmp_path.iterdir()}
    assert np.array_equal(made["one"], made["again"])
    assert not np.array_equal(made["one"], made["two"])
    assert not np.array_equal(made["there"], made["back"])


def test_what_was_finished_is_kept(
    models: dict[str, Path], pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out, words = pairs / "test" / "A", tmp_path / "out", ("translate", models["pix2pix"])
    honest, made = Translator.translate, []

    def stopped(self: Translator, *args: Any, **more: Any) -> Any:
        made.append(1)
        if len(made) == 3:
            raise KeyboardInterrupt
        return honest(self, *args, **more)

    monkeypatch.setattr(Translator, "translate", stopped)
    assert run(*words, data, "--out", out).code == 130
    assert not (out / "translated.csv").exists()
    good(*words, data, "--out", out)
    assert len(made) == 3 + 2  # the two that were finished are not made again
    assert [row["file"] for row in table(out)] == ["000.png", "001.png", "002.png", "003.png"]
    assert sorted(path.name for path in out.iterdir()) == [
        *(f"00{number}.png" for number in range(4)),
        "sheet.png",
        "translated.csv",
    ]
    made[:] = [1] * 10
    assert run(*words, data, "--out", out, "--seed", "1").code == 0  # another seed: all of them
    assert len(made) == 14


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("translate", "{cyclegan}", "{data}", "--out", "{data}/x"), "lies inside DATA"),
        (
            ("translate", "{cyclegan}", "{data}/test/A/000.png", "--out", "{data}/test/A"),
            "its translation would replace",
        ),
        (("translate", "{cyclegan}", "{data}", "--out", "{pix2pix}"), "is the folder of a model"),
        (("translate", "{pix2pix}", "{data}", "--out", "{tmp}/x", "--direction", "BtoA"), "pix2pix has learnt AtoB"),
        (("translate", "{model}", "{data}", "--out", "{tmp}/x"), "a detector (twin), which translates nothing"),
        (("score", "{cyclegan}", "{data}", "--out", "{tmp}/x"), "has no scores: use anotwin translate"),
        (("calibrate", "{cyclegan}", "{data}"), "has no scores: use anotwin translate"),
        (("sample", "{cyclegan}", "--count", "3", "--out", "{tmp}/x"), "has no scores"),
        (("evaluate", "{cyclegan}", "{data}", "--json", "{tmp}/x.json"), "give some, with --layout pairs"),
        (("train", "{data}", "--out", "{tmp}/x", "--layout", "pairs"), "no --method for a translation"),
        (
            ("train", "{data}", "--out", "{tmp}/x", "--layout", "pairs", "--method", "twin"),
            "method 'twin' for a transl",
        ),
        (("train", "{data}", "--out", "{tmp}/x", "--layout", "folder", "--method", "cyclegan"), "--layout unpaired"),
        (
            ("train", "{data}", "--out", "{tmp}/x", "--method", "cyclegan", "--normal", "good"),
            "--normal is for detectors",
        ),
        (("train", "{data}/test/A", "--out", "{tmp}/x", "--method", "cyclegan"), "expected folders A and B"),
    ],
)
def test_wrong_combinations_are_one_helpful_line(
    models: dict[str, Path], model: Path, pairs: Path, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    places = {name: str(path) for name, path in models.items()} | {"model": str(model)}
    outcome = run(*(word.format(**places, data=pairs, tmp=tmp_path) for word in words))
    assert outcome.code == 2
    assert said in outcome.error


def test_info_names_both_domains(models: dict[str, Path]) -> None:
    found = json.loads(good("info", models["srgan"], "--json").out)
    assert found["target"]["size"] == 2 * found["spec"]["size"]
    assert found["factor"] == 2
    assert found["directions"] == ["AtoB"]
    assert found["history"]["chosen"]["step"] == 2
    assert "psnr" in good("info", models["srgan"]).out


def test_translations_are_compared_with_the_truth(models: dict[str, Path], pairs: Path, tmp_path: Path) -> None:
    outcome = good("evaluate", models["pix2pix"], pairs, "--device", "cpu", "--json", tmp_path / "numbers.json")
    assert "4 pairs, 0 failed" in outcome.out
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    translator = Translator.load(models["pix2pix"], "cpu")
    expected = []
    for path in sorted((pairs / "test" / "A").iterdir()):
        found, truth = translator.translate(read_pixels(path)), read_pixels(pairs / "test" / "B" / path.name)
        expected.append(np.abs(found.astype(float) - truth).mean() / 255)
    assert [row["l1"] for row in numbers["images"]] == pytest.approx(expected)
    assert numbers["means"]["l1"]["mean"] == pytest.approx(np.mean(expected))
    assert numbers["means"]["l1"]["low"] <= np.mean(expected) <= numbers["means"]["l1"]["high"]
    unpaired = run("evaluate", models["cyclegan"], pairs, "--json", tmp_path / "c.json", "--layout", "pairs")
    assert unpaired.code == 0
    good("evaluate", models["srgan"], pairs / "test" / "B", "--json", tmp_path / "s.json", "--limit", "2")
    enlarged = json.loads((tmp_path / "s.json").read_text())
    assert enlarged["n"] == 2
    assert set(enlarged["means"]) == {"l1", "psnr", "ssim", "psnr_y", "ssim_y"}


def test_a_translation_is_resumed_without_saying_what_it_is(pairs: Path, tmp_path: Path) -> None:
    good("train", pairs, "--out", tmp_path / "m", "--method", "pix2pix", "--layout", "pairs", *SETS)
    outcome = good("train", pairs, "--out", tmp_path / "m", "--resume", "--steps", "3")
    assert "trained pix2pix: 3 steps" in outcome.out
