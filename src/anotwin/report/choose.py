"""Which of many findings to show, from a stream and with bounded memory."""

from __future__ import annotations

import math
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


def _lot(finding: Finding) -> tuple[bytes, str]:
    """A draw that depends on the id alone, so that neither the order nor the machine changes it."""
    return blake2b(finding.id.encode("utf-8", "surrogatepass"), digest_size=8).digest(), finding.id
