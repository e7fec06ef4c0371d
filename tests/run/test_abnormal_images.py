"""Abnormal images to learn from: which are taken, how they come to a step, and that no test image is one of them."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from anotwin import DataError, Detector, SettingsError
from anotwin.data.arrays import ArraySource, from_arrays
from anotwin.run.abnormal import Beside
from anotwin.seeding import derive, fingerprint
from anotwin.translation.kinds import translates
from given_normals import Given
from quick import good, normals, queries, run, same_weights, sets, settings, write

SMALL = ("translation.patch=16", "training.steps=4", "translation.pool=4")


def grouped(images: np.ndarray, names: list[str | None]) -> ArraySource:
    source = from_arrays(images)
    assert isinstance(source, ArraySource)
    items = tuple(replace(item, group=name) for item, name in zip(source.items, names, strict=True))
    return replace(source, items=items)


def train(data: object, abnormal: object, *overrides: str) -> Detector:
    wishes = settings(*SMALL, *overrides)
    return Detector.train(data, method="cyclegan", settings=wishes, abnormal_images=abnormal, device="cpu")


def prints(images: np.ndarray) -> list[int]:
    return [fingerprint(image) for image in images]


# -- squares by number -------------------------------------------------------------------------------------------------


def numbered(count: int, first: int) -> Given:
    return Given(torch.arange(first, first + count).float().view(-1, 1, 1, 1).expand(-1, 1, 2, 2))


def test_a_pair_is_a_function_of_seed_and_number() -> None:
    pairs = Beside(numbered(7, 0), numbered(5, 100), seed=3)
    numbers = np.array([9, 0, 65541, 9])
    batch = pairs.batch(numbers)
    assert batch.abnormal is not None
    assert batch.images[:, 0, 0, 0].tolist() == [n % 7 for n in numbers.tolist()]
    assert batch.abnormal[:, 0, 0, 0].tolist() == [100 + derive(3, n) % 5 for n in numbers.tolist()]


def test_normals_are_seen_equally_often_and_abnormal_images_nearly() -> None:
    pairs = Beside(numbered(7, 0), numbered(5, 100), seed=0)
    batch = pairs.batch(np.arange(len(pairs)))
    assert batch.abnormal is not None
    assert set(Counter(batch.images[:, 0, 0, 0].tolist()).values()) == {len(pairs) // 7}
    both = Counter(zip(batch.images[:, 0, 0, 0].tolist(), batch.abnormal[:, 0, 0, 0].tolist(), strict=True))
    assert len(both) == 35  # every normal meets every abnormal one
    np.testing.assert_allclose(list(both.values()), len(pairs) / 35, rtol=0.15)


# -- which are taken ---------------------------------------------------------------------------------------------------


def test_images_and_groups_of_the_normals_are_left_out() -> None:
    plain, damaged = normals(24), queries(6)
    data = grouped(plain, [f"part {n // 2}" for n in range(24)])
    given = np.concatenate([damaged, plain[:2]])  # two are normal training images under other names
    abnormal = grouped(given, ["part 3", "Part 30", None, None, None, "part 31", None, None])
    detector = train(data, abnormal)
    assert set(detector.fingerprints["abnormal"].tolist()) == set(prints(damaged[1:]))
    assert detector.trained_on >= set(prints(damaged[1:]))
    assert len(detector.fingerprints["abnormal_groups"]) == 2
    notes = "\n".join(detector.history["notes"])
    assert "5 abnormal images to learn from" in notes
    assert "1 abnormal images left out: of groups that the normal images have too" in notes
    assert "2 abnormal images left out: that are among the normal images" in notes


@pytest.mark.parametrize(
    "abnormal, why",
    [(normals(24)[:5], "5 are left out, that are among the normal images"), (queries(1), "only 1 abnormal images")],
)
def test_too_few_abnormal_images_are_said(abnormal: np.ndarray, why: str) -> None:
    with pytest.raises(DataError, match=why):
        train(normals(24), abnormal)


def test_a_method_has_abnormal_images_if_and_only_if_it_learns_from_them(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cyclegan learns from abnormal images .*--abnormal-images DIR"):
        Detector.train(normals(8), tmp_path / "m", method="cyclegan", settings=settings(*SMALL), device="cpu")
    with pytest.raises(SettingsError, match=r"twin learns from normal images alone.*--method cyclegan"):
        Detector.train(normals(8), method="twin", settings=settings(), abnormal_images=queries(4), device="cpu")
    assert not (tmp_path / "m").exists()


def test_which_command_makes_a_detector() -> None:
    assert not translates("cyclegan", "auto", abnormal=True)
    assert translates("cyclegan", "auto")
    assert translates("cyclegan", "unpaired", abnormal=True)  # and then --abnormal-images are refused
    assert not translates("pix2pix", "auto", abnormal=True)


# -- the whole path ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Normal images; abnormal ones of parts 000 to 005; a test set that has two of these images and another of one."""
    root = tmp_path_factory.mktemp("cyclegan")
    for number, image in enumerate(normals(30)):
        write(root / "normals", [image], f"n{number}-")
    damaged = queries(12)
    for part, image in enumerate(damaged[:6]):
        write(root / "abnormal" / "scratch", [image], f"p{part}-")
    test = root / "test"
    for number, image in enumerate(normals(8, seed=5)):
        write(test / "good", [image], f"g{number}-")
    for name, image in (("p9", damaged[0]), ("p1", damaged[6]), *((f"q{n}", damaged[n]) for n in range(7, 12))):
        write(test / "bad", [image], f"{name}-")
    return {"root": root, "normals": root / "normals", "abnormal": root / "abnormal", "test": test}


