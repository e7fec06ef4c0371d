"""Model folders: what goes in comes out, and no crash loses a model."""

import dataclasses
import json
import math
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from anotwin.bundle import Bundle, describe, load_bundle, save_bundle, save_calibration
from anotwin.bundle_json import _Calibration
from anotwin.errors import AnoTwinError, BundleError, DataError
from anotwin.records import Calibration, ImageSpec
from anotwin.settings import SIZES, Settings
from model_folders import CALIBRATION, DTYPES, example, names, refusal, same

quick = hypothesis_settings(derandomize=True, deadline=None, max_examples=40)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_bundle(example(), tmp_path / "model")
    return tmp_path / "model"


finite = st.floats(-1e300, 1e300)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | finite | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
specs = st.builds(
    lambda channels, size, pixel_type, range_, fit, view: ImageSpec(
        channels, size, pixel_type, *sorted(range_), fit, *view
    ),
    st.sampled_from([1, 3]),
    st.sampled_from(SIZES),
    st.sampled_from(["uint8", "uint16", "float32"]),
    st.lists(st.floats(-1e30, 1e30), min_size=2, max_size=2, unique=True),
    st.sampled_from(["stretch", "pad"]),
    st.sampled_from([("whole", False), ("retina", True)]),
)
calibrations = st.builds(
    Calibration,
    st.floats(0, 1, exclude_min=True, exclude_max=True),
    finite,
    finite,
    finite,
    st.lists(finite, min_size=1, max_size=20).map(lambda scores: tuple(sorted(scores))),
    st.floats(0, 1e300),
    st.floats(0, 1),
)


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    shape = draw(st.lists(st.integers(0, 4), max_size=4))
    values = torch.randn(shape, generator=torch.Generator().manual_seed(draw(st.integers(0, 99)))) * 100
    values = values.to(draw(st.sampled_from(list(DTYPES.values()))))
    return values.transpose(0, -1) if draw(st.booleans()) and values.ndim else values  # not contiguous


@quick
@given(
    specs,
    st.none() | calibrations,
    st.dictionaries(st.from_regex(r"[a-z_]{1,9}\.[0-9a-z_.]{0,9}[0-9a-z]", fullmatch=True), tensors(), max_size=4),
    st.dictionaries(
        st.sampled_from(["train", "holdout"]), st.lists(st.integers(-(2**63), 2**63 - 1)).map(torch.tensor)
    ),
    st.dictionaries(st.text(max_size=9), json_values, max_size=3),
    st.tuples(st.integers(1, 10**9), st.floats(0, 1), st.none() | st.text()),
)
def test_what_is_saved_is_loaded(
    tmp_path_factory: pytest.TempPathFactory, spec, calibration, weights, prints, history, some
):
    weights = {name: tensor for name, tensor in weights.items() if ".." not in name}
    prints = {name: values.to(torch.int64) for name, values in prints.items()}
    steps, weight, normal = some
    settings = Settings.parse({"training": {"steps": steps}, "search": {"discrimination_weight": weight}})
    layout = {"layout": "idx", "normal": normal}
    bundle = Bundle("a-method_2", spec, settings, weights, calibration, prints, layout, history)
    folder = tmp_path_factory.getbasetemp() / "round"
    save_bundle(bundle, folder)
    loaded = load_bundle(folder, lambda *_: {name: (tuple(t.shape), t.dtype) for name, t in weights.items()})
    assert same(loaded, bundle)
    assert names(folder) == ["bundle.json", "weights.safetensors"]
    # the reference library reads the same weights
    reference = safetensors.torch.load_file(folder / "weights.safetensors")
    assert set(reference) == set(weights) | {f"fingerprints.{name}" for name in prints}
    assert all(torch.equal(reference[name], tensor) for name, tensor in weights.items())


