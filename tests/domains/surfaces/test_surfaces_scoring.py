"""Regions from end to end, by a tiny model of tiles: their limit, their files, and a run that was stopped."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from anotwin import Detector
from anotwin.domains.regions import find_regions, highest_heat
from anotwin.report.table import scan_scores
from quick import good, run, settings, stopped_after, write

SHAPE, SPOT = (70, 88), 16


def textures(count: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    made = [gaussian_filter(rng.normal(size=SHAPE), 1.5) for _ in range(count)]
    return [np.clip(128 + 25 * each / each.std(), 0, 255).astype(np.uint8) for each in made]


def spotted(count: int, seed: int) -> tuple[list[np.ndarray], list[tuple[int, int]]]:
    rng, images = np.random.default_rng(seed), textures(count, seed)
    places = [(int(rng.integers(4, 50)), int(rng.integers(4, 68))) for _ in images]
    for image, (row, column) in zip(images, places, strict=True):
        image[row : row + SPOT, column : column + SPOT] = 252
    return images, places


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("surfaces")
    write(folder / "train", textures(40, 0))
    small = settings(
        "data.view=tiles",
        "data.image_size=32",
        "data.holdout=0.5",
        "training.steps=60",
        "calibration.false_alarm_rate=0.1",
    )
    Detector.train(folder / "train", folder / "model", method="acae", settings=small)
    write(folder / "test", [*textures(3, 1), *spotted(3, 2)[0]])
    return folder


def table(out: Path) -> list[dict[str, str]]:
    with (out / "regions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_at_most_the_rate_of_the_normals_calibrated_on_shows_a_region(trained: Path) -> None:
    detector = Detector.load(trained / "model")
    limit = detector.calibration.region_limit
    fresh = [each for each in detector.findings(trained / "train") if each.fingerprint not in detector.trained_on]
    assert len(fresh) == 20
    shown = [bool(find_regions(each.heatmap, limit, 4)) for each in fresh]
    assert sum(shown) == 1  # 20 held out, a rate of 0.1: the second highest is the limit
    assert shown == [highest_heat(each.heatmap, 4) > limit for each in fresh]
    assert json.loads((trained / "model/bundle.json").read_text())["calibration"]["region_limit"] == limit


def test_a_larger_least_area_has_a_lower_limit(trained: Path) -> None:
    model = Detector.load(trained / "model")
    limits = []
    for area in (1, 4, 60):
        other = model.with_settings(model.settings.with_overrides([f"calibration.least_area={area}"]))
        limits.append(other.calibrate(trained / "train", 0.1).region_limit)
    assert limits[1] == model.calibration.region_limit
    assert limits == sorted(limits, reverse=True)
    assert limits[0] > limits[2]


def test_planted_spots_are_regions_at_their_place(trained: Path, tmp_path: Path) -> None:
    said = good("score", trained / "model", trained / "test", "--out", tmp_path).out
    assert "regions.csv" in said
    rows = table(tmp_path)
    for number, (row, column) in enumerate(spotted(3, 2)[1], start=3):
        first = next(each for each in rows if each["image"] == f"{number:03d}.png")
        assert first["exceeds"] == "true"
        assert abs(float(first["centroid_y"]) - (row + SPOT / 2 - 0.5)) < 4
        assert abs(float(first["centroid_x"]) - (column + SPOT / 2 - 0.5)) < 4
        mask = np.asarray(Image.open(tmp_path / f"masks/{number:03d}.png")) > 0
        assert mask.shape == SHAPE
        assert mask[row + 4 : row + 12, column + 4 : column + 12].all()
    flagged = {each["image"] for each in scan_scores(tmp_path / "scores.csv") if each["anomalous"]}
    assert {each["image"] for each in rows} == flagged


def test_a_stopped_run_goes_on_and_writes_the_same(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("score", trained / "model", trained / "test", "--out")
    good(*words, tmp_path / "whole")
    with monkeypatch.context() as patched:
        patched.setattr(Detector, "findings", stopped_after(4))
        assert run(*words, tmp_path / "stopped").code == 130
    assert not (tmp_path / "stopped/regions.csv").exists()
    good(*words, tmp_path / "stopped")
    names = sorted(str(path.relative_to(tmp_path / "whole")) for path in (tmp_path / "whole").rglob("*.*"))
    assert names == sorted(str(path.relative_to(tmp_path / "stopped")) for path in (tmp_path / "stopped").rglob("*.*"))
    for name in names:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "stopped" / name).read_bytes(), name


def test_groups_are_pooled_and_no_pictures_means_none_but_masks(trained: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "data", [*textures(2, 5), *spotted(2, 6)[0]], stem="part_")
    good("score", trained / "model", data, "--out", tmp_path / "out", "--no-pictures", "--group", "{}_*.png")
    assert (tmp_path / "out/groups.csv").is_file()
    assert (tmp_path / "out/masks").is_dir()
    assert not (tmp_path / "out/regions").exists()
    assert not (tmp_path / "out/heatmaps").exists()
    assert table(tmp_path / "out")
