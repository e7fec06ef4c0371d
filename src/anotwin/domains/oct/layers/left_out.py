"""Columns of a scan that are not used, and why; and those at its ends that are shown but do not decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.ndimage import find_objects, label

from anotwin.domains.oct.layers.shortest_paths import Bools

Kind = Literal["disc", "margin", "dark"]
WORDS: dict[Kind, str] = {
    "disc": "optic disc",
    "margin": "nothing but margin",
    "dark": "no RPE to be seen",
}
# Light is lost towards the ends of a scan and the lines have one neighbour only: of 18 unseen healthy eyes 16 had their
# highest heat in the outer 6 % of the columns.
OUTER, OUTER_SHARE = 350.0, 0.06  # micrometres at either end, and the share of the columns shown, whichever is less


@dataclass(frozen=True)
class LeftOut:
    """Neighbouring columns that are not used.

    >>> str(LeftOut("disc", 0, 61))
    'optic disc in columns 0 to 61'
    """

    kind: Kind
    first: int  # column of the scan
    last: int  # inclusive

    def __str__(self) -> str:
        return f"{WORDS[self.kind]} in columns {self.first} to {self.last}"


def left_out(kinds: Mapping[Kind, Bools]) -> tuple[LeftOut, ...]:
    """Runs of the columns (W,) of each kind, from left to right; a column of several kinds counts as the first."""
    found: list[LeftOut] = []
    free = np.ones_like(next(iter(kinds.values())))
    for kind, columns in kinds.items():
        mine = columns & free
        free = free & ~columns
        found += [LeftOut(kind, run[0].start, run[0].stop - 1) for run in find_objects(label(mine)[0])]
    return tuple(sorted(found, key=lambda one: one.first))


def inner(shown: Bools, lateral: float) -> Bools:
    """(W,) the columns that are shown, without the outer ones; `lateral`: micrometres a column.

    >>> inner(np.ones(100, bool), 10.0).sum()
    np.int64(88)
    """
    columns = np.flatnonzero(shown)
    if not len(columns):
        return shown
    first, last = columns[0], columns[-1]
    outer = round(min(OUTER / lateral, OUTER_SHARE * (last - first + 1)))
    number = np.arange(len(shown))
    return np.asarray(shown & (number >= first + outer) & (number <= last - outer))
