"""A model folder: bundle.json + weights.safetensors. Data, never code: loading one executes nothing.

`bundle.json` decides which weights count: it holds their size and hash. New weights are first written as
weights.next.safetensors, then bundle.json is replaced, then the weights get their name. A crash before the second step
leaves the old model, a crash after it the new one; `load_bundle` reads both.
"""

from __future__ import annotations

import hashlib
import os
import reprlib
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import Any

import torch

from anotwin.bundle_arrays import PREFIX, apart, together
from anotwin.bundle_json import MAX_BYTES, Document, SpecOfJson, parse, seal
from anotwin.domains.registry import DOMAINS
from anotwin.errors import RESTORE, BundleError, SettingsError
from anotwin.files import move, parse_json, write_bytes_atomic, write_json_atomic
from anotwin.lock import one_writer
from anotwin.records import Calibration, ImageSpec
from anotwin.settings import Settings
from anotwin.weights import TensorType, check_expected, encode, read_header, read_tensors, refuse_pickle

DOCUMENT, WEIGHTS, NEXT = "bundle.json", "weights.safetensors", "weights.next.safetensors"
Expected = Callable[[str, ImageSpec, Settings], Mapping[str, TensorType]]
ExpectedOfPair = Callable[[str, ImageSpec, ImageSpec, Settings], Mapping[str, TensorType]]

_FINGERPRINTS = "fingerprints."
_FINGERPRINT_NAMES = tuple(
    _FINGERPRINTS + name for name in ("train", "holdout", "groups", "abnormal", "abnormal_groups")
)
_ATTEMPTS = 10  # to read a model that is being saved again meanwhile
LISTED = 100  # numbers of a list that `describe` shows
_WHAT = f"a model folder holds {DOCUMENT} and {WEIGHTS}; train one with: anotwin train DATA --out MODEL"


@dataclass(frozen=True, eq=False)  # eq: dicts of tensors have no truth value when compared
class Bundle:
    """Everything that scoring, or translating, needs to know of a trained model."""

    method: str
    spec: ImageSpec
    settings: Settings
    tensors: dict[str, torch.Tensor] = field(repr=False)  # by "network.parameter"
    calibration: Calibration | None = None
    fingerprints: dict[str, torch.Tensor] = field(
        default_factory=dict, repr=False
    )  # "train", "holdout", "groups": (n,) int64
    layout: dict[str, str | None] = field(default_factory=dict)  # "name", "normal" label of training
    # plain JSON: steps, seconds, versions, health, notes; in "reference" tensors too (`bundle_arrays`)
    history: dict[str, Any] = field(default_factory=dict)
    target: ImageSpec | None = None  # of a translation: what images of `spec` become; None: a detector


def save_bundle(bundle: Bundle, folder: str | Path) -> None:
    """Write a model folder; a crash at any moment leaves the previous model or this one, each whole.

    Tuples in `history` come back as lists. The same bundle always gives the same bytes.

    Raises:
        BundleError: the bundle is one that `load_bundle` would refuse (NaN weights, a foreign type, NaN in history).
        DataError: the folder cannot be written (full disk, no permission).
    """
    folder = Path(folder)
    fingerprints = {_FINGERPRINTS + name: values for name, values in bundle.fingerprints.items()}
    for taken in (_FINGERPRINTS, PREFIX):
        clash = sorted(name for name in bundle.tensors if name.startswith(taken))
        if clash:
            raise BundleError(f"cannot save tensor {clash[0]!r}: the name {taken[:-1]!r} is taken; rename the network")
    history, arrays = apart(bundle.history)
    _check_fingerprints(
        {name: (tuple(values.shape), values.dtype) for name, values in fingerprints.items()}, "cannot save"
    )
    data = encode({**bundle.tensors, **fingerprints, **arrays})
    sealed = seal(
        {
            "method": bundle.method,
            "spec": bundle.spec.stored(),
            **({} if bundle.target is None else {"target": bundle.target.stored()}),
            "layout": bundle.layout,
            "settings": bundle.settings.model_dump(mode="json"),
            "calibration": bundle.calibration.stored() if bundle.calibration else None,
            "history": history,
            "weights_bytes": len(data),
            "weights_sha256": hashlib.sha256(data).hexdigest(),
        }
    )
    with one_writer(folder):
        _finish_commit(folder)
        write_bytes_atomic(folder / NEXT, data)
        write_json_atomic(folder / DOCUMENT, sealed)
        move(folder / NEXT, folder / WEIGHTS)


