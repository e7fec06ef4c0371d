"""`--budget-ms`: a detector whose search takes at most that time per image, and a note that says so."""

from __future__ import annotations

from functools import cache

import torch

from anotwin.detector import Detector
from anotwin.errors import SettingsError
from anotwin.methods.protocol import Searches
from anotwin.records import Batch, Counterpart
from anotwin.search.budget import steps_within
from anotwin.seeding import generator
from anotwin.updates import Update, Watch


def within_budget(detector: Detector, milliseconds: float | None, watch: Watch) -> Detector:
    """`detector` with as many steps of search as `milliseconds` an image allow on this machine; None: unchanged.

    Measured once, on noise, at the batch size of the settings. A detector with other steps is not calibrated: a
    calibration holds for the steps that it was made with. Raises SettingsError if not even one step fits, and for a
    method that does not search.
    """
    if milliseconds is None:
        return detector
    method, spec = detector.method, detector.spec
    size, before = detector.settings.search.batch_size, detector.settings.search.steps
    if not isinstance(method, Searches) or not method.searching:
        raise SettingsError(f"--budget-ms: method {method.name} does not search: every image takes the same time")
    noise = torch.rand((size, spec.channels, spec.size, spec.size), generator=generator(0, "budget")) * 2 - 1
    batch = Batch(noise, tuple(range(size)))

    @cache
    def with_steps(*overrides: str) -> Detector:
        return detector.with_settings(detector.settings.with_overrides(overrides))

    def search(steps: int) -> Counterpart:
        # without patience no image stops early: the slowest case
        found = with_steps(f"search.steps={steps}", "search.patience=0").method.counterpart(batch)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return found

    steps, cost = steps_within(search, size, milliseconds)
    note = (
        f"--budget-ms {milliseconds:g}: {steps} steps of search for every image of this run ({cost:.3g} ms per image "
        f"and step, {size} images at once); the model's own number is {before}"
    )
    if steps != before and detector.calibration is not None:
        note += ". Its threshold holds for those only and is not used: calibrate with the same --budget-ms to get one"
    watch(Update("note", detail=note))
    return detector if steps == before else with_steps(f"search.steps={steps}")
