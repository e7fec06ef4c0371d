"""What a folder for results holds already: said before it is replaced; and no results go into a model's folder.

Only names and times are looked at.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from anotwin.errors import SettingsError

_MODEL = "bundle.json"
_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".pgm", ".ppm", ".tif", ".tiff")
_OWN = ("counterparts", "heatmaps", "bscans", "volumes", "sheets", "steps", "figure", "features", "roc", "histogram")
_OWN_MORE = ("grid", "sample-", "slices", "maps", "trace", "search", "masks", "regions")


def model_notes(out: Path) -> list[str]:
    """What training into `out` replaces."""
    return [f"{out}: replaces the model of {_date(out / _MODEL)} that is there"] if (out / _MODEL).is_file() else []


def result_notes(out: Path, *names: str) -> list[str]:
    """What writing the results `names` into `out` replaces, or that other images lie there.

    Raises:
        SettingsError: `out` is the folder of a model.
    """
    if (out / _MODEL).is_file():
        raise SettingsError(f"{out}: is the folder of a model (it holds {_MODEL}); choose another --out")
    notes = [note for name in names for note in replaced_note(out / name)]
    other = None if notes else _other_image(out)
    return [f"{out}: holds other images ({other}); results are written beside them"] if other else notes


def replaced_note(path: Path) -> list[str]:
    """That a file of results is there already."""
    return [f"{path}: of {_date(path)}, is replaced"] if path.is_file() else []


def _other_image(out: Path) -> str | None:
    """An image in `out`, or in a folder of it, that no results of ours are called like; None where there is none."""
    try:
        entries = sorted(os.scandir(out), key=lambda entry: entry.name)
        for entry in entries:
            if entry.name.startswith((".", *_OWN, *_OWN_MORE)):
                continue
            inside: Iterable[str] = (f"{entry.name}/{path.name}" for path in Path(entry).iterdir())
            for name in inside if entry.is_dir() else [entry.name]:
                if name.lower().endswith(_IMAGES):
                    return name
    except OSError:  # not there, or not to be listed
        return None
    return None


def _date(path: Path) -> str:
    return f"{datetime.fromtimestamp(path.stat().st_mtime).astimezone():%Y-%m-%d %H:%M}"
