"""Weights on disk: safetensors, whose whole header is checked before anything is allocated.

Format: https://github.com/huggingface/safetensors#format - eight bytes little-endian N, N bytes of JSON
``{name: {"dtype", "shape", "data_offsets": [begin, end]}}``, then the tensors. Nothing in it can run.
"""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Mapping
from typing import Any, BinaryIO

import safetensors.torch
import torch
from safetensors import SafetensorError

from anotwin.errors import RESTORE, BundleError
from anotwin.files import parse_json

TensorType = tuple[tuple[int, ...], torch.dtype]

_DTYPES = {
    "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64, "I8": torch.int8
}  # fmt: skip
_NAME = re.compile(r"[A-Za-z_]\w*(\.\w+)+", re.ASCII)  # "network.parameter", as state_dict names them
_MAX_NAME = 256  # characters
_MAX_HEADER = 100_000_000  # bytes, as in safetensors itself
_MAX_RANK = 8
_MAX_ELEMENTS = 2**40  # empty dimensions counted as one: strides of anything larger overflow
_NAMED = 3  # problems that one message names


def encode(tensors: Mapping[str, torch.Tensor]) -> bytes:
    """The bytes of a safetensors file: the same tensors, whatever their order, give the same bytes.

    Args:
        tensors: by "network.parameter" name; float32, float16, bfloat16, int64 or int8, on any device, all finite.

    Raises:
        BundleError: naming the tensor whose name, type or values cannot be stored.
    """
    for name, tensor in tensors.items():
        if not _NAME.fullmatch(name) or len(name) > _MAX_NAME:
            raise BundleError(f"cannot save tensor {reprlib.repr(name)}: expected a name like 'generator.weight'")
        if tensor.dtype not in _DTYPES.values():
            allowed = "float32, float16, bfloat16, int64 or int8"
            raise BundleError(f"cannot save tensor {name!r}: type {_plain(tensor.dtype)}, expected {allowed}")
    check_finite(tensors, "cannot save")
    # clones: safetensors refuses tensors that share memory (tied weights, views)
    return safetensors.torch.save({name: tensors[name].detach().cpu().contiguous().clone() for name in sorted(tensors)})


def refuse_pickle(stream: BinaryIO, where: str) -> None:
    """Say so where somebody put a pickle (torch.save: a zip, or a pickle of protocol 2 to 5); raises BundleError."""
    stream.seek(0)
    head = stream.read(9)
    pickled = head[:4] == b"PK\x03\x04" or (head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5"))
    if pickled and head[8:] != b"{":  # a header of 640 bytes begins like protocol 2, but then comes its brace
        raise BundleError(f"{where}: not safetensors but a pickle; AnoTwin never unpickles, since that can run code")


def read_header(stream: BinaryIO, size: int, where: str) -> dict[str, TensorType]:
    """Names, shapes and types of the tensors in a file of `size` bytes; reads the header alone.

    Raises:
        BundleError: not safetensors, or tensors that do not exactly fill the file.
    """
    stream.seek(0)
    head = stream.read(9)
    length = int.from_bytes(head[:8], "little")
    if len(head) < 9 or head[8:] != b"{" or not 2 <= length <= min(_MAX_HEADER, size - 8):
        raise BundleError(f"{where}: not safetensors (no header); {RESTORE}")
    try:
        entries = parse_json(head[8:] + stream.read(length - 1))
        return _layout(entries, size - 8 - length)
    except ValueError as error:
        raise BundleError(f"{where}: header of safetensors is wrong: {error}; {RESTORE}") from None


def read_tensors(stream: BinaryIO, where: str) -> dict[str, torch.Tensor]:
    """All tensors, in memory of their own, so that the file may go afterwards; raises BundleError."""
    stream.seek(0)
    try:
        tensors: dict[str, torch.Tensor] = safetensors.torch.load(stream.read())
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise BundleError(f"{where}: safetensors cannot read it: {reprlib.repr(str(error))}; {RESTORE}") from None
    except MemoryError:
        raise BundleError(f"{where}: does not fit into memory; close other programs or use a larger machine") from None
    check_finite(tensors, where)
    return tensors


def check_finite(tensors: Mapping[str, torch.Tensor], where: str) -> None:
    """Raise BundleError naming the first tensor with NaN or infinity in it."""
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise BundleError(f"{where}: tensor {name!r} holds NaN or infinite values; train the model again")


def check_expected(got: Mapping[str, TensorType], expected: Mapping[str, TensorType], where: str) -> None:
    """Raise one BundleError that names up to three missing, foreign or misshapen tensors."""
    problems = [f"{name!r} is missing" for name in expected if name not in got]
    problems += [f"{name!r} is foreign" for name in got if name not in expected]
    problems += [
        f"{name!r} is {_describe(got[name])}, expected {_describe(expected[name])}"
        for name in expected
        if name in got and got[name] != expected[name]
    ]
    if problems:
        more = f", and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
        named = ", ".join(problems[:_NAMED])
        raise BundleError(f"{where}: not the tensors of this method and these settings: {named}{more}; {RESTORE}")


def _layout(entries: Any, extent: int) -> dict[str, TensorType]:
    """The header's tensors, which must fill `extent` bytes without gap or overlap; raises ValueError."""
    if not isinstance(entries, dict):
        raise ValueError("expected an object")
    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("__metadata__ holds more than text")
    types: dict[str, TensorType] = {}
    spans: list[tuple[int, int, str]] = []
    for name, entry in entries.items():
        types[name], span = _tensor(name, entry)
        spans.append((*span, name))
    at = 0
    for begin, end, name in sorted(spans):
        if begin != at:
            raise ValueError(f"tensor {name!r} begins at byte {begin}, expected {at}")
        at = end
    if at != extent:
        raise ValueError(f"the tensors take {at} bytes, the file has {extent} for them")
    return types


def _tensor(name: str, entry: Any) -> tuple[TensorType, tuple[int, int]]:
    if not _NAME.fullmatch(name) or len(name) > _MAX_NAME:
        raise ValueError(f"tensor name {reprlib.repr(name)}, expected one like 'generator.weight'")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"tensor {name!r}: expected dtype, shape and data_offsets")
    kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(kind, str) or kind not in _DTYPES:
        raise ValueError(f"tensor {name!r}: type {reprlib.repr(kind)}, expected one of {', '.join(_DTYPES)}")
    if not _naturals(shape) or len(shape) > _MAX_RANK or math.prod(max(d, 1) for d in shape) > _MAX_ELEMENTS:
        raise ValueError(f"tensor {name!r}: impossible shape {reprlib.repr(shape)}")
    if not _naturals(offsets) or len(offsets) != 2:
        raise ValueError(f"tensor {name!r}: impossible offsets {reprlib.repr(offsets)}")
    wanted = math.prod(shape) * _DTYPES[kind].itemsize
    if offsets[1] - offsets[0] != wanted:
        raise ValueError(f"tensor {name!r}: {offsets[1] - offsets[0]} bytes, its shape needs {wanted}")
    return (tuple(shape), _DTYPES[kind]), (offsets[0], offsets[1])


def _naturals(value: Any) -> bool:
    # type() and not isinstance(): true is an int in Python; 2**63 is the largest file offset
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 2**63 for item in value)


def _plain(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _describe(kind: TensorType) -> str:
    return f"{_plain(kind[1])} {kind[0]}"
