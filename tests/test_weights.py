"""Weights of unknown origin, and damage to either file: refused in one line, nothing is run."""

import io
import json
import math
import pickle
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from anotwin.bundle import load_bundle, save_bundle
from anotwin.errors import BundleError, SettingsError
from anotwin.weights import read_header
from model_folders import EIGHT, checksum, entry, example, forge, names, raw, refusal, same


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_bundle(example(), tmp_path / "model")
    return tmp_path / "model"


FORGED: dict[str, tuple[bytes, str]] = {
    "no header": (bytes(64), "no header"),
    "short": (b"\1\2\3\4\5\6\7\0", "no header"),
    "long header": (raw({}, length=10**6), "no header"),
    "header over 100 MB": (raw({}, length=2**63), "no header"),
    "no object": (raw(b"[1]"), "no header"),
    "space first": (raw(b" {}"), "no header"),
    "not JSON": (raw(b"{nope}"), "not JSON"),
    "header twice": (raw(b'{"a.b": 1, "a.b": 2}'), "occurs twice"),
    "NaN": (raw(b'{"a.b": NaN}'), "not finite"),
    "deep": (raw(b'{"a.b":' * 5000 + b"1" + b"}" * 5000), "nested"),
    "metadata": (raw({"__metadata__": {"a": 1}}), "__metadata__"),
    "entry": (raw({"a.b": 5}), "expected dtype, shape and data_offsets"),
    "entry key": (raw({"a.b": {**entry(), "code": 1}}, EIGHT), "expected dtype, shape and data_offsets"),
    "name": (raw({"../../x": entry()}, EIGHT), "tensor name"),
    "control name": (raw({"a.b\n\x1b[2J": entry()}, EIGHT), "tensor name"),
    "long name": (raw({"a." + "b" * 500: entry()}, EIGHT), "tensor name"),
    "dtype": (raw({"a.b": entry("F64")}, EIGHT), "type 'F64'"),
    "dtype type": (raw({"a.b": entry(["F32"])}, EIGHT), "type .'F32'"),
    "negative": (raw({"a.b": entry(shape=[-2])}, EIGHT), "impossible shape"),
    "two negatives": (raw({"a.b": entry(shape=[-2, -1])}, EIGHT), "impossible shape"),
    "true": (raw({"a.b": entry(shape=[True, 2])}, EIGHT), "impossible shape"),
    "float shape": (raw({"a.b": entry(shape=[2.0])}, EIGHT), "impossible shape"),
    "no shape": (raw({"a.b": entry(shape=None)}, EIGHT), "impossible shape"),
    "absurd": (raw({"a.b": entry(shape=[2**40, 2**40])}, EIGHT), "impossible shape"),
    "absurd empty": (raw({"a.b": entry(shape=[0, 2**62], offsets=[0, 0])}), "impossible shape"),
    "wraps": (raw({"a.b": entry(shape=[2**62, 4, 2])}, EIGHT), "impossible shape"),
    "rank": (raw({"a.b": entry(shape=[1] * 60 + [2])}, EIGHT), "impossible shape"),
    "too large": (raw({"a.b": entry(shape=[2**30])}, EIGHT), "8 bytes, its shape needs 4294967296"),
    "shape": (raw({"a.b": entry(shape=[3])}, EIGHT), "8 bytes, its shape needs 12"),
    "offsets": (raw({"a.b": entry(offsets=[8, 0])}, EIGHT), "-8 bytes"),
    "three offsets": (raw({"a.b": entry(offsets=[0, 8, 8])}, EIGHT), "impossible offsets"),
    "huge offsets": (raw({"a.b": entry(offsets=[2**64, 2**64 + 8])}, EIGHT), "impossible offsets"),
    "beyond": (raw({"a.b": entry(shape=[4], offsets=[0, 16])}, EIGHT), "take 16 bytes, the file has 8"),
    "gap": (raw({"a.b": entry(offsets=[8, 16])}, EIGHT * 2), "begins at byte 8, expected 0"),
    "overlap": (raw({"a.a": entry(), "a.b": entry(offsets=[4, 12])}, bytes(12)), "begins at byte 4, expected 8"),
    "same bytes twice": (raw({"a.a": entry(), "a.b": entry()}, EIGHT), "begins at byte 0, expected 8"),
    "rest": (raw({"a.b": entry()}, bytes(9)), "take 8 bytes, the file has 9"),
    "nan": (raw({"a.b": entry()}, struct.pack("<2f", 1.0, math.nan)), "'a.b' holds NaN or infinite"),
    "inf bf16": (raw({"a.b": entry("BF16", [1], [0, 2])}, b"\x80\x7f"), "'a.b' holds NaN or infinite"),
    "prints": (raw({"fingerprints.evil": entry("I64", [1])}, EIGHT), "fingerprints.evil.*foreign"),
    "float prints": (raw({"fingerprints.train": entry()}, EIGHT), "fingerprints.train.*foreign"),
}


