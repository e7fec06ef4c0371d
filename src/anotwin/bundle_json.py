"""bundle.json: its keys with their bounds, since the file may come from anybody, and its checksum."""

from __future__ import annotations

import hashlib
import json
import math
import reprlib
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError, model_validator

from anotwin.calibrate.decision import consistent
from anotwin.errors import RESTORE, BundleError, SettingsError
from anotwin.files import json_text, parse_json
from anotwin.records import Alarms, Calibration, Fit, PixelType, UnitScores
from anotwin.settings import SIZES, Settings

FORMAT, SCHEMA = "anotwin", 1
MAX_BYTES = 64 * 2**20

_MAX_WEIGHTS = 64 * 2**30  # bytes; the largest networks that the settings allow have some GiB
_MAX_SCORES = 10_000_000
_MAX_KINDS = 16  # of units; a domain has two or three
_MAX_HISTORY = 2**24  # characters of JSON
_UNSAVED = "cannot save the model"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _grey_values(values: Any) -> tuple[int, ...]:
    if not isinstance(values, list) or not all(type(value) is int and 0 <= value <= 255 for value in values):
        raise ValueError("expected whole numbers from 0 to 255 alone")
    if any(low >= high for low, high in pairwise(values)):
        raise ValueError("expected ascending numbers")
    return tuple(values)


_Classes = Annotated[tuple[int, ...], PlainValidator(_grey_values)]


class SpecOfJson(_Part):
    """`anotwin.records.ImageSpec`, with bounds."""

    channels: int
    size: int
    pixel_type: PixelType
    black: float
    white: float
    fit: Fit
    view: str = "whole"  # older models have no other; which views there are is checked in bundle.py
    classes: _Classes = ()  # of label maps

    @model_validator(mode="after")
    def _possible(self) -> SpecOfJson:
        if self.channels not in (1, 3):
            raise ValueError("channels must be 1 or 3")
        if self.size not in SIZES:
            raise ValueError(f"size must be one of {', '.join(map(str, SIZES))}")
        if not 0 < self.white - self.black < math.inf:
            raise ValueError("white must be above black")
        return self


def _ascending(values: Any) -> tuple[float, ...]:
    if not isinstance(values, list) or not 1 <= len(values) <= _MAX_SCORES:
        raise ValueError(f"expected 1 to {_MAX_SCORES} numbers")
    if not all(type(value) is float or type(value) is int for value in values):
        raise ValueError("expected numbers alone")
    scores = tuple(map(float, values))  # finite: parse_json lets nothing else pass
    if any(low > high for low, high in pairwise(scores)):
        raise ValueError("expected ascending numbers")
    return scores


def _numbers(values: Any) -> tuple[int, ...]:
    if not isinstance(values, list) or not len(values) <= _MAX_SCORES:
        raise ValueError(f"expected at most {_MAX_SCORES} whole numbers")
    if not all(type(value) is int and 0 <= value < _MAX_SCORES for value in values):
        raise ValueError(f"expected whole numbers from 0 to {_MAX_SCORES - 1} alone")
    return tuple(values)


# plain: one error for a million bad values, not a million errors
_Ascending = Annotated[tuple[float, ...], PlainValidator(_ascending)]
_Groups = Annotated[tuple[int, ...], PlainValidator(_numbers)]


class _Units(_Part):
    """`anotwin.records.UnitScores`, with bounds."""

    kind: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")
    scores: _Ascending
    groups: _Groups

    @model_validator(mode="after")
    def _one_each(self) -> _Units:
        if len(self.groups) != len(self.scores):
            raise ValueError("groups must number those of each score")
        return self


class _Alarms(_Part):
    """`anotwin.records.Alarms`, with bounds."""

    wish: float = Field(gt=0)
    threshold: float
    leave: float
    least_frames: int = Field(ge=1, le=10**6)
    bridge: int = Field(ge=1, le=10**6)
    expected: float = Field(ge=0)
    bound: float = Field(ge=0)
    hours: float = Field(gt=0)
    promise: str = Field(max_length=1000)


class _Calibration(_Part):
    """`anotwin.records.Calibration`, with bounds."""

    false_alarm_rate: float = Field(gt=0, lt=1)
    threshold: float
    residual_threshold: float
    discrimination_threshold: float
    scores: _Ascending
    heatmap_scale: float = Field(ge=0)
    rate_bound: float = Field(ge=0, le=1)
    groups: _Groups = ()  # older models, and images that are independent, have none
    units: list[_Units] = Field(default=[], max_length=_MAX_KINDS)
    region_limit: float | None = Field(default=None, ge=0)
    alarms: _Alarms | None = None

    @model_validator(mode="after")
    def _by_groups(self) -> _Calibration:
        known = set(self.groups)
        if not known:
            if self.units:
                raise ValueError("units without groups")
            if self.alarms is not None and not consistent(self.record()):
                raise ValueError("the threshold is not that of the alarms")
            return self
        if len(self.groups) != len(self.scores) or known != set(range(len(known))):
            raise ValueError("groups must number those of each score, from 0")
        if len({each.kind for each in self.units}) < len(self.units):
            raise ValueError("a kind of units occurs twice")
        if any(not set(each.groups) <= known for each in self.units):
            raise ValueError("units of other groups than those of the scores")
        if not consistent(self.record()):
            raise ValueError(f"the threshold is not that of the {'alarms' if self.alarms else 'scores and groups'}")
        return self

    def record(self) -> Calibration:
        """As the rest of the program has it."""
        units = tuple(UnitScores(**each.model_dump()) for each in self.units)
        alarms = Alarms(**self.alarms.model_dump()) if self.alarms else None
        return Calibration(**self.model_dump(exclude={"units", "alarms"}), units=units, alarms=alarms)


