"""benchmarks/translation: judges, true maps and controls by hand, and a run of seconds of every part."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr
from skimage import data as pictures
from sklearn.datasets import load_digits

from anotwin import DataError
from anotwin.domains.oct.layers.find import default_spacing
from anotwin.domains.oct.synthetic.retina import Lesion
from anotwin.evaluate.frechet import frechet
from anotwin.translator import Translator
from anotwin.updates import silent
from benchmarks.oct.patients import eyes, stand_ins
from benchmarks.translation import __main__ as translation
from benchmarks.translation import digits, layers, retina, superresolution, textures
from benchmarks.translation.judges import (
    Judge,
    Maps,
    grid_of_patches,
    kept_judge,
    of_crops,
    of_images,
    patch_features,
    to_model,
    train_judge,
)
from benchmarks.translation.sheets import contact_sheet, save_sheet
from benchmarks.translation.study import Study, read_images, write_images

KEYS = ["benchmark", "case", "method", "metric", "value", "low", "high", "unit", "goal"]


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def untrained(channels: int = 1) -> Judge:
    torch.manual_seed(0)
    network = Maps(channels, 3)
    network.eval().requires_grad_(False)
    return Judge("untrained", network)


# -- judges ------------------------------------------------------------------------------------------------------------


def test_a_judge_learns_digits_and_is_the_same_again() -> None:
    known = load_digits()
    images = digits.bordered(np.stack([digits.enlarged_digit(each) for each in known.images[:600]]))
    labels = known.target[:600].tolist()
    sample = of_images(images[:500], labels[:500])
    judge = train_judge("digits", 1, 10, sample, 60, silent)
    assert np.mean(judge.classes(images[500:]) == labels[500:]) > 0.7
    short = [train_judge("digits", 1, 10, sample, 3, silent, seed).features(images[:4]) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(short[0], short[1])
    assert np.abs(short[0] - short[2]).max() > 0.01


def test_a_judge_is_kept_by_what_it_learnt(tmp_path: Path) -> None:
    made: list[Judge] = []

    def make() -> Judge:
        made.append(untrained())
        return made[-1]

    first = kept_judge(tmp_path, ["origin of scans", 7], 1, 3, make)
    again = kept_judge(tmp_path, ["origin of scans", 7], 1, 3, make)
    assert len(made) == 1
    np.testing.assert_array_equal(first.features([noise(32, 32)]), again.features([noise(32, 32)]))
    kept_judge(tmp_path, ["origin of scans", 8], 1, 3, make)
    assert len(made) == 2
    assert kept_judge(None, ["origin of scans", 7], 1, 3, make).name == "untrained"


def test_the_distance_of_judges_by_brute_force() -> None:
    judge, one, other = untrained(3), noise(24, 32, 3), noise(24, 32, 3, seed=1)
    expected = []
    for a, b in zip(*(judge.network.maps(to_model([image])) for image in (one, other)), strict=True):
        places = [(y, x) for y in range(a.shape[2]) for x in range(a.shape[3])]
        vectors = [[each[0, :, y, x] / each[0, :, y, x].norm().clamp(min=1e-12) for each in (a, b)] for y, x in places]
        expected.append(np.mean([float(((p - q) ** 2).sum()) for p, q in vectors]))
    assert judge.distance(one, other) == pytest.approx(np.mean(expected), rel=1e-5)
    assert judge.distance(one, one) == 0


def test_crops_are_of_their_image_and_change_in_brightness_contrast_and_noise() -> None:
    images = [np.full((40, 50), level, np.uint8) for level in (60, 200)]
    cut, labels = of_crops(images, [5, 3], 16, 0.3)(np.random.default_rng(0), 64)
    assert cut.shape == (64, 1, 16, 16)
    assert set(labels.tolist()) == {3, 5}
    assert cut[labels == 3].mean() > cut[labels == 5].mean() + 0.5
    means, spreads = cut.mean((1, 2, 3)), cut.std((1, 2, 3))
    assert means[labels == 3].std() > 0.1
    assert 0 < spreads.min() < 0.01 < spreads.max() < 0.1


def test_patches_lie_in_a_grid_and_belong_to_their_image() -> None:
    image = noise(40, 56)
    patches = grid_of_patches(image, 16, 8)
    assert len(patches) == 4 * 6
    np.testing.assert_array_equal(patches[7], image[8:24, 8:24])
    found = patch_features(untrained(), [image, image[:20, :20]], ["a", "b"], 16, 8)
    assert list(found.groups) == ["a"] * 24 + ["b"]
    np.testing.assert_allclose(found.values[7], untrained().features([image[8:24, 8:24]])[0], atol=1e-6)


def test_blur_is_further_from_the_original_than_a_copy() -> None:
    photograph = [pictures.camera()[row : row + 128, :128] for row in (0, 128, 256)]
    judge = train_judge("origin", 1, 3, of_crops(photograph, [0, 1, 2], 32, 0.2), 30, silent)
    blurred = [gaussian_filter(image, 2) for image in photograph]
    sets = [patch_features(judge, images, "abc", 32, 16) for images in (photograph, photograph, blurred)]
    assert frechet(sets[0], sets[1], draws=2).value == pytest.approx(0, abs=1e-6)
    assert frechet(sets[0], sets[2], draws=2).value > 0.01


# -- true maps and controls --------------------------------------------------------------------------------------------


def test_restyled_digits_are_dark_on_light_turned_and_coloured() -> None:
    image = np.zeros((32, 32), np.uint8)
    image[14:18, 4:28] = 255  # a horizontal bar
    styled = digits.restyled(image)
    assert styled.shape == (32, 32, 3)
    np.testing.assert_array_equal(styled[0, 0], digits.PAPER)
    dark = styled[..., 0] < 100
    rows, columns = np.nonzero(dark)
    slope = np.polyfit(columns, rows, 1)[0]
    assert np.degrees(np.arctan(slope)) == pytest.approx(-digits.ANGLE, abs=2)  # counter-clockwise, rows point down
    np.testing.assert_allclose(styled[15, 15], digits.INK, atol=30)
    np.testing.assert_array_equal(digits.grey(digits.recoloured(image)), image)


def test_outlines_are_filled() -> None:
    image = np.zeros((32, 32), np.uint8)
    image[8:24, 10:22] = 255
    edges = digits.edges_of(image)
    assert set(np.unique(edges)) == {0, 255}
    assert 0 < (edges > 0).mean() < 0.25
    assert edges[16, 16] == 0
    assert digits.filled(edges)[16, 16] == 255
    assert np.mean(digits.filled(edges) != image) < 0.1


def test_the_control_has_the_levels_of_the_other_texture_and_its_own_structure() -> None:
    brick, gravel = (textures.texture(name)[0] for name in ("brick", "gravel"))
    (matched,) = textures.with_levels([brick], gravel)
    np.testing.assert_allclose(np.percentile(matched, [5, 50, 95]), np.percentile(gravel, [5, 50, 95]), atol=2)
    assert spearmanr(matched.ravel(), brick.ravel()).statistic > 0.99
    learnt, test = textures.texture("brick")
    assert learnt.shape[0] + test.shape[0] == 512


def test_grey_values_become_the_nearest_class() -> None:
    values = np.array([[0, 4, 6, 14, 16, 68, 74, 76, 255]], np.uint8)
    assert layers.nearest_class(values).tolist() == [[0, 0, 10, 10, 20, 70, 70, 70, 70]]
    assert layers.subjects(["s01_03", "s10_00"]) == ["s01", "s10"]


def test_a_scan_without_its_map_is_refused(tmp_path: Path) -> None:
    found = layers.made_up(tmp_path)
    assert set(np.unique(list(found.maps.values()))) <= {0, *layers.CLASSES}
    (tmp_path / "test" / "B" / "s1_00000.png").unlink()
    with pytest.raises(DataError, match="names in A and B differ"):
        layers.read_layers(tmp_path)


def test_enlarging_without_learning_is_pillows() -> None:
    image = noise(9, 7, 3)
    expected = Image.fromarray(image).resize((28, 36), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(superresolution.bicubic(image, 4), np.asarray(expected))


def test_grey_images_go_through_a_model_of_colour() -> None:
    class Twice:
        def translate(self, image: np.ndarray, _direction: str) -> np.ndarray:
            assert image.shape[2] == 3
            return image.repeat(2, 0).repeat(2, 1)

    study = Study(argparse.Namespace(), Path(), silent)
    image = noise(6, 5)
    output = superresolution.enlarged(study, Twice(), image)  # type: ignore[arg-type]
    np.testing.assert_array_equal(output, image.repeat(2, 0).repeat(2, 1))


def test_depths_of_made_up_eyes_are_those_that_were_drawn() -> None:
    scans, truths = eyes(range(2), 256)
    for image, truth in zip(scans.images, truths, strict=True):
        depth, elevation = retina.depths(image)
        spacing = default_spacing(*image.shape).axial
        assert depth == pytest.approx((truth.rpe - truth.ilm).mean() * spacing, rel=0.08)
        assert elevation < 12
    raised = eyes([0], 256, [Lesion("detachment", 1800, 200)])[0].images[0]
    assert retina.depths(raised)[1] > 40
    assert np.isnan(retina.depths(np.zeros((496, 256), np.uint8))).all()


def test_no_patient_is_learnt_from_and_tested_on() -> None:
    every = stand_ins(4, 3, 64)
    found = retina.apart(every, [0, 1, 2])
    parts = (found.learnt_cnv, found.learnt_normal, found.cnv, found.normal)
    assert [len(part.items) for part in parts] == [2, 3, 1, 1]
    names = [set(part.patients.tolist()) for part in parts]
    assert len(set.union(*names)) == sum(map(len, names))
    assert set(found.cnv.labels) == {"CNV"}
    with pytest.raises(DataError, match="1 patients with CNV"):
        retina.apart(every.take([0, 1, 4]), [0])


def test_sheets_show_every_image_at_its_place(tmp_path: Path) -> None:
    red, grey = np.full((4, 8, 3), (200, 0, 0), np.uint8), np.full((90, 90), 50, np.uint8)
    sheet = contact_sheet(["one", "two"], [[red, grey], [grey, red]], side=32)
    assert sheet.shape == (14 + 2 * 36 + 4, 2 * 36 + 4, 3)
    np.testing.assert_array_equal(sheet[14 + 8, 4 + 16], (200, 0, 0))
    np.testing.assert_array_equal(sheet[14 + 36 + 16, 4 + 16], (50, 50, 50))
    np.testing.assert_array_equal(sheet[14 + 24, 4 + 16], (255, 255, 255))  # below the wide image
    save_sheet(None, ["one"], [[grey]])
    save_sheet(tmp_path / "sheet.png", ["one"], [[grey]])
    assert (tmp_path / "sheet.png").is_file()


def test_images_are_written_and_read_in_order(tmp_path: Path) -> None:
    images = [noise(4, 5, seed=seed) for seed in range(12)]
    found = read_images(write_images(tmp_path / "new", images, "n-"))
    assert list(found)[-1] == "n-00011"
    np.testing.assert_array_equal(np.stack(list(found.values())), np.stack(images))


# -- whole parts -------------------------------------------------------------------------------------------------------


def rows_in(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(path.read_text())
    assert all(list(row) == KEYS for row in rows)
    return rows


SHORT = ["--quick", "--set", "training.steps=2", "--set", "networks.base_channels=2", "--device", "cpu"]


def test_a_part_runs_and_its_models_are_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = [*SHORT, "--part", "edges", "--models", str(tmp_path / "models"), "--json"]
    assert translation.main([*given, str(tmp_path / "first.json")]) == 0
    first = rows_in(tmp_path / "first.json")
    likeness = [row for row in first if not row["metric"].endswith("seconds")]
    methods = ["filled edges", "pix2pix", "L1 alone"]
    assert [row["method"] for row in likeness] == [
        *(name for name in methods for _ in range(3)),
        "the digits themselves",
    ]
    assert [row["metric"] for row in likeness[:3]] == ["mean_absolute_error", "ssim", "class_true"]
    assert all(row["low"] <= row["value"] <= row["high"] for row in likeness)
    assert all(row["goal"] is None for row in first)  # goals are of whole runs
    assert (tmp_path / "first-edges.png").is_file()
    monkeypatch.setattr(Translator, "train", None)  # a second training would fail
    assert translation.main([*given, str(tmp_path / "again.json")]) == 0
    again = [row for row in rows_in(tmp_path / "again.json") if not row["metric"].endswith("seconds")]
    assert [row["value"] for row in again] == pytest.approx([row["value"] for row in likeness])


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (
            "superresolution",
            {"psnr", "ssim", "psnr_above_bicubic", "distance_below_bicubic", "frechet_ahead_of_bicubic"},
        ),
        ("layers", {"dice", "dice_layer_7", "frechet_on_origin_network", "sharpness_of_true", "frechet_of_halves"}),
        ("textures", {"judged_as_target"}),
        ("digits", {"mean_absolute_error", "class_kept", "class_true"}),
    ],
)
def test_every_part_runs(part: str, expected: set[str], tmp_path: Path) -> None:
    assert translation.main([*SHORT, "--part", part, "--json", str(tmp_path / "rows.json")]) == 0
    rows = rows_in(tmp_path / "rows.json")
    assert expected <= {row["metric"] for row in rows}
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows if row["low"] is not None)
    assert list(tmp_path.glob("rows-*.png"))


def test_without_data_a_line_says_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANOTWIN_DATA", raising=False)
    assert translation.main(["--part", "superresolution", "digits", "layers", "edges"]) == 0
    out = capsys.readouterr().out
    assert all(f"{part} is skipped: " in out for part in ("superresolution", "digits", "layers", "edges"))
