"""Results of promptfoo: `promptfoo eval -o results.json` or `.jsonl`, and exports of its database.

A result's `prompt.raw` is the prompt with its variables filled in: a text, or the JSON of messages.
"""

from typing import Any

from stillhouse.collect._imports._exchange import (
    Exchange,
    NoAnswerError,
    ReadRow,
    chat_body,
    json_text,
    object_at,
    parsed,
)
from stillhouse.collect._imports._messages import read_prompt


def read_result(row: ReadRow) -> list[Exchange]:
    """The exchange of one cell of the table that promptfoo shows.

    Raises:
        NoAnswerError: the provider failed.
        BadRowError: the row is no result.
    """
    response = object_at(row, "response")
    if response.get("error") or response.get("output") in (None, ""):
        raise NoAnswerError("failed_call")
    prompt = object_at(row, "prompt").get("raw")
    messages = read_prompt({"messages": parsed(prompt)})
    body = chat_body(
        _message(response["output"]),
        model=_provider(row.get("provider")),
        finish_reason=response.get("finishReason"),
        usage=_usage(row, response),
    )
    seconds = row.get("latencyMs")
    return [
        Exchange(
            messages=messages,
            body=body,
            seconds=seconds / 1000 if isinstance(seconds, int | float) else 0.0,
        )
    ]


def _message(output: Any) -> dict[str, Any]:
    """Text as it is; tool calls as such; what promptfoo parsed as JSON, as JSON again."""
    if isinstance(output, str):
        return {"content": output}
    calls = output if isinstance(output, list) else [output]
    if calls and all(isinstance(call, dict) and "function" in call for call in calls):
        return {"content": "", "tool_calls": calls}
    return {"content": json_text(output)}


def _provider(provider: Any) -> str | None:
    name = provider.get("id") if isinstance(provider, dict) else provider
    return name if isinstance(name, str) else None


def _usage(row: ReadRow, response: dict[str, Any]) -> dict[str, Any]:
    given = object_at(response, "tokenUsage")
    details = object_at(given, "completionDetails")
    cost = response.get("cost", row.get("cost"))
    return {
        "prompt_tokens": given.get("prompt"),
        "completion_tokens": given.get("completion"),
        "completion_tokens_details": {"reasoning_tokens": details.get("reasoning")},
        # What came from promptfoo's own cache was paid for in an earlier run.
        "cost_usd": 0.0 if response.get("cached") else cost,
    }
