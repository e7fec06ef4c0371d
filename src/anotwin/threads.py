"""How many cores this process may use, and how its threads wait: set before torch is loaded.

OpenMP threads spin while they wait for each other. Alone that is fast; beside a second busy process they burn the time
that the other threads need, and training becomes 10 to 30 times slower.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, MutableMapping
from contextlib import suppress
from pathlib import Path

# GNU's OpenMP runtime, which torch brings on Linux, and Intel's and LLVM's, which it brings elsewhere
# a short wait first: asleep at once, training alone is half as fast (247 against 528 images a second on two cores)
_WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "20000", "KMP_BLOCKTIME": "0"}
_SPINNING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")  # any of them: the user has chosen
_COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_THREAD_LIMIT")


def share_the_machine(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let threads sleep while they wait, and be no more than the cores that this process may use.

    For the command line, before torch is imported: what the user has set in the environment is left as it is. A program
    that uses AnoTwin from Python sets the same variables itself, before it imports torch.
    """
    if not any(name in environment for name in _SPINNING):
        environment.update(_WAITING)
    if not any(name in environment for name in _COUNTS) and cores() < _affinity():
        environment["OMP_NUM_THREADS"] = str(cores())  # threads follow the affinity by themselves, but no quota


def cores(proc: Path = Path("/proc"), mounts: Path = Path("/sys/fs/cgroup")) -> int:
    """The cores that this process may use, whole ones, at least 1: one thread too many stalls all at each barrier.

    Its affinity, and the quota of its cgroup (v1 or v2) or of one above it, as containers and batch systems set it.
    """
    quotas = [quota for folder in _groups(proc, mounts) if (quota := _quota(folder)) is not None]
    return max(1, min([_affinity(), *(math.floor(quota) for quota in quotas)]))


def _affinity() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _groups(proc: Path, mounts: Path) -> Iterator[Path]:
    """The folders of this process's cgroup, and of those above it; in a container the path may not be there."""
    lines: list[str] = []
    with suppress(OSError):
        lines = (proc / "self" / "cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    for line in lines:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        for mount in (mounts / controllers, mounts / "cpu") if controllers else (mounts, mounts / "unified"):
            parts = [part for part in path.split("/") if part not in ("", "..")]
            yield from (mount.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1))


def _quota(group: Path) -> float | None:
    """Cores that a cgroup may use; None: no limit."""
    with suppress(OSError, ValueError, ZeroDivisionError):
        if (group / "cpu.max").is_file():  # v2: "max 100000" or "150000 100000", microseconds of each period
            most, period = (group / "cpu.max").read_text().split()
            return None if most == "max" else int(most) / int(period)
        most, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return int(most) / int(period) if int(most) > 0 else None
    return None
