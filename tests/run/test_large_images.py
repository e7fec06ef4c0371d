"""Large images, images without memory for them, and images that people see otherwise: through the whole product."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anotwin import Detector
from anotwin.data.arrays import from_arrays
from anotwin.data.folder import open_folder
from anotwin.prepare.cache import prepare_images
from anotwin.prepare.image_spec import infer_spec
from anotwin.records import Finding, ImageSpec
from anotwin.report.choose import MOST, Extremes, shrunk
from anotwin.report.table import scan_scores
from anotwin.settings import DataSettings
from quick import good, normals, queries, write

RNG = np.random.default_rng(0)


def same(one: Finding, other: Finding) -> None:
    for name, value in vars(one).items():
        np.testing.assert_array_equal(np.asarray(value), np.asarray(getattr(other, name)), err_msg=name)


@pytest.fixture(scope="module")
def detector(model: Path) -> Detector:
    return Detector.load(model)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Images of several sizes, one turned, one that is no image."""
    for number, shape in enumerate([(40, 30), (64, 48), (30, 30), (48, 64)]):
        grey = Image.fromarray(queries(1)[0]).resize(shape[::-1])
        block = Image.Exif()
        block[274] = 6 if number == 1 else 1
        grey.save(tmp_path / f"{number}.png", exif=block)
    (tmp_path / "x.png").write_bytes(b"junk")
    return tmp_path


