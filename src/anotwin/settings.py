"""Every setting of every stage: one frozen model per stage, from TOML and ``--set``.

A key that does not exist or a value out of range is a `SettingsError` on one line.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from anotwin.errors import SettingsError, clip, did_you_mean

SIZES = (16, 32, 64, 128, 256)
Damage = Literal["turned", "warped", "stretched", "shuffled", "joined", "blended", "pasted", "erased"]


_MOST, _MOST_SEED, _MOST_FLOAT = 10**18 - 1, 10**300 - 1, 1e38  # what torch and bundle.json can hold


class _Stage(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _storable(cls, value: Any, info: ValidationInfo) -> Any:
        seed = info.field_name == "seed"
        if isinstance(value, int) and abs(value) > (_MOST_SEED if seed else _MOST):
            raise ValueError(f"must have at most {'300 digits' if seed else '18 digits'}")
        if isinstance(value, float) and _MOST_FLOAT < abs(value) < math.inf:
            raise ValueError(f"must lie between -{_MOST_FLOAT:g} and {_MOST_FLOAT:g}")
        return value


class DataSettings(_Stage):
    """Which images, and how they become the model's squares."""

    layout: str = "auto"  # of the files: a name that anotwin.domains knows, or auto
    view: str = "auto"  # what a model looks at (whole images, patches of a flattened retina ...); auto: by the layout
    normal: str | None = None  # labels or folders that are normal, patterns on lines of their own; None: by their words
    abnormal: str | None = None  # likewise; see anotwin.data.sorting
    abnormal_images: str | None = None  # cyclegan: a folder of abnormal images to learn from, without annotation
    group: str | None = None  # which images belong together: a column, folder, a pattern; see anotwin.data.grouping
    image_size: int | None = None  # 16..256, a power of two; None: the first that holds the median image, at most 64
    scale: float | None = Field(None, gt=0, le=1)  # of images seen in tiles: 0.5 is half; None: their own resolution
    foreground: Literal["none", "auto"] = "none"  # of tiles: auto: what lies beside the object does not count
    registration: Literal["auto", "none", "shift", "turn"] = "auto"  # of tiles: a part by its places, and beside others
    channels: Literal[1, 3] | None = None  # None: 3 as soon as one training image is in colour
    fit: Literal["stretch", "pad"] = "stretch"  # pad keeps the aspect ratio and repeats the border
    holdout: float = Field(0.2, gt=0, lt=1)  # share of the groups of normals kept for health and calibration
    holdout_most: int = Field(500, ge=1)  # more held-out normals cost search time and hardly improve the threshold
    memory_mb: int = Field(1024, ge=1)  # prepared training images above this go to a file on disk, memory-mapped
    workers: int = Field(0, ge=0, le=64)  # decoding processes; 0 decodes in the main one

    @field_validator("normal", "abnormal", mode="before")
    @classmethod
    def _label_of_digits(cls, value: Any) -> Any:
        if isinstance(value, list):
            if not value or not all(isinstance(each, str) and each and "\n" not in each for each in value):
                raise ValueError("must be a label or a list of labels and patterns")
            return "\n".join(value)
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value  # normal = 0 in TOML

    @field_validator("image_size")
    @classmethod
    def _power_of_two(cls, value: int | None) -> int | None:
        if value is not None and value not in SIZES:
            raise ValueError(f"must be a power of two from 16 to 256 ({', '.join(map(str, SIZES))})")
        return value


class NetworkSettings(_Stage):
    """The DCGAN of Radford et al. (2016) and what was added to it."""

    latent_dim: int = Field(100, ge=1, le=4096)  # Z; 100 in DCGAN and AnoGAN
    latent_prior: Literal["normal", "uniform"] = "normal"
    # of the layer next to the image; doubles at each halving, at most 8 x; None: 32, or 16 for patches, which show less
    base_channels: int | None = Field(None, ge=1, le=512)
    discriminator_norm: Literal["none", "batch", "spectral"] = "batch"  # as in DCGAN; measured in docs/results.md
    # twin: most training normals remembered, 1.3 kB each in the bundle; None: 4,096 images, or 16,384 patches
    memory: int | None = Field(None, ge=8, le=65536)
    feature_layer: int = -1  # which discriminator block is f(.): -1 the last, at 4 x 4; anogan's -2 is at 8 x 8

    def width_for(self, parts: bool) -> int:
        """Base channels for whole images, or for parts of images."""
        return self.base_channels or (16 if parts else 32)

    def memory_for(self, parts: bool) -> int:
        """Training normals to remember, likewise."""
        return self.memory or (16_384 if parts else 4096)


