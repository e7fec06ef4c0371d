"""Which images are looked at in tiles by themselves, what is said of it, and files that are odd or damaged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from local_mean import LocalMean, tiles
from PIL import Image

from anotwin import Detector
from anotwin.data.arrays import from_arrays
from anotwin.data.folder import open_folder
from anotwin.data.synthetic import textured_discs
from anotwin.domains.open import open_source
from anotwin.domains.registry import domain_seeing
from anotwin.domains.surfaces.view import TilesView, are_large
from anotwin.records import Array, Finding, ImageSource
from anotwin.run.duplicates import find_duplicates
from anotwin.run.local import score_stream
from anotwin.settings import Settings
from anotwin.updates import Update, silent
from quick import good, run, sets, settings, write


def surfaces(count: int, height: int = 150, width: int = 130, seed: int = 0) -> list[Array]:
    discs = textured_discs(count, 32, seed)[0]
    tiled = [np.tile(disc, (height // 32 + 1, width // 32 + 1))[:height, :width] for disc in discs]
    rng = np.random.default_rng(seed)
    return [(image // 2 + rng.integers(0, 40, image.shape)).astype(np.uint8) for image in tiled]


def chosen(root: Path, *overrides: str, layout: str = "auto") -> str:
    source = open_source(root, "train", layout)
    return domain_seeing(source, range(len(source.items)), Settings().with_overrides(overrides)).view_name


# -- which view --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "overrides", "view"),
    [
        (127, (), "whole"),
        (128, (), "tiles"),
        (129, ("data.view=whole",), "whole"),
        (20, ("data.view=tiles",), "tiles"),
        (129, ("data.image_size=64",), "tiles"),  # more than twice that, and no less than a tile
        (129, ("data.image_size=128",), "whole"),
        (256, ("data.image_size=128",), "whole"),
        (257, ("data.image_size=128",), "tiles"),
        (127, ("data.image_size=16",), "whole"),
    ],
)
def test_large_images_are_looked_at_in_tiles(tmp_path: Path, side: int, overrides: tuple[str, ...], view: str) -> None:
    write(tmp_path / "flat", surfaces(3, side, side // 2))
    assert chosen(tmp_path / "flat", *overrides) == view
    write(tmp_path / "mvtec/train/good", surfaces(3, side // 2, side))
    (tmp_path / "mvtec/test").mkdir()
    assert chosen(tmp_path / "mvtec", *overrides) == view


def test_the_median_image_decides_and_bad_files_do_not(tmp_path: Path) -> None:
    write(tmp_path, surfaces(3, 60, 60), "small")
    write(tmp_path, surfaces(2, 400, 300), "large")
    (tmp_path / "none.png").write_bytes(b"no image")
    assert chosen(tmp_path) == "whole"
    write(tmp_path, surfaces(2, 400, 300), "more")
    assert chosen(tmp_path) == "tiles"
    assert chosen(tmp_path, layout="folder") == "tiles"


def test_images_in_memory_and_other_layouts_keep_their_view() -> None:
    large = from_arrays(surfaces(3, 200, 200))
    assert are_large(large, range(3), Settings())
    assert domain_seeing(large, range(3), Settings()).view_name == "whole"
    oct_layout = Settings().with_overrides(["data.layout=oct"])
    assert domain_seeing(large, range(3), oct_layout).view_name == "retina"
    assert not are_large(large, [], Settings())


def test_no_more_than_25_images_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, [np.zeros((140, 140), np.uint8)] * 60)
    source, seen = open_source(tmp_path, "train"), []
    monkeypatch.setattr("anotwin.domains.surfaces.view.image_shape", lambda path: seen.append(path) or (140, 140))
    assert are_large(source, range(60), Settings())
    assert len(seen) == 20


def notes_of(images: list[Array], *overrides: str) -> tuple[str, ...]:
    return TilesView().spec(from_arrays(images), range(len(images)), Settings().with_overrides(overrides))[1]


def test_what_is_said_of_it() -> None:
    (note,) = notes_of(surfaces(3, 350, 300))
    assert note == (
        "images of about 300 x 350 pixels: looked at in tiles of 128 x 128 at native resolution; data.view=whole "
        "resizes them instead"
    )
    (note,) = notes_of(surfaces(3, 350, 300), "data.scale=0.5", "data.image_size=64")
    assert "in tiles of 64 x 64 at 0.5 of their resolution" in note
    _, small = notes_of([*surfaces(2, 300, 300), *surfaces(1, 100, 127)])
    assert small.startswith("1 of 3 images sampled are smaller than a tile and mirrored up to it")
    _, colours = notes_of([*surfaces(2, 300, 300), np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)])
    assert "1 of 3 images sampled are in colour" in colours


def test_the_spec_is_that_of_the_pixels() -> None:
    deep = [image.astype(np.uint16) * 16 for image in surfaces(3)]
    spec, _ = TilesView().spec(from_arrays(deep), range(3), Settings().with_overrides(["data.fit=pad"]))
    assert (spec.size, spec.pixel_type, spec.white, spec.view, spec.parts) == (128, "uint16", 4095, "tiles", True)
    assert spec.fit == "stretch"  # nothing is fitted


# -- through the product -----------------------------------------------------------------------------------------------


TILED = ("data.image_size=16", "data.view=auto", "training.steps=4", "networks.memory=64")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Normals to train on and images to score, with masks and odd files among them; not to be written to."""
    root = tmp_path_factory.mktemp("surfaces")
    write(root / "train/good", surfaces(20))
    write(root / "test/good", surfaces(3, seed=5))
    bad = surfaces(4, seed=6)  # the last has no mask
    for image in bad:
        image[60:80, 50:70] = 255
    write(root / "test/hole", bad)
    mask = np.zeros((150, 130), np.uint8)
    mask[60:80, 50:70] = 255
    write(root / "ground_truth/hole", [mask, mask[:100], mask])  # the second is of another size
    for path in sorted((root / "ground_truth/hole").iterdir()):
        path.rename(path.with_name(path.stem + "_mask.png"))
    Image.fromarray(mask).save(root / "ground_truth/hole/777_mask.png")  # of no image
    return root


