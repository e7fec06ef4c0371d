"""The errors that AnoTwin raises.

    AnoTwinError
    ├── DataError         the images: missing, unreadable, of the wrong kind, too few
    ├── SettingsError     a setting, an option or an argument that is not possible
    ├── BundleError       a model folder that is truncated, foreign, newer or hostile
    ├── TrainingDiverged  a loss became non-finite; the last good snapshot is kept
    └── MissingExtra      an optional dependency is not installed

Every message says what, where (file, image), what was found, what was expected, and what to do next, on one line:
the command line prints it after ``error:`` and exits with `exit_code`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

RESTORE = "restore the model folder from a copy or train it again"  # the end of a BundleError about a damaged model


class AnoTwinError(Exception):
    """Base of all errors that a user can meet; ``exit_code`` is what the command line returns."""

    exit_code = 2


class DataError(AnoTwinError):
    """The images are missing, unreadable, of the wrong kind or too few."""


class SettingsError(AnoTwinError):
    """A setting or an argument that is unknown or out of range."""


class BundleError(AnoTwinError):
    """A model folder that cannot be trusted or understood."""


class TrainingDiverged(AnoTwinError):
    """A loss became non-finite. The last good snapshot is kept and was written as the model."""

    exit_code = 3


class MissingExtra(AnoTwinError):
    """An optional dependency is not installed."""


def clip(text: str, most: int) -> str:
    """`text` in at most `most` characters, its middle left out: an error names what at its start, why at its end.

    >>> clip("a" * 5000, 40)
    'aaaaaaa ... (5000 characters) ... aaaaaa'
    """
    if len(text) <= most:
        return text
    mark = f" ... ({len(text)} characters) ... "
    left = max(most - len(mark), 2)
    return text[: left - left // 2] + mark + text[-(left // 2) :]


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """The end of a message about a name that does not exist: the known one that it resembles, or `otherwise`.

    >>> did_you_mean("twim", ["anogan", "twin"])
    "; did you mean 'twin'?"
    """
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else otherwise
