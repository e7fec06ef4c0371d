"""Names that nobody expects: as files, labels, groups and patients they must pass every exit unharmed."""

import csv
import os
from pathlib import Path
from typing import Any

from PIL import Image

NAMES = [
    "[/]",
    "[bold]x[/bold]",
    "[link=https:__x]y[/link]",
    ":smile:",
    "\x1b[31mred",
    "\x1b]0;title\x07",
    "\x9b31m",
    "two\nlines",
    "error: spoof\nerror: done",
    "back\rover",
    "tab\there",
    "a\u202egnp",
    "zero\u200bwidth",
    "fill\u3164er",
    "z" + "\u0335" * 30,
    r"$\frac{1}{0}$",
    "$x^",
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\uff1d1",
    " =1",
    '"=1',
    "'=1",
    "''quoted'",
    "\t=1",
    "con",
    "Same",
    "same",
    "a..png",
    "trail ",
    "--out",
    "图",
    os.fsdecode(b"\xff\xfe"),
    "x" * 240,
    "%s{0}%n",
]


def files(folder: Path, image: Any, names: list[str] = NAMES) -> list[str]:
    """An image of each name; the names of those that this disk takes."""
    folder.mkdir(parents=True, exist_ok=True)
    taken = []
    for number, name in enumerate(names):
        path = folder / f"{name}.png"
        try:
            path.parent.mkdir(exist_ok=True)  # "[/].png" lies in a folder "["
            with path.open("xb") as file:
                pixels = image.copy()
                pixels[number % len(pixels), 0] ^= 1 + number // len(pixels)  # no two alike
                Image.fromarray(pixels).save(file, format="PNG")
        except (OSError, UnicodeError, ValueError):
            continue
        taken.append(path.relative_to(folder).as_posix())
    return taken


def harmless(text: str) -> bool:
    """Whether a terminal shows `text` as it is: nothing in it but printable characters and the ends of our lines."""
    return all(char.isprintable() and char != "\u3164" for char in text.replace("\n", ""))


def cells(path: Path) -> list[list[str]]:
    """All cells below the header, as any program reads them."""
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.reader(file, strict=True))[1:]


def computed(cell: str) -> bool:
    """Whether a spreadsheet might take a cell for a formula: all that begins like one and is no number."""
    if cell.startswith(("\t", "\r", "\n")):
        return True
    if not cell.lstrip(' "\u200b').startswith(tuple("=+-@\uff1d\uff0b\uff0d\uff20")):
        return False
    try:
        float(cell)
    except ValueError:
        return True
    return False
