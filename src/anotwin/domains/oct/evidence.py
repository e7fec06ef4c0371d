"""What was found in a scan on the way to its score, for its row and its pictures: lines, and what was not looked at."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from anotwin.domains.oct.flatten import Flat, to_scan
from anotwin.domains.oct.layers.find import Retina
from anotwin.records import Finding

Bools = npt.NDArray[np.bool_]

UNLIKE = {  # quantity of `Scale` -> what it tells
    "rows": "their height in pixels (was the picture resized or cut?)",
    "columns": "their width in pixels (was the picture resized or cut?)",
    "axial_um": "their spacing down a column",
    "lateral_um": "their spacing along a row",
    "width_mm": "the width of retina that they show (is the spacing right?)",
    "thickness_um": "the thickness of the retina (is the spacing right?)",
    "speckle": "their grain (was the picture smoothed, sharpened, resized, or is it of another device?)",
}


@dataclass(frozen=True)
class Evidence(Retina):
    """The lines of a scan that was flattened; `decides` are the columns (W,) that patches decided on."""

    top: npt.NDArray[np.float32] | None = None  # (W,) rows of the scan where the band begins
    unlike: tuple[tuple[str, str], ...] = ()  # what lies far from all training scans: (quantity, words)

    @property
    def above(self) -> float:
        """The share of the columns that decide in which the retina goes on above the band."""
        assert self.decides is not None
        return float(np.mean(self._cut()[self.decides])) if self.decides.any() else 0.0

    @property
    def left_columns(self) -> Bools:
        """(W,) columns that were not looked at."""
        assert self.decides is not None
        return np.asarray(~self.decides)

    def unseen(self, height: int) -> Bools:
        """(height, W) True where nothing was looked at: whole columns, and the retina above the band."""
        assert self.top is not None
        rows = np.arange(height)[:, None]
        return np.asarray(self.left_columns | ((rows >= self.ilm) & (rows < self.top)))

    def words(self) -> str:
        """What was not looked at, but for margins and the outer columns, which all scans have; "": nothing else."""
        said = [str(each) for each in self.left_out if each.kind != "margin"]
        if self.above > 0:
            said.append(f"the retina above the band in {self.above:.0%} of the columns")
        return "; ".join(said)

    def _cut(self) -> Bools:
        return np.asarray(self.top is not None and self.ilm < self.top - 1)


def evidence_of(retina: Retina, flat: Flat, covered: Bools, unlike: tuple[tuple[str, str], ...]) -> Evidence:
    """Of a scan whose columns of the band `covered` (w,) patches decide on."""
    columns = np.arange(len(retina.ilm))
    across = np.clip(((columns + 0.5) / flat.columns).astype(np.int64), 0, len(covered) - 1)
    top = to_scan(np.full(len(columns), -0.5), (columns + 0.5) / flat.columns - 0.5, flat)[0]
    known = {**vars(retina), "decides": covered[across] & retina.valid}
    return Evidence(**known, top=top.astype(np.float32), unlike=unlike)


def unseen_of(finding: Finding) -> Bools | None:
    """(H, W) where nothing was looked at in the scan of a finding with pictures; None where that is not known."""
    found = finding.evidence
    return found.unseen(len(finding.query)) if isinstance(found, Evidence) and finding.query is not None else None


@dataclass
class Remarks:
    """What is to be said of many scans in a few sentences: each kind with its count and its first scan."""

    scans: int = 0
    _counts: Counter[str] = field(default_factory=Counter)
    _first: dict[str, str] = field(default_factory=dict)

    def add(self, finding: Finding) -> None:
        """Count what there is to say of a scan."""
        self.scans += 1
        found = finding.evidence
        if not isinstance(found, Evidence):
            return
        if words := [str(each) for each in found.left_out if each.kind == "disc"]:
            self._count("left out: an optic disc", f"{finding.id}: {'; '.join(words)}")
        if found.above > 0:
            said = f"{finding.id}: in {found.above:.0%} of its columns"
            self._count("not looked at: the retina above the band of 480 micrometres", said)
        for quantity, said in found.unlike:
            self._count(f"unlike all training scans in {UNLIKE[quantity]}", f"{finding.id}: {said}")

    def notes(self) -> list[str]:
        """A sentence for each kind, in the order in which they came."""
        return [
            f"{kind}, in {count} of {self.scans} scans; the first is {self._first[kind]}"
            for kind, count in self._counts.items()
        ]

    def _count(self, kind: str, first: str) -> None:
        self._counts[kind] += 1
        self._first.setdefault(kind, first)
