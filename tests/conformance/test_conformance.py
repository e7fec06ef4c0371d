"""What every method is held to. A new method is measured by its entry in the registry: nothing here names one."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from rough_methods import PARTS, SPECS, noise, rough, training_batch

from anotwin import Detector, Settings
from anotwin.errors import DataError, SettingsError
from anotwin.methods.protocol import Folds, Method, RemembersNormals, Samples, Searches
from anotwin.methods.registry import create
from anotwin.records import Batch, Comparison, Finding, ImageSpec, Status
from anotwin.run.batch import score_batch, trace_batch
from anotwin.seeding import generator
from given_normals import Given

NUMBERS = ("score", "anomaly", "residual", "discrimination", "discriminator", "mean_residual")
each_spec = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.size}x{spec.channels}")


def numbers(finding: Finding) -> tuple[float, ...]:
    return tuple(getattr(finding, name) for name in NUMBERS)


def weights(method: Method) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in method.networks.state_dict().items()}


def parts(found: Comparison) -> dict[str, torch.Tensor]:
    """Everything in a comparison, (B, ...) each."""
    return vars(found.scores) | {"difference": found.difference, "heatmap": found.heatmap}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def folded(name: str, spec: ImageSpec, precision: str, norm: str = "batch") -> Method:
    """The form in which streams are scored; skips a method that has no form but itself."""
    method = rough(name, spec, f"networks.discriminator_norm={norm}", f"search.precision={precision}")
    if not isinstance(method, Folds):
        pytest.skip(f"{name} does not fold")
    return method.for_inference()


# -- counterparts ---------------------------------------------------------------------------------------------------


@each_spec
def test_counterparts_have_the_shape_and_range_of_queries(name: str, spec: ImageSpec) -> None:
    method, queries = rough(name, spec), noise(spec, 3)
    counterpart = method.counterpart(Batch(queries, (1, 2, 3)))
    assert counterpart.images.shape == queries.shape
    assert counterpart.images.dtype == torch.float32
    assert counterpart.images.abs().max() <= 1
    assert not counterpart.images.requires_grad
    assert len(counterpart.status) == len(counterpart.steps) == 3


@each_spec
def test_a_critique_is_a_logit_and_features_for_each_image(name: str, spec: ImageSpec) -> None:
    method, images = rough(name, spec), noise(spec, 3)
    logits, features = method.critique(images)
    assert logits.shape == (3,)
    assert features.ndim == 2
    assert len(features) == 3
    assert logits.isfinite().all()
    assert features.isfinite().all()
    assert not logits.requires_grad
    assert not features.requires_grad
    assert len(features.unique(dim=0)) == 3
    assert all(
        torch.equal(again, first) for again, first in zip(method.critique(images), (logits, features), strict=True)
    )


def test_different_queries_get_different_counterparts(detector: Detector, unseen: np.ndarray) -> None:
    findings = detector.score(unseen[:8])
    pictures = np.stack([finding.counterpart for finding in findings]).astype(float)
    gaps = np.abs(pictures[:, None] - pictures[None]).mean((2, 3))[~np.eye(8, dtype=bool)]
    assert gaps.min() > 2  # grey values of 255: not one image with noise on it


def test_counterparts_resemble_their_own_query(detector: Detector, unseen: np.ndarray) -> None:
    findings = detector.score(unseen[:16])
    pictures = np.stack([finding.counterpart for finding in findings]).astype(float)
    own = np.abs(pictures - unseen[:16]).mean((1, 2))
    others = np.abs(pictures[:, None] - unseen[None, :16]).mean((2, 3))
    assert (own <= np.median(others, axis=1)).mean() >= 0.9


def test_counterparts_of_the_planted_are_nearer_to_the_normal(
    detector: Detector, unseen: np.ndarray, planted: np.ndarray
) -> None:
    """The counterpart is what the query ought to have been: in the blob it is nearer to the image without it."""
    blob = unseen != planted
    pictures = np.stack([finding.counterpart for finding in detector.score(planted)]).astype(float)
    to_normal = [np.abs(p - u)[b].mean() for p, u, b in zip(pictures, unseen, blob, strict=True)]
    to_query = [np.abs(p - q)[b].mean() for p, q, b in zip(pictures, planted, blob, strict=True)]
    assert np.mean(np.less(to_normal, to_query)) >= 0.9


# -- a score depends on (bundle, image, seed) alone -----------------------------------------------------------------


@pytest.mark.parametrize("spec", [*SPECS, PARTS], ids=lambda s: f"{s.size}x{s.channels}{'-parts' * s.parts}")
@pytest.mark.parametrize("norm", ["none", "batch", "spectral"])
@pytest.mark.parametrize("form", ["itself", "folded 32", "folded bf16"])
def test_results_do_not_depend_on_the_batch(name: str, spec: ImageSpec, norm: str, form: str) -> None:
    method, images = rough(name, spec, f"networks.discriminator_norm={norm}"), noise(spec, 7)
    if form != "itself":
        method = folded(name, spec, form.removeprefix("folded "), norm)

    def rows(chosen: list[int]) -> tuple[torch.Tensor, Comparison]:
        batch = Batch(images[chosen], tuple(chosen))
        counterpart, comparison = score_batch(method, batch)
        return counterpart.images, comparison

    alone = [rows([row]) for row in range(7)]
    for chosen in ([0, 1, 2], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5, 6], [6, 2, 4, 0, 1, 5, 3], [5, 3], [1, 1, 4]):
        pictures, comparison = rows(chosen)
        assert len(pictures) == len(chosen)
        for place, row in enumerate(chosen):
            assert torch.equal(pictures[place], alone[row][0][0])
            for part, values in parts(comparison).items():
                assert torch.equal(values[place], parts(alone[row][1])[part][0]), (chosen, row, part)


@each_spec
def test_findings_do_not_depend_on_other_images_order_or_batch_size(name: str, spec: ImageSpec) -> None:
    shape = (7, spec.size, spec.size, 3)[: 3 if spec.channels == 1 else 4]
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    detector = Detector(rough(name, spec))
    together = [numbers(finding) for finding in detector.score(images, pictures=False)]
    assert all(map(math.isfinite, np.ravel(together)))
    assert [numbers(detector.score(images[row : row + 1], pictures=False)[0]) for row in range(7)] == together
    order = [6, 2, 4, 0, 1, 5, 3]
    assert [numbers(f) for f in detector.score(images[order], pictures=False)] == [together[row] for row in order]
    for size in (1, 3, 5):
        other = detector.with_settings(detector.method.settings.with_overrides([f"search.batch_size={size}"]))
        assert [numbers(finding) for finding in other.score(images, pictures=False)] == together, size


@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_a_folded_method_scores_the_same_to_rounding(name: str, precision: str) -> None:
    """Never better than the type it computes in, but near; and the method itself stays as it is."""
    spec = SPECS[0]
    method, fast, images = rough(name, spec), folded(name, spec, precision), noise(spec, 8)
    before = weights(method)
    batch = Batch(images, tuple(range(8)))
    (theirs, their_scores), (ours, our_scores) = score_batch(method, batch), score_batch(fast, batch)
    assert same(before, weights(method))
    near = 1e-4 if precision == "32" else 0.03
    assert (ours.images - theirs.images).abs().mean() <= near * theirs.images.abs().mean()
    for number in ("score", "residual", "discrimination"):
        one, other = getattr(our_scores.scores, number), getattr(their_scores.scores, number)
        assert (one - other).abs().max() <= near * other.abs().max(), number
    assert ours.images.dtype == our_scores.scores.score.dtype == torch.float32
    assert not any(parameter.requires_grad for parameter in fast.networks.parameters())


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_a_folded_method_scores_the_same_with_any_threads(name: str, precision: str, threads: int) -> None:
    spec = SPECS[0]
    fast, images = folded(name, spec, precision), noise(spec, 64)
    first = score_batch(fast, Batch(images, tuple(range(64))))[1].scores.score  # one thread, as in all tests
    torch.set_num_threads(threads)
    try:
        for count in (1, 3, 17, 64):
            again = score_batch(fast, Batch(images[:count], tuple(range(count))))[1].scores.score
            assert torch.equal(again, first[:count]), count
    finally:
        torch.set_num_threads(1)


def test_trained_findings_do_not_depend_on_other_images(detector: Detector, unseen: np.ndarray) -> None:
    together = detector.score(unseen[:5])
    for row in (0, 3, 4):
        (alone,) = detector.score(unseen[row : row + 1])
        assert numbers(alone) == numbers(together[row])
        assert (alone.p_value, alone.anomalous, alone.status) == (
            together[row].p_value, together[row].anomalous, together[row].status,
        )  # fmt: skip
        for picture in ("query", "counterpart", "difference", "heatmap"):
            assert np.array_equal(getattr(alone, picture), getattr(together[row], picture))


def test_scoring_uses_and_leaves_the_global_generator_alone(detector: Detector, unseen: np.ndarray) -> None:
    torch.manual_seed(1)
    expected = torch.rand(4)
    torch.manual_seed(1)
    first = [numbers(finding) for finding in detector.score(unseen[:3], pictures=False)]
    assert torch.equal(torch.rand(4), expected)
    assert [numbers(finding) for finding in detector.score(unseen[:3], pictures=False)] == first


def test_weights_are_bit_identical_after_scoring(detector: Detector, unseen: np.ndarray) -> None:
    before = weights(detector.method)
    detector.score(unseen[:5])
    assert same(before, weights(detector.method))
    assert not any(parameter.requires_grad for parameter in detector.method.networks.parameters())
    assert not any(module.training for module in detector.method.networks.modules())


@pytest.mark.parametrize("norm", ["none", "batch", "spectral"])
def test_weights_are_bit_identical_for_every_norm(name: str, norm: str) -> None:
    method = rough(name, SPECS[0], f"networks.discriminator_norm={norm}")
    before = weights(method)
    score_batch(method, Batch(noise(SPECS[0], 3), (1, 2, 3)))
    assert same(before, weights(method))


def test_saved_and_loaded_it_scores_the_same(detector: Detector, unseen: np.ndarray, tmp_path: Path) -> None:
    detector.save(tmp_path / "model")
    loaded = Detector.load(tmp_path / "model", device="cpu")
    assert same(weights(loaded.method), weights(detector.method))
    assert loaded.method.settings == detector.method.settings
    assert loaded.method.spec == detector.method.spec
    for ours, theirs in zip(loaded.score(unseen[:5]), detector.score(unseen[:5]), strict=True):
        assert numbers(ours) == numbers(theirs)
        assert (ours.p_value, ours.anomalous, ours.flagged_by) == (theirs.p_value, theirs.anomalous, theirs.flagged_by)
        assert np.array_equal(ours.heatmap, theirs.heatmap)


# -- higher is more abnormal ----------------------------------------------------------------------------------------


def test_a_planted_blob_raises_the_score(detector: Detector, unseen: np.ndarray, planted: np.ndarray) -> None:
    before = [finding.score for finding in detector.score(unseen, pictures=False)]
    after = [finding.score for finding in detector.score(planted, pictures=False)]
    assert np.mean(np.less(before, after)) >= 0.9


def test_the_heatmap_is_hottest_in_the_blob(detector: Detector, unseen: np.ndarray, planted: np.ndarray) -> None:
    findings = detector.score(planted)
    blob = unseen != planted
    inside = [finding.heatmap[mask].mean() for finding, mask in zip(findings, blob, strict=True)]
    outside = [finding.heatmap[~mask].mean() for finding, mask in zip(findings, blob, strict=True)]
    assert np.mean(np.greater(inside, outside)) >= 0.95


def test_the_comparison_is_of_the_query_and_its_counterpart(detector: Detector, unseen: np.ndarray) -> None:
    method, images = detector.method, torch.from_numpy(unseen[:4]).float()[:, None] / 127.5 - 1
    counterpart, comparison = score_batch(method, Batch(images, (1, 2, 3, 4)))
    assert torch.equal(comparison.difference, images - counterpart.images)
    assert torch.allclose(comparison.scores.mean_residual, (images - counterpart.images).abs().mean((1, 2, 3)) / 2)
    assert torch.allclose(comparison.scores.discriminator, -method.critique(images).logits)
    assert torch.equal(comparison.scores.score, comparison.scores.anomaly)  # unless compare.score says otherwise


def test_a_perfect_counterpart_is_nothing_abnormal(detector: Detector, unseen: np.ndarray) -> None:
    """Whatever a method scores by, an image that is its own counterpart scores lowest of all."""
    method, images = detector.method, torch.from_numpy(unseen[:4]).float()[:, None] / 127.5 - 1
    counterpart = method.counterpart(Batch(images, (1, 2, 3, 4)))
    perfect = method.compare(images, dataclasses.replace(counterpart, images=images))
    found = method.compare(images, counterpart)
    for name in ("anomaly", "residual", "mean_residual"):
        assert (getattr(perfect.scores, name) < getattr(found.scores, name)).all(), name
    assert (
        perfect.scores.discrimination <= found.scores.discrimination
    ).all()  # equal where it is computed from the query alone
    assert perfect.scores.residual.tolist() == perfect.heatmap.amax((1, 2)).tolist() == [0.0] * 4


# -- training -------------------------------------------------------------------------------------------------------


def test_a_few_steps_make_counterparts_of_the_training_images_better(name: str, unseen: np.ndarray) -> None:
    spec = ImageSpec(1, 16)
    images = torch.from_numpy(unseen[:32]).float()[:, None] / 127.5 - 1
    steps = 500 if name == "pix2pix" else 250  # it begins as a copy, and has to find its way back to one
    settings = Settings().with_overrides(
        [
            "networks.base_channels=8",
            "networks.latent_dim=16",
            f"training.steps={steps}",
            "training.learning_rate=0.001",
            "search.steps=20",
            "translation.patch=16",
        ]
    )
    torch.manual_seed(0)
    method = create(name, spec, settings)
    batch = Batch(images[:16], tuple(range(16)))
    before = score_batch(method, batch)[1].scores.residual
    trainer = method.trainer()
    for step in range(steps):
        logged = trainer.step(
            training_batch(images), step, generator(0, "few steps", step), lambda loss: loss.backward()
        )
        assert any(key.startswith("loss_") for key in logged)
        assert all(value.ndim == 0 and value.isfinite() and not value.requires_grad for value in logged.values())
    trained = create(name, spec, settings)
    trained.networks.load_state_dict(method.networks.state_dict())
    after = score_batch(trained, batch)[1].scores.residual
    assert float(after.mean()) < 0.8 * float(before.mean())


def test_a_step_is_a_function_of_its_arguments(name: str) -> None:
    """Same weights, images, step and noise: the same step, bit by bit; that is what an exact resume stands on."""
    ends = []
    for _ in range(2):
        torch.manual_seed(0)
        method = create(name, SPECS[0], Settings().with_overrides(["networks.base_channels=4", "translation.patch=16"]))
        trainer = method.trainer()
        for step in range(2):
            torch.manual_seed(len(ends))  # the global generator must not matter
            trainer.step(training_batch(noise(SPECS[0], 8)), step, generator(0, step), lambda loss: loss.backward())
        ends.append(weights(method))
    assert same(*ends)


def test_a_preview_is_images_and_changes_nothing(name: str) -> None:
    torch.manual_seed(0)
    trainer = create(
        name, SPECS[1], Settings().with_overrides(["networks.base_channels=4", "translation.patch=16"])
    ).trainer()
    before = {key: value.clone() for key, value in trainer.networks.state_dict().items()}
    shown = trainer.preview(training_batch(noise(SPECS[1], 5)))
    assert shown.shape == (5, 3, 16, 16)
    assert shown.abs().max() <= 1
    assert same(before, trainer.networks.state_dict())


# -- capabilities ---------------------------------------------------------------------------------------------------


def test_samples_are_images_of_the_seed_or_a_settings_error(detector: Detector) -> None:
    method = detector.method
    if not isinstance(method, Samples):
        with pytest.raises(SettingsError, match=f"method {method.name} cannot sample"):
            detector.sample(5, seed=1)
        return
    samples = detector.sample(5, seed=1)
    assert samples.shape == (5, 1, 16, 16)
    assert samples.abs().max() <= 1
    assert len(samples.unique(dim=0)) == 5
    assert torch.equal(samples, detector.sample(5, seed=1))
    assert not torch.equal(samples, detector.sample(5, seed=2))
    assert torch.allclose(detector.sample(3, seed=1), samples[:3], atol=1e-5)  # the first do not depend on the count


def test_a_search_shows_the_counterpart_getting_nearer(name: str) -> None:
    method, batch = rough(name, SPECS[0], "search.warm=true"), Batch(noise(SPECS[0], 3), (1, 2, 3))
    if not isinstance(method, Searches):
        pytest.skip(f"{name} does not search")
    assert method.searching
    steps = method.settings.search.steps
    found = method.search(batch, (0, 3, steps, steps + 1))
    assert found.trace is not None
    assert found.trace.steps == (0, 3, steps)
    assert found.trace.images.shape == (3, *batch.images.shape)
    assert torch.equal(found.trace.images[-1], found.images)
    assert torch.equal(found.images, method.counterpart(batch).images)
    assert (found.trace.losses[-1] < found.trace.losses[0]).all()
    again = trace_batch(method, batch, (0, 3, steps))
    assert again is not None
    assert torch.equal(again.losses, found.trace.losses)


def test_normals_are_remembered_as_given_and_no_more_than_there_is_room_for(name: str) -> None:
    method, images = rough(name, SPECS[0], "networks.memory=8"), noise(SPECS[0], 12)
    if not isinstance(method, RemembersNormals):
        pytest.skip(f"{name} remembers no normals")
    ends = []
    for given in (images, images[:8], images[4:]):
        method.remember_normals(Given(given))
        ends.append(weights(method))
    assert same(ends[0], ends[1])
    assert not same(ends[0], ends[2])


# -- difficult input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((16, 16), np.uint8),
        np.full((16, 16), 255, np.uint8),
        np.full((16, 16), 128, np.uint8),
        np.zeros((1, 1), np.uint8),
        np.full((2, 1), 7, np.uint8),
        np.zeros((1, 300), np.uint8),
        np.full((40, 50, 3), 90, np.uint8),
        np.full((16, 16), 65535, np.uint16),
        np.zeros((16, 16), np.float32),
        np.eye(16, dtype=bool),
    ],
    ids=lambda image: f"{image.shape}-{image.dtype}-{image.max()}",
)
def test_flat_and_tiny_images_score(detector: Detector, image: np.ndarray) -> None:
    (finding,) = detector.score([image])
    assert finding.error == ""
    assert all(map(math.isfinite, numbers(finding)))
    assert finding.status in {Status.CONVERGED.value, Status.BUDGET_SPENT.value}
    assert finding.counterpart is not None
    assert finding.counterpart.shape == finding.query.shape == image.shape
    assert finding.heatmap.shape == finding.difference.shape == image.shape[:2]
    assert np.isfinite(finding.heatmap).all()
    assert np.isfinite(finding.difference).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -0.5, 1.5])
def test_pixels_that_cannot_be_become_an_error(detector: Detector, unseen: np.ndarray, value: float) -> None:
    """One bad image is a row with its error; its neighbours score as without it."""
    bad = np.full((16, 16), 0.5, np.float32)
    bad[3, 4] = value
    before, finding, after = detector.score([unseen[0], bad, unseen[1]])
    assert finding.status == "error"
    assert finding.id in finding.error
    assert "\n" not in finding.error
    assert math.isnan(finding.score)
    assert finding.anomalous is None
    expected = [numbers(each) for each in detector.score(unseen[:2])]
    assert [numbers(before), numbers(after)] == expected


@pytest.mark.parametrize("bad", [np.zeros((0, 16), np.uint8), np.zeros((16, 16, 2), np.uint8), np.zeros(4, np.uint8)])
def test_arrays_that_are_no_images_are_refused(detector: Detector, bad: np.ndarray) -> None:
    with pytest.raises(DataError, match="shape"):
        detector.score([bad])


def test_a_damaged_model_says_so_and_never_scores_nan(name: str) -> None:
    method = create(name, SPECS[0], Settings().with_overrides(["networks.base_channels=4", "search.steps=3"]))
    with torch.no_grad():
        for parameter in method.networks.parameters():
            parameter.fill_(math.nan)
    for finding in Detector(method).score(np.zeros((2, 16, 16), np.uint8)):
        assert finding.status == Status.NOT_FOUND.value
        assert finding.error
        assert finding.anomalous is None


# -- settings -------------------------------------------------------------------------------------------------------


def test_settings_round_trip_through_the_method(name: str) -> None:
    settings = Settings().with_overrides(["networks.base_channels=4", "search.seed=3", "data.normal=0"])
    method = create(name, SPECS[0], settings)
    assert Settings.parse(method.settings.model_dump(mode="json")) == settings


def test_an_unknown_setting_fails(name: str) -> None:
    values = create(name, SPECS[0], Settings()).settings.model_dump()
    values["search"]["stepps"] = 3
    with pytest.raises(SettingsError, match=r"stepps.*did you mean 'search.steps'"):
        Settings.parse(values)


def test_too_deep_a_feature_layer_fails(name: str) -> None:
    if "discriminator" not in rough(name, SPECS[0]).networks:
        pytest.skip(f"{name} has no discriminator, whose layer could be named")
    with pytest.raises(SettingsError, match="feature_layer"):
        create(name, SPECS[0], Settings().with_overrides(["networks.feature_layer=9"]))
