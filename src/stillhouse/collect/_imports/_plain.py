"""Plain rows: a prompt and a completion, or messages that end with the answer."""

from typing import Any

from pydantic import ConfigDict

from stillhouse.collect._imports._exchange import (
    BadRowError,
    Exchange,
    NoAnswerError,
    ReadRow,
    chat_body,
    json_text,
    parsed,
)
from stillhouse.collect._imports._messages import read_output_schema, read_prompt, read_tools
from stillhouse.records import Record, Split, split_named


class PlainFields(Record):
    """What the fields or columns of a plain file are called."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    prompt: str = "prompt"
    """The prompt, as one text of the user's."""
    system: str = "system"
    """What comes before the prompt, where there is something."""
    messages: str = "messages"
    """A list of messages in place of the prompt; where no completion is given, the last of them."""
    completion: str = "completion"
    """The answer."""
    reasoning: str = "reasoning"
    """What the model thought before it answered."""
    model: str = "model"
    """What answered."""
    finish_reason: str = "finish_reason"
    """Why it ended; `stop` where the file does not say."""
    split: str = "split"
    """`train` or `held_out`; `test`, `validation` and `eval` are held out."""
    group: str = "group"
    """What the prompt is about: a customer, a document."""
    reference: str = "reference"
    """What a person says is the right answer."""


def read_plain(row: ReadRow, fields: PlainFields) -> list[Exchange]:
    """The exchange of a row whose fields are called as `fields` says.

    Raises:
        NoAnswerError: the completion is empty.
        BadRowError: a field is missing or wrong.
    """
    messages = parsed(row.get(fields.messages))
    completion = row.get(fields.completion)
    if messages is None and fields.prompt not in row:
        raise BadRowError(
            "no_prompt", f"neither {fields.messages!r} nor {fields.prompt!r} is given"
        )
    given = row.get(fields.prompt) if messages is None else messages
    answer: dict[str, Any] = {"content": completion}
    if completion is None and isinstance(given, list) and given:
        *given, answer = given
        if not isinstance(answer, dict) or answer.get("role") not in ("assistant", "ai", "model"):
            raise BadRowError("no_answer", "the last message is not the assistant's")
    if answer.get("content") in (None, "") and not answer.get("tool_calls"):
        raise NoAnswerError("empty")
    if reasoning := row.get(fields.reasoning):
        answer = {**answer, "reasoning_content": reasoning}
    group = row.get(fields.group)
    reference = row.get(fields.reference)
    return [
        Exchange(
            messages=read_prompt({"messages": given, "system": row.get(fields.system)}),
            body=chat_body(
                answer,
                model=row.get(fields.model),
                finish_reason=row.get(fields.finish_reason),
                usage=row.get("usage") if isinstance(row.get("usage"), dict) else None,
                created=row.get("created"),
            ),
            tools=read_tools(parsed(row.get("tools"))),
            output_schema=read_output_schema(row),
            split=_split(row.get(fields.split)),
            group=None if group in (None, "") else str(group),
            reference=None if reference in (None, "") else _text(reference),
        )
    ]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json_text(value)


def _split(given: Any) -> Split:
    if given in (None, ""):
        return "train"
    split = split_named(str(given))
    if split is None:
        raise BadRowError(
            "unknown_split", f"the split {given!r:.40} is neither 'train' nor 'held_out'"
        )
    return split
