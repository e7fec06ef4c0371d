"""Modules of benchmarks/, which is no package, for as long as a test module needs them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@contextmanager
def oct_modules(*names: str) -> Iterator[Any]:
    """oct.py as `script`, its `main`, and its parts by name: ``folds`` is _oct_folds.py."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        script = import_module("oct")
        parts = {name: import_module(f"_oct_{name}") for name in names}
        yield SimpleNamespace(script=script, main=script.main, **parts)
    finally:
        sys.path.remove(str(BENCHMARKS))
