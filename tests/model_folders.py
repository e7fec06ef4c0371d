"""Model folders for tests: an example, what it should equal, and how to forge one."""

import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from anotwin.bundle import Bundle, load_bundle
from anotwin.errors import BundleError
from anotwin.records import Calibration, ImageSpec
from anotwin.settings import Settings

DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64, "I8": torch.int8}
CALIBRATION = Calibration(0.05, 2.5, 2.0, 0.5, (0.5, 1.0, 1.0, 2.5), 0.25, 0.2)


def example(seed: int = 0, **changes: Any) -> Bundle:
    rng = torch.Generator().manual_seed(seed)
    values: dict[str, Any] = {
        "method": "anogan",
        "spec": ImageSpec(1, 32, "uint16", 12.0, 4095.0, "pad"),
        "settings": Settings().with_overrides([f"training.seed={seed}"]),
        "tensors": {
            "generator.grow.0.weight": torch.randn(4, 3, 2, generator=rng),
            "generator.grow.1.num_batches_tracked": torch.tensor(seed),
            "discriminator.head.weight": torch.randn(5, generator=rng).to(torch.bfloat16),
        },
        "calibration": CALIBRATION,
        "fingerprints": {"train": torch.arange(6) + seed, "holdout": torch.arange(0)},
        "layout": {"layout": "folder", "normal": None},
        "history": {"steps": 10 + seed, "notes": ["ä\n"], "loss": 0.1, "deep": {"ok": True}},
    }
    return Bundle(**(values | changes))


def same(a: Bundle, b: Bundle) -> bool:
    def equal(x: dict[str, torch.Tensor], y: dict[str, torch.Tensor]) -> bool:
        return set(x) == set(y) and all(x[k].dtype == y[k].dtype and torch.equal(x[k], y[k]) for k in x)

    plain = ("method", "spec", "settings", "calibration", "layout", "history")
    alike = all(getattr(a, name) == getattr(b, name) for name in plain)
    return alike and equal(a.tensors, b.tensors) and equal(a.fingerprints, b.fingerprints)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def refusal(folder: Path, *args: Any) -> str:
    """The message with which a folder is refused; one short line."""
    with pytest.raises(BundleError) as caught:
        load_bundle(folder, *args)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 900
    return message


def checksum(document: dict[str, Any]) -> str:
    content = {key: value for key, value in document.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change bundle.json as an attacker would: with a checksum that fits."""
    document = json.loads((folder / "bundle.json").read_text())
    change(document)
    document["checksum"] = checksum(document)
    (folder / "bundle.json").write_text(json.dumps(document))


def forge(folder: Path, data: bytes) -> None:
    """Weights of any bytes, with a bundle.json whose hash fits."""
    (folder / "weights.safetensors").write_bytes(data)
    edit(folder, lambda d: d.update(weights_bytes=len(data), weights_sha256=hashlib.sha256(data).hexdigest()))


def raw(header: Any, body: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def entry(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


EIGHT = bytes(8)
