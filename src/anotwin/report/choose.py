"""Which of many findings to show, from a stream and with bounded memory."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from anotwin.errors import SettingsError

if TYPE_CHECKING:
    from anotwin.records import Finding


class Chooser:
    """The findings worth a figure: at most `count`, whatever order they come in, holding at most ``4 * count``.

    Where both normal and abnormal images are labelled, half of each, drawn by a hash of their ids: a fair sample, with
    the method's mistakes in it. Without labels, the most anomalous half and the most normal-looking half. Findings
    without a score or a picture are passed over.
    """

    def __init__(self, count: int) -> None:
        if count < 1:
            raise SettingsError(f"{count} images to show: expected at least 1")
        self._count = count
        self._loudest: list[Finding] = []
        self._quietest: list[Finding] = []
        self._normal: list[Finding] = []
        self._abnormal: list[Finding] = []

    def add(self, finding: Finding) -> None:
        """Look at one more finding, and keep it as long as nothing better came."""
        if finding.query is None or math.isnan(finding.score):
            return
        self._keep(self._loudest, finding, _loud)
        self._keep(self._quietest, finding, lambda f: (f.score, f.id))
        if finding.normal is not None:
            self._keep(self._normal if finding.normal else self._abnormal, finding, _lot)

    def _keep(self, best: list[Finding], finding: Finding, key: Callable[[Finding], Any]) -> None:
        best.append(finding)
        best.sort(key=key)
        del best[self._count :]

    @property
    def chosen(self) -> list[Finding]:
        """The choice so far: abnormal (or loudest) first, each half from the highest score to the lowest."""
        labelled = bool(self._normal and self._abnormal)
        first, second = (self._abnormal, self._normal) if labelled else (self._loudest, self._quietest)
        half = max(self._count - self._count // 2, self._count - len(second))
        upper = first[:half]
        taken = {id(finding) for finding in upper}
        lower = [finding for finding in second if id(finding) not in taken][: self._count - len(upper)]
        return sorted(upper, key=_loud) + sorted(lower, key=_loud)


def choose(findings: Iterable[Finding], count: int) -> list[Finding]:
    """What a `Chooser` keeps of a stream of findings."""
    chooser = Chooser(count)
    for finding in findings:
        chooser.add(finding)
    return chooser.chosen


def _loud(finding: Finding) -> tuple[float, str]:
    return -finding.score, finding.id


class _Reversed(str):
    """Text that sorts from the last to the first."""

    def __lt__(self, other: str) -> bool:
        return str.__gt__(self, other)


def _from_below(finding: Finding) -> tuple[float, _Reversed]:
    """The reverse of `_loud`, ids too."""
    return finding.score, _Reversed(finding.id)


def _lot(finding: Finding) -> tuple[bytes, str]:
    """A draw that depends on the id alone, so that neither the order nor the machine changes it."""
    return blake2b(finding.id.encode("utf-8", "surrogatepass"), digest_size=8).digest(), finding.id


class Extremes:
    """The findings of a stream with the highest and the lowest scores, with their pictures: so many of each."""

    def __init__(self, highest: int, lowest: int = 0) -> None:
        self._most_highest, self._most_lowest = highest, lowest
        self._highest: list[Finding] = []  # from the highest score on
        self._lowest: list[Finding] = []  # from the lowest

    def wants(self, finding: Finding) -> bool:
        """Whether `add` would keep it now."""
        return not math.isnan(finding.score) and (self._is_high(finding) or self._is_low(finding))

    def add(self, finding: Finding) -> None:
        """Keep it, and let go of those that no longer count."""
        if finding.query is None or not self.wants(finding):
            return
        if self._is_high(finding):
            insort(self._highest, finding, key=_loud)
            del self._highest[self._most_highest :]
        if self._is_low(finding):
            insort(self._lowest, finding, key=_from_below)
            del self._lowest[self._most_lowest :]

    @property
    def kept(self) -> dict[str, Finding]:
        """By id."""
        return {finding.id: finding for finding in (*self._highest, *self._lowest)}

    def _is_high(self, finding: Finding) -> bool:
        full = len(self._highest) == self._most_highest
        return self._most_highest > 0 and (not full or _loud(finding) < _loud(self._highest[-1]))

    def _is_low(self, finding: Finding) -> bool:
        full = len(self._lowest) == self._most_lowest
        return self._most_lowest > 0 and (not full or _from_below(finding) < _from_below(self._lowest[-1]))
