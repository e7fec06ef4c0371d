"""Surfaces of parts and materials: images in any layout, looked at in tiles at their native resolution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from anotwin.domains.protocol import Domain, Job, Outputs, ScoreOutputs, Unit, View

if TYPE_CHECKING:
    from anotwin.records import ImageSource
    from anotwin.settings import Settings


def _view() -> View:
    from anotwin.domains.surfaces.view import TilesView

    return TilesView()


def _claims(source: ImageSource, indices: Sequence[int], settings: Settings) -> bool:
    from anotwin.domains.surfaces.view import are_large

    return source.layout in ("folder", "mvtec") and are_large(source, indices, settings)


def _scoring(job: Job) -> ScoreOutputs:
    from anotwin.domains.surfaces.outputs import SurfaceOutputs

    return SurfaceOutputs(job)


def _evaluating(job: Job) -> Outputs:
    from anotwin.domains.surfaces.outputs import EvaluatedSurfaces

    return EvaluatedSurfaces(job)


def _units(source: ImageSource, scores: Mapping[int, float]) -> Mapping[str, Sequence[Unit]]:
    from anotwin.domains.groups import group_units

    return group_units(source, scores)


SURFACES = Domain(
    name="surfaces",
    layouts=(),  # files lie as those of whole images do
    view_name="tiles",
    parts=True,
    view=_view,
    scoring=_scoring,
    evaluating=_evaluating,
    claims=_claims,
    method="pix2pix",
    units=_units,
    files=("groups.csv", "regions.csv", "regions.json"),
)
