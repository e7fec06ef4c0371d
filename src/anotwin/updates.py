"""How far a long operation is: what `Detector` tells whoever watches it, and progress bars show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Update:
    """How far a long operation is; `detail` is what a progress bar shows beside it. A "note" is a sentence to print."""

    stage: str  # "preparing", "training", "calibrating", "scoring" or "note"
    done: int = 0
    total: int = 0
    detail: str = ""


Watch = Callable[[Update], None]


def tell(watch: Watch, notes: Sequence[str], most: int = 10) -> None:
    """Give notes to a watch, the first of them where there are many."""
    for note in notes[:most]:
        watch(Update("note", detail=note))
    if len(notes) > most:
        watch(Update("note", detail=f"... and {len(notes) - most} more notes"))


def silent(_update: Update) -> None:
    """A watch that tells nobody."""