@pytest.fixture(scope="module")
def model(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "model"
    outcome = good("train", folder, "--out", out, "--method", "acae", *sets(*TILED))
    assert "looked at in tiles of 16 x 16 at native resolution" in outcome.out + outcome.err
    return out


def test_training_takes_the_view_and_keeps_a_reference(model: Path) -> None:
    detector = Detector.load(model, "cpu")
    assert (detector.spec.view, detector.spec.size, detector.spec.parts) == ("tiles", 16, True)
    assert len(detector.history["reference"]["levels"]) == 5  # 150, 75, 38, 19, 10
    assert any("data.view=whole" in note for note in detector.history["notes"])
    assert detector.settings.data.view == "auto"


def test_masks_that_fit_no_image_are_said_and_nothing_is_lost(model: Path, folder: Path, tmp_path: Path) -> None:
    outcome = good("evaluate", model, folder, "--json", tmp_path / "e.json")
    said = " ".join((outcome.out + outcome.err).split())
    assert "masks: 2 of 4 abnormal images, 1 files unused; 1 cannot be used" in said
    assert "mask of shape (100, 130), expected (150, 130)" in said
    assert "1 abnormal images have no mask: they are left out of the pixel metrics (the first: test/" in said
    numbers = json.loads((tmp_path / "e.json").read_text())
    assert numbers["n_failed"] == 0
    assert (numbers["n_normal"], numbers["n_abnormal"]) == (3, 4)
    assert 0 <= numbers["pixel_auroc"] <= 1
    good("score", model, folder, "--out", tmp_path / "s")
    assert len(list((tmp_path / "s/heatmaps").rglob("*.png"))) == 7


def test_whole_images_are_asked_for(folder: Path, tmp_path: Path) -> None:
    good("train", folder, "--out", tmp_path, "--method", "acae", *sets(*TILED, "data.view=whole"))
    assert Detector.load(tmp_path, "cpu").spec.view == "whole"


def test_bursts_stay_on_one_side_of_the_split() -> None:
    """Near-duplicates are found by the images as a whole, though their squares are parts."""
    rng = np.random.default_rng(0)
    kinds = [np.kron(rng.integers(60, 200, (6, 6)), np.ones((26, 26))) for _ in range(12)]
    images = [(kind + rng.normal(0, 2, kind.shape)).clip(0, 255).astype(np.uint8) for kind in kinds for _ in range(3)]
    source = from_arrays(images)
    prepared = TilesView().training(source, range(36), tiles(16), Settings(), Path(), silent)
    found = find_duplicates(prepared, source.items, parts=True)
    groups = [item.group for item in found.items]
    assert len(set(groups)) == 12
    assert all(len({groups[3 * kind + k] for k in range(3)}) == 1 for kind in range(12))


def test_a_file_for_what_does_not_fit_is_said(tmp_path: Path) -> None:
    said: list[Update] = []
    small = Settings().with_overrides(["data.memory_mb=1"])
    source = from_arrays(surfaces(3, 700, 700))
    images = TilesView().training(source, range(3), tiles(), small, tmp_path, said.append)
    images.close()
    assert any("more than data.memory_mb=1: kept in a file in" in update.detail for update in said)


# -- odd files ---------------------------------------------------------------------------------------------------------


def scored(source: ImageSource, channels: int = 1) -> dict[str, Finding]:
    return {found.id: found for found in score_stream(LocalMean(tiles(channels=channels)), source, None)}


@pytest.mark.parametrize("channels", [1, 3])
def test_palettes_alpha_and_cmyk_are_seen_as_people_see_them(tmp_path: Path, channels: int) -> None:
    grey = Image.fromarray(surfaces(1)[0])
    colours = Image.merge("RGB", [grey, grey.transpose(Image.Transpose.FLIP_LEFT_RIGHT), grey])
    colours.quantize(64).save(tmp_path / "palette.png")
    see_through = colours.copy()
    see_through.putalpha(Image.fromarray(np.full((150, 130), 255, np.uint8)))
    see_through.save(tmp_path / "alpha.png")
    colours.save(tmp_path / "plain.png")
    colours.convert("CMYK").save(tmp_path / "ink.tif")
    grey.convert("1").save(tmp_path / "bits.png")
    (tmp_path / "bad.png").write_bytes(b"\x89PNG and no more")
    source = open_folder(tmp_path, "test")
    found = scored(source, channels)
    for index, item in enumerate(source.items):
        each = found[item.id]
        if item.id == "bad.png":
            assert "bad.png" in each.error
            continue
        assert each.error == ""
        native = source.read(index)
        np.testing.assert_array_equal(each.query, native)
        assert each.counterpart is not None
        assert (each.counterpart.shape, each.counterpart.dtype) == (native.shape, native.dtype)
        assert each.heatmap is not None
        assert each.heatmap.shape == (150, 130)
    assert found["alpha.png"].score == found["plain.png"].score


@hypothesis_settings(derandomize=True, deadline=None, max_examples=25)
@given(height=st.integers(1, 40), width=st.integers(1, 40), colour=st.booleans())
def test_images_smaller_than_a_tile_are_scored_in_their_own_size(height: int, width: int, colour: bool) -> None:
    shape = (height, width, 3) if colour else (height, width)
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    (found,) = scored(from_arrays([image])).values()
    assert found.error == ""
    assert found.heatmap is not None
    assert found.heatmap.shape == (height, width)
    assert found.counterpart is not None
    assert found.counterpart.shape == shape


def test_an_image_that_has_no_memory_is_a_row() -> None:
    images = surfaces(3)

    class Short:
        items, root, layout = from_arrays(images).items, "somewhere", "array"

        def read(self, index: int) -> Array:
            if index == 1:
                raise MemoryError
            return images[index]

        def read_mask(self, _index: int) -> None:
            return None

    found = scored(Short())
    assert [bool(each.error) for each in found.values()] == [False, True, False]
    assert "does not fit into memory" in found["image-00001"].error


def test_nothing_is_made_of_maps_that_nobody_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    source, method = from_arrays(surfaces(2)), LocalMean(tiles())
    with_pictures = [found.score for found in score_stream(method, source, None)]

    def refused(*_args: object) -> None:
        raise AssertionError

    monkeypatch.setattr("anotwin.domains.surfaces.tiles.TileResults.take", refused)
    assert [found.score for found in score_stream(method, source, None, pictures=False)] == with_pictures


def test_settings_say_what_a_scale_may_be() -> None:
    assert settings("data.scale=0.5").data.scale == 0.5
    assert "data.scale" in run("train", "nowhere", "--out", "nowhere", "--set", "data.scale=2").error


# -- which method ------------------------------------------------------------------------------------------------------


def test_tiles_are_learnt_by_the_method_of_the_view_with_what_it_needs_unless_told(tmp_path: Path) -> None:
    write(tmp_path / "parts", surfaces(12))
    few = Settings().with_overrides(["training.steps=2", "networks.base_channels=4", "data.holdout=0.25"])
    model = Detector.train(tmp_path / "parts", tmp_path / "model", settings=few, device="cpu")
    assert (model.method.name, model.spec.view, model.settings.training.batch_size) == ("pix2pix", "tiles", 16)
    told = few.with_overrides(["training.batch_size=4"])
    other = Detector.train(tmp_path / "parts", settings=told, method="srgan", device="cpu")
    assert (other.method.name, other.settings.training.batch_size) == ("srgan", 4)
    whole = few.with_overrides(["data.view=whole", "data.image_size=16"])
    assert Detector.train(tmp_path / "parts", settings=whole, device="cpu").method.name == "twin"
    kept = Detector.load(tmp_path / "model", "cpu")
    one, again = (each.score(tmp_path / "parts") for each in (model, kept))
    assert [finding.score for finding in one] == [finding.score for finding in again]
    assert all(finding.error == "" and finding.heatmap is not None for finding in one)