def test_images_too_large_to_wait_give_the_same_to_the_bit(
    detector: Detector, mixed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = list(detector.findings(mixed))
    monkeypatch.setattr("anotwin.prepare.stream.WAITING", 0)
    again = list(detector.findings(mixed))
    assert [finding.id for finding in again] == ["0.png", "1.png", "2.png", "3.png", "x.png"]
    for one, other in zip(kept, again, strict=True):
        same(one, other)
    assert again[1].query is not None
    assert again[1].query.shape == (48, 64)  # turned upright, as its tag says


def test_large_images_are_read_for_their_pictures_one_at_a_time(
    detector: Detector, mixed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anotwin.prepare.stream.WAITING", 0)
    source, reads = open_folder(mixed, "test"), []

    class Watched:
        items, root, layout = source.items, source.root, source.layout

        def read(self, index: int) -> Any:
            reads.append(index)
            return source.read(index)

        def read_mask(self, _index: int) -> None:
            return None

    findings = detector.findings(Watched())
    next(findings)
    assert reads == [0, 1, 2, 3, 4, 0]
    next(findings)
    assert reads[6:] == [1]
    assert len(list(detector.findings(Watched(), pictures=False))) == 5
    assert reads[7:] == [0, 1, 2, 3, 4]  # without pictures once


def test_a_file_that_changes_between_its_two_readings_is_a_row(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anotwin.prepare.stream.WAITING", 0)
    images = queries(3)

    class Changing:
        items, root, layout = from_arrays(images).items, "somewhere", "array"
        seen = 0

        def read(self, index: int) -> Any:
            self.seen += index == 1
            return images[index] if self.seen < 2 else images[index] // 2

        def read_mask(self, _index: int) -> None:
            return None

    first, second, third = detector.findings(Changing())
    assert (first.error, third.error) == ("", "image-00002: changed while it was scored; score it again")
    assert second.error == "image-00001: changed while it was scored; score it again"
    assert np.isnan(second.score)


def without_memory(honest: Callable[..., Any], fails: Callable[..., bool]) -> Callable[..., Any]:
    def called(*args: Any, **more: Any) -> Any:
        if fails(*args, **more):
            raise MemoryError
        return honest(*args, **more)

    return called


@pytest.mark.parametrize("where", ["read", "prepare", "pictures", "save"])
def test_no_memory_for_one_image_is_its_row(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    folder = write(tmp_path / "data", [*queries(3), np.tile(queries(1)[0], (2, 1))])
    places: dict[str, tuple[str, Callable[..., bool]]] = {
        "read": ("anotwin.data.folder.read_pixels", lambda path: Path(path).name == "003.png"),
        "prepare": ("anotwin.prepare.stream.to_models", lambda pixels, _spec: pixels.shape[1] == 32),
        "pictures": ("anotwin.domains.plain.view.image_to_native", lambda _i, _g, _s, like: like.shape[0] == 32),
        "save": ("anotwin.commands.scoring.save_pictures", lambda finding, *_: finding.id == "003.png"),
    }
    name, fails = places[where]
    module, _, function = name.rpartition(".")
    honest = getattr(__import__(module, fromlist=[function]), function)
    monkeypatch.setattr(name, without_memory(honest, fails))
    good("score", model, folder, "--out", tmp_path / "out")
    rows = {row["image"]: row["error"] for row in scan_scores(tmp_path / "out/scores.csv")}
    assert [rows[f"00{number}.png"] for number in range(3)] == ["", "", ""]
    assert "003.png" in rows["003.png"]
    assert "memory" in rows["003.png"]


def test_training_goes_on_without_the_image_that_has_no_memory() -> None:
    images = normals(40)

    class Short:
        items, root, layout = from_arrays(images).items, "somewhere", "array"

        def read(self, index: int) -> Any:
            if index == 7:
                raise MemoryError
            return images[index]

        def read_mask(self, _index: int) -> None:
            return None

    spec, _ = infer_spec(Short(), range(40), DataSettings())
    prepared = prepare_images(Short(), range(40), spec)
    ((index, why),) = prepared.failures
    assert (index, why) == (7, "image-00007: does not fit into memory; tile it or make it smaller")


def test_a_bomb_ends_no_command(model: Path, tmp_path: Path) -> None:
    """Of some 400 bytes that claim 11000 x 11000 pixels: it is the row of one file, every time."""
    folder = write(tmp_path / "data", normals(40, seed=5))
    buffer = tmp_path / "bomb.jpg"
    Image.fromarray(np.full((64, 64), 128, np.uint8)).save(buffer)
    data = bytearray(buffer.read_bytes())
    at = data.find(b"\xff\xc0")
    data[at + 5 : at + 9] = (11000).to_bytes(2, "big") * 2
    (folder / "bomb.jpg").write_bytes(bytes(data))
    out = tmp_path / "out"
    good("score", model, folder, "--out", out)
    rows = {row["image"]: row["error"] for row in scan_scores(out / "scores.csv")}
    assert "truncated" in rows.pop("bomb.jpg")
    assert len(rows) == 40
    assert set(rows.values()) == {""}
    copied = tmp_path / "model"
    shutil.copytree(model, copied)
    outcome = good("calibrate", copied, folder, "--false-alarm-rate", "0.1")
    assert "bomb.jpg" in outcome.out + outcome.err


def test_what_people_see_alike_scores_alike(detector: Detector, tmp_path: Path) -> None:
    grey = np.asarray(Image.fromarray(queries(1)[0]).resize((24, 36)))
    block = Image.Exif()
    block[274] = 8
    Image.fromarray(np.rot90(grey, -1)).save(tmp_path / "turned.png", exif=block)
    Image.fromarray(grey).save(tmp_path / "upright.png")
    holes = np.where(np.arange(24) < 6, 0, 255) * np.ones((36, 1))
    for name, hidden in (("a", 0), ("b", 255)):
        values = np.where(holes == 0, hidden, grey).astype(np.uint8)
        Image.fromarray(np.stack([values, holes.astype(np.uint8)], 2)).save(tmp_path / f"{name}.png")
    found = {finding.id: finding for finding in detector.score(tmp_path)}
    for one, other in (("turned.png", "upright.png"), ("a.png", "b.png")):
        same(dataclasses.replace(found[one], id=""), dataclasses.replace(found[other], id=""))


def test_objects_score_like_their_files(detector: Detector, tmp_path: Path) -> None:
    images = queries(4)
    folder = write(tmp_path / "data", images)
    paths = sorted(folder.iterdir())
    files = detector.score(folder)
    objects: list[Any] = [images.astype(np.int64), images.astype(np.int32), list(images), paths, map(str, paths)]
    objects += [[Image.fromarray(image) for image in images], (image for image in images)]
    for given in objects:
        for one, other in zip(files, detector.score(given), strict=True):
            same(dataclasses.replace(one, id="", label=None), dataclasses.replace(other, id="", label=None))
    assert [finding.id for finding in detector.score(paths)] == [path.as_posix() for path in paths]


def finding(height: int, width: int, score: float) -> Finding:
    query = RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)
    heat = np.zeros((height, width), np.float32)
    heat[height // 2, width // 2] = 3
    return Finding(str(score), score=score, query=query, counterpart=query, difference=heat / 4, heatmap=heat)


def test_pictures_kept_for_a_figure_are_shrunk() -> None:
    large, small = finding(1200, 1801, 1.0), finding(1024, 1024, 2.0)
    assert shrunk(small) is small
    kept = shrunk(large)
    for name in ("query", "counterpart", "difference", "heatmap"):
        value = getattr(kept, name)
        assert value.shape[0] * value.shape[1] <= MOST
        assert value.dtype == getattr(large, name).dtype
    assert kept.query is not None
    assert kept.heatmap is not None
    assert abs(kept.query.shape[1] / kept.query.shape[0] - 1.5) < 0.01
    assert kept.heatmap.max() == 3  # one hot pixel stays in sight
    assert large.query is not None
    np.testing.assert_array_equal(kept.query[0, 0], np.rint(large.query[:2, :2].mean((0, 1))))
    assert shrunk(finding(1, 2**20 + 9, 1.0)).query is not None
    figure = Extremes(2, 1, shrunk)
    figure.add(large)
    (held,) = figure.kept.values()
    assert held.query is not None
    assert held.query.size < large.query.size


def test_pictures_made_in_blocks_are_those_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from anotwin.prepare.resize import image_to_native, to_model
    from anotwin.report.overlay import overlay

    for dtype, shape in ((np.uint8, (50, 41, 3)), (np.uint16, (50, 41)), (np.uint8, (50, 41))):
        pixels = RNG.integers(0, 256, shape).astype(dtype)
        heat = RNG.random(shape[:2]).astype(np.float32) * 2
        spec = ImageSpec(3 if len(shape) == 3 else 1, 32)
        found = []
        for block in (2**20, 1, 97):
            monkeypatch.setattr("anotwin.prepare.blocks.BLOCK", block)
            square, geometry = to_model(pixels, spec)
            found.append([square.numpy(), image_to_native(square, geometry, spec, pixels), overlay(pixels, heat)])
        for other in found[1:]:
            for one, two in zip(found[0], other, strict=True):
                np.testing.assert_array_equal(one, two)
