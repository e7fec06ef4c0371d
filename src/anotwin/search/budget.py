"""From milliseconds per image to steps: measured once, so that no score depends on a clock.

The steps that a budget allows are measured before the first image is scored, on synthetic images of the model's shape,
and hold for the whole run: scores do not depend on its speed. A resumed run has the same steps only if it is given
them, and a threshold holds for the steps that it was calibrated with.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable

from anotwin.errors import SettingsError

Search = Callable[[int], object]  # searches one full batch with that many steps

SHORT, LONG = 2, 6  # steps; their difference leaves out the cost of a batch that does not grow with steps
REPEATS = 3
MOST_STEPS = 10**6  # no search needs them, and settings have room for them


def steps_within(
    search: Search, images: int, milliseconds: float, clock: Callable[[], float] = time.perf_counter
) -> tuple[int, float]:
    """The steps that `milliseconds` an image allow for `search`, which takes `images` at once, and what a step costs.

    Returns (steps >= 1, milliseconds per image-step); raises SettingsError for a budget that does not allow one step.

    >>> now = iter([0.0, 0.3, 0.0, 0.7] * REPEATS)  # 0.1 s a step and as much besides
    >>> steps_within(lambda steps: None, 10, 200.0, lambda: next(now))
    (19, 10.0)
    """
    if not 0 < milliseconds < math.inf:
        raise SettingsError(f"--budget-ms {milliseconds:g}: must be above 0 and finite, for example 20")

    def seconds(steps: int) -> float:
        began = clock()
        search(steps)
        return clock() - began

    search(SHORT)  # not counted: kernels are chosen, memory is allocated
    pairs = [(seconds(SHORT), seconds(LONG)) for _ in range(REPEATS)]
    short, long = (statistics.median(times) for times in zip(*pairs, strict=True))
    step = max(long - short, 1e-9) / (LONG - SHORT)
    once = max(short - SHORT * step, 0.0)
    steps = int(min((milliseconds / 1000 * images - once) / step + 1e-6, MOST_STEPS))
    if steps < 1:
        least = 1000 * (once + step) / images
        raise SettingsError(f"--budget-ms {milliseconds:g}: one step of the search takes {least:.3g} ms per image here")
    return steps, round(1000 * step / images, 6)
