"""What the counterpart is worth: the same score of the same images, with the query in the place of its counterpart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch

from anotwin import Detector, Finding
from anotwin.methods.networks import Critique
from anotwin.methods.protocol import Folds, Method
from anotwin.records import Batch, Comparison, Counterpart, ImageSource
from anotwin.run.local import reference_of
from benchmarks.common.images import members


class WithoutCounterpart:
    """A method whose counterparts are the queries: every term that compares with them says that nothing differs."""

    name: ClassVar[str] = "without"

    def __init__(self, method: Method) -> None:
        self.method = method.for_inference() if isinstance(method, Folds) else method
        self.spec, self.settings, self.networks = method.spec, method.settings, method.networks

    def trainer(self) -> Any:
        return self.method.trainer()

    def counterpart(self, batch: Batch) -> Counterpart:
        found = self.method.counterpart(batch)
        return replace(found, images=batch.images.to(found.images.device, found.images.dtype))

    def compare(self, queries: torch.Tensor, counterpart: Counterpart) -> Comparison:
        return self.method.compare(queries, counterpart)

    def critique(self, images: torch.Tensor) -> Critique:
        return self.method.critique(images)


def score_without(
    detector: Detector, train: ImageSource, source: ImageSource, indices: Sequence[int]
) -> Iterator[Finding]:
    """Findings without pictures. What a view compares with is made anew, from the same held-out normals of `train`."""
    method: Any = WithoutCounterpart(detector.method)  # a `Method` but for its constructor
    other = Detector(method, layout=detector.layout, history=dict(detector.history))
    if other.history.pop("reference", None):
        heldout, learnt = (members(detector, train, part) for part in ("holdout", "train"))
        kept = {**detector.history["reference"], **reference_of(method, train, heldout, learnt)}
        other.history["reference"] = kept
    return other.findings(source, indices, pictures=False)