def save_calibration(
    folder: str | Path,
    calibration: Calibration,
    settings: Settings,
    tensors: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Replace the calibration of a model folder and the settings that it was made with, but not the weights.

    `tensors`: those that were calibrated, by "network.parameter". Raises BundleError where the folder holds others,
    since another training has ended there meanwhile; DataError.
    """
    folder = Path(folder)
    _check_folder(folder)
    with one_writer(folder):
        sweep_weights(folder)
        _save_calibration(folder, calibration, settings, tensors)


def sweep_weights(folder: Path) -> None:
    """Remove weights that a killed process wrote for a model that never came to be; for its only writer."""
    _finish_commit(folder)
    with suppress(BundleError, OSError):
        if _is_committed(folder, WEIGHTS, _read_document(folder)[0]):
            (folder / NEXT).unlink(missing_ok=True)


def _save_calibration(
    folder: Path, calibration: Calibration, settings: Settings, tensors: Mapping[str, torch.Tensor] | None
) -> None:
    if tensors is not None:
        held = load_bundle(folder).tensors
        if held.keys() != tensors.keys() or not all(torch.equal(held[name], tensors[name]) for name in held):
            told = "it holds other weights than were calibrated: another training has ended meanwhile"
            raise BundleError(f"{folder}: {told}; calibrate again")
    document, before = _read_document(folder)
    if settings.networks != before.networks:
        raise BundleError(f"{folder}: cannot calibrate for other networks than it holds; leave settings.networks")
    new = {"settings": settings.model_dump(mode="json"), "calibration": calibration.stored()}
    write_json_atomic(folder / DOCUMENT, seal(document.model_dump(exclude={"checksum"}, exclude_unset=True) | new))


def load_bundle(folder: str | Path, expected: Expected | None = None) -> Bundle:
    """Read a model folder from anybody: all is checked before tensors are allocated, nothing is executed.

    Args:
        folder: as written by `save_bundle`.
        expected: method, spec and settings -> the tensors (name: shape, type) that the method has; None: not compared.

    Raises:
        BundleError: on one line, which file is missing, truncated, altered, newer or foreign, and what to do; with
            `expected`, also a model that translates.
    """

    def wanted(document: Document, spec: ImageSpec, target: ImageSpec | None, settings: Settings) -> _Wanted:
        if expected is None:
            return None
        if target is not None:
            told = f"a translation ({document.method}), which has no scores: use anotwin translate MODEL DATA --out DIR"
            raise BundleError(f"{folder}: {told}")
        return expected(document.method, spec, settings)

    return _load(Path(folder), wanted)


def load_translation(folder: str | Path, expected: ExpectedOfPair) -> Bundle:
    """`load_bundle` of a model that translates; `expected` takes the specs of both domains. Raises BundleError."""

    def wanted(document: Document, spec: ImageSpec, target: ImageSpec | None, settings: Settings) -> _Wanted:
        if target is None:
            told = f"a detector ({document.method}), which translates nothing: use anotwin score MODEL DATA --out DIR"
            raise BundleError(f"{folder}: {told}, or train a translation (anotwin train --help, under --layout)")
        return expected(document.method, spec, target, settings)

    return _load(Path(folder), wanted)


def is_translation(folder: str | Path) -> bool:
    """Whether a model folder holds a translation; raises BundleError for what is no model."""
    _check_folder(Path(folder))
    return _read_document(Path(folder))[0].target is not None


_Wanted = Mapping[str, TensorType] | None


def _load(folder: Path, expected: Callable[[Document, ImageSpec, ImageSpec | None, Settings], _Wanted]) -> Bundle:
    _check_folder(folder)
    failed = False
    for _ in range(_ATTEMPTS):
        document, settings = _read_document(folder)
        where = str(folder / DOCUMENT)
        spec = _spec(document.spec, where)
        target = None if document.target is None else _spec(document.target, where)
        try:
            wanted = expected(document, spec, target, settings)
        except SettingsError as error:  # an unknown method, or settings that it cannot be built with
            raise BundleError(f"{where}: {error}; upgrade AnoTwin or {RESTORE}") from None
        try:
            tensors = _read_weights(folder, document, wanted)
            break
        except BundleError:
            unchanged = _read_document(folder)[0].checksum == document.checksum
            if unchanged and failed:  # the first failure may be a save whose weights are being renamed
                raise
            failed = unchanged
    else:
        raise BundleError(f"{folder}: the model is being written over and over; wait for its training to end")
    fingerprints = {
        name.removeprefix(_FINGERPRINTS): tensors.pop(name) for name in _FINGERPRINT_NAMES if name in tensors
    }
    arrays = {name: tensors.pop(name) for name in list(tensors) if name.startswith(PREFIX)}
    history = together(document.history, arrays)
    calibration = document.calibration.record() if document.calibration else None
    found = document.method, spec, settings, tensors, calibration, fingerprints, document.layout, history
    return Bundle(*found, target)


def _spec(stored: SpecOfJson, where: str) -> ImageSpec:
    parts, view = {domain.view_name: domain.parts for domain in DOMAINS}, stored.view
    if view not in parts:
        told = f"spec.view {reprlib.repr(view)}, but this AnoTwin has the views {', '.join(parts)}"
        raise BundleError(f"{where}: {told}; upgrade AnoTwin or {RESTORE}")
    return ImageSpec(**stored.model_dump(), parts=parts[view])


def describe(bundle: Bundle) -> dict[str, Any]:
    """What ``anotwin info --json`` prints, plain JSON; `parameters`: floating-point values per network."""
    parameters: dict[str, int] = {}
    arrays = apart(bundle.history)[1]
    for name, tensor in bundle.tensors.items():
        network = name.partition(".")[0]
        parameters[network] = parameters.get(network, 0) + (tensor.numel() if tensor.is_floating_point() else 0)
    calibration: dict[str, Any] | None = None
    if bundle.calibration:
        calibration = bundle.calibration.stored()
        calibration["images"] = len(calibration.pop("scores"))
        calibration["groups"] = len(set(calibration.pop("groups", ()))) or calibration["images"]
        calibration["units"] = {each["kind"]: len(each["scores"]) for each in calibration.pop("units", ())}
    return {
        "method": bundle.method,
        "spec": bundle.spec.stored(),
        **({} if bundle.target is None else {"target": bundle.target.stored()}),
        "layout": dict(bundle.layout),
        "parameters": parameters,
        "bytes": sum(tensor.nbytes for kept in (bundle.tensors, arrays) for tensor in kept.values()),
        "images": {name: values.numel() for name, values in bundle.fingerprints.items() if "groups" not in name},
        "calibration": calibration,
        "history": {key: _counted(value) for key, value in bundle.history.items()},
    }


def _counted(value: Any) -> Any:
    """Long lists of numbers (what a view keeps to compare with) by their length: nobody reads a thousand of them."""
    if isinstance(value, torch.Tensor):
        return f"{value.numel()} numbers"
    if isinstance(value, dict):
        return {key: _counted(each) for key, each in value.items()}
    count = _numbers_in(value)
    return f"{count} numbers" if count > LISTED else value


def _numbers_in(value: Any) -> int:
    """How many numbers a list of numbers, or of such lists, holds; 0 of anything else."""
    if not isinstance(value, list):
        return 0
    found = [1 if isinstance(each, int | float) else _numbers_in(each) for each in value]
    return sum(found) if all(found) else 0


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
    """A regular file within the folder, for reading; anything else, and any OSError, is a BundleError."""
    path = folder / name
    try:
        if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
            raise BundleError(f"{path}: a symbolic link out of the model folder; put the file itself there")
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would wait for ever
            raise BundleError(f"{path}: not a regular file; {RESTORE}")
        with path.open("rb") as stream:
            yield stream
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror or error}); {RESTORE}") from None


def _read_document(folder: Path) -> tuple[Document, Settings]:
    where = str(folder / DOCUMENT)
    with _opened(folder, DOCUMENT) as stream:
        data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise BundleError(f"{where}: larger than {MAX_BYTES} bytes; {RESTORE}")
    try:
        values = parse_json(data)
    except ValueError as error:
        raise BundleError(f"{where}: truncated or damaged: {error}; {RESTORE}") from None
    return parse(values, where)


def _read_weights(folder: Path, document: Document, wanted: Mapping[str, TensorType] | None) -> dict[str, torch.Tensor]:
    name = NEXT if _is_committed(folder, NEXT, document) else WEIGHTS
    where = str(folder / name)
    with _opened(folder, name) as stream:
        refuse_pickle(stream, where)
        size = os.fstat(stream.fileno()).st_size
        if size != document.weights_bytes:
            told = f"{size} bytes, expected {document.weights_bytes}: truncated or replaced"
            raise BundleError(f"{where}: {told}; {RESTORE}")
        types = read_header(stream, size, where)
        if _digest(stream) != document.weights_sha256:
            raise BundleError(f"{where}: altered or damaged after it was written (SHA-256 differs); {RESTORE}")
        fingerprints = {name: kind for name, kind in types.items() if name.startswith(_FINGERPRINTS)}
        _check_fingerprints(fingerprints, where)
        try:
            together(document.history, {name: kind for name, kind in types.items() if name.startswith(PREFIX)})
        except ValueError as error:
            raise BundleError(f"{where}: {error}; {RESTORE}") from None
        if wanted is not None:
            own = {name: kind for name, kind in types.items() if name not in fingerprints}
            check_expected({name: kind for name, kind in own.items() if not name.startswith(PREFIX)}, wanted, where)
        return read_tensors(stream, where)


def _is_committed(folder: Path, name: str, document: Document) -> bool:
    """Whether a file is there and has the size and hash that bundle.json names."""
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


def _check_fingerprints(types: Mapping[str, TensorType], where: str) -> None:
    for name, (shape, dtype) in types.items():
        if name not in _FINGERPRINT_NAMES or len(shape) != 1 or dtype != torch.int64:
            expected = f"one of {', '.join(_FINGERPRINT_NAMES)}, each a vector of int64"
            raise BundleError(f"{where}: tensor {name!r} ({dtype} {shape}) is foreign; expected {expected}")