def words(folders: dict[str, Path], out: Path, *more: str) -> list[object]:
    given = ("--method", "cyclegan", "--abnormal-images", folders["abnormal"], "--group", "{}-*")
    return ["train", folders["normals"], "--out", out, *given, *sets(*SMALL, *more)]


@pytest.fixture(scope="module")
def model(folders: dict[str, Path]) -> Path:
    out = folders["root"] / "model"
    good(*words(folders, out))
    return out


def test_train_score_evaluate(folders: dict[str, Path], model: Path, tmp_path: Path) -> None:
    description = json.loads(next((model / "runs").glob("*/run.json")).read_text())
    assert description["settings"]["data"]["abnormal_images"] == str(folders["abnormal"])
    good("score", model, folders["test"], "--out", tmp_path / "scores")
    detector = Detector.load(model, device="cpu")
    findings = detector.score(folders["test"])
    assert all(np.isfinite(finding.score) for finding in findings)
    assert detector.describe()["images"].keys() == {"train", "holdout", "abnormal"}
    said = good("evaluate", model, folders["test"], "--json", tmp_path / "n.json")
    numbers = json.loads((tmp_path / "n.json").read_text())
    assert (numbers["n_normal"], numbers["n_abnormal"], numbers["n_left_out"], numbers["n_leaked"]) == (8, 5, 2, 0)
    assert "2 of 15 images left out: they, or others of their groups, were learnt from as abnormal images" in said.err


def test_a_resumed_run_takes_the_same_abnormal_images_and_no_others(folders: dict[str, Path], tmp_path: Path) -> None:
    out, moved = tmp_path / "model", tmp_path / "moved"
    good(*words(folders, out, "training.snapshot_every=2"))
    straight = shutil.copytree(out, tmp_path / "straight")
    next(out.glob("runs/*/snapshot-000004.pt")).unlink()  # as if it had been killed after step 2
    for part, image in enumerate(queries(12)[:6]):
        write(moved / "scratch", [image], f"p{part}-")
    write(tmp_path / "others", queries(12)[3:])
    resumed = ("train", folders["normals"], "--out", out, "--resume", "--abnormal-images")
    assert "other images than DATA holds" in run(*resumed, tmp_path / "others").error
    (out / "weights.safetensors").unlink()
    good(*resumed, moved)  # the same images elsewhere
    assert same_weights(out, straight)


def test_an_abnormal_folder_without_images_is_one_line(folders: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    given = ("--method", "cyclegan", "--abnormal-images", tmp_path / "empty", *sets(*SMALL))
    assert str(tmp_path / "empty") in run("train", folders["normals"], "--out", tmp_path / "m", *given).error
    inside = folders["abnormal"] / "model"
    assert "lies inside" in run(*words(folders, inside)).error


def test_nothing_is_evaluated_where_every_abnormal_group_was_learnt(folders: dict[str, Path], model: Path) -> None:
    root = folders["root"] / "learnt"
    write(root / "good", normals(4, seed=5), "g-")
    write(root / "bad", queries(12)[6:9], "p1-")
    error = run("evaluate", model, root, "--json", folders["root"] / "n.json").error
    assert "3 images are of groups that the model has learnt abnormal images of" in error
