from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from stillhouse.errors import ConfigError
from stillhouse.pipeline import config_schema, demo_config, read_config
from stillhouse.pipeline._demo import DEMO_DIR, merge_settings

GOOD = """
title: Small
prompts: prompts.jsonl
students:
  small: {objective: sft, keep_layers: 2}
"""


def _refusal(tmp_path: Path, text: str) -> str:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(str(path))


def test_a_config_is_read_with_defaults_for_what_it_leaves_out(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(GOOD)
    config = read_config(tmp_path / "c.yaml")
    assert config.teacher == "local:"
    assert config.students["small"].keep_layers == 2
    assert config.students["small"].model_dump(exclude_unset=True) == {
        "objective": "sft",
        "keep_layers": 2,
    }


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"titel": "x"}, ["titel is not a setting", "Did you mean title?"]),
        (
            {"students": {"a": {"objectiv": "sft"}}},
            ["students.a.objectiv", "Did you mean objective?", "source", "more."],
        ),
        (
            {"collect": {"sampling": {"temprature": 1}}},
            ["collect.sampling.temprature", "Did you mean temperature?"],
        ),
        # A key in the wrong section: where it belongs is named.
        ({"epochs": 3}, ["epochs is not a setting", "Did you mean students.NAME.epochs?"]),
        ({"temperature": 0}, ["Did you mean collect.sampling.temperature?"]),
        ({"zzz": 1}, ["zzz is not a setting. Settings there: title, teacher"]),
        ({"title": 3}, ["title is 3; it must be text; put it in quotes"]),
        ({"students": {"a": {"epochs": "many"}}}, ["students.a.epochs is 'many'; it must be"]),
        (
            {"students": {"a": {"objective": "kl"}}},
            ["students.a.objective is 'kl'", "'sft', 'forward_kl', 'reverse_kl'"],
        ),
        ({"students": {"a": {"keep_layers": "all"}}}, ["keep_layers is 'all'", "integer", "tuple"]),
        ({"students": {"a": {"keep_layers": [1, "x"]}}}, ["keep_layers", "'x'"]),
        ({"students": {}}, ["students is {}", "at least 1"]),
        ({"students": ["a"]}, ["students is ['a']", "name: value"]),
        ({"students": {"a b": {}}}, ["letters, digits"]),
        ({"students": {"../x": {}}}, ["letters, digits"]),
        ({"students": {"teacher": {}}}, ["other columns of the report"]),
        ({"curate": {"min_chars": 5, "max_chars": 2}}, ["curate", "max_chars=2"]),
        ({"collect": {"sampling": {"temperature": -1}}}, ["temperature is -1; it must be greater"]),
        ({"title": "x" * 5 + "\x1b[2J", "zzz": 1}, ["zzz"]),
        ({"prompts": None}, ["prompts is None"]),
    ],
)
def test_a_mistake_is_one_line_with_place_value_and_what_is_allowed(
    tmp_path: Path, change: dict[str, Any], parts: list[str]
) -> None:
    message = _refusal(tmp_path, yaml.safe_dump({**yaml.safe_load(GOOD), **change}))
    assert [part for part in parts if part not in message] == []


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    assert "prompts is missing" in _refusal(tmp_path, "title: x\nstudents: {a: {}}\n")


def test_a_mistake_in_the_yaml_is_placed(tmp_path: Path) -> None:
    assert _refusal(tmp_path, "title: x\n  b: c").startswith(", line 2, column 4: ")


def test_a_title_that_yaml_takes_for_a_date_is_told_so(tmp_path: Path) -> None:
    message = _refusal(tmp_path, GOOD.replace("Small", "2024-01-01"))
    assert message == ": title is the date 2024-01-01; it must be text; put it in quotes."


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="stillhouse init"):
        read_config(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="Is a directory"):
        read_config(tmp_path)


@pytest.mark.parametrize("quick", [False, True])
def test_the_demo_is_a_valid_run_with_a_student_to_compare(quick: bool) -> None:
    config = demo_config(quick=quick)
    assert list(config.students) == ["student", "student-sft"]
    objectives = [student.objective for student in config.students.values()]
    assert objectives == ["forward_kl", "sft"]
    # Else the comparison would be of two things at once.
    equal = [s.model_dump(exclude={"objective"}) for s in config.students.values()]
    assert equal[0] == equal[1]


def test_the_quick_demo_reads_a_fifth_of_the_examples_with_a_smaller_student() -> None:
    full, quick = demo_config(quick=False), demo_config(quick=True)
    assert full.max_train_prompts
    assert quick.max_train_prompts
    for name, student in quick.students.items():
        whole = full.students[name]
        seen = quick.max_train_prompts * student.epochs
        assert seen <= 0.2 * full.max_train_prompts * whole.epochs
        assert isinstance(student.keep_layers, int)
        assert isinstance(whole.keep_layers, int)
        assert student.keep_layers < whole.keep_layers
    assert quick.collect == full.collect


def test_sections_are_merged_and_values_replaced() -> None:
    settings = {"a": {"b": 1, "c": [1, 2]}, "d": 1}
    merged = merge_settings(settings, {"a": {"c": [3]}, "e": {"f": 2}})
    assert merged == {"a": {"b": 1, "c": [3]}, "d": 1, "e": {"f": 2}}
    assert settings == {"a": {"b": 1, "c": [1, 2]}, "d": 1}


def test_the_schema_accepts_what_we_ship_and_refuses_unknown_keys() -> None:
    validator = jsonschema.Draft202012Validator(config_schema())
    validator.check_schema(config_schema())
    for name in ("demo.yaml", "init.yaml"):
        validator.validate(yaml.safe_load((DEMO_DIR / name).read_text(encoding="utf-8")))
    with pytest.raises(jsonschema.ValidationError, match="titel"):
        validator.validate({**yaml.safe_load(GOOD), "titel": "x"})


def test_the_schema_tells_editors_what_settings_mean() -> None:
    schema = config_schema()
    assert "relative to this config" in schema["properties"]["prompts"]["description"]
    assert "description" in schema["$defs"]["TrainConfig"]["properties"]["objective"]