class Document(_Part):
    """bundle.json without format and schema."""

    method: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")
    spec: SpecOfJson
    target: SpecOfJson | None = None  # of a translation: what images of `spec` become; no detector has it
    layout: dict[str, str | None] = Field(max_length=16)
    settings: dict[str, Any]
    calibration: _Calibration | None
    history: dict[str, Any]
    weights_bytes: int = Field(ge=8, le=_MAX_WEIGHTS)
    weights_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    checksum: str


def seal(content: Mapping[str, Any]) -> dict[str, Any]:
    """What to write as bundle.json: `content`, the keys of `Document`, with format, schema and checksum.

    Raises BundleError for what `parse` would refuse, naming the key whose value cannot be stored.
    """
    try:
        for key, value in content.items():
            _check_plain(value, key)
        data = json_text({"format": FORMAT, "schema": SCHEMA, **content}).encode("utf-8", errors="backslashreplace")
        document: dict[str, Any] = parse_json(data)
    except (ValueError, TypeError, RecursionError) as error:
        raise BundleError(f"{_UNSAVED}: {_clip(str(error))}") from None
    if len(data) > MAX_BYTES - 100:  # room for the checksum
        raise BundleError(f"{_UNSAVED}: {len(data)} bytes of JSON, at most {MAX_BYTES} can be read; shorten history")
    document["checksum"] = _checksum(document)
    parse(document, _UNSAVED)
    return document


def parse(document: Any, where: str) -> tuple[Document, Settings]:
    """Check all of bundle.json, format and schema first; raises BundleError that begins with `where`."""
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        told = f"not a model of AnoTwin (no format {FORMAT!r})"
        raise BundleError(f"{where}: {told}; give the folder that anotwin train wrote")
    schema = document.get("schema")
    if type(schema) is not int or schema < 1:
        raise BundleError(f"{where}: schema {reprlib.repr(schema)}, expected {SCHEMA}; {RESTORE}")
    if schema > SCHEMA:
        told = f"written by a newer AnoTwin (schema {reprlib.repr(schema)}, this one reads {SCHEMA})"
        raise BundleError(f"{where}: {told}: upgrade with: pip install --upgrade anotwin")
    try:
        checked = Document.model_validate({k: v for k, v in document.items() if k not in ("format", "schema")})
    except ValidationError as error:
        raise BundleError(f"{where}: {_explain(error)}; {RESTORE}") from None
    if len(json.dumps(checked.history)) > _MAX_HISTORY:
        raise BundleError(f"{where}: history is longer than {_MAX_HISTORY} characters; {RESTORE}")
    try:
        settings = Settings.parse(_with_preset(checked.settings), where=where)
    except SettingsError as error:
        raise BundleError(f"{_clip(str(error))}; {RESTORE}") from None
    if _checksum(document) != checked.checksum:
        raise BundleError(f"{where}: altered or damaged after it was written (checksum differs); {RESTORE}")
    return checked, settings


def _with_preset(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings saved before there were presets get the paper's search, for which their thresholds hold."""
    search = settings.get("search")
    if not isinstance(search, dict) or "preset" in search:
        return settings
    return {**settings, "search": {"preset": "paper", **search}}


def _checksum(document: Mapping[str, Any]) -> str:
    """SHA-256 over the content without the checksum itself: finds damage and edits; it is no signature."""
    content = {key: value for key, value in document.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    key = reprlib.repr(".".join(map(str, first["loc"])))
    if first["type"] == "extra_forbidden":
        return f"unknown key {key}"
    if first["type"] == "missing":
        return f"key {key} is missing"
    return f"{key}: {first['msg']}, got {reprlib.repr(first['input'])}"


def _check_plain(value: Any, where: str) -> None:
    """Raise BundleError naming the value that JSON cannot hold, which `json` does not name."""
    if isinstance(value, Mapping):
        for key, child in value.items():
            if not isinstance(key, str):
                raise BundleError(f"{_UNSAVED}: {where} has the key {key!r}; expected text")
            _check_plain(child, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for index, child in enumerate(value):
            _check_plain(child, f"{where}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise BundleError(f"{_UNSAVED}: {where} is {value}, which JSON does not have; store None")
    elif value is not None and not isinstance(value, str | int | float):
        raise BundleError(f"{_UNSAVED}: {where} is a {type(value).__name__}; expected plain JSON")


def _clip(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 400 else f"{text[:400]} ..."
