"""What every method is held to that predicts a frame from those before it: nothing here names one."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from rough_methods import ROUGH, noise

from anotwin import Detector, Settings
from anotwin.data.synthetic import plant_blob, textured_discs
from anotwin.errors import SettingsError
from anotwin.methods.protocol import Folds, Method, RemembersNormals, freeze
from anotwin.methods.registry import METHODS, create
from anotwin.records import Batch, Comparison, Finding, ImageSpec
from anotwin.run.batch import score_batch
from anotwin.seeding import generator
from given_normals import Given

LOOKING_BACK = sorted(name for name, kind in METHODS.items() if hasattr(kind, "looks_back"))
SPECS = [ImageSpec(1, 16, view="frames"), ImageSpec(3, 32, view="frames")]
FRAMES, CLIPS, SIDE = 12, 40, 32
each_method = pytest.mark.parametrize("name", LOOKING_BACK)
each_spec = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.size}x{spec.channels}")


def context(spec: ImageSpec, count: int, looks_back: int, seed: int = 5) -> torch.Tensor:
    return noise(spec, count * looks_back, seed).view(count, looks_back, spec.channels, spec.size, spec.size)


@cache
def rough(name: str, spec: ImageSpec) -> Method:
    """After four steps on noise, with normals of noise."""
    method = create(name, spec, Settings().with_overrides(ROUGH))
    trainer, back = method.trainer(), METHODS[name].looks_back  # type: ignore[attr-defined]
    for step in range(4):
        batch = Batch(noise(spec, 8, seed=step), context=context(spec, 8, back, seed=step))
        losses = trainer.step(batch, step, generator(0, "rough", step), lambda loss: loss.backward())
        assert all(torch.isfinite(value) for value in losses.values())
    freeze(method.networks)
    if isinstance(method, RemembersNormals):
        method.remember_normals(Given(noise(spec, 12), context(spec, 12, back)))
    return method


def queries(name: str, spec: ImageSpec, count: int) -> Batch:
    back = METHODS[name].looks_back  # type: ignore[attr-defined]
    return Batch(noise(spec, count), tuple(range(count)), context(spec, count, back))


def parts(found: Comparison) -> dict[str, torch.Tensor]:
    return vars(found.scores) | {"difference": found.difference, "heatmap": found.heatmap}


@each_method
@each_spec
def test_counterparts_have_the_shape_and_range_of_queries(name: str, spec: ImageSpec) -> None:
    method, batch = rough(name, spec), queries(name, spec, 3)
    images = method.counterpart(batch).images
    assert images.shape == batch.images.shape
    assert images.dtype == torch.float32
    assert images.abs().max() <= 1
    assert not images.requires_grad


@each_method
def test_images_without_frames_before_them_are_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="from those before it"):
        rough(name, SPECS[0]).counterpart(Batch(noise(SPECS[0], 2), (1, 2)))


@each_method
def test_single_images_are_refused_before_anything_is_written(name: str, tmp_path: Path) -> None:
    images = textured_discs(6, size=16, seed=0)[0]
    with pytest.raises(SettingsError, match="from those before it"):
        Detector.train(images, tmp_path / "model", method=name, device="cpu")
    assert not (tmp_path / "model").exists()


@each_method
@each_spec
@pytest.mark.parametrize("form", ["itself", "folded 32", "folded bf16"])
def test_results_do_not_depend_on_the_batch(name: str, spec: ImageSpec, form: str) -> None:
    method, batch = rough(name, spec), queries(name, spec, 5)
    if form != "itself":
        assert isinstance(method, Folds)
        precise = method.settings.with_overrides([f"search.precision={form.removeprefix('folded ')}"])
        other = create(name, spec, precise)
        other.networks.load_state_dict(method.networks.state_dict())
        freeze(other.networks)
        assert isinstance(other, Folds)
        method = other.for_inference()

    def rows(chosen: list[int]) -> tuple[torch.Tensor, Comparison]:
        assert batch.context is not None
        counterpart, comparison = score_batch(method, Batch(batch.images[chosen], tuple(chosen), batch.context[chosen]))
        return counterpart.images, comparison

    alone = [rows([row]) for row in range(5)]
    for chosen in ([0, 1, 2], [0, 1, 2, 3, 4], [4, 2, 0, 1, 3], [1, 1, 4]):
        pictures, comparison = rows(chosen)
        for place, row in enumerate(chosen):
            assert torch.equal(pictures[place], alone[row][0][0])
            for part, values in parts(comparison).items():
                assert torch.equal(values[place], parts(alone[row][1])[part][0]), (chosen, row, part)


@each_method
@each_spec
def test_weights_are_bit_identical_after_scoring(name: str, spec: ImageSpec) -> None:
    method = rough(name, spec)
    before = {key: tensor.clone() for key, tensor in method.networks.state_dict().items()}
    score_batch(method, queries(name, spec, 3))
    assert all(torch.equal(tensor, before[key]) for key, tensor in method.networks.state_dict().items())
    assert not any(parameter.requires_grad for parameter in method.networks.parameters())


@each_method
@each_spec
@pytest.mark.parametrize("value", [-1.0, 0.0, 1.0, 3.0])
def test_a_flat_frame_has_a_finite_score(name: str, spec: ImageSpec, value: float) -> None:
    method, back = rough(name, spec), METHODS[name].looks_back  # type: ignore[attr-defined]
    images = torch.full((1, spec.channels, spec.size, spec.size), value)
    batch = Batch(images, (1,), images[:, None].expand(-1, back, -1, -1, -1))
    scores = vars(score_batch(method, batch)[1].scores)
    assert all(bool(term.isfinite().all()) for term in scores.values())


@each_method
@each_spec
def test_a_perfect_counterpart_is_less_abnormal(name: str, spec: ImageSpec) -> None:
    method, batch = rough(name, spec), queries(name, spec, 4)
    counterpart = method.counterpart(batch)
    perfect = type(counterpart)(batch.images, counterpart.latents, counterpart.steps, counterpart.status)
    found, best = method.compare(batch.images, counterpart), method.compare(batch.images, perfect)
    for term in ("anomaly", "residual", "mean_residual"):
        assert (getattr(best.scores, term) < getattr(found.scores, term)).all(), term


# -- one short training ---------------------------------------------------------------------------------------------


def clips(seed: int, count: int) -> np.ndarray:
    """Clips of a disc that moves by a pixel a frame over a texture: (count, FRAMES, SIDE, SIDE)."""
    discs, _ = textured_discs(count, size=SIDE // 2, seed=seed)
    random = np.random.default_rng(seed)
    ground = np.random.default_rng(0).integers(90, 110, (SIDE, SIDE))
    found = np.empty((count, FRAMES, SIDE, SIDE), np.uint8)
    for clip, disc in zip(found, discs, strict=True):
        row = int(random.integers(SIDE // 2))
        for time, frame in enumerate(clip):
            frame[:] = np.clip(ground + random.normal(0, 2, ground.shape), 0, 255)
            frame[row : row + SIDE // 2, time : time + SIDE // 2] = disc
    return found


@pytest.fixture(scope="module")
def trained() -> dict[str, Detector]:
    normals = clips(0, CLIPS).reshape(-1, SIDE, SIDE)
    groups = [f"clip {place // FRAMES}" for place in range(len(normals))]
    settings = Settings().with_overrides(
        ["data.view=frames", f"data.image_size={SIDE}", "training.steps=150", "training.batch_size=16",
         "networks.base_channels=8", "calibration.false_alarm_rate=0.15"]
    )  # fmt: skip
    return {
        name: Detector.train(normals, method=name, settings=settings, group=groups, device="cpu")
        for name in LOOKING_BACK
    }


@pytest.fixture(scope="module")
def unseen() -> np.ndarray:
    return clips(1, 10)


@pytest.fixture(scope="module")
def planted(unseen: np.ndarray) -> np.ndarray:
    """A blob in the last frame of each clip."""
    found = unseen.copy()
    found[:, -1] = plant_blob(unseen[:, -1], seed=2)[0]
    return found


def last(detector: Detector, films: np.ndarray) -> list[Finding]:
    """The findings of the last frames, each clip by itself."""
    return [detector.score(film)[-1] for film in films]


@each_method
def test_a_planted_blob_raises_the_score(
    trained: dict[str, Detector], name: str, unseen: np.ndarray, planted: np.ndarray
) -> None:
    before, after = (np.array([each.score for each in last(trained[name], films)]) for films in (unseen, planted))
    assert (after > before).mean() >= 0.9


@each_method
def test_the_heatmap_is_hottest_in_the_blob(
    trained: dict[str, Detector], name: str, unseen: np.ndarray, planted: np.ndarray
) -> None:
    blob = unseen[:, -1] != planted[:, -1]
    hotter = [
        found.heatmap[mask].mean() > found.heatmap[~mask].mean()
        for found, mask in zip(last(trained[name], planted), blob, strict=True)
    ]
    assert np.mean(hotter) >= 0.9


@each_method
def test_counterparts_of_the_planted_are_nearer_to_the_normal(
    trained: dict[str, Detector], name: str, unseen: np.ndarray, planted: np.ndarray
) -> None:
    blob = unseen[:, -1] != planted[:, -1]
    nearer = []
    for found, normal, query, mask in zip(
        last(trained[name], planted), unseen[:, -1], planted[:, -1], blob, strict=True
    ):
        picture = found.counterpart.astype(float)
        nearer.append(np.abs(picture - normal)[mask].mean() < np.abs(picture - query)[mask].mean())
    assert np.mean(nearer) >= 0.9


@each_method
def test_saved_and_loaded_it_scores_the_same(
    trained: dict[str, Detector], name: str, unseen: np.ndarray, tmp_path: Path
) -> None:
    trained[name].save(tmp_path / "model")
    loaded = Detector.load(tmp_path / "model", device="cpu")
    for ours, theirs in zip(loaded.score(unseen[0]), trained[name].score(unseen[0]), strict=True):
        assert (ours.score, ours.p_value, ours.anomalous) == (theirs.score, theirs.p_value, theirs.anomalous)
        assert np.array_equal(ours.heatmap, theirs.heatmap)


@each_method
def test_a_score_does_not_depend_on_which_frames_were_asked_for(
    trained: dict[str, Detector], name: str, unseen: np.ndarray
) -> None:
    detector, film = trained[name], unseen[0]
    together = [each.score for each in detector.score(film, pictures=False)]
    assert all(map(math.isfinite, together))
    for chosen in ([5], [0], [11, 3], [7, 8, 2, 9], list(range(12))[::-1]):
        found = [each.score for each in detector.findings(film, chosen, pictures=False)]
        assert found == [together[index] for index in chosen], chosen
    for size in (1, 3, 64):
        other = detector.with_settings(detector.settings.with_overrides([f"search.batch_size={size}"]))
        assert [each.score for each in other.score(film, pictures=False)] == together, size
