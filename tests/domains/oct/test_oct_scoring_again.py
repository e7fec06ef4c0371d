"""A stopped `score` of volumes called again after slices have changed: lines depend on the slices beside a scan."""

import shutil

import numpy as np
import pytest
from PIL import Image

from anotwin import Detector
from anotwin.domains.oct.synthetic.retina import retina_scan, retina_volume
from quick import good, run, sets, stopped_after

SHAPE = (400, 96)
SMALL = sets("training.steps=4", "data.layout=oct", "data.image_size=16", "networks.memory=64")


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("oct-again")
    for seed in range(12):
        save(folder / f"data/eye{seed}x.png", retina_scan(seed, *SHAPE).pixels)
    good("train", folder / "data", "--out", folder / "m", *SMALL)
    return folder / "m"


@pytest.fixture
def data(tmp_path):
    """Two volumes of three slices."""
    for name, seed in (("a", 30), ("b", 31)):
        for number, scan in enumerate(retina_volume(seed, 3, *SHAPE)):
            save(tmp_path / f"data/{name}/slice{number}.png", scan.pixels)
    return tmp_path / "data"


def stop(model, data, out, monkeypatch, count):
    with monkeypatch.context() as patch:
        patch.setattr(Detector, "findings", stopped_after(count))
        assert run("score", model, data, "--layout", "oct", "--out", out).code == 130


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def brighter(path):
    """Another picture of the same slice."""
    pixels = np.asarray(Image.open(path)).astype(np.int32)
    Image.fromarray(
        np.clip(pixels + np.random.default_rng(0).integers(0, 60, pixels.shape), 0, 255).astype(np.uint8)
    ).save(path)


@pytest.mark.parametrize("change", ["a slice changes", "a slice goes", "a slice comes", "spacing is told", "nothing"])
def test_rows_of_a_volume_are_kept_only_with_all_its_slices_as_they_were(model, data, tmp_path, monkeypatch, change):
    stop(model, data, tmp_path / "again", monkeypatch, 5)  # all of volume a, two of b
    if change == "a slice changes":
        brighter(data / "a/slice1.png")
    elif change == "a slice goes":
        (data / "a/slice2.png").unlink()
    elif change == "a slice comes":
        shutil.copy(data / "a/slice2.png", data / "a/slice3.png")
    elif change == "spacing is told":
        rows = [f"a/slice{k}.png,{k},a,3.8,11.4" for k in range(3)] + [
            f"b/slice{k}.png,{k},b,3.8,11.4" for k in range(3)
        ]
        (data / "manifest.csv").write_text("\n".join(["file,slice,volume,axial_um,lateral_um", *rows]))
    good("score", model, data, "--layout", "oct", "--out", tmp_path / "again")
    good("score", model, data, "--layout", "oct", "--out", tmp_path / "once")
    assert contents(tmp_path / "again") == contents(tmp_path / "once")


def test_a_calibration_is_not_written_beside_other_weights(model, tmp_path):
    """Another training has ended in the folder meanwhile."""
    folder = tmp_path / "m"
    shutil.copytree(model, folder)
    detector = Detector.load(folder)
    shutil.rmtree(folder)
    good("train", model.parent / "data", "--out", folder, *SMALL, "--seed", "5")
    before = (folder / "bundle.json").read_bytes()
    with pytest.raises(Exception, match="weights"):
        detector.save_calibration(folder)
    assert (folder / "bundle.json").read_bytes() == before