@pytest.mark.parametrize("name", FORGED)
def test_hostile_weights_are_refused_though_the_hash_fits(
    model: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, reason = FORGED[name]
    forge(model, data)
    if "holds NaN" not in reason:  # all else is found before the library sees the file or memory is taken
        monkeypatch.setattr(safetensors.torch, "load", lambda _: pytest.fail("the library was asked"))
    with pytest.raises(BundleError, match=reason):
        load_bundle(model)
    assert refusal(model).startswith(f"{model / 'weights.safetensors'}: ")
    assert refusal(model).isprintable()


class Trap:
    """A pickle that would leave a file behind when loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("kind", ["zip", "legacy", 2, 3, 4, 5])
@pytest.mark.parametrize("sealed", [True, False])
def test_a_pickle_is_named_and_never_loaded(model: Path, tmp_path: Path, kind: str | int, sealed: bool) -> None:
    trap = {"w": Trap(tmp_path / "sprung")}
    if isinstance(kind, int):
        data = pickle.dumps(trap, protocol=kind)
    else:
        torch.save(trap, tmp_path / "x.pt", _use_new_zipfile_serialization=kind == "zip")
        data = (tmp_path / "x.pt").read_bytes()
    if sealed:
        forge(model, data)
    else:
        (model / "weights.safetensors").write_bytes(data)
    assert "not safetensors but a pickle; AnoTwin never unpickles" in refusal(model)
    assert not (tmp_path / "sprung").exists()
    pickle.loads(pickle.dumps(trap))
    assert (tmp_path / "sprung").exists()  # the trap works


def test_a_header_over_100_mb_is_not_read_though_the_file_has_room() -> None:
    stream = io.BytesIO(raw(b"{", length=10**8 + 1))
    with pytest.raises(BundleError, match="no header"):
        read_header(stream, 2**30, "weights")
    assert stream.tell() == 9


def test_a_header_that_begins_like_a_pickle_is_read(model: Path) -> None:
    body = {"a.b": entry()}
    text = json.dumps(body).encode()
    forge(model, raw(text + b" " * (640 - len(text)), struct.pack("<2f", 1, 2)))  # 640 = 0x0280: b"\x80\x02"
    assert load_bundle(model).tensors["a.b"].tolist() == [1, 2]


def test_tensors_are_compared_with_what_the_method_has(model: Path) -> None:
    have = {name: (tuple(t.shape), t.dtype) for name, t in example().tensors.items()}
    seen: list[Any] = []

    def expect(wanted: dict[str, Any]) -> Callable[..., dict[str, Any]]:
        return lambda *args: seen.append(args) or wanted

    assert same(load_bundle(model, expect(have)), example())
    assert seen == [("anogan", example().spec, example().settings)]
    head = "discriminator.head.weight"
    without = {name: kind for name, kind in have.items() if name != head}
    assert f"'{head}' is foreign" in refusal(model, expect(without))
    assert "'e.w' is missing" in refusal(model, expect({**have, "e.w": ((1,), torch.float32)}))
    wrong = refusal(model, expect({**have, head: ((6,), torch.bfloat16)}))
    assert f"'{head}' is bfloat16 (5,), expected bfloat16 (6,)" in wrong
    assert "expected float32 (5,)" in refusal(model, expect({**have, head: ((5,), torch.float32)}))
    many = refusal(model, expect({f"e.{i}": ((1,), torch.float32) for i in range(9)}))
    assert "'e.0' is missing, 'e.1' is missing, 'e.2' is missing, and 9 more" in many

    def unknown(*_: Any) -> Any:
        raise SettingsError("no method 'anogan', there are none")

    assert "bundle.json: no method 'anogan', there are none; upgrade" in refusal(model, unknown)


def test_weights_beyond_memory(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(_: bytes) -> None:
        raise MemoryError

    monkeypatch.setattr(safetensors.torch, "load", no_memory)
    assert "does not fit into memory" in refusal(model)


# --- damage ---


@pytest.mark.parametrize("name", ["bundle.json", "weights.safetensors"])
def test_every_truncation_is_refused(model: Path, name: str) -> None:
    data = (model / name).read_bytes()
    end = len(data.rstrip(b"\n")) if name == "bundle.json" else len(data)  # the last line end is no loss
    positions = range(0, end, 1 if end < 500 else 7)
    for position in [*positions, end - 1]:
        (model / name).write_bytes(data[:position])
        message = refusal(model)
        assert name in message
    (model / name).write_bytes(data + b"x")
    assert name in refusal(model)


@pytest.mark.parametrize("name", ["bundle.json", "weights.safetensors"])
@pytest.mark.parametrize("sealed", [False, True])
def test_random_damage_is_refused_or_harmless(model: Path, name: str, sealed: bool) -> None:
    """With hashes as written, nothing but an identical bundle passes; with forged ones, nothing but a BundleError."""
    rng = random.Random(f"{name} {sealed}")
    files = {file: (model / file).read_bytes() for file in ("bundle.json", "weights.safetensors")}
    messages: list[str] = []
    for _ in range(200):
        data = bytearray(files[name])
        for _ in range(rng.choice([1, 1, 1, 2, 8])):
            at = rng.randrange(min(len(data), 320)) if rng.random() < 0.5 else rng.randrange(len(data))
            data[at] = rng.choice([rng.randrange(256), data[at] ^ 1 << rng.randrange(8), *b'"0{}[],'])
        (model / "bundle.json").write_bytes(files["bundle.json"])
        if sealed and name == "weights.safetensors":
            forge(model, bytes(data))
        else:
            (model / name).write_bytes(bytes(data))
        if sealed and name == "bundle.json":
            try:
                document = json.loads(bytes(data))
                (model / name).write_text(json.dumps({**document, "checksum": checksum(document)}))
            except (ValueError, TypeError):
                pass
        try:
            loaded = load_bundle(model)
        except BundleError as error:
            messages.append(str(error))
        else:
            assert sealed or same(loaded, example())
    assert len(messages) > 100
    assert all("\n" not in message and len(message) < 900 for message in messages)
    assert names(model) == ["bundle.json", "weights.safetensors"]


def test_a_sparse_giant_is_refused_without_reading_it(model: Path) -> None:
    with (model / "weights.safetensors").open("r+b") as stream:
        stream.truncate(2**40)
    assert "1099511627776 bytes, expected" in refusal(model)
    with (model / "bundle.json").open("r+b") as stream:
        stream.truncate(2**40)
    assert "larger than" in refusal(model)
