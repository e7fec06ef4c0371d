"""The device that the user names, as a Lightning Fabric."""

from __future__ import annotations

import torch
from lightning_fabric import Fabric

from anotwin.errors import SettingsError
from anotwin.search.inference import search_dtype


def fabric_for(device: str, precision: str) -> Fabric:
    """One device: "auto" (CUDA where there is one), "cpu" or "cuda"; raises SettingsError for one that is not there.

    `precision` is ``training.precision``: "auto" becomes bf16-mixed where the device multiplies bf16, else 32-true.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise SettingsError("--device cuda: no CUDA device is available here; use --device cpu or auto")
    accelerator = {"auto": "cuda" if torch.cuda.is_available() else "cpu", "cpu": "cpu", "cuda": "cuda"}.get(device)
    if accelerator is None:
        raise SettingsError(f"--device {device!r}: expected auto, cpu or cuda")
    if precision == "auto":
        fast = search_dtype("auto", torch.device(accelerator)) is torch.bfloat16
        precision = "bf16-mixed" if fast else "32-true"
    return Fabric(accelerator=accelerator, devices=1, precision=precision)  # type: ignore[arg-type]
