"""Large arrays in pieces, so that what is computed of them in double takes little memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

BLOCK = 2**20  # values at a time


def blocks(shape: Sequence[int]) -> Iterator[slice]:
    """The rows of an array of this shape in pieces of about a million values; one row at least.

    >>> [(rows.start, rows.stop) for rows in blocks((3000, 1000))]
    [(0, 1048), (1048, 2096), (2096, 3144)]
    """
    step = max(1, BLOCK // max(math.prod(shape[1:]), 1))
    return (slice(begin, begin + step) for begin in range(0, shape[0], step))
