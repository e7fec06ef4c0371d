"""`--budget-ms`: the detector that stays within a time an image, and what that means, said aloud."""

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
    """`detector` with as many steps of search as `milliseconds` an image allow on this machine; None: as it is.

    Measured once, on noise, at the batch size of the settings. Where the steps change, the calibration is gone: it
    holds for the steps that it was made with. Raises SettingsError where not even one step fits, and for a method that
    does not search.
    """
    if milliseconds is None:
        return detector
    method = detector.method
    spec, size, before = method.spec, method.settings.search.batch_size, method.settings.search.steps
    noise = torch.rand((size, spec.channels, spec.size, spec.size), generator=generator(0, "budget")) * 2 - 1
    batch = Batch(noise, tuple(range(size)))

    @cache
    def searching(steps: int) -> Detector:
        overrides = [f"search.steps={steps}", "search.patience=0"]  # no row leaves: the most expensive case
        return detector.with_settings(method.settings.with_overrides(overrides))

    def search(steps: int) -> Counterpart:
        found = searching(steps).method.counterpart(batch)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return found

    if not isinstance(method, Searches) or not method.searching:
        raise SettingsError(f"--budget-ms: method {method.name} does not search: every image takes it the same time")
    steps, cost = steps_within(search, size, milliseconds)
    note = (
        f"--budget-ms {milliseconds:g}: {steps} steps of search for every image of this run ({cost:.3g} ms an image "
        f"and step, {size} images at once); the model's own are {before}"
    )
    if steps == before:
        watch(Update("note", detail=note))
        return detector
    if detector.calibration is not None:
        note += ". Its threshold holds for those alone and is not used: calibrate with the same --budget-ms to have one"
    watch(Update("note", detail=note))
    return detector.with_settings(method.settings.with_overrides([f"search.steps={steps}"]))
