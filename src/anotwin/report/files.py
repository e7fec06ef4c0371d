"""Names of pictures from ids of images, and errors of the disk as one line."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

from anotwin.errors import DataError

_PLAIN = frozenset(" ._-()+=,@[]{}")
_ARRAY_ID = re.compile(r"(?:train|test|image|array)-\d+")  # what arrays and idx files call their images
_LONGEST = 200  # bytes of a file name; file systems end at 255, and temporary names need a little


@contextmanager
def disk_errors(path: Path, doing: str = "write") -> Iterator[None]:
    """Turn an OSError into a DataError that names the file and what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        advice = "check that the folder is writable and the disk not full" if doing == "write" else "check the path"
        raise DataError(f"{path}: cannot {doing} ({reason}); {advice}") from None


def picture_name(image_id: str) -> str:
    """The posix path of an image's picture below an output folder: always inside it, one name for one id.

    The suffix becomes ``.png``; one that was not ``.png`` stays readable after a ``~``, so that ``a.jpg`` and
    ``a.png`` differ. Characters that are special in paths or shells, and parts like ``..``, are percent-encoded.

    >>> picture_name("bad/a.png"), picture_name("bad/a.jpg"), picture_name("test-00042")
    ('bad/a.png', 'bad/a~jpg.png', 'test-00042.png')
    >>> picture_name("../a:b.png")
    '%2E%2E/a%3Ab.png'
    """
    *folders, name = image_id.split("/")
    stem, dot, suffix = name.rpartition(".")
    if not stem:
        stem, dot, suffix = name, "", ""
    array_like = bool(_ARRAY_ID.fullmatch(stem))
    # exactly one spelling of a stem goes without "~": array ids as they are, everything else when it ends in .png
    plain = (not dot) if array_like else dot + suffix == ".png"
    tail = ".png" if plain else f"~{_encode(suffix) if dot else ''}{'' if dot else '~'}.png"
    return "/".join([*(_folder(part) for part in folders), _fit(_encode(stem, ends=True), tail, name)])


def picture_names(image_ids: Sequence[str]) -> dict[str, str]:
    """`picture_name` for a whole source, with ``a.png`` for ``a.jpg`` unless another image has that name too.

    >>> picture_names(["good/a.jpg", "good/b.jpg", "good/b.png"])
    {'good/a.jpg': 'good/a.png', 'good/b.jpg': 'good/b~jpg.png', 'good/b.png': 'good/b.png'}
    """
    plain = {image_id: picture_name(_as_png(image_id)) for image_id in image_ids}
    taken = Counter(name.casefold() for name in plain.values())
    return {
        image_id: name if taken[name.casefold()] == 1 else picture_name(image_id) for image_id, name in plain.items()
    }


def _as_png(image_id: str) -> str:
    stem, dot, suffix = image_id.rpartition(".")
    return f"{stem}.png" if dot and "/" not in suffix and stem.rpartition("/")[2] else image_id


def _encode(part: str, ends: bool = False) -> str:
    """Percent-encode what is neither a letter, a digit nor harmless; with `ends`, also dots and blanks at both ends."""
    out = []
    for index, char in enumerate(part):
        at_end = ends and index in (0, len(part) - 1) and char in ". "
        if not at_end and (char.isalnum() or char in _PLAIN):
            out.append(char)
        else:  # surrogatepass: names that are not valid UTF-8 arrive as lone surrogates
            out.extend(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))
    return "".join(out)


def _folder(part: str) -> str:
    encoded = _encode(part, ends=True) or "%"
    if encoded.endswith(".png"):  # a folder must not take the name of a picture
        encoded = encoded[:-4] + "%2Epng"
    return _fit(encoded, "", part)


def _fit(encoded: str, tail: str, original: str) -> str:
    """`encoded + tail`, or a cut with a hash of the original where that is longer than file systems take."""
    if len((encoded + tail).encode("utf-8")) <= _LONGEST:
        return (encoded or "%") + tail
    mark = blake2b(original.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    cut = encoded.encode("utf-8")[: _LONGEST - 40].decode("utf-8", "ignore")
    return f"{cut}%%{mark}{'.png' if tail else ''}"  # "%%" comes from nothing else
