"""Which of many findings to show, from a stream and with bounded memory."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Callable
from dataclasses import replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from anotwin.errors import SettingsError

if TYPE_CHECKING:
    from anotwin.records import Array, Finding

MOST = 2**20  # pixels of a picture that is kept for a figure: larger ones are shrunk, a figure shows far fewer


def shrunk(finding: Finding) -> Finding:
    """The finding with pictures of at most 2^20 pixels, by the mean of blocks; of heat by their highest."""
    if finding.query is None or math.prod(finding.query.shape[:2]) <= MOST:
        return finding
    factor = math.ceil(math.sqrt(math.prod(finding.query.shape[:2]) / MOST))
    return replace(
        finding,
        query=_fewer(finding.query, factor),
        counterpart=_fewer(finding.counterpart, factor),
        difference=_fewer(finding.difference, factor),
        heatmap=_fewer(finding.heatmap, factor, highest=True),
    )


def _fewer(pixels: Array | None, factor: int, highest: bool = False) -> Array | None:
    if pixels is None:
        return None
    high, wide = (max(1, side // factor) for side in pixels.shape[:2])
    if min(pixels.shape[:2]) < factor:  # a strip: some of its pixels
        return pixels[:: max(1, pixels.shape[0] // high), :: max(1, pixels.shape[1] // wide)].copy()
    cut = pixels[: high * factor, : wide * factor].reshape(high, factor, wide, factor, *pixels.shape[2:])
    values = cut.max(axis=(1, 3)) if highest else cut.mean(axis=(1, 3))
    return np.asarray(np.rint(values) if pixels.dtype.kind in "iu" else values).astype(pixels.dtype)


class _Best:
    """The findings of a stream with the smallest keys, at most `count`, in that order."""

    def __init__(self, count: int, key: Callable[[Finding], Any]) -> None:
        self.findings: list[Finding] = []
        self._count, self._key = count, key

    def wants(self, finding: Finding) -> bool:
        """Whether `add` would keep it now."""
        if len(self.findings) < self._count:
            return True
        return self._count > 0 and bool(self._key(finding) < self._key(self.findings[-1]))

    def add(self, finding: Finding) -> None:
        if self.wants(finding):
            insort(self.findings, finding, key=self._key)
            del self.findings[self._count :]


class Extremes:
    """The findings with the highest and those with the lowest scores: at most as many as asked for, with pictures.

    Among equal scores the highest are chosen from the first id on and the lowest from the last, as `table.extremes`
    does. Findings without a score or a picture are left out. `shrink` is what is done to a finding that is kept.
    """

    def __init__(self, highest: int, lowest: int = 0, shrink: Callable[[Finding], Finding] = lambda each: each) -> None:
        self._shrink = shrink
        self._highest = _Best(highest, _from_highest)
        self._lowest = _Best(lowest, lambda finding: (finding.score, _Reversed(finding.id)))

    def wants(self, finding: Finding) -> bool:
        """Whether `add` would keep it now, if it has its picture."""
        return not math.isnan(finding.score) and (self._highest.wants(finding) or self._lowest.wants(finding))

    def add(self, finding: Finding) -> None:
        """Keep it if it is among the highest or the lowest so far."""
        if finding.query is not None and not math.isnan(finding.score) and self.wants(finding):
            finding = self._shrink(finding)
            self._highest.add(finding)
            self._lowest.add(finding)

    @property
    def kept(self) -> dict[str, Finding]:
        """By id."""
        return {finding.id: finding for finding in (*self._highest.findings, *self._lowest.findings)}


class Chooser:
    """The findings worth a figure: at most `count`, whatever order they come in, holding at most ``4 * count``.

    Where both normal and abnormal images are labelled, half of each, drawn by a hash of their ids: a fair sample, with
    the method's mistakes in it. Without labels, the half with the highest and the half with the lowest scores. Findings
    without a score or a picture are left out. `shrink` is what is done to a finding that is kept.
    """

    def __init__(self, count: int, shrink: Callable[[Finding], Finding] = lambda each: each) -> None:
        if count < 1:
            raise SettingsError(f"{count} images to show: expected at least 1")
        self._count, self._shrink = count, shrink
        self._highest, self._abnormal = _Best(count, _from_highest), _Best(count, _draw)
        self._lowest, self._normal = _Best(count, lambda finding: (finding.score, finding.id)), _Best(count, _draw)

    def add(self, finding: Finding) -> None:
        """Keep it as long as nothing better comes."""
        if finding.query is None or math.isnan(finding.score):
            return
        chosen = [self._highest, self._lowest]
        if finding.normal is not None:
            chosen.append(self._normal if finding.normal else self._abnormal)
        if any(best.wants(finding) for best in chosen):
            finding = self._shrink(finding)  # once: the same finding in each of them
            for best in chosen:
                best.add(finding)

    @property
    def chosen(self) -> list[Finding]:
        """The choice so far: abnormal (or highest) first, each half from the highest score to the lowest."""
        labelled = self._normal.findings and self._abnormal.findings
        first, second = (self._abnormal, self._normal) if labelled else (self._highest, self._lowest)
        half = max(self._count - self._count // 2, self._count - len(second.findings))
        upper = first.findings[:half]
        taken = {id(finding) for finding in upper}
        lower = [finding for finding in second.findings if id(finding) not in taken][: self._count - len(upper)]
        return sorted(upper, key=_from_highest) + sorted(lower, key=_from_highest)


def _from_highest(finding: Finding) -> tuple[float, str]:
    return -finding.score, finding.id


class _Reversed(str):
    """Text that sorts from the last to the first."""

    def __lt__(self, other: str) -> bool:
        return str.__gt__(self, other)


def _draw(finding: Finding) -> tuple[bytes, str]:
    """A random order that depends on the id alone: neither the order of the stream nor the machine changes it."""
    return blake2b(finding.id.encode("utf-8", "surrogatepass"), digest_size=8).digest(), finding.id
