"""A numbered folder for each training run: settings, statistics, sample grids, snapshots.

    MODEL/runs/00000-anogan/
      run.json          method, spec, settings, which images (hash), versions, threads; with its SHA-256
      stats.jsonl       one line every few steps: step, seconds, images_per_second, losses
      samples-001000.png
      snapshot-001000.pt   networks and optimisers, behind their SHA-256; the last two are kept

A kill at any moment leaves the last complete state. Nothing is resumed from that is not to the last bit what was
written: a snapshot whose hash differs gives way to the one before. They are read with `weights_only=True`: no code.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import pickle
import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from anotwin.errors import DataError, SettingsError
from anotwin.files import atomic_path, parse_json, write_json_atomic, write_text_atomic

KEPT_SNAPSHOTS = 2
_HEAD = b"anotwin snapshot 1 sha256 %s\n"  # before what torch.save wrote
_HEAD_BYTES = len(_HEAD % bytes(64))
_DAMAGED = (
    *(OSError, RuntimeError, KeyError, TypeError, ValueError, EOFError),
    *(pickle.UnpicklingError, zipfile.BadZipFile, zlib.error),
)
_ZIP = b"PK\x03\x04"


@dataclass(frozen=True)
class RunFolder:
    """One run below MODEL/runs."""

    path: Path

    @classmethod
    def create(cls, model: Path, method: str, description: dict[str, Any]) -> RunFolder:
        """The next number; raises DataError where nothing can be written."""
        runs = model / "runs"
        number = 1 + max((int(run.path.name[:5]) for run in list_runs(model)), default=-1)
        folder = runs / f"{number:05d}-{method}"
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise DataError(f"cannot create {folder}: {error.strerror}; choose another --out") from None
        run = cls(folder)
        run.describe(description)
        return run

    @classmethod
    def latest(cls, model: Path) -> RunFolder:
        """The newest run with a readable description; raises SettingsError if there is none to resume."""
        for run in reversed(list_runs(model)):
            if (run.path / "run.json").is_file():
                return run
        raise SettingsError(f"{model}: no training run to resume; start one without --resume")

    def describe(self, description: dict[str, Any]) -> None:
        """Write `description` and its SHA-256; raises DataError."""
        write_json_atomic(self.path / "run.json", description | {"sha256": _digest_of(description)})

    def description(self) -> dict[str, Any]:
        """What `describe` was given; raises SettingsError where the file is not what was written."""
        path = self.path / "run.json"
        try:
            loaded = parse_json(path.read_bytes())
        except (OSError, ValueError) as error:
            raise SettingsError(f"{path}: cannot read it ({error}); start a new run without --resume") from None
        if not isinstance(loaded, dict):
            raise SettingsError(f"{path}: not a description of a run; start a new run without --resume")
        if "sha256" in loaded and loaded.pop("sha256") != _digest_of(loaded):  # earlier versions wrote none
            why = "altered or damaged after it was written (SHA-256 differs)"
            raise SettingsError(f"{path}: {why}; start a new run without --resume")
        return loaded

    def log(self, row: dict[str, Any]) -> None:
        """Append one line to stats.jsonl."""
        path = self.path / "stats.jsonl"
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise DataError(f"cannot write {path}: {error.strerror}; free space, then --resume") from None

    def stats(self) -> list[dict[str, Any]]:
        """All complete lines of stats.jsonl."""
        path = self.path / "stats.jsonl"
        rows = []
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []:
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                continue  # the line that a kill cut short
            if isinstance(row, dict) and type(row.get("step")) is int:
                rows.append(row)
        return rows

    def forget_after(self, step: int) -> float:
        """Drop statistics of later steps (a resumed run writes them again); the seconds spent until `step`."""
        rows = [row for row in self.stats() if row["step"] <= step]
        write_text_atomic(self.path / "stats.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        seconds = rows[-1].get("seconds", 0) if rows else 0
        known = type(seconds) in (int, float) and 0 <= seconds < math.inf
        return float(seconds) if known else 0.0

    def save_snapshot(self, step: int, state: dict[str, Any]) -> None:
        """Write the state after `step` steps, then delete all but the last two snapshots."""
        content = io.BytesIO()
        torch.save({"step": step, "state": state}, content)
        data = content.getbuffer()
        with atomic_path(self.snapshot_path(step)) as temporary, temporary.open("wb") as file:
            file.write(_HEAD % hashlib.sha256(data).hexdigest().encode())
            file.write(data)
        until = self.snapshots()
        for old in until[: until.index(self.snapshot_path(step)) + 1][:-KEPT_SNAPSHOTS]:  # later ones are damaged
            old.unlink(missing_ok=True)

    def load_snapshot(self) -> tuple[int, dict[str, Any]] | None:
        """The newest snapshot that is to the last bit what was written, (step, state), or None."""
        for path in reversed(self.snapshots()):
            try:
                loaded = torch.load(_checked(path), map_location="cpu", weights_only=True)
                return int(loaded["step"]), loaded["state"]
            except _DAMAGED:
                continue
        return None

    def last_step(self) -> int:
        """The step of the newest readable snapshot, 0 if there is none."""
        snapshot = self.load_snapshot()
        return snapshot[0] if snapshot else 0

    def snapshot_path(self, step: int) -> Path:
        return self.path / f"snapshot-{step:06d}.pt"

    def snapshots(self) -> list[Path]:
        """Oldest first."""
        found = [(re.fullmatch(r"snapshot-(\d+)\.pt", path.name), path) for path in self.path.iterdir()]
        return [path for _, path in sorted((int(match[1]), path) for match, path in found if match)]


def _checked(path: Path) -> io.BytesIO:
    """What torch.save wrote; raises ValueError where it is damaged."""
    data = path.read_bytes()
    if data.startswith(_ZIP):  # of an earlier version: the archive has check sums, which torch.load does not look at
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if archive.testzip() is None:
                return io.BytesIO(data)
    head, content = data[:_HEAD_BYTES], memoryview(data)[_HEAD_BYTES:]
    if head != _HEAD % hashlib.sha256(content).hexdigest().encode():
        raise ValueError("its SHA-256 differs")
    return io.BytesIO(content)


def _digest_of(description: dict[str, Any]) -> str:
    """Of values, whatever the order of keys, the white space and the spelling of characters in the file."""
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()


def list_runs(model: Path) -> list[RunFolder]:
    """All runs of a model folder, oldest first."""
    runs = model / "runs"
    if not runs.is_dir():
        return []
    return [RunFolder(path) for path in sorted(runs.iterdir()) if path.is_dir() and re.match(r"\d{5}-", path.name)]
