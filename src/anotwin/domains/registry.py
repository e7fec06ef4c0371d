"""Every domain. A new one is a folder beside this file and one entry here; torch is not loaded by it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from anotwin.domains.oct.domain import OCT
from anotwin.domains.plain.domain import PLAIN
from anotwin.domains.protocol import Domain, Layout
from anotwin.domains.surfaces.domain import SURFACES
from anotwin.domains.video.domain import MOVING, VIDEO
from anotwin.errors import SettingsError, did_you_mean

if TYPE_CHECKING:
    from anotwin.records import ImageSource
    from anotwin.settings import Settings

# DATA is recognised in this order; the first is the default
DOMAINS: list[Domain] = [PLAIN, OCT, SURFACES, VIDEO, MOVING]


def layouts() -> dict[str, Layout]:
    """Every layout by its name."""
    return {layout.name: layout for domain in DOMAINS for layout in domain.layouts}


def layout_of(name: str) -> Layout:
    """The layout of this name; raises SettingsError."""
    known = layouts()
    if name not in known:
        raise SettingsError(f"layout {name!r}: expected {', '.join(['auto', *known])}{did_you_mean(name, known)}")
    return known[name]


def domain_of_layout(name: str) -> Domain | None:
    """The domain that a layout belongs to; None for images in memory and "auto"."""
    return next((domain for domain in DOMAINS if name in {layout.name for layout in domain.layouts}), None)


def domain_of_view(name: str) -> Domain:
    """The domain whose view has this name; raises SettingsError."""
    known = {domain.view_name: domain for domain in DOMAINS}
    if name not in known:
        raise SettingsError(f"view {name!r}: expected {', '.join(['auto', *known])}{did_you_mean(name, known)}")
    return known[name]


def domain_for(view: str, *layouts: str) -> Domain:
    """The domain whose view a model is trained with: the one named, else that of the first layout known, else whole."""
    if view != "auto":
        return domain_of_view(view)
    return next((domain for name in layouts if (domain := domain_of_layout(name))), DOMAINS[0])


def domain_seeing(source: ImageSource, indices: Sequence[int], settings: Settings) -> Domain:
    """The domain whose view a model of these training images is trained with: also by what the images are like."""
    chosen = domain_for(settings.data.view, settings.data.layout, source.layout)
    if settings.data.view != "auto":
        return chosen
    return next((domain for domain in DOMAINS if domain.claims(source, indices, settings)), chosen)
