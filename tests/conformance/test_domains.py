"""What every domain is held to: those of the registry, and one that a test adds as a folder and a registry line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from domain_cases import CASES, DAMAGED, TRAINED, Case
from strips.domain import STRIPS

from anotwin import Detector, Finding, Settings
from anotwin.domains import registry
from anotwin.domains.open import guess_layout, open_source
from anotwin.domains.protocol import Job, Prepared
from anotwin.errors import SettingsError
from anotwin.records import Batch, ImageSource
from anotwin.report.table import ScoresWriter
from anotwin.run.local import score_stream
from anotwin.updates import silent
from quick import good, run


@pytest.fixture(autouse=True, scope="module")
def _one_domain_more() -> object:
    """The registry line."""
    registry.DOMAINS.append(STRIPS)
    yield
    registry.DOMAINS.remove(STRIPS)


@pytest.fixture(params=sorted(CASES), scope="module")
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture(scope="module")
def root(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be written to."""
    return case.write(tmp_path_factory.mktemp(case.domain.name) / "data")


@pytest.fixture(scope="module")
def settings(case: Case) -> Settings:
    return Settings().with_overrides([*TRAINED, *case.settings, f"data.normal={case.normal}"])


@pytest.fixture(scope="module")
def model(case: Case, root: Path, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(case.domain.name) / "model"
    Detector.train(root, folder, settings=settings, device="cpu")
    return folder


@pytest.fixture(scope="module")
def detector(model: Path) -> Detector:
    return Detector.load(model, "cpu")


def test_units_are_pooled_from_the_scores_that_are_given(case: Case, root: Path) -> None:
    """Each image is in one unit of a kind at most; a unit's score lies between those of its images, in any order."""
    source = open_source(root, "test", case.layout, case.normal)
    scores = {index: float(number) for number, index in enumerate(range(0, len(source.items), 2))}
    scores[min(scores)] = float("nan")
    kinds = case.domain.units(source, scores)
    assert repr(kinds) == repr(case.domain.units(source, dict(reversed(scores.items()))))
    for units in kinds.values():
        members = [index for unit in units for index in unit.members]
        assert len(members) == len(set(members))
        assert set(members) <= scores.keys()
        assert len({unit.name for unit in units}) == len(units)
        for unit in units:
            own = [scores[index] for index in unit.members if not np.isnan(scores[index])]
            assert np.isnan(unit.score) if not own else min(own) <= unit.score <= max(own)


@pytest.fixture(scope="module")
def findings(detector: Detector, root: Path) -> list[Finding]:
    return detector.score(root)


def test_the_registry_knows_every_domain_of_the_suite() -> None:
    assert {case.domain.name for case in CASES.values()} == {domain.name for domain in registry.DOMAINS}
    names = [domain.view_name for domain in registry.DOMAINS]
    assert len(set(names)) == len(names)
    layouts = [layout.name for domain in registry.DOMAINS for layout in domain.layouts]
    assert len(set(layouts)) == len(layouts)
    assert "auto" not in {*names, *layouts}


# -- files -------------------------------------------------------------------------------------------------------------


def source_of(case: Case, root: Path, part: str = "test") -> ImageSource:
    return open_source(root, part, case.layout, case.normal)


def readable(source: ImageSource) -> list[int]:
    """All but the damaged file."""
    return [index for index, item in enumerate(source.items) if not item.id.endswith(DAMAGED)]


def test_a_source_opened_again_is_the_same(case: Case, root: Path) -> None:
    one, other = source_of(case, root), source_of(case, root)
    assert one.items == other.items
    assert len({item.id for item in one.items}) == len(one.items)
    for index in readable(one):
        np.testing.assert_array_equal(one.read(index), other.read(index))
        assert one.read(index).dtype in (np.uint8, np.uint16, np.float32)


def test_training_never_sees_an_image_that_is_known_to_be_abnormal(case: Case, root: Path) -> None:
    source = source_of(case, root, "train")
    assert source.items
    assert all(item.normal for item in source.items)
    labels = {item.normal for item in source_of(case, root).items}
    assert labels == {True, False}


def test_layouts_are_recognised_or_asked_for_by_name(case: Case, root: Path) -> None:
    names = {layout.name for layout in case.domain.layouts} or set(registry.layouts())  # it may have none of its own
    assert source_of(case, root).layout in names
    guessed = guess_layout(root)
    assert guessed in names | {"folder", "mvtec"}  # files that could be anything are not guessed to be special


# -- what the model sees -----------------------------------------------------------------------------------------------


def prepared(case: Case, source: ImageSource, indices: list[int], settings: Settings) -> list[Prepared]:
    view = case.domain.view()
    train = source_of(case, Path(source.root), "train")
    spec, _ = view.spec(train, range(len(train.items)), settings)
    return list(view.prepare(source, indices, spec, settings, True))


def squares_of(image: Prepared) -> Batch:
    assert image.squares is not None
    return image.squares.rows(slice(None))


def test_an_image_is_prepared_alone_as_among_others(case: Case, root: Path, settings: Settings) -> None:
    source = source_of(case, root)
    order = list(range(len(source.items)))[::-1]
    for image in prepared(case, source, order, settings):
        (alone,) = prepared(case, source, [image.index], settings)
        assert (alone.index, alone.error, alone.fingerprint) == (image.index, image.error, image.fingerprint)
        assert (alone.squares is None) == (image.squares is None) == bool(image.error)
        if alone.squares is not None and image.squares is not None:
            assert torch.equal(case.own(alone).images, case.own(image).images)
            assert case.own(alone).fingerprints == case.own(image).fingerprints


def test_squares_fit_the_spec(case: Case, root: Path, settings: Settings, detector: Detector) -> None:
    spec = detector.spec
    assert (spec.view, spec.parts) == (case.domain.view_name, case.domain.parts)
    source = source_of(case, root)
    for image in prepared(case, source, readable(source), settings):
        batch = squares_of(image)
        squares = batch.images
        assert squares.shape[1:] == (spec.channels, spec.size, spec.size)
        assert (len(case.own(image)) > 1) == case.domain.parts
        assert squares.dtype == torch.float32
        assert squares.abs().max() <= 3
        assert len(set(batch.fingerprints)) == len(squares)  # each has latents of its own


def test_squares_are_the_same_however_many_are_asked_for(case: Case, root: Path, settings: Settings) -> None:
    source = source_of(case, root)
    for image in prepared(case, source, readable(source)[:4], settings):
        assert image.squares is not None
        every, single = squares_of(image), [image.squares.rows(slice(k, k + 1)) for k in range(len(image.squares))]
        assert torch.equal(torch.cat([batch.images for batch in single]), every.images)
        assert tuple(batch.fingerprints[0] for batch in single) == every.fingerprints


def test_training_images_come_from_their_own_rows_alone(
    case: Case, root: Path, settings: Settings, tmp_path: Path
) -> None:
    view, source = case.domain.view(), source_of(case, root, "train")
    indices = list(range(len(source.items)))
    spec, _ = view.spec(source, indices, settings)
    images = view.training(source, indices, spec, settings, tmp_path, silent)
    try:
        assert len(images.fingerprints) == len(images.indices) == len(indices)
        rows = np.array([3, 5])
        subset, again = images.subset(rows), images.subset(rows)
        batch = subset.batch(np.arange(min(32, len(subset)))).images
        assert torch.equal(batch, again.batch(np.arange(min(32, len(subset)))).images)
        assert batch.shape[1:] == (spec.channels, spec.size, spec.size)
        assert batch.abs().max() <= 1
        rest = images.subset(np.array([1, 2]))
        others = rest.batch(np.arange(min(32, len(rest)))).images
        known = {square.numpy().tobytes() for square in batch}
        assert not known & {square.numpy().tobytes() for square in others}
    finally:
        images.close()


# -- scores ------------------------------------------------------------------------------------------------------------


def test_a_damaged_file_is_a_finding_with_its_error(findings: list[Finding]) -> None:
    bad = [finding for finding in findings if finding.error]
    assert len(bad) == 1
    assert bad[0].id in bad[0].error
    assert "\n" not in bad[0].error
    assert bad[0].anomalous is None
    assert bad[0].id.endswith(DAMAGED)


def test_results_are_in_the_shape_of_the_file(findings: list[Finding], case: Case, root: Path) -> None:
    source = source_of(case, root)
    position = {item.id: index for index, item in enumerate(source.items)}
    for finding in findings:
        if not finding.error:
            native = source.read(position[finding.id])
            np.testing.assert_array_equal(finding.query, native)
            assert finding.counterpart.shape == native.shape
            assert finding.counterpart.dtype == native.dtype
            assert finding.heatmap.shape == finding.difference.shape == native.shape[:2]
            assert np.isfinite(finding.heatmap).all()
            assert finding.heatmap.min() >= 0
            assert np.abs(finding.difference).max() <= 1


def test_scores_do_not_depend_on_the_other_images(detector: Detector, root: Path, findings: list[Finding]) -> None:
    source = detector.open(root)
    for index in readable(source)[:: len(findings) // 3]:
        (alone,) = detector.findings(source, [index])
        among = findings[index]
        numbers = ("score", "anomaly", "residual", "discrimination", "discriminator", "mean_residual", "p_value")
        assert [getattr(alone, name) for name in numbers] == [getattr(among, name) for name in numbers]
        for picture in ("counterpart", "difference", "heatmap"):
            np.testing.assert_array_equal(getattr(alone, picture), getattr(among, picture))


def test_scores_do_not_depend_on_the_size_of_batches(detector: Detector, root: Path, findings: list[Finding]) -> None:
    other = detector.with_settings(detector.settings.with_overrides(["search.batch_size=8"]))
    reference = detector.history.get("reference")
    again = list(score_stream(other.method, other.open(root), None, pictures=False, reference=reference))
    assert [finding.score for finding in again if not finding.error] == [
        finding.score for finding in findings if not finding.error
    ]


def test_planted_defects_score_higher_than_the_same_images_without(case: Case, findings: list[Finding]) -> None:
    scores = [(finding.score, finding.normal) for finding in case.compared(findings) if not finding.error]
    normal = [score for score, is_normal in scores if is_normal][-6:]  # the unseen ones, in their order
    abnormal = [score for score, is_normal in scores if not is_normal]
    assert len(normal) == len(abnormal) == 6
    assert np.mean(np.greater(abnormal, normal)) >= 5 / 6


def test_a_picture_is_made_only_where_it_is_wanted(detector: Detector, root: Path) -> None:
    some = list(detector.findings(root, pictures=lambda finding: bool(finding.anomalous)))
    assert all((finding.heatmap is not None) == bool(finding.anomalous) for finding in some)
    assert any(finding.anomalous for finding in some)


# -- the command line --------------------------------------------------------------------------------------------------


def test_the_command_line(case: Case, root: Path, model: Path, tmp_path: Path) -> None:
    """Scores, evaluates and, where there is a check, prepares; what outputs say that they wrote is there."""
    out = tmp_path / "results"
    outcome = good("score", model, root, "--out", out)
    with (out / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(source_of(case, root).items)
    table, *lines = outcome.out.rstrip().rpartition(" -> ")[2].splitlines()
    assert table == str(out / "scores.csv")
    named = {line.split()[0] for line in lines}
    assert all(len(line.split()) > 1 and (out / line.split()[0]).exists() for line in lines)
    assert case.written <= named
    good("evaluate", model, root, "--json", tmp_path / "numbers.json", "--out", tmp_path / "evaluation")
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert numbers["auroc"] > 0.8
    assert numbers["n_failed"] == 1
    info = json.loads(good("info", model, "--json").out)
    assert info["spec"]["view"] == case.domain.view_name
    words = ("prepare", root, "--out", tmp_path / "p", "--layout", case.layout, "--view", case.domain.view_name)
    if case.domain.check is None:
        assert "nothing to prepare" in run(*words).error
        return
    assert Path(json.loads(good(*words, "--limit", 3, "--json").out)["table"]).is_file()


def test_options_are_those_of_the_domain_alone(case: Case, root: Path, model: Path, tmp_path: Path) -> None:
    words = ("score", model, root, "--out", tmp_path / "results", "--no-pictures")
    for other in CASES.values():
        for name in other.domain.options:
            if name in case.domain.options:
                good(*words, "--option", name)
            else:
                assert f"only for models with the view {other.domain.view_name}" in run(*words, "--option", name).error
    assert "did you mean 'lines'" in run(*words, "--option", "line").error


def test_outputs_ask_again_only_for_what_they_have_not_seen(
    case: Case, detector: Detector, root: Path, tmp_path: Path
) -> None:
    """A stopped run: half of the rows were written before, the rest comes by."""
    source = detector.open(root)
    asked: list[str] = []

    class Recording:
        spec, settings, threshold = detector.spec, detector.settings, detector.threshold
        calibration = detector.calibration
        features, sample, trace = detector.features, detector.sample, detector.trace

        def findings(self, data: object, indices: list[int]) -> object:
            asked.extend(source.items[index].id for index in indices)
            return detector.findings(data, indices)

    outputs = case.domain.scoring(Job(source, tmp_path, Recording()))
    done = {item.id for item in source.items[:5]}
    everything = list(detector.findings(source))
    with ScoresWriter(tmp_path / "scores.csv", "key") as writer:
        wanted = list(outputs.unfinished(done))
        assert wanted == sorted(wanted)
        assert {source.items[index].id for index in wanted} >= {item.id for item in source.items} - done
        writer.write([everything[index] for index in range(len(everything)) if index not in wanted])
        for index in wanted:
            outputs.take(index, everything[index])
            writer.write([everything[index]])
        table = writer.finish()
    outputs.finish([], table)
    assert set(asked) <= done
    assert len(asked) == len(set(asked))


# -- a new domain ------------------------------------------------------------------------------------------------------


def test_a_view_is_chosen_beside_the_layout(root: Path, case: Case) -> None:
    """`data.view` says what a model looks at, `data.layout` how the files lie: whole images of any domain's files."""
    settings = Settings().with_overrides(
        [*TRAINED, "training.steps=2", "data.view=whole", f"data.layout={case.layout}", "data.image_size=16",
         f"data.normal={case.normal}"]
    )  # fmt: skip
    whole = Detector.train(root, settings=settings, device="cpu")
    assert (whole.spec.view, whole.spec.parts) == ("whole", False)
    assert whole.layout["name"] == source_of(case, root).layout


def test_a_model_of_a_domain_that_is_not_there_says_so(case: Case, model: Path) -> None:
    place = registry.DOMAINS.index(case.domain)
    registry.DOMAINS.remove(case.domain)
    try:
        error = run("info", model).error
        assert f"view {case.domain.view_name!r}" in error
        with pytest.raises(SettingsError, match="expected auto"):
            registry.domain_of_view(case.domain.view_name)
    finally:
        registry.DOMAINS.insert(place, case.domain)
