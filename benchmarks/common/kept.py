"""Scores kept for the next run: one .npz a cell (method, normal class or fold, seed), so that a killed run is resumed.

A cell is known by its key: the method, its settings, the images that it learnt from and those that it scored (by their
content). Code is no part of the key, or a new comment would throw hours away; each file says with which code and on
which machine it was made, and where that is not the present one a line says so.
"""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import anotwin
from anotwin import DataError
from anotwin.files import atomic_path, check_writable
from anotwin.updates import Update, Watch
from benchmarks.common.rows import Floats, console
from benchmarks.common.script import machine

Key = Mapping[str, object]  # JSON; has at least "method", "normal" and "seed"
PREFIX = "column."  # of the names of an outcome's columns in its file


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one method made of the test images of one case."""

    columns: Mapping[str, Floats]  # (N,) each, at least "score"; empty with an error
    seconds: float  # for all N together
    training: float  # seconds
    note: str = ""  # what it was trained with, in a line, where that is not in the settings
    error: str = ""  # in a line, why there are no scores


@dataclass
class Keeper:
    """A folder of cells; without a folder nothing is kept."""

    folder: Path | None = None
    used: int = 0  # cells so far that were there already
    foreign: int = 0  # of these, made by other code or on another machine

    def __post_init__(self) -> None:
        if self.folder is not None:
            check_writable(self.folder)  # now, not after the first training
            made()  # and of the code that is running, before somebody edits it

    def path(self, key: Key) -> Path | None:
        """Where a cell is, or would be."""
        if self.folder is None:
            return None
        digest = hashlib.blake2b(_text(key).encode(), digest_size=6).hexdigest()
        name = re.sub(r"\W+", "-", str(key["method"])).strip("-")
        return self.folder / f"{name}-normal{key['normal']}-seed{key['seed']}-{digest}.npz"

    def load(self, key: Key, watch: Watch) -> Outcome | None:
        """A kept cell, None where there is none; a file that is no such cell is a DataError."""
        path = self.path(key)
        if path is None or not path.is_file():
            return None
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
                about = json.loads(str(arrays["about"]))
                columns = {name.removeprefix(PREFIX): arrays[name] for name in arrays if name.startswith(PREFIX)}
            if about["key"] != json.loads(_text(key)):
                raise ValueError("the scores of another cell")
            kept = Outcome(columns, about["seconds"], about["training"], about["note"], about["error"])
        except (OSError, EOFError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
            raise DataError(f"{path}: cannot be used ({error}); remove it and its scores are made again") from None
        self.used += 1
        other = about["made"] != made()
        self.foreign += other
        origin = f" (made by {about['made']})" if other else ""
        watch(Update("note", detail=f"{key['method']}: {path.name} is used again{origin}"))
        return kept

    def once(self, key: Key, ids: Sequence[str], watch: Watch, make: Callable[[], Outcome]) -> Outcome:
        """A kept cell; where there is none, what `make` returns, which is kept at once."""
        outcome = self.load(key, watch)
        if outcome is None:
            outcome = make()
            self.save(key, outcome, ids)
        return outcome

    def close(self) -> None:
        """A line, where a reader of the numbers should know that not all of them are of this run."""
        if self.used:
            text = f"{self.used} scores of earlier runs were used again"
            if self.foreign:
                text += f", {self.foreign} of them made by other code or on another machine than {made()}"
            console.print(f"{text}; remove them from {self.folder} to make them anew", markup=False)

    def save(self, key: Key, outcome: Outcome, ids: Sequence[str]) -> None:
        """Keep a cell; `ids` (N,) of the images say what each score is of. No label is written."""
        path = self.path(key)
        if path is None:
            return
        numbers = {name: getattr(outcome, name) for name in ("seconds", "training", "note", "error")}
        about = json.dumps({"key": key, "made": made(), **numbers})
        arrays: dict[str, Any] = {PREFIX + name: values for name, values in outcome.columns.items()}
        with atomic_path(path) as temporary:
            np.savez(temporary, about=np.array(about), ids=np.array(ids), **arrays)


def _text(key: Key) -> str:
    return json.dumps(key, sort_keys=True)


@cache
def made() -> str:
    """This machine, and a hash of the package's source."""
    root = Path(anotwin.__file__).parent
    hasher = hashlib.blake2b(digest_size=4)
    for path in sorted(root.rglob("*.py")):
        hasher.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return f"{machine()}, code {hasher.hexdigest()}"
