"""The machine's own limit for `speed`, and how times are taken: in turns, since a shared machine is never steady."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

GIGA = 1e9
SIDE = {"cpu": 2048, "cuda": 8192}  # of the matrices: large enough that nothing but arithmetic counts
BATCH = {"cpu": 32, "cuda": 256}  # images (128, 32, 32) of the convolution
MEMORY = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}


def in_turns(contenders: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Call each contender once a round, A B C A B C ...; what they return, by name, (rounds,) each.

    A first call of each, not counted, warms up caches and kernels.
    """
    for contender in contenders.values():
        contender()
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            found[name].append(contender())
    return found


def middle(values: Mapping[str, list[float]]) -> dict[str, float]:
    """The median of each."""
    return {name: median(own) for name, own in values.items()}


def seconds(work: Callable[[], Any], device: torch.device) -> float:
    """Wall time of one call, a GPU's queue included."""
    _wait(device)
    began = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - began


def flops(work: Callable[[], Any]) -> int:
    """Floating-point operations of the matrix products and convolutions in `work`, backward passes included."""
    counter = _Counting()  # type: ignore[no-untyped-call]
    with counter:
        work()
    return counter.total


class _Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own is not typed
    """Torch's own formulas; its FlopCounterMode also follows modules, and fails where a gradient is taken by a leaf."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func.overloadpacket)
        if formula is not None:
            self.total += int(formula(*args, **(kwargs or {}), out_val=out))
        return out


def probes(dtype: torch.dtype, device: torch.device, scale: float = 1.0) -> dict[str, Callable[[], float]]:
    """Functions that each measure a GFLOP/s: a large matrix product, a large convolution in two memory formats.

    The best of them is the limit: on some processors the matrix product is slower than a convolution.
    """
    side = int(SIDE[device.type] * scale)
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    work: dict[str, Callable[[], torch.Tensor]] = {"matrix product": lambda: left @ right}
    for name, memory in MEMORY.items():
        shape = (max(int(BATCH[device.type] * scale), 1), 128, 32, 32)
        images = torch.randn(shape, device=device).to(dtype, memory_format=memory)
        kernels = torch.randn(128, 128, 3, 3, device=device).to(dtype, memory_format=memory)
        work[f"convolution, {name}"] = lambda i=images, k=kernels: F.conv2d(i, k, padding=1)  # type: ignore[misc]
    return {name: _rate(job, device) for name, job in work.items()}


def _rate(job: Callable[[], torch.Tensor], device: torch.device) -> Callable[[], float]:
    operations = flops(job)

    def measure() -> float:
        return max(operations / seconds(job, device) for _ in range(3)) / GIGA

    return measure


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
