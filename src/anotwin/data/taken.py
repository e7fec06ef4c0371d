"""A table of the folders of a set: how many images each holds, and what they count as."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

ROWS = 12


class Taken(NamedTuple):
    """A row of the table."""

    folder: str  # posix, below DATA; "." for DATA itself; a last part "*" stands for several folders
    images: int
    counts_as: str  # "normal", "abnormal", "mask", "left out: why" ...


def folders_taken(counts: Counter[tuple[str, str]]) -> tuple[Taken, ...]:
    """Rows from counts of (folder, what its images count as); many alike become one, so that it stays short.

    >>> folders_taken(Counter({("img1", "normal"): 1, ("img2", "normal"): 2}))
    (Taken(folder='img1', images=1, counts_as='normal'), Taken(folder='img2', images=2, counts_as='normal'))
    """
    rows = Counter({(folder or ".", counts_as): count for (folder, counts_as), count in counts.items()})
    depth = max((folder.count("/") for folder, _ in rows), default=0)
    while len(rows) > ROWS and depth >= 0:
        alike = Counter((_above(folder, depth), counts_as) for folder, counts_as in rows)
        joined: Counter[tuple[str, str]] = Counter()
        for (folder, counts_as), count in rows.items():
            above = _above(folder, depth)
            several = above is not None and alike[above, counts_as] > 1
            joined[f"{above}*" if several else folder, counts_as] += count
        rows, depth = joined, depth - 1
    return tuple(Taken(folder, count, counts_as) for (folder, counts_as), count in sorted(rows.items()))


def table_lines(taken: Sequence[Taken]) -> list[str]:
    """The table for a terminal: at most 12 rows, then how many more there are."""
    if not taken:
        return []
    shown = taken[:ROWS]
    cells = [("folder", "images", "counts as"), *((row.folder, str(row.images), row.counts_as) for row in shown)]
    width, number = max(len(row[0]) for row in cells), max(len(row[1]) for row in cells)
    lines = [f"{folder:<{width}}  {images:>{number}}  {counts_as}" for folder, images, counts_as in cells]
    more = taken[ROWS:]
    return lines + ([f"... and {len(more)} more with {sum(row.images for row in more)} files"] if more else [])


def _above(folder: str, depth: int) -> str | None:
    """The folder above with its "/", for folders at `depth` (0: below DATA); None for others."""
    if folder == "." or folder.count("/") != depth:
        return None
    return folder.rpartition("/")[0] + "/" if depth else ""
