"""A bundle.json of unknown origin, and folders without one: refused in one line."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anotwin.bundle import describe, load_bundle, save_bundle, save_calibration
from anotwin.calibrate.decision import calibrate
from anotwin.errors import BundleError
from anotwin.records import UnitScores
from model_folders import edit, example, refusal, same


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_bundle(example(), tmp_path / "model")
    return tmp_path / "model"


def test_what_is_not_a_model_folder(tmp_path: Path, model: Path) -> None:
    assert "does not exist; a model folder holds bundle.json" in refusal(tmp_path / "no")
    assert "is a file, not a model folder" in refusal(model / "bundle.json")
    assert "train one with: anotwin train DATA --out MODEL" in refusal(tmp_path)
    assert "has no bundle.json" in refusal(tmp_path)
    assert "cannot be read" in refusal(tmp_path / ("a" * 256))
    assert "does not exist" in refusal(tmp_path / "nul\0")
    (model / "weights.safetensors").unlink()
    assert "has no weights.safetensors; " in refusal(model)
    (tmp_path / "runs" / "00000-anogan").mkdir(parents=True)
    assert f"unfinished; go on with: anotwin train DATA --out {tmp_path} --resume" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["bundle.json", "weights.safetensors"])
def test_links_pipes_and_folders(tmp_path: Path, model: Path, name: str) -> None:
    inside = model / "elsewhere"
    (model / name).rename(inside)
    (model / name).symlink_to("elsewhere")
    assert same(load_bundle(model), example())  # a link within the folder is harmless
    outside = inside.rename(tmp_path / "outside")
    for target in (outside, "../outside", "/dev/zero"):
        (model / name).unlink()
        (model / name).symlink_to(target)
        assert "a symbolic link out of the model folder" in refusal(model)
    (model / name).unlink()
    (model / name).symlink_to(name)  # to itself
    assert "cannot be read" in refusal(model)
    (model / name).unlink()
    os.mkfifo(model / name)
    assert "not a regular file" in refusal(model)
    (model / name).unlink()
    (model / name).mkdir()
    assert "not a regular file" in refusal(model)


def test_the_folder_itself_may_be_a_link(tmp_path: Path, model: Path) -> None:
    (tmp_path / "latest").symlink_to(model)
    assert same(load_bundle(tmp_path / "latest"), example())


# --- bundle.json ---

EDITS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no format": (lambda d: d.pop("format"), "not a model of AnoTwin"),
    "other format": (lambda d: d.update(format="pickle"), "not a model of AnoTwin"),
    "newer": (lambda d: d.update(schema=7, more=1), r"newer AnoTwin \(schema 7, this one reads 1\): upgrade"),
    "huge schema": (lambda d: d.update(schema=10**250), "written by a newer AnoTwin"),
    "older": (lambda d: d.update(schema=0), "schema 0, expected 1"),
    "true schema": (lambda d: d.update(schema=True), "schema True, expected 1"),
    "text schema": (lambda d: d.update(schema="x" * 10**6), "schema 'xxx.*, expected 1"),
    "unknown key": (lambda d: d.update(code="import os"), "unknown key 'code'"),
    "bad unknown key": (lambda d: d.update({"\x1b[2J\n": 1}), "unknown key"),
    "missing key": (lambda d: d.pop("history"), "key 'history' is missing"),
    "method": (lambda d: d.update(method="../x"), "method"),
    "method type": (lambda d: d.update(method=["anogan"]), "method"),
    "channels": (lambda d: d["spec"].update(channels=4), "channels must be 1 or 3"),
    "true channels": (lambda d: d["spec"].update(channels=True), "channels"),
    "size": (lambda d: d["spec"].update(size=2**40), "size must be one of"),
    "pixels": (lambda d: d["spec"].update(pixel_type="object"), "pixel_type"),
    "range": (lambda d: d["spec"].update(black=5, white=4), "white must be above black"),
    "infinite range": (lambda d: d["spec"].update(black=-1.7e308, white=1.7e308), "white must be above black"),
    "huge integer": (lambda d: d["spec"].update(white=10**299 * 10**20), "integer of 320 digits"),
    "fit": (lambda d: d["spec"].update(fit=None), "fit"),
    "spec": (lambda d: d.update(spec=[1, 32]), "spec"),
    "unknown view": (
        lambda d: d["spec"].update(view="nowhere"),
        "spec.view 'nowhere', but .* views whole, retina, tiles, frames, moving; upgrade",
    ),
    "view type": (lambda d: d["spec"].update(view=3), "spec.view"),
    "parts": (lambda d: d["spec"].update(parts=True), "unknown key 'spec.parts'"),
    "spec key": (lambda d: d["spec"].update(depth=2), "unknown key 'spec.depth'"),
    "setting": (lambda d: d["settings"]["search"].update(stepz=1), "no setting 'search.stepz'; did you mean"),
    "setting range": (lambda d: d["settings"]["search"].update(steps=-1), "search.steps"),
    "long setting": (lambda d: d["settings"].update(data="y" * 10**6), "data"),
    "settings type": (lambda d: d.update(settings=3), "settings"),
    "rate": (lambda d: d["calibration"].update(false_alarm_rate=0), "false_alarm_rate"),
    "bound": (lambda d: d["calibration"].update(rate_bound=1.5), "rate_bound"),
    "scale": (lambda d: d["calibration"].update(heatmap_scale=-1), "heatmap_scale"),
    "unsorted": (lambda d: d["calibration"].update(scores=[2, 1]), "expected ascending numbers"),
    "no scores": (lambda d: d["calibration"].update(scores=[]), "expected 1 to 10000000 numbers"),
    "text scores": (lambda d: d["calibration"].update(scores=["1"]), "expected numbers alone"),
    "true scores": (lambda d: d["calibration"].update(scores=[False, True]), "expected numbers alone"),
    "scores type": (lambda d: d["calibration"].update(scores={"0": 1}), "scores"),
    "calibration type": (lambda d: d.update(calibration=0.5), "calibration"),
    "calibration key": (lambda d: d["calibration"].pop("threshold"), "'calibration.threshold' is missing"),
    "history type": (lambda d: d.update(history=[]), "history"),
    "long history": (lambda d: d.update(history={"x": "z" * 2**24}), "history is longer"),
    "layout type": (lambda d: d["layout"].update(normal=3), "layout.normal"),
    "wide layout": (lambda d: d["layout"].update({str(i): None for i in range(20)}), "layout"),
    "weights size": (lambda d: d.update(weights_bytes=2**60), "weights_bytes"),
    "negative size": (lambda d: d.update(weights_bytes=-1), "weights_bytes"),
    "wrong size": (lambda d: d.update(weights_bytes=100), "weights.safetensors: .*expected 100: truncated or replaced"),
    "hash": (lambda d: d.update(weights_sha256="0" * 64), "weights.safetensors: altered or damaged.*SHA-256"),
    "no hash": (lambda d: d.update(weights_sha256=""), "weights_sha256"),
}


GROUPED_EDITS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "groups length": (lambda c: c["groups"].pop(), "groups must number those of each score"),
    "no groups": (lambda c: c.pop("groups"), "units without groups"),
    "empty groups": (lambda c: c.update(groups=[]), "units without groups"),
    "gap": (lambda c: c.update(groups=[9 if g == 2 else g for g in c["groups"]]), "from 0"),
    "negative group": (lambda c: c["groups"].__setitem__(0, -1), "whole numbers from 0"),
    "true group": (lambda c: c["groups"].__setitem__(0, True), "whole numbers from 0"),
    "float group": (lambda c: c["groups"].__setitem__(0, 0.0), "whole numbers from 0"),
    "huge group": (lambda c: c["groups"].__setitem__(0, 10**18), "whole numbers from 0"),
    "groups type": (lambda c: c.update(groups="0"), "expected at most"),
    "threshold": (lambda c: c.update(threshold=2.0), "threshold is not that of the scores and groups"),
    "rate": (lambda c: c.update(false_alarm_rate=0.1), "threshold is not that of the scores and groups"),
    "kinds": (lambda c: c["units"].append(c["units"][0]), "a kind of units occurs twice"),
    "many kinds": (lambda c: c.update(units=[{**c["units"][0], "kind": f"k{k}"} for k in range(17)]), "units"),
    "kind": (lambda c: c["units"][0].update(kind="../x"), "kind"),
    "unit scores": (lambda c: c["units"][0].update(scores=[3.0, 2.0, 1.0]), "expected ascending numbers"),
    "unit groups": (lambda c: c["units"][0].update(groups=[0, 1]), "groups must number those of each score"),
    "foreign unit": (lambda c: c["units"][0].update(groups=[0, 1, 7]), "units of other groups"),
    "unit key": (lambda c: c["units"][0].update(threshold=1), "unknown key"),
    "units type": (lambda c: c.update(units={"volume": 3}), "units"),
}


@pytest.fixture
def grouped(tmp_path: Path) -> Path:
    scores, groups = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [0, 0, 1, 1, 2, 2]
    units = [UnitScores("volume", (2.0, 4.0, 6.0), (0, 1, 2))]
    calibration = calibrate(scores, scores, scores, 0.5, 0.25, groups, units)
    assert (calibration.groups, calibration.units) == (tuple(groups), tuple(units))
    save_bundle(example(calibration=calibration), tmp_path / "grouped")
    assert load_bundle(tmp_path / "grouped").calibration == calibration
    return tmp_path / "grouped"


@pytest.mark.parametrize("name", GROUPED_EDITS)
def test_a_hostile_calibration_by_groups_is_refused(grouped: Path, name: str) -> None:
    change, reason = GROUPED_EDITS[name]
    edit(grouped, lambda document: change(document["calibration"]))
    assert reason in refusal(grouped)


def test_a_calibration_by_groups_is_kept_and_told(grouped: Path, model: Path) -> None:
    bundle = load_bundle(grouped)
    assert bundle.calibration is not None
    save_calibration(model, bundle.calibration, load_bundle(model).settings)
    assert load_bundle(model).calibration == bundle.calibration
    told = describe(bundle)["calibration"]
    assert (told["images"], told["groups"], told["units"]) == (6, 3, {"volume": 3})


def test_a_calibration_of_single_images_is_written_as_before_there_were_groups(model: Path) -> None:
    keys = {"false_alarm_rate", "threshold", "residual_threshold", "discrimination_threshold", "scores"}
    stored = json.loads((model / "bundle.json").read_text())["calibration"]
    assert set(stored) == keys | {"heatmap_scale", "rate_bound"}
    told = describe(load_bundle(model))["calibration"]
    assert (told["images"], told["groups"], told["units"]) == (4, 4, {})


@pytest.mark.parametrize("name", EDITS)
def test_a_hostile_bundle_json_is_refused(model: Path, name: str) -> None:
    change, reason = EDITS[name]
    edit(model, change)
    with pytest.raises(BundleError, match=reason):
        load_bundle(model)
    assert refusal(model).startswith(str(model))
    assert refusal(model).isprintable()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "truncated or damaged: not JSON"),
        (b"[]", "not a model of AnoTwin"),
        (b"null", "not a model of AnoTwin"),
        (b'{"format": "anotwin"}', "schema None, expected 1"),
        (b'{"format": "anotwin", "schema": 1}', "is missing"),
        (b'{"format": "anotwin", "schema": NaN}', "NaN is not finite"),
        (b'{"format": "anotwin", "schema": 1e999}', "1e999 is not finite"),
        (b'{"format": "x", "format": "anotwin", "schema": 1}', "key 'format' occurs twice"),
        (b"[" * 10**5, "nested"),
        (b"[" * 10**6, "more than 524288 keys, lists and objects"),
        (b"\xff\xfe", "not UTF-8"),
        (b" " * (64 * 2**20 + 1), "larger than 67108864 bytes"),
        (b"\0" * 4096, "not JSON"),
    ],
)
def test_other_bytes_as_bundle_json(model: Path, data: bytes, reason: str) -> None:
    (model / "bundle.json").write_bytes(data)
    assert reason in refusal(model)


def test_an_edited_bundle_json_is_refused(model: Path) -> None:
    text = (model / "bundle.json").read_text()
    assert '"threshold": 2.5' in text
    (model / "bundle.json").write_text(text.replace('"threshold": 2.5', '"threshold": 2.6'))
    assert "altered or damaged after it was written (checksum differs)" in refusal(model)
    (model / "bundle.json").write_text(json.dumps(json.loads(text)))  # other spaces, same content
    assert same(load_bundle(model), example())


def test_older_models_name_no_view(model: Path) -> None:
    """Before there were views: neither in the spec nor in the settings."""

    def older(document: dict[str, Any]) -> None:
        document["spec"] = {
            "channels": 1,
            "size": 32,
            "pixel_type": "uint16",
            "black": 12.0,
            "white": 4095.0,
            "fit": "pad",
        }
        del document["settings"]["data"]["view"]

    edit(model, older)
    loaded = load_bundle(model)
    assert same(loaded, example())
    assert (loaded.spec.view, loaded.spec.parts) == ("whole", False)


@pytest.mark.parametrize(("view", "parts"), [("whole", False), ("retina", True)])
def test_parts_follow_from_the_view_of_older_models(model: Path, view: str, parts: bool) -> None:
    """Before there were domains: a view in the spec, none in the settings, and nothing says whether it has parts."""

    def older(document: dict[str, Any]) -> None:
        document["spec"]["view"] = view
        del document["settings"]["data"]["view"]

    edit(model, older)
    loaded = load_bundle(model)
    assert (loaded.spec.view, loaded.spec.parts) == (view, parts)
    assert loaded.settings == example().settings


def test_a_model_from_before_presets_searches_as_it_did(model: Path) -> None:
    old = {"steps": 77, "learning_rate": 0.02, "discrimination_weight": 0.1, "batch_size": 64, "seed": 3}
    edit(model, lambda document: document["settings"].update(search=old))
    search = load_bundle(model).settings.search
    assert (search.preset, search.optimizer, search.bound, search.precision) == ("paper", "adam", 0, "32")
    assert (search.steps, search.learning_rate, search.seed) == (77, 0.02, 3)
