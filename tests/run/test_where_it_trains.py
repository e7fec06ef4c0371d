"""Everything that a method holds is on the device of its training, also what no optimiser moves."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from anotwin import Detector, Settings
from anotwin.data.synthetic import plant_blob, textured_discs
from anotwin.methods.registry import METHODS, create
from anotwin.run import session


class Enough(Exception):
    """Training would begin."""


@pytest.mark.parametrize("name", sorted(name for name, kind in METHODS.items() if not hasattr(kind, "looks_back")))
def test_all_tensors_are_where_training_is(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On "meta", which every machine has: a CPU's tensors beside it would be a GPU's failure."""
    seen: dict[str, str] = {}
    made: list[Any] = []

    def kept(*args: Any) -> Any:
        made.append(create(*args))
        return made[-1]

    def stop(trainer: Any, *_: Any, **__: Any) -> float:
        held = [value for value in vars(made[0]).values() if isinstance(value, torch.nn.Module)]
        trainer.networks.to("meta")  # as the loop begins
        for module in held:
            for key, tensor in [*module.named_parameters(), *module.named_buffers()]:
                seen[f"{type(module).__name__}.{key}"] = tensor.device.type
        raise Enough

    fabric = SimpleNamespace(device=torch.device("meta"))
    monkeypatch.setattr(session, "fabric_for", lambda _device, _precision: fabric)
    monkeypatch.setattr(session, "machine_of", lambda _fabric, _precision: {})
    monkeypatch.setattr(session, "create", kept)
    monkeypatch.setattr(session, "train", stop)
    normals, _ = textured_discs(40, size=16, seed=0)
    abnormal = plant_blob(normals, seed=1)[0] if hasattr(METHODS[name], "fewest_abnormal") else None
    small = Settings().with_overrides(["networks.base_channels=4", "networks.latent_dim=8", "translation.patch=16"])
    with pytest.raises(Enough):
        Detector.train(normals, method=name, settings=small, abnormal_images=abnormal)
    elsewhere = {key: kind for key, kind in seen.items() if kind != "meta"}
    assert seen
    assert not elsewhere
