"""bundle.json of a translation: a second spec, checked like the first; that of a detector is as it was."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anotwin.bundle import describe, is_translation, load_bundle, load_translation, save_bundle, save_calibration
from anotwin.errors import BundleError
from anotwin.records import ImageSpec
from model_folders import CALIBRATION, edit, example, refusal

TARGET = ImageSpec(1, 64, classes=(0, 10, 255))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_bundle(example(calibration=None, target=TARGET), tmp_path / "m")
    return tmp_path / "m"


def types(bundle_of: Any = None) -> Callable[..., dict[str, Any]]:
    tensors = (bundle_of or example()).tensors
    return lambda *_: {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()}


def test_the_second_spec_is_kept_and_told(folder: Path) -> None:
    for loaded in (load_bundle(folder), load_translation(folder, types())):
        assert loaded.target == TARGET
        assert loaded.spec == example().spec
    assert describe(load_bundle(folder))["target"]["classes"] == [0, 10, 255]
    assert is_translation(folder)


def test_what_is_expected_is_asked_with_both_specs(folder: Path) -> None:
    asked: list[Any] = []

    def expected(*words: Any) -> dict[str, Any]:
        asked.extend(words)
        return {"other": ((1,), example().tensors["discriminator.head.weight"].dtype)}

    with pytest.raises(BundleError, match="other"):
        load_translation(folder, expected)
    assert asked[:4] == ["anogan", example().spec, TARGET, example().settings]


def test_a_detector_is_written_as_before_there_were_translations(tmp_path: Path) -> None:
    save_bundle(example(), tmp_path / "m")
    before = json.loads((tmp_path / "m" / "bundle.json").read_text())
    assert "target" not in before
    assert "classes" not in before["spec"]
    save_calibration(tmp_path / "m", CALIBRATION, example().settings)
    after = json.loads((tmp_path / "m" / "bundle.json").read_text())
    assert after.keys() == before.keys()
    assert after["spec"] == before["spec"]
    assert not is_translation(tmp_path / "m")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"size": 63}, "size must be one of"),
        ({"channels": 2}, "channels must be 1 or 3"),
        ({"classes": [0, 0]}, "ascending"),
        ({"classes": [-1, 3]}, "whole numbers from 0 to 255"),
        ({"classes": [0.5]}, "whole numbers from 0 to 255"),
        ({"classes": {"0": 1}}, "whole numbers from 0 to 255"),
        ({"view": "nowhere"}, "has the views"),
        ({"white": 0.0}, "white must be above black"),
        ({"more": 1}, "unknown key"),
    ],
)
def test_a_hostile_second_spec_is_refused(folder: Path, change: dict[str, Any], reason: str) -> None:
    edit(folder, lambda document: document["target"].update(change))
    assert reason in refusal(folder)