class TrainingSettings(_Stage):
    """The training loop, and what single methods need for it."""

    seed: int = Field(0, ge=0)
    steps: int = Field(1000, ge=1)  # twin at 32 x 32: 200 s on two cores; anogan needs 4,000, each in 1/3 of the time
    batch_size: int = Field(64, ge=2, le=4096)
    learning_rate: float | None = Field(None, gt=0)  # of Adam; None: the method's own (2e-4 as in DCGAN; twin 5e-4)
    beta1: float = Field(0.5, ge=0, lt=1)
    beta2: float = Field(0.999, ge=0, lt=1)
    r1_gamma: float = Field(0.0, ge=0)  # R1 penalty gamma/2 |grad D(x)|^2 (Mescheder et al. 2018); 0: off
    r1_every: int = Field(8, ge=1)  # lazy, as it is expensive (StyleGAN2): every n-th step, n times as strong
    adversarial: Literal["gan", "wgan-gp"] = "gan"  # wgan-gp: f-AnoGAN's (no batch norm in D, no R1; G every 5th step)
    encoder_objective: Literal["izi_f", "izi", "ziz"] = "izi_f"  # fanogan: what its encoder learns, see the method
    encoder_share: float = Field(0.4, gt=0, lt=1)  # fanogan: the last steps, the encoder's; it needs fewer than the GAN
    # twin: what its discriminator learns to name; leave out what normals show too ("turned", if parts lie at any angle)
    damage: list[Damage] = Field(list(get_args(Damage)), min_length=1)
    ema: float = Field(0.999, ge=0, lt=1)  # the moving average of the generator is what scores; 0: the last generator
    snapshot_every: int = Field(500, ge=1)  # steps, the most that a killed run loses
    sample_every: int = Field(500, ge=1)  # steps between sample grids
    # auto: bf16-mixed where the processor multiplies bf16. float32 gives the same weights on every processor of a kind
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"

    @field_validator("damage")
    @classmethod
    def _each_once(cls, value: list[Damage]) -> list[Damage]:
        if len(set(value)) < len(value):
            raise ValueError("must name each kind once")
        return value


