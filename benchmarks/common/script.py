"""What every benchmark's ``python benchmarks/NAME [--quick] [--json FILE]`` shares: options, head, errors."""

from __future__ import annotations

import argparse
import os
import platform
import re
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import sklearn
import torch

from anotwin import AnoTwinError, __version__
from benchmarks.common.rows import console

T = TypeVar("T")
QUICK = (  # a smoke run: everything happens, nothing is learnt well
    "training.steps=60",
    "training.batch_size=32",
    "networks.base_channels=8",
    "search.steps=20",
    "calibration.false_alarm_rate=0.05",
)
PAPER = (  # the protocol of docs/results.md for method anogan, whatever the defaults of train are
    "search.preset=paper",
    "training.steps=4000",
    "training.precision=32-true",
)


def options(
    description: str, data: str | None = "MNIST as idx files", small: str = "scikit-learn's 8 x 8 digits"
) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark has; `data` and `small` say what it runs on (None: no --data)."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=f"smoke run on {small}, under a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="file for the rows, saved as they come")
    if data is not None:
        parser.add_argument("--data", type=Path, metavar="DIR", help=f"{data}; else ANOTWIN_DATA, ../shared/data")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--steps", type=int, help="training steps of AnoTwin's methods")
    parser.add_argument("--set", action="append", metavar="SECTION.KEY=VALUE", help="any setting; repeatable")
    return parser


def asked(arguments: argparse.Namespace, first: Sequence[str] = (), quick: Sequence[str] = QUICK) -> list[str]:
    """What the options change of the default settings, as ``--set`` would; `quick` with --quick, after `first`."""
    given = [*first, *(quick if arguments.quick else ()), *(arguments.set or ())]
    return given + ([] if arguments.steps is None else [f"training.steps={arguments.steps}"])


def run(benchmark: Callable[[argparse.Namespace], None], arguments: argparse.Namespace) -> int:
    """Run a benchmark; foreseeable trouble is one line on stderr. The exit code: goals missed are no failure."""
    try:
        benchmark(arguments)
    except AnoTwinError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt as stop:
        print(f"{stop or 'stopped'}; what was measured before is kept in --json", file=sys.stderr)
        return 130
    return 0


def timed(function: Callable[[], T]) -> tuple[T, float]:
    """What it returns, and its seconds."""
    began = time.perf_counter()
    value = function()
    return value, time.perf_counter() - began


def print_head(title: str, facts: Mapping[str, str]) -> None:
    """Everything that a reader needs to judge or repeat the numbers; `facts` are the benchmark's own lines."""
    console.print(f"[bold]{title}[/]")
    versions = f"anotwin {__version__}, torch {torch.__version__}, scikit-learn {sklearn.__version__}"
    lines = {
        "command": shlex.join(["python", *sys.argv]),
        "machine": machine(),
        "software": f"{versions}, python {platform.python_version()}",
        **facts,
    }
    for name, text in lines.items():
        console.print(f"  {name:<9} {text}", markup=False)


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> str:
    """Cores that this process may use, processor, threads, and the GPU if there is one."""
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{cores()} cores of {_processor()}, {torch.get_num_threads()} threads{gpu}"


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        text = ""
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return match[1] if match else platform.processor() or platform.machine()
