"""The assumptions: each with unit, default and source, in a file to edit and in the docs."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from stillhouse.economics import (
    Assumptions,
    assumptions_schema,
    assumptions_text,
    read_assumptions,
    source_of,
    unit_of,
    write_assumptions,
)
from stillhouse.errors import ConfigError
from stillhouse.evaluate import TaskEvaluateConfig

PAGE = (Path(__file__).parents[2] / "docs" / "economics.md").read_text(encoding="utf-8")


def shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, dict):
        return {2: "two scenarios"}[len(value)]
    return f"{value:g}" if value < 1e5 else f"{value:.0f}"


def test_the_table_of_the_docs_is_what_the_code_assumes() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \| (.*) \|$", PAGE, re.MULTILINE)
    usual = Assumptions().model_dump()
    wanted = [(name, unit_of(name), shown(value), source_of(name)) for name, value in usual.items()]
    assert rows == wanted


def test_every_assumption_has_a_meaning_a_unit_and_a_source() -> None:
    for name, field in Assumptions.model_fields.items():
        assert field.description, name
        assert len(unit_of(name)) >= 3
        assert len(source_of(name)) >= 3


def test_the_price_of_a_core_is_that_of_evaluate() -> None:
    assert Assumptions().usd_per_core_hour == TaskEvaluateConfig().usd_per_core_hour


def test_the_written_file_says_the_defaults_and_fits_its_schema(tmp_path: Path) -> None:
    path, schema = write_assumptions(tmp_path / "new" / "assumptions.yaml")
    assert read_assumptions(path) == Assumptions()
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"# yaml-language-server: $schema={schema.name}\n")
    document = json.loads(schema.read_text(encoding="utf-8"))
    assert document == assumptions_schema()
    jsonschema.Draft202012Validator.check_schema(document)
    jsonschema.validate(yaml.safe_load(text), document)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"teacher_share": 1.5}, document)
    assert max(map(len, text.splitlines())) <= 100
    for name in Assumptions.model_fields:
        assert f"\n{name}:" in text
        assert f"Source: {source_of(name)}." in " ".join(re.sub(r"\n# ", " ", text).split())


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "assumptions.yaml"
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match="exists, and is not overwritten"):
        write_assumptions(path)
    assert path.read_text(encoding="utf-8") == "mine"
    assert [one.name for one in tmp_path.iterdir()] == ["assumptions.yaml"]
    with pytest.raises(ConfigError, match="name of the schema"):
        write_assumptions(tmp_path / "economics.schema.json")
    with pytest.raises(ConfigError, match="cannot be written"):
        write_assumptions(path / "below" / "a.yaml")


def test_a_file_may_leave_lines_out(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("teacher_share: 0.25\ncopying: {}\n", encoding="utf-8")
    found = read_assumptions(path)
    assert found == Assumptions(teacher_share=0.25, copying={})


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("usd_per_core_hour: -1", "usd_per_core_hour is -1; it must be greater than or equal to 0"),
        ("usd_per_core_hour: .nan", "usd_per_core_hour is nan"),
        ("teacher_usd_per_request: .inf", "teacher_usd_per_request is inf"),
        ("teacher_share: 1.01", "teacher_share is 1.01"),
        ("detection_probability: -0.1", "detection_probability is -0.1"),
        ("requests: 0", "requests is 0; it must be greater than 0"),
        ("requests_per_refresh: 0", "requests_per_refresh is 0"),
        ("teacher_training_usd: 0", "teacher_training_usd is 0"),
        ("cores: 0", "cores is 0"),
        ("usd_per_core_hours: 1", "Did you mean usd_per_core_hour?"),
        ("usd_per_core_hour: null", "usd_per_core_hour is None"),
        ("copying: {a: {exchanges: 1}}", "copying.a.output_tokens is missing"),
        (
            "copying: {a: {exchanges: 1, output_tokens: 1, usd_per_million: 1, "
            "training_usd_low: 2, training_usd_high: 1}}",
            "training_usd_low is more than training_usd_high",
        ),
        ("- 1", "it must hold 'name: value' lines"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, told: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f"{line}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_assumptions(path)
    assert told in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_text_is_the_same_whenever_it_is_written() -> None:
    assert assumptions_text() == assumptions_text()
