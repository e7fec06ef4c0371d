"""Names of pictures from ids of images, and errors of the disk as one line."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

from anotwin.errors import DataError

_PLAIN = frozenset(" ._-()+=,@[]{}")
_ARRAY_ID = re.compile(r"(?:train|test|image|array)-\d+")  # what arrays and idx files call their images
_LONGEST = 200  # bytes of a file name; file systems end at 255, and temporary names need a little
_LONGEST_PATH = 1000  # bytes below the output folder; a whole path ends at 4,096 on Linux and 1,024 on macOS
_DEVICES = re.compile(r"(?:con|prn|aux|nul|(?:com|lpt)[0-9¹²³])(?:[. ].*)?", re.IGNORECASE | re.DOTALL)  # on Windows


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
    ``a.png`` differ. Characters that are special in paths or shells, parts like ``..`` and the names that Windows keeps
    for devices are percent-encoded; a path that is too long becomes one name with a hash.

    >>> picture_name("bad/a.png"), picture_name("bad/a.jpg"), picture_name("test-00042")
    ('bad/a.png', 'bad/a~jpg.png', 'test-00042.png')
    >>> picture_name("../a:b.png"), picture_name("con.png")
    ('%2E%2E/a%3Ab.png', '%63on.png')
    """
    *folders, name = image_id.split("/")
    stem, dot, suffix = name.rpartition(".")
    if not stem:
        stem, dot, suffix = name, "", ""
    array_like = bool(_ARRAY_ID.fullmatch(stem))
    # exactly one spelling of a stem goes without "~": array ids as they are, everything else when it ends in .png
    plain = (not dot) if array_like else dot + suffix == ".png"
    tail = ".png" if plain else f"~{_encode(suffix) if dot else ''}{'' if dot else '~'}.png"
    path = "/".join([*(_folder(part) for part in folders), _fit(_encode(stem, ends=True), tail, name)])
    if len(path.encode("utf-8")) <= _LONGEST_PATH:
        return path
    return f"%%{_hash(image_id)}-{path.rpartition('/')[2]}"  # "%%" at the start comes from nothing else


def picture_names(image_ids: Sequence[str]) -> dict[str, str]:
    """`picture_name` for a whole source, with ``a.png`` for ``a.jpg`` unless another image has that name too.

    Names that differ in case, or in how an accent is encoded, alone get a hash: some disks hold them for one.

    >>> picture_names(["good/a.jpg", "good/b.jpg", "good/b.png"])
    {'good/a.jpg': 'good/a.png', 'good/b.jpg': 'good/b~jpg.png', 'good/b.png': 'good/b.png'}
    """
    plain = {image_id: picture_name(_as_png(image_id)) for image_id in image_ids}
    taken = Counter(map(_on_disk, plain.values()))
    names = {
        image_id: name if taken[_on_disk(name)] == 1 else picture_name(image_id) for image_id, name in plain.items()
    }
    taken = Counter(map(_on_disk, names.values()))
    return {
        image_id: name if taken[_on_disk(name)] == 1 else f"{name.removesuffix('.png')}%%{_hash(image_id)}.png"
        for image_id, name in names.items()
    }


def _on_disk(name: str) -> str:
    """What a disk that ignores case and normalises Unicode makes of a name."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())


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
    if encoded.lower().endswith(".png"):  # a folder must not take the name of a picture
        encoded = f"{encoded[:-4]}%2E{encoded[-3:]}"
    return _fit(encoded, "", part)


def _fit(encoded: str, tail: str, original: str) -> str:
    """`encoded + tail`, or a cut with a hash of the original where that is longer than file systems take."""
    if _DEVICES.fullmatch(encoded + tail):
        encoded = f"%{ord(encoded[0]):02X}{encoded[1:]}"
    if len((encoded + tail).encode("utf-8")) <= _LONGEST:
        return (encoded or "%") + tail
    cut = encoded.encode("utf-8")[: _LONGEST - 40].decode("utf-8", "ignore")
    return f"{cut}%%{_hash(original)}{'.png' if tail else ''}"  # "%%" comes from nothing else


def _hash(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
