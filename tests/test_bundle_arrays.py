"""Arrays of a reference lie among the weights and come back where they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from anotwin.bundle import Bundle, describe, load_bundle, save_bundle, save_calibration
from anotwin.bundle_arrays import apart, together
from anotwin.errors import BundleError
from anotwin.weights import encode
from model_folders import example, forge, refusal


def history() -> dict[str, Any]:
    arrays = {"pictures": torch.arange(-3, 3, dtype=torch.int8), "heat": 2.0, "deep": {"usual": torch.ones(2, 2)}}
    return {"steps": 7, "reference": {"levels": [1, 2], "golden": arrays}}


def golden(bundle: Bundle) -> dict[str, Any]:
    found: dict[str, Any] = bundle.history["reference"]["golden"]
    return found


def test_what_is_taken_apart_is_plain_and_comes_together_again() -> None:
    plain, arrays = apart(history())
    assert json.loads(json.dumps(plain)) == plain
    assert sorted(arrays) == ["reference.golden.deep.usual", "reference.golden.pictures"]
    whole = together(plain, arrays)
    assert whole["reference"]["levels"] == [1, 2]
    assert torch.equal(whole["reference"]["golden"]["deep"]["usual"], torch.ones(2, 2))
    assert "pictures" not in plain["reference"]["golden"]  # the plain one is not changed by it


def test_a_history_without_a_reference_stays_as_it_is() -> None:
    assert apart({"steps": 1}) == ({"steps": 1}, {})


def test_a_model_keeps_its_arrays_when_it_is_saved_loaded_and_calibrated(tmp_path: Path) -> None:
    bundle = example(history=history())
    save_bundle(bundle, tmp_path)
    save_calibration(tmp_path, bundle.calibration, bundle.settings, bundle.tensors)  # type: ignore[arg-type]
    loaded = load_bundle(tmp_path)
    assert loaded.tensors.keys() == bundle.tensors.keys()
    assert loaded.history["reference"]["levels"] == [1, 2]
    assert torch.equal(golden(loaded)["pictures"], golden(bundle)["pictures"])
    assert golden(loaded)["pictures"].dtype == torch.int8
    assert describe(loaded)["history"]["reference"]["golden"]["pictures"] == "6 numbers"
    json.dumps(describe(loaded))


def test_expected_tensors_are_those_of_networks(tmp_path: Path) -> None:
    bundle = example(history=history())
    save_bundle(bundle, tmp_path)
    types = {name: (tuple(values.shape), values.dtype) for name, values in bundle.tensors.items()}
    assert load_bundle(tmp_path, lambda *_: types).tensors.keys() == bundle.tensors.keys()


def test_an_array_of_no_reference_is_refused(tmp_path: Path) -> None:
    save_bundle(example(), tmp_path)
    forge(tmp_path, encode({**example().tensors, "reference.evil": torch.zeros(2)}))
    assert "'reference.evil' has no place in the history" in refusal(tmp_path)


def test_a_network_may_not_take_the_name(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="the name 'reference' is taken"):
        save_bundle(example(tensors={"reference.weight": torch.zeros(2)}), tmp_path)


@pytest.mark.parametrize("plain", [{}, {"reference": []}, {"reference": {"golden": {"pictures": 1}}}])
def test_an_array_without_a_place_is_refused(plain: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"'reference\.golden\.pictures' (has no place|is there twice)"):
        together(plain, {"reference.golden.pictures": torch.zeros(1)})
