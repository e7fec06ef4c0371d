"""The device that the user names, as a Lightning Fabric."""

from __future__ import annotations

import torch
from lightning_fabric import Fabric

from anotwin.errors import SettingsError
from anotwin.search.inference import search_dtype


def machine_of(fabric: Fabric, precision: str) -> dict[str, str | int]:
    """What the last bits of a training on `fabric` depend on; `precision` is ``training.precision``."""
    device = fabric.device
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "precision": _chosen(precision, device.type),
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }


def fabric_for(device: str, precision: str) -> Fabric:
    """One device: "auto" (CUDA where there is one), "cpu" or "cuda"; raises SettingsError for one that is not there.

    `precision` is ``training.precision``: "auto" becomes bf16-mixed where the device multiplies bf16, else 32-true.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise SettingsError("--device cuda: no CUDA device is available here; use --device cpu or auto")
    accelerator = {"auto": "cuda" if torch.cuda.is_available() else "cpu", "cpu": "cpu", "cuda": "cuda"}.get(device)
    if accelerator is None:
        raise SettingsError(f"--device {device!r}: expected auto, cpu or cuda")
    chosen = _chosen(precision, accelerator)
    return Fabric(accelerator=accelerator, devices=1, precision=chosen)  # type: ignore[arg-type]


def _chosen(precision: str, device: str) -> str:
    """`precision`, or what "auto" becomes on this device."""
    if precision != "auto":
        return precision
    return "bf16-mixed" if search_dtype("auto", torch.device(device)) is torch.bfloat16 else "32-true"
