"""Which task traffic is, told from its beginnings and its answers."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from scan_logs import TOPICS, asks

from stillhouse.pipeline._scan_parts import Part, parts_of, whole
from stillhouse.pipeline._scan_rows import LoggedPrompt
from stillhouse.pipeline._scan_task import propose_task, task_yaml
from stillhouse.records import Completion, Message, Prompt
from stillhouse.tasks import input_text, read_task, task_messages

NOW = datetime(2026, 11, 28, tzinfo=UTC)


def logged(number: int, user: str, *answers: str, system: str | None = None) -> LoggedPrompt:
    first = () if system is None else (Message(role="system", content=system),)
    prompt = Prompt(id=f"p{number}", messages=(*first, Message(role="user", content=user)))
    completions = tuple(
        Completion(
            request_id=f"r{number}",
            prompt_id=prompt.id,
            text=answer,
            finish_reason="stop",
            model="m",
            created_utc=NOW,
        )
        for answer in answers
    )
    return LoggedPrompt(prompt, completions)


def part(answers: list[str], **fields: str) -> Part:
    return whole(
        [
            logged(number, f"text {number}", answer, **fields)
            for number, answer in enumerate(answers)
        ]
    )


def test_few_short_answers_that_repeat_are_labels_in_their_commonest_spelling() -> None:
    answers = ["Refund", "refund.", "Refund", "delivery", "DELIVERY", "Refund"] * 10
    answers += ["delivery"] * 5
    task = propose_task(part([*answers, "I cannot tell"]), "part 1")
    assert task.kind == "classification"
    assert task.labels == ("Refund", "delivery")
    assert not task.multiple


def test_labels_that_hold_a_comma_are_no_lists() -> None:
    answers = ["cards, payments", "loans", "mortgages, rates", "accounts"] * 10
    task = propose_task(part(answers), "part 1")
    assert not task.multiple
    assert set(task.labels) == set(answers)


def test_lists_of_labels_are_a_task_with_several() -> None:
    answers = ["red, blue", "blue", "red", "green, red", "green", "blue, green, red"] * 10
    task = propose_task(part(answers), "part 1")
    assert task.multiple
    assert set(task.labels) == {"red", "blue", "green"}


def test_json_answers_are_an_extraction_with_what_all_of_them_have() -> None:
    found = [
        json.dumps({"name": f"n{n}", "total": n + (0.5 if n % 2 else 0), "paid": None})
        for n in range(30)
    ]
    task = propose_task(part([*found, '```json\n{"name": "x", "extra": true}\n```']), "part 1")
    assert task.kind == "extraction"
    schema = task.output_schema or {}
    assert schema["required"] == ["name"]
    assert schema["properties"]["total"] == {"type": "number"}
    assert schema["properties"]["paid"] == {"type": "null"}
    assert schema["properties"]["extra"] == {"type": "boolean"}


@pytest.mark.parametrize(
    "answers",
    [
        [f"An answer of its own, number {n}." for n in range(40)],
        ["same"] * 40,  # one label is none
        [f"label {n // 2}" for n in range(40)],  # each twice: texts that happen to repeat
        ["a", "b", "c"],
        [f"{n % 2}\nbecause of reason {n}" for n in range(40)],
    ],
)
def test_all_else_is_text(answers: list[str]) -> None:
    assert propose_task(part(answers), "part 1").kind == "text"


def test_a_proposed_task_can_be_written_and_read_and_makes_the_same_prompts(tmp_path: Path) -> None:
    before, after = "Sort the {kind} of message that follows here:\n", "\n\nAnswer with one word."
    system = 'You label mail. {{"not": "a slot"}} and {neither}.'
    rows = [logged(n, f"{before}{asks(n)[0]}{after}", asks(n)[1], system=system) for n in range(60)]
    (found,) = parts_of(rows)
    task = propose_task(found, "mail")
    path = tmp_path / "task.yaml"
    path.write_text(task_yaml(task), encoding="utf-8")
    assert read_task(path) == task
    assert set(task.labels) == set(TOPICS)
    messages = rows[7].prompt.messages
    text = input_text(task, messages[-1].content)
    assert before.split()[0] not in text
    assert task_messages(task, {"text": text}) == messages


def test_prompts_fall_into_parts_by_system_message_and_by_beginning() -> None:
    template = "Summarise the following report in one sentence please: "
    rows = [logged(n, asks(n)[0], "x", system="You sort mail.") for n in range(40)]
    rows += [logged(100 + n, template + asks(n)[0], "y") for n in range(30)]
    rows += [logged(200 + n, f"something else altogether {n} {n}", "z") for n in range(5)]
    parts = parts_of(rows)
    assert [len(one.rows) for one in parts] == [40, 30, 5]
    assert [one.before for one in parts] == ["", template, ""]  # two templates, and the rest
    assert parts[0].system == "You sort mail."
    assert parts[0].system_sha256 is not None
    assert parts[1].system is None
    assert parts[1].name.startswith("Summarise the following report")


def test_what_people_write_is_one_part_even_where_they_begin_alike() -> None:
    (only,) = parts_of([logged(n, asks(n)[0], "x") for n in range(300)])
    assert (only.before, only.after) == ("", "")
    assert only.name == "prompts of their own wording"


def test_system_messages_that_all_differ_are_one_part_that_says_so() -> None:
    rows = [logged(n, asks(n)[0], "x", system=f"{n} is the number of today") for n in range(30)]
    (only,) = parts_of(rows)
    assert only.system is None
    assert only.system_varies


def test_a_text_that_is_nothing_but_the_frame_stays_a_text() -> None:
    frame = "Say what you think of all of this: "
    rows = [logged(n, frame + ("" if n == 0 else f"matter {n}"), "x") for n in range(30)]
    (found,) = parts_of(rows)
    task = propose_task(found, "part 1")
    assert all(input_text(task, row.prompt.messages[-1].content) for row in rows)
