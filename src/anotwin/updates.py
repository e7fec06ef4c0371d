"""Progress of long operations, which `Detector` reports and progress bars show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Update:
    """Progress of a stage; `detail` is shown beside the bar. In the stage "note" it is a sentence to print."""

    stage: str  # "preparing", "training", "comparing", "calibrating", "scoring", "drawing" or "note"
    done: int = 0
    total: int = 0
    detail: str = ""


class Passing(str):
    """A note to show and not to store with a model: it may name patients."""


Watch = Callable[[Update], None]


def tell(watch: Watch, notes: Sequence[str], most: int = 10) -> None:
    """Report notes, at most `most` of them, those not to be stored first, and how many more there are."""
    notes = sorted(notes, key=lambda note: not isinstance(note, Passing))
    for note in notes[:most]:
        watch(Update("note", detail=note))
    if len(notes) > most:
        watch(Update("note", detail=f"... and {len(notes) - most} more notes"))


def silent(_update: Update) -> None:
    """A watch that does nothing."""
