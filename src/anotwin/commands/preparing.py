"""`anotwin prepare`: what preparation makes of images, to be checked before training; see `Domain.check`."""

from __future__ import annotations

from pathlib import Path

from anotwin.data.folder import Part
from anotwin.domains.open import guess_layout, notes_of, open_source
from anotwin.domains.protocol import Checked
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
    """Show what training and scoring make of DATA; the domain says what is written.

    Args:
        data: a folder, or one file.
        out: a folder that is not within `data`.
        layout: of `data`; "auto": the one recognised; None: likewise or, if that has no check, the first that has one.
        part: "train" (normal images alone) or "test"; None: train, or test where `data` is one file.
        limit: at most this many images, drawn at random with a fixed seed.
        pictures: the steps of every image; they take most of the time.

    Raises:
        DataError: nothing usable there.
        SettingsError: a layout with nothing to check, another part, a limit below 1, or `out` within `data`.
    """
    if part not in (None, "train", "test"):
        raise SettingsError(f"--part {part}: expected train or test")
    name = guess_layout(data) if layout in (None, "auto") else layout_of(str(layout)).name
    domain, others = domain_of_layout(name), [domain for domain in DOMAINS if domain.check is not None]
    if layout is None and (domain is None or domain.check is None):
        domain, name = others[0], others[0].own_layout
    if domain is None or domain.check is None:
        raise SettingsError(
            f"{data}: nothing to prepare in the layout {name}, whose images are only resized while they are read; "
            f"use --layout {' or '.join(other.own_layout for other in others)} if that is what they are"
        )
    chosen: Part = "test" if part == "test" or (part is None and data.is_file()) else "train"
    source = open_source(data, chosen, name)
    check_apart(out, data)
    check_writable(out)
    tell(watch, notes_of(source))
    return domain.check(source, out, limit, pictures, watch)
