"""What preparation makes of images, for a person to check before anything is trained: the check of their domain."""

from __future__ import annotations

from pathlib import Path

from anotwin.data.folder import Part
from anotwin.domains.open import guess_layout, notes_of, open_source
from anotwin.domains.protocol import Checked, Domain
from anotwin.domains.registry import DOMAINS, domain_of_layout, layout_of
from anotwin.errors import SettingsError
from anotwin.files import check_apart, check_writable
from anotwin.updates import Watch, silent, tell


def prepare_folder(
    data: Path,
    out: Path,
    layout: str | None = None,
    part: str | None = None,
    limit: int | None = None,
    pictures: bool = True,
    watch: Watch = silent,
) -> Checked:
    """Show what training and scoring make of DATA; what is written is the domain's.

    Args:
        data: a folder, or one file.
        out: a folder that is not within `data`.
        layout: of `data`; "auto": by what lies there; None: likewise, or that of the first domain with a check.
        part: "train" (normal images alone) or "test"; None: train, or test where `data` is one file.
        limit: only so many images, drawn at random with a fixed seed.
        pictures: the steps of every image; they take most of the time.

    Raises:
        DataError: nothing usable there.
        SettingsError: a layout with nothing to check, another part, a limit below 1, or `out` within `data`.
    """
    if part not in (None, "train", "test"):
        raise SettingsError(f"--part {part}: expected train or test")
    domain, name = _domain(data, layout)
    chosen: Part = "test" if part == "test" or (part is None and data.is_file()) else "train"
    source = open_source(data, chosen, name)
    check_apart(out, data)
    check_writable(out)
    tell(watch, notes_of(source))
    assert domain.check is not None
    return domain.check(source, out, limit, pictures, watch)


def _domain(data: Path, layout: str | None) -> tuple[Domain, str]:
    """The domain to check by, and the layout to open."""
    checked = {domain.own_layout: domain for domain in DOMAINS if domain.check is not None}
    name = guess_layout(data) if layout in (None, "auto") else layout_of(str(layout)).name
    domain = domain_of_layout(name)
    if domain is not None and domain.check is not None:
        return domain, name
    if layout is None:
        return next(iter(checked.values())), next(iter(checked))
    told = f"--layout {layout}" if layout != "auto" else f"{data}: is of the layout {name}"
    raise SettingsError(
        f"{told}: there is nothing to prepare, its images are resized while they are read; use --layout "
        f"{' or '.join(checked)} for what those layouts hold"
    )