class SearchSettings(_Stage):
    """The search for counterparts; the defaults are search/engine.py's, `preset = "paper"` is AnoGAN's search.

    A preset sets every key of `PAPER` (or restores the engine's); keys beside it in TOML, and later --set, change
    single ones. The engine's values were chosen by the loss on held-out normals, without labels: docs/research.md.

    `precision` is the type that networks compute counterparts in. After a search, scores are in float32; methods of one
    pass (fanogan without `warm`, acae) compute scores in it too.
    """

    PAPER: ClassVar[dict[str, Any]] = {
        "optimizer": "adam", "steps": 500, "learning_rate": 0.01, "restarts": 1, "prior_weight": 0.0, "bound": 0.0,
        "tolerance": 0.0, "patience": 0, "precision": "32",
    }  # fmt: skip

    preset: Literal["engine", "paper"] = "engine"
    optimizer: Literal["adam-axes", "adam"] = "adam-axes"  # axes: along the generator's own, with a decaying rate
    steps: int = Field(30, ge=0)  # the fewest that reach the loss of the paper's 500
    learning_rate: float = Field(0.5, gt=0)  # of Adam on z; the paper does not say, 0.01 is the preset's
    warm: bool = False  # fanogan: search on from the encoder's guess, instead of taking it
    restarts: int = Field(1, ge=1, le=64)  # starts an image, of which the best counts; each costs a search
    prior_weight: float = Field(0.0, ge=0)  # times -log p(z), beside L(z); A(x) is without it
    bound: float = Field(1.0, ge=0)  # normal prior: |z| <= bound sqrt(Z); uniform: |z_i| <= bound; 0: anywhere
    tolerance: float = Field(0.01, ge=0, lt=1)  # converged: the best loss fell by less than this share ...
    patience: int = Field(5, ge=0)  # ... in this many steps; such an image leaves the batch; 0: none does
    precision: Literal["auto", "32", "bf16"] = "auto"  # auto: bf16 where the processor has it; see above
    discrimination_weight: float = Field(0.1, ge=0, le=1)  # lambda
    discrimination: Literal["feature_matching", "sigmoid"] = "feature_matching"  # sigmoid: Yeh et al. 2016, GAN_R
    batch_size: int = Field(64, ge=1, le=65536)  # images at once; results depend on it on a GPU alone, by rounding
    seed: int = Field(0, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _expand_preset(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "preset" not in values:
            return values
        return {**cls.preset_values(values["preset"]), **values}

    @classmethod
    def preset_values(cls, name: Any) -> dict[str, Any]:
        """The keys that a preset sets, with their values; none for an unknown one, which validation names."""
        if name == "engine":
            return {key: cls.model_fields[key].default for key in cls.PAPER}
        return dict(cls.PAPER) if name == "paper" else {}


class CompareSettings(_Stage):
    """From an image and its counterpart to a score and a heatmap."""

    score: Literal["anomaly", "residual", "discrimination", "discriminator"] = "anomaly"  # A, R, D or P_D of the paper
    heatmap_sigma: float = Field(0.02, ge=0, le=1)  # Gaussian smoothing, as a share of the image's side


class CalibrationSettings(_Stage):
    """From scores to a decision."""

    false_alarm_rate: float = Field(0.01, gt=0, lt=1)
    # of clips, in place of the rate: what somebody can look after; None: one in as much footage as is held out
    alarms_per_hour: float | None = Field(None, gt=0, le=36000)
    least_area: int = Field(4, ge=1, le=10**9)  # native pixels of a region: fewer are as often noise as a defect


class TranslationSettings(_Stage):
    """Image-to-image translation (cyclegan, pix2pix and srgan with `anotwin translate`); the papers' values."""

    factor: Literal[2, 4] = 4  # srgan: how much larger images become
    swap: bool = False  # folder B is what is translated, and A what it becomes: pix2pix learns one direction alone
    side_by_side: bool = False  # pairs in one folder, A left and B right: also where not twice as wide as high
    mirror: bool = False  # half of the examples mirrored left-right: more to learn from where left is like right
    turn: bool = False  # examples turned by quarters, where nothing is up; srgan: both unless it is told otherwise
    cycle_weight: float = Field(10.0, ge=0)  # lambda of Zhu et al. 2017
    identity_weight: float = Field(0.5, ge=0)  # times the cycle's; 0 lets colours drift, and needs no equal channels
    pool: int = Field(50, ge=0, le=1000)  # earlier translations that D is shown too; 0: the newest alone
    l1_weight: float = Field(100.0, ge=0)  # pix2pix: lambda of Isola et al. 2017
    patch: Literal[16, 34, 70] | None = None  # pixels that a logit of D sees (PatchGAN); None: 70, or what squares hold
    dropout: float = Field(0.5, ge=0, lt=1)  # pix2pix: its noise, also in translating
    adversarial: bool = True  # False: the reconstruction term alone, to compare with (pix2pix: L1, srgan: SRResNet)
    vgg: str | None = None  # srgan: a .safetensors file of VGG-19 (11, 13, 16), whose features become the content loss
    target: Literal["image", "labels"] = "image"  # pix2pix: labels: the grey values of B are classes


class Settings(_Stage):
    """All stages. Immutable; `with_overrides` gives a changed copy."""

    data: DataSettings = DataSettings()
    networks: NetworkSettings = NetworkSettings()
    training: TrainingSettings = TrainingSettings()
    search: SearchSettings = SearchSettings()
    compare: CompareSettings = CompareSettings()
    calibration: CalibrationSettings = CalibrationSettings()
    translation: TranslationSettings = TranslationSettings()

    @classmethod
    def parse(cls, values: Mapping[str, Any], where: str = "settings") -> Self:
        """Validated settings from nested mappings; raises SettingsError naming `where`, the key and what is allowed."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise SettingsError(f"{where}: {_explain(error)}") from None

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Settings from a TOML file; what the file does not name keeps its default."""
        try:
            text = Path(path).read_text(encoding="utf-8-sig")  # editors on Windows write a mark first
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{path}: cannot read settings ({error}); expected a TOML file") from None
        try:
            return cls.parse(_toml(text), where=str(path))
        except tomllib.TOMLDecodeError as error:
            raise SettingsError(f"{path}: not valid TOML: {error}") from None

    def with_overrides(self, assignments: Sequence[str]) -> Self:
        """A copy with ``section.key=value`` applied in order; values are TOML, a bare word is a string.

        >>> Settings().with_overrides(["search.steps=100", "compare.score=residual"]).search.steps
        100
        """
        values: dict[str, Any] = {section: {} for section in type(self).model_fields}
        values |= self.model_dump(exclude_unset=True)  # what nobody set stays so: see `completed`
        for assignment in assignments:
            path, equals, text = assignment.partition("=")
            section, dot, key = path.strip().partition(".")
            if not equals or not dot or not key:
                expected = "expected section.key=value, for example search.steps=100"
                raise SettingsError(f"--set {_said(assignment)}: {expected}")
            if section not in values or key not in type(getattr(self, section)).model_fields:
                named = path.strip()
                raise SettingsError(f"--set {_said(assignment)}: no setting {_said(named)}{_suggest(named)}")
            field = type(getattr(self, section)).model_fields[key]
            values[section][key] = _value(text.strip(), get_args(field.annotation))
            if (section, key) == ("search", "preset"):  # from here on; a later --set may change single keys
                values[section] |= SearchSettings.preset_values(values[section][key])
        return type(self).parse(values, where="--set " + clip(" ".join(" ".join(assignments).split()), 300))

    def completed(self, own: Mapping[str, Mapping[str, Any]]) -> Self:
        """A copy in which keys that nobody has set have the values of `own`, by section.

        >>> Settings().completed({"training": {"steps": 7}}).training.steps
        7
        >>> Settings.parse({"training": {"steps": 5}}).completed({"training": {"steps": 7}}).training.steps
        5
        """
        values = self.model_dump(exclude_unset=True)
        for section, defaults in own.items():
            values[section] = {**defaults, **values.get(section, {})}
        return type(self).parse(values)


def _toml(text: str) -> dict[str, Any]:
    """What `text` holds; raises TOMLDecodeError alone, also for numbers and nesting that Python refuses."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise tomllib.TOMLDecodeError("nested too deep") from None
    except tomllib.TOMLDecodeError:
        raise
    except ValueError as error:  # an integer of more than 4,300 digits
        raise tomllib.TOMLDecodeError(str(error).partition(";")[0]) from None


def _value(text: str, kinds: tuple[Any, ...]) -> Any:
    """The value of `text` for a field of one of `kinds` (of a union; empty for a plain type)."""
    if text in ("", "none", "None", "null") and type(None) in kinds:
        return None
    try:
        values = _toml(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text  # a bare word
    if len(values) != 1:
        return text  # several lines
    value = values["value"]
    wants_text = str in kinds or text in kinds  # a label such as 0, 1e3 or true; the word "32" of a choice
    return text if wants_text and not isinstance(value, str | list) else value


def _suggest(key: str) -> str:
    sections = Settings.model_fields.items()
    known = [f"{section}.{each}" for section, stage in sections for each in type(stage.default).model_fields]
    return did_you_mean(key, known, f"; the sections are {', '.join(Settings.model_fields)}")


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        return f"no setting {_said(key)}{_suggest(key)}"
    got = first.get("input")
    if isinstance(got, float) and not math.isfinite(got):
        return f"{key} must be finite, got {got}"
    return f"{key}: {first['msg'].removeprefix('Value error, ')}, got {_said(got)}"


def _said(value: Any) -> str:
    """A value for a message."""
    try:
        return clip(repr(value), 200)
    except (ValueError, RecursionError):  # too many digits, or too deep
        return f"a {type(value).__name__} that is too long to print"
