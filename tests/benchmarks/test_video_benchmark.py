"""benchmarks/video: baselines against other libraries, truth of walkways against their masks, and a run of seconds."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from anotwin.domains.protocol import ClipFound
from anotwin.domains.video.container import VideoFile
from anotwin.evaluate.tracks import PredictedRegion, TruthRegion
from anotwin.methods import registry
from anotwin.methods.registry import METHODS, create
from anotwin.records import Batch, ImageSpec
from anotwin.settings import Settings
from benchmarks.video import __main__ as video
from benchmarks.video import clips, measures, speed, study
from benchmarks.video.baselines import Difference, DifferenceHighest, DifferenceMean
from benchmarks.video.moving_patches import Components, MovingPatches, Nearest
from benchmarks.video.published import Published, PublishedTrainer, rescaled

SPEC = ImageSpec(1, 64, view="frames")
SMALL = Settings().with_overrides(["networks.base_channels=4"])


class Footage:
    """A `TrainingSet`: a bright square that walks over a noisy ground."""

    def __init__(self, count: int = 40) -> None:
        rng = torch.Generator().manual_seed(0)
        ground = torch.rand(1, 1, 64, 64, generator=rng) - 0.5
        self.frames = ground + 0.05 * torch.randn(count + 7, 1, 64, 64, generator=rng)
        for number, frame in enumerate(self.frames):
            frame[:, 20:32, number % 48 : number % 48 + 8] += 0.8

    def __len__(self) -> int:
        return len(self.frames) - 7

    def batch(self, numbers: Any) -> Batch:
        before = torch.stack([self.frames[number : number + 7] for number in numbers])
        return Batch(self.frames[np.asarray(numbers) + 7], context=before)


# -- baselines ---------------------------------------------------------------------------------------------------------


def test_nearest_and_components_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(512, 512)) * np.linspace(0, 3, 512)
    known, queries = (rng.normal(size=(count, 512)) @ mixing / 30 for count in (700, 9))
    nearest, components = Nearest(SPEC), Components(SPEC)
    assert nearest.width == 128
    known, queries = known[:, :128], queries[:, :128]
    for each in (nearest, components):
        each.learn(torch.from_numpy(known).float())
    expected = NearestNeighbors(n_neighbors=5).fit(known).kneighbors(queries)[0].mean(1)
    found = nearest.distances(torch.from_numpy(queries).float()).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    pca = PCA(64, svd_solver="full").fit(known)
    left = np.linalg.norm(queries - pca.inverse_transform(pca.transform(queries)), axis=1)
    np.testing.assert_allclose(components.distances(torch.from_numpy(queries).float()).numpy(), left, rtol=1e-3)


def test_difference_is_the_mean_over_a_body() -> None:
    rng = torch.Generator().manual_seed(1)
    frame, before = torch.rand(3, 64, 64, generator=rng), torch.rand(7, 3, 64, 64, generator=rng)
    heat = Difference(ImageSpec(3, 64))(frame, before)
    apart = ((frame - before[-1]).abs() / 2).mean(0)
    assert float(heat[30, 17]) == pytest.approx(float(apart[28:33, 15:20].mean()), rel=1e-5)
    assert float(heat[0, 63]) == pytest.approx(float(apart[:3, 61:].mean()), rel=1e-5)  # nothing is added at the rim
    batch = Batch(frame[None], context=before[None])
    for kind, value in ((DifferenceMean, heat.mean()), (DifferenceHighest, heat.max())):
        method = kind(ImageSpec(3, 64), SMALL)
        compared = method.compare(batch.images, method.counterpart(batch))
        assert float(compared.scores.score) == pytest.approx(math.log(float(value)), rel=1e-5)
        torch.testing.assert_close(compared.heatmap[0], heat)


@pytest.mark.parametrize("kind", [Nearest, Components])
def test_patches_are_hot_where_something_new_moves(kind: type[MovingPatches]) -> None:
    footage, evidence = Footage(300), kind(SPEC)
    evidence.remember(footage)
    batch = footage.batch(np.array([20]))
    assert batch.context is not None
    frame, before = batch.images[0], batch.context[0]
    usual = float(evidence(frame, before).max())
    brighter = evidence(frame + 0.3, before + 0.3)  # a cloud goes: nothing moves
    assert float(brighter.max()) == pytest.approx(usual, rel=1e-3)
    odd = frame.clone()
    odd[:, 44:58, 40:60:2] -= 1.5
    heat = evidence(odd, before)
    assert float(heat.max()) > 2 * usual
    row, column = divmod(int(heat.argmax()), 64)
    assert row >= 36
    assert column >= 30
    assert float(heat.min()) == 0  # not everything moves


def test_the_published_score_and_losses_are_the_papers() -> None:
    footage, method = Footage(), Published(SPEC, SMALL)
    batch = footage.batch(np.arange(4))
    found = method.counterpart(batch)
    scores = method.compare(batch.images, found).scores.score
    for image, counterpart, score in zip(batch.images, found.images, scores, strict=True):
        expected = peak_signal_noise_ratio(image.double().numpy(), counterpart.double().numpy(), data_range=2)
        assert float(score) == pytest.approx(-expected, rel=1e-5)

    trainer = PublishedTrainer(method)
    x = batch.images.double().numpy()
    with torch.no_grad():
        c = method.networks["generator"](batch.context).double().numpy()  # in training mode, as the step is
    losses = trainer.step(batch, 0, torch.Generator(), torch.Tensor.backward)
    assert float(losses["loss_int"]) == pytest.approx(np.square(c - x).mean(), rel=1e-4)
    rows, columns = (np.abs(np.abs(np.diff(c, axis=a)) - np.abs(np.diff(x, axis=a))).mean() for a in (2, 3))
    assert float(losses["loss_gd"]) == pytest.approx(rows + columns, rel=1e-4)
    first = float(losses["loss_int"])
    for step in range(1, 25):
        losses = trainer.step(batch, step, torch.Generator(), torch.Tensor.backward)
    assert float(losses["loss_int"]) < 0.8 * first


def test_scores_are_rescaled_by_each_clip_and_missing_ones_stay_missing() -> None:
    scores = np.array([3.0, 1.0, np.nan, 10.0, 14.0, 11.0])
    found = rescaled(scores, ["a", "a", "a", "b", "b", "b"])
    np.testing.assert_allclose(found, [1, 0, np.nan, 0, 1, 0.25])
    assert scores[0] == 3


def test_rows_are_methods_only_while_they_are_needed() -> None:
    before, own = dict(METHODS), dict(registry.OWN)
    with study.registered():
        assert set(study.ROWS) <= METHODS.keys()
        method = create("patches_knn", SPEC, SMALL)
        method.remember_normals(Footage())  # type: ignore[attr-defined]
        again = create("patches_knn", SPEC, SMALL)
        again.networks.load_state_dict(method.networks.state_dict())
        batch = Footage().batch(np.arange(3))
        compared = [each.compare(batch.images, each.counterpart(batch)).heatmap for each in (method, again)]
        assert torch.equal(*compared)
    assert before == METHODS
    assert own == registry.OWN


# -- truth and rows ----------------------------------------------------------------------------------------------------


def test_the_truth_of_a_walkway_is_what_its_masks_show(tmp_path: Path) -> None:
    walkway = clips.small_walkway()
    source, truth = walkway.test(tmp_path), clips.Intruders.of(walkway.folder(tmp_path))
    assert truth.kinds == {"Test001": "bag", "Test002": "bag"}
    boxes = {(each.clip, each.frame): each.box for each in truth.regions}
    for clip in source.clips:
        (event,) = [each for each in truth.events if each.clip == clip.name]
        masks = [source.read_mask(clip.first + n) for n in range(clip.count)]
        seen = [n for n, mask in enumerate(masks) if mask is not None and mask.any()]
        assert (event.first, event.last) == (seen[0], seen[-1])
        for n in seen:
            rows, columns = np.nonzero(masks[n])
            assert boxes[clip.name, n] == (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
    assert len(boxes) == sum(item.normal is False for item in source.items)


def test_coverage_counts_frames_of_events_in_which_a_region_overlaps() -> None:
    truth = [TruthRegion("a", n, (0, 0, 10, 10), 1) for n in range(8)] + [TruthRegion("b", 3, (5, 5, 9, 9), 1)]
    truth.append(TruthRegion("a", 0, (30, 30, 40, 40), 1))  # another part of the same intruder: no other frame
    marked = [PredictedRegion("a", n, (8, 8, 20, 20), 1.0) for n in range(2, 8)]
    events = [ClipFound("a", 0, 8, 10.0, ((3, 6),), ()), ClipFound("b", 8, 8, 10.0, (), ())]
    kept = measures._in_events(marked, events)
    assert [each.frame for each in kept] == [3, 4, 5, 6]
    rows = {row.metric: row.value for row in measures.coverage_rows(measures.cell("c", "m"), kept, truth, None)}
    assert rows == {"coverage": pytest.approx(4 / 9), "coverage_least": 0}


def test_a_video_is_written_and_read_back(tmp_path: Path) -> None:
    walkway = clips.small_walkway()
    frames = [shot.frame for shot in walkway.footage(5)]
    speed.write_mp4(tmp_path / "a.mp4", frames, walkway.size)
    file = VideoFile(tmp_path / "a.mp4")
    assert (file.count, file.size, file.rate) == (5, walkway.size, 10.0)
    for number, frame in enumerate(frames):
        assert np.abs(file.read(number).mean(-1) - frame).mean() < 5  # lossy


# -- runs --------------------------------------------------------------------------------------------------------------


def test_a_quick_run_and_its_models_used_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def rows_of(name: str, *options: str) -> list[dict[str, Any]]:
        given = ["--quick", "--device", "cpu", "--models", str(tmp_path / "models"), "--steps", "2", *options]
        assert video.main([*given, "--json", str(tmp_path / name)]) == 0
        rows: list[dict[str, Any]] = json.loads((tmp_path / name).read_text())
        return rows

    methods = ["--methods", "frames", "patches_pca", "predicted2018"]
    rows = rows_of("0.json", *methods, "--part", "ped2")
    aurocs = {row["method"]: row["value"] for row in rows if row["metric"] == "frame_auroc"}
    assert set(aurocs) == {
        *methods[1:],
        *(f"frames, {each} alone" for each in ("prediction error", "other evidence")),
        "predicted2018, rescaled by each test clip",
    }
    assert all(0 <= value <= 1 for value in aurocs.values())
    metrics = {row["metric"] for row in rows if row["method"] == "frames"}
    assert {"pixel_level_auroc", "rbdc", "tbdc", "event_recall", "false_alarms", "coverage", "scoring_rate"} <= metrics
    assert not any(row["goal"] for row in rows)
    assert "is used again" not in capsys.readouterr().err

    again = rows_of("1.json", "--methods", "predicted2018", "--part", "ped2")
    assert capsys.readouterr().err.count("is used again") == 1
    for one, other in zip([row for row in rows if row["method"].startswith("predicted2018")], again, strict=True):
        assert one == other or one["metric"] == "scoring_rate"

    rows = rows_of("2.json", "--part", "walkway", "speed")
    assert {row["case"] for row in rows} == {"walkway-small", "walkway-small: bag", "video of 96 x 64"}
    value = {row["metric"]: row["value"] for row in rows}
    assert value["normal_footage"] == pytest.approx(video.QUICK_HOURS)
    assert value["latency_95_percent"] >= value["latency_median"] > 0
    assert value["rate_of_reading_alone"] > value["rate_with_annotated_video"] > 0
    assert value["peak_memory_of_60_frames"] >= value["peak_memory_after_frame_60"] > 50
    assert value["peak_memory_of_30_frames"] >= value["peak_memory_after_frame_30"] > 50
    assert set(value) >= {"false_alarms_per_hour", "frame_at_the_limit", "memory_growth"}


def test_what_is_not_there_is_skipped_and_what_cannot_be_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANOTWIN_DATA", str(tmp_path))
    assert video.main(["--part", "ped2"]) == 0
    assert "part ped2 is skipped: there is no UCSDped2" in capsys.readouterr().out
    assert video.main(["--part", "ped2", "--data", str(tmp_path)]) == 2
    assert "expected a UCSD set" in capsys.readouterr().err
    assert video.main(["--model", str(tmp_path)]) == 2
    assert "--model is of one place" in capsys.readouterr().err
