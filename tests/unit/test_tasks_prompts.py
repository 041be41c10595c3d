import json
import time
from pathlib import Path
from typing import Any

import pytest
from task_cases import classification, extraction, free_text

from stillhouse.collect import read_prompts
from stillhouse.errors import ConfigError, RecordError
from stillhouse.records import Message, Prompt
from stillhouse.tasks import Task, input_text, read_task_prompts, task_messages

GOLD = classification(reference="label", system="One of:\n{labels}")


def read(tmp_path: Path, task: Task, *rows: Any) -> list[Prompt]:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return list(read_task_prompts(path, task))


def test_a_row_becomes_the_messages_of_the_templates() -> None:
    task = free_text(
        system="Be {tone}.", prompt="{a}, {b} and {a}; not {{a}}", inputs=["a", "b", "tone"]
    )
    row = {"a": "{b}", "b": "2", "tone": "kind", "more": "x"}
    assert task_messages(task, row) == (
        Message(role="system", content="Be kind."),
        Message(role="user", content="{b}, 2 and {b}; not {a}"),
    )


def test_braces_of_json_are_text() -> None:
    task = free_text(prompt='Answer {"a": {"b": []}} for {text}')
    (message,) = task_messages(task, {"text": "x"})
    assert message.content == 'Answer {"a": {"b": []}} for x'


def test_labels_and_schema_stand_where_the_template_wants_them() -> None:
    (system, user) = task_messages(GOLD, {"text": "hi"})
    assert (system.content, user.content) == ("One of:\nspam\nham", "hi")
    (message,) = task_messages(extraction(prompt="{schema}\n{text}"), {"text": "x"})
    assert json.loads(message.content.removesuffix("x")) == extraction().output_schema


def test_inputs_that_are_missing_or_all_empty_are_refused() -> None:
    task = free_text(prompt="{a} {b}", inputs=["a", "b"])
    assert task_messages(task, {"a": "x", "b": ""})[0].content == "x "
    with pytest.raises(RecordError, match="the input 'b' of task 't' is missing"):
        task_messages(task, {"a": "x"})
    with pytest.raises(RecordError, match="a and b is empty"):
        task_messages(task, {"a": " ", "b": "\n"})


def test_rows_carry_split_group_and_a_canonical_reference(tmp_path: Path) -> None:
    first, second, third = read(
        tmp_path,
        GOLD,
        {"id": 7, "text": "buy", "split": "test", "group": "g", "label": "SPAM", "source": "x"},
        {"text": "hi", "label": None},
        {"text": "hi", "label": ""},
    )
    assert (first.id, first.split, first.group, first.reference) == ("7", "held_out", "g", "spam")
    assert (second.split, second.group, second.reference) == ("train", None, None)
    assert third.id == f"{second.id}-2"


def test_ids_are_those_of_the_same_prompts_in_a_prompts_file(tmp_path: Path) -> None:
    (made,) = read(tmp_path, GOLD, {"text": "hi"})
    path = tmp_path / "prompts.jsonl"
    path.write_text(json.dumps({"messages": [m.model_dump() for m in made.messages]}))
    assert [prompt.id for prompt in read_prompts(path)] == [made.id]


def test_the_schema_goes_with_the_request_unless_a_template_shows_it(tmp_path: Path) -> None:
    (sent,) = read(tmp_path, extraction(), {"text": "x"})
    assert sent.output_schema is not None
    assert json.loads(sent.output_schema) == extraction().output_schema
    (shown,) = read(tmp_path, extraction(system="{schema}"), {"text": "x"})
    assert shown.output_schema is None
    assert shown.id != sent.id


@pytest.mark.parametrize(
    ("task", "reference", "canonical"),
    [
        (classification("a", "b", multiple=True, reference="gold"), ["b", "A"], "a, b"),
        (classification("a", "b", multiple=True, reference="gold"), [], ""),
        (extraction(reference="gold"), {"total": 1.0}, '{"total":1}'),
        (extraction(reference="gold"), '{"total": 2}', '{"total":2}'),
        (free_text(reference="gold"), " 3 ", "3"),
        (free_text(reference="gold"), 3, "3"),
    ],
)
def test_references_are_read_in_the_form_that_they_have(
    tmp_path: Path, task: Task, reference: Any, canonical: str
) -> None:
    (prompt,) = read(tmp_path, task, {"text": "x", "gold": reference})
    assert prompt.reference == canonical


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"txt": "x"}, "line 2: unknown column 'txt'. Did you mean 'text'"),
        ({"text": "x", "splt": "test"}, "line 2: unknown column 'splt'. Did you mean 'split'"),
        ({"id": "b"}, "line 2: the input 'text' of task 't' is missing"),
        ({"text": ""}, "line 2: text is empty"),
        ({"text": ["x"]}, "line 2: 'text' is list, and must be text"),
        ({"text": None}, "line 2: 'text' is NoneType, and must be text"),
        ({"text": True}, "line 2: 'text' is bool"),
        ({"text": "x", "split": "dev"}, "line 2: the split 'dev' is neither"),
        ({"text": "x", "label": "hamm"}, "line 2: the reference is no answer to task 't' (unknown"),
        ({"text": "x", "id": "a"}, "line 2: the id 'a' is that of line 1 as well"),
        ("x", "line 2: a str, not an object"),
    ],
)
def test_a_wrong_row_is_named_by_line(tmp_path: Path, row: Any, message: str) -> None:
    with pytest.raises(RecordError) as caught:
        read(tmp_path, GOLD, {"text": "fine", "id": "a"}, row)
    assert message in str(caught.value)


def test_csv_rows_may_leave_one_input_of_several_empty(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('title,body,split\nhi,,test\n,"a\nb",\n')
    task = free_text(prompt="{title}|{body}", inputs=["title", "body"])
    found = [(p.messages[0].content, p.split) for p in read_task_prompts(path, task)]
    assert found == [("hi|", "held_out"), ("|a\nb", "train")]


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\.jsonl, \.csv, \.parquet"):
        list(read_task_prompts(tmp_path / "rows.xlsx", GOLD))
    with pytest.raises(ConfigError, match="does not exist"):
        list(read_task_prompts(tmp_path / "rows.csv", GOLD))


@pytest.mark.parametrize(
    ("template", "inputs", "message", "found"),
    [
        ("{text}", ["text"], "hi there", "hi there"),
        ("Classify: {text}\nNow.", ["text"], "Classify: hi\nyou\nNow.", "hi\nyou"),
        ("Classify: {text}\nNow.", ["text"], "something else", "something else"),
        ("{a} to {b}.", ["a", "b"], "x to y to z.", "x\ny to z"),
        ("{a}{b}", ["a", "b"], "xy", "\nxy"),
        ("x{a}x", ["a"], "x", "x"),
        ("{labels}: {a}", ["a"], "spam\nham: hi", "hi"),
        ("{{a}} {a} (a+)", ["a"], "{a} hi (a+)", "hi"),
    ],
)
def test_the_inputs_are_found_again_in_a_message(
    template: str, inputs: list[str], message: str, found: str
) -> None:
    task = classification(prompt=template, inputs=inputs)
    assert input_text(task, message) == found


def test_inputs_are_found_in_time_that_is_linear_in_the_text() -> None:
    task = free_text(prompt="{a} {b} {c} {d} end", inputs=["a", "b", "c", "d"])
    text = "x " * 200_000
    begun = time.process_time()
    assert input_text(task, text) == text
    assert time.process_time() - begun < 1.0
