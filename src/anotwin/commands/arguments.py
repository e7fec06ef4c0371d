"""The arguments that commands share: what they are called, what they take, and the help that `--help` prints."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Annotated

import typer

from anotwin.domains.registry import DOMAINS, layouts


def path_of(given: str | Path) -> Path:
    """A path that the user gave, or an option's default; "" would be the current folder."""
    text = str(given)
    if not text.strip():
        raise typer.BadParameter("is empty; expected a path (the current folder is .)")
    if "\0" in text:
        raise typer.BadParameter(f"{text!r}: holds a NUL character, which no path can")
    try:
        os.lstat(text)
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            raise typer.BadParameter(f"{text}: {error.strerror}") from None
    return Path(text)


def lines_of(patterns: list[str] | None) -> str | None:
    """Several patterns as settings hold them."""
    return "\n".join(patterns) if patterns else None


Model = Annotated[Path, typer.Argument(help="Model folder, as written by train.", show_default=False, parser=path_of)]
Data = Annotated[
    Path,
    typer.Argument(
        help="Folder of images, or one file; how it may be laid out is under --layout.",
        show_default=False,
        parser=path_of,
    ),
]
Method = Annotated[
    str | None,
    typer.Option(
        help="twin (default), pix2pix (default for tiles), srgan, anogan, fanogan, acae, or cyclegan with "
        "--abnormal-images; to translate: cyclegan, pix2pix with --layout pairs, srgan with --layout folder.",
        show_default=False,
    ),
]
LAYOUTS = ", ".join(["auto", *layouts()])
TRANSLATED = (
    "unpaired (folders A and B), pairs (equal names, or A|B side by side), folder (srgan, reduces images itself)"
)
VIEWS = ", ".join(["auto", *(domain.view_name for domain in DOMAINS)])
OPTIONS = "; ".join(f"{name} ({domain.name}): {what}" for domain in DOMAINS for name, what in domain.options.items())
Layout = Annotated[str, typer.Option(help=f"How DATA is laid out: {LAYOUTS}.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Any setting; repeatable.")]
Normal = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATTERN",
        help="What is normal: a label, a folder or a pattern such as 'line*/good'; repeatable. Not given: by the words "
        "in the names of folders.",
        show_default=False,
    ),
]
Abnormal = Annotated[
    list[str] | None,
    typer.Option(metavar="PATTERN", help="Likewise what is abnormal; repeatable.", show_default=False),
]
AbnormalImages = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Abnormal images, without annotation, that cyclegan learns from beside the normal ones in DATA; groups "
        "of them are left out of evaluate.",
        show_default=False,
        parser=path_of,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Budget = Annotated[
    float | None,
    typer.Option(
        "--budget-ms",
        help="Time in milliseconds per image: the search takes as many steps as fit. For methods that search.",
        show_default=False,
    ),
]
Group = Annotated[
    str | None,
    typer.Option(
        metavar="HOW",
        help="Which images belong together (a patient, a part, a clip): a column of manifest.csv, 'folder' for the "
        "parent folder, a pattern on names with {} where the group stands ('{}_*.png', '*/{}/*'), or 'none'. Not "
        "given: as in training, or by the manifest.",
        show_default=False,
    ),
]
