"""The folder in which a training makes a model, of detectors and translators alike."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from anotwin.bundle import sweep_weights
from anotwin.files import check_apart, check_writable
from anotwin.lock import one_writer
from anotwin.occupied import model_notes
from anotwin.updates import Watch, tell


@contextmanager
def model_folder(out: str | Path | None, data: Any) -> Iterator[Path]:
    """`out`, or a folder that goes with the training where that is None; raises where it lies in the data."""
    with tempfile.TemporaryDirectory(prefix="anotwin-") as scratch:
        folder = Path(scratch if out is None else out)
        check_apart(folder, data)
        yield folder


@contextmanager
def claimed(folder: Path, resume: bool, watch: Watch) -> Iterator[None]:
    """Make the folder and hold it as its only writer, and say so where it replaces a model.

    After what cannot be trained has raised, before any image is prepared. Raises where nothing can be written there.
    """
    with one_writer(folder, lambda note: tell(watch, [note]), below=["runs"]):
        tell(watch, [] if resume else model_notes(folder))
        check_writable(folder)
        sweep_weights(folder)
        yield