def test_same_bundle_same_bytes_whatever_the_order(tmp_path: Path) -> None:
    bundle = example()
    turned = dataclasses.replace(bundle, tensors=dict(reversed(bundle.tensors.items())))
    save_bundle(bundle, tmp_path / "a")
    save_bundle(turned, tmp_path / "b")
    for name in ("bundle.json", "weights.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_tied_and_trainable_tensors_are_saved_and_stay_as_they_are(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.randn(4, 4))
    save_bundle(example(tensors={"a.w": weight, "b.w": weight, "b.view": weight[1:]}), tmp_path)
    loaded = load_bundle(tmp_path).tensors
    assert torch.equal(loaded["a.w"], weight)
    assert torch.equal(loaded["b.view"], weight[1:])
    assert weight.requires_grad
    assert not loaded["a.w"].requires_grad
    loaded["a.w"].zero_()
    assert loaded["b.w"].any()
    assert load_bundle(tmp_path).tensors["a.w"].any()  # memory of its own, not the file's


def test_a_label_that_is_not_unicode_survives(tmp_path: Path) -> None:
    layout = {"layout": "folder", "normal": os.fsdecode(b"caf\xe9")}
    save_bundle(example(layout=layout), tmp_path)
    assert load_bundle(tmp_path).layout == layout


def _written(path: Path) -> tuple[int, int, int]:
    """Which file and when written: not the time of access, which reading may change."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def test_calibration_is_replaced_alone(model: Path) -> None:
    weights = _written(model / "weights.safetensors")
    other = dataclasses.replace(CALIBRATION, threshold=9.0, scores=(9.0,))
    save_calibration(model, other, example().settings)
    assert same(load_bundle(model), example(calibration=other))
    searched = example().settings.with_overrides(["search.steps=7"])
    save_calibration(model, CALIBRATION, searched)
    assert same(load_bundle(model), example(settings=searched))
    assert _written(model / "weights.safetensors") == weights
    before = (model / "bundle.json").read_bytes()
    with pytest.raises(BundleError, match="other networks"):
        save_calibration(model, other, searched.with_overrides(["networks.latent_dim=3"]))
    with pytest.raises(BundleError, match="ascending"):
        save_calibration(model, dataclasses.replace(CALIBRATION, scores=(2.0, 1.0)), searched)
    with pytest.raises(BundleError, match="does not exist; a model folder holds"):
        save_calibration(model / "no", other, searched)
    assert (model / "bundle.json").read_bytes() == before


def test_the_checked_calibration_has_the_fields_of_the_record() -> None:
    assert set(_Calibration.model_fields) == {field.name for field in dataclasses.fields(Calibration)}


def test_describe_is_plain_json() -> None:
    facts = describe(example())
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert facts["parameters"] == {"generator": 24, "discriminator": 5}
    assert facts["bytes"] == 24 * 4 + 8 + 5 * 2
    assert facts["images"] == {"train": 6, "holdout": 0}
    assert facts["calibration"]["images"] == 4
    assert facts["calibration"]["threshold"] == 2.5
    assert facts["spec"]["size"] == 32
    assert facts["history"] == example().history
    assert describe(example(calibration=None))["calibration"] is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"tensors": {"g.w": torch.tensor([1.0, math.nan])}}, "'g.w' holds NaN or infinite"),
        ({"tensors": {"g.w": torch.tensor([math.inf]).half()}}, "'g.w' holds NaN or infinite"),
        ({"tensors": {"g.w": torch.zeros(2, dtype=torch.float64)}}, "'g.w': type float64, expected float32"),
        ({"tensors": {"g.w": torch.zeros(2, dtype=torch.bool)}}, "type bool"),
        ({"tensors": {"weight": torch.zeros(2)}}, "'weight': expected a name like"),
        ({"tensors": {"g.\n": torch.zeros(2)}}, "expected a name like"),
        ({"tensors": {"fingerprints.train": torch.zeros(2)}}, "is taken"),
        ({"fingerprints": {"test": torch.arange(2)}}, "'fingerprints.test'.*is foreign"),
        ({"fingerprints": {"train": torch.zeros(2)}}, "'fingerprints.train'.*is foreign"),
        ({"fingerprints": {"train": torch.zeros(2, 2).long()}}, "'fingerprints.train'.*is foreign"),
        ({"history": {"loss": {"d": [1.0, math.nan]}}}, r"history.loss.d\[1\] is nan"),
        ({"history": {"at": Path("x")}}, "history.at is a .*Path"),
        ({"history": {"at": {1: 2}}}, "history.at has the key 1"),
        ({"history": {"a": "x" * 2**24}}, "history is longer"),
        ({"history": json.loads('{"a":' * 70 + "1" + "}" * 70)}, "nested"),
        ({"spec": ImageSpec(2, 32)}, "channels must be 1 or 3"),
        ({"spec": ImageSpec(1, 33)}, "size must be one of 16"),
        ({"spec": ImageSpec(1, 32, black=3.0, white=3.0)}, "white must be above black"),
        ({"method": "Ano Gan"}, "method"),
        ({"calibration": dataclasses.replace(CALIBRATION, threshold=math.inf)}, "calibration.threshold is inf"),
        ({"calibration": dataclasses.replace(CALIBRATION, false_alarm_rate=1.0)}, "false_alarm_rate"),
        ({"calibration": dataclasses.replace(CALIBRATION, scores=())}, "scores"),
    ],
)
def test_a_bundle_that_could_not_be_loaded_is_not_saved(model: Path, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(BundleError, match=reason) as caught:
        save_bundle(example(**changes), model)
    assert "\n" not in str(caught.value)
    assert same(load_bundle(model), example())
    assert names(model) == ["bundle.json", "weights.safetensors"]


# --- crashes ---


def crash_states(folder: Path, copies: Path, monkeypatch: pytest.MonkeyPatch, work: Callable[[], None]) -> list[Path]:
    """Copies of the folder just before and after every sync and move: what a kill would leave, temporary files too."""
    states: list[Path] = []

    def watch(name: str) -> None:
        call = getattr(os, name)

        def watched(*args: Any) -> Any:
            shutil.copytree(folder, copies / str(len(states)))
            states.append(copies / str(len(states)))
            result = call(*args)
            shutil.copytree(folder, copies / str(len(states)))
            states.append(copies / str(len(states)))
            return result

        monkeypatch.setattr(os, name, watched)

    with monkeypatch.context() as monkeypatch:
        watch("replace")
        watch("fsync")
        work()
    return states


def test_a_crash_at_any_point_leaves_the_old_or_the_new_model(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new, third = example(), example(1), example(2)
    states = crash_states(model, tmp_path / "copies", monkeypatch, lambda: save_bundle(new, model))
    found = ["old" if same(load_bundle(state), old) else "new" for state in states]
    assert all(same(load_bundle(state), new) for state, which in zip(states, found, strict=True) if which == "new")
    assert found == sorted(found, reverse=True)  # never back to the old one
    assert {"old", "new"} == set(found)
    assert any(
        "weights.next.safetensors" in names(state) and which == "new"
        for state, which in zip(states, found, strict=True)
    )
    # a second crash, in the save after the first, on every state that the first can leave
    for state, which in zip(states, found, strict=True):
        again = crash_states(
            state, tmp_path / f"again {state.name}", monkeypatch, lambda at=state: save_bundle(third, at)
        )
        first = old if which == "old" else new
        assert all(same(load_bundle(one), first) or same(load_bundle(one), third) for one in again)
        assert same(load_bundle(state), third)
        assert "weights.next.safetensors" not in names(state)


def test_a_crash_of_the_first_save_is_told_from_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "model"
    states = crash_states(folder, tmp_path / "copies", monkeypatch, lambda: save_bundle(example(), folder))
    loaded = 0
    for state in states:
        if (state / "bundle.json").exists():
            assert same(load_bundle(state), example())
            loaded += 1
        else:
            assert "has no bundle.json" in refusal(state)
    assert 0 < loaded < len(states)


def test_a_crash_while_calibrating_keeps_the_model(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = dataclasses.replace(CALIBRATION, threshold=9.0)
    work = lambda: save_calibration(model, other, example().settings)  # noqa: E731
    states = crash_states(model, tmp_path / "copies", monkeypatch, work)
    assert {load_bundle(state).calibration for state in states} == {CALIBRATION, other}


@pytest.mark.parametrize("failing", range(3))
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_save_leaves_no_temporary_file(
    model: Path, monkeypatch: pytest.MonkeyPatch, failing: int, error: BaseException
) -> None:
    calls, replace = 0, os.replace

    def fail(*args: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == failing + 1:
            raise error
        replace(*args)

    with monkeypatch.context() as monkeypatch:
        monkeypatch.setattr(os, "replace", fail)
        with pytest.raises((DataError, KeyboardInterrupt)):
            save_bundle(example(1), model)
    assert not [name for name in names(model) if name.startswith(".")]
    assert same(load_bundle(model), example(0 if failing < 2 else 1))
    save_bundle(example(2), model)
    assert names(model) == ["bundle.json", "weights.safetensors"]


def test_a_model_may_be_saved_again_while_it_is_read(model: Path) -> None:
    stop, saved = threading.Event(), [example(seed) for seed in range(30)]
    errors: list[BaseException] = []

    def write() -> None:
        try:
            for bundle in saved:
                save_bundle(bundle, model)
        except BaseException as error:
            errors.append(error)
        finally:
            stop.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not stop.is_set():
        loaded = load_bundle(model)
        assert same(loaded, saved[loaded.history["steps"] - 10])
    writer.join()
    assert not errors


def test_errors_are_those_that_the_command_line_catches() -> None:
    assert issubclass(BundleError, AnoTwinError)
    with pytest.raises(AnoTwinError):
        load_bundle("/dev/null")
