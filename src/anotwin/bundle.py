"""A model folder: bundle.json + weights.safetensors. Data, never code: loading one executes nothing.

`bundle.json` is the commit: it holds the size and the hash of the weights that belong to it. New weights are first
written as weights.next.safetensors, then bundle.json is replaced, then the weights take their name. A crash before the
second step leaves the old model, a crash after it the new one; `load_bundle` reads both.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import Any

import torch

from anotwin.bundle_json import MAX_BYTES, SCHEMA, Document, parse, seal
from anotwin.domains.registry import domain_of_view
from anotwin.errors import BundleError, SettingsError
from anotwin.files import move, parse_json, write_bytes_atomic, write_json_atomic
from anotwin.records import Calibration, ImageSpec
from anotwin.settings import Settings
from anotwin.weights import TensorType, check_expected, encode, read_header, read_tensors, refuse_pickle

__all__ = ["SCHEMA", "Bundle", "Expected", "describe", "load_bundle", "save_bundle", "save_calibration"]

DOCUMENT, WEIGHTS, NEXT = "bundle.json", "weights.safetensors", "weights.next.safetensors"
Expected = Callable[[str, ImageSpec, Settings], Mapping[str, TensorType]]

_PRINTS = "fingerprints."
_PRINT_NAMES = (_PRINTS + "train", _PRINTS + "holdout")
_ATTEMPTS = 10  # a model that is saved again while it is read
_ADVICE = "restore the model folder from a copy or train it again"
_WHAT = f"a model folder holds {DOCUMENT} and {WEIGHTS}; train one with: anotwin train DATA --out MODEL"


@dataclass(frozen=True, eq=False)  # eq: dicts of tensors have no truth value when compared
class Bundle:
    """Everything that scoring needs to know of a trained model."""

    method: str
    spec: ImageSpec
    settings: Settings
    tensors: dict[str, torch.Tensor] = field(repr=False)  # by "network.parameter"
    calibration: Calibration | None = None
    fingerprints: dict[str, torch.Tensor] = field(default_factory=dict, repr=False)  # "train", "holdout": (n,) int64
    layout: dict[str, str | None] = field(default_factory=dict)  # "layout", "normal": score reads data as train did
    history: dict[str, Any] = field(default_factory=dict)  # plain JSON: steps, seconds, versions, health, notes


def save_bundle(bundle: Bundle, folder: str | Path) -> None:
    """Write a model folder; a crash at any moment leaves the previous model or this one, each whole.

    Tuples in `history` come back as lists. The same bundle always gives the same bytes.

    Raises:
        BundleError: the bundle is one that `load_bundle` would refuse (NaN weights, a foreign type, NaN in history).
        DataError: the folder cannot be written (full disk, no permission).
    """
    folder = Path(folder)
    prints = {_PRINTS + name: values for name, values in bundle.fingerprints.items()}
    clash = sorted(name for name in bundle.tensors if name.startswith(_PRINTS))
    if clash:
        raise BundleError(f"cannot save tensor {clash[0]!r}: the name 'fingerprints' is taken; rename the network")
    _check_prints({name: (tuple(values.shape), values.dtype) for name, values in prints.items()}, "cannot save")
    data = encode({**bundle.tensors, **prints})
    sealed = seal(
        {
            "method": bundle.method,
            "spec": bundle.spec.stored(),
            "layout": bundle.layout,
            "settings": bundle.settings.model_dump(mode="json"),
            "calibration": asdict(bundle.calibration) if bundle.calibration else None,
            "history": bundle.history,
            "weights_bytes": len(data),
            "weights_sha256": hashlib.sha256(data).hexdigest(),
        }
    )
    _finish_commit(folder)
    write_bytes_atomic(folder / NEXT, data)
    write_json_atomic(folder / DOCUMENT, sealed)
    move(folder / NEXT, folder / WEIGHTS)


def save_calibration(folder: str | Path, calibration: Calibration | None, settings: Settings | None = None) -> None:
    """Replace the calibration of a model folder; the weights are not touched. Raises BundleError, DataError.

    `settings` (None: unchanged) are those that the scores were computed with: a calibration holds for them alone.
    """
    folder = Path(folder)
    _check_folder(folder)
    document, before = _read_document(folder)
    content = document.model_dump(exclude={"checksum"})
    if settings is not None:
        if settings.networks != before.networks:
            raise BundleError(f"{folder}: cannot calibrate for other networks than it holds; leave settings.networks")
        content["settings"] = settings.model_dump(mode="json")
    content["calibration"] = asdict(calibration) if calibration else None
    write_json_atomic(folder / DOCUMENT, seal(content))


def load_bundle(folder: str | Path, expected: Expected | None = None) -> Bundle:
    """Read a model folder that nobody vouches for: all is checked before tensors are allocated, nothing is executed.

    Args:
        folder: as written by `save_bundle`.
        expected: method, spec and settings -> the tensors (name: shape, type) that the method has; None: not compared.

    Raises:
        BundleError: on one line, which file is missing, truncated, altered, newer or foreign, and what to do.
    """
    folder = Path(folder)
    _check_folder(folder)
    failed = False
    for _ in range(_ATTEMPTS):
        document, settings = _read_document(folder)
        spec = _spec(document, str(folder / DOCUMENT))
        wanted = _wanted(expected, document.method, spec, settings, str(folder / DOCUMENT))
        try:
            tensors = _read_weights(folder, document, wanted)
            break
        except BundleError:
            unchanged = _read_document(folder)[0].checksum == document.checksum
            if unchanged and failed:  # not a save that was under way: its weights may change names between two looks
                raise
            failed = unchanged
    else:
        raise BundleError(f"{folder}: the model is being written over and over; wait for its training to end")
    prints = {name: tensors.pop(_PRINTS + name) for name in ("train", "holdout") if _PRINTS + name in tensors}
    calibration = Calibration(**document.calibration.model_dump()) if document.calibration else None
    return Bundle(document.method, spec, settings, tensors, calibration, prints, document.layout, document.history)


def _spec(document: Document, where: str) -> ImageSpec:
    try:
        parts = domain_of_view(document.spec.view).parts
    except SettingsError as error:
        raise BundleError(f"{where}: spec.view: {error}; {_ADVICE}") from None
    return ImageSpec(**document.spec.model_dump(), parts=parts)


def describe(bundle: Bundle) -> dict[str, Any]:
    """What ``anotwin info --json`` prints, plain JSON; `parameters`: floating-point values a network."""
    parameters: dict[str, int] = {}
    for name, tensor in bundle.tensors.items():
        network = name.partition(".")[0]
        parameters[network] = parameters.get(network, 0) + (tensor.numel() if tensor.is_floating_point() else 0)
    calibration: dict[str, Any] | None = None
    if bundle.calibration:
        calibration = asdict(bundle.calibration)
        calibration["images"] = len(calibration.pop("scores"))
    return {
        "method": bundle.method,
        "spec": bundle.spec.stored(),
        "layout": dict(bundle.layout),
        "parameters": parameters,
        "bytes": sum(tensor.nbytes for tensor in bundle.tensors.values()),
        "images": {name: values.numel() for name, values in bundle.fingerprints.items()},
        "calibration": calibration,
        "history": bundle.history,
    }


def _check_folder(folder: Path) -> None:
    try:
        if not folder.is_dir():
            found = "is a file, not a model folder" if folder.exists() else "does not exist"
            raise BundleError(f"{folder} {found}; {_WHAT}")
        if _has(folder, DOCUMENT) and (_has(folder, WEIGHTS) or _has(folder, NEXT)):
            return
        missing = WEIGHTS if _has(folder, DOCUMENT) else DOCUMENT
        runs = folder / "runs"
        unfinished = runs.is_dir() and any(runs.iterdir())
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        raise BundleError(f"{str(folder)!r}: cannot be read ({error}); {_WHAT}") from None
    if unfinished:
        resume = f"anotwin train DATA --out {folder} --resume"
        raise BundleError(f"{folder} has no {missing}: its training (in {runs}) is unfinished; go on with: {resume}")
    raise BundleError(f"{folder} has no {missing}; {_WHAT}")


def _has(folder: Path, name: str) -> bool:
    try:
        (folder / name).lstat()
    except FileNotFoundError:
        return False
    return True


@contextmanager
def _opened(folder: Path, name: str) -> Iterator[BufferedReader]:
    """A regular file within the folder, for reading; anything else, and any OSError on the way, is a BundleError."""
    path = folder / name
    try:
        if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
            raise BundleError(f"{path}: a symbolic link out of the model folder; put the file itself there")
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would wait for ever
            raise BundleError(f"{path}: not a regular file; {_ADVICE}")
        with path.open("rb") as stream:
            yield stream
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror or error}); {_ADVICE}") from None


def _read_document(folder: Path) -> tuple[Document, Settings]:
    where = str(folder / DOCUMENT)
    with _opened(folder, DOCUMENT) as stream:
        data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise BundleError(f"{where}: larger than {MAX_BYTES} bytes; {_ADVICE}")
    try:
        values = parse_json(data)
    except ValueError as error:
        raise BundleError(f"{where}: truncated or damaged: {error}; {_ADVICE}") from None
    return parse(values, where)


def _read_weights(folder: Path, document: Document, wanted: Mapping[str, TensorType] | None) -> dict[str, torch.Tensor]:
    name = NEXT if _is_committed(folder, NEXT, document) else WEIGHTS
    where = str(folder / name)
    with _opened(folder, name) as stream:
        refuse_pickle(stream, where)
        size = os.fstat(stream.fileno()).st_size
        if size != document.weights_bytes:
            told = f"{size} bytes, expected {document.weights_bytes}: truncated or replaced"
            raise BundleError(f"{where}: {told}; {_ADVICE}")
        types = read_header(stream, size, where)
        if _digest(stream) != document.weights_sha256:
            raise BundleError(f"{where}: altered or damaged after it was written (SHA-256 differs); {_ADVICE}")
        prints = {name: kind for name, kind in types.items() if name.startswith(_PRINTS)}
        _check_prints(prints, where)
        if wanted is not None:
            check_expected({name: kind for name, kind in types.items() if name not in prints}, wanted, where)
        return read_tensors(stream, where)


def _wanted(
    expected: Expected | None, method: str, spec: ImageSpec, settings: Settings, where: str
) -> Mapping[str, TensorType] | None:
    try:
        return expected(method, spec, settings) if expected else None
    except SettingsError as error:  # a method that this AnoTwin does not have, or that cannot be built so
        raise BundleError(f"{where}: {error}; upgrade AnoTwin or {_ADVICE}") from None


def _is_committed(folder: Path, name: str, document: Document) -> bool:
    """Whether a file is there and is the one that bundle.json means."""
    with suppress(BundleError), _opened(folder, name) as stream:
        size = os.fstat(stream.fileno()).st_size
        return size == document.weights_bytes and _digest(stream) == document.weights_sha256
    return False


def _finish_commit(folder: Path) -> None:
    """Give committed weights their name, so that the next save does not overwrite the only good ones."""
    with suppress(BundleError):
        if _is_committed(folder, NEXT, _read_document(folder)[0]):
            move(folder / NEXT, folder / WEIGHTS)


def _digest(stream: BufferedReader) -> str:
    stream.seek(0)
    return hashlib.file_digest(stream, "sha256").hexdigest()


def _check_prints(types: Mapping[str, TensorType], where: str) -> None:
    for name, (shape, dtype) in types.items():
        if name not in _PRINT_NAMES or len(shape) != 1 or dtype != torch.int64:
            expected = f"one of {', '.join(_PRINT_NAMES)}, each a row of int64"
            raise BundleError(f"{where}: tensor {name!r} ({dtype} {shape}) is foreign; expected {expected}")
