"""Settings: defaults that validate, round trips, and one line for whatever is wrong."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from anotwin.errors import SettingsError
from anotwin.settings import SIZES, SearchSettings, Settings

few_examples = hypothesis_settings(derandomize=True, deadline=None, max_examples=60)
KEYS = [f"{section}.{key}" for section, values in Settings().model_dump().items() for key in values]
overrides = st.lists(
    st.one_of(
        st.integers(1, 4096).map(lambda n: f"networks.latent_dim={n}"),
        st.floats(1e-6, 10).map(lambda x: f"search.learning_rate={x}"),
        st.sampled_from(SIZES).map(lambda n: f"data.image_size={n}"),
        st.sampled_from(["none", "batch", "spectral"]).map(lambda s: f"networks.discriminator_norm={s}"),
        st.text("abz09_ .", min_size=1).map(lambda s: f"data.normal='{s}'"),
    )
)


def refusal(call: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert "pydantic" not in message
    return message


def set_(*assignments: str) -> Settings:
    return Settings().with_overrides(assignments)


def toml(settings: Settings) -> str:
    """Written by hand: json's numbers and strings are TOML's."""
    lines = []
    for section, values in settings.model_dump().items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items() if value is not None]
    return "\n".join(lines)


@few_examples
@given(overrides)
def test_round_trips(tmp_path_factory: pytest.TempPathFactory, assignments: list[str]) -> None:
    settings = set_(*assignments)
    assert Settings.parse(settings.model_dump()) == settings
    assert Settings.parse(json.loads(settings.model_dump_json())) == settings
    assert settings.with_overrides([]) == settings
    path = tmp_path_factory.mktemp("settings") / "s.toml"
    path.write_text(toml(settings), encoding="utf-8")
    assert Settings.load(path) == settings


def test_every_default_is_allowed() -> None:
    assert Settings.parse(Settings().model_dump()) == Settings()
    for section, values in Settings().model_dump().items():
        for key, value in values.items():
            text = "none" if value is None else str(value)
            assert set_(f"{section}.{key}={text}") == Settings(), key


def test_settings_are_frozen() -> None:
    settings = Settings()
    with pytest.raises(pydantic.ValidationError):
        settings.search.steps = 3  # type: ignore[misc]
    changed = settings.with_overrides(["search.steps=3"])
    assert (changed.search.steps, settings.search.steps) == (3, SearchSettings().steps)


def test_later_overrides_win_and_keep_the_others() -> None:
    settings = set_("search.steps=1", "search.seed=4", "search.steps=2", "data.fit=pad")
    assert (settings.search.steps, settings.search.seed, settings.data.fit) == (2, 4, "pad")


@pytest.mark.parametrize(
    "assignment, value",
    [
        ("search.steps=100", 100),
        (" search.steps = 100 ", 100),
        ("search.learning_rate=1e-3", 0.001),
        ("search.learning_rate=1", 1.0),
        ("compare.score=residual", "residual"),
        ('compare.score="residual"', "residual"),
        ("compare.score='residual'", "residual"),
        ("training.precision=bf16-mixed", "bf16-mixed"),
        ("networks.discriminator_norm=none", "none"),  # a word of its own here, not the absence of a value
        ("networks.feature_layer=-2", -2),
        ("data.layout=auto", "auto"),
        ("data.channels=3", 3),
        ("data.channels=none", None),
        ("data.image_size=None", None),
        ("data.image_size=", None),
        ("data.normal=none", None),
        ("data.normal=null", None),
        ('data.normal="none"', "none"),
    ],
)
def test_values_of_set(assignment: str, value: object) -> None:
    section, key = assignment.split("=")[0].strip().split(".")
    got = getattr(getattr(set_(assignment), section), key)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    "text, label",
    [
        ("0", "0"),
        ('"0"', "0"),
        ("'0'", "0"),
        ("7", "7"),
        ("007", "007"),
        ("1e3", "1e3"),
        ("1_000", "1_000"),
        ("true", "true"),
        ("2024-01-01", "2024-01-01"),
        ("good", "good"),
        ("no defect", "no defect"),
        ("a=b", "a=b"),
        ("größe", "größe"),
    ],
)
def test_labels_are_text_whatever_they_look_like(text: str, label: str) -> None:
    assert set_(f"data.normal={text}").data.normal == label


def test_a_label_of_digits_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text("[data]\nnormal = 0\n")
    assert Settings.load(path).data.normal == "0"
    assert Settings.parse({"data": {"normal": 12}}).data.normal == "12"
    assert "data.normal" in refusal(lambda: Settings.parse({"data": {"normal": True}}))
    assert Settings.parse({"data": {"normal": ["0", "1"]}}).data.normal == "0\n1"  # several patterns
    assert "data.normal" in refusal(lambda: Settings.parse({"data": {"normal": [True]}}))


@pytest.mark.parametrize(
    "assignment, hint",
    [
        ("search.step=1", "no setting 'search.step'; did you mean 'search.steps'?"),
        ("serach.steps=1", "did you mean 'search.steps'?"),
        ("training.learningrate=1", "did you mean 'training.learning_rate'?"),
        ("qqqq.zzzz=1", "the sections are data, networks, training, search, compare, calibration"),
        ("steps=1", "expected section.key=value, for example search.steps=100"),
        ("search.steps", "expected section.key=value"),
        ("search.=1", "expected section.key=value"),
        ("=1", "expected section.key=value"),
        ("", "expected section.key=value"),
        ("search.steps.more=1", "no setting 'search.steps.more'"),
    ],
)
def test_assignments_that_name_nothing(assignment: str, hint: str) -> None:
    message = refusal(lambda: set_(assignment))
    assert hint in message
    assert repr(assignment) in message


@pytest.mark.parametrize(
    "assignment",
    [
        *("search.steps=-1", "search.steps=1.5", "search.steps=many", "search.steps=none", "search.steps="),
        *("search.learning_rate=0", "search.learning_rate=-1", "search.discrimination_weight=1.01"),
        *("search.discrimination=hinge", "search.batch_size=0", "compare.score=sum", "compare.heatmap_sigma=-0.1"),
        *("data.image_size=48", "data.image_size=8", "data.image_size=512", "data.channels=2"),
        *("data.holdout=0", "data.holdout=1", "data.memory_mb=0", "data.workers=-1", "data.workers=65"),
        *(
            "networks.latent_dim=0",
            "networks.latent_dim=4097",
            "networks.base_channels=0",
            "networks.latent_prior=cauchy",
        ),
        *("training.steps=0", "training.batch_size=1", "training.beta1=1", "training.ema=1", "training.ema=-0.1"),
        *("training.r1_gamma=-1", "training.r1_every=0", "training.seed=-1", "training.precision=16"),
        *("calibration.false_alarm_rate=0", "calibration.false_alarm_rate=1", "search.steps=[1, 2]"),
    ],
)
def test_values_out_of_range_name_the_key_and_the_value(assignment: str) -> None:
    key, _, value = assignment.partition("=")
    message = refusal(lambda: set_(assignment))
    assert f"{key}: " in message
    assert f"got {value}" in message.replace("'", "")


FLOATS = [
    f"{section}.{key}"
    for section, values in Settings().model_dump().items()
    for key, value in values.items()
    if isinstance(value, float)
]


@pytest.mark.parametrize("key", FLOATS)
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_numbers_must_be_finite(key: str, value: str) -> None:
    assert f"{key} must be finite, got {value}" in refusal(lambda: set_(f"{key}={value}"))
    section, name = key.split(".")
    assert f"{key} must be finite" in refusal(lambda: Settings.parse({section: {name: float(value)}}))


def test_limits_themselves_are_allowed() -> None:
    limits = ("search.steps=0", "search.discrimination_weight=0", "training.batch_size=2", "training.ema=0")
    assert set_(*limits, "compare.heatmap_sigma=1", "networks.latent_dim=4096").search.steps == 0
    assert math.isclose(set_("data.holdout=0.999").data.holdout, 0.999)


def test_parse_says_where_and_suggests() -> None:
    message = refusal(lambda: Settings.parse({"search": {"stesp": 3}}, where="my.json"))
    assert message == "my.json: no setting 'search.stesp'; did you mean 'search.steps'?"
    assert "no setting 'model'" in refusal(lambda: Settings.parse({"model": {}}))
    assert "search: " in refusal(lambda: Settings.parse({"search": 3}))


def test_a_file_changes_what_it_names(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text("[search]\nsteps = 7\n[data]\nimage_size = 32\n")
    settings = Settings.load(path)
    assert settings == set_("search.steps=7", "data.image_size=32")
    path.write_text("")
    assert Settings.load(str(path)) == Settings()


@pytest.mark.parametrize(
    "content, hint",
    [
        (b"[search\nsteps = 1", "not valid TOML"),
        (b"[search]\nsteps = ", "not valid TOML"),
        (b"[search]\nsteps = -3", "search.steps: "),
        (b"[search]\nstps = 3", "did you mean 'search.steps'?"),
        (b"steps = 3", "no setting 'steps'"),
        (b"\xff\xfe[search]", "cannot read settings"),
    ],
)
def test_bad_files(tmp_path: Path, content: bytes, hint: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    message = refusal(lambda: Settings.load(path))
    assert hint in message
    assert message.startswith(str(path))


def test_missing_files(tmp_path: Path) -> None:
    assert "expected a TOML file" in refusal(lambda: Settings.load(tmp_path / "none.toml"))
    assert "expected a TOML file" in refusal(lambda: Settings.load(tmp_path))


@pytest.mark.parametrize("key", KEYS)
def test_every_key_is_suggested_for_a_typo_of_it(key: str) -> None:
    section, name = key.split(".")
    message = refusal(lambda: set_(f"{section}.{name}x=1"))
    assert f"did you mean {key!r}?" in message


# -- presets of the search --------------------------------------------------------------------------------------------

PAPER = {"steps": 500, "learning_rate": 0.01, "optimizer": "adam", "restarts": 1, "prior_weight": 0.0, "bound": 0.0,
         "tolerance": 0.0, "patience": 0, "precision": "32"}  # fmt: skip


def test_the_paper_preset_is_the_papers_search_and_leaves_the_rest() -> None:
    search = set_("search.seed=4", "search.discrimination=sigmoid", "search.preset=paper").search
    assert {key: getattr(search, key) for key in PAPER} == PAPER
    assert (search.preset, search.seed, search.discrimination) == ("paper", 4, "sigmoid")
    assert (search.discrimination_weight, search.batch_size) == (0.1, 64)


def test_a_preset_counts_at_its_place_in_the_order() -> None:
    assert set_("search.steps=7", "search.preset=paper").search.steps == 500
    later = set_("search.preset=paper", "search.steps=7", "search.patience=3").search
    assert (later.steps, later.patience, later.learning_rate) == (7, 3, 0.01)
    assert set_("search.preset=paper", "search.preset=engine") == Settings()
    assert set_("search.preset=engine") == Settings()


def test_keys_beside_a_preset_override_it(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text("[search]\nsteps = 9\npreset = 'paper'\n", encoding="utf-8")
    assert Settings.load(path) == set_("search.preset=paper", "search.steps=9")
    path.write_text("[search]\npreset = 'paper'\n", encoding="utf-8")
    assert Settings.load(path) == set_("search.preset=paper")


@pytest.mark.parametrize("assignments", [("search.preset=paper",), ("search.preset=paper", "search.bound=1.5"),
                                         ("search.steps=12",)])  # fmt: skip
def test_a_preset_round_trips(tmp_path: Path, assignments: tuple[str, ...]) -> None:
    settings = set_(*assignments)
    assert Settings.parse(settings.model_dump()) == settings
    assert Settings.parse(json.loads(settings.model_dump_json())) == settings
    assert settings.with_overrides([]) == settings
    path = tmp_path / "s.toml"
    path.write_text(toml(settings), encoding="utf-8")
    assert Settings.load(path) == settings


@pytest.mark.parametrize("name", ["papr", "[1]", "3", "none"])
def test_an_unknown_preset_is_named(name: str) -> None:
    assert "search.preset" in refusal(lambda: set_(f"search.preset={name}"))
    assert "search.preset" in refusal(lambda: Settings.parse({"search": {"preset": name}}))


def test_a_choice_that_looks_like_a_number_is_a_word() -> None:
    assert set_("search.precision=32").search.precision == "32"
    assert set_('search.precision="32"').search.precision == "32"


def test_each_kind_of_damage_is_named_once() -> None:
    assert Settings().with_overrides(['training.damage=["turned", "erased"]']).training.damage == ["turned", "erased"]
    for bad, told in (('["turned", "turned"]', "each kind once"), ('["burnt"]', "burnt"), ("[]", "at least 1")):
        with pytest.raises(SettingsError, match=told):
            Settings().with_overrides([f"training.damage={bad}"])


HUGE = "9" * 5000
DEEP = "[" * 100_000


@pytest.mark.parametrize(
    "assignment",
    [
        f"training.steps={HUGE}",
        f"training.steps=0x{'f' * 5000}",
        f"training.steps={2**70}",
        f"training.seed={'9' * 400}",
        f"training.learning_rate={HUGE}",
        f"training.learning_rate={'9' * 400}",
        f"training.damage=[0x{'f' * 5000}]",
        f"training.damage={DEEP}",
        "training.steps=" + "{a=" * 5000,
        "training.steps=1\nx=2",
        "training.learning_rate=1e999",
        "training.learning_rate=-inf",
        f"data.fit={HUGE}",
        f"{HUGE}={HUGE}",
        f"data.{HUGE}=1",
    ],
)
def test_values_that_nobody_expects(assignment: str) -> None:
    assert len(refusal(lambda: set_(assignment))) < 900


@pytest.mark.parametrize(
    "text",
    [
        f"[training]\nsteps = {HUGE}",
        f"[training]\nseed = 0x{'f' * 5000}",
        f"a = {DEEP}",
        "[training]\nsteps = " + "{a=" * 900 + "1" + "}" * 900,
        "[training.steps]\n" + "a." * 3000 + "b = 1",
        "[training]\nlearning_rate = nan",
    ],
)
def test_files_that_nobody_expects(tmp_path: Path, text: str) -> None:
    (tmp_path / "s.toml").write_text(text)
    message = refusal(lambda: Settings.load(tmp_path / "s.toml"))
    assert str(tmp_path / "s.toml") in message
    assert len(message) < 900


def test_large_seeds_and_a_mark_at_the_start_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(f"[training]\nseed = {2**70}", encoding="utf-8-sig")
    assert Settings.load(tmp_path / "s.toml").training.seed == 2**70
