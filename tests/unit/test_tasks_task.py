import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from task_cases import SCHEMA, classification, extraction, free_text

from stillhouse.errors import ConfigError, DataError, IntegrityError
from stillhouse.tasks import GRADERS_BY_KIND, Task, read_task, task_of

SPAM = {"name": "spam", "kind": "classification", "labels": ["spam", "ham"]}
INVOICE = {"name": "invoice", "kind": "extraction", "schema": SCHEMA}
REWRITE = {"name": "rewrite", "kind": "text"}


def written(tmp_path: Path, settings: Any) -> Path:
    path = tmp_path / "task.yaml"
    path.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    return path


def refusal(tmp_path: Path, settings: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        read_task(written(tmp_path, settings))
    message = str(caught.value)
    assert "task.yaml" in message
    assert "\n" not in message
    return message


def test_a_task_is_read_with_defaults_that_go_with_its_kind(tmp_path: Path) -> None:
    task = read_task(written(tmp_path, SPAM))
    assert (task.prompt, task.inputs, task.margin) == ("{text}", ("text",), 0.02)
    assert task.labels == ("spam", "ham")
    graders = [read_task(written(tmp_path, of)).grader_name for of in (SPAM, INVOICE, REWRITE)]
    assert graders == ["label", "fields", "text"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lables": []}, "lables is not a setting. Did you mean labels?"),
        ({"shema": {}}, "shema is not a setting. Did you mean schema?"),
        ({"labels": ["spam"]}, "needs two labels or more, and only 'spam' is given"),
        ({"labels": []}, "needs two labels or more, and labels is missing"),
        ({"labels": ["a", "b", "a"]}, "the label 'a' is given twice"),
        ({"labels": ["a b", "A_B"]}, "the label 'A_B' cannot be told from 'a b'"),
        ({"labels": ["C#", "C"]}, "the label 'C' cannot be told from 'C#'"),
        ({"labels": ["\uff21\uff22", "ab"]}, "the label 'ab' cannot be told from"),
        ({"labels": ["a", " b"]}, "the label ' b' is empty, has space around it"),
        ({"labels": ["a", ""]}, "the label '' is empty"),
        ({"labels": ["a", "b\nc"]}, "longer than a line"),
        ({"labels": ["on", False]}, "labels[1] is False; it must be text; put it in quotes"),
        ({"aliases": {"junk": "sapm"}}, "the alias 'junk' stands for 'sapm', which is no label"),
        ({"aliases": {"HAM!": "spam"}}, "the alias 'HAM!' stands for 'spam', but reads as 'ham'"),
        ({"out_of_scope": "other"}, "out_of_scope is 'other', which is none of the labels"),
        ({"prompt": "{txt}"}, "a template uses {txt}, which is none of text, labels"),
        ({"system": "{schema}"}, "a template uses {schema}, which is none of text, labels"),
        ({"inputs": ["text", "more"]}, "no template uses the input 'more'"),
        ({"inputs": []}, "inputs"),
        ({"inputs": ["a b"], "prompt": "x"}, "the input 'a b' cannot stand in a template"),
        ({"inputs": ["labels"], "prompt": "{labels}"}, "the input 'labels' means something else"),
        ({"inputs": ["text", "text"]}, "inputs names a column twice"),
        ({"reference": "text"}, "the input 'text' means something else"),
        ({"margin": 0}, "margin is 0; it must be greater than 0"),
        ({"margin": 1.5}, "margin is 1.5; it must be less than or equal to 0.5"),
        ({"margin": float("nan")}, "margin is nan"),
        ({"kind": "classify"}, "kind is 'classify'; it must be 'classification', 'extraction'"),
        ({"grader": "fields"}, "the grader 'fields' is not for kind 'classification'"),
        ({"grader": "labl"}, "grader is 'labl'; it must be 'label'"),
        ({"schema": SCHEMA}, "schema is for kind 'extraction', and this is 'classification'"),
        ({"multiple": True, "labels": ["a, b", "c"]}, "the label 'a, b' holds a comma"),
        ({"labels_file": "x.txt"}, "give either 'labels' or 'labels_file', and not both"),
    ],
)
def test_a_wrong_setting_of_a_classification_is_named(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    assert message in refusal(tmp_path, {**SPAM, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": {"type": "objekt"}}, "schema['type'] is no JSON Schema"),
        ({"schema": {"properties": []}}, "schema['properties'] is no JSON Schema"),
        ({"schema": {"pattern": "("}}, "is no JSON Schema"),
        ({"schema": {"$ref": "#/$defs/none"}}, "refers to '#/$defs/none', which is not in it"),
        ({"schema": {"$ref": "http://x.test/s"}}, "refers to 'http://x.test/s', which is another"),
        ({"schema": "{"}, "schema is '{'; it is not possible: it is no JSON"),
        ({"schema": 5}, "schema is 5; it must hold settings"),
        ({"schema": {"const": float("inf")}}, "cannot be written as JSON"),
        ({"schema": None}, "an extraction needs the JSON Schema of its answer"),
        ({"labels": ["a", "b"]}, "labels is for kind 'classification', and this is 'extraction'"),
        ({"multiple": True}, "multiple is for kind 'classification', and this is 'extraction'"),
        ({"labels_file": "x"}, "labels_file"),
    ],
)
def test_a_wrong_setting_of_an_extraction_is_named(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    assert message in refusal(tmp_path, {**INVOICE, **changes})


def test_multiple_without_labels_is_refused_for_text_as_well(tmp_path: Path) -> None:
    assert "multiple is for kind 'classification'" in refusal(tmp_path, {**REWRITE, "multiple": 1})


def test_a_file_that_is_no_task_is_refused(tmp_path: Path) -> None:
    assert "must hold 'name: value' lines" in refusal(tmp_path, ["spam"])
    with pytest.raises(ConfigError, match="cannot be read"):
        read_task(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("name", "content"),
    [("labels.txt", "spam\n\n  ham \r\n"), ("labels.json", '["spam", "ham"]')],
)
def test_labels_come_from_a_file_beside_the_task(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_bytes(content.encode("utf-8-sig"))
    settings = {"name": "t", "kind": "classification", "labels_file": name}
    assert read_task(written(tmp_path, settings)) == classification()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.txt", None, "labels_file 'none.txt' cannot be read"),
        ("../labels.txt", None, "labels_file '../labels.txt' leaves the folder"),
        ("/etc/hostname", None, "labels_file '/etc/hostname' leaves the folder"),
        ("one.txt", b"spam\n", "only 'spam' is given"),
        ("bad.txt", b"spam\n\xff", "is not UTF-8"),
        ("bad.json", b"[", "is not JSON"),
        ("dict.json", b"{}", "holds a dict"),
        ("numbers.json", b"[1, 2]", "labels[0] is 1; it must be text"),
    ],
)
def test_a_labels_file_that_is_none_is_refused(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    settings = {"name": "t", "kind": "classification", "labels_file": name}
    assert message in refusal(tmp_path, settings)


def test_a_labels_file_behind_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.txt").write_text("a\nb\n")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "labels.txt").symlink_to(tmp_path / "elsewhere.txt")
    settings = {"name": "t", "kind": "classification", "labels_file": "labels.txt"}
    assert "leaves the folder" in refusal(folder, settings)


def test_a_task_comes_back_from_a_manifest_as_it_was() -> None:
    ordered = {"type": "object", "properties": {"z": {"type": "null"}, "a": {"const": "\u00e9"}}}
    for task in (
        classification("b", "a", aliases={"x": "a"}, multiple=True, out_of_scope="b"),
        extraction(schema=ordered, margin=0.1, grader="document"),
        free_text(system="s", prompt="{a}: {b}", inputs=["a", "b"], reference="gold"),
    ):
        stored = json.loads(json.dumps(task.model_dump(mode="json", by_alias=True), sort_keys=True))
        assert task_of({"task": stored}) == task
    assert list(task_of({"task": {**INVOICE, "schema": json.dumps(ordered)}}).output_schema or {})
    back = extraction(schema=json.dumps(ordered)).output_schema
    assert back is not None
    assert list(back["properties"]) == ["z", "a"]


def test_results_without_a_task_or_with_another_are_refused() -> None:
    with pytest.raises(DataError, match="made without a task"):
        task_of({"final_loss": 1.0})
    with pytest.raises(IntegrityError, match="another version"):
        task_of({"task": {**SPAM, "kind": "dance"}})


def test_a_task_that_no_manifest_could_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogate"):
        classification("a", "\ud800")


def test_every_kind_has_graders_and_none_is_of_two_kinds() -> None:
    names = [name for graders in GRADERS_BY_KIND.values() for name in graders]
    assert len(names) == len(set(names))
    assert set(GRADERS_BY_KIND) == set(Task.model_json_schema()["properties"]["kind"]["enum"])
