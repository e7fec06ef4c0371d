"""From words to a device and a precision."""

from __future__ import annotations

import pytest
import torch

from anotwin.errors import SettingsError
from anotwin.run import device
from anotwin.run.device import fabric_for


@pytest.mark.parametrize(("kind", "expected"), [(torch.bfloat16, torch.bfloat16), (torch.float32, torch.float32)])
def test_auto_is_bf16_only_where_the_processor_multiplies_it(
    monkeypatch: pytest.MonkeyPatch, kind: torch.dtype, expected: torch.dtype
) -> None:
    monkeypatch.setattr(device, "search_dtype", lambda _precision, _device: kind)
    with fabric_for("cpu", "auto").autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == expected


@pytest.mark.parametrize(("precision", "expected"), [("32-true", torch.float32), ("bf16-mixed", torch.bfloat16)])
def test_a_precision_that_is_named_is_taken(precision: str, expected: torch.dtype) -> None:
    with fabric_for("cpu", precision).autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == expected


def test_a_device_that_is_none() -> None:
    with pytest.raises(SettingsError, match="'tpu': expected auto, cpu or cuda"):
        fabric_for("tpu", "32-true")
