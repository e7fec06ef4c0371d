"""Killed, interrupted, resumed: the weights of a run that nothing happened to, to the last bit."""

import json
import shutil
import signal
import time
from pathlib import Path
from subprocess import Popen

import numpy as np
import pytest
from PIL import Image

from anotwin import Detector
from anotwin.methods.registry import METHODS
from anotwin.training.run_folder import RunFolder, list_runs
from quick import SIDE, good, launch, leftovers, normals, queries, run, same_weights, sets, weights, write

STEPS = 200
LONG = sets(f"training.steps={STEPS}", "training.ema=0.9")
CLIPS = "--set", "data.view=frames", "--set", f"data.image_size={SIDE}"  # for methods that look back
SMALL_PATCH = "--set", "translation.patch=16"  # the largest that fits


@pytest.fixture(scope="module")
def abnormal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For methods that learn from abnormal images too."""
    return write(tmp_path_factory.mktemp("abnormal"), queries(12))


def long(method: str, abnormal: Path) -> list[str | Path]:
    """The words of a run of a method."""
    clips = CLIPS if hasattr(METHODS[method], "looks_back") else ()
    learnt = ("--abnormal-images", abnormal, *SMALL_PATCH) if hasattr(METHODS[method], "fewest_abnormal") else ()
    return [*LONG, "--method", method, *clips, *learnt]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, normal_folder: Path, abnormal: Path) -> dict[str, Path]:
    """Uninterrupted runs of all methods."""
    root = tmp_path_factory.mktemp("reference")
    for method in METHODS:
        good("train", normal_folder, "--out", root / method, *long(method, abnormal))
    return {method: root / method for method in METHODS}


@pytest.fixture
def finished(tmp_path: Path, model: Path) -> Path:
    """A copy of the finished small model, for resuming."""
    return shutil.copytree(model, tmp_path / "model")


def _wait_for_snapshot(process: "Popen[str]", folder: Path, step: int = 10) -> None:
    deadline = time.monotonic() + 120
    while not any(int(path.stem[-6:]) >= step for path in folder.glob("runs/*/snapshot-*.pt")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.mark.parametrize("method", METHODS)
def test_killed_and_resumed(
    method: str, tmp_path: Path, normal_folder: Path, abnormal: Path, reference: dict[str, Path]
) -> None:
    out = tmp_path / "model"
    process = launch("train", normal_folder, "--out", out, *long(method, abnormal))
    _wait_for_snapshot(process, out)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    done = RunFolder.latest(out).last_step()
    assert 10 <= done < STEPS  # else nothing was interrupted
    assert not (out / "weights.safetensors").exists()
    assert "unfinished" in run("info", out).error  # the way on is said

    good("train", normal_folder, "--out", out, "--resume")
    assert same_weights(out, reference[method])
    assert len(list_runs(out)) == 1
    mine, other = (RunFolder.latest(folder).stats() for folder in (out, reference[method]))
    timed = {"seconds", "images_per_second"}
    assert [{k: row[k] for k in row.keys() - timed} for row in mine] == [
        {k: row[k] for k in row.keys() - timed} for row in other
    ]


def test_resumed_in_bf16(tmp_path: Path, normal_folder: Path) -> None:
    few = sets("training.precision=bf16-mixed")
    for out, first in ((tmp_path / "straight", 20), (tmp_path / "resumed", 10)):
        good("train", normal_folder, "--out", out, "--method", "anogan", *few, "--steps", first)
    good("train", normal_folder, "--out", tmp_path / "resumed", "--resume", "--steps", 20)
    assert same_weights(tmp_path / "straight", tmp_path / "resumed")


def test_ctrl_c_and_resumed(tmp_path: Path, normal_folder: Path, reference: dict[str, Path]) -> None:
    out = tmp_path / "model"
    process = launch("train", normal_folder, "--out", out, *LONG)
    _wait_for_snapshot(process, out)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in err
    (line,) = [line for line in err.splitlines() if line.startswith("error:")]
    done = RunFolder.latest(out).last_step()
    assert f"step {done} of {STEPS}" in line
    assert "--resume" in line
    assert 10 <= done < STEPS
    assert leftovers(out) == []
    good("train", normal_folder, "--out", out, "--resume")
    assert same_weights(out, reference["twin"])


def test_more_steps_on_resume_is_a_longer_training(searching_model: Path, tmp_path: Path, normal_folder: Path) -> None:
    """Of a method whose steps do not depend on how many there will be: twin lowers its rate towards the end."""
    longer = shutil.copytree(searching_model, tmp_path / "longer")
    good("train", normal_folder, "--out", longer, "--resume", "--steps", 45)
    good("train", normal_folder, "--out", tmp_path / "long", "--method", "anogan", *sets("training.steps=45"))
    assert same_weights(longer, tmp_path / "long")
    assert json.loads((longer / "bundle.json").read_text())["history"]["steps"] == 45


def test_resuming_a_finished_training_changes_no_weight(finished: Path, model: Path, normal_folder: Path) -> None:
    good("train", normal_folder, "--out", finished, "--resume")
    assert same_weights(finished, model)


def test_the_images_may_have_moved(finished: Path, model: Path, tmp_path: Path) -> None:
    elsewhere = write(tmp_path / "moved", normals())
    good("train", elsewhere, "--out", finished, "--resume")
    assert same_weights(finished, model)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "training.learning_rate=0.01"], "training.learning_rate was None and is now 0.01"),
        (["--set", "networks.latent_dim=9"], "networks.latent_dim was 8 and is now 9"),
        (["--seed", "1"], "start a new run without --resume"),  # another split: other training images
        (["--image-size", "32"], "data.image_size"),
        (["--steps", "29"], "30 steps are done already"),
    ],
)
def test_other_settings_are_refused(finished: Path, normal_folder: Path, words: list[str], said: str) -> None:
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    outcome = run("train", normal_folder, "--out", finished, "--resume", *words)
    assert outcome.code == 2
    assert said in outcome.error
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("change", ["another image", "one less", "one changed pixel"])
def test_other_images_are_refused(finished: Path, tmp_path: Path, change: str) -> None:
    images = normals()
    if change == "another image":
        images[:] = normals(seed=1)
    elif change == "one less":
        images = images[:-1]
    else:
        images[:, 0, 0] ^= 1
    outcome = run("train", write(tmp_path / "other", images), "--out", finished, "--resume")
    assert outcome.code == 2
    assert "other images" in outcome.error


def test_a_held_out_image_of_another_kind_is_refused(finished: Path, tmp_path: Path) -> None:
    """The training images are the same, and yet the model would have to take colours."""
    data = write(tmp_path / "data", normals())
    detector = Detector.load(finished)
    held = set(detector.fingerprints["holdout"].tolist())
    name = next(finding.id for finding in detector.findings(data, pictures=False) if finding.fingerprint in held)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8)).save(data / name)
    outcome = run("train", data, "--out", finished, "--resume")
    assert outcome.code == 2
    assert "DATA now holds other images (channels was 1 and is 3)" in outcome.error


def test_nothing_to_resume(tmp_path: Path, normal_folder: Path) -> None:
    outcome = run("train", normal_folder, "--out", tmp_path / "new", "--resume")
    assert outcome.code == 2
    assert "no training run to resume" in outcome.error
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"settings": 5}', '{"settings": {"training": {"steps": "many"}}}'])
def test_a_damaged_description_of_the_run(finished: Path, normal_folder: Path, text: str) -> None:
    (RunFolder.latest(finished).path / "run.json").write_text(text)
    outcome = run("train", normal_folder, "--out", finished, "--resume")
    assert outcome.code == 2
    assert "run.json" in outcome.error


def test_a_corrupt_newest_snapshot_costs_its_steps_and_no_more(
    finished: Path, model: Path, normal_folder: Path
) -> None:
    newest = RunFolder.latest(finished).snapshots()[-1]
    newest.write_bytes(newest.read_bytes()[:1000])
    assert RunFolder.latest(finished).last_step() == 20
    good("train", normal_folder, "--out", finished, "--resume")
    assert same_weights(finished, model)


def test_a_second_training_is_a_second_run_and_replaces_the_model(
    finished: Path, model: Path, normal_folder: Path
) -> None:
    good("train", normal_folder, "--out", finished, *sets(), "--seed", 5)
    assert [each.path.name for each in list_runs(finished)] == ["00000-twin", "00001-twin"]
    assert not same_weights(finished, model)


def test_images_on_disk_train_the_same_model(tmp_path: Path) -> None:
    """More images than fit into 1 MiB are memory-mapped; the weights must not notice."""
    folder = write(tmp_path / "many", normals(300))  # 300 x 64 x 64 bytes
    words = ("--image-size", 64, *sets("training.steps=6", "search.steps=1"))
    seen: list[int] = []
    for memory in (1024, 1):
        out = tmp_path / str(memory)
        good("train", folder, "--out", out, *words, "--set", f"data.memory_mb={memory}")
        seen.append(len(weights(out)))
        assert leftovers(out) == []
    assert same_weights(tmp_path / "1024", tmp_path / "1")


def test_a_training_that_diverges_before_any_snapshot_leaves_no_model(tmp_path: Path, normal_folder: Path) -> None:
    out = tmp_path / "model"
    outcome = run("train", normal_folder, "--out", out, *sets("training.learning_rate=1e12"))
    assert outcome.code == 3
    assert "training diverged at step" in outcome.error
    assert "learning_rate" in outcome.error
    assert leftovers(out) == []
    assert [path.name for path in out.iterdir()] == ["runs"]
    assert RunFolder.latest(out).snapshots() == []


def test_divergence_keeps_the_last_good_snapshot_as_the_model(
    tmp_path: Path, normal_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from anotwin.methods.anogan import AnoGANTrainer

    words = "--method", "anogan"  # whose step 20 does not depend on how many there will be
    good("train", normal_folder, "--out", tmp_path / "short", *words, *sets("training.steps=20"))
    honest = AnoGANTrainer.step

    def broken(self, images, step, rng, backward):  # type: ignore[no-untyped-def]
        losses = honest(self, images, step, rng, backward)
        return {name: loss * float("nan") if step >= 24 else loss for name, loss in losses.items()}

    monkeypatch.setattr(AnoGANTrainer, "step", broken)
    outcome = run("train", normal_folder, "--out", tmp_path / "broken", *words, *sets())
    assert outcome.code == 3
    assert "snapshot of step 20 is kept as the model" in outcome.error
    assert same_weights(tmp_path / "broken", tmp_path / "short")
    assert json.loads((tmp_path / "broken" / "bundle.json").read_text())["calibration"] is None
