"""Lines of JSON appended to a file, each with its own hash: what a kill cut or a disk changed is left out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any


def journal_line(value: Any) -> bytes:
    """A line that holds `value`, plain JSON."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode()  # names that are no UTF-8 are escaped
    return b"%s %s\n" % (check_of(text).encode(), text)


def journal_values(path: Path) -> Iterator[Any]:
    """The values of all lines that are as they were written; nothing of a file that is not there."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        for line in file:
            check, _, text = line.rstrip(b"\n").partition(b" ")
            if line.endswith(b"\n") and check == check_of(text).encode():
                yield json.loads(text)


def check_of(content: bytes) -> str:
    """A hash of 16 digits."""
    return blake2b(content, digest_size=8).hexdigest()
