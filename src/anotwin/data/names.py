"""Names of files and groups that a person takes for equal: other case, NFC and NFD, backslashes, no ending."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from pathlib import Path


def same_name(text: str) -> str:
    """The form in which names are compared: NFC, no case, single spaces.

    >>> same_name("  Anna  B ") == same_name("anna b")
    True
    """
    return unicodedata.normalize("NFC", " ".join(text.split()).casefold())


@dataclass(frozen=True)
class FileNames:
    """Files below a folder by what people call them; each folder is listed once, when a name in it is asked for."""

    root: Path
    _listed: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    def find(self, name: str) -> list[str]:
        """The files that `name` (posix, below root) can mean: itself if it exists, else all that look like it."""
        if (self.root / name).is_file():
            return [name]
        folder, _, last = name.rpartition("/")
        folders = [""]
        for part in folder.split("/") if folder else []:
            folders = [f"{above}{each}/" for above in folders for each in self._like(above, part)]
        found = [f"{above}{each}" for above in folders for each in self._like(above, last)]
        return [each for each in found if (self.root / each).is_file()]

    def _like(self, folder: str, name: str) -> list[str]:
        """Entries of a folder that look like `name`: with its ending or, where there is none such, without."""
        listed = self._listed.get(folder)
        if listed is None:
            listed = self._listed[folder] = {}
            try:
                entries = sorted(entry.name for entry in (self.root / folder).iterdir())
            except OSError:
                entries = []
            for entry in entries:
                for key in dict.fromkeys((same_name(entry), "/" + same_name(entry.rpartition(".")[0]))):
                    listed.setdefault(key, []).append(entry)
        return listed.get(same_name(name)) or listed.get("/" + same_name(name), [])
